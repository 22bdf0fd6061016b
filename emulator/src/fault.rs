use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;

use super::endpoint::Endpoint;

/// A fault of an endpoint, for [`Emulator::inject`](crate::Emulator::inject).
///
/// A fault applies to one request unless [`times`](Self::times) or
/// [`until_cleared`](Self::until_cleared) says otherwise. Faults of an endpoint apply in the order
/// in which they were injected. The requests are recorded. Only [`delay`](Self::delay) and
/// [`truncate`](Self::truncate) let the service handle the request.
///
/// A fault applies only to authenticated requests: at the Key Vault and the Blob account, to
/// requests with a valid token; at App Service, to requests with its `X-IDENTITY-HEADER`. Any other
/// request gets the error of the real service, and the fault stays for the next request.
/// [`including_unauthenticated`](Self::including_unauthenticated) changes this. At Entra, the issuer
/// and IMDS, a fault applies to every request.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use entra_workload_emulator::Fault;
///
/// let faults = [
///     Fault::status(503).times(3),
///     Fault::throttle(Duration::from_secs(2)),
///     Fault::reset(),
/// ];
/// ```
#[derive(Clone, Debug)]
pub struct Fault {
    kind: FaultKind,
    /// The number of requests it still applies to; `None` means all.
    remaining: Option<u32>,
    includes_unauthenticated: bool,
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
    /// Returns a status, with the error body and headers that the real service sends with it.
    ///
    /// * `status`: 200 to 599; any other number means 500.
    ///
    /// The error codes are:
    ///
    /// * Entra: 401 `invalid_client` (AADSTS70025 or, for a client secret, AADSTS7000215), 429
    ///   `temporarily_unavailable` (AADSTS90055, with `Retry-After: 60`), 500 `server_error`
    ///   (AADSTS90036), other 5xx `temporarily_unavailable` (AADSTS90033), others `invalid_request`
    ///   (AADSTS90023).
    /// * Issuer, a Kubernetes `Status`: 401 `Unauthorized`, 403 `Forbidden`, 404 `NotFound`, 429
    ///   `TooManyRequests` (with `Retry-After: 1`), 503 `ServiceUnavailable`, 504 `Timeout`, other
    ///   5xx `InternalError`, others `BadRequest`.
    /// * Key Vault: 400 `BadParameter`, 401 `Unauthorized` (with a challenge), 403 `Forbidden` and
    ///   `ForbiddenByRbac`, 404 `SecretNotFound`, 405 `MethodNotAllowed`, 409 `Conflict` and
    ///   `ObjectIsDeletedButRecoverable`, 429 `Throttled`, others the name of the status.
    /// * Blob: 401 `InvalidAuthenticationInfo` (with a challenge), 403
    ///   `AuthorizationPermissionMismatch`, 404 `BlobNotFound`, `ContainerNotFound` or
    ///   `ResourceNotFound`, 405 `UnsupportedHttpVerb`, 409 `BlobAlreadyExists`,
    ///   `ContainerAlreadyExists` or `ContainerBeingDeleted`, 412 `ConditionNotMet`, 413
    ///   `RequestBodyTooLarge`, 416 `InvalidRange`, 429 and 503 `ServerBusy`, other 4xx
    ///   `InvalidInput`, others `InternalError`.
    /// * IMDS: 400 `invalid_request`, 401 `unknown_source`, 404 `not_found`, 405
    ///   `method_not_allowed`, 429 `too_many_requests`, others `unknown`.
    /// * App Service: a message without a code.
    ///
    /// Microsoft does not document every body. Those of 5xx at Key Vault, of 404, 405, 410 and 429 at
    /// IMDS, and of all but 400 and 5xx at App Service are assumptions. [`reply`](Self::reply) sends
    /// any other body.
    ///
    /// # Examples
    ///
    /// ```
    /// use entra_workload_emulator::{Emulator, Endpoint, Fault};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> std::io::Result<()> {
    /// let emulator = Emulator::start().await?;
    /// // The client signs in, but has no role on the vault.
    /// emulator.inject(Endpoint::KeyVault, Fault::status(403));
    /// # Ok(()) }
    /// ```
    pub fn status(status: u16) -> Self {
        let status = StatusCode::from_u16(status)
            .ok()
            .filter(|status| (200..=599).contains(&status.as_u16()))
            .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self::once(FaultKind::Status(status))
    }

    /// Returns exactly this response.
    pub fn reply(reply: http::Response<Bytes>) -> Self {
        Self::once(FaultKind::Reply(reply))
    }

    /// Returns 429 with `Retry-After` in whole seconds, and the error body of
    /// [`status`](Self::status).
    pub fn throttle(retry_after: Duration) -> Self {
        Self::once(FaultKind::Throttle(retry_after))
    }

    /// Waits, in the time of the Tokio runtime, then handles the request.
    pub fn delay(delay: Duration) -> Self {
        Self::once(FaultKind::Delay(delay))
    }

    /// Reads the request and never responds.
    pub fn hang() -> Self {
        Self::once(FaultKind::Hang)
    }

    /// Reads the request and closes the connection without a response.
    pub fn reset() -> Self {
        Self::once(FaultKind::Reset)
    }

    /// Handles the request, sends the headers and the first half of the body, then closes the
    /// connection.
    pub fn truncate() -> Self {
        Self::once(FaultKind::Truncate)
    }

    /// Applies to this number of requests; zero means none.
    #[must_use]
    pub fn times(mut self, requests: u32) -> Self {
        self.remaining = Some(requests);
        self
    }

    /// Applies to every request until [`Emulator::clear_faults`](crate::Emulator::clear_faults).
    #[must_use]
    pub fn until_cleared(mut self) -> Self {
        self.remaining = None;
        self
    }

    /// Also applies to unauthenticated requests. A Key Vault client, for example, sends its first
    /// request without a token, to get the challenge.
    ///
    /// # Examples
    ///
    /// ```
    /// use entra_workload_emulator::Fault;
    ///
    /// // A vault that is down does not even send a challenge.
    /// let outage = Fault::status(503).including_unauthenticated().until_cleared();
    /// ```
    #[must_use]
    pub fn including_unauthenticated(mut self) -> Self {
        self.includes_unauthenticated = true;
        self
    }

    fn once(kind: FaultKind) -> Self {
        Self {
            kind,
            remaining: Some(1),
            includes_unauthenticated: false,
        }
    }
}

impl std::fmt::Debug for FaultKind {
    /// Omits the body of a [`Fault::reply`], which may contain a token.
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

/// The queued faults, by endpoint.
#[derive(Default)]
pub(super) struct Faults(Mutex<HashMap<Endpoint, VecDeque<Fault>>>);

impl Faults {
    pub(super) fn inject(&self, endpoint: Endpoint, fault: Fault) {
        self.lock().entry(endpoint).or_default().push_back(fault);
    }

    pub(super) fn clear(&self, endpoint: Endpoint) {
        self.lock().remove(&endpoint);
    }

    pub(super) fn clear_all(&self) {
        self.lock().clear();
    }

    /// Takes the fault that applies to the current request.
    ///
    /// * `is_authenticated`: whether the endpoint accepts the credentials of the request.
    pub(super) fn next(&self, endpoint: Endpoint, is_authenticated: bool) -> Option<FaultKind> {
        let mut faults = self.lock();
        let queue = faults.get_mut(&endpoint)?;
        while queue.front().is_some_and(|fault| fault.remaining == Some(0)) {
            queue.pop_front();
        }
        let fault = queue
            .front_mut()
            .filter(|fault| is_authenticated || fault.includes_unauthenticated)?;
        fault.remaining = fault.remaining.map(|remaining| remaining.saturating_sub(1));
        Some(fault.kind.clone())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Endpoint, VecDeque<Fault>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
