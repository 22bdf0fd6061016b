use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

/// Why there is no token.
///
/// One word wide and cheap to clone, so that all who waited for one exchange get the same error.
///
/// * [`kind()`](Self::kind) says what sort of thing went wrong, and so who can mend it.
/// * `Display` is one stable line that names the thing and the way out (of a chain: one more for each link, and one for what none
///   of them says). It carries no timestamp, no request id and no text of its source: a controller can put it into a status
///   field and will not see it change.
/// * [`source()`](StdError::source) holds the cause, if there is one: the I/O error, or what the server wrote.
/// * No part of it, `Debug` included, ever holds a token, an assertion or a client secret.
///
/// # Examples
///
/// ```
/// use entra_workload::{Environment, ErrorKind, WorkloadIdentityCredential};
///
/// let outside_a_pod = Environment::default();
/// let error = WorkloadIdentityCredential::builder().environment(outside_a_pod).build().unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::Unavailable);
/// assert!(!error.is_transient());
/// println!("{error}");
/// ```
#[derive(Clone)]
pub struct Error(Arc<Inner>);

/// What sort of thing went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// This credential is not set up here, for instance because `AZURE_FEDERATED_TOKEN_FILE` is not set. A chain goes
    /// on to its next link.
    Unavailable,
    /// It is set up, and wrong: a missing client id, an authority that is not `https`, a scope with a space. A human
    /// must act; the message says how.
    Configuration,
    /// There is no usable assertion: the token file is missing, empty, too big, not a JWT, or expired. The message
    /// has the path, never the content. The next call reads the file again.
    Assertion,
    /// No whole answer came: name resolution, connection, TLS, a reset, a time-out.
    Transport,
    /// The server answered and refused. See [`Error::status`], [`Error::oauth_error`] and [`Error::aadsts_codes`].
    Rejected,
    /// An answer came that is not the protocol: HTML, no `access_token`, a body of 10 MB. See [`Error::status`].
    Protocol,
}

impl Error {
    /// Makes an error of a kind; for sources of assertions and transports written outside this crate.
    ///
    /// * `message`: one line, lower case, no full stop; names the thing and the way out; holds no secret, no time
    ///   stamp and no request id.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Arc::new(Inner {
            kind,
            message: message.into(),
            status: None,
            oauth_error: None,
            aadsts_codes: Vec::new(),
            correlation_id: None,
            trace_id: None,
            retry_after: None,
            attempts: Vec::new(),
            source: None,
        }))
    }

    /// The same error with its cause, which must hold no secret either.
    #[must_use]
    pub fn with_source(self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.map(|inner| inner.source = Some(Arc::from(source.into())))
    }

    /// What sort of thing went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether this credential is not set up here, so that a chain may try another.
    pub fn is_unavailable(&self) -> bool {
        self.kind() == ErrorKind::Unavailable
    }

    /// Whether the same call may succeed later with nothing changed by a human.
    ///
    /// True when no whole answer came, when the status was 408, 429 or 5xx, and when the OAuth error was
    /// `temporarily_unavailable`. AADSTS codes have no say: Microsoft's list of them says that programs must not depend
    /// on their numbers.
    pub fn is_transient(&self) -> bool {
        match self.status() {
            None => self.kind() == ErrorKind::Transport,
            Some(status) => {
                matches!(
                    status,
                    StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS
                ) || status.is_server_error()
                    || self.oauth_error() == Some("temporarily_unavailable")
            }
        }
    }

    /// The HTTP status of the answer, if there was one.
    pub fn status(&self) -> Option<StatusCode> {
        self.0.status
    }

    /// The OAuth error of a refusal, such as `invalid_client` (RFC 6749, section 5.2).
    pub fn oauth_error(&self) -> Option<&str> {
        self.0.oauth_error.as_deref()
    }

    /// The AADSTS numbers of a refusal, such as `[700213]`; empty when there were none. For people: branch on
    /// [`kind()`](Self::kind) and [`is_transient()`](Self::is_transient) instead.
    pub fn aadsts_codes(&self) -> &[u32] {
        &self.0.aadsts_codes
    }

    /// The id of the request, as this crate sent it in `client-request-id` or as the server gave it back: what
    /// Microsoft's support asks for first.
    pub fn correlation_id(&self) -> Option<&str> {
        self.0.correlation_id.as_deref()
    }

    /// The server's own id of the request.
    pub fn trace_id(&self) -> Option<&str> {
        self.0.trace_id.as_deref()
    }

    /// How long the server asked to wait before another request.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// What each link of a chain said, in order; empty if the error is not of a chain.
    pub fn attempts(&self) -> &[Attempt] {
        &self.0.attempts
    }

    /// The error of a chain of which no link gave a token. The last attempt decides what kind it is: either it stopped the chain,
    /// or all were unavailable.
    ///
    /// * `hint`: a last line of what the links do not say.
    pub(crate) fn of_chain(attempts: Vec<Attempt>, hint: Option<&str>) -> Self {
        let Some(last) = attempts.last() else {
            return Self::configuration("the chain has no links");
        };
        let first = if last.error.is_unavailable() {
            "no credential of the chain is available here".to_owned()
        } else {
            format!("the chain stopped at {}", last.name)
        };
        // A chain within a chain keeps its own block, one step further in.
        let reason = |attempt: &Attempt| attempt.error.to_string().replace('\n', "\n  ");
        let lines = attempts
            .iter()
            .map(|attempt| format!("{}: {}", attempt.name, reason(attempt)));
        let message = std::iter::once(first)
            .chain(lines)
            .chain(hint.map(str::to_owned))
            .collect::<Vec<_>>()
            .join("\n  ");
        last.error.clone().map(|inner| {
            inner.message = message;
            inner.attempts = attempts;
        })
    }

    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unavailable, message)
    }

    pub(crate) fn configuration(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Configuration, message)
    }

    pub(crate) fn assertion(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Assertion, message)
    }

    pub(crate) fn transport(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Transport, message)
    }

    pub(crate) fn protocol(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Protocol, message)
    }

    pub(crate) fn with_optional_source(self, source: Option<impl StdError + Send + Sync + 'static>) -> Self {
        match source {
            Some(source) => self.with_source(source),
            None => self,
        }
    }

    pub(crate) fn with_status(self, status: StatusCode) -> Self {
        self.map(|inner| inner.status = Some(status))
    }

    pub(crate) fn with_oauth_error(self, error: Option<String>, aadsts_codes: Vec<u32>) -> Self {
        self.map(|inner| {
            inner.oauth_error = error;
            inner.aadsts_codes = aadsts_codes;
        })
    }

    pub(crate) fn with_request_ids(self, correlation_id: String, trace_id: Option<String>) -> Self {
        self.map(|inner| {
            inner.correlation_id = Some(correlation_id);
            inner.trace_id = trace_id;
        })
    }

    pub(crate) fn with_retry_after(self, retry_after: Option<Duration>) -> Self {
        self.map(|inner| inner.retry_after = retry_after)
    }

    fn map(mut self, change: impl FnOnce(&mut Inner)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }
}

/// What one link of a chain said.
#[derive(Clone, Debug)]
pub struct Attempt {
    name: Cow<'static, str>,
    error: Error,
}

impl Attempt {
    pub(crate) fn new(name: Cow<'static, str>, error: Error) -> Self {
        Self { name, error }
    }

    /// The name of the link.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Why it gave no token.
    pub fn error(&self) -> &Error {
        &self.error
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

#[derive(Clone, Debug)]
struct Inner {
    kind: ErrorKind,
    message: String,
    status: Option<StatusCode>,
    oauth_error: Option<String>,
    aadsts_codes: Vec<u32>,
    correlation_id: Option<String>,
    trace_id: Option<String>,
    retry_after: Option<Duration>,
    attempts: Vec<Attempt>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_one_word_wide() {
        assert_eq!(size_of::<Result<(), Error>>(), size_of::<usize>());
    }

    #[test]
    fn display_has_no_text_of_the_source() {
        let error =
            Error::assertion("the token file /x is missing").with_source(std::io::Error::other("deep"));
        assert_eq!(error.to_string(), "the token file /x is missing");
        assert_eq!(error.source().unwrap().to_string(), "deep");
    }

    #[test]
    fn transience_follows_the_status_once_there_is_one() {
        for (error, transient) in [
            (Error::transport("reset"), true),
            (Error::assertion("missing"), false),
            (Error::configuration("wrong"), false),
            (Error::unavailable("none"), false),
            (
                Error::protocol("html").with_status(StatusCode::SERVICE_UNAVAILABLE),
                true,
            ),
            (Error::protocol("html").with_status(StatusCode::FORBIDDEN), false),
            (Error::protocol("html").with_status(StatusCode::OK), false),
            (
                Error::new(ErrorKind::Rejected, "throttled").with_status(StatusCode::TOO_MANY_REQUESTS),
                true,
            ),
            (
                Error::new(ErrorKind::Rejected, "slow").with_status(StatusCode::REQUEST_TIMEOUT),
                true,
            ),
            (
                Error::new(ErrorKind::Rejected, "bad").with_status(StatusCode::BAD_REQUEST),
                false,
            ),
            (
                Error::new(ErrorKind::Rejected, "busy")
                    .with_status(StatusCode::BAD_REQUEST)
                    .with_oauth_error(Some("temporarily_unavailable".into()), vec![]),
                true,
            ),
        ] {
            assert_eq!(error.is_transient(), transient, "{error:?}");
        }
    }

    #[test]
    fn only_what_is_not_set_up_here_lets_a_chain_go_on() {
        assert!(Error::new(ErrorKind::Unavailable, "no variables").is_unavailable());
        assert!(!Error::configuration("no tenant").is_unavailable());
    }

    #[test]
    fn debug_shows_what_there_is_to_know() {
        let error = Error::transport("the host is down").with_status(StatusCode::BAD_GATEWAY);
        let shown = format!("{error:?}");
        for part in ["Transport", "the host is down", "502"] {
            assert!(shown.contains(part), "{shown}");
        }
    }
}
