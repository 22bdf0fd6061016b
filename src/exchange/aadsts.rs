use http::StatusCode;

use crate::code::Code;

use crate::assertion::jwt::Claims;
use crate::env::{
    AZURE_AUTHORITY_HOST, AZURE_CLIENT_ID, AZURE_KUBERNETES_SNI_NAME, AZURE_KUBERNETES_TOKEN_PROXY,
};
use crate::token::Secret;

/// What was sent to the server, for the message.
pub(super) struct Presented<'a> {
    pub(super) host: &'a str,
    /// Whether `host` is the token proxy of an AKS cluster.
    pub(super) has_token_proxy: bool,
    pub(super) tenant_id: &'a str,
    pub(super) client_id: &'a str,
    /// The client assertion or the client secret.
    pub(super) secret: &'a Secret,
}

/// Returns the section of "Troubleshooting" about an AADSTS code.
pub(super) fn section(code: u32, presented: &Presented<'_>) -> Option<Code> {
    let claims = Claims::read(presented.secret.expose()).unwrap_or_default();
    let is_for_identity_binding = claims.audiences == [IDENTITY_BINDING_AUDIENCE];
    let is_self_signed = claims.issuer.is_some_and(|issuer| issuer == presented.client_id);
    Some(match code {
        700_211..=700_213 if is_for_identity_binding && !presented.has_token_proxy => {
            Code::TOKEN_FOR_IDENTITY_BINDING
        }
        700_027 if is_self_signed => Code::UNREGISTERED_CERTIFICATE,
        70_021 | 70_025 | 700_025 => Code::NO_FEDERATED_CREDENTIAL,
        700_211 => Code::ISSUER_MISMATCH,
        700_212 => Code::AUDIENCE_MISMATCH,
        700_213 => Code::SUBJECT_MISMATCH,
        7_002_131 => Code::EXPRESSION_MISMATCH,
        700_024 | 500_133 => Code::ASSERTION_OUTSIDE_VALIDITY,
        70_023 | 700_232 => Code::ASSERTION_LIVES_TOO_LONG,
        700_027 => Code::SIGNATURE_MISMATCH,
        90_061 | 50_166 | 7_000_272 => Code::ISSUER_KEYS_UNREACHABLE,
        700_016 => Code::UNKNOWN_APPLICATION,
        90_002 | 900_023 => Code::UNKNOWN_TENANT,
        500_011 => Code::UNKNOWN_RESOURCE,
        70_011 | 1_002_012 => Code::INVALID_SCOPE,
        7_000_215 => Code::WRONG_CLIENT_SECRET,
        7_000_222 => Code::EXPIRED_CLIENT_SECRET,
        7_000_112 => Code::DISABLED_APPLICATION,
        700_222 | 700_226 => Code::ASSERTION_OF_ENTRA,
        700_231 => Code::CHAINED_FEDERATION,
        700_236 => Code::ANOTHER_TENANT,
        700_223 | 700_238 | 7_002_381 => Code::FEDERATION_FORBIDDEN,
        53_003 | 50_105 => Code::CONDITIONAL_ACCESS,
        _ => return None,
    })
}

/// Returns the usual cause of an AADSTS code and what to do about it. Source: Microsoft's list of
/// AADSTS error codes, and "Workload identity federation considerations".
pub(super) fn hint(code: u32, presented: &Presented<'_>) -> Option<String> {
    let claims = Claims::read(presented.secret.expose()).unwrap_or_default();
    let issuer = claims.issuer.unwrap_or_default();
    let subject = claims.subject.unwrap_or_default();
    let audience = claims.audiences.join(" ");
    // With a certificate, the application signs its assertions itself.
    let is_self_signed = issuer == presented.client_id;
    let text = match code {
        700_211..=700_213 if audience == IDENTITY_BINDING_AUDIENCE && !presented.has_token_proxy => format!(
            "the token is for an AKS identity binding, so only the cluster's token proxy accepts it, and \
             {AZURE_KUBERNETES_TOKEN_PROXY} is not set; recreate the pod, or remove its annotation \
             azure.workload.identity/use-identity-binding"
        ),
        700_024 | 500_133 if is_self_signed => {
            "the assertion is expired or not yet valid; check this machine's clock".to_owned()
        }
        700_027 if is_self_signed => "the certificate is not registered with this application or has \
            expired; upload it under \"Certificates & secrets\", and wait a few minutes if it is new"
            .to_owned(),
        70_021 | 70_025 | 700_025 => format!(
            "no federated credential of this client matches the token; add one with issuer {issuer:?}, \
             subject {subject:?} and audience {audience:?}, and wait a few minutes if it is new"
        ),
        700_211 => format!(
            "no federated credential of this client has the token's issuer, {issuer:?}; it must match \
             exactly, including a trailing slash, and a change takes a few minutes to propagate"
        ),
        700_212 => format!(
            "no federated credential of this client has the token's audience, {audience:?}; change the \
             audience of the credential, or that of the token"
        ),
        700_213 => format!(
            "no federated credential of this client has the token's subject, {subject:?}; it must match \
             exactly (namespace and service account), and a change takes a few minutes to propagate"
        ),
        700_024 | 500_133 => {
            "the assertion is expired or not yet valid; check this machine's clock, and that the token \
             file is a projected volume mounted without subPath"
                .to_owned()
        }
        700_027 => format!(
            "the assertion's signature does not match the keys that {issuer:?} publishes; after a \
             rotation of the cluster's signing keys this resolves within minutes"
        ),
        70_023 | 700_232 => {
            "the assertion is valid for longer than a day; use the token file that the webhook mounts, with at \
            most 86400 s"
                .to_owned()
        }
        7_002_131 => "the expression of the federated credential does not match the token; check its \
            claimsMatchingExpression"
            .to_owned(),
        90_061 | 50_166 | 7_000_272 => format!(
            "Entra could not fetch the keys of {issuer:?}; its discovery document must be reachable from \
             the internet"
        ),
        700_016 => format!(
            "the application does not exist in this tenant; check the client ID (.client_id(..) or {AZURE_CLIENT_ID}) \
             and the tenant ID ({TENANT_ORIGINS}), and whether the managed identity was deleted and recreated"
        ),
        90_002 | 900_023 => format!(
            "the tenant does not exist in this cloud; check the tenant ID ({TENANT_ORIGINS}) and the authority host \
             (.authority_host(..) or {AZURE_AUTHORITY_HOST})"
        ),
        500_011 => "the resource of the scope is unknown in this tenant; check the scope's spelling, and \
            whether the resource has a service principal in the tenant"
            .to_owned(),
        70_011 | 1_002_012 => "a scope must be a resource followed by /.default".to_owned(),
        700_226 => {
            "of the tokens of Entra, only those of a user-assigned managed identity are accepted as an \
            assertion, not those of an application"
                .to_owned()
        }
        700_231 => {
            "the assertion was itself obtained with a federated credential, which Entra does not accept; use \
            the service-account token of the cluster directly, or the managed identity of the machine"
                .to_owned()
        }
        700_236 => {
            "the managed identity and the application must be registered in the same tenant".to_owned()
        }
        700_222 => "an assertion issued by Entra is not accepted; use the cluster's \
            service-account token"
            .to_owned(),
        700_223 | 700_238 | 7_002_381 => {
            "a policy of the tenant forbids this federation; ask its administrator".to_owned()
        }
        7_000_112 => "the application is disabled; ask the tenant's administrator".to_owned(),
        53_003 | 50_105 => {
            "a policy forbids this workload to access the resource; ask the tenant's administrator".to_owned()
        }
        7_000_215 => "the client secret is wrong; use its value, not its ID".to_owned(),
        7_000_222 => "the client secret has expired".to_owned(),
        _ => return None,
    };
    Some(text)
}

/// Returns why the API server of a cluster, or the token proxy behind its address, refused a request,
/// and what to do about it.
///
/// * `message`: that of the server's `Status`. The API server writes the verb that a user lacks into it.
pub(super) fn cluster_hint(status: StatusCode, message: &str, presented: &Presented<'_>) -> (Code, String) {
    let claims = Claims::read(presented.secret.expose()).unwrap_or_default();
    let subject = claims.subject.unwrap_or_default();
    let client_id = presented.client_id;
    let audience = claims.audiences.join(" ");
    if status == StatusCode::FORBIDDEN && message.contains(USE_MANAGED_IDENTITY) {
        let hint = format!(
            "the service account {subject:?} may not use this identity; bind a ClusterRole to it with \
             apiGroups [cid.wi.aks.azure.com], resources [{client_id}] and verbs [{USE_MANAGED_IDENTITY}]"
        );
        return (Code::IDENTITY_BINDING_FORBIDDEN, hint);
    }
    if audience != IDENTITY_BINDING_AUDIENCE {
        let hint = format!(
            "the token's audience is {audience:?} and must be \"{IDENTITY_BINDING_AUDIENCE}\"; add the pod annotation \
             azure.workload.identity/use-identity-binding: \"true\" and recreate the pod"
        );
        return (Code::WRONG_AUDIENCE, hint);
    }
    let hint = format!(
        "that is the answer of the API server; check {AZURE_KUBERNETES_SNI_NAME}, and that the identity has a binding \
         for this cluster"
    );
    (Code::NOT_THE_TOKEN_PROXY, hint)
}

/// Whether a client assertion is meant for the cluster's token proxy.
pub(super) fn is_for_identity_binding(assertion: &Secret) -> bool {
    Claims::read(assertion.expose()).is_ok_and(|claims| claims.audiences == [IDENTITY_BINDING_AUDIENCE])
}

/// The audience of service-account tokens in pods with an AKS identity binding. Source: AKS,
/// "Identity bindings concepts".
const IDENTITY_BINDING_AUDIENCE: &str = "api://AKSIdentityBinding";

/// The verb that a service account needs for a managed identity. Source: AKS, "Set up identity bindings".
const USE_MANAGED_IDENTITY: &str = "use-managed-identity";

/// Where a tenant ID comes from, in the order in which it counts.
const TENANT_ORIGINS: &str = "of the request, .tenant_id(..) or AZURE_TENANT_ID";
