//! Tokens that are cleared, or invalidated because a service rejected them.

use super::*;

#[tokio::test(start_paused = true)]
async fn clear_drops_all_tokens_and_keeps_fetches_in_flight() {
    let mut test = CacheTest::with_token("held", "one").await;
    let call = test.call("in-flight");
    let fetch = test.next_fetch().await;
    test.cache.clear();
    let follower = test.call("in-flight");
    test.assert_no_fetch().await;
    fetch.grant("two", HOUR);
    assert_eq!(call.await.unwrap().unwrap(), "two");
    assert_eq!(follower.await.unwrap().unwrap(), "two");
    assert!(
        test.cache
            .cached(&TokenRequest::new(&["held"]), AccessToken::clone)
            .is_none()
    );
}

#[tokio::test(start_paused = true)]
async fn invalidate_drops_only_the_given_token() {
    let mut test = CacheTest::with_token("s", "one").await;
    let call = test.call("other");
    test.next_fetch().await.grant("of-another", HOUR);
    call.await.unwrap().unwrap();
    let refused = test
        .cache
        .token(&TokenRequest::new(&["s"]), AccessToken::clone)
        .await
        .unwrap();

    test.cache.invalidate(&refused);
    let call = test.call("s");
    test.next_fetch().await.grant("two", HOUR);
    assert_eq!(call.await.unwrap().unwrap(), "two");

    test.cache.invalidate(&refused);
    assert_eq!(test.token_now("s").unwrap(), "two", "the newer token stays");
    assert_eq!(test.token_now("other").unwrap(), "of-another");
}

#[tokio::test(start_paused = true)]
async fn invalidated_token_stays_dropped_when_its_refresh_fails() {
    let mut test = CacheTest::with_token("s", "one").await;
    advance(HOUR / 2).await;
    let refused = test
        .cache
        .token(&TokenRequest::new(&["s"]), AccessToken::clone)
        .await
        .unwrap();
    let refresh = test.next_fetch().await;
    test.cache.invalidate(&refused);
    refresh.fail(transport_error());
    settle().await;
    let call = test.call("s");
    test.next_fetch().await.grant("two", HOUR);
    assert_eq!(call.await.unwrap().unwrap(), "two");
}

#[tokio::test(start_paused = true)]
async fn invalidate_starts_at_most_one_fetch_in_30_seconds() {
    let mut test = CacheTest::with_token("s", "one").await;
    let token = |test: &CacheTest| {
        test.cache
            .cached(&TokenRequest::new(&["s"]), AccessToken::clone)
            .unwrap()
    };
    test.cache.invalidate(&token(&test));
    assert!(test.fetch_if_missing("s").await);

    advance(Duration::from_secs(29)).await;
    let second = token(&test);
    test.cache.invalidate(&second);
    assert!(!test.fetch_if_missing("s").await, "invalidated again within 30 s");
    assert!(token(&test).is_same_token(&second));

    advance(Duration::from_secs(1)).await;
    test.cache.invalidate(&second);
    assert!(test.fetch_if_missing("s").await);
}
