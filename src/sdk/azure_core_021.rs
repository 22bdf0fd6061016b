//! Tokens and errors of `azure_core` 0.21, the last of the unofficial SDK.
//!
//! Its clients cache no token and ask for every request (`AuthorizationPolicy` of `azure_storage`
//! 0.21 and of `azure_security_keyvault` 0.21, `Client` of each `azure_svc_…` 0.21), so the true
//! expiry is reported. It logs whole requests, tokens included, from `DEBUG` on (`TransportPolicy`,
//! `RetryPolicy`).

use std::time::{Duration, SystemTime};

use azure_core_021::auth::AccessToken as SdkToken;
use azure_core_021::error::ErrorKind as SdkErrorKind;

use crate::error::{Error, Wrapped};
use crate::token::AccessToken;

pub(crate) fn to_sdk_token(token: &AccessToken) -> SdkToken {
    SdkToken::new(token.secret().to_owned(), token.expires_on().min(latest()).into())
}

/// The conversion panics after the year 9999.
fn latest() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(253_402_300_799)
}

pub(crate) fn to_sdk_error(error: Error) -> azure_core_021::Error {
    let message = error.to_string();
    azure_core_021::Error::full(SdkErrorKind::Credential, Wrapped(error), message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_that_never_expires_is_converted_without_a_panic() {
        let never = latest() + Duration::from_secs(1 << 40);
        let token = to_sdk_token(&AccessToken::new("planted", never));
        assert_eq!(SystemTime::from(token.expires_on), latest());
    }
}
