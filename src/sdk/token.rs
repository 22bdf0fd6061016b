//! Tokens of `azure_core` 1.x.

use std::time::{Duration, SystemTime};

use azure_core::credentials::{AccessToken as SdkToken, Secret as SdkSecret};
use azure_core::time::OffsetDateTime;

use crate::clock::Moment;
use crate::exchange::Grant;
use crate::token::{AccessToken, Secret};

/// Converts a token for an SDK client, which keeps it until 5 minutes before the reported expiry
/// and then asks again, holding a lock. The reported expiry is therefore at most 5 minutes after
/// the next refresh is due: the client asks just when the refresh can start, and is answered at
/// once.
#[inline(always)]
#[expect(
    clippy::inline_always,
    reason = "a call copies its result once more, a tenth of a cached get_token"
)]
pub(crate) fn to_sdk(token: &AccessToken) -> SdkToken {
    let (expires_on, refresh_on) = token.since_epoch();
    let expires_on = expires_on.min(refresh_on.saturating_add(SDK_REFRESH_WINDOW));
    SdkToken::new(
        token.secret().to_owned(),
        date(expires_on).unwrap_or(OffsetDateTime::UNIX_EPOCH),
    )
}

/// Converts a token that a credential of the SDK returned to a request of `requested_at`.
pub(crate) fn from_sdk(token: &SdkToken, requested_at: Moment) -> Grant {
    let lifetime = SystemTime::from(token.expires_on).duration_since(requested_at.system_time);
    Grant::new(token.token.secret(), requested_at, lifetime.unwrap_or_default())
}

impl From<SdkSecret> for Secret {
    fn from(secret: SdkSecret) -> Self {
        secret.secret().into()
    }
}

/// Much cheaper than the conversion from a `SystemTime`, which computes with two durations.
fn date(since_epoch: Duration) -> Option<OffsetDateTime> {
    let seconds = i64::try_from(since_epoch.as_secs()).ok()?;
    let date = OffsetDateTime::from_unix_timestamp(seconds).ok()?;
    date.replace_nanosecond(since_epoch.subsec_nanos()).ok()
}

/// How long before the reported expiry SDK clients ask their credential again. Source: `azure_core`
/// 1.1, `BearerTokenAuthorizationPolicy`.
const SDK_REFRESH_WINDOW: Duration = Duration::from_secs(300);
