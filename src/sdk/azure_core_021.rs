//! The older SDK, `azure_core` 0.21, the last of the unofficial line: every credential is a `TokenCredential` of it too.

use async_trait::async_trait;
use azure_core_021::auth::{AccessToken as SdkToken, TokenCredential};
use azure_core_021::error::ErrorKind as SdkErrorKind;

use crate::credential::Credential;
use crate::token::{AccessToken, TokenRequest};

macro_rules! token_credential {
    ($($(#[$condition:meta])* $credential:ty),* $(,)?) => {$(
        $(#[$condition])*
        /// Clients of `azure_core` 0.21 keep no token of their own and ask for every request, so that a refreshed token reaches
        /// them at once; the reported expiry is the true one.
        ///
        /// From `DEBUG` on, `azure_core` 0.21 logs its requests whole, with the token in them: keep the target `azure_core` at
        /// `INFO`.
        #[async_trait]
        impl TokenCredential for $credential {
            async fn get_token(&self, scopes: &[&str]) -> azure_core_021::Result<SdkToken> {
                let request = TokenRequest::new(scopes);
                if let Some(token) = Credential::cached(self, &request) {
                    return Ok(reported(&token));
                }
                match Credential::token_for(self, &request).await {
                    Ok(token) => Ok(reported(&token)),
                    Err(error) => Err(azure_core_021::Error::new(SdkErrorKind::Credential, error)),
                }
            }

            async fn clear_cache(&self) -> azure_core_021::Result<()> {
                Credential::clear(self);
                Ok(())
            }
        }
    )*};
}

super::for_all_credentials!(token_credential);

// That clients ask for every request is to be read in the `AuthorizationPolicy` of `azure_storage` 0.21 and of
// `azure_security_keyvault` 0.21, and in the `Client` of each `azure_svc_…` 0.21; `azure_core` 0.21 has no cache. That requests
// are logged whole, in its `TransportPolicy` (`DEBUG`) and `RetryPolicy` (`TRACE`).
fn reported(token: &AccessToken) -> SdkToken {
    SdkToken::new(token.secret().to_owned(), token.expires_on().into())
}
