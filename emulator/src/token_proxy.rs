use std::collections::HashSet;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use serde_json::json;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;

use super::certificate_authority::{CertificateAuthority, server_config_with};
use super::clock::Clock;
use super::directory::naming;
use super::entra::{Entra, FederatedCredential};
use super::issuer::{ClusterIssuer, status_response};
use super::jwt::SigningKey;
use super::server::{ServerName, Service};
use super::service_account_token::{EXCHANGE_AUDIENCE, IDENTITY_BINDING_AUDIENCE, ServiceAccountToken};

/// The token proxy of an AKS cluster, which serves pods with an identity binding.
///
/// It shares its address with the API server and is reached by its TLS server name: a request with
/// another one gets the API server's refusal. Its certificate is signed by a CA of its own. It takes
/// only token requests with a service-account token of this cluster for `api://AKSIdentityBinding`,
/// checks that the service account may use the identity, and sends the request to Entra with an
/// assertion of the binding's issuer.
///
/// Source: AKS, "Identity bindings" and "Set up identity bindings". The refusals are not documented:
/// they are those of a Kubernetes API server for a missing RBAC rule (403) and for an invalid token
/// (401). The subject of the binding's assertions, the client ID, is an assumption too.
///
/// # Examples
///
/// ```
/// use entra_workload_emulator::Emulator;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> std::io::Result<()> {
/// let emulator = Emulator::start().await?;
/// let pod = emulator.bound_pod("shop", "orders")?;
/// // The cluster's administrator takes the RBAC rule away.
/// emulator.token_proxy().deny("shop", "orders", pod.client_id());
/// # Ok(()) }
/// ```
pub struct TokenProxy {
    url: String,
    server_name: String,
    issuer: Arc<ClusterIssuer>,
    entra: Arc<Entra>,
    clock: Clock,
    /// Signs the assertions of the bindings.
    key: Mutex<Option<Arc<SigningKey>>>,
    certificates: Arc<Certificates>,
    ca_file: PathBuf,
    /// Subject and client ID of the RBAC rules.
    allowed: Mutex<HashSet<(String, String)>>,
}

impl TokenProxy {
    pub(super) fn new(
        url: String,
        ca_file: PathBuf,
        issuer: Arc<ClusterIssuer>,
        entra: Arc<Entra>,
        clock: Clock,
    ) -> io::Result<Self> {
        let server_name = server_name();
        let authority = CertificateAuthority::generate()?;
        fs::write(&ca_file, authority.pem()).map_err(naming(&ca_file))?;
        Ok(Self {
            certificates: Arc::new(Certificates::new(authority, &server_name)?),
            url,
            server_name,
            issuer,
            entra,
            clock,
            key: Mutex::default(),
            ca_file,
            allowed: Mutex::default(),
        })
    }

    /// The URL, `https://127.0.0.1:PORT`, for `AZURE_KUBERNETES_TOKEN_PROXY`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The TLS server name, for `AZURE_KUBERNETES_SNI_NAME`.
    pub fn server_name(&self) -> &str {
        &self.server_name
    }

    /// The file with the CA certificate, for `AZURE_KUBERNETES_CA_FILE`. A test may write another
    /// bundle to it.
    pub fn ca_file(&self) -> &Path {
        &self.ca_file
    }

    /// The present CA certificate, as one PEM block.
    pub fn ca_certificate_pem(&self) -> String {
        self.certificates.state().authority.pem().to_owned()
    }

    /// Replaces the CA and the certificates of the server, and writes the new CA certificate to
    /// [`ca_file`](Self::ca_file).
    ///
    /// # Errors
    ///
    /// Returns an error if generating a certificate or writing the file fails.
    pub fn rotate_ca(&self) -> io::Result<()> {
        let authority = CertificateAuthority::generate()?;
        let pem = authority.pem().to_owned();
        self.certificates.replace(authority, &self.server_name)?;
        replace_file(&self.ca_file, &pem)
    }

    /// Lets a service account use an identity, as a `ClusterRole` with the verb `use-managed-identity`
    /// that is bound to it.
    pub fn allow(&self, namespace: &str, service_account: &str, client_id: &str) {
        self.allowed().insert(rule(namespace, service_account, client_id));
    }

    /// Takes the rule of [`allow`](Self::allow) away.
    pub fn deny(&self, namespace: &str, service_account: &str, client_id: &str) {
        self.allowed()
            .remove(&rule(namespace, service_account, client_id));
    }

    pub(super) fn server_config(&self) -> io::Result<Arc<ServerConfig>> {
        server_config_with(Arc::clone(&self.certificates) as _)
    }

    /// Creates the identity binding of an application: its federated credential, and the keys of its
    /// issuer.
    pub(super) fn bind(&self, client_id: &str) -> io::Result<()> {
        let key = self.key()?;
        let issuer = self.binding_issuer(client_id);
        self.entra.trust_issuer(&issuer, vec![key.public().clone()]);
        let credential = FederatedCredential {
            issuer,
            subject: client_id.to_owned(),
            audience: EXCHANGE_AUDIENCE.to_owned(),
        };
        self.entra.register_federated_credential(client_id, credential);
        Ok(())
    }

    fn key(&self) -> io::Result<Arc<SigningKey>> {
        let mut key = self.key.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = &*key {
            return Ok(Arc::clone(key));
        }
        let new = Arc::new(SigningKey::generate()?);
        Ok(Arc::clone(key.insert(new)))
    }

    fn binding_issuer(&self, client_id: &str) -> String {
        format!("{ISSUER}/{}/{client_id}", self.entra.tenant_id())
    }

    /// Returns the request to Entra in place of the pod's.
    fn exchange(&self, request: Request<Bytes>) -> Result<Request<Bytes>, Box<Response<Bytes>>> {
        let is_for_proxy = request
            .extensions()
            .get::<ServerName>()
            .is_some_and(|name| name.0.as_deref() == Some(&self.server_name));
        let path = request.uri().path();
        if !is_for_proxy {
            return Err(forbidden(&format!(
                "forbidden: User \"system:anonymous\" cannot {} path \"{path}\"",
                request.method().as_str().to_lowercase()
            )));
        }
        let is_token_path = matches!(
            path.split('/').collect::<Vec<_>>()[..],
            ["", _, "oauth2", "v2.0", "token"]
        );
        if request.method() != Method::POST || !is_token_path {
            let text = "the server could not find the requested resource";
            return Err(Box::new(status_response(StatusCode::NOT_FOUND, "NotFound", text)));
        }
        let form: Vec<(String, String)> = url::form_urlencoded::parse(request.body()).into_owned().collect();
        let field = |name: &str| {
            let found = form.iter().find(|(field, _)| field == name);
            found.map(|(_, value)| value.as_str()).unwrap_or_default()
        };
        let has_audience = |audiences: &[String]| audiences == [IDENTITY_BINDING_AUDIENCE];
        let subject = self
            .issuer
            .subject(field("client_assertion"), has_audience)
            .ok_or_else(|| {
                Box::new(status_response(
                    StatusCode::UNAUTHORIZED,
                    "Unauthorized",
                    "Unauthorized",
                ))
            })?;
        let client_id = field("client_id").to_lowercase();
        if !self.allowed().contains(&(subject.clone(), client_id.clone())) {
            return Err(forbidden(&format!(
                "{client_id}.cid.wi.aks.azure.com is forbidden: User \"{subject}\" cannot use-managed-identity resource \
                 \"{client_id}\" in API group \"cid.wi.aks.azure.com\" at the cluster scope"
            )));
        }
        let assertion = self.assertion(&client_id).map_err(|_| internal_error())?;
        let mut rewritten = url::form_urlencoded::Serializer::new(String::new());
        for (name, value) in &form {
            let value = if name == "client_assertion" {
                &assertion
            } else {
                value
            };
            rewritten.append_pair(name, value);
        }
        let (mut head, _) = request.into_parts();
        let body = Bytes::from(rewritten.finish());
        head.headers.insert(CONTENT_LENGTH, body.len().into());
        head.headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/x-www-form-urlencoded"),
        );
        Ok(Request::from_parts(head, body))
    }

    fn assertion(&self, client_id: &str) -> io::Result<String> {
        let key = self.key()?;
        let token = ServiceAccountToken::new("", "")
            .issuer(self.binding_issuer(client_id))
            .subject(client_id);
        let header = json!({ "alg": "RS256", "kid": key.public().kid });
        let mut claims = token.claims("", self.clock.now());
        if let Some(claims) = claims.as_object_mut() {
            claims.remove("kubernetes.io");
        }
        Ok(key.sign(&header, &claims))
    }

    fn allowed(&self) -> MutexGuard<'_, HashSet<(String, String)>> {
        self.allowed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Service for TokenProxy {
    async fn handle(&self, request: Request<Bytes>) -> Response<Bytes> {
        match self.exchange(request) {
            Ok(request) => self.entra.handle(request).await,
            Err(refusal) => *refusal,
        }
    }

    fn failure(&self, status: StatusCode, request: &Request<Bytes>) -> Response<Bytes> {
        self.issuer.failure(status, request)
    }
}

impl fmt::Debug for TokenProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenProxy")
            .field("url", &self.url)
            .field("server_name", &self.server_name)
            .finish_non_exhaustive()
    }
}

/// The certificates of the proxy and of the API server, chosen by the TLS server name.
#[derive(Debug)]
struct Certificates(RwLock<Current>);

struct Current {
    authority: CertificateAuthority,
    server_name: String,
    proxy: Arc<CertifiedKey>,
    api_server: Arc<CertifiedKey>,
}

impl Certificates {
    fn new(authority: CertificateAuthority, server_name: &str) -> io::Result<Self> {
        Ok(Self(RwLock::new(Current::new(authority, server_name)?)))
    }

    fn replace(&self, authority: CertificateAuthority, server_name: &str) -> io::Result<()> {
        let new = Current::new(authority, server_name)?;
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }

    fn state(&self) -> std::sync::RwLockReadGuard<'_, Current> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let current = self.state();
        Some(Arc::clone(if hello.server_name() == Some(&current.server_name) {
            &current.proxy
        } else {
            &current.api_server
        }))
    }
}

impl Current {
    fn new(authority: CertificateAuthority, server_name: &str) -> io::Result<Self> {
        Ok(Self {
            proxy: authority.issue(&[server_name])?,
            api_server: authority.issue(&["127.0.0.1", "localhost", "kubernetes.default.svc"])?,
            server_name: server_name.to_owned(),
            authority,
        })
    }
}

impl fmt::Debug for Current {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Current").finish_non_exhaustive()
    }
}

fn rule(namespace: &str, service_account: &str, client_id: &str) -> (String, String) {
    let subject = format!("system:serviceaccount:{namespace}:{service_account}");
    (subject, client_id.to_lowercase())
}

/// Returns a name of AKS's form: `a`, 52 characters of base32hex, and a suffix.
fn server_name() -> String {
    let name: String = std::iter::repeat_with(|| fastrand::digit(32)).take(52).collect();
    format!("a{name}.ests.aks")
}

fn forbidden(message: &str) -> Box<Response<Bytes>> {
    Box::new(status_response(StatusCode::FORBIDDEN, "Forbidden", message))
}

fn internal_error() -> Box<Response<Bytes>> {
    let text = "an error on the server has prevented the request from succeeding";
    Box::new(status_response(
        StatusCode::INTERNAL_SERVER_ERROR,
        "InternalError",
        text,
    ))
}

/// Replaces a file at once, so that no reader sees half of it.
fn replace_file(file: &Path, content: &str) -> io::Result<()> {
    let new = file.with_extension("new");
    fs::write(&new, content)?;
    fs::rename(new, file)
}

/// Followed by the tenant ID and the client ID. Source: AKS, "Set up identity bindings", section
/// "Retrieve the OIDC issuer URL".
const ISSUER: &str = "https://ib.oic.prod-aks.azure.com";
