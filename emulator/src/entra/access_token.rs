use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::jwt::{RS256, SigningKey};
use crate::revocations::Revocations;
use crate::service_account_token::EXCHANGE_AUDIENCE;

/// An access token and its times, in seconds since the Unix epoch.
pub(crate) struct IssuedToken {
    pub(crate) token: String,
    /// In seconds from now.
    pub(crate) lifetime: u64,
    pub(crate) not_before: u64,
    pub(crate) expires_on: u64,
}

impl IssuedToken {
    /// Returns the response of the version 1.0 token endpoint.
    pub(super) fn to_version_1(&self, resource: &str) -> Value {
        json!({
            "token_type": "Bearer",
            "expires_in": self.lifetime.to_string(),
            "ext_expires_in": self.lifetime.to_string(),
            "expires_on": self.expires_on.to_string(),
            "not_before": self.not_before.to_string(),
            "resource": resource,
            "access_token": self.token,
        })
    }
}

/// The client of a token, and how it authenticated.
pub(super) struct Principal<'a> {
    pub(super) client_id: &'a str,
    pub(super) object_id: &'a str,
    /// The client authentication: 1 for a secret, 2 for an assertion or a certificate.
    pub(super) appidacr: &'static str,
    /// The resource ID of a managed identity.
    pub(super) resource_id: Option<&'a str>,
    /// Whether it authenticated with a federated credential.
    pub(super) is_federated: bool,
    /// Whether the client handles claims challenges.
    pub(super) handles_claims_challenges: bool,
}

impl Principal<'_> {
    /// Signs a token for this principal.
    ///
    /// * `now`: in seconds since the Unix epoch.
    /// * `lifetime`: in seconds.
    pub(super) fn issue(
        &self,
        tenant_id: &str,
        resource: &str,
        key: &SigningKey,
        revocations: &Revocations,
        now: u64,
        lifetime: u64,
    ) -> IssuedToken {
        let not_before = now.saturating_sub(NOT_BEFORE_OFFSET.as_secs());
        let issuer = token_issuer(tenant_id);
        let kid = &key.public().kid;
        let expires_on = now.saturating_add(lifetime);
        let mut claims = json!({
            "aud": resource,
            "iss": issuer,
            "iat": not_before,
            "nbf": not_before,
            "exp": expires_on,
            "aio": revocations.mark(self.client_id),
            "appid": self.client_id,
            "appidacr": self.appidacr,
            "idp": issuer,
            "oid": self.object_id,
            "rh": format!("1.{}.", opaque::<42>()),
            "sub": self.object_id,
            "tid": tenant_id,
            "uti": opaque::<16>(),
            "ver": "1.0",
        });
        if let (Some(resource_id), Some(claims)) = (self.resource_id, claims.as_object_mut()) {
            claims.insert("xms_mirid".to_owned(), resource_id.into());
        }
        if let (true, Some(claims)) = (self.handles_claims_challenges, claims.as_object_mut()) {
            claims.insert("xms_cc".to_owned(), json!(["cp1"]));
        }
        if resource == EXCHANGE_AUDIENCE {
            claims = self.exchange_claims(tenant_id, &claims);
        }
        let header = json!({ "typ": "JWT", "alg": RS256, "x5t": kid, "kid": kid });
        IssuedToken {
            token: key.sign(&header, &claims),
            lifetime,
            not_before,
            expires_on,
        }
    }
}

impl Principal<'_> {
    /// Returns the claims of a token for the token exchange, which has version 2.0.
    ///
    /// The claim `emulator_origin` is not one of Entra's, which looks the principal up in its directory.
    fn exchange_claims(&self, tenant_id: &str, claims: &Value) -> Value {
        let same = |name: &str| claims.get(name).cloned().unwrap_or_default();
        let origin = match (self.resource_id, self.is_federated) {
            (Some(_), _) => ORIGIN_MANAGED_IDENTITY,
            (None, true) => ORIGIN_FEDERATED_CREDENTIAL,
            (None, false) => "application",
        };
        json!({
            "aud": EXCHANGE_APPLICATION,
            "iss": exchange_issuer(tenant_id),
            "iat": same("iat"),
            "nbf": same("nbf"),
            "exp": same("exp"),
            "aio": same("aio"),
            "azp": self.client_id,
            "azpacr": self.appidacr,
            "idtyp": "app",
            "oid": self.object_id,
            "rh": same("rh"),
            "sub": self.object_id,
            "tid": tenant_id,
            "uti": same("uti"),
            "ver": "2.0",
            "emulator_origin": origin,
        })
    }
}

/// Returns the `iss` of tokens for the token exchange, which is also that of federated credentials for
/// managed identities.
pub(super) fn exchange_issuer(tenant_id: &str) -> String {
    format!("https://login.microsoftonline.com/{tenant_id}/v2.0")
}

/// Returns the `iss` of access tokens, in the version 1.0 format that Key Vault and Storage use.
pub(super) fn token_issuer(tenant_id: &str) -> String {
    format!("https://sts.windows.net/{tenant_id}/")
}

/// Returns the base64url of random bytes, for claims that are opaque to clients.
fn opaque<const LENGTH: usize>() -> String {
    let mut bytes = [0; LENGTH];
    fastrand::fill(&mut bytes);
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The `aud` of tokens for `api://AzureADTokenExchange`: the application ID of that resource. Source: tokens in
/// public bug reports.
pub(super) const EXCHANGE_APPLICATION: &str = "fb60f99c-7a34-4190-8149-302f77469936";

pub(super) const ORIGIN_MANAGED_IDENTITY: &str = "managed identity";
pub(super) const ORIGIN_FEDERATED_CREDENTIAL: &str = "federated credential";

/// Entra backdates `iat` and `nbf`, for services whose clocks are late.
const NOT_BEFORE_OFFSET: Duration = Duration::from_secs(300);
