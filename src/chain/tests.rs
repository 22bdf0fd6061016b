//! The rules of a chain, tested with links whose result each test sets.
#![allow(clippy::disallowed_methods, reason = "tests start tasks")]

mod concurrent_walks;

use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use futures::FutureExt;
use futures::future::join_all;
use tokio::sync::Notify;

use super::*;
use crate::error::ErrorKind;

/// A link that returns the result that was set last, and counts its calls.
#[derive(Debug)]
struct FakeLink {
    result: Mutex<Result<AccessToken, Error>>,
    calls: AtomicUsize,
    /// If it is set, each call waits for a notification first.
    gate: Option<Notify>,
}

impl FakeLink {
    fn returning(secret: &str) -> Arc<Self> {
        Self::new(Ok(token(secret)), None)
    }

    fn failing(kind: ErrorKind) -> Arc<Self> {
        Self::new(Err(Error::new(kind, format!("{kind:?} here"))), None)
    }

    fn new(result: Result<AccessToken, Error>, gate: Option<Notify>) -> Arc<Self> {
        Arc::new(Self {
            result: Mutex::new(result),
            calls: AtomicUsize::new(0),
            gate,
        })
    }

    fn set_token(&self, secret: &str) {
        *self.result.lock().unwrap() = Ok(token(secret));
    }

    fn set_error(&self, kind: ErrorKind) {
        *self.result.lock().unwrap() = Err(Error::new(kind, "failed later"));
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Credential for FakeLink {
    async fn token_for(&self, _request: &TokenRequest<'_>) -> Result<AccessToken, Error> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        if let Some(gate) = &self.gate {
            gate.notified().await;
        }
        self.result.lock().unwrap().clone()
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

/// The result of a call that does not have to wait.
fn call(chain: &ChainedTokenCredential) -> Result<String, Error> {
    let token = chain
        .token(&["s"])
        .now_or_never()
        .expect("the call does not wait")?;
    Ok(token.secret().to_owned())
}

#[test]
fn walk_continues_past_unavailable_links_only() {
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
            FakeLink::returning("third"),
        );
        let chain = chain([&first, &second, &third]).build().unwrap();
        let error = call(&chain).unwrap_err();
        assert_eq!(error.kind(), kind);
        assert_eq!(
            error.to_string(),
            format!("the chain stopped at b: {kind:?} here")
        );
        assert_eq!(
            format!("{error:#}"),
            format!("the chain stopped at b: {kind:?} here\n  a: Unavailable here\n  b: {kind:?} here")
        );
        assert_eq!(third.calls(), 0, "{kind:?} stops the chain");
        second.set_error(ErrorKind::Unavailable);
        assert_eq!(
            call(&chain).unwrap(),
            "third",
            "the chain continues once the link is unavailable"
        );
    }
}

#[test]
fn walk_calls_no_further_link_after_another_walk_has_selected_one() {
    let first = FakeLink::new(Ok(token("first")), Some(Notify::new()));
    let (second, third) = (FakeLink::returning("second"), FakeLink::returning("third"));
    let chain = chain([&first, &second, &third]).build().unwrap();
    let [mut selecting, mut waiting] = [&["s"], &["t"]].map(|scopes| Box::pin(chain.token(scopes)));
    assert!((&mut selecting).now_or_never().is_none());
    assert!((&mut waiting).now_or_never().is_none());

    first.gate.as_ref().unwrap().notify_one();
    assert_eq!(selecting.now_or_never().unwrap().unwrap().secret(), "first");
    first.set_error(ErrorKind::Unavailable);
    first.gate.as_ref().unwrap().notify_one();
    assert!(
        (&mut waiting).now_or_never().is_none(),
        "it calls the selected link again"
    );
    assert_eq!((first.calls(), second.calls(), third.calls()), (3, 0, 0));

    first.set_token("again");
    first.gate.as_ref().unwrap().notify_one();
    assert_eq!(waiting.now_or_never().unwrap().unwrap().secret(), "again");
}

#[test]
fn error_is_one_line_and_has_all_links_in_its_alternate_form() {
    let links = [0; 3].map(|_| FakeLink::failing(ErrorKind::Unavailable));
    let chain = chain([&links[0], &links[1], &links[2]]).build().unwrap();
    let error = call(&chain).unwrap_err();
    assert!(error.is_unavailable());
    let line = "no credential of the chain is available here: a: Unavailable here; b: Unavailable here; c: Unavailable here";
    assert_eq!(error.to_string(), line);
    assert_eq!(
        format!("{error:#}"),
        format!("{line}\n  a: Unavailable here\n  b: Unavailable here\n  c: Unavailable here")
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
fn error_of_a_nested_chain_is_one_line_and_an_indented_table() {
    let inner = ChainedTokenCredential::builder()
        .then("inner", FakeLink::failing(ErrorKind::Rejected))
        .build()
        .unwrap();
    let outer = ChainedTokenCredential::builder()
        .then("outer", inner)
        .build()
        .unwrap();
    let error = call(&outer).unwrap_err();
    let line = "the chain stopped at outer: the chain stopped at inner: Rejected here";
    assert_eq!(error.to_string(), line);
    assert_eq!(
        format!("{error:#}"),
        format!("{line}\n  outer: the chain stopped at inner: Rejected here\n    inner: Rejected here")
    );
}

#[test]
fn error_of_the_stopping_link_keeps_its_details() {
    let rejected = Error::new(ErrorKind::Rejected, "no")
        .with_status(http::StatusCode::UNAUTHORIZED)
        .with_oauth_error("invalid_client")
        .with_aadsts_codes([700_213]);
    let chain = ChainedTokenCredential::builder()
        .then_error("a", rejected)
        .build()
        .unwrap();
    let error = call(&chain).unwrap_err();
    assert_eq!(error.status(), Some(http::StatusCode::UNAUTHORIZED));
    assert_eq!(error.aadsts_codes(), [700_213]);
}

#[test]
fn first_link_with_a_token_stays_selected_after_errors() {
    let (first, second, third) = (
        FakeLink::failing(ErrorKind::Unavailable),
        FakeLink::returning("second"),
        FakeLink::returning("third"),
    );
    let chain = chain([&first, &second, &third]).build().unwrap();
    assert_eq!(chain.selected(), None);
    assert_eq!(call(&chain).unwrap(), "second");
    assert_eq!(chain.selected(), Some("b"));
    let identity = chain.check(&["s"]).now_or_never().unwrap().unwrap();
    let skipped = identity.skipped().iter().map(Attempt::name);
    assert_eq!(skipped.collect::<Vec<_>>(), ["a"]);
    first.set_token("first");
    assert_eq!(call(&chain).unwrap(), "second");
    assert_eq!(first.calls(), 1);
    second.set_error(ErrorKind::Unavailable);
    assert_eq!(call(&chain).unwrap_err().to_string(), "failed later");
    assert_eq!(third.calls(), 0);
}

#[test]
fn walk_every_time_uses_an_earlier_link_once_it_is_available() {
    let (first, second, third) = (
        FakeLink::failing(ErrorKind::Unavailable),
        FakeLink::returning("second"),
        FakeLink::returning("third"),
    );
    let chain = chain([&first, &second, &third])
        .walk_every_time()
        .build()
        .unwrap();
    assert_eq!(call(&chain).unwrap(), "second");
    first.set_token("first");
    assert_eq!(call(&chain).unwrap(), "first");
}

#[tokio::test]
async fn concurrent_first_callers_share_one_walk() {
    let gated = FakeLink::new(
        Err(Error::new(ErrorKind::Unavailable, "not here")),
        Some(Notify::new()),
    );
    let last = FakeLink::returning("last");
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
    assert_eq!(gated.calls(), 1);
}

#[tokio::test]
async fn concurrent_first_callers_share_one_error() {
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
    assert_eq!(gated.calls(), 1);
    let later = start();
    gated.gate.as_ref().unwrap().notify_one();
    later.await.unwrap().unwrap_err();
    assert_eq!(gated.calls(), 2, "a later caller starts another walk");
}

#[tokio::test]
async fn slow_walk_for_one_request_does_not_delay_another() {
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
    while slow.calls() < 2 {
        tokio::task::yield_now().await;
    }
    slow.gate.as_ref().unwrap().notify_waiters();
    first.await.unwrap().unwrap();
    second.await.unwrap().unwrap();
}

#[tokio::test]
async fn dropped_caller_does_not_block_the_next_walk() {
    let gated = FakeLink::new(Ok(token("gated")), Some(Notify::new()));
    let chain = ChainedTokenCredential::builder()
        .then("gated", gated.clone())
        .build()
        .unwrap();
    assert!(chain.token(&["s"]).now_or_never().is_none());
    gated.gate.as_ref().unwrap().notify_one();
    assert_eq!(call(&chain).unwrap(), "gated");
}

/// A link whose first call never returns.
#[derive(Debug, Default)]
struct HangsOnce(AtomicUsize);

#[async_trait]
impl Credential for HangsOnce {
    async fn token_for(&self, _request: &TokenRequest<'_>) -> Result<AccessToken, Error> {
        if self.0.fetch_add(1, Ordering::SeqCst) == 0 {
            std::future::pending::<()>().await;
        }
        Ok(token("second call"))
    }
}

/// The caller that walks may belong to a runtime that no thread runs.
#[tokio::test(start_paused = true)]
async fn waiters_start_another_walk_when_a_walk_is_lost() {
    let link = Link::new("link", Ok(Arc::new(HangsOnce::default())));
    let chain = Chain::new(vec![link], None, true).unwrap();
    let request = TokenRequest::new(&["s"]);
    let mut lost = Box::pin(chain.token(&request, Clone::clone));
    assert!((&mut lost).now_or_never().is_none());
    let waiters = [(); 2].map(|()| chain.token(&request, |token| token.secret().to_owned()));
    for waiter in join_all(waiters).await {
        assert_eq!(waiter.unwrap(), "second call");
    }
    drop(lost);
    assert_eq!(chain.walks.len(), 0);
}

#[test]
fn end_of_a_lost_walk_leaves_its_successor() {
    let walks = Walks::default();
    let key = || Key::of(&TokenRequest::new(&["s"])).unwrap();
    let (lost, waiter) = (walks.join(key()), walks.join(key()));
    let successor = waiter.replace();
    lost.end();
    assert_eq!(walks.len(), 1);
    successor.end();
    assert_eq!(walks.len(), 0);
}

#[test]
fn dropped_callers_leave_no_walk_behind() {
    let link = FakeLink::new(Ok(token("slow")), Some(Notify::new()));
    let link = Link::new("slow", Ok(link));
    let chain = Chain::new(vec![link], None, true).unwrap();
    for scope in 0..100 {
        let scope = [&*scope.to_string()];
        let request = TokenRequest::new(&scope);
        let mut callers = [
            Box::pin(chain.token(&request, Clone::clone)),
            Box::pin(chain.token(&request, Clone::clone)),
        ];
        for caller in &mut callers {
            assert!(caller.now_or_never().is_none());
        }
        assert_eq!(chain.walks.len(), 1, "both callers share a walk");
    }
    assert_eq!(chain.walks.len(), 0);
}

#[test]
fn build_rejects_an_empty_chain_and_token_an_invalid_scope() {
    assert_eq!(
        ChainedTokenCredential::builder().build().unwrap_err().kind(),
        ErrorKind::Configuration
    );
    let link = FakeLink::returning("token");
    let chain = ChainedTokenCredential::builder()
        .then("link", link.clone())
        .build()
        .unwrap();
    let error = chain.token(&["a b"]).now_or_never().unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert_eq!(link.calls(), 0);
}
