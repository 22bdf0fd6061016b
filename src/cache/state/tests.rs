//! An exhaustive walk through the transitions of [`State`]: two callers, their fetches on two threads,
//! every order of events up to a depth. Threads meet in a slot's lock, one transition at a time, so their
//! interleavings are the orders of events.

use std::collections::HashSet;

use super::*;
use crate::clock::{Clock, SystemClock};
use crate::token::AccessToken;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Event {
    Request(usize),
    Complete(usize, Outcome),
    /// The task of a fetch is dropped with its runtime.
    Drop(usize),
    Forget,
    Wait(Duration),
    /// The machine is suspended: only the wall clock goes on.
    Suspend(Duration),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Outcome {
    Token(Duration),
    ServerError(Option<Duration>),
    LocalError,
}

const EVENTS: [Event; 17] = [
    Event::Request(0),
    Event::Request(1),
    Event::Complete(0, Outcome::Token(Duration::from_secs(3600))),
    Event::Complete(0, Outcome::Token(Duration::ZERO)),
    Event::Complete(0, Outcome::ServerError(None)),
    Event::Complete(0, Outcome::ServerError(Some(Duration::from_secs(40)))),
    Event::Complete(0, Outcome::LocalError),
    Event::Complete(1, Outcome::Token(Duration::from_secs(3600))),
    Event::Complete(1, Outcome::Token(Duration::from_secs(60))),
    Event::Complete(1, Outcome::ServerError(None)),
    Event::Drop(0),
    Event::Drop(1),
    Event::Forget,
    Event::Wait(Duration::from_secs(1)),
    Event::Wait(Duration::from_secs(30)),
    Event::Wait(Duration::from_secs(1801)),
    Event::Suspend(Duration::from_secs(3600)),
];

/// Enough for: fetch, acquire, wait until stale, refresh, fail, wait until expired, request, complete.
const DEPTH: u32 = 8;

const FETCH_TIMEOUT: Duration = Duration::from_secs(25);

/// The state, and what an observer knows of it from outside.
#[derive(Clone)]
struct World {
    state: State,
    now: Now,
    /// Tasks that have not ended, oldest first; those past their deadline count as lost.
    tasks: Vec<(Fetch, Moment)>,
    /// The newest token that was acquired and not forgotten: when it was requested and when it expires.
    newest: Option<(Moment, Moment)>,
    /// The last failure at a server without a usable token, and the longest that callers may get it.
    failure: Option<(Moment, Duration)>,
}

impl World {
    fn live_tasks(&self) -> usize {
        let is_live = |task: &&(Fetch, Moment)| self.now.runtime < task.0.deadline;
        self.tasks.iter().filter(is_live).count()
    }

    fn usable(&self) -> Option<Moment> {
        let (requested, expires) = self.newest?;
        (!self.now.moment.reached(expires)).then_some(requested)
    }

    /// Applies an event and checks every promise; returns whether the event can happen here.
    fn apply(&mut self, event: Event) -> bool {
        match event {
            Event::Request(_) => self.request(),
            Event::Complete(index, outcome) => {
                if index >= self.tasks.len() {
                    return false;
                }
                let (fetch, requested_at) = self.tasks.remove(index);
                self.complete(fetch, requested_at, outcome);
            }
            Event::Drop(index) => {
                if index >= self.tasks.len() {
                    return false;
                }
                let (fetch, _) = self.tasks.remove(index);
                self.state.abandon(fetch);
            }
            Event::Forget => {
                self.state.clear();
                self.newest = None;
            }
            Event::Wait(duration) => {
                self.now.moment = self.now.moment + duration;
                self.now.runtime += duration;
            }
            Event::Suspend(duration) => self.now.moment.system_time += duration,
        }
        true
    }

    fn request(&mut self) {
        let live = self.live_tasks();
        let usable = self.usable();
        let before = self.state.token().map(|token| token.freshness(self.now.moment));
        let decision = self.state.request(self.now, FETCH_TIMEOUT);
        if let Decision::ServeAndStart(_, fetch) | Decision::StartAndWait(fetch) = &decision {
            assert_eq!(live, 0, "a second fetch in flight");
            self.tasks.push((*fetch, self.now.moment));
        }
        match &decision {
            Decision::Serve(token) | Decision::ServeAndStart(token, _) => {
                assert!(usable.is_some(), "a token that has expired or was forgotten");
                assert_eq!(
                    token.freshness(self.now.moment),
                    Freshness::Fresh,
                    "refreshed again at once"
                );
            }
            Decision::Wait(_) => assert!(usable.is_none() && live == 1, "waits for nothing"),
            Decision::StartAndWait(_) => assert!(usable.is_none(), "waits beside a usable token"),
            Decision::Fail(_) => {
                assert!(usable.is_none() && live == 0, "fails beside a token or a fetch");
                let (failed_at, longest) = self.failure.expect("fails without a failure");
                assert!(
                    !self.now.moment.reached(failed_at + longest),
                    "cools down for too long"
                );
            }
        }
        match (before, &decision) {
            (Some(Freshness::Fresh), Decision::Serve(_)) => {}
            (Some(Freshness::Fresh), _) => panic!("a fresh token is not just served"),
            (Some(Freshness::Stale), Decision::Serve(_)) => assert_eq!(live, 1, "no refresh"),
            (Some(Freshness::Stale), Decision::ServeAndStart(_, fetch)) => {
                assert_eq!(fetch.urgency, Urgency::Background);
            }
            (Some(Freshness::Stale), _) => panic!("a stale token is not served"),
            (Some(Freshness::Expired) | None, Decision::StartAndWait(fetch)) => {
                assert_eq!(fetch.urgency, Urgency::Awaited);
            }
            (Some(Freshness::Expired) | None, _) => {}
        }
    }

    fn complete(&mut self, fetch: Fetch, requested_at: Moment, outcome: Outcome) {
        let now = self.now.moment;
        let usable = self.usable();
        let result = match outcome {
            Outcome::Token(lifetime) => Ok(Grant {
                token: AccessToken::new("token", (requested_at + lifetime).system_time),
                requested_at,
                lifetime,
                refresh_in: None,
            }),
            Outcome::ServerError(retry_after) => {
                Err(Error::transport("outage").with_retry_after(retry_after))
            }
            Outcome::LocalError => Err(Error::assertion("no file")),
        };
        let is_usable = matches!(outcome, Outcome::Token(lifetime) if !now.reached(requested_at + lifetime));
        let completion = self.state.complete(fetch, result, now, true, 0.5);
        if let Outcome::Token(lifetime) = outcome
            && is_usable
            && usable.is_none_or(|newest| newest.instant <= requested_at.instant)
        {
            self.newest = Some((requested_at, requested_at + lifetime));
        }
        if !is_usable && usable.is_none() {
            let retry_after = match outcome {
                Outcome::ServerError(retry_after) => retry_after.unwrap_or_default(),
                _ => Duration::ZERO,
            };
            self.failure = Some((now, Duration::from_secs(30).max(retry_after)));
        }
        match &completion.result {
            Some(Ok(token)) if is_usable || usable.is_some() => {
                assert_ne!(
                    token.freshness(now),
                    Freshness::Expired,
                    "waiters get an expired token"
                );
            }
            Some(Ok(_)) => assert!(matches!(outcome, Outcome::Token(_)), "a token out of nowhere"),
            Some(Err(_)) => assert!(!is_usable && usable.is_none(), "an error beside a usable token"),
            None => {
                assert!(!is_usable && usable.is_none(), "a result is withheld");
                assert_eq!(
                    fetch.urgency,
                    Urgency::Background,
                    "waiters of an awaited fetch ask again"
                );
            }
        }
        self.check_token();
    }

    /// The state holds the newest token, never an older one.
    fn check_token(&self) {
        let held = self
            .state
            .token()
            .filter(|token| token.freshness(self.now.moment) != Freshness::Expired);
        let requested = held.map(|token| token.token().expires_on() - token.lifetime());
        assert_eq!(
            requested,
            self.usable().map(|moment| moment.system_time),
            "an older token replaced a newer one, or a token was lost"
        );
    }

    /// What the future depends on, in milliseconds from now.
    fn key(&self) -> String {
        let until = |moment: Moment| {
            let now = self.now.moment;
            let wall = match moment.system_time.duration_since(now.system_time) {
                Ok(ahead) => signed(ahead, Duration::ZERO),
                Err(past) => signed(Duration::ZERO, past.duration()),
            };
            (self.until(moment.instant.into()), wall)
        };
        let task = |(fetch, at): &(Fetch, Moment)| (fetch.urgency, self.until(fetch.deadline), until(*at));
        let tasks: Vec<_> = self.tasks.iter().map(task).collect();
        let token = self.state.token.as_ref();
        let token = token.map(|token| {
            (
                token.freshness(self.now.moment),
                token.lifetime(),
                token.token().refresh_on(),
            )
        });
        let token = token.map(|(freshness, lifetime, refresh)| {
            let refresh = refresh
                .duration_since(self.now.moment.system_time)
                .unwrap_or_default();
            (freshness, lifetime, refresh)
        });
        let cooldown = self.state.cooldown.as_ref().map(|(end, _)| until(*end));
        let current = self
            .state
            .fetch
            .map(|fetch| self.tasks.iter().position(|(task, _)| *task == fetch));
        let newest = self.newest.map(|(at, expires)| (until(at), until(expires)));
        let failure = self.failure.map(|(at, longest)| until(at + longest));
        let history = (self.state.failures.min(6), self.state.is_in_outage);
        format!("{token:?} {cooldown:?} {current:?} {history:?} {tasks:?} {newest:?} {failure:?}")
    }

    fn until(&self, instant: Instant) -> i128 {
        let now = self.now.runtime;
        signed(
            instant.saturating_duration_since(now),
            now.saturating_duration_since(instant),
        )
    }
}

fn signed(ahead: Duration, past: Duration) -> i128 {
    i128::try_from(ahead.as_millis()).unwrap() - i128::try_from(past.as_millis()).unwrap()
}

#[test]
fn every_order_of_events_keeps_the_promises_of_a_slot() {
    let start = SystemClock::new().now();
    let mut worlds = vec![World {
        state: State::default(),
        now: Now {
            moment: start,
            runtime: start.instant.into(),
        },
        tasks: Vec::new(),
        newest: None,
        failure: None,
    }];
    let mut seen = HashSet::new();
    for _ in 0..DEPTH {
        let mut next = Vec::new();
        for world in &worlds {
            for event in EVENTS {
                let mut world = world.clone();
                if world.apply(event) && world.tasks.len() <= 3 && seen.insert(world.key()) {
                    next.push(world);
                }
            }
        }
        worlds = next;
    }
    assert!(seen.len() > 10_000, "{}", seen.len());
}
