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

#[tokio::test(start_paused = true)]
async fn claims_that_differ_in_each_challenge_lead_to_two_fetches_in_30_seconds() {
    let mut test = CacheTest::with_token("s", "one").await;
    for round in 0..2 {
        let mut fetches = 0;
        for n in 0..200 {
            test.cache.invalidate(&test.cached("s").unwrap());
            let claims = format!("{round} {n}");
            fetches += usize::from(test.fetch_with_claims("s", &claims).await);
        }
        assert_eq!(fetches, 2);
        advance(Duration::from_secs(30)).await;
    }
    assert!(
        test.fetch_with_claims("other", "claims").await,
        "each key for itself"
    );
}

#[tokio::test(start_paused = true)]
async fn callers_with_the_same_claims_share_one_fetch() {
    let mut test = CacheTest::with_token("s", "one").await;
    test.cache.invalidate(&test.cached("s").unwrap());
    let calls: Vec<_> = (0..100)
        .map(|_| {
            let cache = test.cache.clone();
            tokio::task::spawn(async move {
                let request = TokenRequest::new(&["s"]).claims("claims");
                cache.token(&request, AccessToken::clone).await
            })
        })
        .collect();
    let fetch = test.next_fetch().await;
    test.assert_no_fetch().await;
    fetch.grant("two", HOUR);
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap().secret(), "two");
    }
}

#[tokio::test(start_paused = true)]
async fn token_with_the_same_claims_is_fetched_again_after_its_rejection() {
    let mut test = CacheTest::with_token("s", "one").await;
    for _ in 0..2 {
        test.cache.invalidate(&test.cached("s").unwrap());
        assert!(test.fetch_with_claims("s", "claims").await);
    }
    test.cache.invalidate(&test.cached("s").unwrap());
    assert!(!test.fetch_with_claims("s", "claims").await);
}

#[test]
fn invalidation_waits_only_for_the_slot_of_its_token() {
    let runtime = paused_runtime();
    let test = runtime.block_on(async {
        let mut test = CacheTest::with_token("busy", "two").await;
        let call = test.call("s");
        test.next_fetch().await.grant("one", HOUR);
        call.await.unwrap().unwrap();
        test
    });
    let slots = test.cache.slots.load_full();
    let lock = slots
        .get(&Key::of(&TokenRequest::new(&["busy"])).unwrap())
        .unwrap()
        .lock();
    let (sender, done) = std::sync::mpsc::channel();
    let cache = test.cache.clone();
    let thread = std::thread::spawn(move || {
        cache.invalidate_secret("one");
        sender.send(()).unwrap();
    });
    // Returns at once; the limit is for a failure.
    let result = done.recv_timeout(Duration::from_secs(10));
    drop(lock);
    thread.join().unwrap();
    result.unwrap();
    assert!(test.cached("s").is_none());
    assert!(test.cached("busy").is_some());
}
