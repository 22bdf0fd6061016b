//! How many keys are cached, and which of them are evicted.

use super::*;

#[tokio::test(start_paused = true)]
async fn the_number_of_slots_is_bounded_and_an_exchange_under_way_keeps_its_slot() {
    let mut stage = Stage::new();
    let under_way = stage.call("under-way");
    let exchange = stage.fetch().await;
    let scopes: Vec<String> = (0..MAX_SLOTS + 50).map(|n| format!("scope-{n}")).collect();
    for scope in &scopes {
        let cache = stage.cache.clone();
        let scope = scope.clone();
        let call = tokio::task::spawn(async move {
            cache
                .token(&TokenRequest::new(&[&scope]), AccessToken::clone)
                .await
                .map(|_| ())
        });
        stage.fetch().await.grant("filler", HOUR);
        call.await.unwrap().unwrap();
    }
    assert!(stage.cache.slots.load().len() <= MAX_SLOTS);
    assert_eq!(stage.at_once(scopes.last().unwrap()).unwrap(), "filler");
    let follower = stage.call("under-way");
    stage.no_fetch().await;
    exchange.grant("one", HOUR);
    assert_eq!(under_way.await.unwrap().unwrap(), "one");
    assert_eq!(follower.await.unwrap().unwrap(), "one");
}

#[tokio::test(start_paused = true)]
async fn more_keys_at_once_than_there_is_room_for_leave_no_more_slots_behind() {
    let mut stage = Stage::new();
    let scopes: Vec<String> = (0..MAX_SLOTS * 2).map(|n| format!("scope-{n}")).collect();
    let mut calls = Vec::new();
    let mut exchanges = Vec::new();
    for scope in scopes {
        let cache = stage.cache.clone();
        calls.push(tokio::task::spawn(async move {
            cache
                .token(&TokenRequest::new(&[&scope]), AccessToken::clone)
                .await
                .map(|_| ())
        }));
        exchanges.push(stage.fetch().await);
    }
    assert_eq!(stage.cache.slots.load().len(), MAX_SLOTS * 2, "each is in use");
    for exchange in exchanges {
        exchange.grant("filler", HOUR);
    }
    for call in calls {
        call.await.unwrap().unwrap();
    }
    let call = stage.call("one-more");
    stage.fetch().await.grant("one", HOUR);
    call.await.unwrap().unwrap();
    assert!(stage.cache.slots.load().len() <= MAX_SLOTS);
}

#[tokio::test(start_paused = true)]
async fn keys_used_in_turn_beyond_the_limit_still_hit_the_cache() {
    const KEYS: usize = 150;
    const ROUNDS: usize = 20;
    let mut stage = Stage::with_max_slots(100);
    let scopes: Vec<String> = (0..KEYS).map(|n| format!("scope-{n}")).collect();
    let mut fetches = 0;
    for scope in scopes.iter().cycle().take(KEYS * ROUNDS) {
        fetches += usize::from(stage.fetches(scope).await);
    }
    let hits = KEYS * ROUNDS - fetches;
    assert!(hits > KEYS * ROUNDS / 4, "{hits} hits of {}", KEYS * ROUNDS);
}

#[tokio::test(start_paused = true)]
async fn expired_tokens_are_evicted_before_usable_ones_and_without_a_warning() {
    let (log, subscriber) = log_to_file();
    let _default = tracing::subscriber::set_default(subscriber);
    let mut stage = Stage::with_max_slots(3);
    assert!(stage.fetches("expired").await);
    advance(HOUR).await;
    for scope in ["a", "b", "c"] {
        assert!(stage.fetches(scope).await);
    }
    for scope in ["a", "b", "c"] {
        assert!(!stage.fetches(scope).await, "{scope}");
    }
    assert_eq!(std::fs::read_to_string(log.path()).unwrap(), "");
    assert!(stage.fetches("d").await);
    let log = std::fs::read_to_string(log.path()).unwrap();
    assert_eq!(log.matches("evicted usable tokens").count(), 1, "{log}");
}
