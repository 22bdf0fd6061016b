use bytes::Bytes;
use http::header::WWW_AUTHENTICATE;
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use serde_json::{Value, json};

use crate::server;

/// An error response of Key Vault: `{"error":{"code","message","innererror":{"code"}}}`.
pub(super) struct ErrorResponse {
    pub(super) status: StatusCode,
    pub(super) code: &'static str,
    pub(super) message: String,
    pub(super) inner_code: Option<&'static str>,
    pub(super) challenge: Option<HeaderValue>,
}

impl ErrorResponse {
    pub(super) fn new(status: StatusCode, code: &'static str, message: String) -> Self {
        Self {
            status,
            code,
            message,
            inner_code: None,
            challenge: None,
        }
    }

    pub(super) fn bad_parameter(message: String) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadParameter", message)
    }

    pub(super) fn not_found(name: &str) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "SecretNotFound",
            format!(
                "A secret with (name/id) {name} was not found in this key vault. If you recently deleted this secret \
                 you may be able to recover it using the correct recovery command."
            ),
        )
    }

    pub(super) fn disabled() -> Self {
        Self {
            inner_code: Some("SecretDisabled"),
            ..Self::new(
                StatusCode::FORBIDDEN,
                "Forbidden",
                "Operation get is not allowed on a disabled secret.".to_owned(),
            )
        }
    }

    pub(super) fn deleted_but_recoverable(name: &str) -> Self {
        Self {
            inner_code: Some("ObjectIsDeletedButRecoverable"),
            ..Self::new(
                StatusCode::CONFLICT,
                "Conflict",
                format!(
                    "Secret {name} is currently in a deleted but recoverable state, and its name cannot be reused; \
                     in this state, the secret can only be recovered or purged."
                ),
            )
        }
    }

    pub(super) fn into_response(self) -> Response<Bytes> {
        let mut error = json!({ "code": self.code, "message": self.message });
        if let (Value::Object(fields), Some(code)) = (&mut error, self.inner_code) {
            fields.insert("innererror".to_owned(), json!({ "code": code }));
        }
        let mut response = server::json(self.status, &json!({ "error": error }));
        let headers: &mut HeaderMap = response.headers_mut();
        headers.extend(self.challenge.map(|challenge| (WWW_AUTHENTICATE, challenge)));
        response
    }
}
