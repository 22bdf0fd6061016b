//! The crates `reqsign-core` and `reqsign-azure-storage` 3, the signers of OpenDAL.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use reqsign_azure_storage::Credential as StorageCredential;
use reqsign_core::time::Timestamp;
use reqsign_core::{Context, ErrorKind as SignErrorKind, ProvideCredential};

use super::STORAGE_SCOPE;
use crate::clock::{Clock, SystemClock};
use crate::credential::Credential;
use crate::error::{Error, ErrorKind, Wrapped};
use crate::token::AccessToken;

/// Any [`Credential`] as a `ProvideCredential` of `reqsign` 3, for the services `azblob` and
/// `azdls` of OpenDAL 0.59.
///
/// The signer of `reqsign` keeps a token until 20 s before its reported expiry and holds a lock
/// while it gets the next one. The reported expiry is therefore soon after the next refresh is due:
/// the signer asks when the credential still holds a valid token, and is answered at once.
///
/// # Examples
///
/// The signer of a program that sends its own requests; `docs/integrations.md` has OpenDAL.
///
/// ```
/// use entra_workload::WorkloadIdentityCredential;
/// use entra_workload::integration::ReqsignCredential;
/// use reqsign_azure_storage::RequestSigner;
/// use reqsign_core::{Context, Signer};
///
/// # fn main() -> Result<(), entra_workload::Error> {
/// # let credential = WorkloadIdentityCredential::builder()
/// #     .tenant_id("72f988bf-86f1-41af-91ab-2d7cd011db47")
/// #     .client_id("7a5ff21b-4f5b-4f5b-9e3e-2c0b5a1d9a10")
/// #     .token_file("/var/run/secrets/azure/tokens/azure-identity-token")
/// #     .build()?;
/// # /*
/// let credential = WorkloadIdentityCredential::from_env()?; // one per process
/// # */
/// let signer = Signer::new(
///     Context::new(),
///     ReqsignCredential::new(credential),
///     RequestSigner::new(),
/// );
/// # drop(signer);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct ReqsignCredential {
    credential: Arc<dyn Credential>,
    scope: String,
    clock: Arc<dyn Clock>,
}

impl ReqsignCredential {
    /// Uses the tokens of `credential` for Azure Storage.
    pub fn new(credential: Arc<dyn Credential>) -> Self {
        Self {
            credential,
            scope: STORAGE_SCOPE.to_owned(),
            clock: Arc::new(SystemClock::new()),
        }
    }

    /// Sets the scope, for a service that checks tokens as Azure Storage does but has an audience
    /// of its own. Default: `https://storage.azure.com/.default`, which is that of Azure Storage in
    /// all clouds.
    #[must_use]
    pub fn with_scope(mut self, scope: impl Into<String>) -> Self {
        self.scope = scope.into();
        self
    }
}

impl ProvideCredential for ReqsignCredential {
    type Credential = StorageCredential;

    /// Never `None`: a chain of `reqsign` continues past errors too, and `None` has no reason.
    async fn provide_credential(
        &self,
        _context: &Context,
    ) -> reqsign_core::Result<Option<StorageCredential>> {
        let token = self.credential.token(&[&self.scope]).await.map_err(to_reqsign)?;
        let reported = reported_expiry(&token, self.clock.now().system_time);
        Ok(Some(StorageCredential::BearerToken {
            token: token.secret().to_owned(),
            expires_in: Some(timestamp(reported)?),
        }))
    }
}

/// A minute after the next refresh is due, or the true expiry if that is earlier.
fn reported_expiry(token: &AccessToken, now: SystemTime) -> SystemTime {
    let refresh_on = token.refresh_on().max(now);
    let next = refresh_on.checked_add(KEPT_AFTER_REFRESH);
    token.expires_on().min(next.unwrap_or(refresh_on))
}

fn timestamp(time: SystemTime) -> reqsign_core::Result<Timestamp> {
    let since_epoch = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let seconds = i64::try_from(since_epoch.as_secs()).unwrap_or(LATEST);
    Timestamp::from_second(seconds.min(LATEST))
}

fn to_reqsign(error: Error) -> reqsign_core::Error {
    let kind = match error.kind() {
        ErrorKind::Configuration | ErrorKind::Unavailable => SignErrorKind::ConfigInvalid,
        _ if error.is_transient() => SignErrorKind::Unexpected,
        ErrorKind::Rejected => SignErrorKind::PermissionDenied,
        _ => SignErrorKind::CredentialInvalid,
    };
    let is_transient = error.is_transient();
    reqsign_core::Error::new(kind, error.to_string())
        .set_retryable(is_transient)
        .with_source(Wrapped(error))
}

/// The signer asks again 20 s before the reported expiry, and refuses a new token with less than
/// that left. Source: `reqsign-azure-storage` 3.3, `Credential::is_valid` and
/// `BEARER_TOKEN_OPERATION_HEADROOM`.
const KEPT_AFTER_REFRESH: Duration = Duration::from_secs(60);

/// The latest time of `Timestamp`, in the year 9999.
const LATEST: i64 = 253_402_207_200;

#[cfg(test)]
mod tests {
    use super::*;

    /// The latest time of `SystemTime`.
    fn latest() -> SystemTime {
        let mut latest = SystemTime::UNIX_EPOCH;
        for exponent in (0..63).rev() {
            latest = latest
                .checked_add(Duration::from_secs(1 << exponent))
                .unwrap_or(latest);
        }
        latest
    }

    #[test]
    fn token_that_never_expires_is_reported_until_the_latest_time() {
        let token = AccessToken::new("planted-token", latest());
        let reported = reported_expiry(&token, SystemTime::UNIX_EPOCH);
        assert_eq!(reported, latest());
        assert_eq!(
            timestamp(reported).unwrap(),
            Timestamp::from_second(LATEST).unwrap()
        );
    }

    #[test]
    fn reported_expiry_is_after_the_refresh_and_never_after_the_expiry() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        for (refresh_on, expires_on, now, reported) in [
            (1800, 3600, 0, 1860),
            // The refresh is overdue: the signer keeps the token for 40 s.
            (1800, 3600, 3000, 3060),
            (3590, 3600, 0, 3600),
            (3600, 3600, 3590, 3600),
        ] {
            let token = AccessToken::new("planted-token", at(expires_on)).with_refresh_on(at(refresh_on));
            assert_eq!(
                reported_expiry(&token, at(now)),
                at(reported),
                "{refresh_on} {now}"
            );
        }
    }
}
