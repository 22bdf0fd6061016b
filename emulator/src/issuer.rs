use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, StatusCode};
use serde_json::{Map, Value, json};

use super::clock::Clock;
use super::guid::Guid;
use super::jwt::{RS256, SigningKey, key_set};
use super::server::{Service, json};
use super::time::unix_seconds;

/// The OIDC issuer of a cluster: it signs service-account tokens and publishes the keys to check them with.
///
/// Its discovery document and keys are where a Kubernetes API server has them: `.well-known/openid-configuration` and
/// `openid/v1/jwks` under [`Emulator::issuer_url`](crate::Emulator::issuer_url).
pub struct ClusterIssuer {
    url: String,
    keys: RwLock<Keys>,
    serving: AtomicBool,
    clock: Clock,
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
        }
    }

    /// The `iss` of its tokens; ends with a slash, as on AKS.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Signs a token as the API server would, and also those it never would: see [`ServiceAccountToken`].
    pub fn sign(&self, token: &ServiceAccountToken) -> String {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let kid = token.key_id.as_deref().unwrap_or(&keys.current.public().kid);
        let header = json!({ "alg": token.algorithm, "kid": kid });
        let now = self.clock.now();
        let signed = keys.current.sign(&header, &token.claims(&self.url, now));
        if !token.signed_by_stranger {
            return signed;
        }
        // The signature of something else: right in length and form, and as wrong as one of another key.
        let other = keys.current.sign(&header, &Value::Null);
        let message = signed.rsplit_once('.').map_or("", |(message, _)| message);
        let signature = other.rsplit_once('.').map_or("", |(_, signature)| signature);
        format!("{message}.{signature}")
    }

    /// Signs with a new key from now on. The key before stays published beside it, as on AKS; one before that does not.
    ///
    /// # Errors
    ///
    /// If no key could be made.
    pub fn rotate_keys(&self) -> io::Result<()> {
        let new = SigningKey::generate()?;
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        keys.previous = Some(std::mem::replace(&mut keys.current, new));
        Ok(())
    }

    /// Answers every discovery request with 503 from now on. Who has the keys already does not notice.
    pub fn stop(&self) {
        self.serving.store(false, Ordering::Relaxed);
    }

    /// Undoes [`stop`](Self::stop).
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
                let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
                let published = std::iter::once(&keys.current).chain(&keys.previous);
                let mut response = json(StatusCode::OK, &key_set(published.map(SigningKey::public)));
                let jwk_set = HeaderValue::from_static("application/jwk-set+json");
                response.headers_mut().insert(CONTENT_TYPE, jwk_set);
                response
            }
            _ => self.failure(StatusCode::NOT_FOUND, &request),
        }
    }
}

impl fmt::Debug for ClusterIssuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterIssuer")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

/// What a projected service-account token says; by default what Entra wants to see.
///
/// Source: a token of Kubernetes 1.20 (`tests/fixtures/kubernetes-1.20`), and the claims `jti` and `node` that newer
/// servers add.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use entra_workload_emulator::ServiceAccountToken;
///
/// let wrong_audience = ServiceAccountToken::new("shop", "orders").audience("https://kubernetes.default.svc");
/// let short = ServiceAccountToken::new("shop", "orders").lifetime(Duration::from_secs(600));
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct ServiceAccountToken {
    namespace: String,
    service_account: String,
    issuer: Option<String>,
    subject: Option<String>,
    audiences: Vec<String>,
    issued_at: Option<SystemTime>,
    not_before: Option<SystemTime>,
    lifetime: Duration,
    algorithm: String,
    key_id: Option<String>,
    signed_by_stranger: bool,
}

impl ServiceAccountToken {
    /// A token of this service account for the audience `api://AzureADTokenExchange`, good for one hour from the
    /// moment it is signed.
    pub fn new(namespace: impl Into<String>, service_account: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            service_account: service_account.into(),
            issuer: None,
            subject: None,
            audiences: vec![EXCHANGE_AUDIENCE.to_owned()],
            issued_at: None,
            not_before: None,
            lifetime: DEFAULT_LIFETIME,
            algorithm: RS256.to_owned(),
            key_id: None,
            signed_by_stranger: false,
        }
    }

    /// Sets the one `aud`.
    pub fn audience(self, audience: impl Into<String>) -> Self {
        self.audiences([audience])
    }

    /// Sets the whole list `aud`.
    pub fn audiences(mut self, audiences: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.audiences = audiences.into_iter().map(Into::into).collect();
        self
    }

    /// Sets `iss`; the default is the URL of the issuer that signs.
    pub fn issuer(mut self, issuer: impl Into<String>) -> Self {
        self.issuer = Some(issuer.into());
        self
    }

    /// Sets `sub`; the default is `system:serviceaccount:{namespace}:{service account}`.
    pub fn subject(mut self, subject: impl Into<String>) -> Self {
        self.subject = Some(subject.into());
        self
    }

    /// Sets `exp`, counted from `iat`; whole seconds.
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = lifetime;
        self
    }

    /// Sets `iat`; the default is the moment of signing.
    pub fn issued_at(mut self, issued_at: SystemTime) -> Self {
        self.issued_at = Some(issued_at);
        self
    }

    /// Sets `nbf`; the default is `iat`.
    pub fn not_before(mut self, not_before: SystemTime) -> Self {
        self.not_before = Some(not_before);
        self
    }

    /// Sets what the header says about the algorithm; the signature is RS256 all the same.
    pub fn algorithm(mut self, algorithm: impl Into<String>) -> Self {
        self.algorithm = algorithm.into();
        self
    }

    /// Sets what the header says about the key; it is signed with the issuer's all the same.
    pub fn key_id(mut self, key_id: impl Into<String>) -> Self {
        self.key_id = Some(key_id.into());
        self
    }

    /// Gives it a signature that is not its own, under the issuer's key id.
    pub fn signed_by_stranger(mut self) -> Self {
        self.signed_by_stranger = true;
        self
    }

    fn claims(&self, issuer: &str, now: SystemTime) -> Value {
        let subject = || {
            format!(
                "system:serviceaccount:{}:{}",
                self.namespace, self.service_account
            )
        };
        let named = |name: String| json!({ "name": name, "uid": Guid::random().to_string() });
        let issued_at = self.issued_at.unwrap_or(now);
        let kubernetes = json!({
            "namespace": self.namespace,
            "node": named("node-1".to_owned()),
            "pod": named(format!("{}-7d9c5b6f4-x2x7q", self.service_account)),
            "serviceaccount": named(self.service_account.clone()),
        });
        let claims = [
            ("aud", json!(self.audiences)),
            (
                "exp",
                json!(unix_seconds(issued_at).saturating_add(self.lifetime.as_secs())),
            ),
            ("iat", json!(unix_seconds(issued_at))),
            ("iss", json!(self.issuer.as_deref().unwrap_or(issuer))),
            ("jti", json!(Guid::random().to_string())),
            ("kubernetes.io", kubernetes),
            ("nbf", json!(unix_seconds(self.not_before.unwrap_or(issued_at)))),
            ("sub", json!(self.subject.clone().unwrap_or_else(subject))),
        ];
        Value::Object(
            claims
                .map(|(name, value)| (name.to_owned(), value))
                .into_iter()
                .collect::<Map<_, _>>(),
        )
    }
}

/// What the webhook projects tokens for, and what a federated credential names by default.
pub(super) const EXCHANGE_AUDIENCE: &str = "api://AzureADTokenExchange";

/// The webhook's default (`azure.workload.identity/service-account-token-expiration`).
const DEFAULT_LIFETIME: Duration = Duration::from_secs(3600);
