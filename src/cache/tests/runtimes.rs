//! Fetches whose runtime shuts down, is not run any more, or is missing.

use super::*;

#[test]
fn fetch_is_restarted_when_its_runtime_shuts_down() {
    let start = || {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_time()
            .build()
            .unwrap()
    };
    let first = start();
    let mut test = first.block_on(async { CacheTest::new() });
    let _caller = first.spawn({
        let cache = test.cache.clone();
        async move {
            cache
                .token(&TokenRequest::new(&["s"]), AccessToken::clone)
                .await
                .map(|_| ())
        }
    });
    let pending = first.block_on(test.next_fetch());
    first.shutdown_timeout(Duration::from_secs(10));
    assert!(pending.result.is_closed());

    let second = start();
    let token = second.block_on(async {
        let call = test.call("s");
        test.next_fetch().await.grant("two", HOUR);
        call.await.unwrap()
    });
    assert_eq!(token.unwrap(), "two");
}

#[test]
fn fetch_is_restarted_when_its_runtime_is_no_longer_driven() {
    let (stopped, driven) = (paused_runtime(), paused_runtime());
    let test = stopped.block_on(async {
        let test = CacheTest::new();
        // Starts the fetch, whose runtime is not driven any more.
        let scopes = ["s"];
        let request = TokenRequest::new(&scopes);
        assert!(futures::FutureExt::now_or_never(test.cache.token(&request, AccessToken::clone)).is_none());
        test
    });
    let token = driven.block_on(async {
        let mut test = test;
        let call = test.call("s");
        test.next_fetch().await.grant("two", HOUR);
        call.await.unwrap()
    });
    assert_eq!(token.unwrap(), "two");
}

#[test]
fn lost_fetch_is_not_started_when_its_runtime_is_driven_again() {
    let runtime = paused_runtime();
    let mut test = runtime.block_on(CacheTest::with_token("s", "one"));
    // Drives only the call, not the refresh that it starts.
    let call = |test: &CacheTest| runtime.block_on(async { test.token_now("s") }).unwrap();
    let wait = |seconds| runtime.block_on(advance(Duration::from_secs(seconds)));
    wait(1800);
    for _ in 0..3 {
        call(&test);
        wait(31);
    }
    call(&test);
    runtime.block_on(async {
        test.next_fetch().await.grant("two", HOUR);
        test.assert_no_fetch().await;
    });
}

#[test]
fn fetch_is_restarted_when_a_panic_drops_its_runtime() {
    let (dropped, driven) = (paused_runtime(), paused_runtime());
    let (mut test, _pending) = dropped.block_on(async {
        let mut test = CacheTest::new();
        let _caller = test.call("s");
        let pending = test.next_fetch().await;
        (test, pending)
    });
    let (waiting,) = driven.block_on(async {
        let waiting = test.call("s");
        test.assert_no_fetch().await;
        (waiting,)
    });
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _dropped = dropped;
        panic!("a bug elsewhere");
    }));
    panic.unwrap_err();
    let token = driven.block_on(async {
        test.next_fetch().await.grant("two", HOUR);
        waiting.await.unwrap()
    });
    assert_eq!(token.unwrap(), "two");
}

#[test]
fn lost_fetch_that_ends_late_does_not_end_the_fetch_that_replaced_it() {
    let (stopped, driven) = (paused_runtime(), paused_runtime());
    let (mut test, late) = stopped.block_on(async {
        let mut test = CacheTest::new();
        let _caller = test.call("s");
        let late = test.next_fetch().await;
        (test, late)
    });
    let (call, second) = driven.block_on(async {
        let call = test.call("s");
        let second = test.next_fetch().await;
        late.grant("late", HOUR);
        (call, second)
    });
    stopped.block_on(settle());
    driven.block_on(async {
        let token = test.cached("s").unwrap();
        assert_eq!(token.secret(), "late");
        test.cache.invalidate(&token);
        let next = test.call("s");
        test.assert_no_fetch().await;
        second.grant("two", HOUR);
        assert_eq!(call.await.unwrap().unwrap(), "two");
        assert_eq!(next.await.unwrap().unwrap(), "two");
    });
}

#[test]
fn lost_fetch_that_ends_late_does_not_replace_a_newer_token() {
    let (stopped, driven) = (paused_runtime(), paused_runtime());
    let (mut test, late) = stopped.block_on(async {
        let mut test = CacheTest::new();
        let _caller = test.call("s");
        let late = test.next_fetch().await;
        (test, late)
    });
    driven.block_on(async {
        let call = test.call("s");
        test.next_fetch().await.grant("newer", HOUR);
        assert_eq!(call.await.unwrap().unwrap(), "newer");
    });
    late.grant("older", HOUR);
    stopped.block_on(settle());
    driven.block_on(async {
        assert_eq!(test.token_now("s").unwrap(), "newer");
        test.assert_no_fetch().await;
    });
}

#[test]
fn fetch_without_a_runtime_is_a_configuration_error() {
    let runtime = paused_runtime();
    let test = runtime.block_on(CacheTest::with_token("s", "one"));
    let other = TokenRequest::new(&["other"]);
    let error = futures::executor::block_on(test.cache.token(&other, AccessToken::clone)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
}

#[test]
fn fetch_on_a_runtime_without_a_timer_is_a_configuration_error() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let cache = Cache::new(
        Arc::new(PanickingSource),
        Arc::new(SystemClock::new()),
        HOUR,
        MAX_SLOTS,
    );
    let error = runtime
        .block_on(cache.token(&TokenRequest::new(&["s"]), AccessToken::clone))
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert!(error.to_string().contains("enable_time()"), "{error}");
}
