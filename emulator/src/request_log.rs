use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Method, StatusCode, Uri};

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
            // Includes `proxy-authorization` and `x-ms-copy-source-authorization`.
            let hidden = name.as_str().ends_with("authorization") || name == IDENTITY_HEADER;
            (
                name.as_str(),
                if hidden {
                    "[redacted]"
                } else {
                    value.to_str().unwrap_or("[binary]")
                },
            )
        });
        let form = url::form_urlencoded::parse(&self.form).map(|(name, value)| {
            let shown = VISIBLE_FORM_FIELDS.contains(&name.as_ref());
            (
                name.into_owned(),
                if shown {
                    value.into_owned()
                } else {
                    "[redacted]".to_owned()
                },
            )
        });
        f.debug_struct("RecordedRequest")
            .field("endpoint", &self.endpoint)
            .field("method", &self.method)
            .field("uri", &self.uri)
            .field("server_name", &self.server_name)
            .field("headers", &headers.collect::<Vec<_>>())
            .field("form", &form.collect::<Vec<_>>())
            .field("status", &self.status())
            .field("refusal", &self.refusal())
            .finish()
    }
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
            uri: request.uri().clone(),
            headers: request.headers().clone(),
            server_name: request
                .extensions()
                .get::<ServerName>()
                .and_then(|name| name.0.clone()),
            form: if is_form && has_forms {
                request.body().clone()
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

/// Returns the bytes of what a client chose.
fn length(request: &RecordedRequest) -> usize {
    let headers = request.headers.iter();
    let headers: usize = headers
        .map(|(name, value)| name.as_str().len() + value.len())
        .sum();
    let query = request.uri.query().unwrap_or_default();
    request.form.len() + headers + request.uri.path().len() + query.len()
}

/// The header that authenticates an app to the managed identity endpoint of App Service.
pub(super) const IDENTITY_HEADER: &str = "x-identity-header";

const FORM: &str = "application/x-www-form-urlencoded";

/// The form fields that `Debug` shows; all others are redacted.
const VISIBLE_FORM_FIELDS: [&str; 5] = [
    "client_assertion_type",
    "client_id",
    "grant_type",
    "scope",
    "claims",
];

const MAX_REFUSALS: usize = 1000;

/// Bounds the memory of an emulator that runs for days.
const MAX_RECORDED_REQUESTS: usize = 65_536;

/// Some thousand token requests with their assertions.
const MAX_RECORDED_LENGTH: usize = 32 * 1024 * 1024;
