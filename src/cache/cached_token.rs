use std::sync::Arc;
use std::time::Duration;

use super::policy;
use crate::clock::Moment;
use crate::exchange::Grant;
use crate::token::AccessToken;

/// A token and the moments at which a reader treats it differently.
#[derive(Clone, Debug)]
pub(super) struct CachedToken {
    /// One token with several counts of references, so that cores rarely meet in one.
    tokens: [AccessToken; STRIPES],
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
            tokens: striped(&grant.token.with_refresh_on(refresh_at.system_time)),
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

    #[inline]
    pub(super) fn token(&self) -> &AccessToken {
        let [first, ..] = &self.tokens;
        self.tokens.get(stripe()).unwrap_or(first)
    }

    pub(super) fn lifetime(&self) -> Duration {
        self.lifetime
    }

    pub(super) fn age(&self, now: Moment) -> Duration {
        now.instant.saturating_duration_since(self.requested_at.instant)
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
            tokens: striped(&self.token().clone().with_refresh_on(refresh_at.system_time)),
            refresh_at,
            ..*self
        })
    }
}

fn striped(token: &AccessToken) -> [AccessToken; STRIPES] {
    std::array::from_fn(|_| token.unshared())
}

/// The stripe of this thread: from the page of its thread-local storage, which lies in its stack.
#[inline]
fn stripe() -> usize {
    thread_local!(static MARKER: u8 = const { 0 });
    MARKER.with(|marker| (std::ptr::from_ref(marker).addr() / PAGE) % STRIPES)
}

/// Each costs 128 bytes per cached token.
const STRIPES: usize = 8;

/// Stacks of threads are whole pages apart, and on Linux by an odd number of them.
const PAGE: usize = 4096;
