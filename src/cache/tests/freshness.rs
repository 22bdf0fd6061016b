//! What a caller gets while its token is fresh, stale or expired.

use super::*;

#[tokio::test(start_paused = true)]
async fn fresh_token_is_returned_without_a_fetch() {
    let mut test = CacheTest::with_token("s", "one").await;
    advance(HOUR / 3).await;
    assert_eq!(test.token_now("s").unwrap(), "one");
    test.assert_no_fetch().await;
}

#[tokio::test(start_paused = true)]
async fn stale_token_is_returned_at_once_while_one_refresh_is_in_flight() {
    let mut test = CacheTest::with_token("s", "one").await;
    advance(HOUR / 2).await;
    for _ in 0..1000 {
        assert_eq!(test.token_now("s").unwrap(), "one");
    }
    let refresh = test.next_fetch().await;
    test.assert_no_fetch().await;
    assert_eq!(test.token_now("s").unwrap(), "one");
    refresh.grant("two", HOUR);
    settle().await;
    assert_eq!(test.token_now("s").unwrap(), "two");
}

#[tokio::test(start_paused = true)]
async fn expired_token_is_not_returned_when_the_fetch_fails() {
    let mut test = CacheTest::with_token("s", "one").await;
    advance(HOUR).await;
    let call = test.call("s");
    let fetch = test.next_fetch().await;
    assert!(!call.is_finished());
    fetch.fail(transport_error());
    assert_eq!(call.await.unwrap().unwrap_err().kind(), ErrorKind::Transport);
}

#[tokio::test(start_paused = true)]
async fn newer_token_replaces_an_older_one_even_if_it_expires_sooner() {
    let mut test = CacheTest::with_token("s", "one").await;
    advance(HOUR / 2).await;
    test.token_now("s").unwrap();
    test.next_fetch().await.grant("two", HOUR / 12);
    settle().await;
    assert_eq!(test.token_now("s").unwrap(), "two");
}

#[tokio::test(start_paused = true)]
async fn refresh_on_is_updated_when_a_refresh_fails() {
    let mut test = CacheTest::with_token("s", "one").await;
    let token = test.cached("s").unwrap();
    let until_refresh = token
        .refresh_on()
        .duration_since(test.clock.now().system_time)
        .unwrap();
    assert!(
        until_refresh <= HOUR / 2 && until_refresh >= HOUR / 3,
        "{until_refresh:?}"
    );
    advance(HOUR / 2).await;
    test.token_now("s").unwrap();
    test.next_fetch().await.fail(transport_error());
    settle().await;
    let token = test.cached("s").unwrap();
    let until_refresh = token
        .refresh_on()
        .duration_since(test.clock.now().system_time)
        .unwrap();
    assert_eq!(until_refresh, Duration::from_secs(30));
}

#[tokio::test(start_paused = true)]
async fn token_expired_on_arrival_does_not_replace_a_usable_one() {
    let mut test = CacheTest::with_token("s", "one").await;
    advance(HOUR / 2).await;
    assert_eq!(test.token_now("s").unwrap(), "one");
    let refresh = test.next_fetch().await;
    advance(Duration::from_secs(6)).await;
    refresh.grant("expired", Duration::from_secs(5));
    settle().await;
    assert_eq!(test.token_now("s").unwrap(), "one");
    test.assert_no_fetch().await;
    advance(Duration::from_secs(30)).await;
    assert_eq!(test.token_now("s").unwrap(), "one");
    test.next_fetch().await;
}

#[tokio::test(start_paused = true)]
async fn key_cools_down_when_two_tokens_in_a_row_expire_on_arrival() {
    let mut test = CacheTest::new();
    let call = test.call("s");
    for _ in 0..2 {
        let fetch = test.next_fetch().await;
        advance(Duration::from_secs(6)).await;
        fetch.grant("expired", Duration::from_secs(5));
    }
    assert_eq!(call.await.unwrap().unwrap_err().kind(), ErrorKind::Transport);
    test.token_now("s").unwrap_err();
    test.assert_no_fetch().await;
}

#[tokio::test(start_paused = true)]
async fn token_expired_on_arrival_is_fetched_again_if_the_wall_clock_is_set_back() {
    let mut test = CacheTest::new();
    let call = test.call("s");
    let fetch = test.next_fetch().await;
    advance(Duration::from_secs(6)).await;
    test.clock.move_wall(-3600);
    fetch.grant("expired", Duration::from_secs(5));
    test.next_fetch().await.grant("two", HOUR);
    assert_eq!(call.await.unwrap().unwrap(), "two");
}

#[tokio::test(start_paused = true)]
async fn token_expires_while_the_machine_is_suspended() {
    let mut test = CacheTest::with_token("s", "one").await;
    test.clock.move_wall(3600);
    let call = test.call("s");
    test.next_fetch().await.grant("two", HOUR);
    assert_eq!(call.await.unwrap().unwrap(), "two");
}

#[tokio::test(start_paused = true)]
async fn wall_clock_set_back_neither_extends_nor_shortens_a_token() {
    let mut test = CacheTest::with_token("s", "one").await;
    test.clock.move_wall(-7200);
    assert_eq!(test.token_now("s").unwrap(), "one");
    test.assert_no_fetch().await;
    advance(HOUR / 2).await;
    assert_eq!(test.token_now("s").unwrap(), "one");
    test.next_fetch().await.fail(transport_error());
    settle().await;
    advance(HOUR / 2).await;
    let call = test.call("s");
    test.next_fetch().await.grant("two", HOUR);
    assert_eq!(call.await.unwrap().unwrap(), "two");
}
