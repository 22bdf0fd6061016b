//! Random histories of one key, compared with a model of a few lines.

use proptest::prelude::*;

use super::*;

/// An event in the history of a key.
#[derive(Clone, Debug)]
enum Step {
    Call,
    /// One of the waiters is dropped.
    Drop(usize),
    Advance(u64),
    MoveWall(i64),
    /// The fetch in flight succeeds. The lifetime in seconds starts with the request, so the token
    /// may have expired.
    Grant(u64),
    Fail {
        reached_server: bool,
        retry_after: Option<u64>,
    },
    /// A service rejects one of the tokens that callers got.
    Invalidate(usize),
    Clear,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => Just(Step::Call),
        1 => any::<usize>().prop_map(Step::Drop),
        4 => (0u64..2400).prop_map(Step::Advance),
        1 => (-7200i64..7200).prop_map(Step::MoveWall),
        3 => prop_oneof![1 => 1u64..25, 4 => 25u64..7200].prop_map(Step::Grant),
        2 => (any::<bool>(), proptest::option::of(0u64..1000))
            .prop_map(|(reached_server, retry_after)| Step::Fail { reached_server, retry_after }),
        1 => any::<usize>().prop_map(Step::Invalidate),
        1 => Just(Step::Clear),
    ]
}

/// What a caller gets.
#[derive(Debug, PartialEq)]
enum Outcome {
    Token(String),
    Error,
    Wait,
}

#[derive(Default)]
struct Model {
    token: Option<(String, Moment)>,
    is_fetching: bool,
    failures: u32,
    cooldown_until: Option<Moment>,
    invalidated: Option<Moment>,
}

impl Model {
    fn usable(&self, now: Moment) -> Option<&str> {
        let (secret, expires) = self.token.as_ref()?;
        (!now.reached(*expires)).then_some(secret)
    }

    fn call(&mut self, now: Moment) -> Outcome {
        if let Some(secret) = self.usable(now) {
            return Outcome::Token(secret.to_owned());
        }
        if !self.is_fetching && self.cooldown_until.is_some_and(|until| !now.reached(until)) {
            return Outcome::Error;
        }
        self.is_fetching = true;
        Outcome::Wait
    }

    fn grant(&mut self, secret: &str, expires: Moment) {
        *self = Self {
            token: Some((secret.to_owned(), expires)),
            invalidated: self.invalidated,
            ..Self::default()
        };
    }

    fn fail(&mut self, now: Moment, reached_server: bool, retry_after: Option<Duration>) {
        self.is_fetching = false;
        if self.usable(now).is_none() && reached_server {
            self.failures += 1;
            self.cooldown_until = Some(now + policy::cooldown(self.failures, retry_after));
        }
    }

    fn invalidate(&mut self, now: Moment, secret: &str) {
        let is_recent = |at: Moment| !now.reached(at + Duration::from_secs(30));
        if !self.invalidated.is_some_and(is_recent)
            && self.token.take_if(|(token, _)| token == secret).is_some()
        {
            self.invalidated = Some(now);
        }
    }
}

/// Applies each step to the cache and to its model, and compares them.
struct Comparison {
    model: Model,
    test: CacheTest,
    fetch: Option<PendingFetch>,
    waiters: Vec<tokio::task::JoinHandle<Result<String, Error>>>,
    returned: Vec<AccessToken>,
    /// When the refresh is due, at the earliest and at the latest. After a failure only the
    /// earliest time is known here: the tests of the policy check the rest.
    due: Option<(Moment, Option<Moment>)>,
    grants: usize,
}

impl Comparison {
    fn new() -> Self {
        Self {
            model: Model::default(),
            test: CacheTest::new(),
            fetch: None,
            waiters: Vec::new(),
            returned: Vec::new(),
            due: None,
            grants: 0,
        }
    }

    async fn apply(&mut self, step: Step) {
        let now = self.test.clock.now();
        match step {
            Step::Call => self.call(now).await,
            Step::Drop(n) => {
                if !self.waiters.is_empty() {
                    let n = n % self.waiters.len();
                    self.waiters.swap_remove(n).abort();
                }
            }
            Step::Advance(seconds) => self.advance(Duration::from_secs(seconds)).await,
            Step::MoveWall(seconds) => self.test.clock.move_wall(seconds),
            Step::Grant(seconds) => self.grant(Duration::from_secs(seconds)).await,
            Step::Fail {
                reached_server,
                retry_after,
            } => self.fail(reached_server, retry_after).await,
            Step::Invalidate(n) => {
                if !self.returned.is_empty() {
                    let token = &self.returned[n % self.returned.len()];
                    self.model.invalidate(now, token.secret());
                    self.test.cache.invalidate(token);
                }
            }
            Step::Clear => {
                self.model.token = None;
                self.test.cache.clear();
            }
        }
        settle().await;
        if let Ok(fetch) = self.test.fetches.try_recv() {
            assert!(self.fetch.replace(fetch).is_none(), "a second fetch in flight");
        }
        assert!(self.test.fetches.try_recv().is_err(), "a second fetch in flight");
        assert_eq!(self.fetch.is_some(), self.model.is_fetching);
        assert!(
            self.waiters.iter().all(|call| !call.is_finished()),
            "a waiter got a result without a fetch"
        );
    }

    async fn call(&mut self, now: Moment) {
        let wanted = self.model.call(now);
        let (is_due, must_be_due) = match self.due {
            Some((earliest, latest)) => (
                now.reached(earliest),
                latest.is_some_and(|latest| now.reached(latest)),
            ),
            None => (false, false),
        };
        let call = self.test.call("s");
        settle().await;
        if !call.is_finished() {
            assert_eq!(wanted, Outcome::Wait);
            self.waiters.push(call);
            return;
        }
        let outcome = match call.await.unwrap() {
            Ok(secret) => Outcome::Token(secret),
            Err(_) => Outcome::Error,
        };
        assert_eq!(wanted, outcome);
        if let Outcome::Token(_) = outcome {
            let refreshes = self.model.is_fetching || !self.test.fetches.is_empty();
            assert!(
                is_due || !refreshes || self.model.is_fetching,
                "refreshed too early"
            );
            assert!(!must_be_due || refreshes, "not refreshed although it is due");
            self.model.is_fetching = refreshes;
        }
    }

    /// Advances the clock, but with a fetch in flight not beyond its `fetch_timeout`.
    async fn advance(&mut self, by: Duration) {
        let longest = self.fetch.as_ref().map(|fetch| {
            let age = self.test.clock.now().since(fetch.requested_at);
            Duration::from_secs(20).saturating_sub(age)
        });
        advance(by.min(longest.unwrap_or(by))).await;
    }

    async fn grant(&mut self, lifetime: Duration) {
        let Some(fetch) = self.fetch.take() else {
            return;
        };
        self.grants += 1;
        let secret = format!("token {}", self.grants);
        let now = self.test.clock.now();
        let (requested_at, urgency) = (fetch.requested_at, fetch.urgency);
        if now.reached(requested_at + lifetime) {
            fetch.grant(&secret, lifetime);
            if self.model.usable(now).is_some() || self.model.failures > 0 {
                return self.failed(urgency, true, None).await;
            }
            // The waiters start another fetch.
            self.model.failures = 1;
            self.model.is_fetching = !self.waiters.is_empty();
            return;
        }
        self.model.grant(&secret, requested_at + lifetime);
        self.due = Some((requested_at + lifetime / 3, Some(requested_at + lifetime / 2)));
        fetch.grant(&secret, lifetime);
        settle().await;
        for call in self.waiters.drain(..) {
            assert_eq!(call.await.unwrap().unwrap(), secret);
        }
        if self.model.usable(now).is_some() {
            let token = self.test.cached("s").unwrap();
            assert_eq!(token.secret(), secret);
            self.returned.push(token);
            settle().await;
            self.model.is_fetching = !self.test.fetches.is_empty();
        }
    }

    async fn fail(&mut self, reached_server: bool, retry_after: Option<u64>) {
        let retry_after = retry_after.map(Duration::from_secs);
        let Some(fetch) = self.fetch.take() else {
            return;
        };
        let error = if reached_server {
            transport_error()
        } else {
            Error::assertion("no file")
        };
        // Only a server asks for a pause: that of a source of client assertions, too.
        let reached_server = reached_server || retry_after.is_some();
        let urgency = fetch.urgency;
        fetch.fail(error.with_retry_after(retry_after));
        self.failed(urgency, reached_server, retry_after).await;
    }

    async fn failed(&mut self, urgency: Urgency, reached_server: bool, retry_after: Option<Duration>) {
        settle().await;
        let now = self.test.clock.now();
        self.due = self.due.map(|_| (now, None));
        let has_retry_after = retry_after.is_some();
        if self.model.usable(now).is_none() && urgency == Urgency::Background && !has_retry_after {
            // The waiters start a fetch of their own.
            self.model.is_fetching = !self.waiters.is_empty();
            return;
        }
        self.model.fail(now, reached_server, retry_after);
        // The token may be usable again, since the wall clock was set back.
        let usable = self.model.usable(now).map(str::to_owned);
        for call in self.waiters.drain(..) {
            assert_eq!(call.await.unwrap().ok(), usable);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn random_histories_of_a_key_match_the_model(steps in proptest::collection::vec(step(), 1..80)) {
        paused_runtime().block_on(async {
            let mut comparison = Comparison::new();
            for step in steps {
                comparison.apply(step).await;
            }
        });
    }
}
