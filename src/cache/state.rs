//! The state of one cache key: what a caller gets, when a fetch starts, and what its result changes.
//!
//! Every transition is a function of the state, the time and one event, and returns what to do next.
//! There is no I/O, no task and no lock in here; [`Slot`](super::slot::Slot) supplies those.
//!
//! ```text
//!                 caller                 acquired               refresh due
//!  ┌───────┐ ──────────────► ┌──────────┐ ─────────► ┌───────┐ ────────────► ┌───────┐
//!  │ Empty │                 │ Fetching │            │ Fresh │               │ Stale │
//!  └───────┘ ◄────────────── └──────────┘            └───────┘               └───────┘
//!   ▲     ▲   failed on       │        ▲              ▲     ▲                    │
//!   │     │   this machine    │ failed │ caller       │     │ acquired, or       │ caller
//!   │     │                   │ at the │              │     │ failed: refresh    │
//!   │     │                   │ server │              │     │ again later        │
//!   │     │                   ▼        │              │     │                    ▼
//!   │     │                  ┌──────────┐             │     │             ┌────────────┐
//!   │     └───────────────── │ Cooldown │             │     └──────────── │ Refreshing │
//!   │      cooldown over     └──────────┘             │                   └────────────┘
//!   │                                                 │ acquired                 │ token expired
//!   └─ token expired or forgotten: Fresh, Stale       └───────── Fetching ◄──────┘
//! ```
//!
//! | state | a caller |
//! | --- | --- |
//! | Empty | starts a fetch and waits for it |
//! | Fetching | waits for the fetch in flight |
//! | Fresh, Refreshing | gets the token |
//! | Stale | gets the token and starts a fetch in the background |
//! | Cooldown | gets the error of the last fetch |
//!
//! A fetch that is lost (its task was dropped, or its runtime stands still beyond the deadline) leaves
//! the state as if it had never started.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::cached_token::{CachedToken, Freshness};
use super::policy;
use crate::clock::Moment;
use crate::error::{Error, ErrorKind};
use crate::exchange::{Grant, Urgency};

/// The token of a key, its fetch in flight, and what earlier failures left behind.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    token: Option<Arc<CachedToken>>,
    fetch: Option<Fetch>,
    /// How many fetches have been started; the number of the last one.
    fetches: u64,
    /// How many fetches in a row failed while no token was usable.
    failures: u32,
    /// Until when callers without a token get the error of the last fetch.
    cooldown: Option<(Moment, Error)>,
    /// Whether the last refresh failed while its token was usable.
    is_in_outage: bool,
    /// Whether the last fetch failed on this machine while no token was usable.
    has_local_failure: bool,
    /// When a token was last invalidated.
    invalidated_at: Option<Moment>,
    /// The claims that replaced the token without claims, and since when.
    recent_claims: Vec<(Box<str>, Moment)>,
}

/// The time as the two clocks of a slot show it: tokens age by [`Moment`], fetches by the runtime's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    pub(super) moment: Moment,
    pub(super) runtime: Instant,
}

/// A fetch in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fetch {
    number: u64,
    pub(super) urgency: Urgency,
    /// When its source must have answered.
    pub(super) time_limit: Instant,
    /// When it counts as lost: no thread runs its runtime any more.
    pub(super) deadline: Instant,
}

/// What a caller gets.
#[derive(Debug)]
pub(super) enum Decision {
    Serve(Arc<CachedToken>),
    /// Serve the token, and start the fetch in the background.
    ServeAndStart(Arc<CachedToken>, Fetch),
    /// Wait for the fetch in flight.
    Wait(Fetch),
    /// Start the fetch, and wait for it.
    StartAndWait(Fetch),
    Fail(Error),
}

/// What the end of a fetch means for its waiters and for the log.
#[derive(Debug)]
pub(super) struct Completion {
    /// For all waiters; if there is none, they start another fetch, which makes all its attempts.
    pub(super) result: Option<Result<Arc<CachedToken>, Error>>,
    pub(super) report: Option<Report>,
}

/// What is logged: the beginning and the end of an outage, once each, and failures without a usable token.
#[derive(Debug)]
pub(super) enum Report {
    FetchFailed {
        error: Error,
    },
    RefreshFailed {
        error: Error,
        remaining: Option<Duration>,
    },
    RefreshRecovered,
}

impl State {
    pub(super) fn token(&self) -> Option<&Arc<CachedToken>> {
        self.token.as_ref()
    }

    /// A caller asks for the token.
    ///
    /// * `fetch_timeout`: how long a fetch may take before it counts as failed.
    pub(super) fn request(&mut self, now: Now, fetch_timeout: Duration) -> Decision {
        let in_flight = self.fetch.filter(|fetch| now.runtime < fetch.deadline);
        if let Some(token) = self.usable_token(now.moment) {
            if token.freshness(now.moment) == Freshness::Fresh {
                return Decision::Serve(token);
            }
            // Until the result is known all others see a fresh token, and do not come here.
            let pause = policy::refresh_pause(token.lifetime(), None);
            let token = token.with_refresh_at(now.moment + pause);
            self.token = Some(token.clone());
            return match in_flight {
                Some(_) => Decision::Serve(token),
                None => Decision::ServeAndStart(token, self.start(now, fetch_timeout, Urgency::Background)),
            };
        }
        if let Some(fetch) = in_flight {
            return Decision::Wait(fetch);
        }
        match &self.cooldown {
            Some((until, error)) if !now.moment.reached(*until) => Decision::Fail(error.clone()),
            _ => Decision::StartAndWait(self.start(now, fetch_timeout, Urgency::Awaited)),
        }
    }

    /// A fetch ended with a result.
    ///
    /// * `retries_when_awaited`: whether its source makes more attempts when callers wait.
    /// * `random`: between 0 and 1, for the jitter of the next refresh.
    pub(super) fn complete(
        &mut self,
        fetch: Fetch,
        result: Result<Grant, Error>,
        now: Moment,
        retries_when_awaited: bool,
        random: f64,
    ) -> Completion {
        let is_current = self.abandon(fetch);
        let (was_in_outage, had_local_failure) = (self.is_in_outage, self.has_local_failure);
        let usable = self.usable_token(now);
        let result = result
            .map(|grant| Arc::new(CachedToken::new(grant, random)))
            .and_then(|new| self.accept(new, usable.as_ref(), now));
        if let Err(error) = &result {
            // The single attempt of a refresh failed, and callers wait by now.
            let deserves_retries = usable.is_none()
                && fetch.urgency == Urgency::Background
                && retries_when_awaited
                && error.retry_after().is_none();
            if deserves_retries {
                return Completion {
                    result: None,
                    report: None,
                };
            }
            // A fetch that counted as lost has a successor, whose result counts instead.
            if is_current {
                self.record_failure(error, usable.as_ref(), now, random);
            }
        }
        let report = match &result {
            Ok(_) if was_in_outage && !self.is_in_outage => Some(Report::RefreshRecovered),
            Err(error) if self.is_in_outage && !was_in_outage => Some(Report::RefreshFailed {
                error: error.clone(),
                remaining: usable.as_ref().map(|token| token.remaining(now)),
            }),
            // Failures at a server are rare enough: each starts a cooldown. Of those on this machine, which
            // do not, the first is logged. If a credential is unavailable, a chain tries its next link.
            Err(error)
                if is_current
                    && usable.is_none()
                    && (reached_server(error) || !had_local_failure && !error.is_unavailable()) =>
            {
                Some(Report::FetchFailed { error: error.clone() })
            }
            _ => None,
        };
        // A usable token, perhaps of another fetch, is worth more than the error of this one.
        let result = match (result, usable) {
            (Err(_), Some(token)) => Ok(token),
            (result, _) => result,
        };
        Completion {
            result: Some(result),
            report,
        }
    }

    /// Whether callers get the last error for now.
    pub(super) fn is_cooling_down(&self, now: Moment) -> bool {
        self.cooldown
            .as_ref()
            .is_some_and(|(until, _)| !now.reached(*until))
    }

    /// A fetch ended without a result: its task was dropped. Returns whether it was the one in flight.
    pub(super) fn abandon(&mut self, fetch: Fetch) -> bool {
        self.fetch
            .take_if(|current| current.number == fetch.number)
            .is_some()
    }

    /// Drops the token. A fetch in flight continues.
    pub(super) fn clear(&mut self) {
        self.token = None;
    }

    /// Uses the token of another key, unless there is a newer one.
    pub(super) fn adopt(&mut self, new: &Arc<CachedToken>) {
        if self.token.as_ref().is_none_or(|token| !new.is_older_than(token)) {
            self.token = Some(new.clone());
            self.recovered();
        }
    }

    fn recovered(&mut self) {
        self.failures = 0;
        self.cooldown = None;
        self.is_in_outage = false;
        self.has_local_failure = false;
    }

    /// A service rejected a token: drops it if `is_rejected`, so that the next caller starts a fetch. A
    /// service may answer 401 for other reasons, which no new token changes, so this happens at most once
    /// in [`INVALIDATION_INTERVAL`]. A fetch in flight continues.
    pub(super) fn invalidate(&mut self, now: Moment, is_rejected: impl FnOnce(&CachedToken) -> bool) {
        let is_recent = |at: Moment| !now.reached(at + INVALIDATION_INTERVAL);
        if !self.invalidated_at.is_some_and(is_recent)
            && self.token.take_if(|token| is_rejected(token)).is_some()
        {
            self.invalidated_at = Some(now);
        }
    }

    /// Whether a token with these claims may be requested in place of the one without. A service can demand
    /// other claims in each 401, so these are at most [`MAX_RECENT_CLAIMS`] different ones in
    /// [`INVALIDATION_INTERVAL`].
    pub(super) fn admits(&mut self, claims: &str, now: Moment) -> bool {
        self.recent_claims
            .retain(|(_, since)| !now.reached(*since + INVALIDATION_INTERVAL));
        if self.recent_claims.iter().any(|(recent, _)| **recent == *claims) {
            return true;
        }
        let is_admitted = self.recent_claims.len() < MAX_RECENT_CLAIMS;
        if is_admitted {
            self.recent_claims.push((claims.into(), now));
        }
        is_admitted
    }

    fn usable_token(&self, now: Moment) -> Option<Arc<CachedToken>> {
        self.token
            .clone()
            .filter(|token| token.freshness(now) != Freshness::Expired)
    }

    fn start(&mut self, now: Now, fetch_timeout: Duration, urgency: Urgency) -> Fetch {
        self.fetches += 1;
        let time_limit = now.runtime + fetch_timeout;
        let fetch = Fetch {
            number: self.fetches,
            urgency,
            time_limit,
            deadline: time_limit + COMPLETION_TIME,
        };
        self.fetch = Some(fetch);
        fetch
    }

    /// Stores a new token, unless it has expired or a newer one is there.
    fn accept(
        &mut self,
        new: Arc<CachedToken>,
        usable: Option<&Arc<CachedToken>>,
        now: Moment,
    ) -> Result<Arc<CachedToken>, Error> {
        if new.freshness(now) != Freshness::Expired {
            if usable.is_none_or(|token| !new.is_older_than(token)) {
                self.token = Some(new.clone());
            }
            self.recovered();
            return Ok(new);
        }
        // Tolerates one token that is already expired on arrival, for example after a suspend: the
        // waiters see that it has expired and ask again.
        if usable.is_none() && self.failures == 0 {
            self.failures = 1;
            return Ok(new);
        }
        Err(expired_on_arrival())
    }

    /// A usable token gets a later refresh; without one, callers get the error for a while.
    fn record_failure(&mut self, error: &Error, usable: Option<&Arc<CachedToken>>, now: Moment, random: f64) {
        let retry_after = error.retry_after();
        if let Some(token) = usable {
            let pause = if self.is_in_outage && reached_server(error) {
                policy::outage_pause(token.lifetime(), token.remaining(now), retry_after, random)
            } else {
                policy::refresh_pause(token.lifetime(), retry_after)
            };
            self.token = Some(token.with_refresh_at(now + pause));
            self.is_in_outage = true;
        } else {
            self.has_local_failure = !reached_server(error);
            if reached_server(error) {
                self.failures = self.failures.saturating_add(1);
                let pause = policy::cooldown(self.failures, retry_after);
                self.cooldown = Some((now + pause, error.clone()));
            }
        }
    }
}

/// The machine was suspended, the reply was slow, or the server grants expired tokens.
pub(super) fn expired_on_arrival() -> Error {
    Error::transport("the token had expired when it arrived")
}

/// Whether the failed fetch put load on a server, which may also be that of a source of client assertions.
/// Failures on this machine, such as a missing file, cost nobody anything and may be gone at the next call.
fn reached_server(error: &Error) -> bool {
    let has_response = error.status().is_some() || error.retry_after().is_some();
    has_response
        || matches!(
            error.kind(),
            ErrorKind::Transport | ErrorKind::Rejected | ErrorKind::Protocol
        )
}

/// As long as after a failed refresh: a service that rejects every token costs two token requests a
/// minute.
const INVALIDATION_INTERVAL: Duration = Duration::from_secs(30);

/// One event at Entra, such as a disabled identity, leads to one challenge, which all its callers get; a
/// second event may follow at once.
const MAX_RECENT_CLAIMS: usize = 2;

/// A task notices within a moment that its source exceeded the time limit; one that stays silent for
/// longer belongs to a runtime that no thread runs any more.
const COMPLETION_TIME: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
