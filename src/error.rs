use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use crate::code::Code;
use crate::escape::Escaped;

/// The reason why there is no token.
///
/// One word wide and cheap to clone: all waiters of one fetch get the same error.
///
/// * [`kind()`](Self::kind) says what failed, and so who can fix it.
/// * `Display` is one stable line: what failed, and what to do about it. The error of a chain
///   begins with the link that decided it; the alternate form (`{:#}`) adds one line for each link.
///   The text contains no timestamp, no request ID and no text of its source, so a controller can
///   put it into a status field without causing updates.
/// * `Display` and `Debug` escape control characters, line breaks, and invisible or bidirectional
///   characters, so that no text of a server or a variable acts on a terminal or a log.
/// * [`source()`](StdError::source) is the cause, if there is one: the I/O error, or the server's
///   error text.
/// * `Debug` is one line for people: kind, message, the status and IDs of the request, and all
///   causes. This is what a program prints whose `main` returns the error.
/// * No part of it, including `Debug`, contains a token, a client assertion or a client secret.
///
/// # Examples
///
/// ```
/// use entra_workload::{Environment, ErrorKind, WorkloadIdentityCredential};
///
/// let outside_a_pod = Environment::default();
/// let error = WorkloadIdentityCredential::builder()
///     .environment(outside_a_pod)
///     .build()
///     .unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::Unavailable);
/// assert!(!error.is_transient());
/// println!("{error}");
/// ```
#[derive(Clone)]
pub struct Error(Arc<Inner>);

/// The kind of an [`Error`]: what failed.
///
/// # Examples
///
/// ```
/// use entra_workload::{Error, ErrorKind};
///
/// /// Who has to act on the error.
/// fn owner(error: &Error) -> &'static str {
///     match error.kind() {
///         ErrorKind::Unavailable | ErrorKind::Configuration => "deployment",
///         ErrorKind::Transport => "network",
///         _ if error.is_transient() => "nobody: it is retried",
///         _ => "tenant administrator",
///     }
/// }
/// assert_eq!(owner(&Error::new(ErrorKind::Transport, "connection reset")), "network");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The credential is not set up in this environment, for example because
    /// `AZURE_FEDERATED_TOKEN_FILE` is not set. A chain tries its next link.
    Unavailable,
    /// The credential is set up incorrectly, for example with a missing client ID, an authority
    /// that is not `https`, or a scope that contains a space. Somebody must change the
    /// configuration; the message says how.
    Configuration,
    /// There is no usable client assertion: the token file is missing, empty, too large, not a JWT,
    /// or expired. The message contains the path, never the content. The next call reads the file
    /// again.
    Assertion,
    /// No complete response arrived: name resolution, connection, TLS, a reset or a timeout.
    Transport,
    /// The server returned an OAuth error, or a service that issues client assertions refused. See
    /// [`Error::status`], [`Error::oauth_error`] and [`Error::aadsts_codes`].
    Rejected,
    /// The response does not follow the protocol: HTML, no `access_token`, or a body of more than
    /// 256 KiB. See [`Error::status`].
    Protocol,
}

impl Error {
    /// Creates an error, for a [`ClientAssertion`](crate::assertion::ClientAssertion), a
    /// [`Transport`](crate::transport::Transport) or a [`Credential`](crate::Credential) outside this
    /// crate. The methods `with_…` add what else is known; a token request and the cache act on it as
    /// on an error of this crate.
    ///
    /// * `message`: one line, lower case, no full stop; says what failed and what to do. It must
    ///   not contain a secret, a timestamp or a request ID.
    ///
    /// # Examples
    ///
    /// A service throttles: the next request is sent after 30 s.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use entra_workload::{Error, ErrorKind};
    /// use http::StatusCode;
    ///
    /// let error = Error::new(ErrorKind::Rejected, "the vault of assertions throttled the request; retry later")
    ///     .with_status(StatusCode::TOO_MANY_REQUESTS)
    ///     .with_retry_after(Duration::from_secs(30));
    /// assert!(error.is_transient());
    /// ```
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Arc::new(Inner {
            kind,
            message: Message::Text(message.into()),
            status: None,
            oauth_error: None,
            aadsts_codes: Vec::new(),
            correlation_id: None,
            trace_id: None,
            retry_after: None,
            attempts: Vec::new(),
            code: None,
            source: None,
        }))
    }

    /// Returns the error with a cause. The cause must not contain a secret.
    #[must_use]
    pub fn with_source(self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.map(|inner| inner.source = Some(Arc::from(source.into())))
    }

    /// Returns the error with the HTTP status of a response. For 408, 429 and 5xx the error
    /// [is transient](Self::is_transient), so the request is repeated.
    #[must_use]
    pub fn with_status(self, status: StatusCode) -> Self {
        self.map(|inner| inner.status = Some(status))
    }

    /// Returns the error with the pause that the server asked for: no request is sent before it ends. A pause
    /// of more than 10 minutes counts as that in the cache.
    #[must_use]
    pub fn with_retry_after(self, retry_after: impl Into<Option<Duration>>) -> Self {
        self.map(|inner| inner.retry_after = retry_after.into())
    }

    /// Returns the error with the code of the problem, which `Display` appends to the message.
    ///
    /// # Examples
    ///
    /// ```
    /// use entra_workload::{Code, Error, ErrorKind};
    ///
    /// let error = Error::new(ErrorKind::Transport, "the office proxy did not respond in time")
    ///     .with_code(Code::NO_RESPONSE);
    /// assert_eq!(error.to_string(), "the office proxy did not respond in time (EW208)");
    /// ```
    #[must_use]
    pub fn with_code(self, code: Code) -> Self {
        self.map(|inner| inner.code = Some(code))
    }

    /// Returns the error with an OAuth error code, such as `invalid_client`.
    ///
    /// # Examples
    ///
    /// What Entra told a credential of your own:
    ///
    /// ```
    /// use entra_workload::{Error, ErrorKind};
    ///
    /// let error = Error::new(ErrorKind::Rejected, "Entra refused the device; register it again")
    ///     .with_oauth_error("invalid_client")
    ///     .with_aadsts_codes([700_003])
    ///     .with_correlation_id("4f2c1d3a-0a1b-4c5d-8e9f-000000000001");
    /// assert_eq!(error.aadsts_codes(), [700_003]);
    /// ```
    #[must_use]
    pub fn with_oauth_error(self, error: impl Into<String>) -> Self {
        self.map(|inner| inner.oauth_error = Some(error.into()))
    }

    /// Returns the error with the AADSTS codes of a response. A token request is repeated after those that
    /// Entra returns while a change of its configuration spreads.
    #[must_use]
    pub fn with_aadsts_codes(self, codes: impl Into<Vec<u32>>) -> Self {
        self.map(|inner| inner.aadsts_codes = codes.into())
    }

    /// Returns the error with the correlation ID of the request.
    #[must_use]
    pub fn with_correlation_id(self, id: impl Into<String>) -> Self {
        self.map(|inner| inner.correlation_id = Some(id.into()))
    }

    /// Returns the error with the server's own ID of the request.
    #[must_use]
    pub fn with_trace_id(self, id: impl Into<String>) -> Self {
        self.map(|inner| inner.trace_id = Some(id.into()))
    }

    /// Returns the first error of this crate among `error` and its sources. The clients of the SDK
    /// wrap the errors of a credential in their own, whose texts do not say what failed.
    ///
    /// Log the `Debug` of the error that is found: message, IDs of the request, and causes. A typed
    /// `downcast_ref::<Error>()` does not find it in an SDK's error, where it is wrapped so that no
    /// text appears twice among the sources.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::error::Error as StdError;
    ///
    /// use entra_workload::Error;
    ///
    /// /// Logs a failed call of an SDK client.
    /// fn log(error: &(dyn StdError + 'static)) {
    ///     match Error::find_in(error) {
    ///         // Rejected: login.microsoftonline.com refused client … (status 401); … (correlation ID …)
    ///         Some(error) => eprintln!("no token: {error:?}"),
    ///         None => eprintln!("the service failed: {error}"),
    ///     }
    /// }
    /// # #[cfg(feature = "azure-core")]
    /// # {
    /// use entra_workload::ErrorKind;
    ///
    /// let ours = Error::new(ErrorKind::Transport, "login.microsoftonline.com refused the connection");
    /// let error = azure_core::Error::from(ours).with_context("the request will not be retried");
    /// assert!(Error::find_in(&error).is_some_and(Error::is_transient));
    /// log(&error);
    /// # }
    /// ```
    pub fn find_in<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            let wrapped = || error.downcast_ref::<Wrapped>().map(|wrapped| &wrapped.0);
            if let Some(found) = error.downcast_ref().or_else(wrapped) {
                return Some(found);
            }
            next = error.source();
        }
        None
    }

    /// Returns the kind of the error.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Returns the code of the problem, whose section in [Troubleshooting](Code) has the cause and the
    /// fix. `Display` appends it to the [message](Self::message).
    pub fn code(&self) -> Option<Code> {
        self.0.code
    }

    /// Returns the text of the error without its [code](Self::code), for logs that have a field for the code.
    ///
    /// # Examples
    ///
    /// ```
    /// use entra_workload::{Environment, WorkloadIdentityCredential};
    ///
    /// let pod = Environment::from_iter([("KUBERNETES_SERVICE_HOST", "10.0.0.1")]);
    /// let error = WorkloadIdentityCredential::builder().environment(pod).build().unwrap_err();
    /// assert_eq!(format!("{} (EW101)", error.message()), error.to_string());
    /// ```
    pub fn message(&self) -> String {
        Escaped(self.0.text()).to_string()
    }

    /// Whether the credential is not set up in this environment; a chain then tries its next link.
    pub fn is_unavailable(&self) -> bool {
        self.kind() == ErrorKind::Unavailable
    }

    /// Whether the same call may succeed later without a change by a human.
    ///
    /// True if no complete response arrived, if the status is 408, 429 or 5xx, and if the OAuth
    /// error is `temporarily_unavailable`. AADSTS codes are not considered: according to
    /// Microsoft's list of them, programs must not depend on the numbers.
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

    /// Returns the HTTP status of the response, if there was one.
    pub fn status(&self) -> Option<StatusCode> {
        self.0.status
    }

    /// Returns the OAuth error code, such as `invalid_client` (RFC 6749, section 5.2).
    pub fn oauth_error(&self) -> Option<&str> {
        self.0.oauth_error.as_deref()
    }

    /// Returns the AADSTS codes, such as `[700213]`; empty if the server sent none. They are for
    /// people: programs should branch on [`kind()`](Self::kind) and
    /// [`is_transient()`](Self::is_transient).
    pub fn aadsts_codes(&self) -> &[u32] {
        &self.0.aadsts_codes
    }

    /// Returns the correlation ID of the token request, which Microsoft's support asks for: the one
    /// that the server returned, or the `client-request-id` that this crate sent.
    pub fn correlation_id(&self) -> Option<&str> {
        self.0.correlation_id.as_deref()
    }

    /// Returns the server's own ID of the request.
    pub fn trace_id(&self) -> Option<&str> {
        self.0.trace_id.as_deref()
    }

    /// Returns how long the server asked to wait before the next request.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// Returns the error of each link of a chain, in order; empty if the error is not from a chain.
    pub fn attempts(&self) -> &[Attempt] {
        &self.0.attempts
    }

    /// Creates the error of a chain in which no link returned a token. It has the kind of the last
    /// attempt, which either stopped the chain or was unavailable like all others.
    ///
    /// The message begins with the attempt that decides: the one that stopped the chain, or else the
    /// one whose error is `hint`, or else all of them.
    ///
    /// * `hint`: a problem of the environment, which the message contains in any case.
    pub(crate) fn of_chain(attempts: Vec<Attempt>, hint: Option<&Self>) -> Self {
        let Some(last) = attempts.last() else {
            return Self::configuration("the chain has no links");
        };
        let is_hint = |attempt: &&Attempt| hint.is_some_and(|hint| attempt.error.is_same_problem(hint));
        let decisive: Vec<&Attempt> = match attempts.iter().find(is_hint) {
            _ if !last.error.is_unavailable() => vec![last],
            Some(explained) => vec![explained],
            None => attempts.iter().collect(),
        };
        let code = decisive.iter().find_map(|attempt| attempt.error.code());
        let message = Message::Chain {
            hint: hint.filter(|_| !decisive.iter().any(is_hint)).cloned(),
            decisive: decisive.into_iter().cloned().collect(),
        };
        last.error.clone().map(|inner| {
            inner.message = message;
            inner.code = code;
            inner.attempts = attempts;
        })
    }

    /// Whether both errors have the same kind and code. Their messages may name different values.
    pub(crate) fn is_same_problem(&self, other: &Self) -> bool {
        self.kind() == other.kind() && self.code() == other.code()
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

    fn map(mut self, change: impl FnOnce(&mut Inner)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }
}

/// The error of one link of a chain.
///
/// # Examples
///
/// ```
/// use entra_workload::{ChainedTokenCredential, Error};
///
/// async fn log_attempts(credential: &ChainedTokenCredential) -> Result<(), Error> {
///     if let Err(error) = credential.token(&["https://vault.azure.net/.default"]).await {
///         for attempt in error.attempts() {
///             println!("{}: {:?}", attempt.name(), attempt.error().kind());
///         }
///         return Err(error);
///     }
///     Ok(())
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Attempt {
    name: Cow<'static, str>,
    error: Error,
}

impl Attempt {
    pub(crate) fn new(name: Cow<'static, str>, error: Error) -> Self {
        Self { name, error }
    }

    /// Returns the name of the link.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the reason why the link returned no token.
    pub fn error(&self) -> &Error {
        &self.error
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Escaped(self.0.text()))?;
        // The texts of the attempts, of which that of a chain consists, end with their own codes.
        if let (Message::Text(_), Some(code)) = (&self.0.message, self.code()) {
            write!(f, " ({code})")?;
        }
        if f.alternate() {
            for Attempt { name, error } in &self.0.attempts {
                // A chain within a chain is indented one step further.
                let error = format!("{error:#}").replace('\n', "\n  ");
                write!(f, "\n  {}: {error}", Escaped(name))?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let facts = RequestFacts(&self.0);
        write!(f, "{:?}: {self}{}", self.kind(), Escaped(facts))?;
        write_causes(f, self)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

/// Reads a code as it is displayed, such as `EW404`.
///
/// # Errors
///
/// [`ErrorKind::Configuration`] if this release has no such code.
///
/// # Examples
///
/// ```
/// use entra_workload::Code;
///
/// assert_eq!("EW404".parse::<Code>()?, Code::SUBJECT_MISMATCH);
/// assert!("EW999".parse::<Code>().is_err());
/// # Ok::<(), entra_workload::Error>(())
/// ```
impl FromStr for Code {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let mut codes = Self::ALL.iter().copied();
        codes.find(|code| code == text).ok_or_else(|| {
            // The text may be a secret that stands in the wrong place.
            Error::configuration("unknown code; a code is EW and three digits, such as EW404")
        })
    }
}

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    message: Message,
    status: Option<StatusCode>,
    oauth_error: Option<String>,
    aadsts_codes: Vec<u32>,
    correlation_id: Option<String>,
    trace_id: Option<String>,
    retry_after: Option<Duration>,
    attempts: Vec<Attempt>,
    code: Option<Code>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

impl Inner {
    /// The message, not escaped.
    fn text(&self) -> Cow<'_, str> {
        let (decisive, hint) = match &self.message {
            Message::Text(text) => return Cow::Borrowed(text),
            Message::Chain { decisive, hint } => (decisive, hint),
        };
        let reasons = decisive
            .iter()
            .map(|Attempt { name, error }| format!("{name}: {error}"));
        let reasons: Vec<String> = reasons.chain(hint.as_ref().map(Error::to_string)).collect();
        let start = if self.kind == ErrorKind::Unavailable {
            "no credential of the chain is available here: "
        } else {
            "the chain stopped at "
        };
        Cow::Owned(start.to_owned() + &reasons.join("; "))
    }
}

/// What an error says, without its code.
#[derive(Clone)]
enum Message {
    Text(String),
    /// The attempts that decide, and a problem of the environment beyond them.
    Chain {
        decisive: Vec<Attempt>,
        hint: Option<Error>,
    },
}

/// An error as the source of an SDK's error that has its message as text. Shows everything but the
/// message, so that no text is repeated along the sources.
pub(crate) struct Wrapped(pub(crate) Error);

impl fmt::Display for Wrapped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let facts = RequestFacts(&self.0.0);
        write!(f, "{:?}{}", self.0.kind(), Escaped(facts))
    }
}

impl fmt::Debug for Wrapped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")?;
        write_causes(f, &self.0)
    }
}

impl StdError for Wrapped {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source()
    }
}

/// What is known about the token request beside the message, in parentheses; nothing if that is
/// empty.
struct RequestFacts<'a>(&'a Inner);

impl fmt::Display for RequestFacts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let message = self.0.text();
        let Inner {
            status,
            retry_after,
            correlation_id,
            trace_id,
            ..
        } = self.0;
        let facts = [
            status
                .map(|status| format!("status {}", status.as_u16()))
                .filter(|status| !message.contains(status)),
            retry_after.map(|retry_after| format!("retry after {retry_after:?}")),
            correlation_id.as_ref().map(|id| format!("correlation ID {id}")),
            trace_id.as_ref().map(|id| format!("trace ID {id}")),
        ];
        let facts: Vec<_> = facts.into_iter().flatten().collect();
        if facts.is_empty() {
            return Ok(());
        }
        write!(f, " ({})", facts.join(", "))
    }
}

/// Writes the texts of all causes, without those that only repeat the text before them, as some
/// wrappers do.
fn write_causes(f: &mut fmt::Formatter<'_>, error: &Error) -> fmt::Result {
    let mut last = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if text != last {
            write!(f, ": {}", Escaped(&text))?;
        }
        (last, cause) = (text, error.source());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn error_is_one_word_wide() {
        assert_eq!(size_of::<Result<(), Error>>(), size_of::<usize>());
    }

    #[test]
    fn display_appends_the_code_that_the_message_omits() {
        let error = Error::transport("no route").with_code(Code::UNREACHABLE_HOST);
        let renamed = error.clone().with_code(Code::NO_RESPONSE);
        assert_eq!(error.message(), "no route");
        assert_eq!(error.to_string(), "no route (EW203)");
        assert_eq!(renamed.to_string(), "no route (EW208)");
        let chain = Error::of_chain(vec![Attempt::new("a".into(), error)], None);
        assert_eq!(chain.to_string(), "the chain stopped at a: no route (EW203)");
        assert_eq!(chain.code(), Some(Code::UNREACHABLE_HOST));
    }

    #[test]
    fn chain_compares_the_hint_by_kind_and_code() {
        let missing = |text: &str| Error::unavailable(text).with_code(Code::NO_WORKLOAD_IDENTITY);
        let attempts = || {
            let other = Error::unavailable("no login");
            vec![
                Attempt::new("a".into(), missing("not in this pod")),
                Attempt::new("b".into(), other),
            ]
        };
        let start = "no credential of the chain is available here: a: not in this pod (EW101)";
        let explained = Error::of_chain(attempts(), Some(&missing("not in that pod")));
        assert_eq!(explained.to_string(), start);
        let others = [
            missing("x").with_code(Code::NOT_IN_A_POD),
            Error::configuration("x").with_code(Code::NO_WORKLOAD_IDENTITY),
        ];
        for hint in others {
            let text = Error::of_chain(attempts(), Some(&hint)).to_string();
            assert_eq!(text, format!("{start}; b: no login; {hint}"));
        }
    }

    #[test]
    fn display_omits_the_text_of_the_source() {
        let error =
            Error::assertion("the token file /x is missing").with_source(std::io::Error::other("deep"));
        assert_eq!(error.to_string(), "the token file /x is missing");
        assert_eq!(error.source().unwrap().to_string(), "deep");
    }

    #[test]
    fn is_transient_follows_the_status_if_there_is_one() {
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
                    .with_oauth_error("temporarily_unavailable"),
                true,
            ),
        ] {
            assert_eq!(error.is_transient(), transient, "{error:?}");
        }
    }

    #[test]
    fn is_unavailable_only_for_that_kind() {
        assert!(Error::new(ErrorKind::Unavailable, "no variables").is_unavailable());
        assert!(!Error::configuration("no tenant").is_unavailable());
    }

    #[test]
    fn debug_contains_kind_message_ids_and_causes() {
        let source = std::io::Error::other("deep");
        let error = Error::transport("the host is down")
            .with_status(StatusCode::BAD_GATEWAY)
            .with_retry_after(Some(Duration::from_secs(7)))
            .with_correlation_id("1f0c")
            .with_trace_id("2a7b")
            .with_source(Error::protocol("half a reply").with_source(source));
        assert_eq!(
            format!("{error:?}"),
            "Transport: the host is down (status 502, retry after 7s, correlation ID 1f0c, trace ID 2a7b): \
             half a reply: deep"
        );
    }

    proptest! {
        #[test]
        fn no_text_in_an_error_acts_on_a_terminal(before: String, c: char, after: String) {
            let text = format!("{before}\u{1b}]52;\u{202e}{c}\r\n{after}");
            let error = Error::transport(text.clone())
                .with_correlation_id(text.clone())
                .with_trace_id(text.clone())
                .with_source(std::io::Error::other(text.clone()));
            let attempt = Attempt::new(text.into(), error.clone());
            let chain = Error::of_chain(vec![attempt], None);
            let wrapped = Wrapped(error.clone());
            let shown = [
                format!("{error} {error:?} {wrapped} {wrapped:?} {chain} {chain:?}"),
                format!("{chain:#}").replacen('\n', "", 1),
            ];
            for shown in shown {
                let is_visible = |c: char| c == ' ' || c.is_ascii_graphic() || c.escape_debug().next() != Some('\\');
                prop_assert!(shown.chars().all(is_visible), "{shown:?}");
            }
        }
    }

    #[test]
    fn debug_omits_what_is_absent() {
        let error = Error::configuration("AZURE_CLIENT_ID is not set");
        assert_eq!(format!("{error:?}"), "Configuration: AZURE_CLIENT_ID is not set");
    }
}
