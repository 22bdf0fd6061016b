use std::sync::Arc;
use std::time::Duration;

use super::policy;
use crate::clock::Moment;
use crate::exchange::Grant;
use crate::token::AccessToken;

/// A token and the moments at which a reader treats it differently.
#[derive(Clone, Debug)]
pub(super) struct CachedToken {
    token: AccessToken,
    /// When its request left. The later request brought the newer token; expiries cannot tell, since
    /// a server may shorten lifetimes and the wall clock may be set back.
    requested_at: Moment,
    lifetime: Duration,
    refresh_at: Moment,
    expires_at: Moment,
}

/// What a reader does with a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Freshness {
    /// Use it.
    Fresh,
    /// Use it, and start its refresh.
    Stale,
    /// Wait for another.
    Expired,
}

impl CachedToken {
    /// * `random`: between 0 and 1, for the jitter of the refresh.
    pub(super) fn new(grant: Grant, random: f64) -> Self {
        let refresh_after = policy::refresh_after(grant.lifetime, grant.refresh_in, random);
        let refresh_at = grant.requested_at + refresh_after;
        Self {
            token: grant.token.with_refresh_on(refresh_at.system_time),
            requested_at: grant.requested_at,
            lifetime: grant.lifetime,
            refresh_at,
            expires_at: grant.requested_at + grant.lifetime,
        }
    }

    pub(super) fn freshness(&self, now: Moment) -> Freshness {
        if now.reached(self.expires_at) {
            Freshness::Expired
        } else if now.reached(self.refresh_at) {
            Freshness::Stale
        } else {
            Freshness::Fresh
        }
    }

    pub(super) fn token(&self) -> &AccessToken {
        &self.token
    }

    pub(super) fn lifetime(&self) -> Duration {
        self.lifetime
    }

    pub(super) fn remaining(&self, now: Moment) -> Duration {
        self.expires_at.instant.saturating_duration_since(now.instant)
    }

    pub(super) fn is_older_than(&self, other: &Self) -> bool {
        self.requested_at.instant < other.requested_at.instant
    }

    /// The same token with another refresh time.
    pub(super) fn with_refresh_at(&self, refresh_at: Moment) -> Arc<Self> {
        Arc::new(Self {
            token: self.token.clone().with_refresh_on(refresh_at.system_time),
            refresh_at,
            ..*self
        })
    }
}
