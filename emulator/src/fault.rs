use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;

use super::endpoint::Endpoint;

/// Something that goes wrong at one endpoint, for the next request unless said otherwise.
///
/// Given to [`Emulator::inject`](crate::Emulator::inject). Faults of an endpoint queue up: the first one strikes until
/// it is used up, then the second. The request is recorded all the same; it reaches the service only behind a
/// [`delay`](Self::delay) or a [`truncate`](Self::truncate).
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use entra_workload_emulator::Fault;
///
/// let bad_minute = [
///     Fault::status(503).times(3),
///     Fault::throttle(Duration::from_secs(2)),
///     Fault::reset(),
/// ];
/// ```
#[derive(Clone, Debug)]
pub struct Fault {
    kind: FaultKind,
    /// How many more requests it strikes; `None` is all of them.
    remaining: Option<u32>,
}

#[derive(Clone)]
pub(super) enum FaultKind {
    Status(StatusCode),
    Reply(http::Response<Bytes>),
    Throttle(Duration),
    Delay(Duration),
    Hang,
    Reset,
    Truncate,
}

impl Fault {
    /// Answers with this status, and the body that the endpoint really sends along with it.
    ///
    /// * `status`: 200 to 599; any other number counts as 500.
    pub fn status(status: u16) -> Self {
        let status = StatusCode::from_u16(status)
            .ok()
            .filter(|status| (200..=599).contains(&status.as_u16()))
            .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self::once(FaultKind::Status(status))
    }

    /// Answers with exactly this.
    pub fn reply(reply: http::Response<Bytes>) -> Self {
        Self::once(FaultKind::Reply(reply))
    }

    /// Answers 429 with `Retry-After` in whole seconds, and the endpoint's own body.
    pub fn throttle(retry_after: Duration) -> Self {
        Self::once(FaultKind::Throttle(retry_after))
    }

    /// Waits (in the time of the Tokio runtime), then answers as usual.
    pub fn delay(delay: Duration) -> Self {
        Self::once(FaultKind::Delay(delay))
    }

    /// Takes the request and never answers.
    pub fn hang() -> Self {
        Self::once(FaultKind::Hang)
    }

    /// Takes the request and closes the connection without an answer.
    pub fn reset() -> Self {
        Self::once(FaultKind::Reset)
    }

    /// Sends the headers of the usual answer and the first half of its body, then closes the connection.
    pub fn truncate() -> Self {
        Self::once(FaultKind::Truncate)
    }

    /// Strikes this many requests; zero is none.
    #[must_use]
    pub fn times(mut self, requests: u32) -> Self {
        self.remaining = Some(requests);
        self
    }

    /// Strikes every request until [`Emulator::clear_faults`](crate::Emulator::clear_faults).
    #[must_use]
    pub fn until_cleared(mut self) -> Self {
        self.remaining = None;
        self
    }

    fn once(kind: FaultKind) -> Self {
        Self {
            kind,
            remaining: Some(1),
        }
    }
}

impl std::fmt::Debug for FaultKind {
    /// Without the body of a [`Fault::reply`], which may be a token.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Status(status) => f.debug_tuple("Status").field(status).finish(),
            Self::Reply(reply) => f.debug_tuple("Reply").field(&reply.status()).finish(),
            Self::Throttle(retry_after) => f.debug_tuple("Throttle").field(retry_after).finish(),
            Self::Delay(delay) => f.debug_tuple("Delay").field(delay).finish(),
            Self::Hang => f.write_str("Hang"),
            Self::Reset => f.write_str("Reset"),
            Self::Truncate => f.write_str("Truncate"),
        }
    }
}

/// The faults that are still to strike, by endpoint.
#[derive(Default)]
pub(super) struct Faults(Mutex<HashMap<Endpoint, VecDeque<Fault>>>);

impl Faults {
    pub(super) fn inject(&self, endpoint: Endpoint, fault: Fault) {
        self.lock().entry(endpoint).or_default().push_back(fault);
    }

    pub(super) fn clear(&self, endpoint: Endpoint) {
        self.lock().remove(&endpoint);
    }

    /// What strikes the request that has just come in.
    pub(super) fn next(&self, endpoint: Endpoint) -> Option<FaultKind> {
        let mut faults = self.lock();
        let queue = faults.get_mut(&endpoint)?;
        while queue.front().is_some_and(|fault| fault.remaining == Some(0)) {
            queue.pop_front();
        }
        let fault = queue.front_mut()?;
        fault.remaining = fault.remaining.map(|remaining| remaining.saturating_sub(1));
        Some(fault.kind.clone())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Endpoint, VecDeque<Fault>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
