use std::borrow::Cow;
use std::time::SystemTime;

use bytes::Bytes;
use http::{Request, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

use super::token_request::Form;
use crate::time::with_space;

/// An error response of Entra: an AADSTS code and its text.
pub(super) struct ErrorResponse {
    code: u32,
    text: Cow<'static, str>,
    /// The OAuth error, if it is not that of the code.
    name: Option<&'static str>,
    /// A claims challenge, in JSON.
    claims: Option<String>,
    /// In seconds.
    pub(super) retry_after: Option<u64>,
}

impl ErrorResponse {
    pub(super) fn new(code: u32, text: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            text: text.into(),
            name: None,
            claims: None,
            retry_after: None,
        }
    }

    pub(super) fn with_claims(mut self, claims: String) -> Self {
        self.claims = Some(claims);
        self
    }

    pub(super) fn after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    pub(super) fn unavailable() -> Self {
        Self::new(90_033, "A transient error has occurred. Please try again.")
    }

    pub(super) fn throttled() -> Self {
        Self::new(90_055, "Tenant is throttled, too many requests. Try again later.")
    }

    /// Replaces the OAuth error.
    pub(super) fn named(mut self, name: &'static str) -> Self {
        self.name = Some(name);
        self
    }

    /// Returns the error response for an injected status.
    pub(super) fn from_status(status: StatusCode, form: &Form) -> Self {
        match status {
            StatusCode::UNAUTHORIZED if form.field("client_secret").is_some() => Self::invalid_secret(),
            StatusCode::UNAUTHORIZED => {
                Self::no_federated_credentials(form.field("client_id").unwrap_or_default())
            }
            StatusCode::TOO_MANY_REQUESTS => Self::throttled(),
            StatusCode::INTERNAL_SERVER_ERROR => {
                Self::new(90_036, "Directory Proxy Client encountered an internal error.")
            }
            _ if status.is_server_error() => Self::unavailable(),
            _ => Self::new(90_023, "The authentication service request is not valid."),
        }
    }

    pub(super) fn invalid_secret() -> Self {
        Self::new(7_000_215, "Invalid client secret provided.")
    }

    pub(super) fn no_federated_credentials(client_id: &str) -> Self {
        Self::new(
            70_025,
            format!("The client '{client_id}' has no configured federated identity credentials."),
        )
    }

    pub(super) fn status(&self) -> StatusCode {
        self.kind().0
    }

    /// * `login_url`: of the host that the client asked, with a slash at its end.
    pub(super) fn to_json(&self, login_url: &str, ids: &RequestIds, now: SystemTime) -> Value {
        let Self {
            code,
            text,
            name,
            claims,
            ..
        } = self;
        let RequestIds { trace, correlation } = ids;
        let timestamp = with_space(now);
        let mut body = json!({
            "error": name.unwrap_or(self.kind().1),
            "error_description": format!(
                "AADSTS{code}: {text} Trace ID: {trace} Correlation ID: {correlation} Timestamp: {timestamp}"
            ),
            "error_codes": [code],
            "timestamp": timestamp,
            "trace_id": trace,
            "correlation_id": correlation,
            "error_uri": format!("{login_url}error?code={code}"),
        });
        if let (Some(claims), Some(body)) = (claims, body.as_object_mut()) {
            body.insert("suberror".to_owned(), "message_only".into());
            body.insert("claims".to_owned(), claims.as_str().into());
        }
        body
    }

    /// Returns the status and the OAuth error of the code.
    fn kind(&self) -> (StatusCode, &'static str) {
        match self.code {
            70_003 => (StatusCode::BAD_REQUEST, "unsupported_grant_type"),
            700_016 | 7_000_112 => (StatusCode::BAD_REQUEST, "unauthorized_client"),
            28_000 | 70_011 | 1_002_012 => (StatusCode::BAD_REQUEST, "invalid_scope"),
            500_011 => (StatusCode::BAD_REQUEST, "invalid_resource"),
            50_173 | 53_003 => (StatusCode::BAD_REQUEST, "invalid_grant"),
            70_023
            | 70_025
            | 700_021
            | 5_002_738
            | 700_023
            | 700_024
            | 700_027
            | 700_211..=700_213
            | 700_222
            | 700_226
            | 700_231
            | 7_000_215
            | 7_000_218
            | 7_000_222
            | 7_000_272
            | 7_002_138 => (StatusCode::UNAUTHORIZED, "invalid_client"),
            90_033 => (StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable"),
            90_036 => (StatusCode::INTERNAL_SERVER_ERROR, "server_error"),
            90_055 => (StatusCode::TOO_MANY_REQUESTS, "temporarily_unavailable"),
            _ => (StatusCode::BAD_REQUEST, "invalid_request"),
        }
    }
}

/// The IDs in every response.
pub(super) struct RequestIds {
    pub(super) trace: String,
    /// The `client-request-id` of the request, or a random ID.
    pub(super) correlation: String,
}

impl RequestIds {
    pub(super) fn from_request(request: &Request<Bytes>) -> Self {
        let sent = request
            .headers()
            .get("client-request-id")
            .and_then(|id| id.to_str().ok());
        let random = Self::random();
        Self {
            correlation: sent.map_or(random.correlation, str::to_owned),
            ..random
        }
    }

    pub(super) fn random() -> Self {
        Self {
            trace: Uuid::new_v4().to_string(),
            correlation: Uuid::new_v4().to_string(),
        }
    }
}
