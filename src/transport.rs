//! HTTP: the trait [`Transport`], the default client, and the token proxy of AKS identity bindings.

mod failure;
mod name_resolution;
#[cfg(feature = "default-credential")]
mod pinned;
pub(crate) mod retry_after;
mod token_proxy;

use std::sync::{Arc, OnceLock};
use std::time::Duration;
use std::{fmt, fs, io, thread};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use reqwest::dns::Resolve;
use rustls::crypto::{CryptoProvider, SecureRandom};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt;
use zeroize::Zeroize;

use self::failure::{Peer, failure};
use self::name_resolution::{SystemResolver, TimeLimited};
use crate::blocking::{NO_THREAD, Shared};
use crate::code::Code;
use crate::error::Error;
use crate::{crypto, env};

pub use token_proxy::{TokenProxy, TokenProxyBuilder};

/// Sends one HTTP request and returns the complete response.
///
/// The default is [`HttpTransport`]. Implement it for tests and benchmarks that run in-process, or
/// to use the HTTP client that the program already has. An implementation
///
/// * must not follow redirects: the request body contains a client assertion;
/// * must not retry, and must not log bodies or headers;
/// * should reject a body of more than 256 KiB.
///
/// # Errors
///
/// [`ErrorKind::Transport`](crate::ErrorKind::Transport) if there is no complete response,
/// [`ErrorKind::Protocol`](crate::ErrorKind::Protocol) if it is too long. A response is `Ok`,
/// whatever its status. A client that turns a status into an error passes it on with
/// [`Error::with_status`] and [`Error::with_retry_after`], which the token request obeys.
///
/// # Cancel safety
///
/// The caller sets the time limits, and drops the future when they expire.
///
/// # Examples
///
/// ```
/// use bytes::Bytes;
/// use entra_workload::Error;
/// use entra_workload::transport::Transport;
///
/// /// An endpoint that is never available.
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
    /// Sends `request`, whose URI is absolute, and reads the whole response.
    async fn send(&self, request: http::Request<Bytes>) -> Result<http::Response<Bytes>, Error>;
}

/// A transport that several credentials share.
#[async_trait]
impl<T: Transport + ?Sized> Transport for Arc<T> {
    async fn send(&self, request: http::Request<Bytes>) -> Result<http::Response<Bytes>, Error> {
        (**self).send(request).await
    }
}

/// The default transport: `reqwest` with rustls.
///
/// * The connect timeout is 5 seconds, of which a DNS query has 4. Redirects are not followed. A
///   response of more than 256 KiB is an error.
/// * Connections are not reused: a token is requested about twice an hour, and by then an idle
///   connection is closed, or its runtime has ended.
/// * `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` are honored. Plain `http`, which this crate only uses
///   for endpoints on the same machine, bypasses every proxy.
/// * The client is created for the first request, so that building a credential does no I/O.
///
/// # TLS
///
/// TLS is rustls, even if another crate of the program enables `reqwest/native-tls`. Its
/// cryptography is the [`CryptoProvider`] that the program has installed with `install_default`.
/// Without one, it is AWS-LC with the feature `aws-lc-rs` (on by default), and ring with the
/// feature `ring` alone. With none of them, every request fails with
/// [`ErrorKind::Configuration`](crate::ErrorKind::Configuration).
///
/// # Examples
///
/// ```no_run
/// # fn f() -> Result<(), Box<dyn std::error::Error>> {
/// use entra_workload::WorkloadIdentityCredential;
/// use entra_workload::transport::HttpTransport;
///
/// let private_ca = std::fs::read("/etc/ssl/our-proxy.pem")?;
/// let credential = WorkloadIdentityCredential::builder()
///     .transport(HttpTransport::with_root_certificates(&private_ca)?)
///     .build()?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Default)]
pub struct HttpTransport {
    /// Replace those of the system.
    roots: Option<Arc<RootCertStore>>,
    /// The only certificate that is trusted.
    #[cfg(feature = "default-credential")]
    pinned: Option<Arc<str>>,
    bypasses_proxies: bool,
    client: Arc<LazyClient>,
    /// For plain `http`, without a proxy.
    local_client: Arc<LazyClient>,
}

impl HttpTransport {
    /// A transport that trusts the root certificates of the system. On Linux, `SSL_CERT_FILE` and
    /// `SSL_CERT_DIR` replace them.
    pub fn new() -> Self {
        Self::default()
    }

    /// A transport that trusts only these root certificates.
    ///
    /// * `pem`: one or more `CERTIFICATE` blocks.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) if `pem` contains no
    /// certificate or an invalid one.
    pub fn with_root_certificates(pem: &[u8]) -> Result<Self, Error> {
        let roots = certificates(pem, ROOT_CERTIFICATES)?;
        Ok(Self {
            roots: Some(Arc::new(root_store(roots, ROOT_CERTIFICATES)?)),
            ..Self::default()
        })
    }

    /// Ignores `HTTPS_PROXY` and the proxy of the system, for hosts of the same cluster or machine.
    #[must_use]
    pub fn without_proxy(self) -> Self {
        Self {
            bypasses_proxies: true,
            client: Arc::default(),
            ..self
        }
    }

    /// A transport that trusts only the server certificate with this thumbprint, and uses no proxy.
    ///
    /// * `thumbprint`: SHA-1 in hexadecimal.
    #[cfg(feature = "default-credential")]
    pub(crate) fn with_pinned_certificate(thumbprint: &str) -> Self {
        Self {
            pinned: Some(thumbprint.into()),
            ..Self::default()
        }
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
            // Not used without TLS. The roots of the system take time to read.
            Some(Arc::new(RootCertStore::empty()))
        } else {
            // Only the first handshake waits for it, and only if it starts earlier. Without a thread, it does the work.
            let random = provider.secure_random;
            drop(thread::Builder::new().spawn(move || gather_entropy(random)));
            self.roots.clone()
        };
        let bypasses_proxies = is_local || self.bypasses_proxies;
        #[cfg(feature = "default-credential")]
        let pinned = self.pinned.clone();
        let build = move || {
            let builder = |tls| builder(tls, SystemResolver::new(None), CONNECT_TIMEOUT);
            #[cfg(feature = "default-credential")]
            if let Some(thumbprint) = pinned {
                return Ok(builder(pinned::tls_config(provider, &thumbprint)?)
                    .no_proxy()
                    .build()?);
            }
            let builder = builder(tls_config(provider, roots)?);
            Ok(if bypasses_proxies {
                builder.no_proxy()
            } else {
                builder
            }
            .build()?)
        };
        Arc::clone(lazy).get_or_build(build).await
    }
}

/// An HTTP client that is created for the first request.
#[derive(Debug, Default)]
struct LazyClient {
    built: OnceLock<reqwest::Client>,
    building: Shared<Result<reqwest::Client, Error>>,
}

impl LazyClient {
    /// Takes 10 ms or more while the root certificates of the system are read.
    async fn get_or_build(
        self: Arc<Self>,
        build: impl FnOnce() -> Result<reqwest::Client, BuildError> + Send + 'static,
    ) -> Result<reqwest::Client, Error> {
        let this = Arc::clone(&self);
        let client = self.building.run(BUILD_LIMIT, move || {
            // Another caller may have built it meanwhile.
            if let Some(client) = this.built.get() {
                return Ok(client.clone());
            }
            let client = build().map_err(no_client)?;
            drop(this.built.set(client.clone()));
            Ok(client)
        });
        client.await.unwrap_or_else(|error| Err(no_client(error.into())))
    }
}

fn no_client(error: BuildError) -> Error {
    let message = match error.downcast_ref().map(io::Error::kind) {
        Some(NO_THREAD) => {
            let message = "the HTTP client cannot be made because no thread can be started; raise the limit of processes of \
                           the container";
            return Error::transport(message).with_source(error);
        }
        Some(io::ErrorKind::TimedOut) => {
            "the root certificates cannot be read in time; check the file system that holds them"
        }
        Some(io::ErrorKind::InvalidInput) => {
            "SSL_CERT_FILE is not a regular file; set it to the path of a file with root certificates in PEM"
        }
        _ => "the HTTP client cannot be made; are there root certificates in this image?",
    };
    Error::transport(message)
        .with_code(Code::NO_ROOT_CERTIFICATES)
        .with_source(error)
}

type BuildError = Box<dyn std::error::Error + Send + Sync>;

/// A complete configuration. Without it `reqwest` chooses the TLS library by its features, which
/// any crate of the program can enable, and prefers OpenSSL to rustls.
fn tls_config(
    provider: Arc<CryptoProvider>,
    roots: Option<Arc<RootCertStore>>,
) -> Result<ClientConfig, BuildError> {
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let config = if let Some(roots) = roots {
        config.with_root_certificates(roots)
    } else {
        // Opening a FIFO would block until it has a writer.
        if let Some(file) = env::root_certificate_file()
            && fs::metadata(file).is_ok_and(|file| !file.is_file())
        {
            return Err(io::Error::from(io::ErrorKind::InvalidInput).into());
        }
        config.with_platform_verifier()?
    };
    let mut config = config.with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// Reads PEM blocks of certificates.
///
/// * `origin`: what contains them, for messages.
fn certificates(pem: &[u8], origin: &str) -> Result<Vec<CertificateDer<'static>>, Error> {
    let certificates = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| Error::configuration(format!("invalid PEM in {origin}")).with_source(error))?;
    if certificates.is_empty() {
        return Err(Error::configuration(format!(
            "there is no certificate in {origin}"
        )));
    }
    Ok(certificates)
}

fn root_store(certificates: Vec<CertificateDer<'static>>, origin: &str) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        roots.add(certificate).map_err(|error| {
            Error::configuration(format!("there is an invalid certificate in {origin}")).with_source(error)
        })?;
    }
    Ok(roots)
}

/// * `resolver`: has four fifths of the time limit of a connection.
fn builder<R: Resolve + 'static>(
    tls: ClientConfig,
    resolver: R,
    connect_timeout: Duration,
) -> reqwest::ClientBuilder {
    let resolver = TimeLimited {
        resolver: Arc::new(resolver),
        limit: connect_timeout * 4 / 5,
    };
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .dns_resolver(Arc::new(resolver))
        .connect_timeout(connect_timeout)
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .pool_max_idle_per_host(0)
}

/// Makes the cryptography library seed its random numbers, as the first handshake would. AWS-LC
/// needs 20 to 60 ms for it, once per process; meanwhile another core reads the root certificates.
/// ring needs microseconds.
fn gather_entropy(random: &dyn SecureRandom) {
    // If this fails, the handshake fails too and reports it.
    let _ = random.fill(&mut [0]);
}

#[async_trait]
impl Transport for HttpTransport {
    async fn send(&self, request: http::Request<Bytes>) -> Result<http::Response<Bytes>, Error> {
        let host = request.uri().host().unwrap_or_default().to_owned();
        let client = self.client(request.uri()).await?;
        execute(&client, request, &Peer::Host(&host)).await
    }
}

/// Sends one request and reads the whole response.
async fn execute(
    client: &reqwest::Client,
    request: http::Request<Bytes>,
    peer: &Peer<'_>,
) -> Result<http::Response<Bytes>, Error> {
    let request = reqwest::Request::try_from(request).map_err(|error| failure(peer, error))?;
    let mut response = client
        .execute(request)
        .await
        .map_err(|error| failure(peer, error))?;
    let mut answer = http::Response::new(Bytes::new());
    *answer.status_mut() = response.status();
    *answer.headers_mut() = std::mem::take(response.headers_mut());
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| failure(peer, error))? {
        if body.len() + chunk.len() > MAX_BODY {
            let too_long = Error::protocol(format!("{peer} returned more than 256 KiB"));
            return Err(too_long.with_status(answer.status()));
        }
        body.extend_from_slice(&chunk);
    }
    *answer.body_mut() = body.freeze();
    Ok(answer)
}

/// Overwrites a body that may contain a token, unless the transport kept a clone of it.
pub(crate) fn wipe(body: Bytes) {
    if let Ok(mut body) = body.try_into_mut() {
        body.as_mut().zeroize();
    }
}

/// For messages.
const ROOT_CERTIFICATES: &str = "the root certificates";

/// Allows for a DNS query and a retransmitted SYN packet, and leaves time for a second attempt
/// within the default total of 20 s. The Azure SDK for Rust waits for 20 s.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// For reading the root certificates of the system: some 10 ms, and seconds with a small share of a core. Less than
/// the time limit of an attempt, which says nothing about the cause.
const BUILD_LIMIT: Duration = Duration::from_secs(8);

/// Entra and the services that issue assertions respond within a second. After ten seconds the connection is
/// dead, and half of the default time limit is left for another attempt.
pub(crate) const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);

/// The largest responses of Entra have less than 10 KiB. A longer one comes from a captive portal
/// or an attacker.
pub(crate) const MAX_BODY: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    /// A DNS server that drops every query.
    struct Silence;

    impl Resolve for Silence {
        fn resolve(&self, _name: reqwest::dns::Name) -> reqwest::dns::Resolving {
            Box::pin(std::future::pending())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn silent_resolver_is_not_reported_as_a_silent_host() {
        let roots = Some(Arc::new(RootCertStore::empty()));
        let tls = tls_config(crypto::provider().unwrap(), roots).unwrap();
        let client = builder(tls, Silence, CONNECT_TIMEOUT).no_proxy().build().unwrap();
        for (peer, name) in [
            (Peer::Host("login.example.com"), "the name login.example.com"),
            (
                Peer::TokenProxy("the token proxy a"),
                "the name of the token proxy a",
            ),
        ] {
            let request = http::Request::get("https://login.example.com").body(Bytes::new());
            let error = execute(&client, request.unwrap(), &peer).await.unwrap_err();
            assert_eq!(
                (error.kind(), error.code()),
                (ErrorKind::Transport, Some(Code::RESOLVER_SILENT))
            );
            assert_eq!(
                error.to_string(),
                format!(
                    "{name} was not resolved in time; allow egress to the DNS service, port 53 with UDP and TCP (EW213)"
                )
            );
        }
    }

    #[test]
    fn name_that_no_thread_can_look_up_is_not_reported_as_unknown() {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().thread_stack_size(usize::MAX / 4);
        let roots = Some(Arc::new(RootCertStore::empty()));
        let tls = tls_config(crypto::provider().unwrap(), roots).unwrap();
        let client = builder(tls, SystemResolver::new(None), CONNECT_TIMEOUT)
            .no_proxy()
            .build()
            .unwrap();
        let request = http::Request::get("https://localhost")
            .body(Bytes::new())
            .unwrap();
        let sent = execute(&client, request, &Peer::Host("localhost"));
        let error = runtime.build().unwrap().block_on(sent).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Transport);
        assert_eq!(
            error.to_string(),
            "localhost cannot be looked up because no thread can be started; raise the limit of processes of the container"
        );
        assert_eq!(error.code(), None);
    }

    #[test]
    fn root_certificates_that_cannot_be_used_are_rejected() {
        let block = |base64| format!("-----BEGIN CERTIFICATE-----\n{base64}\n-----END CERTIFICATE-----\n");
        for (pem, message) in [
            (String::new(), "there is no certificate in the root"),
            ("not PEM".to_owned(), "there is no certificate in the root"),
            (block("M!"), "invalid PEM in the root"),
            (block("MAMCAQA="), "there is an invalid certificate in the root"),
        ] {
            let error = HttpTransport::with_root_certificates(pem.as_bytes()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Configuration, "{pem}");
            assert!(error.to_string().starts_with(message), "{pem}: {error}");
        }
    }
}
