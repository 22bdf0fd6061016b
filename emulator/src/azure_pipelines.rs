use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue, LOCATION};
use http::{Method, Request, Response, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

use super::ci_job::Jobs;
use super::server::{Service, json};

/// The token service of Azure Pipelines.
///
/// Source: Azure DevOps REST API, "Oidctoken - Create". A request with an invalid token is redirected to the
/// sign-in page, unless it has the header `X-TFS-FedAuthRedirect: Suppress`. The texts of other refusals
/// follow public bug reports.
pub(super) struct AzurePipelines(pub(super) Arc<Jobs>);

impl AzurePipelines {
    fn token(&self, request: &Request<Bytes>) -> Result<String, StatusCode> {
        let job = self.0.authorized(request).ok_or(StatusCode::UNAUTHORIZED)?;
        if request.uri().path() != job.path {
            return Err(StatusCode::NOT_FOUND);
        }
        if request.method() != Method::POST {
            return Err(StatusCode::METHOD_NOT_ALLOWED);
        }
        let content_type = request.headers().get(CONTENT_TYPE);
        if !content_type.is_some_and(|value| value.as_bytes().starts_with(b"application/json")) {
            return Err(StatusCode::UNSUPPORTED_MEDIA_TYPE);
        }
        let body = request.body();
        if !body.is_empty() && !serde_json::from_slice::<Value>(body).is_ok_and(|body| body.is_object()) {
            return Err(StatusCode::BAD_REQUEST);
        }
        let query = request.uri().query().unwrap_or_default().as_bytes();
        let query: Vec<_> = url::form_urlencoded::parse(query).collect();
        let value = |name: &str| {
            let mut named = query.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
            named.next().map(|(_, value)| value.as_ref())
        };
        if !value("api-version").is_some_and(|version| version.starts_with("7.1")) {
            return Err(StatusCode::BAD_REQUEST);
        }
        let subject = match value("serviceConnectionId") {
            Some(id) if id.eq_ignore_ascii_case(&job.service_connection_id) => job.subject,
            Some(_) => return Err(StatusCode::NOT_FOUND),
            // The token of the pipeline itself.
            None => format!("p://{}/orders/pipeline", job.owner),
        };
        self.0
            .sign(&subject, AUDIENCE, &[])
            .map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
    }
}

#[async_trait]
impl Service for AzurePipelines {
    async fn handle(&self, request: Request<Bytes>) -> Response<Bytes> {
        match self.token(&request) {
            Ok(token) => with_ids(json(StatusCode::OK, &json!({ "oidcToken": token }))),
            Err(status) => self.failure(status, &request),
        }
    }

    fn is_authenticated(&self, request: &Request<Bytes>) -> bool {
        self.0.authorized(request).is_some()
    }

    fn failure(&self, status: StatusCode, request: &Request<Bytes>) -> Response<Bytes> {
        let suppress = request.headers().get("x-tfs-fedauthredirect");
        let redirects = suppress.is_none_or(|value| value != "Suppress");
        if status == StatusCode::UNAUTHORIZED && redirects {
            let mut response = Response::new(Bytes::from_static(b"<html><head><title>Object moved</title>"));
            *response.status_mut() = StatusCode::FOUND;
            let headers = response.headers_mut();
            headers.insert(LOCATION, HeaderValue::from_static(SIGN_IN_PAGE));
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
            return with_ids(response);
        }
        let message = match status {
            StatusCode::UNAUTHORIZED => "TF400813: The user '' is not authorized to access this resource.",
            StatusCode::NOT_FOUND => {
                "The service connection does not exist, or this pipeline may not use it."
            }
            StatusCode::UNSUPPORTED_MEDIA_TYPE => {
                "TF400898: An Internal Error Occurred. The request indicated a Content-Type that is not supported."
            }
            _ => status.canonical_reason().unwrap_or_default(),
        };
        with_ids(json(
            status,
            &json!({ "$id": "1", "innerException": null, "message": message, "errorCode": 0, "eventId": 3000 }),
        ))
    }
}

fn with_ids(mut response: Response<Bytes>) -> Response<Bytes> {
    if let Ok(id) = HeaderValue::from_str(&Uuid::new_v4().to_string()) {
        let name = HeaderName::from_static("x-vss-e2eid");
        response.headers_mut().insert(name, id);
    }
    response
}

/// The audience of service connections in the public cloud.
const AUDIENCE: &str = "api://AzureADTokenExchange";

const SIGN_IN_PAGE: &str = "https://spsprodweu1.vssps.visualstudio.com/_signin?realm=dev.azure.com";
