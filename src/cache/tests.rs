//! Flows through the cache, with a paused clock and a source that each test answers by hand.
#![allow(clippy::disallowed_methods, reason = "tests start tasks")]

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::SystemTime;

use async_trait::async_trait;
use futures::future::join_all;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{advance, timeout};

mod limits;
mod model;
mod runtimes;

use super::*;
use crate::clock::{Moment, SystemClock};
use crate::error::ErrorKind;
use crate::exchange::{Grant, Urgency};

const HOUR: Duration = Duration::from_secs(3600);

const MAX_SLOTS: usize = 1000;

/// The clock of the paused runtime; its wall clock can be moved apart from it.
#[derive(Debug)]
struct PausedClock {
    wall: SystemTime,
    start: tokio::time::Instant,
    moved_seconds: AtomicI64,
}

impl PausedClock {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            wall: SystemClock::new().now().system_time,
            start: tokio::time::Instant::now(),
            moved_seconds: AtomicI64::new(0),
        })
    }

    fn move_wall(&self, seconds: i64) {
        self.moved_seconds.fetch_add(seconds, Ordering::SeqCst);
    }
}

impl Clock for PausedClock {
    fn now(&self) -> Moment {
        let now = tokio::time::Instant::now();
        let moved = self.moved_seconds.load(Ordering::SeqCst);
        let distance = Duration::from_secs(moved.unsigned_abs());
        let wall = self.wall + (now - self.start);
        Moment {
            instant: now.into_std(),
            system_time: if moved < 0 {
                wall - distance
            } else {
                wall + distance
            },
        }
    }
}

/// A source whose every fetch waits for the test's answer.
#[derive(Debug)]
struct FakeSource {
    retries_when_awaited: bool,
    clock: Arc<PausedClock>,
    fetches: mpsc::UnboundedSender<Fetch>,
}

struct Fetch {
    scopes: String,
    urgency: Urgency,
    answer: oneshot::Sender<Result<Grant, Error>>,
    at: Moment,
}

#[async_trait]
impl TokenSource for FakeSource {
    async fn fetch(&self, request: &TokenRequest<'_>, urgency: Urgency) -> Result<Grant, Error> {
        let (answer, answered) = oneshot::channel();
        let scopes = request.scopes().join(" ");
        let fetch = Fetch {
            scopes,
            urgency,
            answer,
            at: self.clock.now(),
        };
        self.fetches.send(fetch).unwrap();
        answered.await.expect("the test dropped a fetch")
    }

    fn retries_when_awaited(&self) -> bool {
        self.retries_when_awaited
    }
}

impl Fetch {
    fn grant(self, secret: &str, lifetime: Duration) {
        let grant = Grant {
            token: AccessToken::new(secret, self.at.system_time + lifetime),
            requested_at: self.at,
            lifetime,
            refresh_in: Some(lifetime / 2),
        };
        self.answer.send(Ok(grant)).unwrap();
    }

    fn fail(self, error: Error) {
        self.answer.send(Err(error)).unwrap();
    }
}

struct Stage {
    cache: Arc<Cache>,
    clock: Arc<PausedClock>,
    fetches: mpsc::UnboundedReceiver<Fetch>,
}

impl Stage {
    fn new() -> Self {
        Self::build(true, MAX_SLOTS)
    }

    fn of_a_source(retries_when_awaited: bool) -> Self {
        Self::build(retries_when_awaited, MAX_SLOTS)
    }

    fn with_max_slots(max_slots: usize) -> Self {
        Self::build(true, max_slots)
    }

    fn build(retries_when_awaited: bool, max_slots: usize) -> Self {
        let (sender, fetches) = mpsc::unbounded_channel();
        let clock = PausedClock::new();
        let cache = Cache::new(
            Arc::new(FakeSource {
                retries_when_awaited,
                clock: clock.clone(),
                fetches: sender,
            }),
            clock.clone(),
            Duration::from_secs(25),
            max_slots,
        );
        Self {
            cache: Arc::new(cache),
            clock,
            fetches,
        }
    }

    /// A stage whose cache holds the token `secret` for `scope`, good for an hour.
    async fn holding(scope: &'static str, secret: &'static str) -> Self {
        let mut stage = Self::new();
        let call = stage.call(scope);
        stage.fetch().await.grant(secret, HOUR);
        assert_eq!(call.await.unwrap().unwrap(), secret);
        stage
    }

    /// A caller in a task of its own.
    fn call(&self, scope: &'static str) -> tokio::task::JoinHandle<Result<String, Error>> {
        let cache = self.cache.clone();
        tokio::task::spawn(async move {
            let token = cache
                .token(&TokenRequest::new(&[scope]), AccessToken::clone)
                .await?;
            Ok(token.secret().to_owned())
        })
    }

    /// A call that must be answered without waiting for anything.
    #[track_caller]
    fn at_once(&self, scope: &str) -> Result<String, Error> {
        let scopes = [scope];
        let request = TokenRequest::new(&scopes);
        let call = self.cache.token(&request, AccessToken::clone);
        let token = futures::FutureExt::now_or_never(call).expect("the call waits")?;
        Ok(token.secret().to_owned())
    }

    async fn fetch(&mut self) -> Fetch {
        timeout(HOUR * 100, self.fetches.recv())
            .await
            .expect("no exchange was started")
            .unwrap()
    }

    async fn no_fetch(&mut self) {
        settle().await;
        assert!(self.fetches.try_recv().is_err(), "an exchange was started");
    }
}

fn paused_runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap()
}

/// Lets all tasks run until they wait.
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

fn outage() -> Error {
    Error::transport("the endpoint is down")
}

#[tokio::test(start_paused = true)]
async fn a_fresh_token_is_given_without_another_exchange() {
    let mut stage = Stage::holding("s", "one").await;
    advance(HOUR / 3).await;
    assert_eq!(stage.at_once("s").unwrap(), "one");
    stage.no_fetch().await;
}

#[tokio::test(start_paused = true)]
async fn a_stale_token_is_given_at_once_while_one_refresh_runs_behind() {
    let mut stage = Stage::holding("s", "one").await;
    advance(HOUR / 2).await;
    for _ in 0..1000 {
        assert_eq!(stage.at_once("s").unwrap(), "one");
    }
    let refresh = stage.fetch().await;
    stage.no_fetch().await;
    assert_eq!(stage.at_once("s").unwrap(), "one");
    refresh.grant("two", HOUR);
    settle().await;
    assert_eq!(stage.at_once("s").unwrap(), "two");
}

#[tokio::test(start_paused = true)]
async fn a_source_is_told_whether_somebody_waits() {
    let mut stage = Stage::new();
    let call = stage.call("s");
    let exchange = stage.fetch().await;
    assert_eq!(exchange.urgency, Urgency::Awaited);
    exchange.grant("one", HOUR);
    call.await.unwrap().unwrap();
    advance(HOUR / 2).await;
    stage.at_once("s").unwrap();
    assert_eq!(stage.fetch().await.urgency, Urgency::Background);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_has_expired_on_its_way_does_not_take_the_place_of_a_good_one() {
    let mut stage = Stage::holding("s", "one").await;
    advance(HOUR / 2).await;
    assert_eq!(stage.at_once("s").unwrap(), "one");
    let refresh = stage.fetch().await;
    advance(Duration::from_secs(6)).await;
    refresh.grant("dead", Duration::from_secs(5));
    settle().await;
    assert_eq!(stage.at_once("s").unwrap(), "one");
    stage.no_fetch().await;
    advance(Duration::from_secs(30)).await;
    assert_eq!(stage.at_once("s").unwrap(), "one");
    stage.fetch().await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_grants_dead_tokens_is_left_alone_for_a_while() {
    let mut stage = Stage::new();
    let call = stage.call("s");
    for _ in 0..2 {
        let exchange = stage.fetch().await;
        advance(Duration::from_secs(6)).await;
        exchange.grant("dead", Duration::from_secs(5));
    }
    assert_eq!(call.await.unwrap().unwrap_err().kind(), ErrorKind::Transport);
    stage.at_once("s").unwrap_err();
    stage.no_fetch().await;
}

#[tokio::test(start_paused = true)]
async fn a_token_that_has_expired_on_its_way_is_not_given_though_the_wall_clock_was_set_back() {
    let mut stage = Stage::new();
    let call = stage.call("s");
    let exchange = stage.fetch().await;
    advance(Duration::from_secs(6)).await;
    stage.clock.move_wall(-3600);
    exchange.grant("dead", Duration::from_secs(5));
    stage.fetch().await.grant("two", HOUR);
    assert_eq!(call.await.unwrap().unwrap(), "two");
}

#[tokio::test(start_paused = true)]
async fn who_comes_to_wait_for_a_refresh_that_fails_gets_an_exchange_that_is_awaited() {
    let mut stage = Stage::holding("s", "one").await;
    advance(Duration::from_secs(3590)).await;
    assert_eq!(stage.at_once("s").unwrap(), "one");
    let refresh = stage.fetch().await;
    assert_eq!(refresh.urgency, Urgency::Background);
    advance(Duration::from_secs(11)).await;
    let call = stage.call("s");
    stage.no_fetch().await;
    refresh.fail(outage());
    let exchange = stage.fetch().await;
    assert_eq!(exchange.urgency, Urgency::Awaited);
    exchange.grant("two", HOUR);
    assert_eq!(call.await.unwrap().unwrap(), "two");
}

#[tokio::test(start_paused = true)]
async fn a_refresh_that_fails_after_the_expiry_cools_nothing_down() {
    let mut stage = Stage::holding("s", "one").await;
    advance(Duration::from_secs(3590)).await;
    assert_eq!(stage.at_once("s").unwrap(), "one");
    let refresh = stage.fetch().await;
    advance(Duration::from_secs(11)).await;
    refresh.fail(outage());
    settle().await;
    let call = stage.call("s");
    stage.fetch().await.grant("two", HOUR);
    assert_eq!(call.await.unwrap().unwrap(), "two");
}

#[tokio::test(start_paused = true)]
async fn a_source_that_always_does_its_best_is_not_asked_twice() {
    let mut stage = Stage::of_a_source(false);
    let call = stage.call("s");
    stage.fetch().await.grant("one", HOUR);
    call.await.unwrap().unwrap();
    advance(Duration::from_secs(3590)).await;
    stage.at_once("s").unwrap();
    let refresh = stage.fetch().await;
    advance(Duration::from_secs(11)).await;
    let call = stage.call("s");
    stage.no_fetch().await;
    refresh.fail(outage());
    call.await.unwrap().unwrap_err();
    stage.at_once("s").unwrap_err();
    stage.no_fetch().await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_asks_for_peace_gets_it_though_the_token_ends_during_its_refresh() {
    let mut stage = Stage::holding("s", "one").await;
    advance(Duration::from_secs(3590)).await;
    stage.at_once("s").unwrap();
    let refresh = stage.fetch().await;
    advance(Duration::from_secs(11)).await;
    let call = stage.call("s");
    stage.no_fetch().await;
    refresh.fail(outage().with_retry_after(Some(Duration::from_secs(300))));
    call.await.unwrap().unwrap_err();
    advance(Duration::from_secs(299)).await;
    stage.at_once("s").unwrap_err();
    stage.no_fetch().await;
}

#[tokio::test(start_paused = true)]
async fn who_waits_gets_the_token_that_is_good_again_and_not_the_error_of_its_refresh() {
    let mut stage = Stage::holding("s", "one").await;
    stage.clock.move_wall(7200);
    let call = stage.call("s");
    let exchange = stage.fetch().await;
    stage.clock.move_wall(-7200);
    exchange.fail(outage());
    assert_eq!(call.await.unwrap().unwrap(), "one");
}

#[tokio::test(start_paused = true)]
async fn a_refresh_that_reaches_no_server_is_tried_again_soon_however_often_it_fails() {
    let mut stage = Stage::holding("s", "one").await;
    advance(HOUR / 2).await;
    for _ in 0..5 {
        assert_eq!(stage.at_once("s").unwrap(), "one");
        stage
            .fetch()
            .await
            .fail(Error::assertion("the token file is missing"));
        settle().await;
        advance(Duration::from_secs(30)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_refresh_is_tried_again_30_seconds_later() {
    let mut stage = Stage::holding("s", "one").await;
    advance(HOUR / 2).await;
    stage.at_once("s").unwrap();
    let refresh = stage.fetch().await;
    advance(Duration::from_secs(10)).await;
    refresh.fail(outage());
    settle().await;
    advance(Duration::from_millis(29_999)).await;
    assert_eq!(stage.at_once("s").unwrap(), "one");
    stage.no_fetch().await;
    advance(Duration::from_millis(1)).await;
    assert_eq!(stage.at_once("s").unwrap(), "one");
    stage.fetch().await;
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_logged_once_when_it_begins_and_once_when_it_is_over() {
    let log = tempfile::NamedTempFile::new().unwrap();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(Arc::new(log.reopen().unwrap()))
        .finish();
    let _watch = tracing::subscriber::set_default(subscriber);
    let logged = || {
        let text = std::fs::read_to_string(log.path()).unwrap();
        [
            "token refresh failed; using cached token",
            "token refresh recovered",
        ]
        .map(|part| text.matches(part).count())
    };
    let mut stage = Stage::new();
    let call = stage.call("s");
    stage.fetch().await.grant("one", HOUR * 24);
    call.await.unwrap().unwrap();
    // When each refresh is tried, how it ends, and how many of either line there are by then.
    for (hours, succeeds, wanted) in [
        (12, false, [1, 0]),
        (1, false, [1, 0]),
        (10, true, [1, 1]),
        (12, true, [1, 1]),
        (12, false, [2, 1]),
    ] {
        advance(HOUR * hours).await;
        stage.at_once("s").unwrap();
        let refresh = stage.fetch().await;
        if succeeds {
            refresh.grant("two", HOUR * 24);
        } else {
            refresh.fail(outage());
        }
        settle().await;
        assert_eq!(logged(), wanted);
    }
}

#[tokio::test(start_paused = true)]
async fn a_refresh_is_not_tried_again_before_the_server_allows() {
    let mut stage = Stage::holding("s", "one").await;
    advance(HOUR / 2).await;
    stage.at_once("s").unwrap();
    stage
        .fetch()
        .await
        .fail(outage().with_retry_after(Some(Duration::from_secs(120))));
    settle().await;
    advance(Duration::from_secs(119)).await;
    stage.at_once("s").unwrap();
    stage.no_fetch().await;
    advance(Duration::from_secs(1)).await;
    stage.at_once("s").unwrap();
    stage.fetch().await;
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_not_noticed_for_the_whole_life_of_the_token() {
    let mut stage = Stage::holding("s", "one").await;
    let mut tries = 0;
    for _second in 0..3599 {
        advance(Duration::from_secs(1)).await;
        assert_eq!(stage.at_once("s").unwrap(), "one");
        settle().await;
        if let Ok(refresh) = stage.fetches.try_recv() {
            refresh.fail(outage());
            settle().await;
            tries += 1;
        }
    }
    assert!(
        (6..=18).contains(&tries),
        "few tries at first, one every 30 s in the last five minutes, and not {tries}"
    );
    advance(Duration::from_secs(1)).await;
    let call = stage.call("s");
    stage.fetch().await.grant("two", HOUR);
    assert_eq!(call.await.unwrap().unwrap(), "two");
}

#[tokio::test(start_paused = true)]
async fn an_expired_token_is_never_given() {
    let mut stage = Stage::holding("s", "one").await;
    advance(HOUR).await;
    let call = stage.call("s");
    let exchange = stage.fetch().await;
    assert!(!call.is_finished());
    exchange.fail(outage());
    assert_eq!(call.await.unwrap().unwrap_err().kind(), ErrorKind::Transport);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_cold_callers_share_one_exchange_and_its_token() {
    let mut stage = Stage::new();
    let calls: Vec<_> = (0..1000).map(|_| stage.call("s")).collect();
    let exchange = stage.fetch().await;
    stage.no_fetch().await;
    exchange.grant("one", HOUR);
    for call in join_all(calls).await {
        assert_eq!(call.unwrap().unwrap(), "one");
    }
    stage.no_fetch().await;
}

#[tokio::test(start_paused = true)]
async fn a_thousand_cold_callers_share_one_exchange_and_its_error() {
    let mut stage = Stage::new();
    let calls: Vec<_> = (0..1000).map(|_| stage.call("s")).collect();
    stage.fetch().await.fail(outage());
    for call in join_all(calls).await {
        assert_eq!(call.unwrap().unwrap_err().to_string(), "the endpoint is down");
    }
    stage.no_fetch().await;
}

#[tokio::test(start_paused = true)]
async fn a_slow_exchange_for_one_key_delays_no_other() {
    let mut stage = Stage::holding("blob", "one").await;
    let slow = stage.call("vault");
    let slow_exchange = stage.fetch().await;
    assert_eq!(stage.at_once("blob").unwrap(), "one");
    let other = stage.call("other");
    let exchange = stage.fetch().await;
    assert_eq!(exchange.scopes, "other");
    exchange.grant("three", HOUR);
    assert_eq!(other.await.unwrap().unwrap(), "three");
    assert!(!slow.is_finished());
    slow_exchange.grant("two", HOUR);
    assert_eq!(slow.await.unwrap().unwrap(), "two");
}

#[tokio::test(start_paused = true)]
async fn a_dropped_caller_stops_nothing() {
    let mut stage = Stage::new();
    let call = stage.call("s");
    let exchange = stage.fetch().await;
    let follower = stage.call("s");
    settle().await;
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    exchange.grant("one", HOUR);
    assert_eq!(follower.await.unwrap().unwrap(), "one");
    assert_eq!(stage.at_once("s").unwrap(), "one");
}

#[tokio::test(start_paused = true)]
async fn after_a_failure_a_cold_key_cools_down_for_longer_and_longer() {
    let mut stage = Stage::new();
    for pause in [1, 2, 4, 8, 16, 30, 30] {
        let call = stage.call("s");
        stage.fetch().await.fail(outage());
        call.await.unwrap().unwrap_err();
        advance(
            Duration::from_secs(pause)
                .checked_sub(Duration::from_millis(1))
                .unwrap(),
        )
        .await;
        assert_eq!(
            stage.at_once("s").unwrap_err().to_string(),
            "the endpoint is down"
        );
        stage.no_fetch().await;
        advance(Duration::from_millis(1)).await;
    }
    let call = stage.call("s");
    stage.fetch().await.grant("one", HOUR);
    assert_eq!(call.await.unwrap().unwrap(), "one");

    advance(HOUR).await;
    let call = stage.call("s");
    stage
        .fetch()
        .await
        .fail(outage().with_retry_after(Some(Duration::from_secs(7))));
    call.await.unwrap().unwrap_err();
    advance(Duration::from_millis(6999)).await;
    stage.at_once("s").unwrap_err();
    advance(Duration::from_millis(1)).await;
    let call = stage.call("s");
    stage.fetch().await.grant("two", HOUR);
    assert_eq!(call.await.unwrap().unwrap(), "two");
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_reached_no_server_is_tried_again_at_the_next_call() {
    let mut stage = Stage::new();
    let call = stage.call("s");
    stage
        .fetch()
        .await
        .fail(Error::assertion("the token file is missing"));
    assert_eq!(call.await.unwrap().unwrap_err().kind(), ErrorKind::Assertion);
    let call = stage.call("s");
    stage.fetch().await.grant("one", HOUR);
    assert_eq!(call.await.unwrap().unwrap(), "one");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_cannot_be_right_reaches_no_source() {
    let mut stage = Stage::new();
    assert_eq!(stage.at_once("a b").unwrap_err().kind(), ErrorKind::Configuration);
    stage.no_fetch().await;
}

#[tokio::test(start_paused = true)]
async fn a_token_expires_while_the_machine_sleeps() {
    let mut stage = Stage::holding("s", "one").await;
    stage.clock.move_wall(3600);
    let call = stage.call("s");
    stage.fetch().await.grant("two", HOUR);
    assert_eq!(call.await.unwrap().unwrap(), "two");
}

#[tokio::test(start_paused = true)]
async fn a_wall_clock_set_back_neither_keeps_an_expired_token_nor_drops_a_good_one() {
    let mut stage = Stage::holding("s", "one").await;
    stage.clock.move_wall(-7200);
    assert_eq!(stage.at_once("s").unwrap(), "one");
    stage.no_fetch().await;
    advance(HOUR / 2).await;
    assert_eq!(stage.at_once("s").unwrap(), "one");
    stage.fetch().await.fail(outage());
    settle().await;
    advance(HOUR / 2).await;
    let call = stage.call("s");
    stage.fetch().await.grant("two", HOUR);
    assert_eq!(call.await.unwrap().unwrap(), "two");
}

#[tokio::test(start_paused = true)]
async fn a_cache_that_is_cleared_has_no_token_and_still_one_exchange_for_each_key() {
    let mut stage = Stage::holding("held", "one").await;
    let call = stage.call("under-way");
    let exchange = stage.fetch().await;
    stage.cache.clear();
    let follower = stage.call("under-way");
    stage.no_fetch().await;
    exchange.grant("two", HOUR);
    assert_eq!(call.await.unwrap().unwrap(), "two");
    assert_eq!(follower.await.unwrap().unwrap(), "two");
    assert!(
        stage
            .cache
            .cached(&TokenRequest::new(&["held"]), AccessToken::clone)
            .is_none()
    );
}

#[tokio::test(start_paused = true)]
async fn a_refused_token_is_forgotten_and_no_other() {
    let mut stage = Stage::holding("s", "one").await;
    let call = stage.call("other");
    stage.fetch().await.grant("of-another", HOUR);
    call.await.unwrap().unwrap();
    let refused = stage
        .cache
        .token(&TokenRequest::new(&["s"]), AccessToken::clone)
        .await
        .unwrap();

    stage.cache.invalidate(&refused);
    let call = stage.call("s");
    stage.fetch().await.grant("two", HOUR);
    assert_eq!(call.await.unwrap().unwrap(), "two");

    stage.cache.invalidate(&refused);
    assert_eq!(stage.at_once("s").unwrap(), "two", "the newer token stays");
    assert_eq!(stage.at_once("other").unwrap(), "of-another");
}

#[tokio::test(start_paused = true)]
async fn a_forgotten_token_stays_forgotten_when_its_refresh_fails() {
    let mut stage = Stage::holding("s", "one").await;
    advance(HOUR / 2).await;
    let refused = stage
        .cache
        .token(&TokenRequest::new(&["s"]), AccessToken::clone)
        .await
        .unwrap();
    let refresh = stage.fetch().await;
    stage.cache.invalidate(&refused);
    refresh.fail(outage());
    settle().await;
    let call = stage.call("s");
    stage.fetch().await.grant("two", HOUR);
    assert_eq!(call.await.unwrap().unwrap(), "two");
}

#[tokio::test(start_paused = true)]
async fn a_newer_token_that_lives_shorter_takes_the_place_of_an_older_one() {
    let mut stage = Stage::holding("s", "one").await;
    advance(HOUR / 2).await;
    stage.at_once("s").unwrap();
    stage.fetch().await.grant("two", HOUR / 12);
    settle().await;
    assert_eq!(stage.at_once("s").unwrap(), "two");
}

#[tokio::test(start_paused = true)]
async fn a_token_tells_when_its_next_refresh_is_due() {
    let mut stage = Stage::holding("s", "one").await;
    let token = stage
        .cache
        .token(&TokenRequest::new(&["s"]), AccessToken::clone)
        .await
        .unwrap();
    let until_refresh = token
        .refresh_on()
        .duration_since(stage.clock.now().system_time)
        .unwrap();
    assert!(
        until_refresh <= HOUR / 2 && until_refresh >= HOUR / 3,
        "{until_refresh:?}"
    );
    advance(HOUR / 2).await;
    stage.at_once("s").unwrap();
    stage.fetch().await.fail(outage());
    settle().await;
    let token = stage
        .cache
        .token(&TokenRequest::new(&["s"]), AccessToken::clone)
        .await
        .unwrap();
    let until_refresh = token
        .refresh_on()
        .duration_since(stage.clock.now().system_time)
        .unwrap();
    assert_eq!(until_refresh, Duration::from_secs(30));
}

#[tokio::test(start_paused = true)]
async fn a_source_that_stays_silent_costs_its_callers_the_patience_of_the_cache_and_no_more() {
    let mut stage = Stage::new();
    let start = tokio::time::Instant::now();
    let calls = [stage.call("s"), stage.call("s")];
    let silent = stage.fetch().await;
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap_err().kind(), ErrorKind::Transport);
    }
    assert_eq!(start.elapsed(), Duration::from_secs(25));
    assert!(silent.answer.is_closed(), "the source is dropped");
    advance(Duration::from_secs(1)).await;
    let call = stage.call("s");
    stage.fetch().await.grant("one", HOUR);
    assert_eq!(call.await.unwrap().unwrap(), "one");
}

#[derive(Debug)]
struct PanickingSource;

#[async_trait]
impl TokenSource for PanickingSource {
    async fn fetch(&self, _: &TokenRequest<'_>, _: Urgency) -> Result<Grant, Error> {
        panic!("a bug in the source");
    }
}

#[tokio::test]
async fn a_source_that_panics_is_an_error_for_its_callers_and_no_hang() {
    let cache = Cache::new(
        Arc::new(PanickingSource),
        Arc::new(SystemClock::new()),
        HOUR,
        MAX_SLOTS,
    );
    for _ in 0..2 {
        let error = cache
            .token(&TokenRequest::new(&["s"]), AccessToken::clone)
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Assertion);
    }
}

#[tokio::test(start_paused = true)]
async fn the_number_of_slots_is_bounded_and_an_exchange_under_way_keeps_its_slot() {
    let mut stage = Stage::new();
    let under_way = stage.call("under-way");
    let exchange = stage.fetch().await;
    let scopes: Vec<String> = (0..MAX_SLOTS + 50).map(|n| format!("scope-{n}")).collect();
    for scope in &scopes {
        let cache = stage.cache.clone();
        let scope = scope.clone();
        let call = tokio::task::spawn(async move {
            cache
                .token(&TokenRequest::new(&[&scope]), AccessToken::clone)
                .await
                .map(|_| ())
        });
        stage.fetch().await.grant("filler", HOUR);
        call.await.unwrap().unwrap();
    }
    assert!(stage.cache.slots.load().len() <= MAX_SLOTS);
    assert_eq!(stage.at_once(scopes.last().unwrap()).unwrap(), "filler");
    let follower = stage.call("under-way");
    stage.no_fetch().await;
    exchange.grant("one", HOUR);
    assert_eq!(under_way.await.unwrap().unwrap(), "one");
    assert_eq!(follower.await.unwrap().unwrap(), "one");
}

#[tokio::test(start_paused = true)]
async fn more_keys_at_once_than_there_is_room_for_leave_no_more_slots_behind() {
    let mut stage = Stage::new();
    let scopes: Vec<String> = (0..MAX_SLOTS * 2).map(|n| format!("scope-{n}")).collect();
    let mut calls = Vec::new();
    let mut exchanges = Vec::new();
    for scope in scopes {
        let cache = stage.cache.clone();
        calls.push(tokio::task::spawn(async move {
            cache
                .token(&TokenRequest::new(&[&scope]), AccessToken::clone)
                .await
                .map(|_| ())
        }));
        exchanges.push(stage.fetch().await);
    }
    assert_eq!(stage.cache.slots.load().len(), MAX_SLOTS * 2, "each is in use");
    for exchange in exchanges {
        exchange.grant("filler", HOUR);
    }
    for call in calls {
        call.await.unwrap().unwrap();
    }
    let call = stage.call("one-more");
    stage.fetch().await.grant("one", HOUR);
    call.await.unwrap().unwrap();
    assert!(stage.cache.slots.load().len() <= MAX_SLOTS);
}
