//! What it takes to have credentials of the official SDK as sources of tokens.

use std::error::Error as StdError;
use std::time::{Duration, SystemTime};

use azure_core::credentials::AccessToken as SdkToken;

use crate::clock::Moment;
use crate::exchange::Grant;
use crate::token::AccessToken;

/// The SDK's token as this crate's.
pub(crate) fn grant(token: &SdkToken, requested_at: Moment) -> Grant {
    let expires_on = SystemTime::from(token.expires_on);
    Grant {
        token: AccessToken::new(token.token.secret(), expires_on),
        requested_at,
        lifetime: expires_on
            .duration_since(requested_at.system_time)
            .unwrap_or_default(),
        refresh_in: None,
    }
}

/// An error and its causes.
pub(crate) fn causes<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error| {
        let error: &'a (dyn StdError + 'static) = *error;
        error.source()
    })
}

/// A credential of the SDK has a time limit of its own: a minute or two, with its retries.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);
