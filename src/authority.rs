use http::Uri;
use url::{Host, Url};

use crate::env::AZURE_AUTHORITY_HOST;
use crate::error::Error;

/// The Entra endpoint that issues tokens: a login host, perhaps with a path prefix.
#[derive(Clone, Debug)]
pub(crate) struct Authority(Url);

impl Authority {
    /// Parses what `AZURE_AUTHORITY_HOST` holds: `https://host[:port][/prefix][/]`; `http` for loopback hosts only.
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        let refuse = |why: &str| {
            Error::configuration(format!(
                "the authority host ({AZURE_AUTHORITY_HOST} or .authority_host(..)) {why}; it looks like {PUBLIC_CLOUD}"
            ))
        };
        let url = Url::parse(text.trim()).map_err(|error| refuse("is not a URL").with_source(error))?;
        match url.scheme() {
            "https" => {}
            "http" if is_loopback(&url) => {}
            "http" => return Err(refuse("must be https: an assertion must not travel in the clear")),
            _ => return Err(refuse("must begin with https://")),
        }
        if url.host_str().is_none_or(str::is_empty) {
            return Err(refuse("has no host"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(refuse("must not hold a user name or a password"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(refuse("must not have a query or a fragment"));
        }
        Ok(Self(url))
    }

    /// Microsoft's public cloud.
    pub(crate) fn public_cloud() -> Result<Self, Error> {
        Self::parse(PUBLIC_CLOUD)
    }

    /// The token endpoint of a tenant: `{authority}/{tenant}/oauth2/v2.0/token`; of an AD FS, which stands in the place of a
    /// tenant by the name of `adfs`, `{authority}/adfs/oauth2/token`.
    pub(crate) fn token_url(&self, tenant: &TenantId) -> Result<Uri, Error> {
        let prefix = self.0.as_str().trim_end_matches('/');
        let url = if tenant.0.eq_ignore_ascii_case("adfs") {
            format!("{prefix}/adfs/oauth2/token")
        } else {
            format!("{prefix}/{}/oauth2/v2.0/token", tenant.0)
        };
        url.parse().map_err(|error: http::uri::InvalidUri| {
            Error::configuration("the authority host makes no valid URL").with_source(error)
        })
    }

    /// `host[:port]`, for messages.
    pub(crate) fn host(&self) -> &str {
        self.0.authority()
    }
}

/// A tenant: a GUID or a domain name, of characters that are safe in a URL's path.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct TenantId(Box<str>);

impl TenantId {
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        let safe = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '-';
        if text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(safe) {
            return Ok(Self(text.into()));
        }
        Err(Error::configuration(format!(
            "{text:?} is not a tenant id: it is a GUID or a domain name, of letters, digits, dots and hyphens"
        )))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// Source: "National clouds" in Microsoft's identity platform documentation.
const PUBLIC_CLOUD: &str = "https://login.microsoftonline.com";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn every_spelling_of_a_host_leads_to_one_token_url() {
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
    fn an_ad_fs_has_its_own_token_url() {
        let authority = Authority::parse("https://fs.contoso.com/").unwrap();
        for tenant in ["adfs", "ADFS"] {
            let url = authority.token_url(&TenantId::parse(tenant).unwrap()).unwrap();
            assert_eq!(url, "https://fs.contoso.com/adfs/oauth2/token");
        }
    }

    #[test]
    fn an_authority_that_would_leak_or_mislead_is_refused() {
        for (host, why) in [
            ("http://login.microsoftonline.com", "must be https"),
            ("http://127.0.0.1.example.com", "must be https"),
            ("login.microsoftonline.com", "is not a URL"),
            ("", "is not a URL"),
            ("https://", "is not a URL"),
            ("ftp://login.microsoftonline.com", "must begin with https://"),
            ("https://user@login.microsoftonline.com", "user name"),
            ("https://:planted@login.microsoftonline.com", "password"),
            ("https://login.microsoftonline.com/?x=1", "query"),
            ("https://login.microsoftonline.com/#x", "fragment"),
        ] {
            let error = Authority::parse(host).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Configuration, "{host}");
            assert!(error.to_string().contains(why), "{host}: {error}");
            assert!(!format!("{error:?}").contains("planted"), "{error:?}");
        }
    }

    #[test]
    fn a_tenant_cannot_change_the_path() {
        for text in [
            "", " ", "a/b", "a?b", "a#b", "..", "a b", "é", "a\n", "%2e", "common\0",
        ] {
            assert_eq!(
                TenantId::parse(text).unwrap_err().kind(),
                ErrorKind::Configuration,
                "{text:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn whatever_parses_stays_under_its_own_host(
            host in r" ?https://([a-z0-9.-]{1,12}|[^ /]{1,12})(:[0-9]{1,5})?([/@?#:%\\]\PC{0,9})?",
            tenant in "[a-zA-Z0-9.-]{1,12}|.{1,12}",
        ) {
            if let (Ok(authority), Ok(tenant)) = (Authority::parse(&host), TenantId::parse(&tenant))
                && !tenant.as_str().eq_ignore_ascii_case("adfs")
                && let Ok(url) = authority.token_url(&tenant) {
                    let end = format!("/{}/oauth2/v2.0/token", tenant.as_str());
                    prop_assert!(url.path().ends_with(&end));
                    prop_assert_eq!(url.authority().unwrap().as_str(), authority.host());
                }
        }
    }
}
