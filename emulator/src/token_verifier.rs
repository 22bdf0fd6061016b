use std::fmt;
use std::time::{Duration, SystemTime};

use crate::bearer::{BearerError, BearerVerifier};

/// Verifies access tokens of the emulated Entra as strictly as the Key Vault and the Blob account do:
/// signature, tenant, audience, `nbf` and `exp`, without a tolerance for clocks.
///
/// For servers of your own tests: an API, or the password check of a database.
///
/// # Examples
///
/// ```
/// use entra_workload_emulator::{Emulator, TokenRejection};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> std::io::Result<()> {
/// let emulator = Emulator::start().await?;
/// let verifier = emulator.token_verifier();
/// // … in the server, with the text after `Bearer ` …
/// match verifier.verify("eyJ0eXAi", &["https://redis.azure.com"]) {
///     Ok(caller) => println!("{} until {:?}", caller.object_id(), caller.expires_on()),
///     Err(rejection) => assert_eq!(rejection, TokenRejection::Malformed),
/// }
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct TokenVerifier(BearerVerifier);

impl TokenVerifier {
    pub(crate) fn new(verifier: BearerVerifier) -> Self {
        Self(verifier)
    }

    /// Verifies `token` and returns its caller.
    ///
    /// * `token`: the text after `Bearer `.
    /// * `audiences`: the accepted resources, without `/.default`; a trailing slash is ignored.
    ///
    /// # Errors
    ///
    /// Returns the first check that fails, in the order of [`TokenRejection`].
    pub fn verify(&self, token: &str, audiences: &[&str]) -> Result<TokenCaller, TokenRejection> {
        let claims = self.0.verify_token(token, audiences).map_err(reason)?;
        if claims.appid.is_empty() || claims.oid.is_empty() {
            return Err(TokenRejection::Malformed);
        }
        Ok(TokenCaller {
            client_id: claims.appid,
            object_id: claims.oid,
            expires_on: SystemTime::UNIX_EPOCH + Duration::from_secs(claims.exp),
        })
    }
}

impl fmt::Debug for TokenVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenVerifier").finish_non_exhaustive()
    }
}

/// The caller that an access token was issued to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenCaller {
    client_id: String,
    object_id: String,
    expires_on: SystemTime,
}

impl TokenCaller {
    /// The client ID of the application or managed identity: the claim `appid`.
    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    /// The object ID of the service principal: the claim `oid`. Databases name their users by it.
    pub fn object_id(&self) -> &str {
        &self.object_id
    }

    /// The expiry: the claim `exp`.
    pub fn expires_on(&self) -> SystemTime {
        self.expires_on
    }
}

/// The check that an access token failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenRejection {
    /// It is not a JWT or lacks a required claim.
    Malformed,
    /// It is not signed by the emulated Entra.
    Signature,
    /// It is from another tenant.
    Issuer,
    /// It is for another resource.
    Audience,
    /// The `nbf` time is in the future.
    NotYetValid,
    /// The `exp` time has been reached.
    Expired,
    /// It was revoked, and its client handles claims challenges (`cp1`).
    Revoked,
}

impl fmt::Display for TokenRejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "the token is not an access token",
            Self::Signature => "the signature of the token is invalid",
            Self::Issuer => "the token is from another tenant",
            Self::Audience => "the token is for another resource",
            Self::NotYetValid => "the token is not yet valid",
            Self::Expired => "the token is expired",
            Self::Revoked => "the token is revoked",
        })
    }
}

impl std::error::Error for TokenRejection {}

fn reason(error: BearerError) -> TokenRejection {
    match error {
        BearerError::Missing | BearerError::Malformed => TokenRejection::Malformed,
        BearerError::Signature => TokenRejection::Signature,
        BearerError::Issuer => TokenRejection::Issuer,
        BearerError::Audience => TokenRejection::Audience,
        BearerError::NotYetValid => TokenRejection::NotYetValid,
        BearerError::Expired => TokenRejection::Expired,
        BearerError::Revoked => TokenRejection::Revoked,
    }
}
