use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

/// The claims of a JWT that this crate reads before it sends the JWT. Entra verifies the signature.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    pub(crate) issuer: Option<String>,
    pub(crate) subject: Option<String>,
    pub(crate) audiences: Vec<String>,
    pub(crate) expires_on: Option<SystemTime>,
    pub(crate) not_before: Option<SystemTime>,
}

impl Claims {
    /// Reads the claims of `jwt`: three base64url parts, the first two of which are JSON objects
    /// (RFC 7519).
    pub(crate) fn read(jwt: &str) -> Result<Self, NotAJwt> {
        if jwt.starts_with(['{', '[']) {
            return Err(NotAJwt::Json);
        }
        if jwt.starts_with("-----BEGIN") {
            return Err(NotAJwt::Pem);
        }
        if jwt.contains(char::is_whitespace) {
            return Err(NotAJwt::WhiteSpace);
        }
        let parts: Vec<&str> = jwt.split('.').collect();
        let &[header, payload, signature] = parts.as_slice() else {
            return Err(NotAJwt::Parts(parts.len()));
        };
        object("header", header)?;
        let claims = object("payload", payload)?;
        base64("signature", signature)?;
        Ok(Self::of(&claims))
    }

    fn of(claims: &Map<String, Value>) -> Self {
        let text = |name| claims.get(name).and_then(Value::as_str).map(str::to_owned);
        let time = |name| {
            claims
                .get(name)
                .and_then(Value::as_f64)
                .and_then(from_numeric_date)
        };
        Self {
            issuer: text("iss"),
            subject: text("sub"),
            audiences: match claims.get("aud") {
                Some(Value::String(audience)) => vec![audience.clone()],
                Some(Value::Array(audiences)) => audiences
                    .iter()
                    .filter_map(Value::as_str)
                    .map(str::to_owned)
                    .collect(),
                _ => Vec::new(),
            },
            expires_on: time("exp"),
            not_before: time("nbf"),
        }
    }

    /// Whether the API server of a cluster accepts the token: it is a key to the cluster, whatever its other
    /// audiences are.
    ///
    /// Without `--api-audiences`, the audience of an API server is its issuer. Other issuers than clusters
    /// use their own name as audience, too.
    fn is_for_api_server(&self) -> bool {
        let issuer = self.issuer.as_deref().unwrap_or_default();
        let subject = self.subject.as_deref().unwrap_or_default();
        let is_issuer = |audience: &str| audience.trim_end_matches('/') == issuer.trim_end_matches('/');
        let is_of_service_account = subject.starts_with("system:serviceaccount:");
        issuer == LEGACY_ISSUER
            || self
                .audiences
                .iter()
                .any(|audience| is_api_server(audience) || is_of_service_account && is_issuer(audience))
    }
}

/// Whether the API server of a cluster accepts a token: see [`Claims::is_for_api_server`]. Reads also what Entra would
/// not: with white space, padding or a broken signature, within JSON or YAML, or in the base64 of a Secret, a text still
/// gives the key away.
pub(crate) fn is_for_api_server(text: &str) -> bool {
    let is_key = |word: &str| {
        let text = STANDARD_NO_PAD.decode(word).map(Zeroizing::new);
        text.is_ok_and(|text| std::str::from_utf8(&text).is_ok_and(contains_key))
    };
    // Programs that print base64 break its lines.
    contains_key(text) || is_key(&joined(text)) || words(text, "+/").any(is_key)
}

/// Whether a text is or contains a token that the API server of a cluster accepts.
fn contains_key(text: &str) -> bool {
    let payload = joined(text.split('.').nth(1).unwrap_or_default());
    let is_key = |payload: &str| {
        object("payload", payload).is_ok_and(|claims| Claims::of(&claims).is_for_api_server())
    };
    is_key(&payload) || words(text, "-_").any(is_key)
}

/// Returns a text without white space and padding.
fn joined(text: &str) -> Zeroizing<String> {
    let is_ignored = |c: char| c.is_whitespace() || c == '=';
    Zeroizing::new(text.chars().filter(|c| !is_ignored(*c)).collect())
}

/// * `others`: what is in a word besides letters and digits.
fn words<'a>(text: &'a str, others: &'static str) -> impl Iterator<Item = &'a str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && !others.contains(c))
}

/// The parts of a JWT, not verified.
#[cfg(feature = "diagnose")]
#[derive(Default)]
pub(crate) struct Decoded {
    pub(crate) header: Map<String, Value>,
    pub(crate) claims: Map<String, Value>,
}

#[cfg(feature = "diagnose")]
impl Decoded {
    pub(crate) fn read(jwt: &str) -> Result<Self, NotAJwt> {
        let mut parts = jwt.split('.');
        let mut part = |name| object(name, parts.next().unwrap_or_default());
        Ok(Self {
            header: part("header")?,
            claims: part("payload")?,
        })
    }
}

/// Returns the signature algorithm in the header of a JWT, if it looks like the name of one.
#[cfg(feature = "spiffe")]
pub(crate) fn algorithm(jwt: &str) -> Option<String> {
    let header = object("header", jwt.split('.').next()?).ok()?;
    let name = header.get("alg")?.as_str()?;
    let is_name = name.len() <= MAX_ALGORITHM && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
    is_name.then(|| name.to_owned())
}

/// Whether an access token says that it was issued in the tenant with this GUID. Nothing is verified: for
/// decisions that cost at most a token request.
#[cfg(feature = "azure-core")]
pub(crate) fn is_of_tenant(access_token: &str, tenant_id: &str) -> bool {
    let payload = access_token.split('.').nth(1);
    let claims = payload.and_then(|payload| object("payload", payload).ok());
    let issued_in = claims.as_ref().and_then(|claims| claims.get("tid")?.as_str());
    issued_in.is_some_and(|issued_in| issued_in.eq_ignore_ascii_case(tenant_id))
}

/// Why a text is not a JWT: what it looks like, or its invalid part. Never contains any of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotAJwt {
    #[error("it looks like JSON")]
    Json,
    #[error("it looks like PEM")]
    Pem,
    #[error("it contains white space")]
    WhiteSpace,
    #[error("it has {0} parts separated by dots in place of 3")]
    Parts(usize),
    #[error("its {0} is not base64url without padding")]
    Base64(&'static str),
    #[error("its {0} is not a JSON object")]
    Object(&'static str),
}

fn object(name: &'static str, part: &str) -> Result<Map<String, Value>, NotAJwt> {
    serde_json::from_slice(&base64(name, part)?).map_err(|_| NotAJwt::Object(name))
}

fn base64(name: &'static str, part: &str) -> Result<Vec<u8>, NotAJwt> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| NotAJwt::Base64(name))
}

/// Whether an audience is the name of the API server in its cluster, as a URL or a host.
fn is_api_server(audience: &str) -> bool {
    let host = audience.split_once("://").map_or(audience, |(_, rest)| rest);
    let host = host.split(['/', ':']).next().unwrap_or_default();
    let domain = host.strip_prefix(API_SERVER);
    ["kubernetes.default", KOPS_AUDIENCE].contains(&host)
        || AKS_DOMAINS.iter().any(|domain| host.ends_with(domain))
        || domain.is_some_and(|domain| domain.is_empty() || domain.starts_with('.'))
}

/// Converts seconds since the Unix epoch, fractions allowed (RFC 7519, `NumericDate`). Returns
/// `None` outside the range of `SystemTime`.
fn from_numeric_date(seconds: f64) -> Option<SystemTime> {
    SystemTime::UNIX_EPOCH.checked_add(Duration::try_from_secs_f64(seconds).ok()?)
}

/// The name of the API server's service, before the domain of the cluster.
const API_SERVER: &str = "kubernetes.default.svc";

/// The audience of the API server in clusters of kOps. Source: kOps, `nodeup/pkg/model/kube_apiserver.go`.
const KOPS_AUDIENCE: &str = "kubernetes.svc.default";

/// The domains of the API servers of AKS, in each cloud. Source: Microsoft, "Outbound network and FQDN rules for AKS
/// clusters".
const AKS_DOMAINS: [&str; 3] = [
    ".azmk8s.io",
    ".cx.aks.containerservice.azure.us",
    ".cx.prod.service.azk8s.cn",
];

/// The issuer of the tokens in Secrets, which have no audience and never expire. Source: Kubernetes,
/// `pkg/serviceaccount/legacy.go`.
const LEGACY_ISSUER: &str = "kubernetes/serviceaccount";

/// The longest name in RFC 7518 and RFC 8037 has five characters.
#[cfg(feature = "spiffe")]
const MAX_ALGORITHM: usize = 8;

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;
    use proptest::prelude::*;

    use super::*;

    fn jwt(claims: &str) -> String {
        let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
        format!(
            "{}.{}.{}",
            part(r#"{"alg":"RS256"}"#),
            part(claims),
            part("signature")
        )
    }

    #[test]
    fn claims_of_a_kubernetes_token_are_read() {
        let claims = Claims::read(&jwt(
            r#"{"aud":["api://AzureADTokenExchange"],"exp":1795477685,"iss":"https://issuer/","nbf":1795474085,
                "sub":"system:serviceaccount:ns:app"}"#,
        ))
        .unwrap();
        assert_eq!(claims.audiences, ["api://AzureADTokenExchange"]);
        assert_eq!(claims.issuer.as_deref(), Some("https://issuer/"));
        assert_eq!(claims.subject.as_deref(), Some("system:serviceaccount:ns:app"));
        assert_eq!(claims.expires_on, from_numeric_date(1_795_477_685.0));
        assert_eq!(claims.not_before, from_numeric_date(1_795_474_085.0));
    }

    #[test]
    fn claims_are_absent_when_they_have_the_wrong_type() {
        let claims = Claims::read(&jwt(r#"{"aud":"one","exp":"soon","iss":7,"nbf":1e300}"#)).unwrap();
        assert_eq!(claims.audiences, ["one"]);
        assert_eq!(
            (claims.expires_on, claims.not_before, claims.issuer),
            (None, None, None)
        );
    }

    #[test]
    fn token_that_the_api_server_accepts_is_recognized() {
        let is_for_api_server = |claims: &str| is_for_api_server(&jwt(claims));
        for claims in [
            r#"{"aud":"https://kubernetes.default.svc"}"#,
            r#"{"aud":["https://kubernetes.default.svc.cluster.local","k3s"]}"#,
            r#"{"aud":["api://AzureADTokenExchange","kubernetes.default.svc:443"]}"#,
            r#"{"aud":"https://kubernetes.default.svc/"}"#,
            r#"{"aud":"https://kubernetes.default"}"#,
            r#"{"aud":["https://shop-1234.hcp.westeurope.azmk8s.io:443"],"iss":"https://issuer"}"#,
            r#"{"aud":"kubernetes.svc.default","iss":"https://bucket.s3.amazonaws.com"}"#,
            r#"{"aud":["https://issuer/"],"iss":"https://issuer","sub":"system:serviceaccount:a:b"}"#,
            r#"{"iss":"kubernetes/serviceaccount","sub":"system:serviceaccount:a:b"}"#,
        ] {
            assert!(is_for_api_server(claims), "{claims}");
        }
        for claims in [
            r#"{"aud":"api://AzureADTokenExchange","iss":"https://issuer","sub":"system:serviceaccount:a:b"}"#,
            r#"{"aud":"https://vault.contoso.com","iss":"https://issuer","sub":"system:serviceaccount:a:b"}"#,
            r#"{"aud":"https://kubernetes.default.svcs.contoso.com"}"#,
            r#"{"aud":"https://contoso.com/kubernetes.default.svc"}"#,
            r#"{"aud":"https://azmk8s.io.contoso.com"}"#,
            // GitLab.
            r#"{"aud":"https://gitlab.com","iss":"https://gitlab.com","sub":"project_path:a/b"}"#,
            "{}",
        ] {
            assert!(!is_for_api_server(claims), "{claims}");
        }
    }

    #[test]
    fn token_for_the_api_server_is_recognized_in_what_is_no_valid_jwt() {
        let token = jwt(r#"{"aud":"https://kubernetes.default.svc"}"#);
        let parts: Vec<&str> = token.split('.').collect();
        let encoded = STANDARD.encode(&token);
        let (start, end) = encoded.split_at(76);
        for text in [
            format!("{token}\n"),
            format!("\u{feff} {token}"),
            format!("{}.{}==.{}", parts[0], parts[1], parts[2]),
            format!("{}.{}", parts[0], parts[1]),
            format!(r#"{{"apiVersion":"authentication.k8s.io/v1","status":{{"token":"{token}"}}}}"#),
            format!("server: https://10.0.0.1\ntoken: {token}\n"),
            format!("kubernetes.client.token={token}"),
            encoded.clone(),
            format!("{start}\n{end}\n"),
            format!("data:\n  token: {encoded}\n"),
        ] {
            assert!(super::is_for_api_server(&text), "{text:?}");
        }
    }

    #[test]
    fn text_that_is_not_a_jwt_is_rejected_with_the_reason() {
        for (text, why) in [
            ("", NotAJwt::Parts(1)),
            ("a.b", NotAJwt::Parts(2)),
            ("a.b.c.d", NotAJwt::Parts(4)),
            ("!.e30.e30", NotAJwt::Base64("header")),
            ("e30.!.e30", NotAJwt::Base64("payload")),
            ("e30.e30.!", NotAJwt::Base64("signature")),
            ("e30.e30=.e30", NotAJwt::Base64("payload")),
            ("W10.e30.e30", NotAJwt::Object("header")),
            ("e30.W10.e30", NotAJwt::Object("payload")),
            (r#"{"a":1.5}"#, NotAJwt::Json),
            ("[1]", NotAJwt::Json),
            ("-----BEGIN CERTIFICATE-----", NotAJwt::Pem),
            ("e30.e30.e30\ne30.e30.e30", NotAJwt::WhiteSpace),
        ] {
            assert_eq!(Claims::read(text).unwrap_err(), why, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in "\\PC{0,80}", claims in "\\PC{0,80}", exp: f64) {
            let _ = Claims::read(&text);
            let _ = Claims::read(&jwt(&claims));
            let claims = format!("{{\"exp\":{exp:e}}}");
            prop_assert!(Claims::read(&jwt(&claims)).is_ok() || !exp.is_finite());
        }
    }
}
