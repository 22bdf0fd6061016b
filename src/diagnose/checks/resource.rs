use bytes::Bytes;
use http::header::{AUTHORIZATION, HeaderValue};
use http::{Request, StatusCode};
use url::{Host, Url};

use super::variables::Settings;
use super::{Diagnosis, token_request};
use crate::authority::is_loopback;
use crate::code::{Code, Owner};
use crate::diagnose::finding::{Finding, Resource, Service, Severity};
use crate::diagnose::report::{Observation, Outcome, Step};
use crate::error::Error;
use crate::token::AccessToken;

impl Resource {
    /// Returns a request that reads as little as possible.
    fn request(&self, token: &AccessToken) -> Result<Request<Bytes>, Error> {
        let invalid = || {
            Error::configuration(format!("{:?} is not an https URL", self.url)).with_code(Code::NO_RESOURCE)
        };
        let mut url = Url::parse(&self.url).map_err(|_| invalid())?;
        // A token must not travel unencrypted, nor to the owner of a misspelt domain.
        if url.scheme() != "https" && !is_loopback(&url) {
            return Err(invalid());
        }
        let host = url.host_str().unwrap_or_default();
        let is_known = self.domains().iter().any(|domain| host.ends_with(domain));
        if !is_known && !is_loopback(&url) {
            let message = format!(
                "{host} is no host of {}, and gets no token; it ends with {}",
                self.service,
                self.domains().join(" or ")
            );
            return Err(Error::configuration(message).with_code(Code::NO_RESOURCE));
        }
        match self.service {
            Service::KeyVault => {
                url.set_path("/secrets");
                url.set_query(Some("api-version=7.4&maxresults=1"));
            }
            Service::Blob => {
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
        match self.service {
            Service::Blob => &BLOB_DOMAINS,
            Service::KeyVault => &VAULT_DOMAINS,
        }
    }
}

/// Reads from a resource, and tells a rejected token, a missing role and a firewall apart.
pub(in crate::diagnose) async fn check(
    diagnosis: &Diagnosis<'_>,
    settings: &Settings,
    resource: &Resource,
    scope: &str,
    token: &AccessToken,
) -> Outcome {
    let observation = || Observation::Resource(resource.clone());
    let failed = |finding: Finding| {
        let finding = Finding {
            resource: Some(resource.clone()),
            ..finding
        };
        Outcome::failed(Step::Resource, finding).seeing(observation())
    };
    // The scope of the diagnosis is that of the first resource, or was set because the cloud's is not known.
    let other_scope = resource.scope(&settings.cloud).filter(|own| *own != scope);
    let mut other = None;
    if let Some(own_scope) = other_scope {
        let request = token_request::check(diagnosis, None, own_scope).await;
        if request.token.is_none() {
            return request.check.of_step(Step::Resource);
        }
        other = request.token;
    }
    let request = match resource.request(other.as_ref().unwrap_or(token)) {
        Ok(request) => request,
        Err(error) => return failed(Finding::of_error(&error, Code::NO_RESOURCE)),
    };
    let response = match diagnosis.send(request).await {
        Ok(response) => response,
        Err(error) => {
            let finding = Finding::of_error(&error, Code::RESOURCE_FAILED);
            // Every account and vault has a DNS name of its own.
            return failed(match finding.code {
                Code::UNKNOWN_HOST => Finding::new(Code::NO_RESOURCE, Severity::Error),
                _ => finding,
            });
        }
    };
    let status = response.status();
    if status.is_success() {
        return Outcome::passed(Step::Resource, observation());
    }
    let body = String::from_utf8_lossy(response.body());
    let says = |names: &[&str]| names.iter().any(|name| body.contains(name));
    let code = match status {
        StatusCode::UNAUTHORIZED => Code::TOKEN_REJECTED,
        StatusCode::FORBIDDEN if says(&FIREWALL) => Code::FIREWALL,
        StatusCode::FORBIDDEN if says(&["AccessDenied"]) => Code::NO_ACCESS_POLICY,
        StatusCode::FORBIDDEN => Code::NO_ROLE,
        StatusCode::NOT_FOUND => Code::NO_RESOURCE,
        _ => Code::RESOURCE_FAILED,
    };
    let reported = response
        .headers()
        .get("x-ms-error-code")
        .and_then(|code| code.to_str().ok());
    let reported = reported
        .filter(|code| code.len() <= LONGEST_CODE && code.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    let mut finding = Finding::new(code, Severity::Error).with_status(status);
    finding.service_error = reported.or_else(|| error_code(&body)).map(str::to_owned);
    if code == Code::RESOURCE_FAILED && status.is_client_error() {
        finding.owner = Owner::Developer;
    }
    failed(finding)
}

/// Returns the error code in a body of Blob Storage (XML) or Key Vault (JSON); never anything else of it.
fn error_code(body: &str) -> Option<&'static str> {
    let known = REPORTED.iter().filter(|code| body.contains(**code));
    known.max_by_key(|code| code.len()).copied()
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
