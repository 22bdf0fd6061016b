//! Runtimes that shut down, clocks that jump, and callbacks that panic or hang: the next call
//! succeeds.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use entra_workload::assertion::AssertionRequest;
use entra_workload::builder::ClientAssertionCredentialBuilder;
use entra_workload::transport::{HttpTransport, Transport};
use entra_workload::{ClientAssertionCredential, Error, ErrorKind, Secret};
use futures::FutureExt;
use futures::future::join_all;
use http::{Request, Response};
use tokio::time::advance;

use crate::support::clock::TestClock;
use crate::support::identifiers::{CLIENT_ID, TENANT_ID, VAULT};
use crate::support::log::{assert_no_secret, watch_for_secrets};
use crate::support::runtime::{current_thread, multi_thread, settle};
use crate::support::transport::{FakeEndpoint, SentRequest, fake_endpoint};

/// A step of a fetch whose caller is dropped between two steps.
#[derive(Clone, Copy, PartialEq)]
enum Step {
    Poll,
    Refuse,
    Wait,
    Grant,
}

#[tokio::test(start_paused = true)]
async fn caller_dropped_at_any_point_does_not_lose_the_fetch() {
    use Step::{Grant, Poll, Refuse, Wait};
    let steps = [Poll, Poll, Refuse, Poll, Wait, Poll, Grant, Poll];
    for dropped_after in 1..=steps.len() {
        let (credential, mut endpoint) = credential_with_endpoint(TestClock::new());
        let mut call = Some(Box::pin(credential.token(&[VAULT])));
        for (n, step) in steps.into_iter().enumerate() {
            if n == dropped_after {
                call = None;
            }
            match step {
                Poll => {
                    if let Some(call) = &mut call {
                        let is_ready = futures::poll!(call).is_ready();
                        assert_eq!(is_ready, n + 1 == steps.len());
                    }
                }
                Refuse => endpoint.request().await.reply(503, &[], ""),
                Wait => advance(Duration::from_secs(1)).await,
                Grant => endpoint.request().await.grant("planted-token", 3600),
            }
            settle().await;
        }
        let token = credential.token(&[VAULT]).now_or_never();
        assert_eq!(
            token.expect("it is cached").unwrap().secret(),
            "planted-token",
            "{dropped_after}"
        );
        endpoint.assert_no_request().await;
    }
}

#[test]
fn credential_works_on_another_runtime_after_one_shuts_down_mid_fetch() {
    let mut server = Server::start();
    let credential = server.credential(|builder| builder);
    let first = multi_thread();
    first.spawn({
        let credential = credential.clone();
        async move { credential.token(&[VAULT]).await.map(drop) }
    });
    let pending = server.request();
    first.shutdown_timeout(Duration::from_secs(10));

    for runtime in [multi_thread(), current_thread()] {
        let server = &mut server;
        let token = std::thread::scope(|threads| {
            let call = threads.spawn(|| runtime.block_on(credential.token(&[VAULT])));
            server.request().grant();
            call.join().unwrap().unwrap()
        });
        assert_eq!(token.secret(), "planted-token");
        credential.invalidate(&token);
    }
    drop(pending);
}

#[test]
fn cached_token_is_shared_by_consecutive_runtimes() {
    let mut server = Server::start();
    let credential = server.credential(|builder| builder);
    let first = std::thread::scope(|threads| {
        let call = threads.spawn(|| current_thread().block_on(credential.token(&[VAULT])));
        server.request().grant();
        call.join().unwrap().unwrap()
    });
    for runtime in [current_thread(), multi_thread(), current_thread()] {
        assert_eq!(
            runtime.block_on(credential.token(&[VAULT])).unwrap().secret(),
            first.secret()
        );
    }
    assert_eq!(server.requests(), 1);
}

#[test]
fn refresh_is_repeated_if_its_runtime_shuts_down() {
    let clock = TestClock::stopped();
    let (credential, mut endpoint) = credential_with_endpoint(clock.clone());
    current_thread().block_on(first_token(&credential, &mut endpoint));

    clock.advance(Duration::from_secs(1800));
    // The refresh is lost with the runtime, which is dropped after the call.
    current_thread().block_on(credential.token(&[VAULT])).unwrap();

    clock.advance(Duration::from_secs(30));
    current_thread().block_on(async {
        assert_eq!(token_now(&credential).secret(), "planted-token");
        endpoint.request().await.grant("planted-second", 3600);
        settle().await;
        assert_eq!(token_now(&credential).secret(), "planted-second");
    });
}

#[test]
fn http_client_built_on_a_stopped_runtime_does_not_block_other_runtimes() {
    let mut server = Server::start();
    let transport = HttpTransport::new();
    let url = server.url.clone();
    let request = || {
        let request = Request::post(&url);
        request.body(Bytes::from_static(b"%2F.default")).unwrap()
    };
    let (stopped, driven) = (current_thread(), current_thread());
    let mut stopped_request = transport.send(request());
    stopped.block_on(async { assert!(futures::poll!(&mut stopped_request).is_pending()) });
    let answer = std::thread::scope(|threads| {
        let call = threads.spawn(|| {
            let answer = transport.send(request());
            driven.block_on(async { tokio::time::timeout(Duration::from_secs(60), answer).await })
        });
        server.request().grant();
        call.join().unwrap()
    });
    answer.expect("the transport did not respond").unwrap();
    drop(stopped_request);
}

#[test]
fn concurrent_runtimes_share_one_fetch() {
    let mut server = Server::start();
    let credential = server.credential(|builder| builder);
    let runtimes = [multi_thread(), multi_thread()];
    let calls: Vec<_> = (0..200)
        .map(|n| {
            let credential = credential.clone();
            runtimes[n % 2].spawn(async move { credential.token(&[VAULT]).await })
        })
        .collect();
    server.request().grant();
    for token in futures::executor::block_on(join_all(calls)) {
        assert_eq!(token.unwrap().unwrap().secret(), "planted-token");
    }
    assert_eq!(server.requests(), 1);
}

#[tokio::test(start_paused = true)]
async fn panic_in_an_assertion_callback_is_an_error_and_the_next_call_succeeds() {
    let (transport, mut endpoint) = fake_endpoint();
    let panics = Arc::new(AtomicBool::new(true));
    let source = {
        let panics = panics.clone();
        move |_request: AssertionRequest| {
            let panics = panics.load(Ordering::SeqCst);
            async move {
                assert!(!panics, "a bug in the callback; planted assertion");
                Ok(Secret::from("planted-assertion"))
            }
        }
    };
    let credential = builder()
        .transport(transport)
        .clock(TestClock::new())
        .assertion(source)
        .build()
        .unwrap();
    for _ in 0..3 {
        let error = credential.token(&[VAULT]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Assertion);
        assert_no_secret(&error);
    }
    panics.store(false, Ordering::SeqCst);
    let (token, ()) = tokio::join!(credential.token(&[VAULT]), async {
        endpoint.request().await.grant("planted-token", 3600);
    });
    token.unwrap();

    panics.store(true, Ordering::SeqCst);
    advance(Duration::from_secs(1800)).await;
    for _ in 0..10 {
        let token = credential.token(&[VAULT]).now_or_never();
        token.expect("the call waits").unwrap();
        settle().await;
    }
    panics.store(false, Ordering::SeqCst);
    advance(Duration::from_secs(30)).await;
    credential.token(&[VAULT]).await.unwrap();
    endpoint.request().await.grant("planted-second", 3600);
    settle().await;
    assert_eq!(
        credential.token(&[VAULT]).await.unwrap().secret(),
        "planted-second"
    );
}

#[tokio::test(start_paused = true)]
async fn wall_clock_set_back_two_hours_keeps_the_token_and_its_refresh() {
    let clock = TestClock::stopped();
    let (credential, mut endpoint) = credential_with_endpoint(clock.clone());
    first_token(&credential, &mut endpoint).await;
    clock.move_wall(-7200);
    assert_eq!(token_now(&credential).secret(), "planted-token");
    endpoint.assert_no_request().await;

    clock.advance(Duration::from_secs(1800));
    assert_eq!(token_now(&credential).secret(), "planted-token");
    endpoint.request().await.grant("planted-second", 3600);
    settle().await;
    assert_eq!(
        token_now(&credential).secret(),
        "planted-second",
        "although it expires earlier by the wall clock"
    );
    clock.advance(Duration::from_secs(60));
    token_now(&credential);
    settle().await;
    endpoint.assert_no_request().await;
}

#[tokio::test(start_paused = true)]
async fn wall_clock_set_forward_two_hours_and_back_causes_one_fetch() {
    let clock = TestClock::stopped();
    let (credential, mut endpoint) = credential_with_endpoint(clock.clone());
    first_token(&credential, &mut endpoint).await;
    clock.move_wall(7200);
    let (token, ()) = tokio::join!(credential.token(&[VAULT]), async {
        endpoint.request().await.grant("planted-second", 3600);
    });
    assert_eq!(token.unwrap().secret(), "planted-second");
    clock.move_wall(-7200);
    assert_eq!(token_now(&credential).secret(), "planted-second");
    clock.advance(Duration::from_secs(3600));
    let (token, ()) = tokio::join!(credential.token(&[VAULT]), async {
        endpoint.request().await.grant("planted-third", 3600);
    });
    assert_eq!(token.unwrap().secret(), "planted-third");
}

/// Only the wall clock advances while a machine is suspended.
#[tokio::test(start_paused = true)]
async fn token_is_fetched_once_after_the_machine_was_suspended_past_the_expiry() {
    let clock = TestClock::stopped();
    let (credential, mut endpoint) = credential_with_endpoint(clock.clone());
    first_token(&credential, &mut endpoint).await;
    clock.move_wall(3600);
    let calls = join_all((0..100).map(|_| credential.token(&[VAULT])));
    let (tokens, ()) = tokio::join!(calls, async {
        endpoint.request().await.grant("planted-second", 3600);
    });
    assert!(
        tokens
            .iter()
            .all(|token| token.as_ref().unwrap().secret() == "planted-second")
    );
    endpoint.assert_no_request().await;
}

#[tokio::test(start_paused = true)]
async fn token_that_expired_during_a_suspend_mid_fetch_is_not_returned() {
    let clock = TestClock::stopped();
    let (credential, mut endpoint) = credential_with_endpoint(clock.clone());
    let (token, ()) = tokio::join!(credential.token(&[VAULT]), async {
        let first = endpoint.request().await;
        clock.move_wall(3600);
        first.grant("planted-token", 3600);
        endpoint.request().await.grant("planted-second", 3600);
    });
    assert_eq!(token.unwrap().secret(), "planted-second");
}

#[tokio::test(start_paused = true)]
async fn assertion_callback_that_hangs_does_not_delay_cached_tokens() {
    let (transport, mut endpoint) = fake_endpoint();
    let hangs = Arc::new(AtomicBool::new(false));
    let source = {
        let hangs = hangs.clone();
        move |_request: AssertionRequest| {
            let hangs = hangs.load(Ordering::SeqCst);
            async move {
                if hangs {
                    std::future::pending::<()>().await;
                }
                Ok(Secret::from("planted-assertion"))
            }
        }
    };
    let credential = builder()
        .transport(transport)
        .clock(TestClock::new())
        .assertion(source)
        .build()
        .unwrap();
    first_token(&credential, &mut endpoint).await;
    hangs.store(true, Ordering::SeqCst);
    for _ in 0..359 {
        advance(Duration::from_secs(10)).await;
        assert_eq!(token_now(&credential).secret(), "planted-token");
        settle().await;
    }
    advance(Duration::from_secs(10)).await;
    let error = credential.token(&[VAULT]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Transport, "{error}");
    hangs.store(false, Ordering::SeqCst);
    advance(Duration::from_secs(1)).await;
    first_token(&credential, &mut endpoint).await;
}

#[tokio::test]
async fn each_of_10_000_keys_gets_its_own_token() {
    let requests = Arc::new(AtomicUsize::new(0));
    let credential = builder()
        .transport(ScopeTransport(requests.clone()))
        .assertion(async |_: AssertionRequest| Ok(Secret::from("planted-assertion")))
        .build()
        .unwrap();
    let scopes: Vec<String> = (0..10_000).map(|n| format!("api://{n}/.default")).collect();
    for some in scopes.chunks(100) {
        let tokens = join_all(some.iter().map(async |scope| credential.token(&[scope]).await)).await;
        for (scope, token) in some.iter().zip(tokens) {
            assert_eq!(token.unwrap().secret(), scope);
        }
    }
    assert_eq!(requests.load(Ordering::SeqCst), 10_000);
    let last = scopes.last().unwrap();
    let token = credential.token(&[last]).now_or_never().expect("it is cached");
    assert_eq!(token.unwrap().secret(), last);
}

fn builder() -> ClientAssertionCredentialBuilder {
    ClientAssertionCredential::builder()
        .tenant_id(TENANT_ID)
        .client_id(CLIENT_ID)
}

/// Returns a credential and the endpoint of its requests.
fn credential_with_endpoint(clock: TestClock) -> (Arc<ClientAssertionCredential>, FakeEndpoint) {
    let (transport, endpoint) = fake_endpoint();
    let credential = builder()
        .transport(transport)
        .clock(clock)
        .assertion(async |_: AssertionRequest| Ok(Secret::from("planted-assertion")))
        .build()
        .unwrap();
    (credential, endpoint)
}

async fn first_token(credential: &ClientAssertionCredential, endpoint: &mut FakeEndpoint) {
    let (token, ()) = tokio::join!(credential.token(&[VAULT]), async {
        let request: SentRequest = endpoint.request().await;
        request.grant("planted-token", 3600);
    });
    assert_eq!(token.unwrap().secret(), "planted-token");
}

#[track_caller]
fn token_now(credential: &ClientAssertionCredential) -> entra_workload::AccessToken {
    credential
        .token(&[VAULT])
        .now_or_never()
        .expect("the call waits")
        .unwrap()
}

/// A transport that grants a token whose secret is the scope.
#[derive(Debug)]
struct ScopeTransport(Arc<AtomicUsize>);

#[async_trait]
impl Transport for ScopeTransport {
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, Error> {
        self.0.fetch_add(1, Ordering::SeqCst);
        let form = url::form_urlencoded::parse(request.body());
        let scope = form.into_owned().find(|(name, _)| name == "scope").unwrap().1;
        let body = format!(r#"{{"token_type":"Bearer","expires_in":3600,"access_token":"{scope}"}}"#);
        Ok(Response::new(body.into()))
    }
}

/// A server on a thread of its own, independent of all runtimes. The test responds to each request
/// by hand.
struct Server {
    url: String,
    requests: mpsc::Receiver<ServerRequest>,
    seen: usize,
}

/// A request in flight.
struct ServerRequest(TcpStream);

impl Server {
    fn start() -> Self {
        watch_for_secrets();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (sender, requests) = mpsc::channel();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (mut stream, sender) = (stream.unwrap(), sender.clone());
                // A thread for each connection: a client may connect and then stop.
                std::thread::spawn(move || {
                    let mut request = Vec::new();
                    let mut buffer = [0; 4096];
                    // The form ends with the scope.
                    while !String::from_utf8_lossy(&request).ends_with("%2F.default") {
                        match stream.read(&mut buffer) {
                            Ok(0) | Err(_) => return,
                            Ok(length) => request.extend_from_slice(&buffer[..length]),
                        }
                    }
                    // The test may have ended.
                    let _ended = sender.send(ServerRequest(stream));
                });
            }
        });
        Self {
            url,
            requests,
            seen: 0,
        }
    }

    fn credential(
        &self,
        with: impl FnOnce(ClientAssertionCredentialBuilder) -> ClientAssertionCredentialBuilder,
    ) -> Arc<ClientAssertionCredential> {
        let builder = builder()
            .authority_host(&self.url)
            .assertion(async |_: AssertionRequest| Ok(Secret::from("planted-assertion")));
        with(builder).build().unwrap()
    }

    fn request(&mut self) -> ServerRequest {
        self.seen += 1;
        self.requests
            .recv_timeout(Duration::from_secs(60))
            .expect("no request was sent")
    }

    /// Returns the number of all requests so far.
    fn requests(&mut self) -> usize {
        self.seen += self.requests.try_iter().count();
        self.seen
    }
}

impl ServerRequest {
    fn grant(mut self) {
        let body = r#"{"token_type":"Bearer","expires_in":3600,"access_token":"planted-token"}"#;
        let length = body.len();
        // The client may have been dropped with its runtime.
        let _dropped = write!(
            self.0,
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        );
    }
}
