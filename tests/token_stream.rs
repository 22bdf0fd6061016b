//! The stream of tokens: when a new one arrives, and what it does when the credential fails. Paused
//! clock, in-process transport.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "tests"
)]

mod support;

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use entra_workload::{
    AccessToken, Clock as _, Credential, Error, ErrorKind, TokenRequest, TokenStream,
    WorkloadIdentityCredential,
};
use futures::Stream;
use support::clock::TestClock;
use support::identifiers::VAULT;
use support::pod::{PodDirectory, service_account_token};
use support::runtime::settle;
use support::transport::{FakeEndpoint, fake_endpoint};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// A credential of a pod, its endpoint, and a stream of its tokens.
struct Fixture {
    _pod: PodDirectory,
    credential: Arc<WorkloadIdentityCredential>,
    endpoint: FakeEndpoint,
    clock: TestClock,
    stream: TokenStream,
}

impl Fixture {
    fn new() -> Self {
        let pod = PodDirectory::new();
        pod.project(service_account_token("long", Duration::from_secs(86_400)));
        let (transport, endpoint) = fake_endpoint();
        let clock = TestClock::new();
        let credential = WorkloadIdentityCredential::builder()
            .environment(pod.environment())
            .transport(transport)
            .clock(clock.clone())
            .build()
            .unwrap();
        let stream = TokenStream::with_clock(credential.clone(), [VAULT], clock.clone());
        Self {
            _pod: pod,
            credential,
            endpoint,
            clock,
            stream,
        }
    }

    /// Returns the text of the next token; the endpoint grants it.
    async fn granted(&mut self, secret: &str) -> String {
        let (token, ()) = tokio::join!(self.stream.next(), async {
            self.endpoint.request().await.grant(secret, 3600);
        });
        token.secret().to_owned()
    }
}

#[tokio::test(start_paused = true)]
async fn new_token_arrives_at_each_refresh_long_before_the_expiry() {
    let mut fixture = Fixture::new();
    let start = Instant::now();
    assert_eq!(fixture.granted("planted-1").await, "planted-1");
    assert_eq!(start.elapsed(), Duration::ZERO);
    for n in 2..5 {
        let before = Instant::now();
        let secret = format!("planted-{n}");
        assert_eq!(fixture.granted(&secret).await, secret);
        let minutes = before.elapsed().as_secs() / 60;
        assert!((20..=30).contains(&minutes), "{minutes}");
    }
}

#[tokio::test(start_paused = true)]
async fn stream_survives_an_outage_longer_than_a_token_and_reports_it() {
    let mut fixture = Fixture::new();
    fixture.granted("planted-1").await;
    let start = Instant::now();
    let (token, ()) = tokio::join!(fixture.stream.next(), async {
        while start.elapsed() < Duration::from_secs(3 * 3600) {
            fixture.endpoint.request().await.reply(503, &[], "down");
        }
        fixture.endpoint.request().await.grant("planted-2", 3600);
    });
    assert_eq!(token.secret(), "planted-2");
    assert!(
        start.elapsed() < Duration::from_secs(3 * 3600 + 120),
        "{:?}",
        start.elapsed()
    );
    assert!(fixture.stream.last_error().is_none());
}

#[tokio::test(start_paused = true)]
async fn last_error_has_the_reason_while_there_is_no_token() {
    let mut fixture = Fixture::new();
    {
        let next = fixture.stream.next();
        tokio::pin!(next);
        assert!(is_pending(next.as_mut()).await);
        fixture
            .endpoint
            .request()
            .await
            .refuse(401, "invalid_client", 700_016);
        settle().await;
        assert!(is_pending(next.as_mut()).await);
    }
    let error = fixture.stream.last_error().unwrap();
    assert_eq!(error.kind(), ErrorKind::Rejected);
    assert_eq!(error.aadsts_codes(), [700_016]);
    assert_eq!(fixture.granted("planted-1").await, "planted-1");
    assert!(fixture.stream.last_error().is_none());
}

#[tokio::test(start_paused = true)]
async fn dropped_call_of_next_loses_no_token_and_no_time() {
    let mut fixture = Fixture::new();
    fixture.granted("planted-1").await;
    let start = Instant::now();
    // As in `select!` with a timer that is always faster.
    let token = loop {
        tokio::select! {
            biased;
            token = fixture.stream.next() => break token,
            request = fixture.endpoint.request() => request.grant("planted-2", 3600),
            () = tokio::time::sleep(Duration::from_millis(700)) => {}
        }
    };
    assert_eq!(token.secret(), "planted-2");
    let minutes = start.elapsed().as_secs() / 60;
    assert!((20..=30).contains(&minutes), "{minutes}");
}

#[tokio::test(start_paused = true)]
async fn token_that_another_caller_got_arrives_without_a_token_request() {
    let mut fixture = Fixture::new();
    fixture.granted("planted-1").await;
    let first = fixture.credential.token(&[VAULT]).await.unwrap();
    fixture.credential.invalidate(&first);
    let caller = call(&fixture.credential);
    fixture.endpoint.request().await.grant("planted-2", 3600);
    caller.await.unwrap();
    let start = Instant::now();
    assert_eq!(fixture.stream.next().await.secret(), "planted-2");
    assert!(
        start.elapsed() <= Duration::from_secs(30),
        "{:?}",
        start.elapsed()
    );
    fixture.endpoint.assert_no_request().await;
}

#[tokio::test(start_paused = true)]
async fn stream_asks_again_after_a_suspension_of_the_machine() {
    let mut fixture = Fixture::new();
    fixture.granted("planted-1").await;
    fixture.clock.move_wall(3 * 3600);
    let start = Instant::now();
    assert_eq!(fixture.granted("planted-2").await, "planted-2");
    assert!(
        start.elapsed() <= Duration::from_secs(30),
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn two_streams_of_a_credential_share_its_token_requests() {
    let mut fixture = Fixture::new();
    let mut other = TokenStream::with_clock(fixture.credential.clone(), [VAULT], fixture.clock.clone());
    for secret in ["planted-1", "planted-2"] {
        let (one, two, ()) = tokio::join!(fixture.stream.next(), other.next(), async {
            fixture.endpoint.request().await.grant(secret, 3600);
        });
        assert_eq!((one.secret(), two.secret()), (secret, secret));
    }
    fixture.endpoint.assert_no_request().await;
}

#[tokio::test(start_paused = true)]
async fn token_without_a_refresh_time_is_replaced_minutes_before_its_expiry() {
    let clock = TestClock::new();
    let lifetimes = [3600, 60, 3600].map(Duration::from_secs);
    let credential = Arc::new(Uncached {
        clock: clock.clone(),
        lifetimes: Mutex::new(lifetimes.into()),
    });
    let mut stream = TokenStream::with_clock(credential, [VAULT], clock);
    let mut times = Vec::new();
    for _ in 0..3 {
        let before = Instant::now();
        stream.next().await;
        times.push(before.elapsed().as_secs());
    }
    assert_eq!(times, [0, 3600 - 180, 30]);
}

#[tokio::test(start_paused = true)]
async fn stream_of_the_futures_crate_has_the_same_tokens() {
    let mut fixture = Fixture::new();
    let next = poll_fn(|context| Pin::new(&mut fixture.stream).poll_next(context));
    let (token, ()) = tokio::join!(next, async {
        fixture.endpoint.request().await.grant("planted-1", 3600);
    });
    assert_eq!(token.unwrap().secret(), "planted-1");
    let shown = format!("{:?}", fixture.stream);
    assert!(
        shown.contains("AccessToken") && !shown.contains("planted"),
        "{shown}"
    );
}

/// A credential that returns a new token at each call.
#[derive(Debug)]
struct Uncached {
    clock: TestClock,
    lifetimes: Mutex<VecDeque<Duration>>,
}

#[async_trait::async_trait]
impl Credential for Uncached {
    async fn token_for(&self, _request: &TokenRequest<'_>) -> Result<AccessToken, Error> {
        let mut lifetimes = self.lifetimes.lock().unwrap();
        let lifetime = lifetimes.pop_front().expect("asked too often");
        let text = format!("planted-{}", lifetimes.len());
        Ok(AccessToken::new(text, self.clock.now().system_time + lifetime))
    }
}

fn call(credential: &Arc<WorkloadIdentityCredential>) -> JoinHandle<()> {
    let credential = credential.clone();
    tokio::task::spawn(async move {
        credential.token(&[VAULT]).await.unwrap();
    })
}

async fn is_pending(mut future: Pin<&mut impl Future<Output = AccessToken>>) -> bool {
    poll_fn(|context| Poll::Ready(future.as_mut().poll(context).is_pending())).await
}
