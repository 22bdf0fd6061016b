//! The counters and histograms that a program sees through the `metrics` facade.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::support::clock::TestClock;
use crate::support::identifiers::{BLOB, VAULT};
use crate::support::pod::PodDirectory;
use crate::support::runtime::settle;
use crate::support::transport::{FakeEndpoint, fake_endpoint};
use entra_workload::{
    AccessToken, ChainedTokenCredential, Credential, Error, ErrorKind, TokenRequest,
    WorkloadIdentityCredential,
};
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};

fn credential(pod: &PodDirectory) -> (Arc<WorkloadIdentityCredential>, FakeEndpoint) {
    let (transport, endpoint) = fake_endpoint();
    let credential = WorkloadIdentityCredential::builder()
        .environment(pod.environment())
        .transport(transport)
        .clock(TestClock::new())
        .max_cached_tokens(1)
        .build()
        .unwrap();
    (credential, endpoint)
}

/// Returns what was recorded since the last call, sorted: `name{labels} values`.
fn recorded(snapshotter: &Snapshotter) -> Vec<String> {
    let mut lines = Vec::new();
    for (key, _, _, value) in snapshotter.snapshot().into_vec() {
        let values = match value {
            DebugValue::Counter(count) => vec![f64::from(u32::try_from(count).unwrap())],
            DebugValue::Gauge(value) => vec![value.into_inner()],
            DebugValue::Histogram(values) => values.iter().map(|value| value.into_inner()).collect(),
        };
        // The recorder keeps what it has seen, with zeros.
        if values.iter().all(|value| *value == 0.0) {
            continue;
        }
        let name = key.key().name().strip_prefix("entra_workload_").unwrap();
        let labels: Vec<&str> = key.key().labels().map(metrics::Label::value).collect();
        lines.push(format!("{name}{{{}}} {values:?}", labels.join(",")));
    }
    lines.sort();
    lines
}

#[tokio::test(start_paused = true)]
async fn each_fetch_is_recorded_with_its_outcome_and_what_remained_of_the_token() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let pod = PodDirectory::new();
    let (credential, mut endpoint) = credential(&pod);

    let (first, ()) = tokio::join!(credential.token(&[VAULT]), async {
        let request = endpoint.request().await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        request.grant("planted", 3600);
    });
    first.unwrap();
    assert_eq!(
        recorded(&snapshotter),
        [
            "fetch_duration_seconds{success,awaited} [2.0]",
            "fetches_total{success,awaited} [1.0]"
        ]
    );

    credential.token(&[VAULT]).await.unwrap();
    assert!(recorded(&snapshotter).is_empty(), "a cached token");

    tokio::time::sleep(Duration::from_secs(2398)).await;
    credential.token(&[VAULT]).await.unwrap();
    let request = endpoint.request().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    request.reply(503, &[], "");
    settle().await;
    assert_eq!(
        recorded(&snapshotter),
        [
            "fetch_duration_seconds{protocol,background} [1.0]",
            "fetches_total{protocol,background} [1.0]",
            "refresh_age_seconds{protocol} [2401.0]",
            "refresh_remaining_seconds{protocol} [1199.0]",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn cooldown_is_recorded_once_for_each_failed_fetch_without_a_token() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let pod = PodDirectory::new();
    let (credential, mut endpoint) = credential(&pod);
    let (failed, ()) = tokio::join!(credential.token(&[VAULT]), async {
        endpoint.request().await.refuse(401, "invalid_client", 7_000_222);
    });
    failed.unwrap_err();
    credential.token(&[VAULT]).await.unwrap_err();
    let lines = recorded(&snapshotter);
    assert!(lines.contains(&"cooldowns_total{} [1.0]".to_owned()), "{lines:?}");
    assert!(
        lines.contains(&"fetches_total{rejected,awaited} [1.0]".to_owned()),
        "{lines:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn evicted_token_is_recorded() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let pod = PodDirectory::new();
    let (credential, mut endpoint) = credential(&pod);
    for scopes in [[VAULT], [BLOB]] {
        let (token, ()) = tokio::join!(credential.token(&scopes), async {
            endpoint.request().await.grant("planted", 3600);
        });
        token.unwrap();
    }
    let lines = recorded(&snapshotter);
    assert!(
        lines.contains(&"evicted_tokens_total{} [1.0]".to_owned()),
        "{lines:?}"
    );
}

/// A credential that is set up, or not.
#[derive(Debug)]
struct Fixed(bool);

#[async_trait::async_trait]
impl Credential for Fixed {
    async fn token_for(&self, _: &TokenRequest<'_>) -> Result<AccessToken, Error> {
        if self.0 {
            return Ok(AccessToken::new("planted", SystemTime::UNIX_EPOCH));
        }
        Err(Error::new(ErrorKind::Unavailable, "not here"))
    }
}

#[tokio::test]
async fn selected_link_of_a_chain_is_recorded() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let chain = ChainedTokenCredential::builder()
        .then("first", Arc::new(Fixed(false)))
        .then("second", Arc::new(Fixed(true)))
        .build()
        .unwrap();
    chain.token(&[VAULT]).await.unwrap();
    assert_eq!(recorded(&snapshotter), ["selected_credential{second} [1.0]"]);
    chain.token(&[VAULT]).await.unwrap();
    assert!(recorded(&snapshotter).is_empty());
}

#[tokio::test(start_paused = true)]
async fn first_fetch_creates_the_background_counters_of_all_outcomes() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let pod = PodDirectory::new();
    let (credential, mut endpoint) = credential(&pod);
    let (token, ()) = tokio::join!(credential.token(&[VAULT]), async {
        endpoint.request().await.grant("planted", 3600);
    });
    token.unwrap();
    let entries = snapshotter.snapshot().into_vec();
    let zeros = entries
        .iter()
        .filter(|(.., value)| *value == DebugValue::Counter(0))
        .count();
    assert_eq!(zeros, 7, "{entries:?}");
}
