//! Random histories of one key, against a model of a few lines.

use proptest::prelude::*;

use super::*;

/// What may happen to a key.
#[derive(Clone, Debug)]
enum Step {
    Call,
    /// One of the callers that wait goes away.
    Drop(usize),
    Advance(u64),
    MoveWall(i64),
    /// The exchange under way brings a token that lives so many seconds from its request on, which may be over by now.
    Grant(u64),
    Fail {
        reached_a_server: bool,
        retry_after: Option<u64>,
    },
    /// One of the tokens that were ever handed out is refused by a service.
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
            .prop_map(|(reached_a_server, retry_after)| Step::Fail { reached_a_server, retry_after }),
        1 => any::<usize>().prop_map(Step::Invalidate),
        1 => Just(Step::Clear),
    ]
}

/// What a call gets.
#[derive(Debug, PartialEq)]
enum Answer {
    Token(String),
    Error,
    Waits,
}

#[derive(Default)]
struct Model {
    held: Option<(String, Moment)>,
    is_exchanging: bool,
    failures: u32,
    cooling_down: Option<Moment>,
    invalidated: Option<Moment>,
}

impl Model {
    fn held(&self, now: Moment) -> Option<&str> {
        let (secret, expires) = self.held.as_ref()?;
        (!now.reached(*expires)).then_some(secret)
    }

    fn call(&mut self, now: Moment) -> Answer {
        if let Some(secret) = self.held(now) {
            return Answer::Token(secret.to_owned());
        }
        if !self.is_exchanging && self.cooling_down.is_some_and(|until| !now.reached(until)) {
            return Answer::Error;
        }
        self.is_exchanging = true;
        Answer::Waits
    }

    fn grant(&mut self, secret: &str, expires: Moment) {
        *self = Self {
            held: Some((secret.to_owned(), expires)),
            invalidated: self.invalidated,
            ..Self::default()
        };
    }

    fn fail(&mut self, now: Moment, reached_a_server: bool, retry_after: Option<Duration>) {
        self.is_exchanging = false;
        if self.held(now).is_none() && reached_a_server {
            self.failures += 1;
            self.cooling_down = Some(now + policy::cooldown(self.failures, retry_after));
        }
    }

    fn invalidate(&mut self, now: Moment, secret: &str) {
        let is_recent = |at: Moment| !now.reached(at + Duration::from_secs(30));
        if !self.invalidated.is_some_and(is_recent) && self.held.take_if(|(held, _)| held == secret).is_some()
        {
            self.invalidated = Some(now);
        }
    }
}

/// The cache beside its model, and the test between them.
struct Comparison {
    model: Model,
    stage: Stage,
    exchange: Option<Fetch>,
    waiting: Vec<tokio::task::JoinHandle<Result<String, Error>>>,
    handed_out: Vec<AccessToken>,
    /// When the token in use is due: at the earliest, and at the latest; after a failure the policy's tests know better.
    due: Option<(Moment, Option<Moment>)>,
    grants: usize,
}

impl Comparison {
    fn new() -> Self {
        Self {
            model: Model::default(),
            stage: Stage::new(),
            exchange: None,
            waiting: Vec::new(),
            handed_out: Vec::new(),
            due: None,
            grants: 0,
        }
    }

    async fn take(&mut self, step: Step) {
        let now = self.stage.clock.now();
        match step {
            Step::Call => self.call(now).await,
            Step::Drop(n) => {
                if !self.waiting.is_empty() {
                    let n = n % self.waiting.len();
                    self.waiting.swap_remove(n).abort();
                }
            }
            Step::Advance(seconds) => self.advance(Duration::from_secs(seconds)).await,
            Step::MoveWall(seconds) => self.stage.clock.move_wall(seconds),
            Step::Grant(seconds) => self.grant(Duration::from_secs(seconds)).await,
            Step::Fail {
                reached_a_server,
                retry_after,
            } => self.fail(reached_a_server, retry_after).await,
            Step::Invalidate(n) => {
                if !self.handed_out.is_empty() {
                    let token = &self.handed_out[n % self.handed_out.len()];
                    self.model.invalidate(now, token.secret());
                    self.stage.cache.invalidate(token);
                }
            }
            Step::Clear => {
                self.model.held = None;
                self.stage.cache.clear();
            }
        }
        settle().await;
        if let Ok(exchange) = self.stage.fetches.try_recv() {
            assert!(
                self.exchange.replace(exchange).is_none(),
                "two exchanges of one key at once"
            );
        }
        assert!(
            self.stage.fetches.try_recv().is_err(),
            "two exchanges of one key at once"
        );
        assert_eq!(self.exchange.is_some(), self.model.is_exchanging);
        assert!(
            self.waiting.iter().all(|call| !call.is_finished()),
            "an answer from nowhere"
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
        let call = self.stage.call("s");
        settle().await;
        if !call.is_finished() {
            assert_eq!(wanted, Answer::Waits);
            self.waiting.push(call);
            return;
        }
        let answer = match call.await.unwrap() {
            Ok(secret) => Answer::Token(secret),
            Err(_) => Answer::Error,
        };
        assert_eq!(wanted, answer);
        if let Answer::Token(_) = answer {
            let refreshes = self.model.is_exchanging || !self.stage.fetches.is_empty();
            assert!(
                is_due || !refreshes || self.model.is_exchanging,
                "a refresh before its time"
            );
            assert!(!must_be_due || refreshes, "no refresh at its time");
            self.model.is_exchanging = refreshes;
        }
    }

    /// Less if an exchange is under way: no source takes longer than the cache has `fetch_timeout`.
    async fn advance(&mut self, by: Duration) {
        let longest = self.exchange.as_ref().map(|exchange| {
            let age = self.stage.clock.now().since(exchange.at);
            Duration::from_secs(20).saturating_sub(age)
        });
        advance(by.min(longest.unwrap_or(by))).await;
    }

    async fn grant(&mut self, lifetime: Duration) {
        let Some(exchange) = self.exchange.take() else {
            return;
        };
        self.grants += 1;
        let secret = format!("token {}", self.grants);
        let now = self.stage.clock.now();
        let (requested_at, urgency) = (exchange.at, exchange.urgency);
        if now.reached(requested_at + lifetime) {
            exchange.grant(&secret, lifetime);
            if self.model.held(now).is_some() || self.model.failures > 0 {
                return self.failed(urgency, true, None).await;
            }
            // Those who wait ask once more.
            self.model.failures = 1;
            self.model.is_exchanging = !self.waiting.is_empty();
            return;
        }
        self.model.grant(&secret, requested_at + lifetime);
        self.due = Some((requested_at + lifetime / 3, Some(requested_at + lifetime / 2)));
        exchange.grant(&secret, lifetime);
        settle().await;
        for call in self.waiting.drain(..) {
            assert_eq!(call.await.unwrap().unwrap(), secret);
        }
        if self.model.held(now).is_some() {
            let token = self
                .stage
                .cache
                .token(&TokenRequest::new(&["s"]), AccessToken::clone)
                .await
                .unwrap();
            assert_eq!(token.secret(), secret);
            self.handed_out.push(token);
            settle().await;
            self.model.is_exchanging = !self.stage.fetches.is_empty();
        }
    }

    async fn fail(&mut self, reached_a_server: bool, retry_after: Option<u64>) {
        let retry_after = retry_after.map(Duration::from_secs);
        let Some(exchange) = self.exchange.take() else {
            return;
        };
        let error = if reached_a_server {
            outage()
        } else {
            Error::assertion("no file")
        };
        let urgency = exchange.urgency;
        exchange.fail(error.with_retry_after(retry_after));
        self.failed(urgency, reached_a_server, retry_after).await;
    }

    async fn failed(&mut self, urgency: Urgency, reached_a_server: bool, retry_after: Option<Duration>) {
        settle().await;
        let now = self.stage.clock.now();
        self.due = self.due.map(|_| (now, None));
        let is_to_rest = retry_after.is_some();
        if self.model.held(now).is_none() && urgency == Urgency::Background && !is_to_rest {
            // Those who have come to wait begin an exchange of their own.
            self.model.is_exchanging = !self.waiting.is_empty();
            return;
        }
        self.model.fail(now, reached_a_server, retry_after);
        // The token in use may be good again.
        let held = self.model.held(now).map(str::to_owned);
        for call in self.waiting.drain(..) {
            assert_eq!(call.await.unwrap().ok(), held);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn every_history_of_a_key_is_that_of_its_model(steps in proptest::collection::vec(step(), 1..80)) {
        paused_runtime().block_on(async {
            let mut comparison = Comparison::new();
            for step in steps {
                comparison.take(step).await;
            }
        });
    }
}
