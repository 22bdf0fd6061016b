//! When a failed fetch is repeated: the pause of a refresh, and the cooldown of a key without a token.

use super::*;

#[tokio::test(start_paused = true)]
async fn who_comes_to_wait_for_a_refresh_that_fails_gets_an_exchange_that_is_awaited() {
    let mut stage = Stage::holding("s", "one").await;
    advance(Duration::from_secs(3590)).await;
    assert_eq!(stage.at_once("s").unwrap(), "one");
    let refresh = stage.fetch().await;
    assert_eq!(refresh.urgency, Urgency::Background);
    advance(Duration::from_secs(11)).await;
    let call = stage.call("s");
    stage.no_fetch().await;
    refresh.fail(outage());
    let exchange = stage.fetch().await;
    assert_eq!(exchange.urgency, Urgency::Awaited);
    exchange.grant("two", HOUR);
    assert_eq!(call.await.unwrap().unwrap(), "two");
}

#[tokio::test(start_paused = true)]
async fn a_refresh_that_fails_after_the_expiry_cools_nothing_down() {
    let mut stage = Stage::holding("s", "one").await;
    advance(Duration::from_secs(3590)).await;
    assert_eq!(stage.at_once("s").unwrap(), "one");
    let refresh = stage.fetch().await;
    advance(Duration::from_secs(11)).await;
    refresh.fail(outage());
    settle().await;
    let call = stage.call("s");
    stage.fetch().await.grant("two", HOUR);
    assert_eq!(call.await.unwrap().unwrap(), "two");
}

#[tokio::test(start_paused = true)]
async fn a_source_that_always_does_its_best_is_not_asked_twice() {
    let mut stage = Stage::of_a_source(false);
    let call = stage.call("s");
    stage.fetch().await.grant("one", HOUR);
    call.await.unwrap().unwrap();
    advance(Duration::from_secs(3590)).await;
    stage.at_once("s").unwrap();
    let refresh = stage.fetch().await;
    advance(Duration::from_secs(11)).await;
    let call = stage.call("s");
    stage.no_fetch().await;
    refresh.fail(outage());
    call.await.unwrap().unwrap_err();
    stage.at_once("s").unwrap_err();
    stage.no_fetch().await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_asks_for_peace_gets_it_though_the_token_ends_during_its_refresh() {
    let mut stage = Stage::holding("s", "one").await;
    advance(Duration::from_secs(3590)).await;
    stage.at_once("s").unwrap();
    let refresh = stage.fetch().await;
    advance(Duration::from_secs(11)).await;
    let call = stage.call("s");
    stage.no_fetch().await;
    refresh.fail(outage().with_retry_after(Some(Duration::from_secs(300))));
    call.await.unwrap().unwrap_err();
    advance(Duration::from_secs(299)).await;
    stage.at_once("s").unwrap_err();
    stage.no_fetch().await;
}

#[tokio::test(start_paused = true)]
async fn a_refresh_that_reaches_no_server_is_tried_again_soon_however_often_it_fails() {
    let mut stage = Stage::holding("s", "one").await;
    advance(HOUR / 2).await;
    for _ in 0..5 {
        assert_eq!(stage.at_once("s").unwrap(), "one");
        stage
            .fetch()
            .await
            .fail(Error::assertion("the token file is missing"));
        settle().await;
        advance(Duration::from_secs(30)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_refresh_is_tried_again_30_seconds_later() {
    let mut stage = Stage::holding("s", "one").await;
    advance(HOUR / 2).await;
    stage.at_once("s").unwrap();
    let refresh = stage.fetch().await;
    advance(Duration::from_secs(10)).await;
    refresh.fail(outage());
    settle().await;
    advance(Duration::from_millis(29_999)).await;
    assert_eq!(stage.at_once("s").unwrap(), "one");
    stage.no_fetch().await;
    advance(Duration::from_millis(1)).await;
    assert_eq!(stage.at_once("s").unwrap(), "one");
    stage.fetch().await;
}

#[tokio::test(start_paused = true)]
async fn a_refresh_is_not_tried_again_before_the_server_allows() {
    let mut stage = Stage::holding("s", "one").await;
    advance(HOUR / 2).await;
    stage.at_once("s").unwrap();
    stage
        .fetch()
        .await
        .fail(outage().with_retry_after(Some(Duration::from_secs(120))));
    settle().await;
    advance(Duration::from_secs(119)).await;
    stage.at_once("s").unwrap();
    stage.no_fetch().await;
    advance(Duration::from_secs(1)).await;
    stage.at_once("s").unwrap();
    stage.fetch().await;
}

#[tokio::test(start_paused = true)]
async fn after_a_failure_a_cold_key_cools_down_for_longer_and_longer() {
    let mut stage = Stage::new();
    for pause in [1, 2, 4, 8, 16, 30, 30] {
        let call = stage.call("s");
        stage.fetch().await.fail(outage());
        call.await.unwrap().unwrap_err();
        advance(
            Duration::from_secs(pause)
                .checked_sub(Duration::from_millis(1))
                .unwrap(),
        )
        .await;
        assert_eq!(
            stage.at_once("s").unwrap_err().to_string(),
            "the endpoint is down"
        );
        stage.no_fetch().await;
        advance(Duration::from_millis(1)).await;
    }
    let call = stage.call("s");
    stage.fetch().await.grant("one", HOUR);
    assert_eq!(call.await.unwrap().unwrap(), "one");

    advance(HOUR).await;
    let call = stage.call("s");
    stage
        .fetch()
        .await
        .fail(outage().with_retry_after(Some(Duration::from_secs(7))));
    call.await.unwrap().unwrap_err();
    advance(Duration::from_millis(6999)).await;
    stage.at_once("s").unwrap_err();
    advance(Duration::from_millis(1)).await;
    let call = stage.call("s");
    stage.fetch().await.grant("two", HOUR);
    assert_eq!(call.await.unwrap().unwrap(), "two");
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_reached_no_server_is_tried_again_at_the_next_call() {
    let mut stage = Stage::new();
    let call = stage.call("s");
    stage
        .fetch()
        .await
        .fail(Error::assertion("the token file is missing"));
    assert_eq!(call.await.unwrap().unwrap_err().kind(), ErrorKind::Assertion);
    let call = stage.call("s");
    stage.fetch().await.grant("one", HOUR);
    assert_eq!(call.await.unwrap().unwrap(), "one");
}
