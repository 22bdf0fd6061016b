//! Tokens that are cleared, or invalidated because a service rejected them.

use super::*;

#[tokio::test(start_paused = true)]
async fn clear_drops_all_tokens_and_keeps_fetches_in_flight() {
    let mut test = CacheTest::with_token("cached", "one").await;
    let call = test.call("in-flight");
    let fetch = test.next_fetch().await;
    test.cache.clear();
    let follower = test.call("in-flight");
    test.assert_no_fetch().await;
    fetch.grant("two", HOUR);
    assert_eq!(call.await.unwrap().unwrap(), "two");
    assert_eq!(follower.await.unwrap().unwrap(), "two");
    assert!(test.cached("cached").is_none());
}

#[tokio::test(start_paused = true)]
async fn invalidate_drops_only_the_given_token() {
    let mut test = CacheTest::with_token("s", "one").await;
    let call = test.call("other");
    test.next_fetch().await.grant("three", HOUR);
    call.await.unwrap().unwrap();
    let rejected = test.cached("s").unwrap();

    test.cache.invalidate(&rejected);
    let call = test.call("s");
    test.next_fetch().await.grant("two", HOUR);
    assert_eq!(call.await.unwrap().unwrap(), "two");

    test.cache.invalidate(&rejected);
    assert_eq!(test.token_now("s").unwrap(), "two", "the newer token stays");
    assert_eq!(test.token_now("other").unwrap(), "three");
}

#[tokio::test(start_paused = true)]
async fn invalidated_token_stays_dropped_when_its_refresh_fails() {
    let mut test = CacheTest::with_token("s", "one").await;
    advance(HOUR / 2).await;
    let rejected = test.cached("s").unwrap();
    let refresh = test.next_fetch().await;
    test.cache.invalidate(&rejected);
    refresh.fail(transport_error());
    settle().await;
    let call = test.call("s");
    test.next_fetch().await.grant("two", HOUR);
    assert_eq!(call.await.unwrap().unwrap(), "two");
}

#[tokio::test(start_paused = true)]
async fn invalidate_starts_at_most_one_fetch_in_30_seconds() {
    let mut test = CacheTest::with_token("s", "one").await;
    test.cache.invalidate(&test.cached("s").unwrap());
    assert!(test.fetch_if_missing("s").await);

    advance(Duration::from_secs(29)).await;
    let second = test.cached("s").unwrap();
    test.cache.invalidate(&second);
    assert!(!test.fetch_if_missing("s").await, "invalidated again within 30 s");
    assert!(test.cached("s").unwrap().is_same_token(&second));

    advance(Duration::from_secs(1)).await;
    test.cache.invalidate(&second);
    assert!(test.fetch_if_missing("s").await);
}
