//! When a failed fetch is repeated: after the pause of a refresh, or after the cooldown of a key
//! without a token.

use super::*;

#[tokio::test(start_paused = true)]
async fn failed_refresh_is_repeated_as_an_awaited_fetch_if_callers_wait_for_it() {
    let mut test = CacheTest::with_token("s", "one").await;
    advance(Duration::from_secs(3590)).await;
    assert_eq!(test.token_now("s").unwrap(), "one");
    let refresh = test.next_fetch().await;
    assert_eq!(refresh.urgency, Urgency::Background);
    advance(Duration::from_secs(11)).await;
    let call = test.call("s");
    test.assert_no_fetch().await;
    refresh.fail(transport_error());
    let fetch = test.next_fetch().await;
    assert_eq!(fetch.urgency, Urgency::Awaited);
    fetch.grant("two", HOUR);
    assert_eq!(call.await.unwrap().unwrap(), "two");
}

#[tokio::test(start_paused = true)]
async fn refresh_that_fails_after_the_expiry_starts_no_cooldown() {
    let mut test = CacheTest::with_token("s", "one").await;
    advance(Duration::from_secs(3590)).await;
    assert_eq!(test.token_now("s").unwrap(), "one");
    let refresh = test.next_fetch().await;
    advance(Duration::from_secs(11)).await;
    refresh.fail(transport_error());
    settle().await;
    let call = test.call("s");
    test.next_fetch().await.grant("two", HOUR);
    assert_eq!(call.await.unwrap().unwrap(), "two");
}

#[tokio::test(start_paused = true)]
async fn failed_refresh_is_not_repeated_if_its_source_retries_no_more_when_awaited() {
    let mut test = CacheTest::with_retries_when_awaited(false);
    let call = test.call("s");
    test.next_fetch().await.grant("one", HOUR);
    call.await.unwrap().unwrap();
    advance(Duration::from_secs(3590)).await;
    test.token_now("s").unwrap();
    let refresh = test.next_fetch().await;
    advance(Duration::from_secs(11)).await;
    let call = test.call("s");
    test.assert_no_fetch().await;
    refresh.fail(transport_error());
    call.await.unwrap().unwrap_err();
    test.token_now("s").unwrap_err();
    test.assert_no_fetch().await;
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_honored_when_the_token_expires_mid_refresh() {
    let mut test = CacheTest::with_token("s", "one").await;
    advance(Duration::from_secs(3590)).await;
    test.token_now("s").unwrap();
    let refresh = test.next_fetch().await;
    advance(Duration::from_secs(11)).await;
    let call = test.call("s");
    test.assert_no_fetch().await;
    refresh.fail(transport_error().with_retry_after(Duration::from_secs(300)));
    call.await.unwrap().unwrap_err();
    advance(Duration::from_secs(299)).await;
    test.token_now("s").unwrap_err();
    test.assert_no_fetch().await;
}

#[tokio::test(start_paused = true)]
async fn refresh_that_fails_without_a_server_is_always_repeated_after_30_seconds() {
    let mut test = CacheTest::with_token("s", "one").await;
    advance(HOUR / 2).await;
    for _ in 0..5 {
        assert_eq!(test.token_now("s").unwrap(), "one");
        test.next_fetch()
            .await
            .fail(Error::assertion("the token file is missing"));
        settle().await;
        advance(Duration::from_secs(30)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn failed_refresh_is_repeated_after_30_seconds() {
    let mut test = CacheTest::with_token("s", "one").await;
    advance(HOUR / 2).await;
    test.token_now("s").unwrap();
    let refresh = test.next_fetch().await;
    advance(Duration::from_secs(10)).await;
    refresh.fail(transport_error());
    settle().await;
    advance(Duration::from_millis(29_999)).await;
    assert_eq!(test.token_now("s").unwrap(), "one");
    test.assert_no_fetch().await;
    advance(Duration::from_millis(1)).await;
    assert_eq!(test.token_now("s").unwrap(), "one");
    test.next_fetch().await;
}

#[tokio::test(start_paused = true)]
async fn failed_refresh_is_not_repeated_before_retry_after() {
    let mut test = CacheTest::with_token("s", "one").await;
    advance(HOUR / 2).await;
    test.token_now("s").unwrap();
    test.next_fetch()
        .await
        .fail(transport_error().with_retry_after(Duration::from_secs(120)));
    settle().await;
    advance(Duration::from_secs(119)).await;
    test.token_now("s").unwrap();
    test.assert_no_fetch().await;
    advance(Duration::from_secs(1)).await;
    test.token_now("s").unwrap();
    test.next_fetch().await;
}

#[tokio::test(start_paused = true)]
async fn cooldown_doubles_up_to_30_seconds_until_a_fetch_succeeds() {
    let mut test = CacheTest::new();
    for pause in [1, 2, 4, 8, 16, 30, 30] {
        let call = test.call("s");
        test.next_fetch().await.fail(transport_error());
        call.await.unwrap().unwrap_err();
        advance(
            Duration::from_secs(pause)
                .checked_sub(Duration::from_millis(1))
                .unwrap(),
        )
        .await;
        assert_eq!(
            test.token_now("s").unwrap_err().to_string(),
            "the endpoint is down"
        );
        test.assert_no_fetch().await;
        advance(Duration::from_millis(1)).await;
    }
    let call = test.call("s");
    test.next_fetch().await.grant("one", HOUR);
    assert_eq!(call.await.unwrap().unwrap(), "one");

    advance(HOUR).await;
    let call = test.call("s");
    test.next_fetch().await.fail(transport_error());
    call.await.unwrap().unwrap_err();
    advance(Duration::from_secs(1)).await;
    test.call("s");
    test.next_fetch().await;
}

#[tokio::test(start_paused = true)]
async fn cooldown_lasts_as_long_as_retry_after() {
    let mut test = CacheTest::with_token("s", "one").await;
    advance(HOUR).await;
    let call = test.call("s");
    test.next_fetch()
        .await
        .fail(transport_error().with_retry_after(Duration::from_secs(7)));
    call.await.unwrap().unwrap_err();
    advance(Duration::from_millis(6999)).await;
    test.token_now("s").unwrap_err();
    advance(Duration::from_millis(1)).await;
    let call = test.call("s");
    test.next_fetch().await.grant("two", HOUR);
    assert_eq!(call.await.unwrap().unwrap(), "two");
}

#[tokio::test(start_paused = true)]
async fn failure_without_a_server_starts_no_cooldown() {
    let mut test = CacheTest::new();
    let call = test.call("s");
    test.next_fetch()
        .await
        .fail(Error::assertion("the token file is missing"));
    assert_eq!(call.await.unwrap().unwrap_err().kind(), ErrorKind::Assertion);
    let call = test.call("s");
    test.next_fetch().await.grant("one", HOUR);
    assert_eq!(call.await.unwrap().unwrap(), "one");
}
