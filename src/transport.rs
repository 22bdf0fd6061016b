use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use rustls::crypto::{CryptoProvider, SecureRandom};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt;

use crate::error::Error;
use crate::{blocking, crypto};

/// Sends one HTTP request and brings back the whole answer.
///
/// The default is [`HttpTransport`]. Another one serves tests and benchmarks in-process, or lets a program use the
/// HTTP client that it already has. An implementation must not follow redirects (the request's body holds a client
/// assertion), must not retry, must not log bodies or headers, and should refuse a body beyond 256 KiB. Time limits
/// are set by the caller, which drops the future.
///
/// # Errors
///
/// [`ErrorKind::Transport`](crate::ErrorKind::Transport) if no whole answer came,
/// [`ErrorKind::Protocol`](crate::ErrorKind::Protocol) if it was too long. Every answer is `Ok`, whatever its status.
///
/// # Examples
///
/// ```
/// use bytes::Bytes;
/// use entra_workload::{Error, Transport};
///
/// /// An endpoint that always has a bad day.
/// #[derive(Debug)]
/// struct Outage;
///
/// #[async_trait::async_trait]
/// impl Transport for Outage {
///     async fn send(&self, _request: http::Request<Bytes>) -> Result<http::Response<Bytes>, Error> {
///         Ok(http::Response::builder().status(503).body(Bytes::new()).unwrap())
///     }
/// }
/// ```
#[async_trait]
pub trait Transport: fmt::Debug + Send + Sync + 'static {
    /// Sends `request`, whose URI is absolute, and reads the answer to its end.
    async fn send(&self, request: http::Request<Bytes>) -> Result<http::Response<Bytes>, Error>;
}

/// The default transport: `reqwest` with rustls.
///
/// It connects within 5 seconds, follows no redirect, reads at most 256 KiB, keeps no idle connection (a token is
/// fetched twice an hour: a kept connection would be dead, or belong to a runtime that is gone), and honours
/// `HTTPS_PROXY` and `NO_PROXY`. Plain `http`, which this crate speaks only with endpoints on the same machine, goes past every
/// proxy. The client is made at the first request, so that building a credential does no I/O.
///
/// # Examples
///
/// ```no_run
/// # fn f() -> Result<(), Box<dyn std::error::Error>> {
/// use entra_workload::{HttpTransport, WorkloadIdentityCredential};
///
/// let private_ca = std::fs::read("/etc/ssl/our-proxy.pem")?;
/// let credential = WorkloadIdentityCredential::builder()
///     .transport(HttpTransport::with_root_certificates(&private_ca)?)
///     .build()?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Default)]
pub struct HttpTransport {
    /// Trusted in place of those of the system.
    roots: Option<Arc<RootCertStore>>,
    client: Arc<LazyClient>,
    /// For plain `http`, which is only spoken on this machine and goes past every proxy.
    local_client: Arc<LazyClient>,
}

impl HttpTransport {
    /// A transport that trusts the root certificates of the system, or those of `SSL_CERT_FILE` where the system's
    /// verifier honours it (on Linux it does).
    pub fn new() -> Self {
        Self::default()
    }

    /// A transport that trusts these root certificates, and no others.
    ///
    /// * `pem`: one or more `CERTIFICATE` blocks.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) if `pem` contains no certificate or an invalid one.
    pub fn with_root_certificates(pem: &[u8]) -> Result<Self, Error> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|error| {
                Error::configuration("the root certificates are not PEM").with_source(error)
            })?;
            roots.add(certificate).map_err(|error| {
                Error::configuration("there is a broken certificate among the root certificates")
                    .with_source(error)
            })?;
        }
        if roots.is_empty() {
            return Err(Error::configuration(
                "there is no certificate among the root certificates",
            ));
        }
        Ok(Self {
            roots: Some(Arc::new(roots)),
            ..Self::default()
        })
    }

    async fn client(&self, uri: &http::Uri) -> Result<reqwest::Client, Error> {
        let is_local = uri.scheme() == Some(&http::uri::Scheme::HTTP);
        let lazy = if is_local {
            &self.local_client
        } else {
            &self.client
        };
        if let Some(client) = lazy.built.get() {
            return Ok(client.clone());
        }
        let provider = crypto::provider()?;
        let roots = if is_local {
            // Without TLS, none is needed, and those of the system need not be read.
            Some(Arc::new(RootCertStore::empty()))
        } else {
            // Nothing waits for this, except for the first handshake if it comes earlier.
            let random = provider.secure_random;
            drop(tokio::task::spawn_blocking(move || gather_entropy(random)));
            self.roots.clone()
        };
        let lazy = Arc::clone(lazy);
        blocking::run(move || {
            lazy.get_or_build(|| {
                let builder = builder(tls_config(provider, roots)?);
                Ok(if is_local { builder.no_proxy() } else { builder }.build()?)
            })
        })
        .await
        .map_err(|error| {
            Error::transport("the HTTP client cannot be made; are there root certificates in this image?")
                .with_source(error)
        })
    }
}

/// An HTTP client that is built at its first use.
#[derive(Debug, Default)]
struct LazyClient {
    built: OnceLock<reqwest::Client>,
    building: Mutex<()>,
}

impl LazyClient {
    /// Blocks, since the root certificates of the system may have to be read: 10 ms or more. Only the thread that builds holds
    /// the lock, and it ends even if its runtime is never driven again.
    fn get_or_build(
        &self,
        build: impl FnOnce() -> Result<reqwest::Client, BuildError>,
    ) -> Result<reqwest::Client, BuildError> {
        let _building = self.building.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = self.built.get() {
            return Ok(client.clone());
        }
        build().inspect(|client| drop(self.built.set(client.clone())))
    }
}

type BuildError = Box<dyn std::error::Error + Send + Sync>;

/// A finished configuration: if it is left to `reqwest`, its features decide between TLS libraries, and any other crate of the
/// program can switch those on.
fn tls_config(
    provider: Arc<CryptoProvider>,
    roots: Option<Arc<RootCertStore>>,
) -> Result<ClientConfig, rustls::Error> {
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let config = match roots {
        Some(roots) => config.with_root_certificates(roots),
        None => config.with_platform_verifier()?,
    };
    let mut config = config.with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn builder(tls: ClientConfig) -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .connect_timeout(CONNECT_TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .pool_max_idle_per_host(0)
}

/// Makes the cryptography library seed its random numbers, as the first handshake would. With AWS-LC that takes 20 to 60 ms of
/// one core, once in the life of a process, and meanwhile another core can read the root certificates.
fn gather_entropy(random: &dyn SecureRandom) {
    // If it fails, so does the handshake, which reports it.
    let _ = random.fill(&mut [0]);
}

#[async_trait]
impl Transport for HttpTransport {
    async fn send(&self, request: http::Request<Bytes>) -> Result<http::Response<Bytes>, Error> {
        let host = request.uri().host().unwrap_or_default().to_owned();
        let client = self.client(request.uri()).await?;
        let request = reqwest::Request::try_from(request).map_err(|error| failure(&host, error))?;
        let mut response = client
            .execute(request)
            .await
            .map_err(|error| failure(&host, error))?;
        let mut answer = http::Response::new(Bytes::new());
        *answer.status_mut() = response.status();
        *answer.headers_mut() = std::mem::take(response.headers_mut());
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| failure(&host, error))? {
            if body.len() + chunk.len() > MAX_BODY {
                return Err(Error::protocol(format!("{host} answered with more than 256 KiB"))
                    .with_status(answer.status()));
            }
            body.extend_from_slice(&chunk);
        }
        *answer.body_mut() = body.freeze();
        Ok(answer)
    }
}

/// Says in one stable line at which step the request failed; the rest is in the source, without the URL.
fn failure(host: &str, error: reqwest::Error) -> Error {
    let step = if error.is_connect() && error.is_timeout() {
        "cannot be reached within 5 s: is egress to it allowed?"
    } else if error.is_connect() {
        "cannot be reached: check DNS, egress rules, the proxy and the certificate"
    } else if error.is_timeout() {
        "did not answer in time"
    } else if error.is_body() || error.is_decode() {
        "broke off in the middle of its answer"
    } else {
        "closed the connection without an answer"
    };
    Error::transport(format!("{host} {step}")).with_source(error.without_url())
}

/// Long enough for a name look-up and three lost SYN packets' first retransmission, short enough to leave time for a
/// second attempt within the default total of 20 s. The official SDK's 20 s is what its users wait for.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Entra's largest replies are under 10 KiB; what is longer is a captive portal or an attack.
const MAX_BODY: usize = 256 * 1024;
