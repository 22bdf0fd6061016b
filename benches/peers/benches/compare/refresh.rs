//! The latency of callers with a cached token during a fetch.

use std::time::Duration;

use futures::future::join_all;
use tokio::time::{Instant, interval};

use crate::credentials::{BLOB, Call, VAULT};
use crate::endpoint::{Behaviour, Endpoint};

/// Returns the latencies of four callers with a call per millisecond each, during a refresh that
/// takes 300 ms.
pub async fn during_refresh(call: &Call, endpoint: &Endpoint, make_due: impl AsyncFn()) -> Vec<Duration> {
    assert!(call(BLOB).await);
    make_due().await;
    endpoint.order(Behaviour::Grants {
        expires_in: 3600,
        delay: Duration::from_millis(300),
    });
    let callers =
        (0..4).map(|_| tokio::spawn(call_each_millisecond(call.clone(), Duration::from_millis(400))));
    let latencies = join_all(callers).await;
    latencies.into_iter().flat_map(Result::unwrap).collect()
}

/// Returns the longest call for a cached Blob token during a fetch for Key Vault that takes 3 s.
pub async fn during_another_scopes_exchange(call: &Call, endpoint: &Endpoint) -> Duration {
    assert!(call(BLOB).await);
    endpoint.order(Behaviour::Grants {
        expires_in: 3600,
        delay: Duration::from_secs(3),
    });
    let exchange = tokio::spawn(call(VAULT));
    tokio::time::sleep(Duration::from_millis(10)).await;
    let latencies = call_each_millisecond(call.clone(), Duration::from_millis(2900)).await;
    assert!(exchange.await.unwrap());
    latencies.into_iter().max().unwrap()
}

async fn call_each_millisecond(call: Call, duration: Duration) -> Vec<Duration> {
    let mut ticks = interval(Duration::from_millis(1));
    let end = Instant::now() + duration;
    let mut latencies = Vec::new();
    while Instant::now() < end {
        ticks.tick().await;
        let start = std::time::Instant::now();
        assert!(call(BLOB).await);
        latencies.push(start.elapsed());
    }
    latencies
}
