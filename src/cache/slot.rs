use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use arc_swap::{ArcSwapOption, Guard};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::instrument::WithSubscriber;

use super::cached_token::{CachedToken, Freshness};
use super::key::Key;
use super::state::{Completion, Decision, Fetch, Now, Report, State, expired_on_arrival};
use crate::clock::{Clock, Moment};
use crate::error::Error;
use crate::exchange::{Grant, TokenSource, Urgency};
use crate::metrics::{self, FetchEnd};
use crate::token::AccessToken;

/// Runs the [`State`] of one key: publishes its token to readers, starts its fetches as tasks, and lets
/// callers wait for them.
///
/// Readers load the published token and take no lock. The lock is held for one transition of the state,
/// never over an await.
#[derive(Debug)]
pub(super) struct Slot {
    key: Key,
    published: ArcSwapOption<CachedToken>,
    shared: Mutex<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: State,
    /// The result of the last fetch that was started.
    result: watch::Receiver<FetchResult>,
}

impl Shared {
    /// Drops the result of a fetch that has ended: it holds the token, too.
    fn forget_result(&mut self) {
        if self.result.borrow().is_some() {
            self.result = watch::channel(None).1;
        }
    }
}

/// Absent while the fetch is in flight.
type FetchResult = Option<Result<Arc<CachedToken>, Error>>;

/// How a slot gets a token.
#[derive(Clone, Debug)]
pub(super) struct Fetcher {
    pub(super) source: Arc<dyn TokenSource>,
    pub(super) clock: Arc<dyn Clock>,
    /// How long a fetch may take before it counts as failed.
    pub(super) fetch_timeout: Duration,
}

impl Slot {
    pub(super) fn new(key: Key) -> Self {
        Self {
            key,
            published: ArcSwapOption::empty(),
            shared: Mutex::new(Shared {
                state: State::default(),
                result: watch::channel(None).1,
            }),
        }
    }

    pub(super) fn published(&self) -> Guard<Option<Arc<CachedToken>>> {
        self.published.load()
    }

    /// Blocks whoever changes this slot.
    #[cfg(test)]
    pub(super) fn lock(&self) -> impl Drop {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn has_usable_token(&self, now: Moment) -> bool {
        self.published()
            .as_ref()
            .is_some_and(|token| token.freshness(now) != Freshness::Expired)
    }

    /// Returns the token if it is usable, and starts its refresh in the background if that is due.
    /// Without a Tokio runtime that has a timer there is no background, and the token stays as it is.
    pub(super) fn refresh(self: &Arc<Self>, fetcher: &Fetcher) -> Option<AccessToken> {
        let Ok(runtime) = runtime_with_timer() else {
            return self.published().as_ref().map(|token| token.token().clone());
        };
        self.request(fetcher, &runtime, None).ok()
    }

    /// Returns the usable token, or waits for the one fetch of this key; while the key cools down,
    /// returns the last error.
    ///
    /// * `adopter`: uses the fetched token, too, also if this caller is gone by then.
    pub(super) async fn token(
        self: &Arc<Self>,
        fetcher: &Fetcher,
        adopter: Option<&Arc<Self>>,
    ) -> Result<AccessToken, Error> {
        let runtime = runtime_with_timer()?;
        let mut error = Error::transport("the token request was lost with the Tokio runtime that ran it");
        for _ in 0..MAX_LOST_FETCHES {
            let (mut result, deadline) = match self.request(fetcher, &runtime, adopter) {
                Ok(token) => return Ok(token),
                Err(NoToken::Failed(error)) => return Err(error),
                Err(NoToken::Waiting { result, deadline }) => (result, deadline),
            };
            let ready = tokio::time::timeout_at(deadline, result.wait_for(Option::is_some)).await;
            match ready.ok().and_then(|ready| ready.ok()?.clone()) {
                Some(Ok(token)) if token.freshness(fetcher.clock.now()) == Freshness::Expired => {
                    error = expired_on_arrival();
                }
                Some(result) => return result.map(|token| token.token().clone()),
                None => {}
            }
        }
        Err(error)
    }

    pub(super) fn clear(&self) {
        self.update(|shared| {
            shared.state.clear();
            shared.forget_result();
        });
    }

    /// Drops the token if `is_rejected`, at most once in 30 seconds. Takes the lock only if it is.
    pub(super) fn invalidate(&self, fetcher: &Fetcher, is_rejected: impl Fn(&AccessToken) -> bool) {
        let is_cached = self
            .published()
            .as_ref()
            .is_some_and(|token| is_rejected(token.token()));
        if !is_cached {
            return;
        }
        let now = fetcher.clock.now();
        self.update(|shared| {
            shared.state.invalidate(now, |token| is_rejected(token.token()));
            if shared.state.token().is_none() {
                shared.forget_result();
            }
        });
    }

    /// Whether a token with these claims may be requested in place of the one of this slot.
    pub(super) fn admits(&self, claims: &str, now: Moment) -> bool {
        self.update(|shared| shared.state.admits(claims, now))
    }

    /// Uses the token of another slot, unless it has a newer one.
    pub(super) fn adopt(&self, other: &Self) {
        if let Some(token) = &*other.published() {
            self.update(|shared| shared.state.adopt(token));
        }
    }

    fn request(
        self: &Arc<Self>,
        fetcher: &Fetcher,
        runtime: &Handle,
        adopter: Option<&Arc<Self>>,
    ) -> Result<AccessToken, NoToken> {
        let now = Now {
            moment: fetcher.clock.now(),
            runtime: Instant::now(),
        };
        let (decision, task, result) = self.update(|shared| {
            let decision = shared.state.request(now, fetcher.fetch_timeout);
            let task = match &decision {
                Decision::ServeAndStart(_, fetch) | Decision::StartAndWait(fetch) => {
                    let (sender, receiver) = watch::channel(None);
                    shared.result = receiver;
                    Some(FetchTask {
                        slot: self.clone(),
                        fetcher: fetcher.clone(),
                        fetch: *fetch,
                        result: sender,
                        adopter: adopter.cloned(),
                    })
                }
                Decision::Serve(_) | Decision::Wait(_) | Decision::Fail(_) => None,
            };
            (decision, task, shared.result.clone())
        });
        // Not under the lock: a runtime that shuts down drops the task at once, which takes the lock.
        if let Some(task) = task {
            task.spawn_on(runtime);
        }
        match decision {
            Decision::Serve(token) | Decision::ServeAndStart(token, _) => Ok(token.token().clone()),
            Decision::Fail(error) => Err(NoToken::Failed(error)),
            Decision::Wait(fetch) | Decision::StartAndWait(fetch) => Err(NoToken::Waiting {
                result,
                deadline: fetch.deadline,
            }),
        }
    }

    /// Makes one transition of the state, and publishes its token.
    fn update<T>(&self, transition: impl FnOnce(&mut Shared) -> T) -> T {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let outcome = transition(&mut shared);
        let token = shared.state.token();
        if self.published.load().as_ref().map(Arc::as_ptr) != token.map(Arc::as_ptr) {
            self.published.store(token.cloned());
        }
        outcome
    }
}

/// Why a caller has no token yet.
enum NoToken {
    Waiting {
        result: watch::Receiver<FetchResult>,
        deadline: Instant,
    },
    Failed(Error),
}

/// The task of a fetch. However it ends, by a result or with its runtime, its slot can start another.
struct FetchTask {
    slot: Arc<Slot>,
    fetcher: Fetcher,
    fetch: Fetch,
    result: watch::Sender<FetchResult>,
    adopter: Option<Arc<Slot>>,
}

impl FetchTask {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that starts a task: a fetch outlives its caller"
    )]
    fn spawn_on(self, runtime: &Handle) {
        let run = async move {
            // It may have counted as lost before its runtime came to it.
            let start = Instant::now();
            if start < self.fetch.time_limit {
                let result = self.fetch().await;
                self.complete(result, start.elapsed());
            }
        };
        runtime.spawn(run.with_current_subscriber());
    }

    async fn fetch(&self) -> Result<Grant, Error> {
        let scopes = self.slot.key.scopes();
        let request = self.slot.key.request(&scopes);
        let mut fetch = self.fetcher.source.fetch(&request, self.fetch.urgency);
        let caught = poll_fn(|context| {
            catch_unwind(AssertUnwindSafe(|| fetch.as_mut().poll(context))).unwrap_or_else(|_| {
                Poll::Ready(Err(Error::assertion(
                    "the source of client assertions, or the transport, panicked",
                )))
            })
        });
        tokio::time::timeout_at(self.fetch.time_limit, caught)
            .await
            .unwrap_or_else(|_| {
                Err(Error::transport(format!(
                    "no token arrived within {:?}",
                    self.fetcher.fetch_timeout
                )))
            })
    }

    /// * `duration`: of the fetch.
    fn complete(self, result: Result<Grant, Error>, duration: Duration) {
        let now = self.fetcher.clock.now();
        let mut end = FetchEnd {
            error: result.as_ref().err().map(Error::kind),
            is_awaited: self.fetch.urgency == Urgency::Awaited,
            duration,
            refreshed: self.slot.published().as_ref().and_then(|token| {
                let is_usable = token.freshness(now) != Freshness::Expired;
                is_usable.then(|| (token.age(now), token.remaining(now)))
            }),
            starts_cooldown: false,
        };
        let retries_when_awaited = self.fetcher.source.retries_when_awaited();
        let Completion { result, report } = self.slot.update(|shared| {
            let random = fastrand::f64();
            let completion = shared
                .state
                .complete(self.fetch, result, now, retries_when_awaited, random);
            end.starts_cooldown = end.error.is_some() && shared.state.is_cooling_down(now);
            completion
        });
        metrics::fetch_ended(&end);
        let scopes = || self.slot.key.scopes();
        match report {
            Some(Report::RefreshRecovered) => {
                tracing::info!(scopes = ?scopes(), "token refresh recovered");
            }
            Some(Report::FetchFailed { error }) => {
                let correlation_id = error.correlation_id();
                tracing::warn!(scopes = ?scopes(), %error, correlation_id, "token request failed");
            }
            Some(Report::RefreshFailed { error, remaining }) => {
                tracing::warn!(scopes = ?scopes(), %error, ?remaining, "token refresh failed; using cached token");
            }
            None => {}
        }
        if let (Some(adopter), Some(Ok(_))) = (&self.adopter, &result) {
            adopter.adopt(&self.slot);
        }
        // Waiters of a dropped sender start another fetch.
        if result.is_some() {
            self.result.send_replace(result);
        }
    }
}

impl Drop for FetchTask {
    fn drop(&mut self) {
        self.slot.update(|shared| shared.state.abandon(self.fetch));
    }
}

/// Returns the runtime of the caller. Tokio does not tell whether it has a timer: making one panics if not.
pub(crate) fn runtime_with_timer() -> Result<Handle, Error> {
    let runtime = Handle::try_current().map_err(|error| {
        Error::configuration("a token can be fetched only within a Tokio runtime").with_source(error)
    })?;
    catch_unwind(|| drop(tokio::time::sleep(Duration::ZERO))).map_err(|_| {
        Error::configuration(
            "the Tokio runtime has no timer; call enable_time() or enable_all() on its builder",
        )
    })?;
    Ok(runtime)
}

/// How many fetches a caller waits for that end without a result. Each costs the caller the whole
/// time limit, or means that a runtime shuts down or that the machine was suspended.
const MAX_LOST_FETCHES: u32 = 3;
