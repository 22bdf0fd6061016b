use bytes::Bytes;
use http::header::{AUTHORIZATION, HeaderValue};
use http::{Request, StatusCode};
use url::{Host, Url};

use super::Diagnosis;
use super::finding::{Finding, Severity};
use super::report::{Outcome, Step};
use super::variables::Settings;
use crate::authority::{Cloud, is_loopback};
use crate::code::{Code, Owner};
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

    /// The path does not matter: the secrets are listed.
    pub(super) fn vault(url: &str) -> Self {
        let url = without_secrets(url);
        let end = url
            .find("://")
            .and_then(|start| Some(start + 3 + url.get(start + 3..)?.find('/')?));
        Self::Vault(end.and_then(|end| url.get(..end)).unwrap_or(&url).to_owned())
    }

    /// The scope of the service; `None` if that of this cloud is not known.
    pub(super) fn scope<'a>(&self, cloud: &'a Cloud) -> Option<&'a str> {
        match self {
            Self::Blob(_) => cloud.storage_scope(),
            Self::Vault(_) => cloud.key_vault_scope(),
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
        // A token must not travel unencrypted, nor to the owner of a misspelt domain.
        if url.scheme() != "https" && !is_loopback(&url) {
            return Err(invalid());
        }
        let host = url.host_str().unwrap_or_default();
        let is_known = self.domains().iter().any(|domain| host.ends_with(domain));
        if !is_known && !is_loopback(&url) {
            let message = format!(
                "{host} is no host of {}, and gets no token; it ends with {}",
                self.service(),
                self.domains().join(" or ")
            );
            return Err(Error::configuration(message).with_code(Code::NO_RESOURCE));
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

    /// Where the service is, in the clouds that Microsoft runs.
    fn domains(&self) -> &'static [&'static str] {
        match self {
            Self::Blob(_) => &BLOB_DOMAINS,
            Self::Vault(_) => &VAULT_DOMAINS,
        }
    }

    pub(super) fn service(&self) -> &'static str {
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
    let failed = |finding: Finding| Outcome {
        detail: Some(format!("{}: {}", resource.url(), finding.title)),
        ..Outcome::failed(Step::Resource, finding)
    };
    // The scope of the diagnosis is that of the first resource, or was set because the cloud's is not known.
    let other_scope = resource.scope(&settings.cloud).filter(|own| *own != scope);
    let mut other = None;
    if let Some(own_scope) = other_scope {
        let check = super::token_request::check(diagnosis, None, own_scope).await;
        if check.token.is_none() {
            return Outcome {
                step: Step::Resource,
                ..check.check
            };
        }
        other = check.token;
    }
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
            format!("the firewall of {service} blocks this pod"),
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
    let reported = response
        .headers()
        .get("x-ms-error-code")
        .and_then(|code| code.to_str().ok());
    let reported = reported
        .filter(|code| code.len() <= LONGEST_CODE && code.bytes().all(|byte| byte.is_ascii_alphanumeric()))
        .map_or_else(|| error_code(&body), |code| format!(", {code}"));
    let presented = format!("status {}{reported}", status.as_u16());
    let mut finding = Finding::new(code, Severity::Error, cause).with_evidence("response", presented, wanted);
    if code == Code::RESOURCE_FAILED && status.is_client_error() {
        finding.owner = Owner::Developer;
    }
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

/// Sources: "Storage account endpoints", "Azure DNS zone endpoints", and the developer guides of the other clouds.
const BLOB_DOMAINS: [&str; 4] = [
    ".blob.core.windows.net",
    ".blob.storage.azure.net",
    ".blob.core.usgovcloudapi.net",
    ".blob.core.chinacloudapi.cn",
];

/// Sources: "About Azure Key Vault", DNS suffixes; `SqlClient`, trusted endpoints (France, Germany); the Azure CLI
/// (`UsNat`, `UsSec`).
const VAULT_DOMAINS: [&str; 7] = [
    ".vault.azure.net",
    ".vault.usgovcloudapi.net",
    ".vault.azure.cn",
    ".vault.sovcloud-api.fr",
    ".vault.sovcloud-api.de",
    ".vault.cloudapi.eaglex.ic.gov",
    ".vault.cloudapi.microsoft.scloud",
];

/// Of an error code, in bytes. The longest of "Blob Storage error codes" has 49.
const LONGEST_CODE: usize = 64;

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
        assert_eq!(
            Resource::vault("https://v.vault.azure.net/secrets/a").url(),
            "https://v.vault.azure.net"
        );
    }

    #[test]
    fn token_is_sent_to_domains_of_azure_and_to_this_machine_only() {
        let token = AccessToken::new("planted", std::time::SystemTime::UNIX_EPOCH);
        for (url, is_sent) in [
            ("https://v.vault.azure.net", true),
            ("https://v.vault.azure.net.example.com", false),
            ("https://v.vaults.azure.net", false),
            ("http://v.vault.azure.net", false),
            ("http://127.0.0.1:8080", true),
            ("vault", false),
        ] {
            assert_eq!(Resource::vault(url).request(&token).is_ok(), is_sent, "{url}");
        }
        let account = Resource::blob("https://a.blob.core.usgovcloudapi.net/c");
        assert!(account.request(&token).is_ok());
    }
}
