use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::{Duration, SystemTime};

use arc_swap::{ArcSwapOption, Guard};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::Instant;

use super::key::Key;
use super::policy;
use crate::clock::{Clock, Moment};
use crate::error::{Error, ErrorKind};
use crate::exchange::{Grant, TokenSource, Urgency};
use crate::token::AccessToken;

/// The place of one key: its token, and whose turn it is to get the next one.
///
/// Readers load the token and never take the lock; the lock is for those who start or end an exchange, and no await happens
/// under it.
#[derive(Debug)]
pub(super) struct Slot {
    key: Key,
    held: ArcSwapOption<Held>,
    turn: Mutex<Turn>,
}

/// How a slot gets a token.
#[derive(Clone, Debug)]
pub(super) struct Refresher {
    pub(super) source: Arc<dyn TokenSource>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) patience: Duration,
}

impl Slot {
    pub(super) fn new(key: Key) -> Self {
        Self {
            key,
            held: ArcSwapOption::empty(),
            turn: Mutex::default(),
        }
    }

    pub(super) fn held(&self) -> Guard<Option<Arc<Held>>> {
        self.held.load()
    }

    /// Starts a refresh in the background, unless one is under way; without a Tokio runtime there is no background, and the
    /// token serves as it is.
    pub(super) fn refresh(self: &Arc<Self>, refresher: &Refresher) {
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        let mut turn = self.turn();
        let now = refresher.clock.now();
        let Some(held) = self.held.load_full().filter(|held| held.age(now) == Age::Stale) else {
            return;
        };
        // Until the outcome is known all others see a fresh token again, and do not come here.
        let pause = policy::retry_refresh_after(held.lifetime, None);
        self.held.store(Some(held.put_off(now + pause)));
        if turn.flight.as_ref().is_none_or(Flight::is_lost) {
            let landing = self.clone().take_off(&mut turn, refresher, Urgency::Background);
            drop(turn);
            landing.spawn_on(&runtime);
        }
    }

    /// The token of the exchange that is under way, or of a new one; or the last error, while the slot cools down.
    pub(super) async fn exchanged(self: &Arc<Self>, refresher: &Refresher) -> Result<AccessToken, Error> {
        let runtime = Handle::try_current().map_err(|error| {
            Error::configuration("a token can be fetched only within a Tokio runtime").with_source(error)
        })?;
        let mut error = Error::transport("the exchange was lost with the Tokio runtime that ran it");
        for _ in 0..MAX_LOST_FLIGHTS {
            let (mut outcome, deadline) = match self.join(refresher)? {
                Joined::Held(token) => return Ok(token),
                Joined::Flight { outcome, deadline } => (outcome, deadline),
                Joined::New {
                    landing,
                    outcome,
                    deadline,
                } => {
                    landing.spawn_on(&runtime);
                    (outcome, deadline)
                }
            };
            let landed = tokio::time::timeout_at(deadline, outcome.wait_for(Option::is_some)).await;
            let outcome = landed.ok().and_then(|landed| landed.ok()?.clone());
            match outcome {
                // The machine slept before this caller was told, or while the token was on its way.
                Some(Ok(held)) if held.age(refresher.clock.now()) == Age::Expired => {
                    error = expired_on_its_way();
                }
                Some(outcome) => return outcome.map(|held| held.token()),
                None => {}
            }
        }
        Err(error)
    }

    /// Empties the slot if `unwanted` says so of its token. An exchange that is under way goes on.
    pub(super) fn forget(&self, unwanted: impl FnOnce(&AccessToken) -> bool) {
        let _turn = self.turn();
        if self
            .held
            .load()
            .as_ref()
            .is_some_and(|held| unwanted(&held.token))
        {
            self.held.store(None);
        }
    }

    fn join(self: &Arc<Self>, refresher: &Refresher) -> Result<Joined, Error> {
        let mut turn = self.turn();
        let now = refresher.clock.now();
        if let Some(held) = self
            .held
            .load()
            .as_ref()
            .filter(|held| held.age(now) != Age::Expired)
        {
            return Ok(Joined::Held(held.token()));
        }
        if let Some(flight) = turn.flight.as_ref().filter(|flight| !flight.is_lost()) {
            return Ok(Joined::Flight {
                outcome: flight.outcome.clone(),
                deadline: flight.deadline,
            });
        }
        if let Some((until, error)) = &turn.cooling_down
            && !now.reached(*until)
        {
            return Err(error.clone());
        }
        let landing = self.clone().take_off(&mut turn, refresher, Urgency::Awaited);
        let (outcome, deadline) = (landing.outcome.subscribe(), landing.deadline);
        Ok(Joined::New {
            landing,
            outcome,
            deadline,
        })
    }

    /// Makes this the slot's flight. It must be spawned after the lock is released: a runtime that shuts down drops it on the
    /// spot, which takes the lock.
    fn take_off(self: Arc<Self>, turn: &mut Turn, refresher: &Refresher, urgency: Urgency) -> Landing {
        let (sender, outcome) = watch::channel(None);
        let limit = Instant::now() + refresher.patience;
        let deadline = limit + LANDING;
        turn.flight = Some(Flight { outcome, deadline });
        Landing {
            slot: self,
            refresher: refresher.clone(),
            urgency,
            outcome: sender,
            limit,
            deadline,
        }
    }

    /// Takes a new token in. A flight that was given up for lost must not replace what came later.
    fn keep(&self, turn: &mut Turn, held: Option<&Held>, new: Arc<Held>) {
        if held.is_none_or(|held| held.requested_at.instant <= new.requested_at.instant) {
            self.held.store(Some(new));
        }
        *turn = Turn {
            flight: turn.flight.take(),
            ..Turn::default()
        };
    }

    /// Takes a failure in: the token in use serves on; without one the slot cools down.
    fn endure(&self, turn: &mut Turn, held: Option<&Held>, error: &Error, now: Moment) {
        if let Some(held) = held {
            let pause = if turn.in_outage && loads_the_server(error) {
                let remaining = held.expires.instant.saturating_duration_since(now.instant);
                policy::outlast_outage_for(held.lifetime, remaining, error.retry_after(), fastrand::f64())
            } else {
                policy::retry_refresh_after(held.lifetime, error.retry_after())
            };
            self.held.store(Some(held.put_off(now + pause)));
            turn.in_outage = true;
        } else if loads_the_server(error) {
            turn.failures = turn.failures.saturating_add(1);
            let pause = policy::cool_down(turn.failures, error.retry_after());
            turn.cooling_down = Some((now + pause, error.clone()));
        }
    }

    fn turn(&self) -> MutexGuard<'_, Turn> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A token, and the moments at which that changes what a reader does.
#[derive(Debug)]
pub(super) struct Held {
    token: AccessToken,
    /// When the request left that brought it. This tells which of two tokens is the newer one, and not the expiry: a server may
    /// grant shorter lives than before, and the wall clock may have been set back.
    requested_at: Moment,
    lifetime: Duration,
    refresh: Moment,
    expires: Moment,
}

/// What a reader does: [`Fresh`](Self::Fresh), use it; [`Stale`](Self::Stale), use it and see to its refresh;
/// [`Expired`](Self::Expired), wait for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Age {
    Fresh,
    Stale,
    Expired,
}

impl Held {
    fn new(grant: Grant, random: f64) -> Self {
        let refresh_after = policy::refresh_after(grant.lifetime, grant.refresh_in, random);
        let refresh = grant.requested_at + refresh_after;
        Self {
            token: grant.token.with_refresh_on(refresh.system_time),
            requested_at: grant.requested_at,
            lifetime: grant.lifetime,
            refresh,
            expires: grant.requested_at + grant.lifetime,
        }
    }

    pub(super) fn age(&self, now: Moment) -> Age {
        if now.reached(self.expires) {
            Age::Expired
        } else if now.reached(self.refresh) {
            Age::Stale
        } else {
            Age::Fresh
        }
    }

    pub(super) fn expires_on(&self) -> SystemTime {
        self.expires.system_time
    }

    pub(super) fn token(&self) -> AccessToken {
        self.token.clone()
    }

    /// The same token, to be refreshed later.
    fn put_off(&self, refresh: Moment) -> Arc<Self> {
        Arc::new(Self {
            token: self.token.clone().with_refresh_on(refresh.system_time),
            refresh,
            ..*self
        })
    }
}

/// Who may start an exchange, and when.
#[derive(Debug, Default)]
struct Turn {
    flight: Option<Flight>,
    /// How many exchanges have failed in a row while there was no token.
    failures: u32,
    cooling_down: Option<(Moment, Error)>,
    /// Whether the last refresh of the token in use failed, so that each outage is logged once.
    in_outage: bool,
}

/// What an exchange comes to.
type Outcome = Result<Arc<Held>, Error>;

/// An exchange under way.
#[derive(Debug)]
struct Flight {
    outcome: watch::Receiver<Option<Outcome>>,
    /// When it counts as lost: the runtime that ran it is no longer driven.
    deadline: Instant,
}

impl Flight {
    fn is_lost(&self) -> bool {
        Instant::now() >= self.deadline
    }
}

enum Joined {
    Held(AccessToken),
    Flight {
        outcome: watch::Receiver<Option<Outcome>>,
        deadline: Instant,
    },
    New {
        landing: Landing,
        outcome: watch::Receiver<Option<Outcome>>,
        deadline: Instant,
    },
}

/// The end of a flight that owns its slot's turn: however it ends, by an outcome or with its runtime, the turn is given back
/// and those who wait are told.
struct Landing {
    slot: Arc<Slot>,
    refresher: Refresher,
    urgency: Urgency,
    outcome: watch::Sender<Option<Outcome>>,
    /// When its source must have answered.
    limit: Instant,
    deadline: Instant,
}

impl Landing {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that starts a task: an exchange outlives its caller"
    )]
    fn spawn_on(self, runtime: &Handle) {
        runtime.spawn(async move {
            // It may have been given up before its runtime came to it.
            if Instant::now() < self.limit {
                let outcome = self.fetch().await;
                self.land(outcome);
            }
        });
    }

    async fn fetch(&self) -> Result<Grant, Error> {
        let scopes = self.slot.key.scopes();
        let request = self.slot.key.request(&scopes);
        let mut fetch = self.refresher.source.fetch(&request, self.urgency);
        let caught = poll_fn(|context| {
            catch_unwind(AssertUnwindSafe(|| fetch.as_mut().poll(context))).unwrap_or_else(|_| {
                Poll::Ready(Err(Error::assertion(
                    "the source of client assertions, or the transport, panicked",
                )))
            })
        });
        tokio::time::timeout_at(self.limit, caught)
            .await
            .unwrap_or_else(|_| {
                Err(Error::transport(format!(
                    "no token came within {:?}",
                    self.refresher.patience
                )))
            })
    }

    fn land(self, outcome: Result<Grant, Error>) {
        let now = self.refresher.clock.now();
        let mut turn = self.slot.turn();
        let was_its_turn = self.give_back(&mut turn);
        let was_in_outage = turn.in_outage;
        let held = self
            .slot
            .held
            .load_full()
            .filter(|held| held.age(now) != Age::Expired);
        let outcome = outcome
            .map(|grant| Arc::new(Held::new(grant, fastrand::f64())))
            .and_then(|new| {
                if new.age(now) != Age::Expired {
                    self.slot.keep(&mut turn, held.as_deref(), new.clone());
                    return Ok(new);
                }
                // Once it may be that the machine slept meanwhile: those who wait see that it is over, and ask again.
                if held.is_none() && turn.failures == 0 {
                    turn.failures = 1;
                    return Ok(new);
                }
                Err(expired_on_its_way())
            });
        if let Err(error) = &outcome {
            if held.is_none() && self.is_worth_more_attempts(error) {
                // Whoever waits by now is told nothing, and begins another exchange.
                return;
            }
            if was_its_turn {
                self.slot.endure(&mut turn, held.as_deref(), error, now);
            }
        }
        let is_in_outage = turn.in_outage;
        drop(turn);
        match &outcome {
            Ok(_) if was_in_outage => {
                tracing::info!(scopes = ?self.slot.key.scopes(), "tokens are refreshed again");
            }
            Err(error) if is_in_outage && !was_in_outage => {
                let remaining = held
                    .as_ref()
                    .map(|held| held.expires.instant.saturating_duration_since(now.instant));
                tracing::warn!(scopes = ?self.slot.key.scopes(), %error, ?remaining, "a refresh failed; the old token serves on");
            }
            _ => {}
        }
        // The token in use may be good again, or another exchange may have brought it.
        let told = match (outcome, held) {
            (Err(_), Some(held)) => Ok(held),
            (outcome, _) => outcome,
        };
        self.outcome.send_replace(Some(told));
    }

    /// Whether fewer attempts failed than callers are worth, since none waited when it began; unless the server wants peace.
    fn is_worth_more_attempts(&self, error: &Error) -> bool {
        self.urgency == Urgency::Background
            && self.refresher.source.tries_harder_for_callers()
            && error.retry_after().is_none()
    }

    /// Ends the slot's flight, if it is still this one, and tells whether it was.
    fn give_back(&self, turn: &mut Turn) -> bool {
        let is_own = |flight: &mut Flight| self.outcome.subscribe().same_channel(&flight.outcome);
        turn.flight.take_if(is_own).is_some()
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        self.give_back(&mut self.slot.turn());
    }
}

/// The machine slept meanwhile, the reply was slow, or the server grants what is over. No such token takes the place of a good
/// one.
fn expired_on_its_way() -> Error {
    Error::transport("the token had expired when it came")
}

/// Whether the failed exchange reached for a server, which the next one had better leave alone for a while. What failed
/// here, such as a missing file, costs nobody anything and may be mended at the next call.
fn loads_the_server(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Transport | ErrorKind::Rejected | ErrorKind::Protocol
    )
}

/// How many exchanges a caller waits for that bring neither a token nor an error. Each of them costs the caller the whole
/// patience, or is the sign of a runtime that is shutting down, or of a machine that was asleep.
const MAX_LOST_FLIGHTS: u32 = 3;

/// A source that is out of time is given up by its own task within a moment; if that stays silent, its runtime stands still.
const LANDING: Duration = Duration::from_secs(1);
