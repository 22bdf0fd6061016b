//! Callers without a token share one fetch per key.

use futures::future::join_all;

use super::*;

#[tokio::test(start_paused = true)]
async fn fetch_is_awaited_if_callers_wait_and_in_the_background_if_not() {
    let mut test = CacheTest::new();
    let call = test.call("s");
    let fetch = test.next_fetch().await;
    assert_eq!(fetch.urgency, Urgency::Awaited);
    fetch.grant("one", HOUR);
    call.await.unwrap().unwrap();
    advance(HOUR / 2).await;
    test.token_now("s").unwrap();
    assert_eq!(test.next_fetch().await.urgency, Urgency::Background);
}

#[tokio::test(start_paused = true)]
async fn concurrent_cold_callers_share_one_fetch_and_its_token() {
    let mut test = CacheTest::new();
    let calls: Vec<_> = (0..1000).map(|_| test.call("s")).collect();
    let fetch = test.next_fetch().await;
    test.assert_no_fetch().await;
    fetch.grant("one", HOUR);
    for call in join_all(calls).await {
        assert_eq!(call.unwrap().unwrap(), "one");
    }
    test.assert_no_fetch().await;
}

#[tokio::test(start_paused = true)]
async fn concurrent_cold_callers_share_one_fetch_and_its_error() {
    let mut test = CacheTest::new();
    let calls: Vec<_> = (0..1000).map(|_| test.call("s")).collect();
    test.next_fetch().await.fail(transport_error());
    for call in join_all(calls).await {
        assert_eq!(call.unwrap().unwrap_err().to_string(), "the endpoint is down");
    }
    test.assert_no_fetch().await;
}

#[tokio::test(start_paused = true)]
async fn slow_fetch_for_one_key_does_not_delay_other_keys() {
    let mut test = CacheTest::with_token("blob", "one").await;
    let slow = test.call("vault");
    let slow_fetch = test.next_fetch().await;
    assert_eq!(test.token_now("blob").unwrap(), "one");
    let other = test.call("other");
    let fetch = test.next_fetch().await;
    assert_eq!(fetch.scopes, "other");
    fetch.grant("three", HOUR);
    assert_eq!(other.await.unwrap().unwrap(), "three");
    assert!(!slow.is_finished());
    slow_fetch.grant("two", HOUR);
    assert_eq!(slow.await.unwrap().unwrap(), "two");
}

#[tokio::test(start_paused = true)]
async fn fetch_continues_when_its_caller_is_dropped() {
    let mut test = CacheTest::new();
    let call = test.call("s");
    let fetch = test.next_fetch().await;
    let follower = test.call("s");
    settle().await;
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    fetch.grant("one", HOUR);
    assert_eq!(follower.await.unwrap().unwrap(), "one");
    assert_eq!(test.token_now("s").unwrap(), "one");
}

#[tokio::test(start_paused = true)]
async fn waiter_gets_the_cached_token_if_it_is_usable_again_when_the_fetch_fails() {
    let mut test = CacheTest::with_token("s", "one").await;
    test.clock.move_wall(7200);
    let call = test.call("s");
    let fetch = test.next_fetch().await;
    test.clock.move_wall(-7200);
    fetch.fail(transport_error());
    assert_eq!(call.await.unwrap().unwrap(), "one");
}

#[tokio::test(start_paused = true)]
async fn waiters_get_an_error_when_the_source_exceeds_the_fetch_timeout() {
    let mut test = CacheTest::new();
    let start = tokio::time::Instant::now();
    let calls = [test.call("s"), test.call("s")];
    let silent = test.next_fetch().await;
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap_err().kind(), ErrorKind::Transport);
    }
    assert_eq!(start.elapsed(), Duration::from_secs(25));
    assert!(silent.result.is_closed(), "the fetch is dropped");
    advance(Duration::from_secs(1)).await;
    let call = test.call("s");
    test.next_fetch().await.grant("one", HOUR);
    assert_eq!(call.await.unwrap().unwrap(), "one");
}

#[tokio::test]
async fn panic_in_the_source_is_an_error_for_its_callers() {
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
async fn invalid_request_fails_without_a_fetch() {
    let mut test = CacheTest::new();
    assert_eq!(
        test.token_now("a b").unwrap_err().kind(),
        ErrorKind::Configuration
    );
    test.assert_no_fetch().await;
}
