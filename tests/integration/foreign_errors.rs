//! Errors of client assertions and transports outside the crate: a token request and the cache obey
//! their status and pause as those of the crate's own. Paused clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::clock::TestClock;
use crate::support::identifiers::{CLIENT_ID, NO_METADATA_SERVICE, TENANT_ID, VAULT};
use crate::support::transport::fake_endpoint;
use async_trait::async_trait;
use bytes::Bytes;
use entra_workload::assertion::{AssertionRequest, ClientAssertion};
use entra_workload::transport::Transport;
use entra_workload::{
    ClientAssertionCredential, Code, Environment, Error, ErrorKind, ManagedIdentityCredential, Secret,
};
use http::{Request, Response, StatusCode};
use tokio::time::Instant;

/// A source and a transport that fail `failures` times with 429, and count their calls.
#[derive(Clone, Debug)]
struct Throttled {
    kind: ErrorKind,
    pause: Duration,
    failures: usize,
    calls: Arc<AtomicUsize>,
}

impl Throttled {
    fn new(kind: ErrorKind, seconds: u64, failures: usize) -> Self {
        Self {
            kind,
            pause: Duration::from_secs(seconds),
            failures,
            calls: Arc::default(),
        }
    }

    fn call(&self) -> Result<(), Error> {
        if self.calls.fetch_add(1, Ordering::Relaxed) < self.failures {
            return Err(Error::new(self.kind, "the vault throttled the request")
                .with_status(StatusCode::TOO_MANY_REQUESTS)
                .with_retry_after(self.pause)
                .with_code(Code::THROTTLED));
        }
        Ok(())
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl ClientAssertion for Throttled {
    async fn assertion(&self, _: AssertionRequest) -> Result<Secret, Error> {
        self.call().map(|()| Secret::from("planted-assertion"))
    }
}

#[async_trait]
impl Transport for Throttled {
    async fn send(&self, _: Request<Bytes>) -> Result<Response<Bytes>, Error> {
        self.call()?;
        let body = r#"{"token_type":"Bearer","expires_in":3600,"access_token":"planted-token","resource":"r","expires_on":"4102444800"}"#;
        Ok(Response::new(body.into()))
    }
}

fn with_assertion(source: Throttled, transport: impl Transport) -> Arc<ClientAssertionCredential> {
    ClientAssertionCredential::builder()
        .environment(Environment::default())
        .tenant_id(TENANT_ID)
        .client_id(CLIENT_ID)
        .assertion(source)
        .transport(transport)
        .clock(TestClock::new())
        .build()
        .unwrap()
}

fn with_transport(transport: Throttled) -> Arc<ClientAssertionCredential> {
    with_assertion(Throttled::new(ErrorKind::Assertion, 0, 0), transport)
}

fn managed_identity(transport: Throttled) -> Arc<ManagedIdentityCredential> {
    ManagedIdentityCredential::builder()
        .environment(Environment::from_iter([NO_METADATA_SERVICE]))
        .transport(transport)
        .clock(TestClock::new())
        .build()
        .unwrap()
}

/// Checks a credential whose `foreign` part fails once with a pause of 7 s: one call repeats it.
macro_rules! assert_repeated_after_the_pause {
    ($foreign:ident, $credential:expr) => {{
        let start = Instant::now();
        $credential.token(&[VAULT]).await.unwrap();
        let elapsed = start.elapsed().as_secs_f64();
        assert!((7.0..8.0).contains(&elapsed), "{:?}: {elapsed}", $foreign.kind);
        assert_eq!($foreign.calls(), 2, "{:?}", $foreign.kind);
    }};
}

/// Checks a credential whose `foreign` part fails once with a pause of 200 s: calls fail at once and do
/// not repeat it until the pause ends.
macro_rules! assert_cooldown_of_the_pause {
    ($foreign:ident, $credential:expr) => {{
        let credential = $credential;
        for seconds in [0, 100, 99] {
            tokio::time::advance(Duration::from_secs(seconds)).await;
            let error = credential.token(&[VAULT]).await.unwrap_err();
            assert_eq!(error.status(), Some(StatusCode::TOO_MANY_REQUESTS), "{error:?}");
            assert_eq!(error.retry_after(), Some(Duration::from_secs(200)));
            assert_eq!(error.code(), Some(Code::THROTTLED));
            assert_eq!($foreign.calls(), 1, "{:?}", $foreign.kind);
        }
        tokio::time::advance(Duration::from_secs(1)).await;
        credential.token(&[VAULT]).await.unwrap();
        assert_eq!($foreign.calls(), 2, "{:?}", $foreign.kind);
    }};
}

const KINDS: [ErrorKind; 2] = [ErrorKind::Transport, ErrorKind::Rejected];

#[tokio::test(start_paused = true)]
async fn throttled_assertion_source_is_called_again_after_its_pause() {
    for kind in [ErrorKind::Assertion, KINDS[0], KINDS[1]] {
        let foreign = Throttled::new(kind, 7, 1);
        let transport = Throttled::new(kind, 0, 0);
        assert_repeated_after_the_pause!(foreign, with_assertion(foreign.clone(), transport));
    }
}

#[tokio::test(start_paused = true)]
async fn long_pause_of_an_assertion_source_starts_a_cooldown() {
    for kind in [ErrorKind::Assertion, KINDS[0], KINDS[1]] {
        let foreign = Throttled::new(kind, 200, 1);
        let transport = Throttled::new(kind, 0, 0);
        assert_cooldown_of_the_pause!(foreign, with_assertion(foreign.clone(), transport));
    }
}

#[tokio::test(start_paused = true)]
async fn throttled_transport_is_called_again_after_its_pause() {
    for kind in KINDS {
        let foreign = Throttled::new(kind, 7, 1);
        assert_repeated_after_the_pause!(foreign, with_transport(foreign.clone()));
        let foreign = Throttled::new(kind, 7, 1);
        assert_repeated_after_the_pause!(foreign, managed_identity(foreign.clone()));
    }
}

#[tokio::test(start_paused = true)]
async fn long_pause_of_a_transport_starts_a_cooldown() {
    for kind in KINDS {
        let foreign = Throttled::new(kind, 200, 1);
        assert_cooldown_of_the_pause!(foreign, with_transport(foreign.clone()));
        let foreign = Throttled::new(kind, 200, 1);
        assert_cooldown_of_the_pause!(foreign, managed_identity(foreign.clone()));
    }
}

#[tokio::test(start_paused = true)]
async fn pause_of_an_assertion_source_delays_the_next_refresh_of_a_usable_token() {
    let (transport, mut endpoint) = fake_endpoint();
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let clock = TestClock::new();
    let credential = ClientAssertionCredential::builder()
        .environment(Environment::default())
        .tenant_id(TENANT_ID)
        .client_id(CLIENT_ID)
        .assertion(move |_: AssertionRequest| {
            let call = counted.fetch_add(1, Ordering::Relaxed);
            async move {
                if call == 1 {
                    return Err(
                        Error::new(ErrorKind::Assertion, "the vault throttled the request")
                            .with_retry_after(Duration::from_secs(300)),
                    );
                }
                Ok(Secret::from("planted-assertion"))
            }
        })
        .transport(transport)
        .clock(clock.clone())
        .build()
        .unwrap();
    let serve = async { endpoint.request().await.grant("planted-token", 3600) };
    let (token, ()) = tokio::join!(credential.token(&[VAULT]), serve);
    token.unwrap();
    tokio::time::advance(Duration::from_secs(1800)).await;
    for (seconds, expected) in [(0, 2), (299, 2), (1, 3)] {
        tokio::time::advance(Duration::from_secs(seconds)).await;
        credential.token(&[VAULT]).await.unwrap();
        tokio::task::yield_now().await;
        assert_eq!(calls.load(Ordering::Relaxed), expected, "{seconds}");
    }
}
