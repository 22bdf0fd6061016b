mod allowed_tenants;
mod cloud;
mod tenant_id;

use http::Uri;
use url::{Host, Url};

use crate::code::Code;
use crate::env::{AZURE_AUTHORITY_HOST, is_host, is_secret};
use crate::error::Error;
use crate::escape::is_visible;
use crate::guid::is_guid;

pub(crate) use allowed_tenants::AllowedTenants;
pub use cloud::{Cloud, CustomCloud};
pub(crate) use tenant_id::TenantId;

/// The Entra endpoint that issues tokens: a login host with an optional path prefix.
#[derive(Clone, Debug)]
pub(crate) struct Authority(Url);

impl Authority {
    /// Parses a value of `AZURE_AUTHORITY_HOST`: `https://host[:port][/prefix][/]`; `http` for
    /// loopback hosts only.
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        let text = text.trim();
        if !is_visible(text) {
            return Err(invalid(
                "contains white space, or a control or invisible character",
            ));
        }
        let url = Url::parse(text).map_err(|error| invalid("is not a URL").with_source(error))?;
        match url.scheme() {
            "https" => {}
            "http" if is_loopback(&url) => {}
            "http" => {
                return Err(invalid(
                    "must be https, because http would send the client assertion unencrypted",
                ));
            }
            _ => return Err(invalid("must start with https://")),
        }
        if url.host_str().is_none_or(str::is_empty) {
            return Err(invalid("has no host name"));
        }
        if !url.host_str().is_some_and(is_host) || is_secret(url.path()) {
            return Err(invalid("is not that of a login host"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(invalid("must not contain a user name or a password"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(invalid("must not have a query or a fragment"));
        }
        Ok(Self(url))
    }

    /// Returns the cloud with this login host, if it is one of Microsoft's.
    pub(crate) fn cloud(&self) -> Option<Cloud> {
        Cloud::of_login_host(self.0.host_str()?)
    }

    /// Checks that the path ends before the tenant, which [`token_url`](Self::token_url) adds: the path has no
    /// segment `oauth2` and not the credential's own tenant, and on a login host of Microsoft no other tenant.
    pub(crate) fn check_path(&self, tenant: &TenantId) -> Result<(), Error> {
        let is_known_host = self.cloud().is_some();
        let is_added = |segment: &str| {
            segment.eq_ignore_ascii_case("oauth2")
                || segment.eq_ignore_ascii_case(tenant.as_str())
                || is_known_host && is_tenant(segment)
        };
        if self.0.path_segments().into_iter().flatten().any(is_added) {
            return Err(invalid(
                "has a tenant or `oauth2` in its path, which are added to it; remove them",
            ));
        }
        Ok(())
    }

    /// Returns the token endpoint of a tenant, `{authority}/{tenant}/oauth2/v2.0/token`. The tenant
    /// `adfs` stands for an AD FS server, whose token endpoint is `{authority}/adfs/oauth2/token`.
    pub(crate) fn token_url(&self, tenant: &TenantId) -> Result<Uri, Error> {
        let prefix = self.0.as_str().trim_end_matches('/');
        let url = if tenant.is_ad_fs() {
            format!("{prefix}/adfs/oauth2/token")
        } else {
            format!("{prefix}/{}/oauth2/v2.0/token", tenant.as_str())
        };
        url.parse().map_err(|error: http::uri::InvalidUri| {
            Error::configuration("the token URL of the authority host is invalid").with_source(error)
        })
    }

    /// Returns the discovery document of a tenant.
    #[cfg(feature = "diagnose")]
    pub(crate) fn discovery_url(&self, tenant: &TenantId) -> Result<String, Error> {
        let url = self.token_url(tenant)?.to_string();
        let root = url
            .strip_suffix("/oauth2/v2.0/token")
            .map(|root| format!("{root}/v2.0"));
        let root = root.unwrap_or_else(|| url.trim_end_matches("/oauth2/token").to_owned());
        Ok(format!("{root}/.well-known/openid-configuration"))
    }

    /// Whether the login host is on this machine, as an emulator is.
    #[cfg(feature = "diagnose")]
    pub(crate) fn is_loopback(&self) -> bool {
        is_loopback(&self.0)
    }

    /// Returns `host[:port]`, for messages.
    pub(crate) fn host(&self) -> &str {
        self.0.authority()
    }
}

fn invalid(reason: &str) -> Error {
    Error::configuration(format!(
        "the authority host ({AZURE_AUTHORITY_HOST} or .authority_host(..)) {reason}; an example is {}",
        Cloud::Public.authority_host()
    ))
    .with_code(Code::INVALID_AUTHORITY_HOST)
}

/// Whether a segment of a path is a GUID, a domain, or a name that stands for several tenants.
fn is_tenant(segment: &str) -> bool {
    is_guid(segment) || segment.contains('.') || ["common", "organizations", "consumers"].contains(&segment)
}

/// Whether a URL leads to this machine, so that plain `http` is safe.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn token_url_is_normalized_for_every_form_of_authority_host() {
        let tenant = TenantId::parse("contoso.com").unwrap();
        for (host, url) in [
            (
                "https://login.microsoftonline.com",
                "https://login.microsoftonline.com/contoso.com/oauth2/v2.0/token",
            ),
            (
                "https://login.microsoftonline.com/",
                "https://login.microsoftonline.com/contoso.com/oauth2/v2.0/token",
            ),
            (
                "https://LOGIN.microsoftonline.US//",
                "https://login.microsoftonline.us/contoso.com/oauth2/v2.0/token",
            ),
            (
                " https://proxy:8443/entra/ ",
                "https://proxy:8443/entra/contoso.com/oauth2/v2.0/token",
            ),
            (
                "http://127.0.0.1:80",
                "http://127.0.0.1/contoso.com/oauth2/v2.0/token",
            ),
            (
                "http://localhost:8080",
                "http://localhost:8080/contoso.com/oauth2/v2.0/token",
            ),
            (
                "http://[::1]:8080/x",
                "http://[::1]:8080/x/contoso.com/oauth2/v2.0/token",
            ),
        ] {
            assert_eq!(
                Authority::parse(host).unwrap().token_url(&tenant).unwrap(),
                url,
                "{host}"
            );
        }
    }

    #[test]
    fn segment_of_hyphens_is_no_tenant() {
        let hyphens = "-".repeat(36);
        assert!(!is_tenant(&hyphens));
        assert!(is_tenant("72f988bf-86f1-41af-91ab-2d7cd011db47"));
    }

    #[test]
    fn token_url_of_ad_fs_has_no_tenant() {
        let authority = Authority::parse("https://fs.contoso.com/").unwrap();
        for tenant in ["adfs", "ADFS"] {
            let url = authority.token_url(&TenantId::parse(tenant).unwrap()).unwrap();
            assert_eq!(url, "https://fs.contoso.com/adfs/oauth2/token");
        }
    }

    #[test]
    fn parse_rejects_insecure_and_invalid_authority_hosts() {
        for (host, reason) in [
            ("http://login.microsoftonline.com", "must be https"),
            ("http://127.0.0.1.example.com", "must be https"),
            ("login.microsoftonline.com", "is not a URL"),
            ("", "is not a URL"),
            ("https://", "is not a URL"),
            ("ftp://login.microsoftonline.com", "must start with https://"),
            ("https://user@login.microsoftonline.com", "user name"),
            ("https://:planted@login.microsoftonline.com", "password"),
            ("https://planted8Q~secret", "is not that of a login host"),
            (
                "https://login.microsoftonline.com/eyJhbGciOiJSUzI1NiJ9.planted.planted",
                "is not that of a login host",
            ),
            ("https://login.microsoftonline.com/?x=1", "query"),
            ("https://login.microsoftonline.com/#x", "fragment"),
            ("https://login.microsoft\tonline.com", "white space"),
            ("https://login.micro\u{200b}softonline.com", "invisible"),
            ("https://login.microsoftonline.com\n.evil.test", "white space"),
            ("https://login.microsoftonline.com\r\n/entra", "white space"),
            ("https://login.microsoftonline.com/a b", "white space"),
            ("https://login.microsoftonline.com/\u{85}x", "white space"),
            (
                "https://login.microsoftonline.com/\u{1b}[2J",
                "control or invisible character",
            ),
        ] {
            let error = Authority::parse(host).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Configuration, "{host}");
            assert!(error.to_string().contains(reason), "{host}: {error}");
            assert!(!format!("{error:?}").contains("planted"), "{error:?}");
        }
    }

    #[test]
    fn path_with_the_tenant_or_oauth2_is_rejected_and_other_prefixes_are_kept() {
        const TENANT: &str = "72f988bf-86f1-41af-91ab-2d7cd011db47";
        let tenant = TenantId::parse(TENANT).unwrap();
        for host in [
            "https://login.microsoftonline.com/72f988bf-86f1-41af-91ab-2d7cd011db47/",
            "https://login.microsoftonline.com/72F988BF-86F1-41AF-91AB-2D7CD011DB47",
            "https://login.microsoftonline.com//72f988bf-86f1-41af-91ab-2d7cd011db47",
            "https://login.microsoftonline.com/00000000-0000-4000-8000-000000000000/",
            "https://login.microsoftonline.us/contoso.onmicrosoft.com",
            "https://sts.windows.net/common/",
            "https://login.microsoftonline.com/oauth2/v2.0/token",
            "https://proxy.contoso.com/entra/72f988bf-86f1-41af-91ab-2d7cd011db47/",
            "https://proxy.contoso.com/entra/OAuth2",
        ] {
            let error = Authority::parse(host).unwrap().check_path(&tenant).unwrap_err();
            assert_eq!(error.code(), Some(Code::INVALID_AUTHORITY_HOST), "{host}");
            assert!(error.to_string().contains("in its path"), "{error}");
        }
        for host in [
            "https://login.microsoftonline.com/",
            "https://login.microsoftonline.us/prefix/",
            "https://proxy.contoso.com/entra/v1.0/",
            "https://proxy.contoso.com/00000000-0000-4000-8000-000000000000/",
        ] {
            assert!(
                Authority::parse(host).unwrap().check_path(&tenant).is_ok(),
                "{host}"
            );
        }
    }

    proptest! {
        #[test]
        fn token_url_of_any_valid_input_stays_on_the_authority_host(
            host in r" ?https://([a-z0-9.-]{1,12}|[^ /]{1,12})(:[0-9]{1,5})?([/@?#:%\\]\PC{0,9})?",
            tenant in "[a-zA-Z0-9.-]{1,12}|.{1,12}",
        ) {
            if let (Ok(authority), Ok(tenant)) = (Authority::parse(&host), TenantId::parse(&tenant))
                && !tenant.is_ad_fs()
                && let Ok(url) = authority.token_url(&tenant) {
                    let end = format!("/{}/oauth2/v2.0/token", tenant.as_str());
                    prop_assert!(url.path().ends_with(&end));
                    prop_assert_eq!(url.authority().unwrap().as_str(), authority.host());
                }
        }
    }
}
