mod token_request;

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::clock::Clock;
use super::jwt::{Jwt, PublicKey, RS256, SigningKey, key_set};
use super::server::{Service, json};
use super::service_account_token::ServiceAccountToken;
use super::time::unix_seconds;
use token_request::ServiceAccounts;

/// The OIDC issuer of a cluster. It signs service-account tokens and publishes the keys to verify
/// them.
///
/// The discovery document is at `.well-known/openid-configuration` and the keys are at
/// `openid/v1/jwks`, as on a Kubernetes API server. The `TokenRequest` API is at
/// `api/v1/namespaces/{namespace}/serviceaccounts/{name}/token`; it takes a token of this issuer for
/// `https://kubernetes.default.svc.cluster.local` and checks the RBAC rules.
///
/// # Examples
///
/// ```
/// use entra_workload_emulator::{Emulator, ServiceAccountToken};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> std::io::Result<()> {
/// let emulator = Emulator::start().await?;
/// let token = emulator.issuer().sign(&ServiceAccountToken::new("shop", "orders"));
/// assert_eq!(token.split('.').count(), 3);
/// emulator.issuer().rotate_keys()?;
/// # Ok(()) }
/// ```
pub struct ClusterIssuer {
    url: String,
    keys: RwLock<Keys>,
    serving: AtomicBool,
    clock: Clock,
    service_accounts: ServiceAccounts,
}

struct Keys {
    current: SigningKey,
    previous: Option<SigningKey>,
}

impl ClusterIssuer {
    pub(super) fn new(url: String, key: SigningKey, clock: Clock) -> Self {
        let keys = Keys {
            current: key,
            previous: None,
        };
        Self {
            url,
            keys: RwLock::new(keys),
            serving: AtomicBool::new(true),
            clock,
            service_accounts: ServiceAccounts::default(),
        }
    }

    pub(super) fn now(&self) -> SystemTime {
        self.clock.now()
    }

    /// The `iss` of its tokens. It ends with a slash, as on AKS.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Signs a token. [`ServiceAccountToken`] also describes tokens that a real API server would
    /// not issue.
    pub fn sign(&self, token: &ServiceAccountToken) -> String {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let kid = token.key_id.as_deref().unwrap_or(&keys.current.public().kid);
        let header = json!({ "alg": token.algorithm, "kid": kid });
        let now = self.clock.now();
        let signed = keys.current.sign(&header, &token.claims(&self.url, now));
        if !token.has_invalid_signature {
            return signed;
        }
        // The signature of other claims has the right length and format but does not match.
        let other = keys.current.sign(&header, &Value::Null);
        let message = signed.rsplit_once('.').map_or("", |(message, _)| message);
        let signature = other.rsplit_once('.').map_or("", |(_, signature)| signature);
        format!("{message}.{signature}")
    }

    /// Returns the `sub` of a valid token of this issuer.
    ///
    /// * `accepts`: whether the token may have these audiences.
    pub(super) fn subject(&self, token: &str, accepts: impl Fn(&[String]) -> bool) -> Option<String> {
        let token = Jwt::<Claims>::parse(token)?;
        let is_signed = self.published_keys().iter().any(|key| token.is_signed_by(key));
        let Claims {
            iss,
            sub,
            aud,
            exp,
            nbf,
        } = token.claims;
        let now = unix_seconds(self.clock.now());
        let is_valid = is_signed && iss == self.url && accepts(&aud) && nbf <= now && now < exp;
        is_valid.then_some(sub)
    }

    fn published_keys(&self) -> Vec<PublicKey> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let published = std::iter::once(&keys.current).chain(&keys.previous);
        published.map(|key| key.public().clone()).collect()
    }

    /// Replaces the signing key. The previous key stays published, as on AKS; older keys do not.
    ///
    /// # Errors
    ///
    /// Returns an error if generating the key fails.
    pub fn rotate_keys(&self) -> io::Result<()> {
        let new = SigningKey::generate()?;
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        keys.previous = Some(std::mem::replace(&mut keys.current, new));
        Ok(())
    }

    /// Creates a service account, so that the `TokenRequest` API issues its tokens.
    pub fn create_service_account(&self, namespace: &str, name: &str) {
        self.service_accounts.create(namespace, name);
    }

    /// Lets a service account request the tokens of another one, as a `Role` with the verb `create` for
    /// `serviceaccounts/token` that is bound to it.
    ///
    /// * `caller`: its namespace and its name.
    pub fn allow_token_requests(&self, caller: [&str; 2], namespace: &str, name: &str) {
        self.service_accounts.allow(caller, namespace, name);
    }

    /// Makes discovery requests fail with 503: token requests get AADSTS50166. Entra keeps the keys that it has fetched until
    /// [`Emulator::reset`](crate::Emulator::reset).
    pub fn stop(&self) {
        self.serving.store(false, Ordering::Relaxed);
    }

    /// Makes discovery requests succeed again after [`stop`](Self::stop).
    pub fn start(&self) {
        self.serving.store(true, Ordering::Relaxed);
    }
}

#[async_trait]
impl Service for ClusterIssuer {
    async fn handle(&self, request: http::Request<Bytes>) -> http::Response<Bytes> {
        if !self.serving.load(Ordering::Relaxed) {
            return self.failure(StatusCode::SERVICE_UNAVAILABLE, &request);
        }
        match (request.method(), request.uri().path()) {
            (&Method::GET, "/.well-known/openid-configuration") => json(
                StatusCode::OK,
                &json!({
                    "issuer": self.url,
                    "jwks_uri": format!("{}openid/v1/jwks", self.url),
                    "response_types_supported": ["id_token"],
                    "subject_types_supported": ["public"],
                    "id_token_signing_alg_values_supported": [RS256],
                }),
            ),
            (&Method::GET, "/openid/v1/jwks") => {
                let mut response = json(StatusCode::OK, &key_set(&self.published_keys()));
                let jwk_set = HeaderValue::from_static("application/jwk-set+json");
                response.headers_mut().insert(CONTENT_TYPE, jwk_set);
                response
            }
            (_, path) if token_request::target(path).is_some() => token_request::handle(self, &request),
            _ => self.failure(StatusCode::NOT_FOUND, &request),
        }
    }

    fn is_authenticated(&self, request: &http::Request<Bytes>) -> bool {
        token_request::target(request.uri().path()).is_none()
            || token_request::caller(self, request).is_some()
    }

    /// Returns a `Status` object, as a Kubernetes API server.
    fn failure(&self, status: StatusCode, request: &http::Request<Bytes>) -> http::Response<Bytes> {
        let path = request.uri().path();
        let forbidden = format!("forbidden: User \"system:anonymous\" cannot get path \"{path}\"");
        let (reason, message) = match status {
            StatusCode::UNAUTHORIZED => ("Unauthorized", "Unauthorized"),
            StatusCode::FORBIDDEN => ("Forbidden", forbidden.as_str()),
            StatusCode::NOT_FOUND => ("NotFound", "the server could not find the requested resource"),
            StatusCode::TOO_MANY_REQUESTS => {
                ("TooManyRequests", "Too many requests, please try again later.")
            }
            StatusCode::SERVICE_UNAVAILABLE => (
                "ServiceUnavailable",
                "the server is currently unable to handle the request",
            ),
            StatusCode::GATEWAY_TIMEOUT => (
                "Timeout",
                "the server was unable to return a response in the time allotted",
            ),
            _ if status.is_server_error() => (
                "InternalError",
                "an error on the server has prevented the request from succeeding",
            ),
            _ => (
                "BadRequest",
                "the server rejected our request for an unknown reason",
            ),
        };
        let mut response = status_response(status, reason, message);
        if status == StatusCode::TOO_MANY_REQUESTS {
            response
                .headers_mut()
                .insert(RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECONDS));
        }
        response
    }
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: Vec<String>,
    exp: u64,
    nbf: u64,
}

/// Returns a `Status` object of the Kubernetes API.
pub(super) fn status_response(status: StatusCode, reason: &str, message: &str) -> http::Response<Bytes> {
    json(
        status,
        &json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": message,
            "reason": reason,
            "code": status.as_u16(),
        }),
    )
}

impl fmt::Debug for ClusterIssuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterIssuer")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

/// Source: kubernetes/kubernetes, `retryAfter` of the API server's max-in-flight filter.
const RETRY_AFTER_SECONDS: &str = "1";
