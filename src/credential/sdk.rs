use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use azure_core::credentials::TokenCredential;

use super::credential;
use crate::cache::{Cache, DEFAULT_MAX_SLOTS};
use crate::clock::{Clock, SystemClock};
use crate::env::Environment;
use crate::error::Error;
use crate::exchange::{Grant, TokenSource, Urgency};
use crate::sdk;
use crate::token::TokenRequest;

/// Gets tokens from any implementation of the SDK's `TokenCredential`, for use as a link of a chain
/// or with the cache of this crate, which refreshes in the background.
///
/// The SDK's errors do not distinguish "not set up" from "failed", so each of them is of kind
/// [`ErrorKind::Rejected`](crate::ErrorKind::Rejected) and stops a chain; only an [`Error`] of this
/// crate among the causes keeps its kind.
///
/// A request with a tenant or claims is an error. If the process environment has
/// `AZURE_IDENTITY_DISABLE_MULTITENANTAUTH`, with the value `1` or `true`, tenants are ignored.
///
/// # Examples
///
/// ```no_run
/// use entra_workload::{ChainedTokenCredential, WorkloadIdentityCredential};
/// use entra_workload::integration::SdkCredential;
///
/// # fn f() -> Result<(), Box<dyn std::error::Error>> {
/// let developer = azure_identity::DeveloperToolsCredential::new(None)?;
/// let credential = ChainedTokenCredential::builder()
///     .then("workload identity", WorkloadIdentityCredential::from_env()?)
///     .then("developer tools", SdkCredential::new(developer))
///     .build()?;
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct SdkCredential(Cache);

impl SdkCredential {
    /// Wraps `credential`.
    pub fn new(credential: Arc<dyn TokenCredential>) -> Arc<Self> {
        Self::with_environment(credential, &Environment::from_process())
    }

    fn with_environment(credential: Arc<dyn TokenCredential>, environment: &Environment) -> Arc<Self> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let source = SdkSource {
            credential,
            ignores_tenant: environment.disables_multitenant_auth(),
            clock: clock.clone(),
        };
        Arc::new(Self(Cache::new(
            Arc::new(source),
            clock,
            SDK_FETCH_TIMEOUT,
            DEFAULT_MAX_SLOTS,
        )))
    }
}

credential!(SdkCredential);

#[derive(Debug)]
struct SdkSource {
    credential: Arc<dyn TokenCredential>,
    /// Whether the tenant of a request is ignored.
    ignores_tenant: bool,
    clock: Arc<dyn Clock>,
}

#[async_trait]
impl TokenSource for SdkSource {
    async fn fetch(&self, request: &TokenRequest<'_>, _: Urgency) -> Result<Grant, Error> {
        let tenant_id = request.requested_tenant_id().filter(|_| !self.ignores_tenant);
        if tenant_id.is_some() || request.requested_claims().is_some() {
            return Err(Error::configuration(
                "SDK credentials do not support a tenant or claims in the request",
            ));
        }
        let requested_at = self.clock.now();
        let token = self
            .credential
            .get_token(request.scopes(), None)
            .await
            .map_err(sdk::error::from_sdk)?;
        Ok(sdk::token::from_sdk(&token, requested_at))
    }
}

/// SDK credentials have their own time limits: one to two minutes, including retries.
pub(super) const SDK_FETCH_TIMEOUT: Duration = Duration::from_secs(180);

#[cfg(test)]
mod tests {
    use azure_core::credentials::{AccessToken, TokenRequestOptions};
    use azure_core::time::OffsetDateTime;

    use super::*;
    use crate::error::ErrorKind;

    #[derive(Debug)]
    struct AlwaysGrants;

    #[async_trait]
    impl TokenCredential for AlwaysGrants {
        async fn get_token(
            &self,
            _scopes: &[&str],
            _options: Option<TokenRequestOptions<'_>>,
        ) -> azure_core::Result<AccessToken> {
            let expires_on = OffsetDateTime::now_utc() + azure_core::time::Duration::hours(1);
            Ok(AccessToken::new("token", expires_on))
        }
    }

    #[tokio::test]
    async fn tenant_is_ignored_if_multitenant_authentication_is_disabled() {
        for (value, expected) in [("", Some(ErrorKind::Configuration)), ("1", None)] {
            let environment = Environment::from_iter([("AZURE_IDENTITY_DISABLE_MULTITENANTAUTH", value)]);
            let credential = SdkCredential::with_environment(Arc::new(AlwaysGrants), &environment);
            let request = TokenRequest::new(&["scope"]).tenant_id("contoso.com");
            let result = credential.token_for(&request).await;
            assert_eq!(result.err().map(|error| error.kind()), expected, "{value:?}");
        }
    }
}
