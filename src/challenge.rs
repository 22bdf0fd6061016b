use std::fmt;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::HeaderMap;
use http::header::WWW_AUTHENTICATE;
use url::Url;

use crate::error::Error;

/// The bearer challenge of a service that answered 401, from its `WWW-Authenticate` header.
///
/// For programs with an HTTP client of their own. The clients of the Azure SDK use
/// [`ClaimsChallengePolicy`](crate::integration::ClaimsChallengePolicy).
///
/// # Examples
///
/// ```
/// use entra_workload::integration::BearerChallenge;
///
/// let mut headers = http::HeaderMap::new();
/// let value = r#"Bearer realm="", error="insufficient_claims", claims="eyJhY2Nlc3NfdG9rZW4iOnt9fQ==""#;
/// headers.insert("www-authenticate", value.parse()?);
/// let challenge = BearerChallenge::from_headers(&headers).ok_or("no challenge")?;
/// // Request a token with these claims, and send the request once more.
/// assert_eq!(challenge.claims()?.as_deref(), Some(r#"{"access_token":{}}"#));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Source: RFC 9110, section 11.6.1; RFC 6750, section 3; "Claims challenges, claims requests and
/// client capabilities" and "Authentication, requests and responses" of Key Vault.
#[derive(Clone, PartialEq, Eq)]
pub struct BearerChallenge(Vec<(String, String)>);

impl BearerChallenge {
    /// Returns the first bearer challenge with claims, or else the first one; there may be several
    /// challenges in one header, and several headers.
    pub fn from_headers(headers: &HeaderMap) -> Option<Self> {
        let values = headers.get_all(WWW_AUTHENTICATE).into_iter();
        Self::from_values(values.filter_map(|value| value.to_str().ok()))
    }

    pub(crate) fn from_values<'a>(values: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        let challenges: Vec<Self> = values.into_iter().flat_map(parse).collect();
        let with_claims = challenges
            .iter()
            .find(|challenge| challenge.get("claims").is_some());
        with_claims.or_else(|| challenges.first()).cloned()
    }

    /// Returns the claims that the service demands, as the JSON text for
    /// [`TokenRequest::claims`](crate::TokenRequest::claims); `None` if it demands none.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Protocol`](crate::ErrorKind::Protocol) if they are not base64 of a JSON object, or
    /// longer than 8 KiB.
    pub fn claims(&self) -> Result<Option<String>, Error> {
        let Some(claims) = self.get("claims").filter(|claims| !claims.is_empty()) else {
            return Ok(None);
        };
        let invalid = || Error::protocol("the claims of the challenge are not base64 of a JSON object");
        if claims.len() > MAX_CLAIMS {
            return Err(invalid());
        }
        // Services send the standard alphabet; proxies and older services, that of URLs.
        let claims = claims.replace('-', "+").replace('_', "/");
        let decoded = BASE64.decode(claims).map_err(|_| invalid())?;
        let text = String::from_utf8(decoded).map_err(|_| invalid())?;
        serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&text).map_err(|_| invalid())?;
        Ok(Some(text))
    }

    /// Returns the error code, such as `insufficient_claims` or `invalid_token`.
    pub fn error(&self) -> Option<&str> {
        self.get("error")
    }

    /// Returns the tenant that the service belongs to: the first segment of the path of its
    /// `authorization` or `authorization_uri`; `None` if that is `common` or another name for many
    /// tenants.
    pub fn tenant_id(&self) -> Option<String> {
        let uri = self
            .get("authorization")
            .or_else(|| self.get("authorization_uri"))?;
        let url = Url::parse(uri).ok()?;
        let tenant = url.path_segments()?.next().filter(|tenant| !tenant.is_empty())?;
        let is_one = !MANY_TENANTS.iter().any(|name| name.eq_ignore_ascii_case(tenant));
        is_one.then(|| tenant.to_owned())
    }

    /// Returns the scope of the tokens that the service accepts: its `scope`, or its `resource`
    /// followed by `/.default`.
    pub fn scope(&self) -> Option<String> {
        let resource = || self.get("resource").or_else(|| self.get("resource_id"));
        match self.get("scope") {
            Some(scope) => Some(scope.to_owned()),
            None => resource().map(|resource| format!("{resource}/.default")),
        }
    }

    fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(parameter, _)| parameter == name);
        found.map(|(_, value)| value.as_str())
    }
}

impl fmt::Debug for BearerChallenge {
    /// Shows the names of the parameters: their values come from a server.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.0.iter().map(|(name, _)| name);
        f.debug_tuple("BearerChallenge")
            .field(&names.collect::<Vec<_>>())
            .finish()
    }
}

/// Returns the bearer challenges of one header. Anything else in it is skipped.
fn parse(header: &str) -> Vec<BearerChallenge> {
    let mut challenges = Vec::new();
    // The parameters of a challenge of another scheme are dropped.
    let mut current: Option<BearerChallenge> = None;
    let mut rest = header;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let end = rest.find([' ', '\t', ',', '=']).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        if word.is_empty() && after.is_empty() {
            break;
        }
        let value = after.trim_start_matches([' ', '\t']).strip_prefix('=');
        if let Some(value) = value {
            let (value, after) = read_value(value.trim_start_matches([' ', '\t']));
            if let Some(challenge) = &mut current {
                challenge.0.push((word.to_ascii_lowercase(), value));
            }
            rest = after;
        } else {
            challenges.extend(current.take());
            current = word
                .eq_ignore_ascii_case("bearer")
                .then(|| BearerChallenge(Vec::new()));
            rest = after;
        }
    }
    challenges.extend(current);
    challenges
}

/// Reads a quoted string or a token, and returns what follows it.
fn read_value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([' ', '\t', ',']).unwrap_or(text.len());
        let (value, rest) = text.split_at(end);
        return (value.to_owned(), rest);
    };
    let mut value = String::new();
    let mut characters = quoted.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => break,
            '\\' => value.extend(characters.next()),
            character => value.push(character),
        }
    }
    (value, characters.as_str())
}

/// The authorities of more than one tenant. Source: Microsoft identity platform, "Endpoints".
const MANY_TENANTS: [&str; 3] = ["common", "organizations", "consumers"];

/// Those of Entra have some hundred bytes.
const MAX_CLAIMS: usize = 8 * 1024;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::error::ErrorKind;

    fn challenge(header: &str) -> BearerChallenge {
        BearerChallenge::from_values([header]).unwrap()
    }

    #[test]
    fn challenges_of_the_services_are_read() {
        let vault = challenge(
            r#"Bearer authorization="https://login.windows.net/contoso", resource="https://vault.azure.net""#,
        );
        assert_eq!(vault.tenant_id().as_deref(), Some("contoso"));
        assert_eq!(vault.scope().as_deref(), Some("https://vault.azure.net/.default"));
        assert_eq!(vault.claims().unwrap(), None);

        let storage = challenge(
            "Bearer authorization_uri=https://login.microsoftonline.com/contoso/oauth2/authorize resource_id=https://storage.azure.com",
        );
        assert_eq!(storage.tenant_id().as_deref(), Some("contoso"));
        assert_eq!(
            storage.scope().as_deref(),
            Some("https://storage.azure.com/.default")
        );

        let claims = challenge(
            r#"Bearer realm="", authorization_uri="https://login.microsoftonline.com/common/oauth2/authorize", error="insufficient_claims", claims="eyJhY2Nlc3NfdG9rZW4iOnsiZm9vIjoiYmFyIn19""#,
        );
        assert_eq!(claims.error(), Some("insufficient_claims"));
        assert_eq!(claims.tenant_id(), None);
        assert_eq!(
            claims.claims().unwrap().as_deref(),
            Some(r#"{"access_token":{"foo":"bar"}}"#)
        );
    }

    #[test]
    fn claims_are_found_among_several_challenges_and_headers() {
        let claims = r#"claims="e30=""#;
        for headers in [
            vec![format!(r#"Basic realm="a, b=\"c", bearer error="x", {claims}"#)],
            vec![
                "PoP nonce=abc==, Bearer scope=a".to_owned(),
                format!("BEARER error = \"x\" ,{claims}"),
            ],
            vec![format!("Negotiate YII=, Bearer {claims} , Digest {claims}")],
        ] {
            let challenge = BearerChallenge::from_values(headers.iter().map(String::as_str)).unwrap();
            assert_eq!(challenge.claims().unwrap().as_deref(), Some("{}"), "{headers:?}");
        }
        assert_eq!(BearerChallenge::from_values(["Basic claims=\"e30=\""]), None);
    }

    #[test]
    fn claims_may_be_in_either_alphabet_with_or_without_padding() {
        // {"a":"?>~"}
        for claims in ["eyJhIjoiPz5+In0=", "eyJhIjoiPz5+In0", "eyJhIjoiPz5-In0="] {
            let challenge = challenge(&format!("Bearer claims=\"{claims}\""));
            assert_eq!(challenge.claims().unwrap().as_deref(), Some(r#"{"a":"?>~"}"#));
        }
    }

    #[test]
    fn claims_that_are_no_json_object_are_an_error_without_their_text() {
        let long = "e".repeat(MAX_CLAIMS + 1);
        for claims in ["planted", "!planted", "WzFd", &long] {
            let error = challenge(&format!("Bearer claims=\"{claims}\""))
                .claims()
                .unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Protocol);
            assert!(!format!("{error} {error:?}").contains("planted"), "{error:?}");
        }
    }

    proptest! {
        #[test]
        fn any_header_is_read_to_its_end(header in "[ -~]{0,200}") {
            for challenge in parse(&header) {
                let _ = (challenge.claims(), challenge.tenant_id(), challenge.scope());
            }
        }

        #[test]
        fn quoted_value_is_read_back(value in "[ -~]{0,40}") {
            let quoted = value.replace('\\', "\\\\").replace('"', "\\\"");
            let challenge = challenge(&format!("Bearer a=b, error=\"{quoted}\", c=d"));
            prop_assert_eq!(challenge.error(), Some(value.as_str()));
        }
    }
}
