use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{HOST, HeaderValue};
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, DnsName};
use url::{Host, Url};

use super::failure::Peer;
use super::name_resolution::SystemResolver;
use super::{Transport, builder, certificates, execute, root_store, tls_config};
use crate::blocking::{NO_THREAD, Shared};
use crate::bounded_file::FileReader;
use crate::code::Code;
use crate::crypto;
use crate::env::{
    AZURE_KUBERNETES_CA_DATA, AZURE_KUBERNETES_CA_FILE, AZURE_KUBERNETES_SNI_NAME,
    AZURE_KUBERNETES_TOKEN_PROXY, Environment, External, Form, is_host, is_secret,
};
use crate::error::Error;
use crate::escape::is_visible;

/// Sends token requests to the token proxy of an AKS cluster, which serves pods with an identity
/// binding.
///
/// [`WorkloadIdentityCredential`](crate::WorkloadIdentityCredential) creates one from the variables
/// of the pod, also as a link of `DefaultAzureCredential`. Create one yourself to use the proxy
/// without these variables, or from another credential with `.transport(..)`.
///
/// * The path of a request is kept, after the path prefix of the proxy.
/// * The TLS server name is [`server_name`](TokenProxyBuilder::server_name), by which the proxy is
///   found behind the address of the API server.
/// * Only the given CA certificates are trusted: all of the bundle. The file is read for each
///   request. While it cannot be read or contains no certificate, the last ones are used and a
///   warning is logged.
/// * `HTTPS_PROXY` does not apply: the token proxy is inside the cluster.
/// * The connect timeout is 2 seconds; the name of the proxy is resolved for each connection.
///
/// # Errors
///
/// A request fails with [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) if the CA file
/// was never readable, contains no certificate, or differs from the CA data.
///
/// # Examples
///
/// ```
/// use entra_workload::WorkloadIdentityCredential;
/// use entra_workload::transport::TokenProxy;
///
/// let proxy = TokenProxy::builder("https://kubernetes.default.svc")
///     .server_name("a0123456789abcdefghijklmnopqrstuv.ests.aks")
///     .ca_file("/var/run/secrets/azure/wi/ca-cert/ca.crt")
///     .build()?;
/// let credential = WorkloadIdentityCredential::builder()
///     .tenant_id("72f988bf-86f1-41af-91ab-2d7cd011db47")
///     .client_id("7a5ff21b-4f5b-4f5b-9e3e-2c0b5a1d9a10")
///     .token_file("/var/run/secrets/azure/wi/token/azure-identity-token")
///     .token_proxy(proxy)
///     .build()?;
/// # drop(credential);
/// # Ok::<(), entra_workload::Error>(())
/// ```
///
/// Source: AKS, "Identity bindings", and the Azure SDKs for Go, JavaScript and Python.
#[derive(Clone)]
pub struct TokenProxy(Arc<Proxy>);

impl TokenProxy {
    /// Returns a builder.
    ///
    /// * `url`: `https://host[:port][/prefix]`, as in `AZURE_KUBERNETES_TOKEN_PROXY`.
    pub fn builder(url: impl Into<String>) -> TokenProxyBuilder {
        TokenProxyBuilder {
            url: External::new(Form::Url, url.into()),
            server_name: None,
            ca_file: None,
            ca_data: None,
            file_reader: FileReader::default(),
        }
    }

    /// Returns the proxy that the webhook has set in a pod; `None` in a pod without an identity
    /// binding.
    ///
    /// | variable | meaning |
    /// | --- | --- |
    /// | `AZURE_KUBERNETES_TOKEN_PROXY` | its URL |
    /// | `AZURE_KUBERNETES_SNI_NAME` | its TLS server name |
    /// | `AZURE_KUBERNETES_CA_FILE`, `AZURE_KUBERNETES_CA_DATA` | its CA certificates, in PEM |
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) if a variable is invalid, or if
    /// there are others without `AZURE_KUBERNETES_TOKEN_PROXY`.
    pub fn from_environment(environment: &Environment) -> Result<Option<Self>, Error> {
        let variables = environment.token_proxy()?;
        let Some(url) = variables.url else {
            let set = [
                (AZURE_KUBERNETES_SNI_NAME, variables.server_name.is_some()),
                (AZURE_KUBERNETES_CA_FILE, variables.ca_file.is_some()),
                (AZURE_KUBERNETES_CA_DATA, variables.ca_data.is_some()),
            ];
            return match set.iter().find(|(_, is_set)| *is_set) {
                Some((name, _)) => Err(Error::configuration(format!(
                    "{name} is set and {AZURE_KUBERNETES_TOKEN_PROXY} is not, so the identity binding of this pod is \
                     incomplete; recreate the pod, or remove the variable from its template"
                ))
                .with_code(Code::INCOMPLETE_IDENTITY_BINDING)),
                None => Ok(None),
            };
        };
        let builder = TokenProxyBuilder {
            url,
            server_name: variables.server_name,
            ca_file: variables.ca_file,
            ca_data: variables.ca_data,
            file_reader: environment.file_reader(),
        };
        builder.build().map(Some)
    }

    /// Returns the name of the proxy, for messages.
    pub(crate) fn name(&self) -> &str {
        &self.0.name
    }
}

#[async_trait]
impl Transport for TokenProxy {
    async fn send(&self, request: http::Request<Bytes>) -> Result<http::Response<Bytes>, Error> {
        let client = self.0.client().await?;
        let request = self.0.redirect(request)?;
        execute(&client, request, &Peer::TokenProxy(&self.0.name)).await
    }
}

impl fmt::Debug for TokenProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenProxy")
            .field("url", &self.0.url.as_str())
            .field("server_name", &self.0.server_name)
            .finish_non_exhaustive()
    }
}

/// Builds a [`TokenProxy`].
///
/// # Examples
///
/// ```
/// use entra_workload::ErrorKind;
/// use entra_workload::transport::TokenProxy;
///
/// let error = TokenProxy::builder("http://kubernetes.default.svc").build().unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::Configuration);
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct TokenProxyBuilder {
    url: External,
    server_name: Option<External>,
    ca_file: Option<External>,
    ca_data: Option<External>,
    file_reader: FileReader,
}

impl TokenProxyBuilder {
    /// Sets the TLS server name: sent in the handshake (SNI), and expected in the certificate.
    /// Default: the host of the URL.
    pub fn server_name(mut self, server_name: impl Into<String>) -> Self {
        self.server_name = Some(External::new(Form::Host, server_name.into()));
        self
    }

    /// Sets the file with the CA certificates, which need not exist yet. Default: the root
    /// certificates of the system.
    pub fn ca_file(mut self, ca_file: impl Into<PathBuf>) -> Self {
        self.ca_file = Some(External::path(ca_file.into()));
        self
    }

    /// Sets the CA certificates themselves, in PEM. If a file is set too, both must contain the
    /// same certificates.
    pub fn ca_data(mut self, pem: impl Into<String>) -> Self {
        self.ca_data = Some(External::new(Form::Hidden, pem.into()));
        self
    }

    /// Builds the transport. Does no I/O.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) if the URL, the server name or
    /// the CA data is invalid.
    pub fn build(self) -> Result<TokenProxy, Error> {
        let url = parse(self.url.expose())?;
        let server_name = self.server_name.filter(|name| !name.is_empty());
        if let Some(name) = &server_name
            && (!name.is_well_formed()
                || DnsName::try_from(name.expose()).is_err()
                || !matches!(Host::parse(name.expose()), Ok(Host::Domain(_))))
        {
            return Err(Error::configuration(format!(
                "the TLS server name of the token proxy ({AZURE_KUBERNETES_SNI_NAME} or .server_name(..)) is not a \
                 DNS name; an example is a0123.ests.aks"
            ))
            .with_code(Code::INCOMPLETE_IDENTITY_BINDING));
        }
        let ca_data = self.ca_data.filter(|pem| !pem.is_empty());
        let ca_data = ca_data
            .map(|pem| {
                certificates(
                    pem.expose().as_bytes(),
                    &format!("{AZURE_KUBERNETES_CA_DATA} or .ca_data(..)"),
                )
            })
            .transpose()?;
        let host = url.host_str().unwrap_or_default();
        Ok(TokenProxy(Arc::new(Proxy {
            name: format!("the token proxy {host}"),
            server_name: server_name.map(|name| name.expose().to_owned()),
            ca_file: self.ca_file.filter(|path| !path.is_empty()),
            ca_data,
            file_reader: self.file_reader,
            url,
            current: Mutex::new(None),
            loading: Shared::default(),
        })))
    }
}

fn parse(text: &str) -> Result<Url, Error> {
    let invalid = |reason: &str| {
        Error::configuration(format!(
            "the URL of the token proxy ({AZURE_KUBERNETES_TOKEN_PROXY} or TokenProxy::builder(..)) {reason}; an \
             example is https://kubernetes.default.svc"
        ))
        .with_code(Code::INCOMPLETE_IDENTITY_BINDING)
    };
    let text = text.trim();
    if !is_visible(text) {
        return Err(invalid(
            "contains white space, or a control or invisible character",
        ));
    }
    let url = Url::parse(text).map_err(|error| invalid("is not a URL").with_source(error))?;
    if url.scheme() != "https" {
        return Err(invalid("must start with https://"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(invalid("must not contain a user name or a password"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(invalid("must not have a query or a fragment"));
    }
    if !url.host_str().is_some_and(is_host) || is_secret(url.path()) {
        return Err(invalid("is not that of a host"));
    }
    Ok(url)
}

struct Proxy {
    /// For messages.
    name: String,
    url: Url,
    server_name: Option<String>,
    ca_file: Option<External>,
    ca_data: Option<Vec<CertificateDer<'static>>>,
    file_reader: FileReader,
    current: Mutex<Option<Client>>,
    loading: Shared<Result<Client, Error>>,
}

/// An HTTP client that trusts the certificates of one version of the CA file.
#[derive(Clone)]
struct Client {
    /// Empty without a file.
    bundle: Vec<u8>,
    client: reqwest::Client,
}

impl Proxy {
    /// Returns the client for the present CA certificates; if they are unusable, that for the last ones.
    async fn client(self: &Arc<Self>) -> Result<reqwest::Client, Error> {
        let proxy = Arc::clone(self);
        let loaded = self.loading.read(move || {
            proxy.load(proxy.last().as_ref()).inspect(|client| {
                *proxy.current.lock().unwrap_or_else(PoisonError::into_inner) = Some(client.clone());
            })
        });
        let loaded = loaded.await.unwrap_or_else(|error| {
            let why = match error.kind() {
                NO_THREAD => {
                    "cannot be read because no thread can be started; raise the limit of processes of the container"
                }
                _ => "cannot be read in time; check the file system that holds them",
            };
            Err(
                Error::configuration(format!("the CA certificates of {} {why}", self.name))
                    .with_code(Code::INCOMPLETE_IDENTITY_BINDING)
                    .with_source(error),
            )
        });
        match (loaded, self.last()) {
            (Ok(loaded), _) => Ok(loaded.client),
            (Err(error), Some(last)) => {
                tracing::warn!(%error, "CA certificates of the token proxy unusable; using the last ones");
                Ok(last.client)
            }
            (Err(error), None) => Err(error),
        }
    }

    fn last(&self) -> Option<Client> {
        self.current
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Blocks on the file system.
    fn load(&self, last: Option<&Client>) -> Result<Client, Error> {
        let bundle = match &self.ca_file {
            Some(path) => read_bundle(path, &self.file_reader)?,
            None => Vec::new(),
        };
        if let Some(last) = last.filter(|last| last.bundle == bundle) {
            return Ok(last.clone());
        }
        let roots = match (&self.ca_file, &self.ca_data) {
            (Some(path), data) => {
                let file = certificates(&bundle, &format!("the CA file {path}"))?;
                if last.is_none() && data.as_ref().is_some_and(|data| !is_same_set(data, &file)) {
                    return Err(Error::configuration(format!(
                        "{AZURE_KUBERNETES_CA_FILE} and {AZURE_KUBERNETES_CA_DATA} are both set and contain different \
                         certificates; set only one of them"
                    ))
                    .with_code(Code::INCOMPLETE_IDENTITY_BINDING));
                }
                Some(file)
            }
            (None, data) => data.clone(),
        };
        let roots = roots.map(|roots| root_store(roots, "the CA certificates of the token proxy"));
        let client = self.build(roots.transpose()?.map(Arc::new))?;
        Ok(Client { bundle, client })
    }

    fn build(&self, roots: Option<Arc<RootCertStore>>) -> Result<reqwest::Client, Error> {
        let failed = |error: Box<dyn std::error::Error + Send + Sync>| {
            Error::transport(format!("no HTTP client can be made for {}", self.name)).with_source(error)
        };
        let tls = tls_config(crypto::provider()?, roots).map_err(failed)?;
        // The TLS server name, which is the host of the requests, has no address.
        let resolver = SystemResolver::new(self.url.host().map(|host| match host {
            Host::Ipv6(address) => address.to_string(),
            host => host.to_string(),
        }));
        let client = builder(tls, resolver, CONNECT_TIMEOUT).no_proxy().build();
        client.map_err(|error| failed(error.into()))
    }

    /// Sends the request to the proxy instead: `reqwest` takes the TLS server name from the URL, so
    /// that is its host, while `Host` is that of the proxy. (The SDKs send different ones: the proxy is
    /// found by the server name alone.)
    fn redirect(&self, mut request: http::Request<Bytes>) -> Result<http::Request<Bytes>, Error> {
        let invalid = |error: http::Error| {
            Error::configuration(format!("no valid URL for {}; check its path", self.name)).with_source(error)
        };
        let host = self.url.host_str().unwrap_or_default();
        let port = self.url.port().map(|port| format!(":{port}")).unwrap_or_default();
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        let uri = format!(
            "https://{}{port}{}{path}",
            self.server_name.as_deref().unwrap_or(host),
            self.url.path().trim_end_matches('/')
        );
        *request.uri_mut() = uri
            .parse()
            .map_err(|error: http::uri::InvalidUri| invalid(error.into()))?;
        let host = HeaderValue::try_from(format!("{host}{port}")).map_err(|error| invalid(error.into()))?;
        request.headers_mut().insert(HOST, host);
        Ok(request)
    }
}

fn read_bundle(path: &External, file_reader: &FileReader) -> Result<Vec<u8>, Error> {
    if let Some(problem) = path.misplaced_content() {
        let message = format!("the path of the CA file {problem}");
        return Err(Error::configuration(message).with_code(Code::INCOMPLETE_IDENTITY_BINDING));
    }
    let bytes = file_reader.read(path.as_path(), MAX_BUNDLE).map_err(|error| {
        let reason = match error.kind() {
            io::ErrorKind::NotFound => "does not exist; check that its volume is mounted",
            io::ErrorKind::PermissionDenied => {
                "cannot be read by this user; set fsGroup in the pod's securityContext"
            }
            io::ErrorKind::FileTooLarge => "is longer than 1 MiB, so it is not a bundle of CA certificates",
            _ => "cannot be read",
        };
        Error::configuration(format!("the CA file {path} {reason}"))
            .with_code(Code::INCOMPLETE_IDENTITY_BINDING)
            .with_source(error)
    })?;
    Ok(bytes.to_vec())
}

fn is_same_set(one: &[CertificateDer<'_>], other: &[CertificateDer<'_>]) -> bool {
    one.iter().all(|certificate| other.contains(certificate))
        && other.iter().all(|certificate| one.contains(certificate))
}

/// The proxy is in the cluster. After two seconds the connection is lost, and half of the credential's
/// time limit is left for another attempt.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Far above a bundle of all public authorities, 200 KiB.
const MAX_BUNDLE: usize = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn proxy(url: &str) -> TokenProxy {
        TokenProxy::builder(url)
            .server_name("a0.ests.aks")
            .build()
            .unwrap()
    }

    #[test]
    fn url_is_that_of_the_proxy_with_the_path_of_the_request() {
        for (url, uri, host) in [
            (
                "https://kubernetes.default.svc",
                "https://a0.ests.aks/tenant/token?x=%2F",
                "kubernetes.default.svc",
            ),
            (
                " https://10.0.0.1:8443/binding/ ",
                "https://a0.ests.aks:8443/binding/tenant/token?x=%2F",
                "10.0.0.1:8443",
            ),
            (
                "https://[::1]:1/a/b",
                "https://a0.ests.aks:1/a/b/tenant/token?x=%2F",
                "[::1]:1",
            ),
        ] {
            let request = http::Request::post("https://login.microsoftonline.com/tenant/token?x=%2F")
                .body(Bytes::from_static(b"body"))
                .unwrap();
            let request = proxy(url).0.redirect(request).unwrap();
            assert_eq!(request.uri(), uri);
            assert_eq!(request.headers()[HOST], host);
            assert_eq!(request.method(), "POST");
            assert_eq!(request.body(), &Bytes::from_static(b"body"));
        }
    }

    #[test]
    fn url_with_parts_that_would_be_lost_is_rejected() {
        for (url, reason) in [
            ("kubernetes.default.svc", "is not a URL"),
            (
                "https://kubernetes.default.svc\t.evil.test",
                "contains white space",
            ),
            ("http://kubernetes.default.svc", "must start with https://"),
            ("https://planted@host", "must not contain a user name"),
            ("https://host/?planted", "must not have a query"),
            ("https://host/#planted", "must not have a query or a fragment"),
        ] {
            let error = TokenProxy::builder(url).build().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Configuration);
            let text = error.to_string();
            assert!(
                text.contains(reason) && text.contains(AZURE_KUBERNETES_TOKEN_PROXY),
                "{text}"
            );
            assert!(!text.contains("planted"), "{text}");
        }
    }

    #[test]
    fn server_name_must_be_a_dns_name() {
        for name in ["10.0.0.1", "127.1", "0x7f.1", "::1", "a b", "https://a0.ests.aks"] {
            let error = TokenProxy::builder("https://host")
                .server_name(name)
                .build()
                .unwrap_err();
            assert!(error.to_string().contains(AZURE_KUBERNETES_SNI_NAME), "{error}");
        }
    }

    #[test]
    fn incomplete_variables_are_named() {
        for name in [
            AZURE_KUBERNETES_SNI_NAME,
            AZURE_KUBERNETES_CA_FILE,
            AZURE_KUBERNETES_CA_DATA,
        ] {
            let environment = Environment::from_iter([(name, "planted")]);
            let error = TokenProxy::from_environment(&environment).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Configuration);
            let text = error.to_string();
            assert!(
                text.starts_with(name) && text.contains(AZURE_KUBERNETES_TOKEN_PROXY),
                "{text}"
            );
            assert!(!text.contains("planted"), "{text}");
        }
        assert!(
            TokenProxy::from_environment(&Environment::default())
                .unwrap()
                .is_none()
        );
    }

    fn ca() -> String {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new([]).unwrap();
        params.self_signed(&key).unwrap().pem()
    }

    /// The variable keeps the value that it had at the start of the process.
    #[test]
    fn ca_file_may_differ_from_the_ca_data_once_both_were_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.crt");
        let (old, new) = (ca(), ca());
        let proxy = TokenProxy::builder("https://host").ca_file(&file).ca_data(&old);
        let proxy = proxy.build().unwrap().0;
        std::fs::write(&file, &new).unwrap();
        let error = proxy.load(None).err().unwrap();
        assert!(
            error.to_string().contains("contain different certificates"),
            "{error}"
        );

        std::fs::write(&file, &old).unwrap();
        let first = proxy.load(None).unwrap();
        std::fs::write(&file, &new).unwrap();
        assert_eq!(proxy.load(Some(&first)).unwrap().bundle, new.as_bytes());
    }

    #[test]
    fn ca_data_without_a_certificate_is_rejected() {
        let error = TokenProxy::builder("https://host")
            .ca_data("planted")
            .build()
            .unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("there is no certificate in AZURE_KUBERNETES_CA_DATA"),
            "{error}"
        );
    }
}
