//! An outage of the token endpoint: callers use the cached token, and the log names the beginning
//! and the end.

use tracing::instrument::WithSubscriber as _;

use super::*;

#[tokio::test(start_paused = true)]
async fn outage_is_invisible_to_callers_until_the_token_expires() {
    let mut test = CacheTest::with_token("s", "one").await;
    let mut refreshes = 0;
    for _second in 0..3599 {
        advance(Duration::from_secs(1)).await;
        assert_eq!(test.token_now("s").unwrap(), "one");
        settle().await;
        if let Ok(refresh) = test.fetches.try_recv() {
            refresh.fail(transport_error());
            settle().await;
            refreshes += 1;
        }
    }
    assert!(
        (6..=18).contains(&refreshes),
        "{refreshes} refreshes; few at first, then one in 30 s in the last five minutes"
    );
    advance(Duration::from_secs(1)).await;
    let call = test.call("s");
    test.next_fetch().await.grant("two", HOUR);
    assert_eq!(call.await.unwrap().unwrap(), "two");
}

#[tokio::test(start_paused = true)]
async fn outage_is_logged_once_when_it_begins_and_once_when_it_ends() {
    let (log, subscriber) = log_to_file();
    let _default = tracing::subscriber::set_default(subscriber);
    let logged = || {
        let text = std::fs::read_to_string(log.path()).unwrap();
        [
            "token refresh failed; using cached token",
            "token refresh recovered",
        ]
        .map(|part| text.matches(part).count())
    };
    let mut test = CacheTest::new();
    let call = test.call("s");
    test.next_fetch().await.grant("one", HOUR * 24);
    call.await.unwrap().unwrap();
    // Hours until the refresh, whether it succeeds, and how often each line has been logged by
    // then.
    for (hours, succeeds, wanted) in [
        (12, false, [1, 0]),
        (1, false, [1, 0]),
        (10, true, [1, 1]),
        (12, true, [1, 1]),
        (12, false, [2, 1]),
    ] {
        advance(HOUR * hours).await;
        test.token_now("s").unwrap();
        let refresh = test.next_fetch().await;
        if succeeds {
            refresh.grant("two", HOUR * 24);
        } else {
            refresh.fail(transport_error());
        }
        settle().await;
        assert_eq!(logged(), wanted);
    }
}

#[tokio::test(start_paused = true)]
async fn fetch_logs_to_the_subscriber_of_the_caller_that_started_it() {
    let (log, subscriber) = log_to_file();
    let mut test = CacheTest::with_token("s", "one").await;
    advance(HOUR / 2).await;
    let call = async { test.token_now("s") }.with_subscriber(subscriber).await;
    call.unwrap();
    test.next_fetch().await.fail(transport_error());
    settle().await;
    let log = std::fs::read_to_string(log.path()).unwrap();
    assert!(log.contains("token refresh failed"), "{log}");
}
