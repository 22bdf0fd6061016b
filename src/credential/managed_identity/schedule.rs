use std::time::Duration;

use http::StatusCode;
use tokio::time::Instant;

use crate::error::{Error, ErrorKind};

/// When a token request to an endpoint that is not ready is repeated.
#[derive(Debug)]
pub(super) struct Schedule {
    pauses: &'static [Duration],
    /// How many attempts without a response are repeated.
    max_unanswered: usize,
    /// No attempt starts later.
    time_limit: Duration,
}

impl Schedule {
    /// Repeats `attempt` until it succeeds or fails for good, and obeys the pause that the endpoint asks
    /// for. A pause that ends after the time limit or the deadline is left to the cache.
    pub(super) async fn run<T, F: Future<Output = Result<T, Error>>>(
        &self,
        deadline: Instant,
        mut attempt: impl FnMut() -> F,
    ) -> Result<T, Error> {
        let deadline = deadline.min(Instant::now() + self.time_limit);
        let mut failed = 0;
        loop {
            let error = match attempt().await {
                Ok(token) => return Ok(token),
                Err(error) => error,
            };
            let Some(pause) = self.pauses.get(failed).filter(|_| self.repeats(&error, failed)) else {
                return Err(error);
            };
            let pause = error.retry_after().unwrap_or_default().max(*pause);
            if pause >= deadline.saturating_duration_since(Instant::now()) {
                return Err(error);
            }
            tracing::debug!(%error, "managed identity endpoint not ready");
            tokio::time::sleep(pause).await;
            failed += 1;
        }
    }

    /// Whether the endpoint is being updated, throttles, is not ready, or did not respond. Source: the Azure
    /// SDK for Go, `managed_identity_client.go`.
    ///
    /// * `failed`: how many attempts have failed before.
    fn repeats(&self, error: &Error, failed: usize) -> bool {
        match (error.kind(), error.status()) {
            (ErrorKind::Transport, None) => failed < self.max_unanswered,
            (ErrorKind::Rejected | ErrorKind::Transport, Some(status)) => {
                status.is_server_error()
                    || matches!(
                        status,
                        StatusCode::NOT_FOUND | StatusCode::GONE | StatusCode::TOO_MANY_REQUESTS
                    )
            }
            _ => false,
        }
    }
}

const fn millis(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// One attempt.
pub(super) const ONCE: Schedule = Schedule {
    pauses: &[],
    max_unanswered: 0,
    time_limit: Duration::from_secs(30),
};

/// For an endpoint of the host. The pauses are those of the Azure SDK for Python: 0.8 s, doubling. Without a
/// response, one more attempt is enough: the endpoint is on the same machine.
pub(super) const HOST: Schedule = Schedule {
    pauses: &[
        millis(800),
        millis(1600),
        millis(3200),
        millis(6400),
        millis(12_800),
    ],
    max_unanswered: 1,
    time_limit: Duration::from_secs(30),
};

/// For the metadata service, whose update takes up to 70 s. The pauses are those of the Azure SDKs for Go and
/// Rust: 1.34 s, doubling. Source: Microsoft, "How to use managed identities for Azure resources on an Azure VM
/// to acquire an access token", section "Retry guidance".
pub(super) const METADATA_SERVICE: Schedule = Schedule {
    pauses: &[
        millis(1340),
        millis(2680),
        millis(5360),
        millis(10_720),
        millis(21_440),
        millis(42_880),
    ],
    max_unanswered: 6,
    time_limit: Duration::from_secs(90),
};
