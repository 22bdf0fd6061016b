//! The stream of tokens: when a new one arrives, and what it does when the credential fails. Paused
//! clock, in-process transport.

use std::future::poll_fn;
use std::ops::DerefMut;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use crate::support::clock::TestClock;
use crate::support::identifiers::VAULT;
use crate::support::pod::{PodDirectory, service_account_token};
use crate::support::runtime::{paused_runtime, settle};
use crate::support::transport::{FakeEndpoint, fake_endpoint};
use entra_workload::clock::Clock as _;
use entra_workload::{
    AccessToken, Credential, Error, ErrorKind, TokenRequest, TokenStream, WorkloadIdentityCredential,
};
use futures::Stream;
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
        let stream = TokenStream::with_clock(credential.clone(), VAULT, clock.clone());
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
    let mut other = TokenStream::with_clock(fixture.credential.clone(), VAULT, fixture.clock.clone());
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
    let mut stream = stream_of(&clock, move |calls| Ok(lifetimes[calls - 1]));
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

#[test]
fn stream_that_waited_in_one_runtime_continues_in_another() {
    for (is_asking, ends) in [(false, false), (false, true), (true, false), (true, true)] {
        let first = paused_runtime();
        let (mut fixture, _unanswered) = first.block_on(async {
            let mut fixture = Fixture::new();
            if !is_asking {
                fixture.granted("planted-1").await;
            }
            let next = Box::pin(fixture.stream.next());
            assert!(is_pending(next).await);
            let mut unanswered = None;
            if is_asking {
                unanswered = Some(fixture.endpoint.request().await);
            }
            (fixture, unanswered)
        });
        let first = (!ends).then_some(first);
        let token = paused_runtime().block_on(async {
            let granted = fixture.granted("planted-2");
            tokio::time::timeout(Duration::from_secs(3600), granted).await
        });
        assert_eq!(token.unwrap(), "planted-2", "{is_asking} {ends}");
        drop(first);
    }
}

#[tokio::test(start_paused = true)]
async fn panic_of_the_credential_is_an_error_and_the_stream_goes_on() {
    let clock = TestClock::new();
    let mut stream = stream_of(&clock, |calls| match calls {
        2 => panic!("a bug in the credential"),
        _ => Ok(Duration::from_secs(3600)),
    });
    for expected in [0, 3600 - 180 + 1] {
        let start = Instant::now();
        stream.next().await;
        assert_eq!(start.elapsed().as_secs(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn wall_clock_that_is_set_back_does_not_delay_the_next_token() {
    let clock = TestClock::new();
    let mut stream = stream_of(&clock, |_| Ok(Duration::from_secs(3600)));
    stream.next().await;
    clock.move_wall(-3 * 3600);
    let start = Instant::now();
    stream.next().await;
    assert_eq!(start.elapsed().as_secs(), 3600 - 180);
}

#[tokio::test(start_paused = true)]
async fn short_token_is_asked_for_often_in_an_outage() {
    let clock = TestClock::new();
    let start = Instant::now();
    let tries = Arc::new(Mutex::new(0));
    let mut stream = stream_of(&clock, {
        let tries = tries.clone();
        move |calls| {
            if calls == 1 || start.elapsed() >= Duration::from_secs(60) {
                return Ok(Duration::from_secs(60));
            }
            *tries.lock().unwrap() += 1;
            Err(Error::new(ErrorKind::Transport, "down"))
        }
    });
    stream.next().await;
    stream.next().await;
    let tries = *tries.lock().unwrap();
    assert!(
        (10..20).contains(&tries),
        "{tries} from half a minute before the expiry"
    );
}

#[tokio::test(start_paused = true)]
async fn retry_after_of_the_server_delays_the_next_try() {
    let mut fixture = Fixture::new();
    let calls = Arc::new(Mutex::new(0));
    let credential = Counted(fixture.credential.clone(), calls.clone());
    let mut stream = TokenStream::with_clock(Arc::new(credential), VAULT, fixture.clock.clone());
    let start = Instant::now();
    let (token, ()) = tokio::join!(stream.next(), async {
        let request = fixture.endpoint.request().await;
        request.reply(429, &[("retry-after", "120")], "");
        fixture.endpoint.request().await.grant("planted-1", 3600);
    });
    assert_eq!(token.secret(), "planted-1");
    assert_eq!((start.elapsed().as_secs(), *calls.lock().unwrap()), (120, 2));
}

/// Returns a stream of the tokens of a credential without a cache.
///
/// * `answer`: returns the lifetime of a new token; its argument is the number of the call, from 1.
fn stream_of(
    clock: &TestClock,
    answer: impl Fn(usize) -> Result<Duration, Error> + Send + Sync + 'static,
) -> TokenStream {
    let credential = Answers {
        clock: clock.clone(),
        calls: Mutex::new(0),
        answer: Box::new(answer),
    };
    TokenStream::with_clock(Arc::new(credential), VAULT, clock.clone())
}

struct Answers {
    clock: TestClock,
    calls: Mutex<usize>,
    answer: Box<dyn Fn(usize) -> Result<Duration, Error> + Send + Sync>,
}

impl std::fmt::Debug for Answers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Answers")
    }
}

#[async_trait::async_trait]
impl Credential for Answers {
    async fn token_for(&self, _request: &TokenRequest<'_>) -> Result<AccessToken, Error> {
        let calls = {
            let mut calls = self.calls.lock().unwrap();
            *calls += 1;
            *calls
        };
        let lifetime = (self.answer)(calls)?;
        let text = format!("planted-{calls}");
        Ok(AccessToken::new(text, self.clock.now().system_time + lifetime))
    }
}

/// Counts the calls for a token that is not cached.
#[derive(Debug)]
struct Counted(Arc<WorkloadIdentityCredential>, Arc<Mutex<usize>>);

#[async_trait::async_trait]
impl Credential for Counted {
    async fn token_for(&self, request: &TokenRequest<'_>) -> Result<AccessToken, Error> {
        *self.1.lock().unwrap() += 1;
        self.0.token_for(request).await
    }
}

fn call(credential: &Arc<WorkloadIdentityCredential>) -> JoinHandle<()> {
    let credential = credential.clone();
    tokio::task::spawn(async move {
        credential.token(&[VAULT]).await.unwrap();
    })
}

async fn is_pending(mut future: Pin<impl DerefMut<Target = impl Future<Output = AccessToken>>>) -> bool {
    poll_fn(|context| Poll::Ready(future.as_mut().poll(context).is_pending())).await
}
