use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Deserializer};

use super::access_token::{EXCHANGE_APPLICATION, ORIGIN_FEDERATED_CREDENTIAL, ORIGIN_MANAGED_IDENTITY};
use super::error_response::ErrorResponse;
use super::federated_credential::FederatedCredential;
use super::issuer_keys::IssuerKeys;
use crate::jwt::{Jwt, PS256, PublicKey, RS256};
use crate::service_account_token::EXCHANGE_AUDIENCE;
use crate::time::rfc3339_with_ticks;

/// The form fields of a token request.
pub(super) struct Form(HashMap<String, String>);

impl Form {
    pub(super) fn parse(body: &[u8]) -> Self {
        Self(url::form_urlencoded::parse(body).into_owned().collect())
    }

    /// Adds the client of an `Authorization: Basic` header, whose parts are form-encoded.
    ///
    /// Source: RFC 6749, 2.3.1.
    pub(super) fn with_basic(mut self, headers: &HeaderMap) -> Self {
        let value = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let basic = value.and_then(|value| {
            let (scheme, encoded) = value.split_once(' ')?;
            let decoded = String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?;
            scheme.eq_ignore_ascii_case("basic").then_some(decoded)
        });
        if let Some((id, secret)) = basic.as_deref().and_then(|basic| basic.split_once(':')) {
            for (name, value) in [("client_id", id), ("client_secret", secret)] {
                let value = percent_decode_str(&value.replace('+', " "))
                    .decode_utf8_lossy()
                    .into_owned();
                self.0.entry(name.to_owned()).or_insert(value);
            }
        }
        self
    }

    /// Returns a required field, or an error if it is missing or empty.
    pub(super) fn required(&self, name: &'static str) -> Result<&str, ErrorResponse> {
        self.field(name).ok_or_else(|| {
            ErrorResponse::new(
                900_144,
                format!("The request body must contain the following parameter: '{name}'."),
            )
        })
    }

    pub(super) fn field(&self, name: &str) -> Option<&str> {
        self.0
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }
}

/// A client assertion: a token of an issuer, or one that the client signed with its certificate.
pub(super) struct Assertion(Jwt<Claims>);

#[derive(Deserialize)]
pub(super) struct Claims {
    pub(super) iss: String,
    sub: String,
    #[serde(deserialize_with = "string_or_list")]
    aud: Vec<String>,
    exp: u64,
    iat: Option<u64>,
    /// Optional in RFC 7519. Kubernetes always sets it.
    #[serde(default)]
    nbf: u64,
    /// In tokens of Entra for the token exchange.
    #[serde(default)]
    emulator_origin: String,
}

impl Assertion {
    pub(super) fn parse(form: &Form) -> Result<Self, ErrorResponse> {
        let is_jwt_bearer = form.field("client_assertion_type") == Some(JWT_BEARER);
        let token = form.field("client_assertion").filter(|_| is_jwt_bearer).ok_or_else(|| {
            let text = "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.";
            ErrorResponse::new(7_000_218, text)
        })?;
        let jwt = Jwt::parse(token)
            .ok_or_else(|| ErrorResponse::new(50_027, "JWT token is invalid or malformed."))?;
        Ok(Self(jwt))
    }

    /// In seconds since the Unix epoch; without the claim, that of `nbf`.
    pub(super) fn issued_at(&self) -> u64 {
        self.claims().iat.unwrap_or(self.claims().nbf)
    }

    pub(super) fn claims(&self) -> &Claims {
        &self.0.claims
    }

    /// Checks that a federated credential matches. The error names the first claim without a match.
    pub(super) fn check_match(&self, credentials: &[FederatedCredential]) -> Result<(), ErrorResponse> {
        let Claims { iss, sub, aud, .. } = self.claims();
        let mut with_issuer = credentials
            .iter()
            .filter(|credential| credential.issuer == *iss)
            .peekable();
        if with_issuer.peek().is_none() {
            return Err(no_match(700_211, "issuer", iss, ""));
        }
        let mut differs_in_case = false;
        let mut with_subject = with_issuer
            .filter(|credential| {
                differs_in_case |= credential.subject.eq_ignore_ascii_case(sub);
                credential.subject == *sub
            })
            .peekable();
        if with_subject.peek().is_none() {
            drop(with_subject);
            return Err(if differs_in_case {
                let text = " The subject matches with case-insensitive comparison, but not with case-sensitive comparison.";
                no_match(7_002_138, "subject", sub, text)
            } else {
                no_match(700_213, "subject", sub, "")
            });
        }
        // Entra rejects a token with several audiences, even if one of them matches.
        if with_subject.any(|credential| *aud == [credential.audience.as_str()]) {
            return Ok(());
        }
        Err(no_match(700_212, "audience", &aud.join(", "), ""))
    }

    /// Checks a token of Entra itself, of which only those of managed identities are accepted.
    pub(super) fn check_managed_identity(&self, key: &PublicKey) -> Result<(), ErrorResponse> {
        if !self.0.is_signed_by(key) {
            return Err(invalid_signature());
        }
        match self.claims().emulator_origin.as_str() {
            ORIGIN_MANAGED_IDENTITY => Ok(()),
            ORIGIN_FEDERATED_CREDENTIAL => {
                let text = "Token obtained using another federated identity credential may not be used as federated \
                            identity credential.";
                Err(ErrorResponse::new(700_231, text))
            }
            _ => {
                let text = "Only MSI tokens may be used as Federated Identity Credentials for AAD issuer.";
                Err(ErrorResponse::new(700_226, text))
            }
        }
    }

    /// Replaces the application ID of the token exchange in the audience by its URI, as which federated
    /// credentials have it.
    pub(super) fn with_audience_uri(mut self) -> Self {
        for audience in &mut self.0.claims.aud {
            if audience == EXCHANGE_APPLICATION {
                EXCHANGE_AUDIENCE.clone_into(audience);
            }
        }
        self
    }

    pub(super) async fn check_signature(&self, keys: &IssuerKeys) -> Result<(), ErrorResponse> {
        let kid = &self.0.header.kid;
        let key = keys.find(&self.claims().iss, kid).await?.ok_or_else(|| {
            let text = format!(
                "The certificate with identifier '{kid}' used to sign the federated credential could not be found in \
                 the metadata of identity provider."
            );
            ErrorResponse::new(7_000_272, text)
        })?;
        if self.0.is_signed_by(&key) {
            return Ok(());
        }
        Err(invalid_signature())
    }

    /// Checks an assertion that the client signed with one of its certificates.
    ///
    /// * `certificates`: the keys; their key ID is the thumbprint.
    pub(super) fn check_certificate(
        &self,
        certificates: &[PublicKey],
        client_id: &str,
        token_endpoints: &[String],
    ) -> Result<(), ErrorResponse> {
        let algorithm = &self.0.header.alg;
        if ![RS256, PS256].contains(&algorithm.as_str()) {
            let text = format!("Invalid JWT token. '{algorithm}' is not a supported signature algorithm.");
            return Err(ErrorResponse::new(5_002_738, text));
        }
        let thumbprint = &self.0.header.x5t_s256;
        let certificate = certificates
            .iter()
            .find(|certificate| certificate.kid == *thumbprint)
            .ok_or_else(|| {
                let text = format!(
                    "The certificate with identifier used to sign the client assertion is not registered on \
                     application. [Reason - The key was not found., Thumbprint of key used by client: '{thumbprint}'.]"
                );
                ErrorResponse::new(700_027, text)
            })?;
        if !self.0.is_signed_by_certificate(certificate) {
            return Err(invalid_signature());
        }
        let Claims { sub, aud, .. } = self.claims();
        if !sub.eq_ignore_ascii_case(client_id) {
            let text = "Client assertion application identifier doesn't match 'client_id' parameter.";
            return Err(ErrorResponse::new(700_021, text));
        }
        if !matches!(aud.as_slice(), [aud] if token_endpoints.contains(aud)) {
            let text = "Client assertion audience claim does not match Realm issuer.";
            return Err(ErrorResponse::new(700_023, text));
        }
        Ok(())
    }

    pub(super) fn check_times(&self, now: SystemTime) -> Result<(), ErrorResponse> {
        let &Claims { nbf, exp, .. } = self.claims();
        let time = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let (now, skew) = (time.as_secs(), CLOCK_SKEW.as_secs());
        if nbf <= now.saturating_add(skew) && now < exp.saturating_add(skew) {
            return Ok(());
        }
        let text = format!(
            "Client assertion is not within its valid time range. Current time: {}, assertion valid from {}, expiry time \
             of assertion {}.",
            rfc3339_with_ticks(time),
            rfc3339_with_ticks(Duration::from_secs(nbf)),
            rfc3339_with_ticks(Duration::from_secs(exp))
        );
        Err(ErrorResponse::new(700_024, text))
    }

    /// Checks that a token of an external issuer does not live too long.
    pub(super) fn check_lifetime(&self) -> Result<(), ErrorResponse> {
        let &Claims { iat, exp, .. } = self.claims();
        let lifetime = iat.map(|iat| exp.saturating_sub(iat));
        if lifetime.is_none_or(|lifetime| lifetime <= LONGEST_LIFETIME.as_secs()) {
            return Ok(());
        }
        let text = "The lifetime of the presented client assertion must be <= 1.01:00:00.";
        Err(ErrorResponse::new(70_023, text))
    }
}

/// Returns the resource of a scope: the part before the last `/.default`. A trailing slash is kept:
/// the resource of `https://a//.default` is `https://a/`.
pub(super) fn resource_from_scope(scope: &str) -> Result<String, ErrorResponse> {
    let mut resources = Vec::new();
    for scope in scope.split_whitespace() {
        resources.push(scope.strip_suffix("/.default").ok_or_else(|| {
            let text = format!(
                "The provided value for scope {scope} is not valid. Client credential flows must have a scope value \
                 with /.default suffixed to the resource identifier (application ID URI)."
            );
            ErrorResponse::new(1_002_012, text)
        })?);
    }
    resources.dedup();
    match resources.as_slice() {
        [resource] if !resource.is_empty() => Ok((*resource).to_owned()),
        [] | [_] => {
            let text = "The provided value for the input parameter 'scope' is not valid.";
            Err(ErrorResponse::new(70_011, text))
        }
        _ => {
            let text = format!(
                "Provided value for the input parameter scope is not valid because it contains more than one \
                 resource. Scope {scope} is not valid."
            );
            Err(ErrorResponse::new(28_000, text))
        }
    }
}

fn invalid_signature() -> ErrorResponse {
    ErrorResponse::new(700_027, "Client assertion failed signature validation.")
}

fn no_match(code: u32, claim: &str, presented: &str, reason: &str) -> ErrorResponse {
    let text = format!(
        "No matching federated identity record found for presented assertion {claim} '{presented}'.{reason} \
         Check your federated identity credential Subject, Audience and Issuer against the presented assertion."
    );
    ErrorResponse::new(code, text)
}

/// RFC 7519, 4.1.3: a single audience may be a string.
fn string_or_list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Audience {
        One(String),
        Many(Vec<String>),
    }
    Ok(match Audience::deserialize(deserializer)? {
        Audience::One(audience) => vec![audience],
        Audience::Many(audiences) => audiences,
    })
}

/// RFC 7523, 2.2.
const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// A day and an hour. Source: MicrosoftDocs/azure-docs, issue 116275, which quotes AADSTS70023.
const LONGEST_LIFETIME: Duration = Duration::from_secs(90_000);

/// The default of Microsoft's token libraries (`TokenValidationParameters.ClockSkew`).
const CLOCK_SKEW: Duration = Duration::from_secs(300);
