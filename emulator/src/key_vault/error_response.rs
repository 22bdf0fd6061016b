use std::borrow::Cow;

use bytes::Bytes;
use http::header::WWW_AUTHENTICATE;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use serde_json::{Value, json};

use crate::bearer::Claims;
use crate::server;

/// An error response of Key Vault: `{"error":{"code","message","innererror":{"code"}}}`.
pub(super) struct ErrorResponse {
    pub(super) status: StatusCode,
    pub(super) code: Cow<'static, str>,
    pub(super) message: String,
    pub(super) inner_code: Option<&'static str>,
    pub(super) challenge: Option<HeaderValue>,
}

impl ErrorResponse {
    pub(super) fn new(status: StatusCode, code: impl Into<Cow<'static, str>>, message: String) -> Self {
        Self {
            status,
            code: code.into(),
            message,
            inner_code: None,
            challenge: None,
        }
    }

    /// Returns the error response for an injected status other than 401.
    ///
    /// * `caller`: empty without a valid token.
    pub(super) fn from_status(
        status: StatusCode,
        request: &Request<Bytes>,
        caller: &Claims,
        vault: &str,
    ) -> Self {
        let mut path = request.uri().path().split('/').filter(|part| !part.is_empty());
        match (status, path.next(), path.next()) {
            (StatusCode::BAD_REQUEST, ..) => Self::bad_parameter("Property has invalid value".to_owned()),
            (StatusCode::FORBIDDEN, _, name) => {
                Self::not_authorized(caller, "secrets/getSecret/action", vault, name)
            }
            (StatusCode::NOT_FOUND, Some("secrets"), Some(name)) => Self::not_found(name),
            (StatusCode::NOT_FOUND, Some("deletedsecrets"), Some(name)) => Self::deleted_not_found(name),
            (StatusCode::METHOD_NOT_ALLOWED, ..) => Self::method_not_allowed(request.method()),
            (StatusCode::CONFLICT, Some("secrets"), Some(name)) => Self::deleted_but_recoverable(name),
            (StatusCode::TOO_MANY_REQUESTS, ..) => Self::throttled(),
            // The other bodies are not documented. The codes have the form of the documented ones.
            _ => {
                let message = status.canonical_reason().unwrap_or("Failure");
                Self::new(status, message.replace(' ', ""), message.to_owned())
            }
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

    pub(super) fn deleted_not_found(name: &str) -> Self {
        let message = format!("Deleted Secret not found: {name}");
        Self::new(StatusCode::NOT_FOUND, "SecretNotFound", message)
    }

    pub(super) fn method_not_allowed(method: &Method) -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "MethodNotAllowed",
            format!("HTTP {method} is not supported on this resource"),
        )
    }

    /// Source: "Azure role-based access control (RBAC) for Key Vault", troubleshooting.
    ///
    /// * `action`: without `Microsoft.KeyVault/vaults/`.
    pub(super) fn not_authorized(caller: &Claims, action: &str, vault: &str, secret: Option<&str>) -> Self {
        let secret = secret.map(|name| format!("/secrets/{name}")).unwrap_or_default();
        let message = format!(
            "Caller is not authorized to perform action on resource.\r\nIf role assignments, deny assignments or role \
             definitions were changed recently, please observe propagation time.\r\nCaller: appid={};oid={};iss={}\r\n\
             Action: 'Microsoft.KeyVault/vaults/{action}'\r\nResource: '/subscriptions/{SUBSCRIPTION}/resourcegroups/\
             emulator/providers/microsoft.keyvault/vaults/{vault}{secret}'\r\nAssignment: (not found)\r\n\
             DenyAssignmentId: null\r\nDecisionReason: null \r\nVault: {vault};location=emulator\r\n",
            caller.appid, caller.oid, caller.iss,
        );
        Self {
            inner_code: Some("ForbiddenByRbac"),
            ..Self::new(StatusCode::FORBIDDEN, "Forbidden", message)
        }
    }

    fn throttled() -> Self {
        Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            "Throttled",
            "Request was not processed because too many requests were received. Reason: \
             VaultRequestTypeLimitReached"
                .to_owned(),
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

const SUBSCRIPTION: &str = "00000000-0000-0000-0000-000000000000";
