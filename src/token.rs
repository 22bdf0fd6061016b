use std::sync::Arc;
use std::time::{Duration, SystemTime};
use std::{fmt, slice};

use zeroize::Zeroizing;

/// An access token: the credential that a client sends as `Authorization: Bearer`.
///
/// Clones share the token instead of copying it. The memory is wiped when the last clone is
/// dropped. `Debug` shows the expiry and never the token.
///
/// # Examples
///
/// ```
/// use std::time::{Duration, SystemTime};
///
/// use entra_workload::AccessToken;
///
/// let expires_on = SystemTime::now() + Duration::from_secs(3600);
/// let token = AccessToken::new("a-token", expires_on);
/// assert_eq!(format!("Bearer {}", token.secret()), "Bearer a-token");
/// assert!(!format!("{token:?}").contains("a-token"));
/// ```
#[derive(Clone)]
pub struct AccessToken(Arc<Terms>);

impl AccessToken {
    /// Creates a token, for example in a test or in a [`Credential`](crate::Credential) of your
    /// own.
    ///
    /// * `expires_on`: wall time in UTC; also the time to refresh.
    pub fn new(secret: impl Into<Secret>, expires_on: SystemTime) -> Self {
        Self(Arc::new(Terms {
            secret: Arc::new(secret.into()),
            expires_on: since_epoch(expires_on),
            refresh_on: since_epoch(expires_on),
        }))
    }

    /// Returns the same token with another time to refresh it.
    ///
    /// * `refresh_on`: wall time in UTC.
    #[must_use]
    pub fn with_refresh_on(self, refresh_on: SystemTime) -> Self {
        Self(Arc::new(Terms {
            secret: self.0.secret.clone(),
            expires_on: self.0.expires_on,
            refresh_on: since_epoch(refresh_on),
        }))
    }

    /// Returns the token itself. Entra's tokens are JWTs of one to three kilobytes, but a client
    /// must treat them as opaque.
    pub fn secret(&self) -> &str {
        self.0.secret.expose()
    }

    /// Returns the true expiry, in wall time (UTC): usually 60 to 90 minutes after the token was
    /// issued.
    pub fn expires_on(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + self.0.expires_on
    }

    /// Returns the time at which the credential refreshes this token next, in wall time (UTC). It
    /// concerns only a client that keeps the token; calling the credential for each request is
    /// cheap.
    pub fn refresh_on(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + self.0.refresh_on
    }

    /// Returns expiry and refresh time as durations since the Unix epoch.
    #[cfg(feature = "azure-core")]
    pub(crate) fn since_epoch(&self) -> (Duration, Duration) {
        (self.0.expires_on, self.0.refresh_on)
    }

    /// Returns the same token with a count of references of its own.
    pub(crate) fn unshared(&self) -> Self {
        Self(Arc::new(Terms {
            secret: self.0.secret.clone(),
            ..*self.0
        }))
    }

    /// Returns whether both are the same issued token, by identity.
    pub(crate) fn is_same_token(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0.secret, &other.0.secret)
    }
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessToken")
            .field("expires_on", &self.expires_on())
            .field("refresh_on", &self.refresh_on())
            .finish_non_exhaustive()
    }
}

/// A confidential string: a client assertion or a client secret.
///
/// It has no `Display`, its `Debug` shows nothing of it, and its memory is wiped when it is
/// dropped.
///
/// # Examples
///
/// ```
/// use entra_workload::Secret;
///
/// let secret = Secret::from("hunter2".to_owned());
/// assert_eq!(format!("{secret:?}"), "Secret");
/// assert_eq!(secret.expose(), "hunter2");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Returns the string itself. The name is easy to search for.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(secret: String) -> Self {
        Self(Zeroizing::new(secret))
    }
}

impl From<&str> for Secret {
    fn from(secret: &str) -> Self {
        secret.to_owned().into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// The parameters of a token: scopes, and optionally a tenant or claims.
///
/// Each distinct request is a cache key of its own. The order of the scopes and repeated scopes
/// make no difference.
///
/// # Examples
///
/// ```
/// use entra_workload::TokenRequest;
///
/// let request = TokenRequest::from("https://vault.azure.net/.default")
///     .tenant_id("72f988bf-86f1-41af-91ab-2d7cd011db47");
/// assert_eq!(request.scopes(), ["https://vault.azure.net/.default"]);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct TokenRequest<'a> {
    scopes: Scopes<'a>,
    tenant_id: Option<&'a str>,
    claims: Option<&'a str>,
}

impl<'a> TokenRequest<'a> {
    /// Requests a token for `scopes`: one or more of `{resource}/.default`, all of one resource.
    pub fn new(scopes: &'a [&'a str]) -> Self {
        Self::of(Scopes::Several(scopes))
    }

    fn of(scopes: Scopes<'a>) -> Self {
        Self {
            scopes,
            tenant_id: None,
            claims: None,
        }
    }

    /// Sets the tenant: the credential's own, or one of its additionally allowed tenants.
    #[must_use]
    pub fn tenant_id(self, tenant_id: &'a str) -> Self {
        Self {
            tenant_id: Some(tenant_id),
            ..self
        }
    }

    /// Sets the claims: the JSON text of a claims challenge (continuous access evaluation), decoded
    /// from base64. The text is part of the cache key, so a new challenge leads to a new token: for two
    /// different claims in 30 s with the same tenant and scopes. Others get the newest cached token.
    #[must_use]
    pub fn claims(self, claims: &'a str) -> Self {
        Self {
            claims: Some(claims),
            ..self
        }
    }

    #[cfg(feature = "azure-core")]
    pub(crate) fn without_tenant_id(self) -> Self {
        Self {
            tenant_id: None,
            ..self
        }
    }

    pub(crate) fn without_claims(self) -> Self {
        Self { claims: None, ..self }
    }

    /// Returns the scopes, in their original order.
    pub fn scopes(&self) -> &[&'a str] {
        match &self.scopes {
            Scopes::One(scope) => slice::from_ref(scope),
            Scopes::Several(scopes) => scopes,
        }
    }

    /// Returns the tenant, if one is set.
    pub fn requested_tenant_id(&self) -> Option<&'a str> {
        self.tenant_id
    }

    /// Returns the claims, if they are set.
    pub fn requested_claims(&self) -> Option<&'a str> {
        self.claims
    }
}

/// Requests a token for one scope: `{resource}/.default`.
impl<'a> From<&'a str> for TokenRequest<'a> {
    fn from(scope: &'a str) -> Self {
        Self::of(Scopes::One(scope))
    }
}

#[derive(Clone, Copy)]
enum Scopes<'a> {
    One(&'a str),
    Several(&'a [&'a str]),
}

impl fmt::Debug for Scopes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(scope) => f.debug_list().entry(scope).finish(),
            Self::Several(scopes) => scopes.fmt(f),
        }
    }
}

/// A token and its times, as durations since the Unix epoch. When only the times change, the token
/// is shared.
///
/// Aligned to a cache line, so that cores which count references of different clones do not share
/// one.
#[repr(align(64))]
struct Terms {
    secret: Arc<Secret>,
    expires_on: Duration,
    refresh_on: Duration,
}

/// Times before the Unix epoch saturate to the epoch.
fn since_epoch(time: SystemTime) -> Duration {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_of_a_token_or_secret_does_not_contain_it() {
        let token = AccessToken::new("planted-token", SystemTime::UNIX_EPOCH);
        let shown = format!("{token:?} {:?}", Secret::from("planted-secret"));
        assert!(!shown.contains("planted"), "{shown}");
        assert!(
            shown.starts_with("AccessToken { expires_on: ") && shown.ends_with(" Secret"),
            "{shown}"
        );
    }
}
