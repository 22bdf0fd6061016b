use std::time::{Duration, SystemTime};

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::jwt::RS256;
use super::time::unix_seconds;

/// The contents of a projected service-account token. By default, Entra accepts it.
///
/// Source: a token of Kubernetes 1.20 (`tests/fixtures/kubernetes-1.20`), and the claims `jti` and
/// `node` of newer servers.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use entra_workload_emulator::ServiceAccountToken;
///
/// let wrong_audience = ServiceAccountToken::new("shop", "orders")
///     .audience("https://kubernetes.default.svc");
/// let short_lived = ServiceAccountToken::new("shop", "orders")
///     .lifetime(Duration::from_secs(600));
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
    pub(super) algorithm: String,
    pub(super) key_id: Option<String>,
    pub(super) has_invalid_signature: bool,
}

impl ServiceAccountToken {
    /// Creates a token for the audience `api://AzureADTokenExchange`, valid for one hour after
    /// signing.
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
            has_invalid_signature: false,
        }
    }

    /// Sets `aud` to one audience.
    pub fn audience(self, audience: impl Into<String>) -> Self {
        self.audiences([audience])
    }

    /// Sets `aud` to a list of audiences.
    pub fn audiences(mut self, audiences: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.audiences = audiences.into_iter().map(Into::into).collect();
        self
    }

    /// Sets `iss`. The default is the URL of the signing issuer.
    pub fn issuer(mut self, issuer: impl Into<String>) -> Self {
        self.issuer = Some(issuer.into());
        self
    }

    /// Sets `sub`. The default is `system:serviceaccount:{namespace}:{service account}`.
    pub fn subject(mut self, subject: impl Into<String>) -> Self {
        self.subject = Some(subject.into());
        self
    }

    /// Sets `exp`, in whole seconds after `iat`.
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = lifetime;
        self
    }

    /// Sets `iat`. The default is the time of signing.
    pub fn issued_at(mut self, issued_at: SystemTime) -> Self {
        self.issued_at = Some(issued_at);
        self
    }

    /// Sets `nbf`. The default is `iat`.
    pub fn not_before(mut self, not_before: SystemTime) -> Self {
        self.not_before = Some(not_before);
        self
    }

    /// Sets `alg` in the header. The signature is always RS256.
    pub fn algorithm(mut self, algorithm: impl Into<String>) -> Self {
        self.algorithm = algorithm.into();
        self
    }

    /// Sets `kid` in the header. The signing key does not change.
    pub fn key_id(mut self, key_id: impl Into<String>) -> Self {
        self.key_id = Some(key_id.into());
        self
    }

    /// Makes the signature invalid. The key ID does not change.
    pub fn with_invalid_signature(mut self) -> Self {
        self.has_invalid_signature = true;
        self
    }

    pub(super) fn claims(&self, issuer: &str, now: SystemTime) -> Value {
        let subject = || {
            format!(
                "system:serviceaccount:{}:{}",
                self.namespace, self.service_account
            )
        };
        let named = |name: String| json!({ "name": name, "uid": Uuid::new_v4().to_string() });
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
            ("jti", json!(Uuid::new_v4().to_string())),
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

/// The audience of the tokens projected by the webhook, and the default of federated credentials.
pub(super) const EXCHANGE_AUDIENCE: &str = "api://AzureADTokenExchange";

/// The audience of the API server in clusters of kubeadm and kind.
pub(super) const API_SERVER_AUDIENCE: &str = "https://kubernetes.default.svc.cluster.local";

/// The audience of tokens in pods with an AKS identity binding.
pub(super) const IDENTITY_BINDING_AUDIENCE: &str = "api://AKSIdentityBinding";

/// The default of the webhook (`azure.workload.identity/service-account-token-expiration`).
pub(super) const DEFAULT_LIFETIME: Duration = Duration::from_secs(3600);
