//! What a caller gets while its token is fresh, stale or expired.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_fresh_token_is_given_without_another_exchange() {
    let mut stage = Stage::holding("s", "one").await;
    advance(HOUR / 3).await;
    assert_eq!(stage.at_once("s").unwrap(), "one");
    stage.no_fetch().await;
}

#[tokio::test(start_paused = true)]
async fn a_stale_token_is_given_at_once_while_one_refresh_runs_behind() {
    let mut stage = Stage::holding("s", "one").await;
    advance(HOUR / 2).await;
    for _ in 0..1000 {
        assert_eq!(stage.at_once("s").unwrap(), "one");
    }
    let refresh = stage.fetch().await;
    stage.no_fetch().await;
    assert_eq!(stage.at_once("s").unwrap(), "one");
    refresh.grant("two", HOUR);
    settle().await;
    assert_eq!(stage.at_once("s").unwrap(), "two");
}

#[tokio::test(start_paused = true)]
async fn an_expired_token_is_never_given() {
    let mut stage = Stage::holding("s", "one").await;
    advance(HOUR).await;
    let call = stage.call("s");
    let exchange = stage.fetch().await;
    assert!(!call.is_finished());
    exchange.fail(outage());
    assert_eq!(call.await.unwrap().unwrap_err().kind(), ErrorKind::Transport);
}

#[tokio::test(start_paused = true)]
async fn a_newer_token_that_lives_shorter_takes_the_place_of_an_older_one() {
    let mut stage = Stage::holding("s", "one").await;
    advance(HOUR / 2).await;
    stage.at_once("s").unwrap();
    stage.fetch().await.grant("two", HOUR / 12);
    settle().await;
    assert_eq!(stage.at_once("s").unwrap(), "two");
}

#[tokio::test(start_paused = true)]
async fn a_token_tells_when_its_next_refresh_is_due() {
    let mut stage = Stage::holding("s", "one").await;
    let token = stage
        .cache
        .token(&TokenRequest::new(&["s"]), AccessToken::clone)
        .await
        .unwrap();
    let until_refresh = token
        .refresh_on()
        .duration_since(stage.clock.now().system_time)
        .unwrap();
    assert!(
        until_refresh <= HOUR / 2 && until_refresh >= HOUR / 3,
        "{until_refresh:?}"
    );
    advance(HOUR / 2).await;
    stage.at_once("s").unwrap();
    stage.fetch().await.fail(outage());
    settle().await;
    let token = stage
        .cache
        .token(&TokenRequest::new(&["s"]), AccessToken::clone)
        .await
        .unwrap();
    let until_refresh = token
        .refresh_on()
        .duration_since(stage.clock.now().system_time)
        .unwrap();
    assert_eq!(until_refresh, Duration::from_secs(30));
}

#[tokio::test(start_paused = true)]
async fn a_token_that_has_expired_on_its_way_does_not_take_the_place_of_a_good_one() {
    let mut stage = Stage::holding("s", "one").await;
    advance(HOUR / 2).await;
    assert_eq!(stage.at_once("s").unwrap(), "one");
    let refresh = stage.fetch().await;
    advance(Duration::from_secs(6)).await;
    refresh.grant("dead", Duration::from_secs(5));
    settle().await;
    assert_eq!(stage.at_once("s").unwrap(), "one");
    stage.no_fetch().await;
    advance(Duration::from_secs(30)).await;
    assert_eq!(stage.at_once("s").unwrap(), "one");
    stage.fetch().await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_grants_dead_tokens_is_left_alone_for_a_while() {
    let mut stage = Stage::new();
    let call = stage.call("s");
    for _ in 0..2 {
        let exchange = stage.fetch().await;
        advance(Duration::from_secs(6)).await;
        exchange.grant("dead", Duration::from_secs(5));
    }
    assert_eq!(call.await.unwrap().unwrap_err().kind(), ErrorKind::Transport);
    stage.at_once("s").unwrap_err();
    stage.no_fetch().await;
}

#[tokio::test(start_paused = true)]
async fn a_token_that_has_expired_on_its_way_is_not_given_though_the_wall_clock_was_set_back() {
    let mut stage = Stage::new();
    let call = stage.call("s");
    let exchange = stage.fetch().await;
    advance(Duration::from_secs(6)).await;
    stage.clock.move_wall(-3600);
    exchange.grant("dead", Duration::from_secs(5));
    stage.fetch().await.grant("two", HOUR);
    assert_eq!(call.await.unwrap().unwrap(), "two");
}

#[tokio::test(start_paused = true)]
async fn a_token_expires_while_the_machine_sleeps() {
    let mut stage = Stage::holding("s", "one").await;
    stage.clock.move_wall(3600);
    let call = stage.call("s");
    stage.fetch().await.grant("two", HOUR);
    assert_eq!(call.await.unwrap().unwrap(), "two");
}

#[tokio::test(start_paused = true)]
async fn a_wall_clock_set_back_neither_keeps_an_expired_token_nor_drops_a_good_one() {
    let mut stage = Stage::holding("s", "one").await;
    stage.clock.move_wall(-7200);
    assert_eq!(stage.at_once("s").unwrap(), "one");
    stage.no_fetch().await;
    advance(HOUR / 2).await;
    assert_eq!(stage.at_once("s").unwrap(), "one");
    stage.fetch().await.fail(outage());
    settle().await;
    advance(HOUR / 2).await;
    let call = stage.call("s");
    stage.fetch().await.grant("two", HOUR);
    assert_eq!(call.await.unwrap().unwrap(), "two");
}
