//! Flows through the cache on a paused runtime. The test ends each fetch by hand.
#![allow(clippy::disallowed_methods, reason = "tests start tasks")]

use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{advance, timeout};

mod failures;
mod freshness;
mod invalidation;
mod model;
mod outage;
mod runtimes;
mod slots;
mod waiters;

#[path = "../../tests/support/runtime.rs"]
#[allow(dead_code, unreachable_pub, reason = "integration tests use it too")]
mod runtime;

use super::*;
use crate::clock::test_clock::TestClock;
use crate::clock::{Moment, SystemClock};
use crate::error::ErrorKind;
use crate::exchange::{Grant, Urgency};
use runtime::{paused_runtime, settle};

/// A source whose fetches wait for a result from the test.
#[derive(Debug)]
struct FakeSource {
    retries_when_awaited: bool,
    clock: TestClock,
    fetches: mpsc::UnboundedSender<PendingFetch>,
}

/// A fetch in flight.
struct PendingFetch {
    scopes: String,
    urgency: Urgency,
    result: oneshot::Sender<Result<Grant, Error>>,
    requested_at: Moment,
}

#[async_trait]
impl TokenSource for FakeSource {
    async fn fetch(&self, request: &TokenRequest<'_>, urgency: Urgency) -> Result<Grant, Error> {
        let (result, receiver) = oneshot::channel();
        let scopes = request.scopes().join(" ");
        let fetch = PendingFetch {
            scopes,
            urgency,
            result,
            requested_at: self.clock.now(),
        };
        self.fetches.send(fetch).unwrap();
        receiver.await.expect("the test dropped a fetch")
    }

    fn retries_when_awaited(&self) -> bool {
        self.retries_when_awaited
    }

    fn check_tenant(&self, requested: Option<&str>) -> Result<(), Error> {
        match requested {
            Some("refused") => Err(Error::configuration("the tenant is not allowed")),
            _ => Ok(()),
        }
    }
}

impl PendingFetch {
    fn grant(self, secret: &str, lifetime: Duration) {
        let grant = Grant {
            token: AccessToken::new(secret, self.requested_at.system_time + lifetime),
            requested_at: self.requested_at,
            lifetime,
            refresh_in: Some(lifetime / 2),
        };
        self.result.send(Ok(grant)).unwrap();
    }

    fn fail(self, error: Error) {
        self.result.send(Err(error)).unwrap();
    }
}

/// A cache, its clock, and the fetches that it has started.
struct CacheTest {
    cache: Arc<Cache>,
    clock: TestClock,
    fetches: mpsc::UnboundedReceiver<PendingFetch>,
}

impl CacheTest {
    fn new() -> Self {
        Self::build(true, MAX_SLOTS)
    }

    fn with_retries_when_awaited(retries_when_awaited: bool) -> Self {
        Self::build(retries_when_awaited, MAX_SLOTS)
    }

    fn with_max_slots(max_slots: usize) -> Self {
        Self::build(true, max_slots)
    }

    fn build(retries_when_awaited: bool, max_slots: usize) -> Self {
        let (sender, fetches) = mpsc::unbounded_channel();
        let clock = TestClock::new();
        let cache = Cache::new(
            Arc::new(FakeSource {
                retries_when_awaited,
                clock: clock.clone(),
                fetches: sender,
            }),
            Arc::new(clock.clone()),
            Duration::from_secs(25),
            max_slots,
        );
        Self {
            cache: Arc::new(cache),
            clock,
            fetches,
        }
    }

    /// With a token for `scope` that expires in an hour and is refreshed in at most half an hour.
    async fn with_token(scope: &'static str, secret: &'static str) -> Self {
        let mut test = Self::new();
        let call = test.call(scope);
        test.next_fetch().await.grant(secret, HOUR);
        assert_eq!(call.await.unwrap().unwrap(), secret);
        test
    }

    /// Starts a call in a task of its own.
    fn call(&self, scope: &'static str) -> tokio::task::JoinHandle<Result<String, Error>> {
        let cache = self.cache.clone();
        tokio::task::spawn(async move {
            let token = cache
                .token(&TokenRequest::new(&[scope]), AccessToken::clone)
                .await?;
            Ok(token.secret().to_owned())
        })
    }

    /// Returns the result of a call that does not wait.
    #[track_caller]
    fn token_now(&self, scope: &str) -> Result<String, Error> {
        let scopes = [scope];
        let request = TokenRequest::new(&scopes);
        let call = self.cache.token(&request, AccessToken::clone);
        let token = futures::FutureExt::now_or_never(call).expect("the call waits")?;
        Ok(token.secret().to_owned())
    }

    /// Returns the cached token if it is usable, and starts its refresh if that is due.
    fn cached(&self, scope: &str) -> Option<AccessToken> {
        self.cache
            .cached(&TokenRequest::new(&[scope]), AccessToken::clone)
    }

    /// Waits until a fetch is started.
    async fn next_fetch(&mut self) -> PendingFetch {
        timeout(HOUR * 100, self.fetches.recv())
            .await
            .expect("no fetch was started")
            .unwrap()
    }

    /// Grants a token for `scope` if none is cached; returns whether that took a fetch.
    async fn fetch_if_missing(&mut self, scope: &str) -> bool {
        if self.cached(scope).is_some() {
            return false;
        }
        let (cache, scope) = (self.cache.clone(), scope.to_owned());
        let call = tokio::task::spawn(async move {
            cache
                .token(&TokenRequest::new(&[&scope]), AccessToken::clone)
                .await
                .map(|_| ())
        });
        self.next_fetch().await.grant("token", HOUR);
        call.await.unwrap().unwrap();
        true
    }

    /// Requests a token with claims, and grants it if that takes a fetch; returns whether it did.
    async fn fetch_with_claims(&mut self, scope: &str, claims: &str) -> bool {
        let (cache, scope, claims) = (self.cache.clone(), scope.to_owned(), claims.to_owned());
        let call = tokio::task::spawn(async move {
            let scopes = [scope.as_str()];
            let request = TokenRequest::new(&scopes).claims(&claims);
            cache.token(&request, AccessToken::clone).await.map(drop)
        });
        settle().await;
        let fetch = self.fetches.try_recv();
        let has_fetched = fetch.is_ok();
        if let Ok(fetch) = fetch {
            fetch.grant("token with claims", HOUR);
        }
        call.await.unwrap().unwrap();
        has_fetched
    }

    async fn assert_no_fetch(&mut self) {
        settle().await;
        assert!(self.fetches.try_recv().is_err(), "a fetch was started");
    }
}

/// Returns a log file and the subscriber that writes it.
fn log_to_file() -> (
    tempfile::NamedTempFile,
    impl tracing::Subscriber + Send + Sync + 'static,
) {
    let log = tempfile::NamedTempFile::new().unwrap();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(Arc::new(log.reopen().unwrap()))
        .finish();
    (log, subscriber)
}

fn transport_error() -> Error {
    Error::transport("the endpoint is down")
}

/// A source with a bug.
#[derive(Debug)]
struct PanickingSource;

#[async_trait]
impl TokenSource for PanickingSource {
    async fn fetch(&self, _: &TokenRequest<'_>, _: Urgency) -> Result<Grant, Error> {
        panic!("a bug in the source");
    }
}

const HOUR: Duration = Duration::from_secs(3600);

/// The default of the credentials.
const MAX_SLOTS: usize = 1000;
