use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Method, StatusCode, Uri};

use super::endpoint::Endpoint;

/// One request that reached the emulator.
///
/// `Debug` shows neither bodies nor credentials; [`header`](Self::header) and [`form`](Self::form) give them to a test
/// that asks by name.
#[derive(Clone)]
pub struct RecordedRequest {
    endpoint: Endpoint,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    /// The body if it is a form; others may be large, and no test needs them from here.
    form: Bytes,
    status: Arc<OnceLock<StatusCode>>,
}

impl RecordedRequest {
    /// The server it reached.
    pub fn endpoint(&self) -> Endpoint {
        self.endpoint
    }

    /// The method, for instance `POST`.
    pub fn method(&self) -> &str {
        self.method.as_str()
    }

    /// The path, without the query.
    pub fn path(&self) -> &str {
        self.uri.path()
    }

    /// What stands behind the `?`, as sent.
    pub fn query(&self) -> Option<&str> {
        self.uri.query()
    }

    /// The first header of this name, in any case; `None` also if it is not visible ASCII.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The first field of this name in a form body, decoded.
    pub fn form(&self, field: &str) -> Option<String> {
        url::form_urlencoded::parse(&self.form)
            .find(|(name, _)| name == field)
            .map(|(_, value)| value.into_owned())
    }

    /// The status of the answer; `None` while there is none, so for ever after a hang or a reset.
    pub fn status(&self) -> Option<u16> {
        self.status.get().map(StatusCode::as_u16)
    }

    pub(super) fn set_status(&self, status: StatusCode) {
        // Each request is answered once.
        let _ = self.status.set(status);
    }
}

impl fmt::Debug for RecordedRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headers = self.headers.iter().map(|(name, value)| {
            // Also `proxy-authorization` and `x-ms-copy-source-authorization`.
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
            .field("headers", &headers.collect::<Vec<_>>())
            .field("form", &form.collect::<Vec<_>>())
            .field("status", &self.status())
            .finish()
    }
}

/// All requests, oldest first.
#[derive(Default)]
pub(super) struct RequestLog(Mutex<VecDeque<RecordedRequest>>);

impl RequestLog {
    /// Keeps the request; the caller tells the result how it was answered.
    pub(super) fn record(&self, endpoint: Endpoint, request: &http::Request<Bytes>) -> RecordedRequest {
        let is_form = request
            .headers()
            .get(CONTENT_TYPE)
            .is_some_and(|value| value.as_bytes().starts_with(FORM.as_bytes()));
        let recorded = RecordedRequest {
            endpoint,
            method: request.method().clone(),
            uri: request.uri().clone(),
            headers: request.headers().clone(),
            form: if is_form {
                request.body().clone()
            } else {
                Bytes::new()
            },
            status: Arc::default(),
        };
        let mut requests = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if requests.len() == MAX_RECORDED_REQUESTS {
            requests.pop_front();
        }
        requests.push_back(recorded.clone());
        recorded
    }

    pub(super) fn all(&self) -> Vec<RecordedRequest> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .cloned()
            .collect()
    }
}

/// What lets an app on App Service have its tokens.
pub(super) const IDENTITY_HEADER: &str = "x-identity-header";

const FORM: &str = "application/x-www-form-urlencoded";

/// The fields of a token request that are no secrets; every other one is redacted.
const VISIBLE_FORM_FIELDS: [&str; 5] = [
    "client_assertion_type",
    "client_id",
    "grant_type",
    "scope",
    "claims",
];

/// Enough for any test, and a bound for an emulator that runs for days.
const MAX_RECORDED_REQUESTS: usize = 65_536;
