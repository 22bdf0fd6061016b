//! Tokens and errors of `azure_core` 0.21, the last of the unofficial SDK.
//!
//! Its clients cache no token and ask for every request (`AuthorizationPolicy` of `azure_storage`
//! 0.21 and of `azure_security_keyvault` 0.21, `Client` of each `azure_svc_…` 0.21), so the true
//! expiry is reported. It logs whole requests, tokens included, from `DEBUG` on (`TransportPolicy`,
//! `RetryPolicy`).

use azure_core_021::auth::AccessToken as SdkToken;
use azure_core_021::error::ErrorKind as SdkErrorKind;

use crate::error::{Error, Wrapped};
use crate::token::AccessToken;

pub(crate) fn to_sdk_token(token: &AccessToken) -> SdkToken {
    SdkToken::new(token.secret().to_owned(), token.expires_on().into())
}

pub(crate) fn to_sdk_error(error: Error) -> azure_core_021::Error {
    let message = error.to_string();
    azure_core_021::Error::full(SdkErrorKind::Credential, Wrapped(error), message)
}
