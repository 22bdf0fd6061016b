use bytes::Bytes;
use http::header::{AUTHORIZATION, HeaderValue};
use http::{Request, StatusCode};
use url::{Host, Url};

use super::Diagnosis;
use super::finding::{Finding, Severity};
use super::report::{Outcome, Step};
use super::variables::Settings;
use crate::authority::{Cloud, is_loopback};
use crate::code::Code;
use crate::error::Error;
use crate::token::AccessToken;

/// What a token is for.
#[derive(Clone, Debug)]
pub(super) enum Resource {
    Blob(String),
    Vault(String),
}

impl Resource {
    pub(super) fn blob(url: &str) -> Self {
        Self::Blob(without_secrets(url))
    }

    pub(super) fn vault(url: &str) -> Self {
        Self::Vault(without_secrets(url))
    }

    pub(super) fn scope(&self, cloud: &Cloud) -> String {
        match self {
            Self::Blob(_) => cloud.storage_scope().to_owned(),
            Self::Vault(_) => cloud.key_vault_scope().to_owned(),
        }
    }

    fn url(&self) -> &str {
        match self {
            Self::Blob(url) | Self::Vault(url) => url,
        }
    }

    /// Returns a request that reads as little as possible.
    fn request(&self, token: &AccessToken) -> Result<Request<Bytes>, Error> {
        let invalid = || {
            Error::configuration(format!("{:?} is not an https URL", self.url())).with_code(Code::NO_RESOURCE)
        };
        let mut url = Url::parse(self.url()).map_err(|_| invalid())?;
        // A token must not travel unencrypted.
        if url.scheme() != "https" && !is_loopback(&url) {
            return Err(invalid());
        }
        match self {
            Self::Vault(_) => {
                url.set_path("/secrets");
                url.set_query(Some("api-version=7.4&maxresults=1"));
            }
            Self::Blob(_) => {
                // An emulator has the account in the path.
                let account = usize::from(!matches!(url.host(), Some(Host::Domain(_))));
                let segments = url.path_segments().into_iter().flatten();
                match segments.filter(|name| !name.is_empty()).count() {
                    count if count <= account => url.set_query(Some("comp=list&maxresults=1")),
                    count if count == account + 1 => {
                        url.set_query(Some("restype=container&comp=list&maxresults=1"));
                    }
                    _ => {}
                }
            }
        }
        let mut bearer =
            HeaderValue::try_from(format!("Bearer {}", token.secret())).map_err(|_| invalid())?;
        bearer.set_sensitive(true);
        let request = Request::get(url.as_str())
            .header(AUTHORIZATION, bearer)
            .header("x-ms-version", "2021-12-02");
        request.body(Bytes::new()).map_err(|_| invalid())
    }

    fn service(&self) -> &'static str {
        match self {
            Self::Blob(_) => "Blob Storage",
            Self::Vault(_) => "Key Vault",
        }
    }
}

/// Reads from a resource, and tells a rejected token, a missing role and a firewall apart.
pub(super) async fn check(
    diagnosis: &Diagnosis<'_>,
    settings: &Settings,
    resource: &Resource,
    scope: &str,
    token: &AccessToken,
) -> Outcome {
    let failed = |finding| Outcome::failed(Step::Resource, finding);
    let own_scope = resource.scope(&settings.cloud);
    // The scope of the diagnosis is that of the first resource.
    let other = if scope == own_scope {
        None
    } else {
        let check = super::token_request::check(diagnosis, None, &own_scope).await;
        match check.token {
            Some(token) => Some(token),
            None => {
                return Outcome {
                    step: Step::Resource,
                    ..check.check
                };
            }
        }
    };
    let request = match resource.request(other.as_ref().unwrap_or(token)) {
        Ok(request) => request,
        Err(error) => return failed(Finding::of_error(&error, Code::NO_RESOURCE)),
    };
    let response = match diagnosis.send(request).await {
        Ok(response) => response,
        Err(error) => {
            let mut finding = Finding::of_error(&error, Code::RESOURCE_FAILED);
            // Every account and vault has a DNS name of its own.
            if finding.code == Code::UNKNOWN_HOST {
                finding = Finding::new(
                    Code::NO_RESOURCE,
                    Severity::Error,
                    format!("there is no {} at {}", resource.service(), resource.url()),
                );
            }
            return failed(finding.with_evidence("resource", resource.url(), "a response over TLS"));
        }
    };
    let status = response.status();
    if status.is_success() {
        return Outcome::passed(Step::Resource, format!("{} can be read", resource.url()));
    }
    let body = String::from_utf8_lossy(response.body());
    let says = |names: &[&str]| names.iter().any(|name| body.contains(name));
    let service = resource.service();
    let (code, cause) = match status {
        StatusCode::UNAUTHORIZED => (
            Code::TOKEN_REJECTED,
            format!("{service} rejects the token: it is for another resource or tenant, or was revoked"),
        ),
        StatusCode::FORBIDDEN if says(&FIREWALL) => (
            Code::FIREWALL,
            format!("the firewall of {service} does not let this pod in"),
        ),
        StatusCode::FORBIDDEN if says(&["AccessDenied"]) => (
            Code::NO_ACCESS_POLICY,
            "no access policy of the vault lets the identity list secrets".to_owned(),
        ),
        StatusCode::FORBIDDEN => (
            Code::NO_ROLE,
            format!("the identity has no role on {service} that allows to read"),
        ),
        StatusCode::NOT_FOUND => (Code::NO_RESOURCE, format!("{} does not exist", resource.url())),
        _ => (
            Code::RESOURCE_FAILED,
            format!("{service} returns status {}", status.as_u16()),
        ),
    };
    let wanted = match (code, resource) {
        (Code::NO_ROLE, Resource::Blob(_)) => "Storage Blob Data Reader, or another data role",
        (Code::NO_ROLE, Resource::Vault(_)) => "Key Vault Secrets User, or another data role",
        (Code::NO_ACCESS_POLICY, _) => "an access policy with the secret permissions get and list",
        (Code::FIREWALL, _) => "a network rule or a private endpoint for this pod",
        _ => "status 200",
    };
    let mut finding = Finding::new(code, Severity::Error, cause).with_evidence(
        "response",
        format!("status {}{}", status.as_u16(), error_code(&body)),
        wanted,
    );
    finding.resource = Some(resource.clone());
    failed(finding)
}

/// Returns the error code in a body of Blob Storage (XML) or Key Vault (JSON); never anything else of it.
fn error_code(body: &str) -> String {
    let known = REPORTED.iter().filter(|code| body.contains(**code));
    known
        .max_by_key(|code| code.len())
        .map(|code| format!(", {code}"))
        .unwrap_or_default()
}

/// The URL is shown, and a query can be a shared access signature.
fn without_secrets(url: &str) -> String {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = authority.rsplit('@').next().unwrap_or_default();
    format!("{scheme}://{host}{path}")
}

/// Blob Storage says `AuthorizationFailure` for a network rule, and `AuthorizationPermissionMismatch` for a
/// missing role. Sources: Azure Storage, "Common REST API error codes"; Key Vault, "REST API error codes".
const FIREWALL: [&str; 4] = [
    "AuthorizationFailure",
    "ForbiddenByFirewall",
    "ForbiddenByConnection",
    "Client address is not authorized",
];

const REPORTED: [&str; 13] = [
    "AuthorizationFailure",
    "AuthorizationPermissionMismatch",
    "InsufficientAccountPermissions",
    "AccountIsDisabled",
    "ContainerNotFound",
    "BlobNotFound",
    "InvalidAuthenticationInfo",
    "NoAuthenticationInformation",
    "ForbiddenByFirewall",
    "ForbiddenByConnection",
    "ForbiddenByRbac",
    "AccessDenied",
    "Forbidden",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shown_url_has_neither_user_nor_signature() {
        for (url, shown) in [
            (
                "https://a.blob.core.windows.net/c/b?sig=x#y",
                "https://a.blob.core.windows.net/c/b",
            ),
            ("https://user:pw@v.vault.azure.net", "https://v.vault.azure.net"),
            ("https://v.vault.azure.net/a@b", "https://v.vault.azure.net/a@b"),
            ("account?sig=x", "account"),
        ] {
            assert_eq!(Resource::blob(url).url(), shown);
        }
    }
}
