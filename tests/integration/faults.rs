//! Faults of a token endpoint, over real sockets on loopback: each has its error kind, and the next
//! call succeeds as soon as the fault is gone. Real time passes only in the pauses between
//! attempts.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use entra_workload::builder::WorkloadIdentityCredentialBuilder;
use entra_workload::transport::{HttpTransport, Transport};
use entra_workload::{Error, ErrorKind, WorkloadIdentityCredential};
use futures::future::join_all;
use http::{Request, Response};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket};

use crate::support::clock::TestClock;
use crate::support::identifiers::VAULT;
use crate::support::log::{assert_no_secret, watch_for_secrets};
use crate::support::pod::PodDirectory;

#[tokio::test]
async fn each_fault_has_its_error_kind_and_the_next_call_succeeds_once_it_is_gone() {
    use After::{Close, Flood, Reset, Stall};
    use ErrorKind::{Protocol, Rejected};

    let whole = reply(200, "", GRANT);
    let half_the_head = whole[..20].to_vec();
    let half_the_body = whole[..whole.len() - GRANT.len() / 2].to_vec();
    let ten_megabytes = "planted\n".repeat(10 * 1024 * 1024 / 8);
    let html = "<html>planted</html>";
    let error = r#"{"error":"temporarily_unavailable","error_description":"AADSTS90055: Later."}"#;
    let escapes = r#"{"error":"invalid_client","error_description":"AADSTS7: \u0027x\u0027 \"y\"\r\nTrace ID: planted"}"#;
    let replies = |status, body: &str| (reply(status, "", body), Close);
    let grants = |body: &str| replies(200, body);
    let lifetime_and_token =
        |lifetime, token| grants(&format!(r#"{{"expires_in":{lifetime},"access_token":{token}}}"#));

    // Kind of the error, status, and whether it is transient.
    let lost = (ErrorKind::Transport, None, true);
    let invalid = |status| (Protocol, Some(status), false);
    let down = |status| (Protocol, Some(status), true);
    let refused = |status| (Rejected, Some(status), false);
    let transient = |status| (Rejected, Some(status), true);

    // Fault, behavior of the endpoint, error, and number of requests.
    let rows = [
        ("no response", (vec![], Stall), lost, 1),
        ("stall in the head", (half_the_head.clone(), Stall), lost, 1),
        ("stall in the body", (half_the_body.clone(), Stall), lost, 1),
        ("reset", (vec![], Reset), lost, 4),
        ("reset in the body", (half_the_body.clone(), Reset), lost, 4),
        ("closed", (vec![], Close), lost, 4),
        ("closed in the head", (half_the_head, Close), lost, 4),
        ("closed in the body", (half_the_body, Close), lost, 4),
        ("no HTTP", (b"SSH-2.0-planted\r\n".to_vec(), Close), lost, 4),
        ("10 MB", replies(200, &ten_megabytes), invalid(200), 1),
        (
            "endless",
            (b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), Flood),
            invalid(200),
            1,
        ),
        ("10 MB with 503", replies(503, &ten_megabytes), down(503), 4),
        ("HTML 403", replies(403, html), invalid(403), 1),
        ("HTML 408", replies(408, html), down(408), 4),
        ("HTML 503", replies(503, html), down(503), 4),
        ("empty 500", replies(500, ""), down(500), 4),
        ("500", replies(500, error), transient(500), 4),
        ("503", replies(503, error), transient(503), 4),
        ("429", replies(429, error), transient(429), 4),
        ("401 with escapes", replies(401, escapes), refused(401), 1),
        ("empty 200", replies(200, ""), invalid(200), 1),
        ("empty 204", replies(204, ""), invalid(204), 1),
        ("token with 201", replies(201, GRANT), invalid(201), 1),
        ("200 with an error", grants(r#"{"error":"e"}"#), refused(200), 1),
        ("no token", grants(r#"{"expires_in":9}"#), invalid(200), 1),
        ("no lifetime", grants(r#"{"access_token":"t"}"#), invalid(200), 1),
        (
            "token a list",
            lifetime_and_token("9", r#"["t"]"#),
            invalid(200),
            1,
        ),
        (
            "lifetime a list",
            lifetime_and_token("[9]", r#""t""#),
            invalid(200),
            1,
        ),
        (
            "lifetime of zero",
            lifetime_and_token("0", r#""t""#),
            invalid(200),
            1,
        ),
        (
            "negative lifetime",
            lifetime_and_token("-1", r#""t""#),
            invalid(200),
            1,
        ),
    ];
    // Building a client reads the system's root certificates, which must not count against the
    // short timeouts below.
    let transport = warm_transport().await;
    join_all(rows.map(async |(name, (bytes, then), expected, requests)| {
        let server = Server::start(bytes, then);
        let subject = Subject::new(&server.url(), |builder| {
            let timeout = Duration::from_secs(if then == Stall { 3 } else { 20 });
            builder.transport(transport.clone()).timeout(timeout)
        });
        let error = subject.error().await;
        let status = error.status().map(|status| status.as_u16());
        assert_eq!(
            (error.kind(), status, error.is_transient()),
            expected,
            "{name}: {error:?}"
        );
        assert!(error.to_string().contains("127.0.0.1"), "{name}: {error}");
        assert_eq!(subject.error().await.to_string(), error.to_string(), "{name}");
        assert_eq!(server.requests(), requests, "{name}: none during the cooldown");

        server.repair();
        subject.recovers_after(COOLDOWN, name).await;
        assert_eq!(server.requests(), requests + 1, "{name}");
    }))
    .await;
}

/// Each form of `Retry-After`, all of one minute, which is longer than the timeout of a fetch.
#[tokio::test]
async fn retry_after_of_a_minute_delays_the_next_request() {
    let rows = [
        ("seconds", "Retry-After: 60\r\n"),
        ("milliseconds", "retry-after-ms: 60000\r\n"),
        ("milliseconds of Azure", "x-ms-retry-after-ms: 60000\r\n"),
        (
            "date",
            "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\nRetry-After: Sun, 06 Nov 1994 08:50:37 GMT\r\n",
        ),
    ];
    join_all(rows.map(async |(name, headers)| {
        for status in [429, 503] {
            let server = Server::start(reply(status, headers, r#"{"error":"slow_down"}"#), After::Close);
            let subject = Subject::new(&server.url(), |builder| builder);
            let error = subject.error().await;
            assert_eq!(error.retry_after(), Some(MINUTE), "{name}: {error:?}");
            server.repair();
            subject.clock.advance(MINUTE / 60 * 59);
            subject.error().await;
            assert_eq!(server.requests(), 1, "{name}");
            subject.recovers_after(MINUTE / 60, name).await;
        }
    }))
    .await;
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let target = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    target.set_nonblocking(true).unwrap();
    let location = format!("Location: http://{}/\r\n", target.local_addr().unwrap());
    for (status, body) in [(301, ""), (302, "<html>"), (303, ""), (307, ""), (308, "{}")] {
        for (name, transport) in transports() {
            let server = Server::start(reply(status, &location, body), After::Close);
            let subject = Subject::new(&server.url(), |builder| {
                builder.transport(Replaceable::new(transport))
            });
            let error = subject.error().await;
            assert_eq!(
                (
                    error.kind(),
                    error.status().unwrap().as_u16(),
                    error.is_transient()
                ),
                (ErrorKind::Protocol, status, false),
                "{name}: {error:?}"
            );
            assert_eq!(server.requests(), 1, "{name} {status}");
            // A connection would wait here to be accepted, even if the client has closed it.
            assert_eq!(
                target.accept().unwrap_err().kind(),
                io::ErrorKind::WouldBlock,
                "{name} {status}"
            );
            server.repair();
            subject.recovers_after(COOLDOWN, name).await;
        }
    }
}

#[tokio::test]
async fn refused_connection_is_a_transport_error() {
    // Bound, so that no other process takes the port, but not listening yet.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let url = format!("http://{}", socket.local_addr().unwrap());
    let subject = Subject::new(&url, |builder| builder);
    let error = subject.error().await;
    assert_eq!(
        (error.kind(), error.status()),
        (ErrorKind::Transport, None),
        "{error:?}"
    );
    assert!(error.is_transient());
    assert_eq!(
        error.to_string(),
        "127.0.0.1 refused the connection; check egress rules and the authority host (EW202)"
    );
    assert!(causes(&error).contains("refused"), "{error:?}");

    let server = Server::listen(socket.listen(1).unwrap(), vec![], After::Close);
    server.repair();
    subject.recovers_after(COOLDOWN, "refused").await;
    assert_eq!(server.requests(), 1);
}

#[tokio::test]
async fn unresolvable_host_is_a_transport_error() {
    let server = Server::start(vec![], After::Close);
    let transport = Replaceable::new(Arc::new(HttpTransport::new()));
    let subject = Subject::new("https://login.invalid", |builder| {
        // Without a name server, the lookup may hang.
        builder
            .timeout(Duration::from_secs(2))
            .transport(transport.clone())
    });
    let error = subject.error().await;
    assert_eq!(
        (error.kind(), error.status()),
        (ErrorKind::Transport, None),
        "{error:?}"
    );
    assert!(error.is_transient());
    assert_eq!(
        error.to_string(),
        "the name login.invalid cannot be resolved; check DNS and the authority host (EW201)"
    );

    server.repair();
    transport.replace(ResolvesTo(server.address));
    subject.recovers_after(COOLDOWN, "the name resolves now").await;
}

#[tokio::test]
async fn unknown_certificate_authority_is_reported_as_the_cause() {
    let authority = tls::Authority::new();
    let server = Server::start(vec![], After::Close);
    server.repair();
    let proxy = tls::TlsProxy::start(authority.certify("127.0.0.1", 2000..2100), server.address).await;
    let transport = Replaceable::new(Arc::new(HttpTransport::new()));
    let url = format!("https://{}", proxy.address);
    let subject = Subject::new(&url, |builder| builder.transport(transport.clone()));
    let error = subject.error().await;
    assert_eq!(
        (error.kind(), error.status()),
        (ErrorKind::Transport, None),
        "{error:?}"
    );
    assert_eq!(
        error.to_string(),
        "the certificate of 127.0.0.1 is not signed by a trusted authority; if a proxy intercepts TLS, \
         trust its root certificate with SSL_CERT_FILE or HttpTransport::with_root_certificates (EW205)"
    );
    assert!(causes(&error).contains("certificate"), "{error:?}");
    assert_eq!(server.requests(), 0);

    transport.replace(HttpTransport::with_root_certificates(authority.pem().as_bytes()).unwrap());
    subject.recovers_after(COOLDOWN, "the authority is trusted").await;
}

#[tokio::test]
async fn invalid_certificate_of_a_trusted_authority_is_reported_with_the_reason() {
    let authority = tls::Authority::new();
    let rows = [
        (
            authority.certify("login.example.com", 2000..2100),
            "the certificate of 127.0.0.1 is for another host; check the authority host, and for a proxy \
             that intercepts TLS (EW206)",
        ),
        (
            authority.certify("127.0.0.1", 2000..2020),
            "the certificate of 127.0.0.1 has expired; check this machine's clock (EW210)",
        ),
        (
            authority.certify("127.0.0.1", 2090..2100),
            "the certificate of 127.0.0.1 is not valid yet; check this machine's clock (EW210)",
        ),
    ];
    join_all(rows.map(async |(acceptor, message)| {
        let server = Server::start(vec![], After::Close);
        server.repair();
        let proxy = tls::TlsProxy::start(acceptor, server.address).await;
        let transport = HttpTransport::with_root_certificates(authority.pem().as_bytes()).unwrap();
        let url = format!("https://{}", proxy.address);
        let subject = Subject::new(&url, |builder| builder.transport(transport));
        let error = subject.error().await;
        assert_eq!(
            (error.kind(), error.status()),
            (ErrorKind::Transport, None),
            "{error:?}"
        );
        assert_eq!(error.to_string(), message);
        assert!(causes(&error).contains("certificate"), "{error:?}");
        assert_eq!(server.requests(), 0, "{message}");

        *proxy.certificate.lock().unwrap() = authority.certify("127.0.0.1", 2000..2100);
        subject.recovers_after(COOLDOWN, message).await;
    }))
    .await;
}

/// A credential of a pod, and its clock.
struct Subject {
    credential: Arc<WorkloadIdentityCredential>,
    clock: TestClock,
    _pod: PodDirectory,
}

impl Subject {
    fn new(
        authority_host: &str,
        configure: impl FnOnce(WorkloadIdentityCredentialBuilder) -> WorkloadIdentityCredentialBuilder,
    ) -> Self {
        watch_for_secrets();
        let (pod, clock) = (PodDirectory::new(), TestClock::stopped());
        let builder = WorkloadIdentityCredential::builder()
            .environment(pod.environment())
            .authority_host(authority_host)
            .clock(clock.clone());
        Self {
            credential: configure(builder).build().unwrap(),
            clock,
            _pod: pod,
        }
    }

    /// Returns the error of the next call, which must not hang.
    async fn error(&self) -> Error {
        let error = tokio::time::timeout(Duration::from_secs(60), self.credential.token(&[VAULT]));
        let error = error.await.expect("the call hangs").unwrap_err();
        assert_no_secret(&error);
        error
    }

    async fn recovers_after(&self, wait: Duration, name: &str) {
        self.clock.advance(wait);
        let token = self.credential.token(&[VAULT]).await;
        assert_eq!(token.expect(name).secret(), "planted-token", "{name}");
    }
}

/// An endpoint with the same fault for each request until it is repaired; then it grants tokens.
struct Server {
    address: SocketAddr,
    behavior: Arc<Behavior>,
}

struct Behavior {
    bytes: Vec<u8>,
    then: After,
    is_repaired: AtomicBool,
    requests: AtomicUsize,
}

/// What the endpoint does after the bytes.
#[derive(Clone, Copy, PartialEq)]
enum After {
    Close,
    Reset,
    Stall,
    /// Sends data as long as the client reads it.
    Flood,
}

impl Server {
    fn start(bytes: Vec<u8>, then: After) -> Self {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        Self::listen(TcpListener::from_std(listener).unwrap(), bytes, then)
    }

    fn listen(listener: TcpListener, bytes: Vec<u8>, then: After) -> Self {
        let address = listener.local_addr().unwrap();
        let behavior = Arc::new(Behavior {
            bytes,
            then,
            is_repaired: AtomicBool::new(false),
            requests: AtomicUsize::new(0),
        });
        let served = behavior.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let behavior = served.clone();
                tokio::spawn(async move {
                    if behavior.then == After::Reset && !behavior.is_repaired() {
                        stream.set_zero_linger().unwrap();
                    }
                    behavior.respond(stream).await;
                });
            }
        });
        Self { address, behavior }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn requests(&self) -> usize {
        self.behavior.requests.load(Ordering::SeqCst)
    }

    fn repair(&self) {
        self.behavior.is_repaired.store(true, Ordering::SeqCst);
    }
}

impl Behavior {
    fn is_repaired(&self) -> bool {
        self.is_repaired.load(Ordering::SeqCst)
    }

    async fn respond(&self, mut stream: impl AsyncRead + AsyncWrite + Unpin) {
        read_request(&mut stream).await;
        self.requests.fetch_add(1, Ordering::SeqCst);
        let granted = reply(200, "", GRANT);
        let bytes = if self.is_repaired() { &granted } else { &self.bytes };
        // The client may close the connection early.
        let _disconnected = stream.write_all(bytes).await;
        let _disconnected = stream.flush().await;
        match self.then {
            After::Stall if !self.is_repaired() => std::future::pending().await,
            After::Flood if !self.is_repaired() => while stream.write_all(&[b'x'; 1024]).await.is_ok() {},
            _ => {}
        }
    }
}

async fn read_request(stream: &mut (impl AsyncRead + Unpin)) {
    let mut request = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&request).to_lowercase();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= length.unwrap().parse().unwrap() {
                return;
            }
        }
        assert_ne!(
            stream.read_buf(&mut request).await.unwrap(),
            0,
            "incomplete request"
        );
    }
}

/// * `headers`: whole lines.
fn reply(status: u16, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status} Status\r\n{headers}Content-Length: {length}\r\n\r\n{body}").into_bytes()
}

/// Returns the default transport with its client built.
async fn warm_transport() -> HttpTransport {
    let server = Server::start(vec![], After::Close);
    let (transport, request) = (HttpTransport::new(), Request::post(server.url()));
    let request = request.header("content-length", 0).body(Bytes::new()).unwrap();
    transport.send(request).await.unwrap_err();
    transport
}

/// Returns the default transport and that of the SDK.
fn transports() -> Vec<(&'static str, Arc<dyn Transport>)> {
    vec![
        ("default", Arc::new(HttpTransport::new())),
        #[cfg(feature = "azure-core")]
        (
            "of the SDK",
            Arc::new(entra_workload::integration::SdkTransport::new(
                azure_core::http::new_http_client(None),
            )),
        ),
    ]
}

/// A transport that can be replaced by another.
#[derive(Clone, Debug)]
struct Replaceable(Arc<Mutex<Arc<dyn Transport>>>);

impl Replaceable {
    fn new(transport: Arc<dyn Transport>) -> Self {
        Self(Arc::new(Mutex::new(transport)))
    }

    fn replace(&self, transport: impl Transport) {
        *self.0.lock().unwrap() = Arc::new(transport);
    }
}

#[async_trait]
impl Transport for Replaceable {
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, Error> {
        let transport = self.0.lock().unwrap().clone();
        transport.send(request).await
    }
}

/// Sends every request to this address, as if the host name resolved to it.
#[derive(Debug)]
struct ResolvesTo(SocketAddr);

#[async_trait]
impl Transport for ResolvesTo {
    async fn send(&self, mut request: Request<Bytes>) -> Result<Response<Bytes>, Error> {
        let path = request.uri().path();
        *request.uri_mut() = format!("http://{}{path}", self.0).parse().unwrap();
        HttpTransport::new().send(request).await
    }
}

mod tls {
    use std::ops::Range;

    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
    use tokio_rustls::TlsAcceptor;
    use tokio_rustls::rustls::ServerConfig;
    use tokio_rustls::rustls::crypto::aws_lc_rs;
    use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;

    use super::*;
    use tokio::net::TcpStream;

    pub(super) struct Authority(CertifiedIssuer<'static, KeyPair>);

    impl Authority {
        pub(super) fn new() -> Self {
            let mut params = CertificateParams::default();
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
        }

        pub(super) fn pem(&self) -> String {
            self.0.pem()
        }

        /// Issues a certificate for `host` that is valid from the first day of a year to that of another.
        pub(super) fn certify(&self, host: &str, years: Range<i32>) -> TlsAcceptor {
            let key = KeyPair::generate().unwrap();
            let mut params = CertificateParams::new([host.to_owned()]).unwrap();
            params.not_before = rcgen::date_time_ymd(years.start, 1, 1);
            params.not_after = rcgen::date_time_ymd(years.end, 1, 1);
            let certificate = params.signed_by(&key, &self.0).unwrap();
            let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_no_client_auth()
                .with_single_cert(
                    vec![certificate.der().clone()],
                    PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
                );
            TlsAcceptor::from(Arc::new(config.unwrap()))
        }
    }

    /// Terminates TLS in front of `server`.
    pub(super) struct TlsProxy {
        pub(super) address: SocketAddr,
        pub(super) certificate: Arc<Mutex<TlsAcceptor>>,
    }

    impl TlsProxy {
        pub(super) async fn start(certificate: TlsAcceptor, server: SocketAddr) -> Self {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            let proxy = Self {
                address: listener.local_addr().unwrap(),
                certificate: Arc::new(Mutex::new(certificate)),
            };
            let certificate = proxy.certificate.clone();
            tokio::spawn(async move {
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    let acceptor = certificate.lock().unwrap().clone();
                    // A client that rejects the certificate closes the connection.
                    if let Ok(mut stream) = acceptor.accept(stream).await {
                        let mut server = TcpStream::connect(server).await.unwrap();
                        let _disconnected = tokio::io::copy_bidirectional(&mut stream, &mut server).await;
                    }
                }
            });
            proxy
        }
    }
}

/// Returns the texts of all sources of an error, outermost first.
fn causes(error: &Error) -> String {
    let sources = std::iter::successors(std::error::Error::source(error), |error| error.source());
    sources.map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

const GRANT: &str = r#"{"token_type":"Bearer","expires_in":3599,"access_token":"planted-token"}"#;

/// The cooldown after a first failure.
const COOLDOWN: Duration = Duration::from_secs(1);

const MINUTE: Duration = Duration::from_secs(60);
