//! The usual cause and the fix of each code: the text of "Troubleshooting" and of `lint --explain`.

use entra_workload::Code;

/// A section of "Troubleshooting". The title and the owner are those of the code.
pub(crate) struct Entry {
    pub(crate) code: Code,
    /// Why it happens, if the title does not say so.
    pub(crate) cause: &'static str,
    pub(crate) fix: &'static str,
    /// As what Entra would refuse the token that the doctor has found wrong.
    refusal: Option<Code>,
}

impl Entry {
    /// Returns the entry of a code. Each code has one.
    pub(crate) fn of(code: Code) -> Option<&'static Self> {
        CATALOG.iter().find(|entry| entry.code == code)
    }

    /// Returns the AADSTS numbers that lead to this section.
    pub(crate) fn aadsts(&self) -> Vec<u32> {
        let codes = [Some(self.code), self.refusal];
        codes.into_iter().flatten().flat_map(Code::aadsts_codes).collect()
    }

    const fn refused_as(mut self, refusal: Code) -> Self {
        self.refusal = Some(refusal);
        self
    }
}

const fn entry(code: Code, cause: &'static str, fix: &'static str) -> Entry {
    Entry {
        code,
        cause,
        fix,
        refusal: None,
    }
}

/// One entry per code, in the order of [`Code::ALL`].
///
/// Sources: Microsoft's list of AADSTS error codes, "Workload identity federation considerations", and public reports.
pub(crate) const CATALOG: &[Entry] = &[
    entry(
        Code::ANOTHER_IDENTITY,
        "Workload identity is not set up, so a default credential uses the next identity, often that of the node.",
        "Set up workload identity, or set `AZURE_TOKEN_CREDENTIALS` to `WorkloadIdentityCredential`.",
    ),
    entry(
        Code::NO_WORKLOAD_IDENTITY,
        "The webhook did not change the pod: the label is missing or only on the Deployment, the webhook was down, or `skip-containers` names the container.",
        "Set the label `azure.workload.identity/use: \"true\"` on the pod template and recreate the pod. In a debug container, use `doctor --pid 1`.",
    ),
    entry(
        Code::NOT_IN_A_POD,
        "",
        "Use `DefaultAzureCredential` if the program also runs elsewhere.",
    ),
    entry(
        Code::NO_CLIENT_ID,
        "The service account has no annotation, or the pod uses another service account.",
        "Annotate the service account with `azure.workload.identity/client-id`, check `serviceAccountName`, recreate the pod.",
    ),
    entry(
        Code::NO_TENANT_ID,
        "The webhook has no tenant.",
        "Configure it, or annotate the service account with `azure.workload.identity/tenant-id`.",
    ),
    entry(
        Code::INVALID_CLIENT_ID,
        "The value is neither a GUID nor an application ID URI.",
        "Use the client ID, without the line break of a Secret.",
    ),
    entry(
        Code::INVALID_TENANT_ID,
        "The value is neither a GUID nor a domain name.",
        "Correct `AZURE_TENANT_ID` or the annotation `azure.workload.identity/tenant-id`.",
    ),
    entry(
        Code::INVALID_AUTHORITY_HOST,
        "`AZURE_AUTHORITY_HOST` is not a plain `https` URL. `http` is accepted for loopback hosts only.",
        "Remove the variable from the pod template; the webhook sets it.",
    ),
    entry(
        Code::INCOMPLETE_IDENTITY_BINDING,
        "Some variables of the token proxy are missing or invalid.",
        "Recreate the pod; remove `AZURE_KUBERNETES_…` variables from the pod template.",
    ),
    entry(
        Code::ANOTHER_CREDENTIAL_FIRST,
        "A default credential tries the environment first, even if the secret is expired.",
        "Remove the variable, or set `AZURE_TOKEN_CREDENTIALS` to `WorkloadIdentityCredential`.",
    ),
    entry(
        Code::WORKLOAD_IDENTITY_EXCLUDED,
        "",
        "Set `AZURE_TOKEN_CREDENTIALS` to `prod` or `WorkloadIdentityCredential`, or remove it.",
    ),
    entry(
        Code::NO_TOKEN_FILE,
        "The volume is not mounted in this container.",
        "Check `skip-containers`, and whether another webhook adds the container later. Recreate the pod.",
    ),
    entry(
        Code::UNREADABLE_TOKEN_FILE,
        "The container does not run as root, and the volume has no group.",
        "Set `fsGroup` in the `securityContext` of the pod.",
    ),
    entry(
        Code::EMPTY_TOKEN_FILE,
        "The kubelet has not written the token yet.",
        "Wait. If the file stays empty, recreate the pod.",
    ),
    entry(
        Code::NOT_A_TOKEN,
        "",
        "Remove `AZURE_FEDERATED_TOKEN_FILE` from the pod template; the webhook sets it.",
    ),
    entry(
        Code::EXPIRED_TOKEN,
        "The file is a copy or is mounted with `subPath`, so it is never updated; or the clock is wrong.",
        "Mount the volume without `subPath`.",
    )
    .refused_as(Code::ASSERTION_OUTSIDE_VALIDITY),
    entry(
        Code::EARLY_TOKEN,
        "The clock of the node is more than 5 minutes slow.",
        "Correct the clock; `timedatectl` shows its state.",
    )
    .refused_as(Code::ASSERTION_OUTSIDE_VALIDITY),
    entry(
        Code::TOKEN_OF_THE_API_SERVER,
        "`AZURE_FEDERATED_TOKEN_FILE` points into `/var/run/secrets/kubernetes.io/serviceaccount`. That token gives access to the cluster, so it is never sent.",
        "Remove the variable from the pod template; the webhook sets it.",
    )
    .refused_as(Code::AUDIENCE_MISMATCH),
    entry(
        Code::TOKEN_LIVES_TOO_LONG,
        "Entra accepts 24 hours, and an hour of tolerance.",
        "Set the annotation `azure.workload.identity/service-account-token-expiration`, or `expirationSeconds` of the volume, to 3600 to 86400.",
    )
    .refused_as(Code::ASSERTION_LIVES_TOO_LONG),
    entry(
        Code::WRONG_AUDIENCE,
        "A volume in the manifest requests another audience; or a pod with the variables of an identity binding lacks the annotation.",
        "Use the audience of the federated credential, usually `api://AzureADTokenExchange`; with an identity binding, add `azure.workload.identity/use-identity-binding: \"true\"`. Recreate the pod.",
    )
    .refused_as(Code::AUDIENCE_MISMATCH),
    entry(
        Code::TOKEN_FOR_IDENTITY_BINDING,
        "The pod has no variables of the token proxy.",
        "Recreate the pod, or remove the annotation `azure.workload.identity/use-identity-binding`.",
    )
    .refused_as(Code::AUDIENCE_MISMATCH),
    entry(
        Code::VARIABLE_NOT_TEXT,
        "",
        "Correct the Secret or ConfigMap that contains it.",
    ),
    entry(
        Code::UNKNOWN_LOGIN_HOST,
        "`AZURE_AUTHORITY_HOST` names a host of no Microsoft cloud, which receives the service-account token.",
        "Remove the variable from the pod template. For a proxy, an emulator or an air-gapped cloud, no action is needed.",
    ),
    entry(
        Code::UNKNOWN_HOST,
        "The name is wrong, or a NetworkPolicy blocks DNS.",
        "Correct `AZURE_AUTHORITY_HOST`; allow egress to the DNS service.",
    ),
    entry(
        Code::CONNECTION_REFUSED,
        "No process listens there, or a firewall rejects the connection.",
        "Allow egress to the login host, port 443.",
    ),
    entry(
        Code::UNREACHABLE_HOST,
        "A NetworkPolicy or a firewall drops the packets.",
        "Allow egress to the login host, port 443, or set `HTTPS_PROXY`.",
    ),
    entry(
        Code::PROXY_FAILED,
        "The proxy in the variable is wrong or unreachable, or blocks the host.",
        "Correct the variable, allow the host on the proxy, or add it to `NO_PROXY`.",
    ),
    entry(
        Code::UNTRUSTED_CERTIFICATE,
        "A proxy intercepts TLS, or the image has no root certificates.",
        "Set `SSL_CERT_FILE` to the root certificate of the proxy, or use `HttpTransport::with_root_certificates`.",
    ),
    entry(
        Code::CERTIFICATE_OF_ANOTHER_HOST,
        "A proxy or a captive portal intercepts TLS, or the authority host is wrong.",
        "Allow direct access to the login host; correct `AZURE_AUTHORITY_HOST`.",
    ),
    entry(
        Code::NO_ROOT_CERTIFICATES,
        "",
        "Copy `/etc/ssl/certs/ca-certificates.crt` into the image.",
    ),
    entry(
        Code::NO_RESPONSE,
        "The connection is open, but no complete response arrives in time.",
        "Check the proxy and the firewall.",
    ),
    entry(
        Code::NOT_ENTRA,
        "A proxy or a captive portal responds instead, or the authority host is wrong.",
        "Allow the login host on the proxy; correct `AZURE_AUTHORITY_HOST`.",
    ),
    entry(
        Code::CLOCK_IS_WRONG,
        "The clock of the node differs by more than 5 minutes, so tokens and certificates seem expired or not yet valid.",
        "Correct the clock; `timedatectl` shows its state.",
    )
    .refused_as(Code::ASSERTION_OUTSIDE_VALIDITY),
    entry(
        Code::TOKEN_PROXY_UNREACHABLE,
        "A NetworkPolicy blocks the API server, or the name is wrong.",
        "Allow egress to the API server; check `AZURE_KUBERNETES_TOKEN_PROXY`.",
    ),
    entry(
        Code::TOKEN_PROXY_UNTRUSTED,
        "The certificate is from another CA or for another server name.",
        "Check `AZURE_KUBERNETES_CA_FILE` and `AZURE_KUBERNETES_SNI_NAME`.",
    ),
    entry(
        Code::RESOLVER_SILENT,
        "A NetworkPolicy drops the queries, or the DNS service is overloaded.",
        "Allow egress to the DNS service, port 53, UDP and TCP.",
    ),
    entry(
        Code::ISSUER_UNREACHABLE,
        "The discovery document or the keys are missing. Entra must reach them; the pod need not.",
        "Enable the OIDC issuer of the cluster and make it reachable from the internet.",
    )
    .refused_as(Code::ISSUER_KEYS_UNREACHABLE),
    entry(
        Code::ISSUER_DIFFERS,
        "Both must be equal, including a trailing slash.",
        "Correct `--service-account-issuer` of the API server, or the document.",
    )
    .refused_as(Code::ISSUER_KEYS_UNREACHABLE),
    entry(
        Code::UNPUBLISHED_KEY,
        "The keys were rotated, or are those of another cluster.",
        "After a rotation, wait some minutes. Otherwise publish the keys of this cluster.",
    )
    .refused_as(Code::SIGNATURE_MISMATCH),
    entry(
        Code::PRIVATE_ISSUER,
        "Entra reads the keys over the internet. This issuer is private, or not `https`.",
        "Enable the OIDC issuer (`az aks update --enable-oidc-issuer`), or publish the document and the keys.",
    )
    .refused_as(Code::ISSUER_KEYS_UNREACHABLE),
    entry(
        Code::NO_FEDERATED_CREDENTIAL,
        "",
        "Add one with the values of the message, and wait some minutes: `az identity federated-credential create --name NAME --identity-name IDENTITY --resource-group GROUP --issuer ISSUER --subject system:serviceaccount:NAMESPACE:NAME --audiences api://AzureADTokenExchange`. Check the client ID.",
    ),
    entry(
        Code::ISSUER_MISMATCH,
        "The credential is for another cluster, or lacks the trailing slash.",
        "Use the issuer of `az aks show --query oidcIssuerProfile.issuerUrl`, with its slash.",
    ),
    entry(
        Code::AUDIENCE_MISMATCH,
        "",
        "Use the audience of the token: `az identity federated-credential update --name NAME --identity-name IDENTITY --resource-group GROUP --audiences AUDIENCE`.",
    ),
    entry(
        Code::SUBJECT_MISMATCH,
        "Entra compares `system:serviceaccount:NAMESPACE:NAME` exactly.",
        "Add a credential with this subject (EW401), or correct `serviceAccountName`; without it, NAME is `default`.",
    ),
    entry(
        Code::EXPRESSION_MISMATCH,
        "Entra answers so for every unknown subject once the application has a flexible credential.",
        "Correct the subject or `claimsMatchingExpression`; `az ad app federated-credential list --id CLIENT_ID` shows both.",
    ),
    entry(
        Code::ASSERTION_OUTSIDE_VALIDITY,
        "The token file is not updated, or the clock is wrong.",
        "Mount the token without `subPath`; check the clock of the node.",
    ),
    entry(
        Code::ASSERTION_LIVES_TOO_LONG,
        "",
        "Use the token that the webhook mounts, with at most 86400 seconds.",
    ),
    entry(
        Code::SIGNATURE_MISMATCH,
        "Entra caches the keys of the issuer for a while.",
        "After a rotation of the signing keys, wait some minutes. Otherwise publish the keys of this cluster.",
    ),
    entry(
        Code::ISSUER_KEYS_UNREACHABLE,
        "The discovery document or the keys are not reachable from the internet.",
        "Check the firewall of the storage account, a private cluster, and DNS.",
    ),
    entry(
        Code::UNKNOWN_APPLICATION,
        "The client ID is from another tenant, is a principal ID, or belongs to a deleted identity.",
        "Check the annotation `azure.workload.identity/client-id`, `AZURE_CLIENT_ID` of the pod template, which overrides it, and `AZURE_TENANT_ID`.",
    ),
    entry(
        Code::UNKNOWN_TENANT,
        "",
        "Check `AZURE_TENANT_ID` and `AZURE_AUTHORITY_HOST`.",
    ),
    entry(
        Code::UNKNOWN_RESOURCE,
        "The resource has no service principal there, or is misspelt.",
        "Check the scope.",
    ),
    entry(
        Code::INVALID_SCOPE,
        "",
        "Use one resource followed by `/.default`.",
    ),
    entry(
        Code::WRONG_CLIENT_SECRET,
        "It is often the ID of the secret.",
        "Use its value, or workload identity.",
    ),
    entry(
        Code::EXPIRED_CLIENT_SECRET,
        "",
        "Create another one, or use workload identity.",
    ),
    entry(
        Code::DISABLED_APPLICATION,
        "",
        "Enable it: `az ad sp update --id CLIENT_ID --set accountEnabled=true`.",
    ),
    entry(
        Code::ASSERTION_OF_ENTRA,
        "Entra accepts its own tokens only from a user-assigned managed identity.",
        "Use the service-account token.",
    ),
    entry(
        Code::CHAINED_FEDERATION,
        "",
        "Use the service-account token, or the managed identity of the machine.",
    ),
    entry(
        Code::ANOTHER_TENANT,
        "",
        "Register the application in the tenant of the managed identity.",
    ),
    entry(
        Code::FEDERATION_FORBIDDEN,
        "An Azure Policy or the application management policy forbids federation, or this issuer.",
        "Ask for an exception; `az policy assignment list --scope IDENTITY_ID` lists the policies.",
    ),
    entry(
        Code::CONDITIONAL_ACCESS,
        "",
        "Exclude the identity from the policy that the sign-in log of service principals names.",
    ),
    entry(
        Code::OUTAGE,
        "Entra, or a proxy in between, returned a 5xx status. Cached tokens are used meanwhile.",
        "Wait. If it lasts, see <https://azure.status.microsoft> and check the proxy.",
    ),
    entry(
        Code::THROTTLED,
        "The client sends too many token requests.",
        "Use one credential per process.",
    ),
    entry(
        Code::IDENTITY_BINDING_FORBIDDEN,
        "It lacks the verb `use-managed-identity`.",
        "Bind a ClusterRole with that verb; the doctor prints the command.",
    ),
    entry(
        Code::NOT_THE_TOKEN_PROXY,
        "",
        "Check `AZURE_KUBERNETES_SNI_NAME`, and that the identity has a binding for this cluster.",
    ),
    entry(
        Code::REFUSED,
        "The AADSTS code has no section here.",
        "Read the source of the error, and look the code up at <https://login.microsoftonline.com/error>.",
    ),
    entry(
        Code::UNREGISTERED_CERTIFICATE,
        "It is new, expired, or of another key.",
        "Upload it under \"Certificates & secrets\" and wait some minutes.",
    )
    .refused_as(Code::SIGNATURE_MISMATCH),
    entry(
        Code::SUBJECT_CASE_MISMATCH,
        "Entra compares exactly.",
        "Update the credential: `az identity federated-credential update --name NAME --identity-name IDENTITY --resource-group GROUP --subject SUBJECT`. If it already has this subject, delete and recreate it.",
    ),
    entry(
        Code::NO_EXPRESSIONS,
        "",
        "Replace the flexible credential by one with the subject of the message: `az ad app federated-credential create`.",
    ),
    entry(
        Code::TENANT_OF_ANOTHER_CLOUD,
        "",
        "Set `AZURE_AUTHORITY_HOST`, the option `cloud` or the webhook to its cloud: `cloud_instance_name` in `curl https://login.microsoftonline.com/TENANT_ID/v2.0/.well-known/openid-configuration`.",
    ),
    entry(
        Code::NO_SERVICE_PRINCIPAL,
        "`az ad app create` does not create it.",
        "Create it: `az ad sp create --id CLIENT_ID`.",
    ),
    entry(
        Code::NOT_ASSIGNED,
        "The resource requires an assignment (`appRoleAssignmentRequired`).",
        "Assign an app role of the resource to the service principal; the doctor prints the command.",
    ),
    entry(
        Code::REVOKED_CERTIFICATE,
        "",
        "Register another one: `az ad app credential reset --id CLIENT_ID --cert @CERTIFICATE.pem --append`.",
    ),
    entry(
        Code::EXPIRED_CERTIFICATE,
        "",
        "Register another one, as for EW433.",
    ),
    entry(
        Code::TOKEN_REJECTED,
        "The service returns 401: the token is for another resource or tenant, or is revoked.",
        "Use the scope of the service; call `invalidate` with the rejected token.",
    ),
    entry(
        Code::NO_ROLE,
        "The service returns 403. Owner, Contributor and Reader do not allow access to data.",
        "Assign a data role and wait up to ten minutes (24 hours on a virtual machine): `az role assignment create --role 'Key Vault Secrets User' --assignee CLIENT_ID --scope VAULT_ID`, or `'Storage Blob Data Contributor'`.",
    ),
    entry(
        Code::FIREWALL,
        "The service returns 403 because of its network rules.",
        "Add the subnet of the cluster (`az keyvault network-rule add`, `az storage account network-rule add`), or a private endpoint.",
    ),
    entry(
        Code::NO_RESOURCE,
        "The name is wrong, or its private DNS zone is not linked to the network of the cluster.",
        "Correct the URL, or link the DNS zone.",
    ),
    entry(
        Code::RESOURCE_FAILED,
        "The service is not reachable, or returns another status.",
        "Allow egress to the service.",
    ),
    entry(
        Code::NO_ACCESS_POLICY,
        "The vault uses access policies instead of roles.",
        "Add one: `az keyvault set-policy --name VAULT --spn CLIENT_ID --secret-permissions get list`. Only this check needs `list`.",
    ),
];
