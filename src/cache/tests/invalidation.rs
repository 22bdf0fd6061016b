//! Tokens that are cleared, or invalidated because a service rejected them.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_cache_that_is_cleared_has_no_token_and_still_one_exchange_for_each_key() {
    let mut stage = Stage::holding("held", "one").await;
    let call = stage.call("under-way");
    let exchange = stage.fetch().await;
    stage.cache.clear();
    let follower = stage.call("under-way");
    stage.no_fetch().await;
    exchange.grant("two", HOUR);
    assert_eq!(call.await.unwrap().unwrap(), "two");
    assert_eq!(follower.await.unwrap().unwrap(), "two");
    assert!(
        stage
            .cache
            .cached(&TokenRequest::new(&["held"]), AccessToken::clone)
            .is_none()
    );
}

#[tokio::test(start_paused = true)]
async fn a_refused_token_is_forgotten_and_no_other() {
    let mut stage = Stage::holding("s", "one").await;
    let call = stage.call("other");
    stage.fetch().await.grant("of-another", HOUR);
    call.await.unwrap().unwrap();
    let refused = stage
        .cache
        .token(&TokenRequest::new(&["s"]), AccessToken::clone)
        .await
        .unwrap();

    stage.cache.invalidate(&refused);
    let call = stage.call("s");
    stage.fetch().await.grant("two", HOUR);
    assert_eq!(call.await.unwrap().unwrap(), "two");

    stage.cache.invalidate(&refused);
    assert_eq!(stage.at_once("s").unwrap(), "two", "the newer token stays");
    assert_eq!(stage.at_once("other").unwrap(), "of-another");
}

#[tokio::test(start_paused = true)]
async fn a_forgotten_token_stays_forgotten_when_its_refresh_fails() {
    let mut stage = Stage::holding("s", "one").await;
    advance(HOUR / 2).await;
    let refused = stage
        .cache
        .token(&TokenRequest::new(&["s"]), AccessToken::clone)
        .await
        .unwrap();
    let refresh = stage.fetch().await;
    stage.cache.invalidate(&refused);
    refresh.fail(outage());
    settle().await;
    let call = stage.call("s");
    stage.fetch().await.grant("two", HOUR);
    assert_eq!(call.await.unwrap().unwrap(), "two");
}

#[tokio::test(start_paused = true)]
async fn a_rejected_token_starts_at_most_one_fetch_in_thirty_seconds() {
    let mut stage = Stage::holding("s", "one").await;
    let token = |stage: &Stage| {
        stage
            .cache
            .cached(&TokenRequest::new(&["s"]), AccessToken::clone)
            .unwrap()
    };
    stage.cache.invalidate(&token(&stage));
    assert!(stage.fetches("s").await);

    advance(Duration::from_secs(29)).await;
    let second = token(&stage);
    stage.cache.invalidate(&second);
    assert!(!stage.fetches("s").await, "invalidated again within 30 s");
    assert!(token(&stage).is_same_token(&second));

    advance(Duration::from_secs(1)).await;
    stage.cache.invalidate(&second);
    assert!(stage.fetches("s").await);
}
