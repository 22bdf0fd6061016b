//! What becomes of an exchange when its runtime shuts down, stands still, or is not there.

use super::*;

#[test]
fn a_runtime_that_shuts_down_in_the_middle_of_an_exchange_leaves_the_key_usable() {
    let start = || {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_time()
            .build()
            .unwrap()
    };
    let first = start();
    let mut stage = first.block_on(async { Stage::new() });
    let _caller = first.spawn({
        let cache = stage.cache.clone();
        async move {
            cache
                .token(&TokenRequest::new(&["s"]), AccessToken::clone)
                .await
                .map(|_| ())
        }
    });
    let unanswered = first.block_on(stage.fetch());
    first.shutdown_timeout(Duration::from_secs(10));
    assert!(unanswered.answer.is_closed());

    let second = start();
    let token = second.block_on(async {
        let call = stage.call("s");
        stage.fetch().await.grant("two", HOUR);
        call.await.unwrap()
    });
    assert_eq!(token.unwrap(), "two");
}

#[test]
fn a_runtime_that_is_no_longer_driven_does_not_hang_a_key_for_ever() {
    let (frozen, driven) = (paused_runtime(), paused_runtime());
    let stage = frozen.block_on(async {
        let stage = Stage::new();
        // Polled once: the exchange is started, and its runtime never runs again.
        let scopes = ["s"];
        let request = TokenRequest::new(&scopes);
        assert!(futures::FutureExt::now_or_never(stage.cache.token(&request, AccessToken::clone)).is_none());
        stage
    });
    let token = driven.block_on(async {
        let mut stage = stage;
        let call = stage.call("s");
        stage.fetch().await.grant("two", HOUR);
        call.await.unwrap()
    });
    assert_eq!(token.unwrap(), "two");
}

#[test]
fn an_exchange_that_was_given_up_before_its_runtime_came_to_it_is_not_begun() {
    let runtime = paused_runtime();
    let mut stage = runtime.block_on(Stage::holding("s", "one"));
    // A call that does not wait is all that is polled: not the refresh that it starts.
    let call = |stage: &Stage| runtime.block_on(async { stage.at_once("s") }).unwrap();
    let wait = |seconds| runtime.block_on(advance(Duration::from_secs(seconds)));
    wait(1800);
    for _ in 0..3 {
        call(&stage);
        wait(31);
    }
    call(&stage);
    runtime.block_on(async {
        stage.fetch().await.grant("two", HOUR);
        stage.no_fetch().await;
    });
}

#[test]
fn a_panic_that_takes_a_runtime_down_is_not_the_sources() {
    let (dying, driven) = (paused_runtime(), paused_runtime());
    let (mut stage, _unanswered) = dying.block_on(async {
        let mut stage = Stage::new();
        let _caller = stage.call("s");
        let unanswered = stage.fetch().await;
        (stage, unanswered)
    });
    let (waiting,) = driven.block_on(async {
        let waiting = stage.call("s");
        stage.no_fetch().await;
        (waiting,)
    });
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _dying = dying;
        panic!("a bug elsewhere");
    }));
    panic.unwrap_err();
    let token = driven.block_on(async {
        stage.fetch().await.grant("two", HOUR);
        waiting.await.unwrap()
    });
    assert_eq!(token.unwrap(), "two");
}

#[test]
fn an_exchange_that_was_given_up_and_ends_after_all_does_not_end_the_one_that_took_its_place() {
    let (frozen, driven) = (paused_runtime(), paused_runtime());
    let (mut stage, late) = frozen.block_on(async {
        let mut stage = Stage::new();
        let _caller = stage.call("s");
        let late = stage.fetch().await;
        (stage, late)
    });
    let (call, second) = driven.block_on(async {
        let call = stage.call("s");
        let second = stage.fetch().await;
        late.grant("late", HOUR);
        (call, second)
    });
    frozen.block_on(settle());
    driven.block_on(async {
        let token = stage
            .cache
            .cached(&TokenRequest::new(&["s"]), AccessToken::clone)
            .unwrap();
        assert_eq!(token.secret(), "late");
        stage.cache.invalidate(&token);
        let next = stage.call("s");
        stage.no_fetch().await;
        second.grant("two", HOUR);
        assert_eq!(call.await.unwrap().unwrap(), "two");
        assert_eq!(next.await.unwrap().unwrap(), "two");
    });
}

#[test]
fn without_a_runtime_there_is_an_error_and_no_panic() {
    let runtime = paused_runtime();
    let stage = runtime.block_on(Stage::holding("s", "one"));
    let other = TokenRequest::new(&["other"]);
    let error = futures::executor::block_on(stage.cache.token(&other, AccessToken::clone)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
}
