//! The rules of the chain, with links that each test answers by hand.
#![allow(clippy::disallowed_methods, reason = "tests start tasks")]

use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use futures::FutureExt;
use futures::future::join_all;
use tokio::sync::Notify;

use super::*;
use crate::error::ErrorKind;

/// A link that gives what it was last told to, and counts how often it was asked.
#[derive(Debug)]
struct FakeLink {
    answer: StdMutex<Result<AccessToken, Error>>,
    asked: AtomicUsize,
    /// If it is there, an answer waits for it.
    gate: Option<Notify>,
}

impl FakeLink {
    fn giving(secret: &str) -> Arc<Self> {
        Self::new(Ok(token(secret)), None)
    }

    fn failing(kind: ErrorKind) -> Arc<Self> {
        Self::new(Err(Error::new(kind, format!("{kind:?} here"))), None)
    }

    fn new(answer: Result<AccessToken, Error>, gate: Option<Notify>) -> Arc<Self> {
        Arc::new(Self {
            answer: StdMutex::new(answer),
            asked: AtomicUsize::new(0),
            gate,
        })
    }

    fn gives(&self, secret: &str) {
        *self.answer.lock().unwrap() = Ok(token(secret));
    }

    fn fails(&self, kind: ErrorKind) {
        *self.answer.lock().unwrap() = Err(Error::new(kind, "failed later"));
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Credential for FakeLink {
    async fn token_for(&self, _request: &TokenRequest<'_>) -> Result<AccessToken, Error> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if let Some(gate) = &self.gate {
            gate.notified().await;
        }
        self.answer.lock().unwrap().clone()
    }
}

fn token(secret: &str) -> AccessToken {
    AccessToken::new(secret, SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 40))
}

fn chain(links: [&Arc<FakeLink>; 3]) -> ChainedTokenCredentialBuilder {
    let [a, b, c] = links;
    ChainedTokenCredential::builder()
        .then("a", a.clone())
        .then("b", b.clone())
        .then("c", c.clone())
}

/// What a call that waits for nothing gives.
fn call(chain: &ChainedTokenCredential) -> Result<String, Error> {
    let token = chain.token(&["s"]).now_or_never().expect("the call waits")?;
    Ok(token.secret().to_owned())
}

#[test]
fn goes_on_past_what_is_unavailable_and_nothing_else() {
    for kind in [
        ErrorKind::Configuration,
        ErrorKind::Assertion,
        ErrorKind::Transport,
        ErrorKind::Rejected,
        ErrorKind::Protocol,
    ] {
        let (first, second, third) = (
            FakeLink::failing(ErrorKind::Unavailable),
            FakeLink::failing(kind),
            FakeLink::giving("third"),
        );
        let chain = chain([&first, &second, &third]).build().unwrap();
        let error = call(&chain).unwrap_err();
        assert_eq!(error.kind(), kind);
        assert_eq!(
            error.to_string(),
            format!("the chain stopped at b\n  a: Unavailable here\n  b: {kind:?} here")
        );
        assert_eq!(third.asked(), 0, "{kind:?} stops the chain");
        second.fails(ErrorKind::Unavailable);
        assert_eq!(
            call(&chain).unwrap(),
            "third",
            "once the cause is gone the chain goes on"
        );
    }
}

#[test]
fn the_last_error_has_a_line_for_each_link() {
    let links = [0; 3].map(|_| FakeLink::failing(ErrorKind::Unavailable));
    let chain = chain([&links[0], &links[1], &links[2]]).build().unwrap();
    let error = call(&chain).unwrap_err();
    assert!(error.is_unavailable());
    assert_eq!(
        error.to_string(),
        "no credential of the chain is available here\n  a: Unavailable here\n  b: Unavailable here\n  c: Unavailable here"
    );
    let names: Vec<&str> = error.attempts().iter().map(Attempt::name).collect();
    assert_eq!(names, ["a", "b", "c"]);
    assert!(
        error
            .attempts()
            .iter()
            .all(|attempt| attempt.error().is_unavailable())
    );
}

#[test]
fn an_error_of_the_stopping_link_keeps_what_it_knows() {
    let rejected = Error::new(ErrorKind::Rejected, "no")
        .with_status(http::StatusCode::UNAUTHORIZED)
        .with_oauth_error(Some("invalid_client".into()), vec![700_213]);
    let chain = ChainedTokenCredential::builder()
        .then_error("a", rejected)
        .build()
        .unwrap();
    let error = call(&chain).unwrap_err();
    assert_eq!(error.status(), Some(http::StatusCode::UNAUTHORIZED));
    assert_eq!(error.aadsts_codes(), [700_213]);
}

#[test]
fn the_link_that_first_gave_a_token_is_kept_whatever_it_does_later() {
    let (first, second, third) = (
        FakeLink::failing(ErrorKind::Unavailable),
        FakeLink::giving("second"),
        FakeLink::giving("third"),
    );
    let chain = chain([&first, &second, &third]).build().unwrap();
    assert_eq!(chain.answered_by(), None);
    assert_eq!(call(&chain).unwrap(), "second");
    assert_eq!(chain.answered_by(), Some("b"));
    assert_eq!(
        chain.passed_over().iter().map(Attempt::name).collect::<Vec<_>>(),
        ["a"]
    );
    first.gives("first");
    assert_eq!(call(&chain).unwrap(), "second");
    assert_eq!(first.asked(), 1);
    second.fails(ErrorKind::Unavailable);
    assert_eq!(call(&chain).unwrap_err().to_string(), "failed later");
    assert_eq!(third.asked(), 0);
}

#[test]
fn the_chain_can_be_walked_every_time() {
    let (first, second, third) = (
        FakeLink::failing(ErrorKind::Unavailable),
        FakeLink::giving("second"),
        FakeLink::giving("third"),
    );
    let chain = chain([&first, &second, &third])
        .walk_every_time()
        .build()
        .unwrap();
    assert_eq!(call(&chain).unwrap(), "second");
    first.gives("first");
    assert_eq!(call(&chain).unwrap(), "first");
}

#[tokio::test]
async fn concurrent_first_callers_walk_the_chain_once() {
    let gated = FakeLink::new(
        Err(Error::new(ErrorKind::Unavailable, "not here")),
        Some(Notify::new()),
    );
    let last = FakeLink::giving("last");
    let chain = ChainedTokenCredential::builder()
        .then("gated", gated.clone())
        .then("last", last)
        .build()
        .unwrap();
    let calls: Vec<_> = (0..100)
        .map(|_| {
            let chain = chain.clone();
            tokio::spawn(async move { chain.token(&["s"]).await.map(|token| token.secret().to_owned()) })
        })
        .collect();
    tokio::task::yield_now().await;
    gated.gate.as_ref().unwrap().notify_one();
    for call in join_all(calls).await {
        assert_eq!(call.unwrap().unwrap(), "last");
    }
    assert_eq!(gated.asked(), 1);
}

#[tokio::test]
async fn concurrent_first_callers_share_one_failure() {
    let gated = FakeLink::new(
        Err(Error::new(ErrorKind::Transport, "no answer")),
        Some(Notify::new()),
    );
    let chain = ChainedTokenCredential::builder()
        .then("gated", gated.clone())
        .build()
        .unwrap();
    let start = || {
        let chain = chain.clone();
        tokio::spawn(async move { chain.token(&["s"]).await.map(|_| ()) })
    };
    let calls: Vec<_> = (0..100).map(|_| start()).collect();
    tokio::task::yield_now().await;
    gated.gate.as_ref().unwrap().notify_one();
    for call in join_all(calls).await {
        assert_eq!(call.unwrap().unwrap_err().kind(), ErrorKind::Transport);
    }
    assert_eq!(gated.asked(), 1);
    let later = start();
    gated.gate.as_ref().unwrap().notify_one();
    later.await.unwrap().unwrap_err();
    assert_eq!(gated.asked(), 2, "a later caller walks anew");
}

#[tokio::test]
async fn a_slow_walk_for_one_request_delays_no_other() {
    let slow = FakeLink::new(Ok(token("slow")), Some(Notify::new()));
    let chain = ChainedTokenCredential::builder()
        .then("slow", slow.clone())
        .build()
        .unwrap();
    let start = |scope: &'static str| {
        let chain = chain.clone();
        tokio::spawn(async move { chain.token(&[scope]).await.map(|_| ()) })
    };
    let (first, second) = (start("one"), start("two"));
    while slow.asked() < 2 {
        tokio::task::yield_now().await;
    }
    slow.gate.as_ref().unwrap().notify_waiters();
    first.await.unwrap().unwrap();
    second.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_dropped_walker_leaves_the_walk_to_the_next() {
    let gated = FakeLink::new(Ok(token("gated")), Some(Notify::new()));
    let chain = ChainedTokenCredential::builder()
        .then("gated", gated.clone())
        .build()
        .unwrap();
    assert!(chain.token(&["s"]).now_or_never().is_none());
    gated.gate.as_ref().unwrap().notify_one();
    assert_eq!(call(&chain).unwrap(), "gated");
}

#[test]
fn a_chain_needs_a_link_and_a_request_must_be_right() {
    assert_eq!(
        ChainedTokenCredential::builder().build().unwrap_err().kind(),
        ErrorKind::Configuration
    );
    let link = FakeLink::giving("token");
    let chain = ChainedTokenCredential::builder()
        .then("link", link.clone())
        .build()
        .unwrap();
    let error = chain.token(&["a b"]).now_or_never().unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert_eq!(link.asked(), 0);
}
