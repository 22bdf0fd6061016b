use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use serde_json::json;

use super::ci_job::Jobs;
use super::server::{Service, json};

/// The token service of GitHub Actions.
///
/// Source: GitHub, "OpenID Connect reference", and the requests of `actions/toolkit`, `core.getIDToken`. The
/// refusals are not documented.
pub(super) struct GitHubActions(pub(super) Arc<Jobs>);

impl GitHubActions {
    fn token(&self, request: &Request<Bytes>) -> Result<String, StatusCode> {
        let job = self.0.authorized(request).ok_or(StatusCode::UNAUTHORIZED)?;
        if request.uri().path() != job.path {
            return Err(StatusCode::NOT_FOUND);
        }
        if request.method() != Method::GET {
            return Err(StatusCode::METHOD_NOT_ALLOWED);
        }
        let query = request.uri().query().unwrap_or_default().as_bytes();
        let query: Vec<_> = url::form_urlencoded::parse(query).collect();
        let values = |name: &str| -> Vec<&str> {
            let named = query.iter().filter(|(key, _)| key == name);
            named.map(|(_, value)| value.as_ref()).collect()
        };
        if values("api-version") != ["2.0"] {
            return Err(StatusCode::BAD_REQUEST);
        }
        let owner = format!("https://github.com/{}", job.owner);
        let audience = match values("audience")[..] {
            [] => owner.as_str(),
            [audience] if !audience.is_empty() => audience,
            _ => return Err(StatusCode::BAD_REQUEST),
        };
        let claims = [
            ("repository_owner", job.owner.as_str()),
            ("runner_environment", "github-hosted"),
        ];
        self.0
            .sign(&job.subject, audience, &claims)
            .map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
    }
}

#[async_trait]
impl Service for GitHubActions {
    async fn handle(&self, request: Request<Bytes>) -> Response<Bytes> {
        match self.token(&request) {
            Ok(token) => json(StatusCode::OK, &json!({ "count": token.len(), "value": token })),
            Err(status) => self.failure(status, &request),
        }
    }

    fn is_authenticated(&self, request: &Request<Bytes>) -> bool {
        self.0.authorized(request).is_some()
    }

    fn failure(&self, status: StatusCode, _request: &Request<Bytes>) -> Response<Bytes> {
        let reason = status.canonical_reason().unwrap_or_default();
        json(status, &json!({ "message": reason }))
    }
}
