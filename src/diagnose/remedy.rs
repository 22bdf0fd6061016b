use std::fmt;

use serde_json::json;

use super::finding::{Finding, Remedy};
use super::pod::Pod;
use super::resource::Resource;
use crate::code::{Code, Owner};

/// What a [`Remedy`] is written for.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Tool {
    /// A shell with `az`.
    Az,
    /// A shell with `az`, if the client is an application registration and not a managed identity.
    AzApplication,
    /// A shell with `kubectl`.
    Kubectl,
    /// A part of a manifest.
    Yaml,
    /// A part of a Terraform module.
    Terraform,
    /// A part of a Bicep file.
    Bicep,
}

impl fmt::Display for Tool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Az => "az",
            Self::AzApplication => "az ad app",
            Self::Kubectl => "kubectl",
            Self::Yaml => "yaml",
            Self::Terraform => "terraform",
            Self::Bicep => "bicep",
        })
    }
}

/// The federated credential that a service-account token needs.
///
/// # Examples
///
/// ```
/// use entra_workload::diagnose::Federation;
///
/// let remedies = Federation {
///     client_id: "7a5ff21b-4f5b-4f5b-9e3e-2c0b5a1d9a10".into(),
///     issuer: "https://issuer.example.com/".into(),
///     subject: "system:serviceaccount:shop:orders".into(),
///     audience: "api://AzureADTokenExchange".into(),
/// }
/// .remedies();
/// assert!(remedies[0].text.starts_with("az identity federated-credential create --name shop-orders"));
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "these are the parts of a federated credential"
)]
pub struct Federation {
    /// The client ID of the identity.
    pub client_id: String,
    /// `iss` of the token.
    pub issuer: String,
    /// `sub` of the token.
    pub subject: String,
    /// `aud` of the token.
    pub audience: String,
}

impl Federation {
    /// Returns what creates it: a command for a managed identity, one for an application registration, Terraform and Bicep.
    pub fn remedies(&self) -> Vec<Remedy> {
        let Self {
            client_id,
            issuer,
            subject,
            audience,
        } = self;
        let name = self.name();
        // A symbol does not begin with a digit.
        let symbol = name.replace('-', "_");
        let symbol = match symbol.bytes().next() {
            Some(first) if first.is_ascii_digit() => format!("_{symbol}"),
            _ => symbol,
        };
        let az = format!(
            "az identity federated-credential create --name {name} \\\n  \
             --identity-name \"$({})\" \\\n  \
             --resource-group \"$({})\" \\\n  \
             --issuer {} \\\n  --subject {} \\\n  --audiences {}",
            identity(client_id, "name"),
            identity(client_id, "resourceGroup"),
            shell(issuer),
            shell(subject),
            shell(audience),
        );
        let parameters =
            json!({ "name": name, "issuer": issuer, "subject": subject, "audiences": [audience] });
        let application = format!(
            "az ad app federated-credential create --id {} \\\n  --parameters {}",
            shell(client_id),
            shell(&parameters.to_string()),
        );
        let terraform = format!(
            "resource \"azurerm_federated_identity_credential\" \"{symbol}\" {{\n  \
             name                      = \"{name}\"\n  \
             user_assigned_identity_id = azurerm_user_assigned_identity.IDENTITY.id # parent_id before azurerm 5\n  \
             issuer                    = {}\n  subject                   = {}\n  audience                  = [{}]\n}}",
            hcl(issuer),
            hcl(subject),
            hcl(audience),
        );
        let bicep = format!(
            "resource {symbol} 'Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials@2024-11-30' = {{\n  \
             parent: identity\n  name: '{name}'\n  properties: {{\n    issuer: {}\n    subject: {}\n    audiences: [{}]\n  }}\n}}",
            bicep(issuer),
            bicep(subject),
            bicep(audience),
        );
        vec![
            remedy(Tool::Az, az),
            remedy(Tool::AzApplication, application),
            remedy(Tool::Terraform, terraform),
            remedy(Tool::Bicep, bicep),
        ]
    }

    /// Returns what gives the credential whose subject differs in upper and lower case the right one.
    fn change_of_subject(&self) -> Vec<Remedy> {
        let Self {
            client_id, subject, ..
        } = self;
        let of_identity = "--identity-name $IDENTITY --resource-group $GROUP";
        let az = format!(
            "IDENTITY=$({})\nGROUP=$({})\nSUBJECT={}\n\
             NAME=$(az identity federated-credential list {of_identity} --query \"[].[name, subject]\" --output tsv |\n  \
             awk -F '\\t' -v subject=\"$SUBJECT\" 'tolower($2) == tolower(subject) {{ print $1 }}')\n\
             az identity federated-credential update {of_identity} --name $NAME --subject \"$SUBJECT\"",
            identity(client_id, "name"),
            identity(client_id, "resourceGroup"),
            shell(subject)
        );
        vec![
            remedy(Tool::Az, az),
            remedy(Tool::Terraform, format!("subject = {}", hcl(subject))),
            remedy(Tool::Bicep, format!("subject: {}", bicep(subject))),
        ]
    }

    /// Returns what gives the credential of this subject, which Azure allows once, the audience.
    fn change_of_audience(&self) -> Vec<Remedy> {
        let Self {
            client_id,
            subject,
            audience,
            ..
        } = self;
        let subject: String = subject.chars().filter(|c| !"'`\"\\$".contains(*c)).collect();
        let of_identity = "--identity-name $IDENTITY --resource-group $GROUP";
        let az = format!(
            "IDENTITY=$({})\nGROUP=$({})\n\
             NAME=$(az identity federated-credential list {of_identity} --query \"[?subject=='{subject}'].name\" --output tsv)\n\
             az identity federated-credential update {of_identity} --name $NAME --audiences {}",
            identity(client_id, "name"),
            identity(client_id, "resourceGroup"),
            shell(audience)
        );
        let parameters = json!({ "audiences": [audience] });
        let id = format!("--id {}", shell(client_id));
        let application = format!(
            "NAME=$(az ad app federated-credential list {id} --query \"[?subject=='{subject}'].name\" --output tsv)\n\
             az ad app federated-credential update {id} --federated-credential-id $NAME --parameters {}",
            shell(&parameters.to_string()),
        );
        vec![
            remedy(Tool::Az, az),
            remedy(Tool::AzApplication, application),
            remedy(Tool::Terraform, format!("audience = [{}]", hcl(audience))),
            remedy(Tool::Bicep, format!("audiences: [{}]", bicep(audience))),
        ]
    }

    /// Namespace and name of the service account, and a mark of the issuer: `create` replaces the credential of another
    /// cluster that has the same name.
    fn name(&self) -> String {
        let name = self.subject.strip_prefix("system:serviceaccount:");
        let name = name.unwrap_or(&self.subject).replace([':', '.'], "-");
        let kept = |c: &char| c.is_ascii_alphanumeric() || "-_".contains(*c);
        let name: String = name.chars().filter(kept).take(MAX_NAME - 9).collect();
        let name = if name.is_empty() { "workload" } else { &name };
        format!("{name}-{:08x}", mark(&self.issuer))
    }
}

/// The permission that the service account of a pod with an identity binding needs.
///
/// # Examples
///
/// ```
/// use entra_workload::diagnose::BindingPermission;
///
/// let remedy = BindingPermission {
///     client_id: "7a5ff21b-4f5b-4f5b-9e3e-2c0b5a1d9a10".into(),
///     namespace: "shop".into(),
///     service_account: "orders".into(),
/// }
/// .remedy();
/// assert!(remedy.text.ends_with("| kubectl apply --filename -"));
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "these are the parts of the permission")]
pub struct BindingPermission {
    /// The client ID of the identity.
    pub client_id: String,
    /// The namespace of the service account.
    pub namespace: String,
    /// The name of the service account.
    pub service_account: String,
}

impl BindingPermission {
    /// Returns the command that grants it: a `ClusterRole` for the identity, and its binding.
    pub fn remedy(&self) -> Remedy {
        let Self {
            client_id,
            namespace,
            service_account,
        } = self;
        let role = format!("use-{}", client_id.to_ascii_lowercase());
        let group = "rbac.authorization.k8s.io";
        let version = format!("{group}/v1");
        // `kubectl create clusterrole` refuses resources that the API server does not list.
        let grant =
            json!({ "apiGroups": [CLIENT_IDS], "resources": [client_id], "verbs": ["use-managed-identity"] });
        let cluster_role = json!({ "apiVersion": version, "kind": "ClusterRole", "metadata": { "name": role }, "rules": [grant] });
        let binding = json!({
            "apiVersion": version,
            "kind": "ClusterRoleBinding",
            "metadata": { "name": format!("{role}-{namespace}-{service_account}") },
            "roleRef": { "apiGroup": group, "kind": "ClusterRole", "name": role },
            "subjects": [{ "kind": "ServiceAccount", "namespace": namespace, "name": service_account }],
        });
        let list =
            format!("{{\"apiVersion\":\"v1\",\"kind\":\"List\",\"items\":[\n{cluster_role},\n{binding}\n]}}");
        let command = format!("echo {} | kubectl apply --filename -", shell(&list));
        remedy(Tool::Kubectl, command)
    }
}

/// Returns what fixes a finding, with the names of the pod in it.
pub(super) fn remedies(finding: &Finding, pod: &Pod) -> Vec<Remedy> {
    match finding.code {
        Code::AUDIENCE_MISMATCH => finding
            .federation
            .as_ref()
            .map(Federation::change_of_audience)
            .unwrap_or_default(),
        Code::SUBJECT_CASE_MISMATCH => finding
            .federation
            .as_ref()
            .map(Federation::change_of_subject)
            .unwrap_or_default(),
        Code::NO_FEDERATED_CREDENTIAL
        | Code::ISSUER_MISMATCH
        | Code::SUBJECT_MISMATCH
        | Code::EXPRESSION_MISMATCH => finding
            .federation
            .as_ref()
            .map(Federation::remedies)
            .unwrap_or_default(),
        Code::NO_SERVICE_PRINCIPAL => vec![remedy(
            Tool::Az,
            format!("az ad sp create --id {}", shell(&pod.client_id)),
        )],
        Code::NOT_ASSIGNED => vec![remedy(
            Tool::Az,
            format!(
                "OBJECT_ID=$(az ad sp show --id {} --query id --output tsv)\n\
                 az rest --method POST \\\n  \
                 --uri https://graph.microsoft.com/v1.0/servicePrincipals/RESOURCE_OBJECT_ID/appRoleAssignedTo \\\n  \
                 --body \"{{'principalId': '$OBJECT_ID', 'resourceId': 'RESOURCE_OBJECT_ID', 'appRoleId': 'APP_ROLE_ID'}}\"",
                shell(&pod.client_id)
            ),
        )],
        Code::DISABLED_APPLICATION => vec![remedy(
            Tool::Az,
            format!(
                "az ad sp update --id {} --set accountEnabled=true",
                shell(&pod.client_id)
            ),
        )],
        Code::NO_ROLE => role(finding, &pod.client_id),
        Code::NO_ACCESS_POLICY => access_policy(finding, &pod.client_id),
        Code::FIREWALL => network_rule(finding),
        Code::IDENTITY_BINDING_FORBIDDEN => {
            let permission = BindingPermission {
                client_id: pod.client_id.clone(),
                namespace: pod.namespace.clone(),
                service_account: pod.service_account.clone(),
            };
            vec![permission.remedy()]
        }
        Code::UNKNOWN_HOST if finding.owner == Owner::Developer => {
            of_workload(Code::INVALID_AUTHORITY_HOST, pod)
        }
        Code::UNKNOWN_HOST
        | Code::RESOLVER_SILENT
        | Code::CONNECTION_REFUSED
        | Code::UNREACHABLE_HOST
        | Code::NO_RESPONSE => {
            vec![remedy(Tool::Yaml, EGRESS)]
        }
        Code::EXPIRED_TOKEN | Code::ASSERTION_OUTSIDE_VALIDITY => vec![remedy(Tool::Yaml, VOLUME_MOUNT)],
        Code::WRONG_AUDIENCE => finding
            .evidence
            .first()
            .map(|audience| vec![remedy(Tool::Yaml, volume(&audience.wanted))])
            .unwrap_or_default(),
        code => of_workload(code, pod),
    }
}

/// Commands that change the service account, the Deployment or the pod.
fn of_workload(code: Code, pod: &Pod) -> Vec<Remedy> {
    let Pod {
        namespace,
        service_account,
        name,
        deployment,
        ..
    } = pod;
    let kubectl = |command: String| {
        remedy(
            Tool::Kubectl,
            format!("kubectl --namespace {namespace} {command}"),
        )
    };
    let annotate = |annotation: &str, value: &str| {
        let annotation = format!("azure.workload.identity/{annotation}={}", shell(value));
        vec![
            kubectl(format!(
                "annotate serviceaccount {service_account} --overwrite {annotation}"
            )),
            kubectl(format!("rollout restart deployment {deployment}")),
        ]
    };
    let set_env = |variables: &str| vec![kubectl(format!("set env deployment {deployment} {variables}"))];
    let patch = |template: &str| {
        kubectl(format!(
            "patch deployment {deployment} --type merge --patch '{{\"spec\":{{\"template\":{template}}}}}'"
        ))
    };
    match code {
        Code::NO_WORKLOAD_IDENTITY => vec![
            patch(r#"{"metadata":{"labels":{"azure.workload.identity/use":"true"}}}"#),
            remedy(Tool::Yaml, POD_LABEL),
        ],
        Code::NO_CLIENT_ID | Code::INVALID_CLIENT_ID | Code::UNKNOWN_APPLICATION => {
            annotate("client-id", "CLIENT_ID_OF_THE_IDENTITY")
        }
        Code::NO_TENANT_ID | Code::INVALID_TENANT_ID | Code::UNKNOWN_TENANT => {
            annotate("tenant-id", "TENANT_ID_OF_THE_IDENTITY")
        }
        Code::TOKEN_LIVES_TOO_LONG | Code::ASSERTION_LIVES_TOO_LONG => {
            annotate("service-account-token-expiration", "3600")
        }
        Code::INVALID_AUTHORITY_HOST | Code::UNKNOWN_LOGIN_HOST => set_env("AZURE_AUTHORITY_HOST-"),
        Code::TENANT_OF_ANOTHER_CLOUD => set_env("AZURE_AUTHORITY_HOST=LOGIN_HOST_OF_THE_TENANT"),
        Code::ANOTHER_CREDENTIAL_FIRST => set_env("AZURE_CLIENT_SECRET- AZURE_CLIENT_CERTIFICATE_PATH-"),
        Code::WORKLOAD_IDENTITY_EXCLUDED => set_env("AZURE_TOKEN_CREDENTIALS=WorkloadIdentityCredential"),
        Code::WRONG_CLIENT_SECRET | Code::EXPIRED_CLIENT_SECRET => set_env("AZURE_CLIENT_SECRET-"),
        Code::NOT_A_TOKEN | Code::TOKEN_OF_THE_API_SERVER => set_env("AZURE_FEDERATED_TOKEN_FILE-"),
        Code::UNREADABLE_TOKEN_FILE => vec![patch(r#"{"spec":{"securityContext":{"fsGroup":65532}}}"#)],
        Code::NO_TOKEN_FILE
        | Code::EMPTY_TOKEN_FILE
        | Code::TOKEN_FOR_IDENTITY_BINDING
        | Code::INCOMPLETE_IDENTITY_BINDING => vec![kubectl(format!("delete pod {name}"))],
        _ => Vec::new(),
    }
}

fn volume(audience: &str) -> String {
    format!(
        "volumes:\n  - name: azure-identity-token\n    projected:\n      sources:\n        - serviceAccountToken:\n            \
         audience: {audience}\n            expirationSeconds: 3600\n            path: azure-identity-token"
    )
}

fn remedy(tool: Tool, text: impl Into<String>) -> Remedy {
    Remedy {
        tool,
        text: text.into(),
    }
}

/// A command that prints a property of the identity with this client ID.
fn identity(client_id: &str, property: &str) -> String {
    let id: String = client_id
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || *c == '-')
        .collect();
    format!("az identity list --query \"[?clientId=='{id}'].{property}\" --output tsv")
}

fn role(finding: &Finding, client_id: &str) -> Vec<Remedy> {
    let (role, show, below) = match &finding.resource {
        Some(Resource::Blob(url)) => (
            "Storage Blob Data Reader",
            format!("az storage account show --name {}", first_label(url)),
            container(url).map(|name| format!("/blobServices/default/containers/{name}")),
        ),
        Some(Resource::Vault(url)) => (
            "Key Vault Secrets User",
            format!("az keyvault show --name {}", first_label(url)),
            None,
        ),
        None => return Vec::new(),
    };
    vec![remedy(
        Tool::Az,
        format!(
            "az role assignment create --role {} --assignee {} \\\n  --scope \"$({show} --query id --output tsv){}\"",
            shell(role),
            shell(client_id),
            below.unwrap_or_default()
        ),
    )]
}

fn access_policy(finding: &Finding, client_id: &str) -> Vec<Remedy> {
    let Some(Resource::Vault(url)) = &finding.resource else {
        return Vec::new();
    };
    vec![remedy(
        Tool::Az,
        format!(
            "az keyvault set-policy --name {} --spn {} --secret-permissions get list",
            first_label(url),
            shell(client_id)
        ),
    )]
}

fn network_rule(finding: &Finding) -> Vec<Remedy> {
    let (command, name) = match &finding.resource {
        Some(Resource::Blob(url)) => (
            "storage account network-rule add --account-name",
            first_label(url),
        ),
        Some(Resource::Vault(url)) => ("keyvault network-rule add --name", first_label(url)),
        None => return Vec::new(),
    };
    vec![remedy(
        Tool::Az,
        format!("az {command} {name} --subnet SUBNET_ID_OF_THE_CLUSTER"),
    )]
}

/// Returns the container of a URL in the public form.
fn container(url: &str) -> Option<String> {
    let url = url::Url::parse(url).ok()?;
    let is_name = |name: &&str| {
        let mut bytes = name.bytes();
        !name.is_empty() && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'$')
    };
    let mut segments = url.path_segments().filter(|_| url.domain().is_some())?;
    segments
        .next()
        .filter(is_name)
        .map(|name| name.replace('$', "\\$"))
}

/// Returns the name of an account or a vault.
fn first_label(url: &str) -> String {
    let url = url::Url::parse(url).ok();
    let host = url.as_ref().and_then(url::Url::host_str).unwrap_or_default();
    host.split('.').next().unwrap_or_default().to_owned()
}

/// A number that differs from issuer to issuer. Source: FNV-1a, 32 bits.
fn mark(issuer: &str) -> u32 {
    issuer.bytes().fold(0x811c_9dc5, |mark, byte| {
        (mark ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}

/// Quotes a value for a shell.
fn shell(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// Quotes a value for Terraform.
fn hcl(text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{}\"", text.replace("${", "$${").replace("%{", "%%{"))
}

/// Quotes a value for Bicep.
fn bicep(text: &str) -> String {
    format!(
        "'{}'",
        text.replace('\\', "\\\\")
            .replace('\'', "\\'")
            .replace("${", "\\${")
    )
}

const POD_LABEL: &str =
    "spec:\n  template:\n    metadata:\n      labels:\n        azure.workload.identity/use: \"true\"";

/// A policy of its own would cut off everything else.
const EGRESS: &str = "# If a NetworkPolicy restricts the egress of this pod, add these rules to it:\negress:\n  - ports:\n      \
                      - {protocol: TCP, port: 443}\n      - {protocol: UDP, port: 53}\n      - {protocol: TCP, port: 53}";

const VOLUME_MOUNT: &str = "volumeMounts:\n  - name: azure-identity-token\n    \
    mountPath: /var/run/secrets/azure/tokens # the folder, without subPath\n    readOnly: true";

/// The API group of the identities. Source: AKS, "Identity bindings".
const CLIENT_IDS: &str = "cid.wi.aks.azure.com";

/// Source: `az identity federated-credential create`, 3 to 120 characters.
const MAX_NAME: usize = 120;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_a_token_cannot_leave_their_quotes() {
        let federation = Federation {
            client_id: "x' || true".into(),
            issuer: "https://i/'$(reboot)".into(),
            subject: "system:serviceaccount:a:${b}\"".into(),
            audience: "c".into(),
        };
        let texts: Vec<String> = federation
            .remedies()
            .into_iter()
            .map(|remedy| remedy.text)
            .collect();
        assert!(
            texts[0].contains(r"--issuer 'https://i/'\''$(reboot)'"),
            "{}",
            texts[0]
        );
        assert!(texts[0].contains("[?clientId=='xtrue'].name"), "{}", texts[0]);
        assert!(
            texts[1].contains(r#""issuer":"https://i/'\''$(reboot)""#),
            "{}",
            texts[1]
        );
        assert!(
            texts[2].contains(r#""system:serviceaccount:a:$${b}\"""#),
            "{}",
            texts[2]
        );
        assert!(texts[3].contains(r"'https://i/\'$(reboot)'"), "{}", texts[3]);
    }
}
