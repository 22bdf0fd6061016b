//! Concurrent callers without a token.

use std::time::{Duration, Instant};

use futures::future::join_all;
use tokio::time::timeout;

use crate::credentials::{BLOB, Call};

/// The results of the callers.
pub struct Herd {
    /// How many got a valid token within the limit.
    pub served: usize,
    /// How many got an error.
    pub refused: usize,
    /// When the last of these results arrived.
    pub after: Duration,
}

/// Starts `callers` calls at the same time, and waits for them until `limit`.
pub async fn call_concurrently(call: &Call, callers: usize, limit: Duration) -> Herd {
    let start = Instant::now();
    let tasks = (0..callers).map(|_| {
        let call = call(BLOB);
        tokio::spawn(async move { Some((timeout(limit, call).await.ok()?, start.elapsed())) })
    });
    let answers: Vec<(bool, Duration)> = join_all(tasks)
        .await
        .into_iter()
        .filter_map(Result::unwrap)
        .collect();
    let served = answers.iter().filter(|(served, _)| *served).count();
    Herd {
        served,
        refused: answers.len() - served,
        after: answers.into_iter().map(|(_, after)| after).max().unwrap_or(limit),
    }
}
