//! Callers without a token share one fetch per key.

use futures::future::join_all;

use super::*;

#[tokio::test(start_paused = true)]
async fn a_source_is_told_whether_somebody_waits() {
    let mut stage = Stage::new();
    let call = stage.call("s");
    let exchange = stage.fetch().await;
    assert_eq!(exchange.urgency, Urgency::Awaited);
    exchange.grant("one", HOUR);
    call.await.unwrap().unwrap();
    advance(HOUR / 2).await;
    stage.at_once("s").unwrap();
    assert_eq!(stage.fetch().await.urgency, Urgency::Background);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_cold_callers_share_one_exchange_and_its_token() {
    let mut stage = Stage::new();
    let calls: Vec<_> = (0..1000).map(|_| stage.call("s")).collect();
    let exchange = stage.fetch().await;
    stage.no_fetch().await;
    exchange.grant("one", HOUR);
    for call in join_all(calls).await {
        assert_eq!(call.unwrap().unwrap(), "one");
    }
    stage.no_fetch().await;
}

#[tokio::test(start_paused = true)]
async fn a_thousand_cold_callers_share_one_exchange_and_its_error() {
    let mut stage = Stage::new();
    let calls: Vec<_> = (0..1000).map(|_| stage.call("s")).collect();
    stage.fetch().await.fail(outage());
    for call in join_all(calls).await {
        assert_eq!(call.unwrap().unwrap_err().to_string(), "the endpoint is down");
    }
    stage.no_fetch().await;
}

#[tokio::test(start_paused = true)]
async fn a_slow_exchange_for_one_key_delays_no_other() {
    let mut stage = Stage::holding("blob", "one").await;
    let slow = stage.call("vault");
    let slow_exchange = stage.fetch().await;
    assert_eq!(stage.at_once("blob").unwrap(), "one");
    let other = stage.call("other");
    let exchange = stage.fetch().await;
    assert_eq!(exchange.scopes, "other");
    exchange.grant("three", HOUR);
    assert_eq!(other.await.unwrap().unwrap(), "three");
    assert!(!slow.is_finished());
    slow_exchange.grant("two", HOUR);
    assert_eq!(slow.await.unwrap().unwrap(), "two");
}

#[tokio::test(start_paused = true)]
async fn a_dropped_caller_stops_nothing() {
    let mut stage = Stage::new();
    let call = stage.call("s");
    let exchange = stage.fetch().await;
    let follower = stage.call("s");
    settle().await;
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    exchange.grant("one", HOUR);
    assert_eq!(follower.await.unwrap().unwrap(), "one");
    assert_eq!(stage.at_once("s").unwrap(), "one");
}

#[tokio::test(start_paused = true)]
async fn who_waits_gets_the_token_that_is_good_again_and_not_the_error_of_its_refresh() {
    let mut stage = Stage::holding("s", "one").await;
    stage.clock.move_wall(7200);
    let call = stage.call("s");
    let exchange = stage.fetch().await;
    stage.clock.move_wall(-7200);
    exchange.fail(outage());
    assert_eq!(call.await.unwrap().unwrap(), "one");
}

#[tokio::test(start_paused = true)]
async fn a_source_that_stays_silent_costs_its_callers_the_patience_of_the_cache_and_no_more() {
    let mut stage = Stage::new();
    let start = tokio::time::Instant::now();
    let calls = [stage.call("s"), stage.call("s")];
    let silent = stage.fetch().await;
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap_err().kind(), ErrorKind::Transport);
    }
    assert_eq!(start.elapsed(), Duration::from_secs(25));
    assert!(silent.answer.is_closed(), "the source is dropped");
    advance(Duration::from_secs(1)).await;
    let call = stage.call("s");
    stage.fetch().await.grant("one", HOUR);
    assert_eq!(call.await.unwrap().unwrap(), "one");
}

#[tokio::test]
async fn a_source_that_panics_is_an_error_for_its_callers_and_no_hang() {
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
async fn a_request_that_cannot_be_right_reaches_no_source() {
    let mut stage = Stage::new();
    assert_eq!(stage.at_once("a b").unwrap_err().kind(), ErrorKind::Configuration);
    stage.no_fetch().await;
}
