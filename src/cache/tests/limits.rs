//! How many tokens are cached, how often one may be invalidated, and what a runtime must have.

use tracing::instrument::WithSubscriber;

use super::*;

impl Stage {
    /// Calls for `scope`, and grants a token if that starts a fetch; returns whether it did.
    async fn fetches(&mut self, scope: &str) -> bool {
        if self
            .cache
            .cached(&TokenRequest::new(&[scope]), AccessToken::clone)
            .is_some()
        {
            return false;
        }
        let (cache, scope) = (self.cache.clone(), scope.to_owned());
        let call = tokio::task::spawn(async move {
            cache
                .token(&TokenRequest::new(&[&scope]), AccessToken::clone)
                .await
                .map(|_| ())
        });
        self.fetch().await.grant("token", HOUR);
        call.await.unwrap().unwrap();
        true
    }
}

fn log_to_file() -> (
    tempfile::NamedTempFile,
    impl tracing::Subscriber + Send + Sync + 'static,
) {
    let log = tempfile::NamedTempFile::new().unwrap();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(Arc::new(log.reopen().unwrap()))
        .finish();
    (log, subscriber)
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

#[test]
fn a_runtime_without_a_timer_is_a_configuration_error() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let cache = Cache::new(
        Arc::new(PanickingSource),
        Arc::new(SystemClock::new()),
        HOUR,
        MAX_SLOTS,
    );
    let error = runtime
        .block_on(cache.token(&TokenRequest::new(&["s"]), AccessToken::clone))
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert!(error.to_string().contains("enable_time()"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_fetch_logs_to_the_subscriber_of_the_caller_that_started_it() {
    let (log, subscriber) = log_to_file();
    let mut stage = Stage::holding("s", "one").await;
    advance(HOUR / 2).await;
    let call = async { stage.at_once("s") }.with_subscriber(subscriber).await;
    call.unwrap();
    stage.fetch().await.fail(outage());
    settle().await;
    let log = std::fs::read_to_string(log.path()).unwrap();
    assert!(log.contains("token refresh failed"), "{log}");
}
