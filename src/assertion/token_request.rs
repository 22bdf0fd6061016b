use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::json;
use url::Url;

use super::token_service::{Hint, TokenService, parse_url, request};
use super::{AssertionRequest, ClientAssertion, ProjectedTokenFile};
use crate::blocking::{NO_THREAD, Shared};
use crate::bounded_file;
use crate::env::{Environment, External, Form, KUBERNETES_SERVICE_HOST, KUBERNETES_SERVICE_PORT};
use crate::error::Error;
use crate::token::Secret;
use crate::transport::{HttpTransport, Transport};

/// A source of client assertions for controllers that act for other service accounts: it requests the
/// token of a service account from the API server of the cluster (`TokenRequest` API).
///
/// The pod authenticates with its own token and trusts the CA of the cluster, both in
/// `/var/run/secrets/kubernetes.io/serviceaccount`; the files are read for each request. Its service
/// account needs this rule in the namespace of the other one:
///
/// ```yaml
/// apiVersion: rbac.authorization.k8s.io/v1
/// kind: Role
/// metadata: {name: request-app-tokens, namespace: tenant-a}
/// rules:
///   - {apiGroups: [""], resources: [serviceaccounts/token], resourceNames: [app], verbs: [create]}
/// ```
///
/// A token is requested for each token request to Entra, and none is cached: the credential caches the
/// access token. `HTTPS_PROXY` does not apply: the API server is in the cluster.
///
/// Source: Kubernetes API reference, `TokenRequest`, and "Accessing the Kubernetes API from a Pod".
///
/// # Errors
///
/// * [`ErrorKind::Assertion`](crate::ErrorKind::Assertion) if the pod's own token is unusable.
/// * [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) if the CA file is.
/// * [`ErrorKind::Transport`](crate::ErrorKind::Transport) if the API server does not respond.
/// * [`ErrorKind::Rejected`](crate::ErrorKind::Rejected) if it refuses; for 403, the message has the
///   missing rule.
///
/// # Examples
///
/// ```no_run
/// # async fn f() -> Result<(), entra_workload::Error> {
/// use entra_workload::ClientAssertionCredential;
/// use entra_workload::assertion::KubernetesTokenRequest;
///
/// let credential = ClientAssertionCredential::builder()
///     .tenant_id("72f988bf-86f1-41af-91ab-2d7cd011db47")
///     .client_id("7a5ff21b-4f5b-4f5b-9e3e-2c0b5a1d9a10")
///     .assertion(KubernetesTokenRequest::in_cluster("tenant-a", "app")?)
///     .build()?;
/// let token = credential.token(&["https://vault.azure.net/.default"]).await?;
/// # Ok(()) }
/// ```
#[must_use]
pub struct KubernetesTokenRequest {
    url: Url,
    own_token: ProjectedTokenFile,
    /// In place of that of the pod.
    ca_file: Option<External>,
    audience: Option<String>,
    lifetime: Duration,
    name: String,
    namespace: String,
    /// In place of one that trusts the CA file.
    transport: Option<Arc<dyn Transport>>,
    reading: Shared<Result<Vec<u8>, Error>>,
    last: Mutex<Option<TrustedCa>>,
}

impl KubernetesTokenRequest {
    /// Creates a source of the tokens of a service account in this pod's cluster. Does no I/O.
    ///
    /// # Errors
    ///
    /// * [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) if this is not a pod:
    ///   `KUBERNETES_SERVICE_HOST` is not set.
    /// * [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) if a name or a variable is invalid.
    pub fn in_cluster(
        namespace: impl Into<String>,
        service_account: impl Into<String>,
    ) -> Result<Self, Error> {
        Self::from_environment(&Environment::from_process(), namespace, service_account)
    }

    /// Creates a source for the cluster of these variables; otherwise like
    /// [`in_cluster`](Self::in_cluster).
    ///
    /// # Errors
    ///
    /// As [`in_cluster`](Self::in_cluster).
    pub fn from_environment(
        environment: &Environment,
        namespace: impl Into<String>,
        service_account: impl Into<String>,
    ) -> Result<Self, Error> {
        let host = environment
            .first(&[KUBERNETES_SERVICE_HOST], Form::Host)?
            .ok_or_else(|| {
                Error::unavailable(format!(
                    "{KUBERNETES_SERVICE_HOST} is not set: this process does not run in a pod"
                ))
            })?;
        let port = environment.first(&[KUBERNETES_SERVICE_PORT], Form::Hidden)?;
        let port = port.as_ref().map_or("443", |port| port.value.expose());
        let port: u16 = port
            .parse()
            .map_err(|_| Error::configuration(format!("{KUBERNETES_SERVICE_PORT} is not a port")))?;
        // Without brackets for IPv6.
        let host = host.value.expose();
        let host = if host.contains(':') && !host.starts_with('[') {
            format!("[{host}]")
        } else {
            host.to_owned()
        };
        let origin = format!("{KUBERNETES_SERVICE_HOST}:{KUBERNETES_SERVICE_PORT}");
        let mut url = parse_url(&format!("https://{host}:{port}"), &origin)?;
        let (namespace, name) = (namespace.into(), service_account.into());
        if !is_name(&namespace) || !is_name(&name) {
            return Err(Error::configuration(
                "the namespace or the service account is not a name of Kubernetes: lower-case letters, digits, `-` and `.`",
            ));
        }
        url.set_path(&format!(
            "/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
        ));
        let folder = Path::new(SERVICE_ACCOUNT_FOLDER);
        Ok(Self {
            url,
            own_token: ProjectedTokenFile::new(folder.join("token")),
            ca_file: None,
            audience: None,
            lifetime: DEFAULT_LIFETIME,
            name,
            namespace,
            transport: None,
            reading: Shared::default(),
            last: Mutex::new(None),
        })
    }

    /// Sets the audience of the tokens. Default: that of the credential's [cloud](crate::Cloud), which is
    /// `api://AzureADTokenExchange` in the public cloud.
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audience = Some(audience.into());
        self
    }

    /// Sets the lifetime of the tokens, in whole seconds. The API server accepts no less than ten minutes,
    /// and may shorten it. Default: ten minutes.
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = lifetime;
        self
    }

    /// Sets the file with this pod's own token. Default:
    /// `/var/run/secrets/kubernetes.io/serviceaccount/token`.
    pub fn token_file(mut self, token_file: impl Into<PathBuf>) -> Self {
        self.own_token = ProjectedTokenFile::new(token_file);
        self
    }

    /// Sets the file with the CA certificates of the API server, in PEM. Default:
    /// `/var/run/secrets/kubernetes.io/serviceaccount/ca.crt`. With a [`transport`](Self::transport), which
    /// trusts its own certificates, each request for a token is a `Configuration` error.
    pub fn ca_file(mut self, ca_file: impl Into<PathBuf>) -> Self {
        self.ca_file = Some(External::path(ca_file.into()));
        self
    }

    /// Sets the transport of the requests to the API server. Default: an
    /// [`HttpTransport`] that trusts the CA file only.
    pub fn transport(mut self, transport: impl Transport) -> Self {
        self.transport = Some(Arc::new(transport));
        self
    }

    /// Returns a transport that trusts the CA file, which is read again, since it can be replaced.
    async fn current_transport(&self) -> Result<Arc<dyn Transport>, Error> {
        if let Some(transport) = &self.transport {
            return match self.ca_file {
                None => Ok(transport.clone()),
                Some(_) => Err(Error::configuration(
                    "both .ca_file(..) and .transport(..) are set, and the transport trusts its own certificates; remove one",
                )),
            };
        }
        let path = self.trusted_file();
        let pem = self.reading.read(move || read_ca(&path)).await;
        let pem = pem.unwrap_or_else(|error| Err(unreadable_ca(&self.trusted_file(), error)));
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let loaded = pem.and_then(|pem| match &last {
            Some(last) if last.pem == pem => Ok(last.clone()),
            _ => TrustedCa::new(pem),
        });
        let current = match (loaded, last) {
            (Ok(loaded), _) => loaded,
            (Err(error), Some(last)) => {
                tracing::warn!(%error, "CA certificates of the API server unusable; using the last ones");
                last
            }
            (Err(error), None) => return Err(error),
        };
        let transport = current.transport.clone();
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(current);
        Ok(Arc::new(transport))
    }

    fn trusted_file(&self) -> External {
        let default = || External::path(Path::new(SERVICE_ACCOUNT_FOLDER).join("ca.crt"));
        self.ca_file.clone().unwrap_or_else(default)
    }

    fn hints(&self) -> Vec<Hint> {
        let Self { name, namespace, .. } = self;
        vec![
            Hint::new(
                &[StatusCode::UNAUTHORIZED],
                "it does not accept this pod's own token; check that the token is for the API server of this cluster",
            ),
            Hint::new(
                &[StatusCode::FORBIDDEN],
                format!(
                    "bind to this pod's service account a Role in namespace {namespace} with the rule {{apiGroups: [\"\"], \
                     resources: [serviceaccounts/token], resourceNames: [{name}], verbs: [create]}}"
                ),
            ),
            Hint::new(
                &[StatusCode::NOT_FOUND],
                format!("there is no service account {name} in namespace {namespace}"),
            ),
            Hint::new(
                &[StatusCode::UNPROCESSABLE_ENTITY],
                "the lifetime must be at least ten minutes and the audience not empty",
            ),
            Hint::new(&[], "check the address of the API server"),
        ]
    }
}

#[async_trait]
impl ClientAssertion for KubernetesTokenRequest {
    async fn assertion(&self, asked: AssertionRequest) -> Result<Secret, Error> {
        let audience = self.audience.as_deref().unwrap_or(asked.audience());
        let body = json!({
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": { "audiences": [audience], "expirationSeconds": self.lifetime.as_secs() },
        });
        let own_token = self.own_token.assertion(asked.clone()).await?;
        let request = request(
            Method::POST,
            &self.url,
            &own_token,
            [KUBERNETES_SERVICE_HOST, "the token file of this pod"],
            "application/json",
            Bytes::from(body.to_string()),
        )?;
        let service = TokenService {
            name: format!("the API server {}", self.url.authority()),
            pointer: "/status/token",
            hints: self.hints(),
            transport: self.current_transport().await?,
        };
        service.fetch(request).await
    }
}

impl fmt::Debug for KubernetesTokenRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KubernetesTokenRequest")
            .field("url", &self.url.as_str())
            .field("audience", &self.audience)
            .field("ca_file", &self.ca_file)
            .finish_non_exhaustive()
    }
}

/// A CA file that was read, and a transport that trusts it.
#[derive(Clone)]
struct TrustedCa {
    pem: Vec<u8>,
    transport: HttpTransport,
}

impl TrustedCa {
    fn new(pem: Vec<u8>) -> Result<Self, Error> {
        let transport = HttpTransport::with_root_certificates(&pem)?.without_proxy();
        Ok(Self { pem, transport })
    }
}

fn read_ca(path: &External) -> Result<Vec<u8>, Error> {
    if let Some(problem) = path.misplaced_content() {
        return Err(Error::configuration(format!("the path of the CA file {problem}")));
    }
    let pem = bounded_file::read(path.as_path(), MAX_CA_FILE).map_err(|error| unreadable_ca(path, error))?;
    Ok(pem.to_vec())
}

fn unreadable_ca(path: &External, error: io::Error) -> Error {
    let what = match error.kind() {
        io::ErrorKind::TimedOut => "cannot be read in time; check the file system that holds it",
        NO_THREAD => {
            "cannot be read because no thread can be started; raise the limit of processes of the container"
        }
        _ => "cannot be read",
    };
    Error::configuration(format!("the CA file {path} {what}")).with_source(error)
}

/// Whether `text` is a DNS subdomain (RFC 1123), as the names of service accounts are.
fn is_name(text: &str) -> bool {
    let is_inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c);
    let ends_with_punctuation = text.starts_with(['-', '.']) || text.ends_with(['-', '.']);
    (1..=MAX_NAME).contains(&text.len()) && text.chars().all(is_inner) && !ends_with_punctuation
}

/// Source: Kubernetes, "Accessing the Kubernetes API from a Pod".
const SERVICE_ACCOUNT_FOLDER: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// The shortest that the API server accepts. The assertion is sent at once.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(600);

/// A CA bundle has a few kilobytes.
const MAX_CA_FILE: usize = 1024 * 1024;

/// Source: RFC 1123.
const MAX_NAME: usize = 253;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn source(host: &str, namespace: &str, name: &str) -> Result<KubernetesTokenRequest, Error> {
        let variables = [(KUBERNETES_SERVICE_HOST, host), (KUBERNETES_SERVICE_PORT, "6443")];
        KubernetesTokenRequest::from_environment(&variables.into_iter().collect(), namespace, name)
    }

    #[test]
    fn url_is_that_of_the_service_account_for_every_form_of_host() {
        for (host, authority) in [
            ("10.0.0.1", "10.0.0.1:6443"),
            ("fd00::1", "[fd00::1]:6443"),
            ("[fd00::1]", "[fd00::1]:6443"),
            ("api.example.com", "api.example.com:6443"),
        ] {
            let url = source(host, "tenant-a", "app.v1").unwrap().url;
            let expected =
                format!("https://{authority}/api/v1/namespaces/tenant-a/serviceaccounts/app.v1/token");
            assert_eq!(url.as_str(), expected);
        }
    }

    #[test]
    fn names_that_would_change_the_path_are_rejected() {
        for name in ["", "a/b", "..", "a?b", "A", "a b", "-a", "a-", "a%2fb"] {
            for error in [
                source("h", name, "app").unwrap_err(),
                source("h", "ns", name).unwrap_err(),
            ] {
                assert_eq!(error.kind(), ErrorKind::Configuration, "{name:?}");
            }
        }
        assert_eq!(
            source("", "ns", "app").unwrap_err().kind(),
            ErrorKind::Unavailable
        );
        assert_eq!(
            source("h h", "ns", "app").unwrap_err().kind(),
            ErrorKind::Configuration
        );
    }
}
