//! How many keys are cached, and which of them are evicted.

use super::*;

#[tokio::test(start_paused = true)]
async fn slots_are_limited_and_a_slot_with_a_fetch_in_flight_is_kept() {
    let mut test = CacheTest::new();
    let in_flight = test.call("in-flight");
    let fetch = test.next_fetch().await;
    let scopes: Vec<String> = (0..MAX_SLOTS + 50).map(|n| format!("scope-{n}")).collect();
    for scope in &scopes {
        let cache = test.cache.clone();
        let scope = scope.clone();
        let call = tokio::task::spawn(async move {
            cache
                .token(&TokenRequest::new(&[&scope]), AccessToken::clone)
                .await
                .map(|_| ())
        });
        test.next_fetch().await.grant("token", HOUR);
        call.await.unwrap().unwrap();
    }
    assert!(test.cache.slots.load().len() <= MAX_SLOTS);
    assert_eq!(test.token_now(scopes.last().unwrap()).unwrap(), "token");
    let follower = test.call("in-flight");
    test.assert_no_fetch().await;
    fetch.grant("one", HOUR);
    assert_eq!(in_flight.await.unwrap().unwrap(), "one");
    assert_eq!(follower.await.unwrap().unwrap(), "one");
}

#[tokio::test(start_paused = true)]
async fn slots_above_the_limit_are_evicted_once_their_fetches_end() {
    let mut test = CacheTest::new();
    let scopes: Vec<String> = (0..MAX_SLOTS * 2).map(|n| format!("scope-{n}")).collect();
    let mut calls = Vec::new();
    let mut fetches = Vec::new();
    for scope in scopes {
        let cache = test.cache.clone();
        calls.push(tokio::task::spawn(async move {
            cache
                .token(&TokenRequest::new(&[&scope]), AccessToken::clone)
                .await
                .map(|_| ())
        }));
        fetches.push(test.next_fetch().await);
    }
    assert_eq!(
        test.cache.slots.load().len(),
        MAX_SLOTS * 2,
        "each has a fetch in flight"
    );
    for fetch in fetches {
        fetch.grant("token", HOUR);
    }
    for call in calls {
        call.await.unwrap().unwrap();
    }
    let call = test.call("another");
    test.next_fetch().await.grant("one", HOUR);
    call.await.unwrap().unwrap();
    assert!(test.cache.slots.load().len() <= MAX_SLOTS);
}

#[tokio::test(start_paused = true)]
async fn keys_used_in_turn_beyond_the_limit_still_hit_the_cache() {
    const KEYS: usize = 150;
    const ROUNDS: usize = 20;
    let mut test = CacheTest::with_max_slots(100);
    let scopes: Vec<String> = (0..KEYS).map(|n| format!("scope-{n}")).collect();
    let mut fetches = 0;
    for scope in scopes.iter().cycle().take(KEYS * ROUNDS) {
        fetches += usize::from(test.fetch_if_missing(scope).await);
    }
    let hits = KEYS * ROUNDS - fetches;
    assert!(hits > KEYS * ROUNDS / 4, "{hits} hits of {}", KEYS * ROUNDS);
}

#[tokio::test(start_paused = true)]
async fn expired_tokens_are_evicted_before_usable_ones_and_without_a_warning() {
    let (log, subscriber) = log_to_file();
    let _default = tracing::subscriber::set_default(subscriber);
    let mut test = CacheTest::with_max_slots(3);
    assert!(test.fetch_if_missing("expired").await);
    advance(HOUR).await;
    for scope in ["a", "b", "c"] {
        assert!(test.fetch_if_missing(scope).await);
    }
    for scope in ["a", "b", "c"] {
        assert!(!test.fetch_if_missing(scope).await, "{scope}");
    }
    assert_eq!(std::fs::read_to_string(log.path()).unwrap(), "");
    assert!(test.fetch_if_missing("d").await);
    let log = std::fs::read_to_string(log.path()).unwrap();
    assert_eq!(log.matches("evicted usable tokens").count(), 1, "{log}");
}

#[tokio::test(start_paused = true)]
async fn dropped_token_is_not_kept_in_memory() {
    for drop_it in [Cache::clear, |cache: &Cache| cache.invalidate_secret("one")] {
        let test = CacheTest::with_token("s", "one").await;
        let slot = test.cache.slots.load().values().next().unwrap().clone();
        let cached = slot.published().as_ref().map(Arc::downgrade).unwrap();
        assert!(cached.upgrade().is_some());
        drop_it(&test.cache);
        assert!(cached.upgrade().is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn token_with_claims_replaces_the_one_without_although_its_caller_is_gone() {
    let mut test = CacheTest::with_token("s", "one").await;
    let cache = test.cache.clone();
    let call = tokio::task::spawn(async move {
        let request = TokenRequest::new(&["s"]).claims("{}");
        cache.token(&request, AccessToken::clone).await.map(drop)
    });
    let fetch = test.next_fetch().await;
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    fetch.grant("two", HOUR);
    test.assert_no_fetch().await;
    assert_eq!(test.token_now("s").unwrap(), "two");
}

#[tokio::test(start_paused = true)]
async fn tokens_with_claims_evict_only_each_other_and_without_a_warning() {
    let (log, subscriber) = log_to_file();
    let _default = tracing::subscriber::set_default(subscriber);
    let mut test = CacheTest::with_max_slots(400);
    let scopes: Vec<String> = (0..400).map(|n| format!("scope-{n}")).collect();
    for scope in &scopes {
        assert!(test.fetch_if_missing(scope).await);
    }
    for scope in &scopes {
        assert!(test.fetch_with_claims(scope, "claims").await);
    }
    for scope in &scopes {
        assert!(!test.fetch_if_missing(scope).await, "{scope}");
    }
    let with_claims = test
        .cache
        .slots
        .load()
        .keys()
        .filter(|key| key.has_claims())
        .count();
    assert!(
        (MAX_SLOTS_WITH_CLAIMS / 2..=MAX_SLOTS_WITH_CLAIMS).contains(&with_claims),
        "{with_claims}"
    );
    assert_eq!(std::fs::read_to_string(log.path()).unwrap(), "");
}

#[tokio::test(start_paused = true)]
async fn request_for_a_refused_tenant_takes_no_slot() {
    let mut test = CacheTest::new();
    let request = TokenRequest::new(&["s"]).tenant_id("refused");
    let error = test.cache.token(&request, AccessToken::clone).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert_eq!(test.cache.slots.load().len(), 0);
    test.assert_no_fetch().await;
}
