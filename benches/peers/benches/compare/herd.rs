//! Callers without a token, and what reaches the endpoint.

use std::time::{Duration, Instant};

use futures::future::join_all;
use tokio::time::timeout;

use crate::credentials::{BLOB, Call};

/// Lets `callers` call at once; how many had an answer within `limit`, and when the last of these came.
pub async fn rush(call: &Call, callers: usize, limit: Duration) -> (usize, Duration) {
    let start = Instant::now();
    let tasks = (0..callers).map(|_| {
        let call = call(BLOB);
        tokio::spawn(async move { timeout(limit, call).await.is_ok().then(|| start.elapsed()) })
    });
    let answered: Vec<Duration> = join_all(tasks)
        .await
        .into_iter()
        .filter_map(Result::unwrap)
        .collect();
    (answered.len(), answered.into_iter().max().unwrap_or(limit))
}
