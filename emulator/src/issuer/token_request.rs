use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{Method, Request, Response, StatusCode};
use serde::Deserialize;
use serde_json::json;

use super::{ClusterIssuer, status_response};
use crate::server::json;
use crate::service_account_token::{API_SERVER_AUDIENCE, ServiceAccountToken};

/// The service accounts of a cluster, and the RBAC rules for requests of their tokens.
#[derive(Default)]
pub(super) struct ServiceAccounts(Mutex<State>);

#[derive(Default)]
struct State {
    /// Subjects.
    existing: HashSet<String>,
    /// Subjects of the caller and of the service account.
    allowed: HashSet<(String, String)>,
}

impl ServiceAccounts {
    pub(super) fn create(&self, namespace: &str, name: &str) {
        self.state().existing.insert(subject(namespace, name));
    }

    pub(super) fn allow(&self, caller: [&str; 2], namespace: &str, name: &str) {
        let [caller_namespace, caller] = caller;
        self.state()
            .allowed
            .insert((subject(caller_namespace, caller), subject(namespace, name)));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether this is the path of the `TokenRequest` API; returns the namespace and the service account.
pub(super) fn target(path: &str) -> Option<(&str, &str)> {
    match path.split('/').collect::<Vec<_>>()[..] {
        [
            "",
            "api",
            "v1",
            "namespaces",
            namespace,
            "serviceaccounts",
            name,
            "token",
        ] => Some((namespace, name)),
        _ => None,
    }
}

/// Handles a request of the `TokenRequest` API.
///
/// Source: Kubernetes API reference, `TokenRequest`; the texts are those of the API server.
pub(super) fn handle(issuer: &ClusterIssuer, request: &Request<Bytes>) -> Response<Bytes> {
    let Some((namespace, name)) = target(request.uri().path()) else {
        return status_response(
            StatusCode::NOT_FOUND,
            "NotFound",
            "the server could not find the requested resource",
        );
    };
    match token(issuer, request, namespace, name) {
        Ok(response) => response,
        Err((status, reason, message)) => status_response(status, reason, &message),
    }
}

type Refusal = (StatusCode, &'static str, String);

fn token(
    issuer: &ClusterIssuer,
    request: &Request<Bytes>,
    namespace: &str,
    name: &str,
) -> Result<Response<Bytes>, Refusal> {
    let caller = caller(issuer, request).ok_or_else(|| {
        let text = "Unauthorized";
        (StatusCode::UNAUTHORIZED, text, text.to_owned())
    })?;
    if request.method() != Method::POST {
        let text = "the server does not allow this method on the requested resource";
        return Err((
            StatusCode::METHOD_NOT_ALLOWED,
            "MethodNotAllowed",
            text.to_owned(),
        ));
    }
    let target = subject(namespace, name);
    if !issuer
        .service_accounts
        .state()
        .allowed
        .contains(&(caller.clone(), target.clone()))
    {
        let text = format!(
            "serviceaccounts \"{name}\" is forbidden: User \"{caller}\" cannot create resource \"serviceaccounts/token\" in \
             API group \"\" in the namespace \"{namespace}\""
        );
        return Err((StatusCode::FORBIDDEN, "Forbidden", text));
    }
    let content_type = request.headers().get(CONTENT_TYPE);
    if !content_type.is_some_and(|value| value.as_bytes().starts_with(b"application/json")) {
        let text = "the body of the request was in an unknown format - accepted media types include: \
                    application/json, application/yaml, application/vnd.kubernetes.protobuf";
        return Err((
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "UnsupportedMediaType",
            text.to_owned(),
        ));
    }
    let asked: TokenRequest = serde_json::from_slice(request.body())
        .ok()
        .filter(|asked: &TokenRequest| {
            asked.api_version == "authentication.k8s.io/v1" && asked.kind == "TokenRequest"
        })
        .ok_or_else(|| {
            let text = "the object provided is unrecognized (must be of type TokenRequest)";
            (StatusCode::BAD_REQUEST, "BadRequest", text.to_owned())
        })?;
    if !issuer.service_accounts.state().existing.contains(&target) {
        let text = format!("serviceaccounts \"{name}\" not found");
        return Err((StatusCode::NOT_FOUND, "NotFound", text));
    }
    let seconds = asked.spec.expiration_seconds.unwrap_or(DEFAULT_SECONDS);
    if seconds < MIN_SECONDS {
        let text = format!(
            "TokenRequest.authentication.k8s.io \"\" is invalid: spec.expirationSeconds: Invalid value: {seconds}: may not \
             specify a duration less than 10 minutes"
        );
        return Err((StatusCode::UNPROCESSABLE_ENTITY, "Invalid", text));
    }
    let audiences = match asked.spec.audiences {
        audiences if audiences.is_empty() => vec![API_SERVER_AUDIENCE.to_owned()],
        audiences => audiences,
    };
    let token = issuer.sign(
        &ServiceAccountToken::new(namespace, name)
            .audiences(audiences.clone())
            .lifetime(Duration::from_secs(seconds)),
    );
    let body = json!({
        "kind": "TokenRequest",
        "apiVersion": "authentication.k8s.io/v1",
        "metadata": { "name": name, "namespace": namespace },
        "spec": { "audiences": audiences, "expirationSeconds": seconds },
        "status": { "token": token },
    });
    Ok(json(StatusCode::CREATED, &body))
}

/// Returns the `sub` of a valid token for the API server in the `Authorization` header.
pub(super) fn caller(issuer: &ClusterIssuer, request: &Request<Bytes>) -> Option<String> {
    let header = request.headers().get(AUTHORIZATION)?.to_str().ok()?;
    let is_for_api_server = |audiences: &[String]| audiences.iter().any(|aud| aud == API_SERVER_AUDIENCE);
    issuer.subject(header.strip_prefix("Bearer ")?, is_for_api_server)
}

fn subject(namespace: &str, name: &str) -> String {
    format!("system:serviceaccount:{namespace}:{name}")
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TokenRequest {
    api_version: String,
    kind: String,
    spec: Spec,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    #[serde(default)]
    audiences: Vec<String>,
    expiration_seconds: Option<u64>,
}

/// Source: Kubernetes API reference, `TokenRequestSpec`.
const DEFAULT_SECONDS: u64 = 3600;
const MIN_SECONDS: u64 = 600;
