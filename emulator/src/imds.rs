use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use serde_json::{Value, json};

use super::entra::{Entra, NoToken};
use super::identity_query::IdentityQuery;
use super::managed_identity::{
    CLIENT_ID, IdField, ManagedIdentities, ManagedIdentity, OBJECT_ID, RESOURCE_ID,
};
use super::server::{Service, json};

/// The token endpoint of the instance metadata service (IMDS).
///
/// Source: "How to use managed identities for Azure resources on an Azure VM to acquire an access
/// token" and "Azure Instance Metadata Service". Undocumented responses follow public bug reports.
pub(super) struct Imds {
    identities: Arc<ManagedIdentities>,
    entra: Arc<Entra>,
}

impl Imds {
    pub(super) fn new(identities: Arc<ManagedIdentities>, entra: Arc<Entra>) -> Self {
        Self { identities, entra }
    }

    fn token(&self, request: &Request<Bytes>) -> Result<Value, ErrorResponse> {
        let invalid = |text: &str| ErrorResponse::new(StatusCode::BAD_REQUEST, "invalid_request", text);
        let headers = request.headers();
        if headers.get("metadata").is_none_or(|value| value != "true") {
            let text = "Required metadata header not specified";
            return Err(ErrorResponse::new(
                StatusCode::BAD_REQUEST,
                "bad_request_102",
                text,
            ));
        }
        // A proxied request may come from another machine.
        if headers.contains_key("x-forwarded-for") {
            return Err(invalid("Requests with the header X-Forwarded-For are not served"));
        }
        // MSAL for Node sends a slash at the end.
        if !request
            .uri()
            .path()
            .trim_end_matches('/')
            .eq_ignore_ascii_case(PATH)
        {
            return Err(ErrorResponse::not_found());
        }
        if request.method() != Method::GET {
            return Err(ErrorResponse::method_not_allowed());
        }
        let query = IdentityQuery::parse(request);
        let required = |name: &str| {
            let missing = || invalid(&format!("Required query variable '{name}' is missing"));
            query.get(name).ok_or_else(missing)
        };
        if !is_version(required("api-version")?) {
            return Err(invalid("The api-version is not supported"));
        }
        let resource = required("resource")?;
        let identity = match query.ids(ID_PARAMETERS).as_slice() {
            [] => self.default_identity()?,
            [(name, id)] => self
                .identities
                .find(*name, id)
                .ok_or_else(ErrorResponse::identity_not_found)?,
            _ => {
                return Err(invalid(
                    "Only one of client_id, object_id and msi_res_id may be given",
                ));
            }
        };
        let issued = self
            .entra
            .issue_to_managed_identity(&identity, resource)
            .map_err(|error| match error {
                NoToken::Outage => ErrorResponse::from_status(StatusCode::INTERNAL_SERVER_ERROR),
                NoToken::Refused(body) => {
                    let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default();
                    ErrorResponse::new(StatusCode::BAD_REQUEST, text("error"), text("error_description"))
                }
            })?;
        Ok(json!({
            "access_token": issued.token,
            "client_id": identity.client_id,
            "expires_in": issued.lifetime.to_string(),
            "expires_on": issued.expires_on.to_string(),
            "ext_expires_in": issued.lifetime.to_string(),
            "not_before": issued.not_before.to_string(),
            "resource": resource,
            "token_type": "Bearer",
        }))
    }

    /// Returns the system-assigned identity, or the only user-assigned one.
    fn default_identity(&self) -> Result<ManagedIdentity, ErrorResponse> {
        if let Some(identity) = self.identities.system() {
            return Ok(identity);
        }
        match self.identities.user().as_slice() {
            [] => Err(ErrorResponse::identity_not_found()),
            [identity] => Ok(identity.clone()),
            _ => {
                let text = "Multiple user assigned identities exist, please specify the clientId / resourceId of the \
                            identity in the token request";
                Err(ErrorResponse::new(
                    StatusCode::BAD_REQUEST,
                    "invalid_request",
                    text,
                ))
            }
        }
    }
}

#[async_trait]
impl Service for Imds {
    async fn handle(&self, request: Request<Bytes>) -> Response<Bytes> {
        match self.token(&request) {
            Ok(body) => json(StatusCode::OK, &body),
            Err(error) => error.into_response(),
        }
    }

    fn failure(&self, status: StatusCode, _request: &Request<Bytes>) -> Response<Bytes> {
        ErrorResponse::from_status(status).into_response()
    }
}

struct ErrorResponse {
    status: StatusCode,
    body: Value,
}

impl ErrorResponse {
    fn new(status: StatusCode, error: &str, text: &str) -> Self {
        Self {
            status,
            body: json!({ "error": error, "error_description": text }),
        }
    }

    /// Returns the error response for an injected status. The bodies of 410 and 429 are not
    /// documented; the text of 410 is the documented reason.
    fn from_status(status: StatusCode) -> Self {
        match status {
            StatusCode::BAD_REQUEST => Self::identity_not_found(),
            StatusCode::UNAUTHORIZED => Self::new(status, "unknown_source", "Unknown Source"),
            StatusCode::NOT_FOUND => Self::not_found(),
            StatusCode::METHOD_NOT_ALLOWED => Self::method_not_allowed(),
            StatusCode::GONE => Self::new(status, "unknown", "IMDS is going through updates"),
            StatusCode::TOO_MANY_REQUESTS => Self::new(
                status,
                "too_many_requests",
                "Temporarily throttled, too many requests",
            ),
            _ => Self::new(
                status,
                "unknown",
                "Failed to retrieve token from the Active directory.",
            ),
        }
    }

    fn identity_not_found() -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request", "Identity not found")
    }

    fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", "Not found")
    }

    fn method_not_allowed() -> Self {
        let text = "Only GET is allowed";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", text)
    }

    fn into_response(self) -> Response<Bytes> {
        json(self.status, &self.body)
    }
}

/// Returns whether `text` is a date, not before the first version with tokens.
fn is_version(text: &str) -> bool {
    let is_date = text.len() == 10
        && text.bytes().enumerate().all(|(index, byte)| match index {
            4 | 7 => byte == b'-',
            _ => byte.is_ascii_digit(),
        });
    is_date && text >= FIRST_VERSION
}

const PATH: &str = "/metadata/identity/oauth2/token";

/// `mi_res_id` is the newer name of `msi_res_id`.
const ID_PARAMETERS: &[(&str, IdField)] = &[
    ("client_id", CLIENT_ID),
    ("object_id", OBJECT_ID),
    ("msi_res_id", RESOURCE_ID),
    ("mi_res_id", RESOURCE_ID),
];

const FIRST_VERSION: &str = "2018-02-01";
