use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;
use http::{HeaderMap, Request};
use serde::Deserialize;
use serde_json::json;

use super::clock::Clock;
use super::jwt::{Jwt, PublicKey};
use super::public_host::login_url;
use super::revocations::Revocations;
use super::time::unix_seconds;

/// Verifies access tokens for the services: signature, tenant, audience and validity.
///
/// It allows no clock skew, so that a token is rejected at its exact expiry.
#[derive(Clone)]
pub(super) struct BearerVerifier(Arc<Expected>);

struct Expected {
    key: PublicKey,
    issuer: String,
    authority: String,
    tenant_id: String,
    revocations: Revocations,
    clock: Clock,
}

/// The reason why a service rejects the bearer token of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BearerError {
    /// The request has no bearer token.
    Missing,
    /// The token is not a JWT or lacks a required claim.
    Malformed,
    /// The token is not signed by the emulated Entra.
    Signature,
    /// The token is from another tenant.
    Issuer,
    /// The token is for another resource.
    Audience,
    /// The `nbf` time is in the future.
    NotYetValid,
    /// The `exp` time has been reached.
    Expired,
    /// The token was revoked, and its client handles claims challenges. Other clients would never recover: their tokens work
    /// until they expire.
    Revoked,
}

impl BearerVerifier {
    /// * `key`: the key that signs access tokens.
    /// * `issuer`: the expected `iss`.
    /// * `authority`: the URL of Entra, with a slash at its end.
    pub(super) fn new(
        key: PublicKey,
        issuer: String,
        authority: String,
        tenant_id: String,
        revocations: Revocations,
        clock: Clock,
    ) -> Self {
        Self(Arc::new(Expected {
            key,
            issuer,
            authority,
            tenant_id,
            revocations,
            clock,
        }))
    }

    /// Verifies the token in `headers`.
    ///
    /// * `audiences`: the accepted values of `aud`; a trailing slash is ignored.
    pub(super) fn verify(&self, headers: &HeaderMap, audiences: &[&str]) -> Result<Claims, BearerError> {
        let token = bearer(headers).ok_or(BearerError::Missing)?;
        self.verify_token(token, audiences)
    }

    /// Verifies `token` and returns its claims.
    ///
    /// * `audiences`: as for [`verify`](Self::verify).
    pub(super) fn verify_token(&self, token: &str, audiences: &[&str]) -> Result<Claims, BearerError> {
        let expected = &self.0;
        let token = Jwt::<Claims>::parse(token).ok_or(BearerError::Malformed)?;
        if token.header.kid != expected.key.kid || !token.is_signed_by(&expected.key) {
            return Err(BearerError::Signature);
        }
        let claims = token.claims;
        if claims.iss != expected.issuer {
            return Err(BearerError::Issuer);
        }
        if !audiences
            .iter()
            .any(|accepted| trim_slash(accepted) == trim_slash(&claims.aud))
        {
            return Err(BearerError::Audience);
        }
        let now = unix_seconds(expected.clock.now());
        if now < claims.nbf {
            return Err(BearerError::NotYetValid);
        }
        if now >= claims.exp {
            return Err(BearerError::Expired);
        }
        let handles_challenges = claims.xms_cc.iter().any(|capability| capability == "cp1");
        if handles_challenges && expected.revocations.includes(&claims.appid, &claims.aio) {
            return Err(BearerError::Revoked);
        }
        Ok(claims)
    }

    /// Returns the challenge for a revoked token: it demands one that was issued from now on.
    ///
    /// * `request`: as for [`authorization_uri`](Self::authorization_uri).
    ///
    /// Source: "How to use Continuous Access Evaluation enabled APIs in your applications".
    pub(super) fn claims_challenge<T>(&self, request: &Request<T>) -> String {
        let nbf = unix_seconds(self.0.clock.now()).to_string();
        let claims = json!({ "access_token": { "nbf": { "essential": true, "value": nbf } } });
        format!(
            r#"Bearer realm="", authorization_uri="{}/oauth2/authorize", error="insufficient_claims", claims="{}""#,
            self.authorization_uri(request),
            STANDARD.encode(claims.to_string())
        )
    }

    /// Returns `{authority}/{tenant}`, for the challenge in `WWW-Authenticate`.
    ///
    /// * `request`: of a client that knows either the real names or the ports.
    pub(super) fn authorization_uri<T>(&self, request: &Request<T>) -> String {
        format!("{}{}", login_url(request, &self.0.authority), self.0.tenant_id)
    }
}

#[derive(Default, Deserialize)]
pub(super) struct Claims {
    pub(super) iss: String,
    aud: String,
    nbf: u64,
    pub(super) exp: u64,
    #[serde(default)]
    pub(super) appid: String,
    #[serde(default)]
    pub(super) oid: String,
    #[serde(default)]
    pub(super) tid: String,
    #[serde(default)]
    aio: String,
    #[serde(default)]
    xms_cc: Vec<String>,
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn trim_slash(audience: &str) -> &str {
    audience.strip_suffix('/').unwrap_or(audience)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use http::HeaderValue;
    use serde_json::{Value, json};

    use super::*;
    use crate::jwt::SigningKey;

    #[test]
    fn invalid_token_returns_the_failed_check() {
        let entra = SigningKey::generate().unwrap();
        let other_key = SigningKey::generate().unwrap();
        let verifier = BearerVerifier::new(
            entra.public().clone(),
            ISSUER.to_owned(),
            "https://127.0.0.1/".to_owned(),
            "tenant".to_owned(),
            Revocations::default(),
            Clock::new(|| SystemTime::UNIX_EPOCH + Duration::from_secs(NOW)),
        );
        let good = json!({ "iss": ISSUER, "aud": "https://vault.azure.net", "nbf": NOW, "exp": NOW + 1 });
        let with = |claim: &str, value: Value| {
            let mut claims = good.clone();
            claims[claim] = value;
            claims
        };
        let bearer = |key: &SigningKey, claims: &Value| {
            let header = json!({ "alg": "RS256", "kid": entra.public().kid });
            Some(format!("Bearer {}", key.sign(&header, claims)))
        };
        let unnamed = format!("Bearer {}", entra.sign(&json!({ "alg": "RS256" }), &good));
        let unsigned = format!(
            "Bearer {}",
            entra.sign(&json!({ "alg": "none", "kid": entra.public().kid }), &good)
        );
        let rows = [
            ("good", bearer(&entra, &good), Ok(())),
            (
                "trailing slash",
                bearer(&entra, &with("aud", json!("https://vault.azure.net/"))),
                Ok(()),
            ),
            ("no token", None, Err(BearerError::Missing)),
            (
                "another scheme",
                Some("SharedKey a:b".to_owned()),
                Err(BearerError::Missing),
            ),
            (
                "not a JWT",
                Some("Bearer x.y".to_owned()),
                Err(BearerError::Malformed),
            ),
            (
                "no expiry",
                bearer(&entra, &with("exp", Value::Null)),
                Err(BearerError::Malformed),
            ),
            (
                "another key",
                bearer(&other_key, &good),
                Err(BearerError::Signature),
            ),
            ("no key id", Some(unnamed), Err(BearerError::Signature)),
            ("algorithm none", Some(unsigned), Err(BearerError::Signature)),
            (
                "another tenant",
                bearer(&entra, &with("iss", json!("https://a/"))),
                Err(BearerError::Issuer),
            ),
            (
                "another resource",
                bearer(&entra, &with("aud", json!("https://a"))),
                Err(BearerError::Audience),
            ),
            (
                "not yet valid",
                bearer(&entra, &with("nbf", json!(NOW + 1))),
                Err(BearerError::NotYetValid),
            ),
            (
                "expired",
                bearer(&entra, &with("exp", json!(NOW))),
                Err(BearerError::Expired),
            ),
        ];
        for (name, value, expected) in rows {
            let value = value.map(|value| (AUTHORIZATION, HeaderValue::try_from(value).unwrap()));
            let headers = value.into_iter().collect();
            assert_eq!(
                verifier.verify(&headers, &["https://vault.azure.net"]).map(drop),
                expected,
                "{name}"
            );
        }
    }

    const NOW: u64 = 1_795_474_085;
    const ISSUER: &str = "https://sts.windows.net/tenant/";
}
