use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};

use super::endpoint::Endpoint;
use super::jwt::Jwt;
use super::refusal;
use super::server::ServerName;

/// A request received by the emulator.
///
/// `Debug` shows neither bodies nor credentials. Use [`header`](Self::header) and
/// [`form`](Self::form) to read them.
///
/// # Examples
///
/// ```
/// use entra_workload_emulator::{Emulator, Endpoint};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> std::io::Result<()> {
/// let emulator = Emulator::start().await?;
/// // … run the code under test …
/// for request in emulator.requests_to(Endpoint::Entra) {
///     assert_eq!(request.method(), "POST");
///     assert_eq!(request.form("grant_type").as_deref(), Some("client_credentials"));
///     assert_eq!(request.status(), Some(200));
/// }
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct RecordedRequest {
    endpoint: Endpoint,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    server_name: Option<Arc<str>>,
    /// The body of a form request. Other bodies can be large and are not kept.
    form: Bytes,
    status: Arc<OnceLock<StatusCode>>,
    refusal: Arc<OnceLock<String>>,
}

impl RecordedRequest {
    /// The endpoint that received the request.
    pub fn endpoint(&self) -> Endpoint {
        self.endpoint
    }

    /// The method, for example `POST`.
    pub fn method(&self) -> &str {
        self.method.as_str()
    }

    /// The path, without the query.
    pub fn path(&self) -> &str {
        self.uri.path()
    }

    /// The query, without `?` and not decoded.
    pub fn query(&self) -> Option<&str> {
        self.uri.query()
    }

    /// The value of the first header with this name, which is case-insensitive. Returns `None` if
    /// the value is not visible ASCII.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The server name in the TLS handshake of the connection (SNI).
    pub fn server_name(&self) -> Option<&str> {
        self.server_name.as_deref()
    }

    /// The decoded value of the first form field with this name.
    pub fn form(&self, field: &str) -> Option<String> {
        url::form_urlencoded::parse(&self.form)
            .find(|(name, _)| name == field)
            .map(|(_, value)| value.into_owned())
    }

    /// The status of the response. Returns `None` until there is a response, and after a
    /// [hang](crate::Fault::hang) or a [reset](crate::Fault::reset).
    pub fn status(&self) -> Option<u16> {
        self.status.get().map(StatusCode::as_u16)
    }

    /// Why the request was refused: the first line of the error response, such as
    /// `AADSTS700213: No matching federated identity record found …`. `None` if it was not refused.
    pub fn refusal(&self) -> Option<&str> {
        self.refusal.get().map(String::as_str)
    }

    /// The AADSTS code of a refusal.
    pub fn aadsts(&self) -> Option<u32> {
        let (code, _) = self.refusal()?.strip_prefix("AADSTS")?.split_once(':')?;
        code.parse().ok()
    }

    /// The client ID of the request: that of the form, or of the bearer token, which was not necessarily
    /// accepted.
    pub fn client_id(&self) -> Option<String> {
        #[derive(serde::Deserialize)]
        struct Claims {
            appid: String,
        }
        let of_token = || {
            let (_, token) = self.header("authorization")?.split_once(' ')?;
            Some(Jwt::<Claims>::parse(token)?.claims.appid)
        };
        self.form("client_id").or_else(of_token)
    }

    /// The refusal in one line, if it is one. The challenge that clients of a service ask for first is none, and neither
    /// is a blob or a secret that is not there.
    pub(super) fn refusal_line(&self) -> Option<String> {
        let refusal = self.refusal()?;
        let is_service = matches!(self.endpoint, Endpoint::KeyVault | Endpoint::Blob);
        let asks_for_challenge = self.status() == Some(401) && self.header("authorization").is_none();
        if is_service && (asks_for_challenge || self.status() == Some(404)) {
            return None;
        }
        Some(format!(
            "{} {} {}: {} {refusal}",
            self.endpoint,
            self.method(),
            self.path(),
            self.status().unwrap_or_default(),
        ))
    }

    pub(super) fn set_response(&self, response: &http::Response<Bytes>) {
        // Each request has one response.
        let _ = self.status.set(response.status());
        if let Some(reason) = refusal::reason(response) {
            let _ = self.refusal.set(reason);
        }
    }
}

impl fmt::Debug for RecordedRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headers = self.headers.iter().map(|(name, value)| {
            let is_visible = VISIBLE_HEADERS.contains(&name.as_str());
            let value = if is_visible {
                value.to_str().unwrap_or("[binary]")
            } else {
                "[redacted]"
            };
            (name.as_str(), value)
        });
        f.debug_struct("RecordedRequest")
            .field("endpoint", &self.endpoint)
            .field("method", &self.method)
            .field("path", &self.uri.path())
            .field("query", &visible(self.uri.query().unwrap_or_default().as_bytes()))
            .field("server_name", &self.server_name)
            .field("headers", &headers.collect::<Vec<_>>())
            .field("form", &visible(&self.form))
            .field("status", &self.status())
            .field("refusal", &self.refusal())
            .finish()
    }
}

/// The fields of a form or a query as `Debug` shows them.
fn visible(fields: &[u8]) -> Vec<(String, String)> {
    let fields = url::form_urlencoded::parse(fields);
    let shown = fields.map(|(name, value)| {
        let is_visible = VISIBLE_FIELDS.contains(&name.as_ref());
        let value = if is_visible { &value } else { "[redacted]" };
        (name.into_owned(), value.to_owned())
    });
    shown.collect()
}

/// The recorded requests, oldest first, and how often each refusal was given. The latter is kept when the requests are
/// forgotten.
#[derive(Default)]
pub(super) struct RequestLog {
    requests: Mutex<Requests>,
    refusals: Mutex<BTreeMap<String, usize>>,
}

impl RequestLog {
    /// Records a request. The caller sets the status of the returned record.
    pub(super) fn record(&self, endpoint: Endpoint, request: &http::Request<Bytes>) -> RecordedRequest {
        let is_form = request
            .headers()
            .get(CONTENT_TYPE)
            .is_some_and(|value| value.as_bytes().starts_with(FORM.as_bytes()));
        let has_forms = !matches!(endpoint, Endpoint::Blob | Endpoint::KeyVault);
        let recorded = RecordedRequest {
            endpoint,
            method: request.method().clone(),
            uri: copied_uri(request.uri()),
            headers: copied_headers(request.headers()),
            server_name: request
                .extensions()
                .get::<ServerName>()
                .and_then(|name| name.0.clone()),
            form: if is_form && has_forms {
                Bytes::copy_from_slice(request.body())
            } else {
                Bytes::new()
            },
            status: Arc::default(),
            refusal: Arc::default(),
        };
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        requests.push(recorded.clone());
        recorded
    }

    /// Counts a refusal, in one line.
    pub(super) fn count_refusal(&self, line: &str) {
        let line = refusal::escape(line);
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        // Bounds the memory of an emulator that runs for days.
        if refusals.len() < MAX_REFUSALS || refusals.contains_key(&line) {
            *refusals.entry(line).or_default() += 1;
        }
    }

    pub(super) fn refusals(&self) -> Vec<(String, usize)> {
        let refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        refusals.clone().into_iter().collect()
    }

    pub(super) fn clear(&self) {
        *self.requests.lock().unwrap_or_else(PoisonError::into_inner) = Requests::default();
    }

    pub(super) fn all(&self) -> Vec<RecordedRequest> {
        self.requests
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .kept
            .iter()
            .cloned()
            .collect()
    }
}

/// The last requests, limited in number and in length: anybody on the machine can send some.
#[derive(Default)]
struct Requests {
    kept: VecDeque<RecordedRequest>,
    length: usize,
}

impl Requests {
    fn push(&mut self, request: RecordedRequest) {
        self.length += length(&request);
        self.kept.push_back(request);
        while self.kept.len() > MAX_RECORDED_REQUESTS || self.length > MAX_RECORDED_LENGTH {
            let Some(oldest) = self.kept.pop_front() else {
                break;
            };
            self.length -= length(&oldest);
        }
    }
}

/// A copy that does not keep the buffer of the connection in memory, which is far larger than a small request.
fn copied_uri(uri: &Uri) -> Uri {
    uri.to_string().parse().unwrap_or_else(|_| uri.clone())
}

/// A copy that does not keep the buffer of the connection in memory.
fn copied_headers(headers: &HeaderMap) -> HeaderMap {
    let mut own = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers {
        let name = HeaderName::from_bytes(name.as_str().as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value.as_bytes())) {
            own.append(name, value);
        }
    }
    own
}

/// Returns about how many bytes of memory a request takes.
fn length(request: &RecordedRequest) -> usize {
    let headers = request.headers.iter();
    let headers: usize = headers
        .map(|(name, value)| HEADER_LENGTH + name.as_str().len() + value.len())
        .sum();
    let query = request.uri.query().unwrap_or_default();
    REQUEST_LENGTH + request.form.len() + headers + request.uri.path().len() + query.len()
}

const FORM: &str = "application/x-www-form-urlencoded";

/// The headers that `Debug` shows; all others can have a secret and are redacted.
const VISIBLE_HEADERS: [&str; 9] = [
    "accept",
    "content-length",
    "content-type",
    "host",
    "metadata",
    "user-agent",
    "x-ms-blob-type",
    "x-ms-date",
    "x-ms-version",
];

/// The fields of forms and queries that `Debug` shows; all others are redacted.
const VISIBLE_FIELDS: [&str; 11] = [
    "api-version",
    "audience",
    "claims",
    "client_assertion_type",
    "client_id",
    "comp",
    "grant_type",
    "mi_res_id",
    "resource",
    "restype",
    "scope",
];

const MAX_REFUSALS: usize = 1000;

/// Bounds the memory of an emulator that runs for days.
const MAX_RECORDED_REQUESTS: usize = 65_536;

/// Some thousand token requests with their assertions.
const MAX_RECORDED_LENGTH: usize = 32 * 1024 * 1024;

/// What a request and each of its headers take besides their texts.
const REQUEST_LENGTH: usize = 256;
const HEADER_LENGTH: usize = 128;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn request(uri: &Bytes, header: &HeaderValue, headers: usize) -> http::Request<Bytes> {
        let uri = Uri::from_maybe_shared(uri.clone()).unwrap();
        let mut request = http::Request::new(Bytes::new());
        *request.uri_mut() = uri;
        for index in 0..headers {
            let name: HeaderName = format!("h{index}").parse().unwrap();
            request.headers_mut().append(name, header.clone());
        }
        request
    }

    /// The buffer of a connection has at least 8 KiB, also for a request of 50 bytes.
    #[test]
    fn record_does_not_keep_the_buffer_of_its_connection() {
        let log = RequestLog::default();
        let buffer = Bytes::from(b"/metadata/identity?a=b form".to_vec());
        let header = HeaderValue::from_maybe_shared(buffer.slice(..9)).unwrap();
        let mut sent = request(&buffer.slice(..22), &header, 2);
        sent.headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static(FORM));
        *sent.body_mut() = buffer.slice(23..);
        let recorded = log.record(Endpoint::Imds, &sent);
        drop(sent);
        drop(header);
        assert!(buffer.is_unique());
        assert_eq!(recorded.path(), "/metadata/identity");
        assert_eq!(
            (recorded.query(), recorded.header("h1")),
            (Some("a=b"), Some("/metadata"))
        );
        assert_eq!(recorded.form.as_ref(), b"form");
    }

    #[test]
    fn headers_without_text_count_for_the_memory_of_the_log() {
        let log = RequestLog::default();
        let sent = request(&Bytes::from_static(b"/"), &HeaderValue::from_static(""), 100);
        for _ in 0..3000 {
            log.record(Endpoint::Imds, &sent);
        }
        let kept = log.all().len();
        assert!(kept < 2700, "{kept}");
    }
}
