use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

use super::entra::{Entra, NoToken};
use super::identity_query::IdentityQuery;
use super::managed_identity::{CLIENT_ID, IdField, ManagedIdentities, OBJECT_ID, RESOURCE_ID};
use super::server::{Service, json};

/// The managed identity endpoint of App Service, Functions and Container Apps.
///
/// Source: "How to use managed identities for App Service and Azure Functions", section "REST
/// endpoint reference". Undocumented responses follow public bug reports.
pub(super) struct AppService {
    identities: Arc<ManagedIdentities>,
    entra: Arc<Entra>,
    header: String,
}

impl AppService {
    /// The path of the token endpoint.
    pub(super) const PATH: &str = "/msi/token";

    pub(super) fn new(identities: Arc<ManagedIdentities>, entra: Arc<Entra>) -> Self {
        Self {
            identities,
            entra,
            header: Uuid::new_v4().to_string(),
        }
    }

    /// The value that `X-IDENTITY-HEADER` must have.
    pub(super) fn header(&self) -> &str {
        &self.header
    }

    fn token(&self, request: &Request<Bytes>) -> Result<Value, (StatusCode, String)> {
        let bad_request = |text: &str| (StatusCode::BAD_REQUEST, text.to_owned());
        if !request
            .uri()
            .path()
            .trim_end_matches('/')
            .eq_ignore_ascii_case(Self::PATH)
        {
            return Err((StatusCode::NOT_FOUND, NOT_FOUND.to_owned()));
        }
        if !self.is_authenticated(request) {
            return Err((StatusCode::UNAUTHORIZED, NO_HEADER.to_owned()));
        }
        if request.method() != Method::GET {
            return Err((StatusCode::METHOD_NOT_ALLOWED, NOT_ALLOWED.to_owned()));
        }
        let query = IdentityQuery::parse(request);
        if query.get("api-version") != Some(VERSION) {
            return Err(bad_request("The api-version is missing or not supported."));
        }
        let resource = query
            .get("resource")
            .ok_or_else(|| bad_request("The parameter resource is missing."))?;
        // Unlike IMDS, App Service only defaults to the system-assigned identity.
        let identity = match query.ids(ID_PARAMETERS).as_slice() {
            [] => self.identities.system(),
            [(name, id)] => self.identities.find(*name, id),
            _ => {
                return Err(bad_request(
                    "Only one of client_id, principal_id and mi_res_id may be given.",
                ));
            }
        };
        let identity = identity.ok_or_else(|| bad_request(NO_IDENTITY))?;
        let issued = self
            .entra
            .issue_to_managed_identity(&identity, resource)
            .map_err(|error| match error {
                NoToken::Outage => (StatusCode::INTERNAL_SERVER_ERROR, NO_TOKEN.to_owned()),
                NoToken::Refused(body) => {
                    let text = body.get("error_description").and_then(Value::as_str);
                    bad_request(text.unwrap_or_default())
                }
            })?;
        Ok(json!({
            "access_token": issued.token,
            "client_id": identity.client_id,
            "expires_on": issued.expires_on.to_string(),
            "resource": resource,
            "token_type": "Bearer",
        }))
    }
}

#[async_trait]
impl Service for AppService {
    async fn handle(&self, request: Request<Bytes>) -> Response<Bytes> {
        match self.token(&request) {
            Ok(body) => json(StatusCode::OK, &body),
            Err((status, text)) => error_response(status, &text),
        }
    }

    fn is_authenticated(&self, request: &Request<Bytes>) -> bool {
        let header = request.headers().get(IDENTITY_HEADER);
        header.is_some_and(|value| value == self.header.as_str())
    }

    fn failure(&self, status: StatusCode, _request: &Request<Bytes>) -> Response<Bytes> {
        let text = match status {
            StatusCode::BAD_REQUEST => NO_IDENTITY,
            StatusCode::UNAUTHORIZED => NO_HEADER,
            StatusCode::NOT_FOUND => NOT_FOUND,
            StatusCode::METHOD_NOT_ALLOWED => NOT_ALLOWED,
            _ => NO_TOKEN,
        };
        error_response(status, text)
    }
}

fn error_response(status: StatusCode, text: &str) -> Response<Bytes> {
    let body = json!({
        "statusCode": status.as_u16(),
        "message": text,
        "correlationId": Uuid::new_v4().to_string(),
    });
    json(status, &body)
}

/// `object_id` is an alias of `principal_id`.
const ID_PARAMETERS: &[(&str, IdField)] = &[
    ("client_id", CLIENT_ID),
    ("principal_id", OBJECT_ID),
    ("object_id", OBJECT_ID),
    ("mi_res_id", RESOURCE_ID),
];

const VERSION: &str = "2019-08-01";

const NO_IDENTITY: &str = "No Managed Identity found for specified ClientId/ResourceId/PrincipalId.";
const NO_TOKEN: &str = "An unexpected error occured while fetching the AAD Token.";
const NO_HEADER: &str = "The header X-IDENTITY-HEADER is missing or wrong.";
const NOT_FOUND: &str = "Not found.";
const NOT_ALLOWED: &str = "Only GET is allowed.";

/// The header that authenticates an app to the managed identity endpoint of App Service.
const IDENTITY_HEADER: &str = "x-identity-header";
