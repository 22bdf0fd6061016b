//! Everything that a token endpoint can do wrong, over real sockets on loopback: the error has the right kind, and the next
//! call works as soon as the cause is gone. Real time passes only in the pauses between attempts.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "tests"
)]

mod support;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use entra_workload::{
    Error, ErrorKind, HttpTransport, Transport, WorkloadIdentityCredential, WorkloadIdentityCredentialBuilder,
};
use futures::future::join_all;
use http::{Request, Response};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket};

use support::clock::TestClock;
use support::identifiers::VAULT;
use support::log::{is_safe, watch_for_secrets};
use support::pod::Pod;

#[tokio::test]
async fn every_failure_has_its_kind_and_passes_with_its_cause() {
    use ErrorKind::{Protocol, Rejected};
    use Then::{Close, Flood, Reset, Stall};

    let whole = reply(200, "", GRANT);
    let half_the_head = whole[..20].to_vec();
    let half_the_body = whole[..whole.len() - GRANT.len() / 2].to_vec();
    let ten_megabytes = "planted\n".repeat(10 * 1024 * 1024 / 8);
    let html = "<html>planted</html>";
    let error = r#"{"error":"temporarily_unavailable","error_description":"AADSTS90055: Later."}"#;
    let escapes = r#"{"error":"invalid_client","error_description":"AADSTS7: \u0027x\u0027 \"y\"\r\nTrace ID: planted"}"#;
    let says = |status, body: &str| (reply(status, "", body), Close);
    let grants = |body: &str| says(200, body);
    let life_and_token = |life, token| grants(&format!(r#"{{"expires_in":{life},"access_token":{token}}}"#));

    // The kind of the error, its status, and whether it is transient.
    let lost = (ErrorKind::Transport, None, true);
    let odd = |status| (Protocol, Some(status), false);
    let down = |status| (Protocol, Some(status), true);
    let refused = |status| (Rejected, Some(status), false);
    let busy = |status| (Rejected, Some(status), true);

    // What the endpoint does, the error, and how many requests were made.
    let rows = [
        ("black hole", (vec![], Stall), lost, 1),
        ("stall in the head", (half_the_head.clone(), Stall), lost, 1),
        ("stall in the body", (half_the_body.clone(), Stall), lost, 1),
        ("reset", (vec![], Reset), lost, 4),
        ("reset in the body", (half_the_body.clone(), Reset), lost, 4),
        ("closed", (vec![], Close), lost, 4),
        ("closed in the head", (half_the_head, Close), lost, 4),
        ("closed in the body", (half_the_body, Close), lost, 4),
        ("no HTTP", (b"SSH-2.0-planted\r\n".to_vec(), Close), lost, 4),
        ("10 MB", says(200, &ten_megabytes), odd(200), 1),
        (
            "endless",
            (b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), Flood),
            odd(200),
            1,
        ),
        ("10 MB with 503", says(503, &ten_megabytes), down(503), 4),
        ("HTML 403", says(403, html), odd(403), 1),
        ("HTML 408", says(408, html), down(408), 4),
        ("HTML 503", says(503, html), down(503), 4),
        ("empty 500", says(500, ""), down(500), 4),
        ("500", says(500, error), busy(500), 4),
        ("503", says(503, error), busy(503), 4),
        ("429", says(429, error), busy(429), 4),
        ("401 with escapes", says(401, escapes), refused(401), 1),
        ("empty 200", says(200, ""), odd(200), 1),
        ("empty 204", says(204, ""), odd(204), 1),
        ("token with 201", says(201, GRANT), odd(201), 1),
        ("200 with an error", grants(r#"{"error":"e"}"#), refused(200), 1),
        ("no token", grants(r#"{"expires_in":9}"#), odd(200), 1),
        ("no life", grants(r#"{"access_token":"t"}"#), odd(200), 1),
        ("token a list", life_and_token("9", r#"["t"]"#), odd(200), 1),
        ("life a list", life_and_token("[9]", r#""t""#), odd(200), 1),
        ("life of zero", life_and_token("0", r#""t""#), odd(200), 1),
        ("life below zero", life_and_token("-1", r#""t""#), odd(200), 1),
    ];
    // Each client that is made reads the system's root certificates; what stalls is not to spend its time on that.
    let transport = warm_transport().await;
    join_all(rows.map(async |(name, (bytes, then), wanted, requests)| {
        let server = Server::start(bytes, then);
        let subject = Subject::new(&server.url(), |builder| {
            let timeout = Duration::from_secs(if then == Stall { 3 } else { 20 });
            builder.transport(transport.clone()).timeout(timeout)
        });
        let error = subject.fails().await;
        let status = error.status().map(|status| status.as_u16());
        assert_eq!(
            (error.kind(), status, error.is_transient()),
            wanted,
            "{name}: {error:?}"
        );
        assert!(error.to_string().contains("127.0.0.1"), "{name}: {error}");
        assert_eq!(subject.fails().await.to_string(), error.to_string(), "{name}");
        assert_eq!(
            server.requests(),
            requests,
            "{name}: and none while it cools down"
        );

        server.mend();
        subject.works_after(COOL_DOWN, name).await;
        assert_eq!(server.requests(), requests + 1, "{name}");
    }))
    .await;
}

/// Every form of `Retry-After`, all of one minute: no attempt that would come too late, and none by the next callers.
#[tokio::test]
async fn a_server_that_asks_for_a_minute_gets_it() {
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
            let server = Server::start(reply(status, headers, r#"{"error":"slow_down"}"#), Then::Close);
            let subject = Subject::new(&server.url(), |builder| builder);
            let error = subject.fails().await;
            assert_eq!(error.retry_after(), Some(MINUTE), "{name}: {error:?}");
            server.mend();
            subject.clock.advance(MINUTE / 60 * 59);
            subject.fails().await;
            assert_eq!(server.requests(), 1, "{name}");
            subject.works_after(MINUTE / 60, name).await;
        }
    }))
    .await;
}

#[tokio::test]
async fn no_redirect_is_followed() {
    let target = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    target.set_nonblocking(true).unwrap();
    let location = format!("Location: http://{}/\r\n", target.local_addr().unwrap());
    for (status, body) in [(301, ""), (302, "<html>"), (303, ""), (307, ""), (308, "{}")] {
        for (name, transport) in transports() {
            let server = Server::start(reply(status, &location, body), Then::Close);
            let subject = Subject::new(&server.url(), |builder| {
                builder.transport(Replaceable::new(transport))
            });
            let error = subject.fails().await;
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
            // A connection would wait here to be accepted, even one that was given up.
            assert_eq!(
                target.accept().unwrap_err().kind(),
                io::ErrorKind::WouldBlock,
                "{name} {status}"
            );
            server.mend();
            subject.works_after(COOL_DOWN, name).await;
        }
    }
}

#[tokio::test]
async fn a_refused_connection_is_a_failure_of_the_transport() {
    // Bound, so that nobody else takes the port, but not listening yet.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let url = format!("http://{}", socket.local_addr().unwrap());
    let subject = Subject::new(&url, |builder| builder);
    let error = subject.fails().await;
    assert_eq!(
        (error.kind(), error.status()),
        (ErrorKind::Transport, None),
        "{error:?}"
    );
    assert!(error.is_transient());
    assert!(causes(&error).contains("refused"), "{error:?}");

    let server = Server::listen(socket.listen(1).unwrap(), vec![], Then::Close);
    server.mend();
    subject.works_after(COOL_DOWN, "refused").await;
    assert_eq!(server.requests(), 1);
}

#[tokio::test]
async fn a_host_without_an_address_is_a_failure_of_the_transport() {
    let server = Server::start(vec![], Then::Close);
    let transport = Replaceable::new(Arc::new(HttpTransport::new()));
    let subject = Subject::new("https://login.invalid", |builder| {
        // Without a name server a look-up may hang.
        builder
            .timeout(Duration::from_secs(2))
            .transport(transport.clone())
    });
    let error = subject.fails().await;
    assert_eq!(
        (error.kind(), error.status()),
        (ErrorKind::Transport, None),
        "{error:?}"
    );
    assert!(error.is_transient());
    assert!(error.to_string().contains("login.invalid"), "{error}");

    server.mend();
    transport.replace(Detour(server.address));
    subject.works_after(COOL_DOWN, "the name resolves now").await;
}

#[tokio::test]
async fn a_certificate_of_an_unknown_authority_is_named_as_the_cause() {
    let authority = tls::Authority::new();
    let server = Server::start(vec![], Then::Close);
    server.mend();
    let front = tls::Front::start(authority.certify("127.0.0.1", 2100), server.address).await;
    let transport = Replaceable::new(Arc::new(HttpTransport::new()));
    let url = format!("https://{}", front.address);
    let subject = Subject::new(&url, |builder| builder.transport(transport.clone()));
    let error = subject.fails().await;
    assert_eq!(
        (error.kind(), error.status()),
        (ErrorKind::Transport, None),
        "{error:?}"
    );
    assert!(error.to_string().contains("certificate"), "{error}");
    assert!(causes(&error).contains("certificate"), "{error:?}");
    assert_eq!(server.requests(), 0);

    transport.replace(HttpTransport::with_root_certificates(authority.pem().as_bytes()).unwrap());
    subject.works_after(COOL_DOWN, "the authority is trusted").await;
}

#[tokio::test]
async fn a_certificate_of_a_known_authority_must_be_for_this_host_and_this_day() {
    let authority = tls::Authority::new();
    let rows = [
        ("another host", authority.certify("login.example.com", 2100)),
        ("expired", authority.certify("127.0.0.1", 2020)),
    ];
    join_all(rows.map(async |(name, acceptor)| {
        let server = Server::start(vec![], Then::Close);
        server.mend();
        let front = tls::Front::start(acceptor, server.address).await;
        let transport = HttpTransport::with_root_certificates(authority.pem().as_bytes()).unwrap();
        let url = format!("https://{}", front.address);
        let subject = Subject::new(&url, |builder| builder.transport(transport));
        let error = subject.fails().await;
        assert_eq!(
            (error.kind(), error.status()),
            (ErrorKind::Transport, None),
            "{name}: {error:?}"
        );
        assert!(causes(&error).contains("certificate"), "{name}: {error:?}");
        assert_eq!(server.requests(), 0, "{name}");

        *front.certificate.lock().unwrap() = authority.certify("127.0.0.1", 2100);
        subject.works_after(COOL_DOWN, name).await;
    }))
    .await;
}

/// A credential of a pod, and the clock that it cools down by.
struct Subject {
    credential: Arc<WorkloadIdentityCredential>,
    clock: TestClock,
    _pod: Pod,
}

impl Subject {
    fn new(
        authority_host: &str,
        configure: impl FnOnce(WorkloadIdentityCredentialBuilder) -> WorkloadIdentityCredentialBuilder,
    ) -> Self {
        watch_for_secrets();
        let (pod, clock) = (Pod::new(), TestClock::stopped());
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

    /// The error of the next call, which must come.
    async fn fails(&self) -> Error {
        let error = tokio::time::timeout(Duration::from_secs(60), self.credential.token(&[VAULT]));
        let error = error.await.expect("the call hangs").unwrap_err();
        is_safe(&error);
        error
    }

    async fn works_after(&self, wait: Duration, name: &str) {
        self.clock.advance(wait);
        let token = self.credential.token(&[VAULT]).await;
        assert_eq!(token.expect(name).secret(), "planted-token", "{name}");
    }
}

/// An endpoint that does the same to every request, until it is mended; then it grants a token.
struct Server {
    address: SocketAddr,
    behaviour: Arc<Behaviour>,
}

struct Behaviour {
    bytes: Vec<u8>,
    then: Then,
    is_mended: AtomicBool,
    requests: AtomicUsize,
}

/// What follows once the bytes are sent.
#[derive(Clone, Copy, PartialEq)]
enum Then {
    Close,
    Reset,
    Stall,
    /// More and more, for as long as anybody reads it.
    Flood,
}

impl Server {
    fn start(bytes: Vec<u8>, then: Then) -> Self {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        Self::listen(TcpListener::from_std(listener).unwrap(), bytes, then)
    }

    fn listen(listener: TcpListener, bytes: Vec<u8>, then: Then) -> Self {
        let address = listener.local_addr().unwrap();
        let behaviour = Arc::new(Behaviour {
            bytes,
            then,
            is_mended: AtomicBool::new(false),
            requests: AtomicUsize::new(0),
        });
        let served = behaviour.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let behaviour = served.clone();
                tokio::spawn(async move {
                    if behaviour.then == Then::Reset && !behaviour.is_mended() {
                        stream.set_zero_linger().unwrap();
                    }
                    behaviour.answer(stream).await;
                });
            }
        });
        Self { address, behaviour }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn requests(&self) -> usize {
        self.behaviour.requests.load(Ordering::SeqCst)
    }

    fn mend(&self) {
        self.behaviour.is_mended.store(true, Ordering::SeqCst);
    }
}

impl Behaviour {
    fn is_mended(&self) -> bool {
        self.is_mended.load(Ordering::SeqCst)
    }

    async fn answer(&self, mut stream: impl AsyncRead + AsyncWrite + Unpin) {
        read_request(&mut stream).await;
        self.requests.fetch_add(1, Ordering::SeqCst);
        let granted = reply(200, "", GRANT);
        let bytes = if self.is_mended() { &granted } else { &self.bytes };
        // A client that has seen enough hangs up.
        let _hung_up = stream.write_all(bytes).await;
        let _hung_up = stream.flush().await;
        match self.then {
            Then::Stall if !self.is_mended() => std::future::pending().await,
            Then::Flood if !self.is_mended() => while stream.write_all(&[b'x'; 1024]).await.is_ok() {},
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
        assert_ne!(stream.read_buf(&mut request).await.unwrap(), 0, "half a request");
    }
}

/// * `headers`: whole lines.
fn reply(status: u16, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status} Status\r\n{headers}Content-Length: {length}\r\n\r\n{body}").into_bytes()
}

/// The default transport, with its client made.
async fn warm_transport() -> HttpTransport {
    let server = Server::start(vec![], Then::Close);
    let (transport, request) = (HttpTransport::new(), Request::post(server.url()));
    let request = request.header("content-length", 0).body(Bytes::new()).unwrap();
    transport.send(request).await.unwrap_err();
    transport
}

/// The default transport, and the SDK's.
fn transports() -> Vec<(&'static str, Arc<dyn Transport>)> {
    vec![
        ("default", Arc::new(HttpTransport::new())),
        #[cfg(feature = "azure-core")]
        (
            "of the SDK",
            Arc::new(entra_workload::SdkTransport::new(
                azure_core::http::new_http_client(None),
            )),
        ),
    ]
}

/// A transport in whose place another can be put.
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

/// Sends everything here, as if the host's name resolved to it.
#[derive(Debug)]
struct Detour(SocketAddr);

#[async_trait]
impl Transport for Detour {
    async fn send(&self, mut request: Request<Bytes>) -> Result<Response<Bytes>, Error> {
        let path = request.uri().path();
        *request.uri_mut() = format!("http://{}{path}", self.0).parse().unwrap();
        HttpTransport::new().send(request).await
    }
}

mod tls {
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

        /// What a server for `host` shows, good until the first day of a year.
        pub(super) fn certify(&self, host: &str, year: i32) -> TlsAcceptor {
            let key = KeyPair::generate().unwrap();
            let mut params = CertificateParams::new([host.to_owned()]).unwrap();
            params.not_after = rcgen::date_time_ymd(year, 1, 1);
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

    /// Takes the TLS off what is meant for `server`.
    pub(super) struct Front {
        pub(super) address: SocketAddr,
        pub(super) certificate: Arc<Mutex<TlsAcceptor>>,
    }

    impl Front {
        pub(super) async fn start(certificate: TlsAcceptor, server: SocketAddr) -> Self {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            let front = Self {
                address: listener.local_addr().unwrap(),
                certificate: Arc::new(Mutex::new(certificate)),
            };
            let certificate = front.certificate.clone();
            tokio::spawn(async move {
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    let acceptor = certificate.lock().unwrap().clone();
                    // A client that does not like the certificate hangs up.
                    if let Ok(mut stream) = acceptor.accept(stream).await {
                        let mut server = TcpStream::connect(server).await.unwrap();
                        let _hung_up = tokio::io::copy_bidirectional(&mut stream, &mut server).await;
                    }
                }
            });
            front
        }
    }
}

/// What lies under an error, outermost first.
fn causes(error: &Error) -> String {
    let sources = std::iter::successors(std::error::Error::source(error), |error| error.source());
    sources.map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

const GRANT: &str = r#"{"token_type":"Bearer","expires_in":3599,"access_token":"planted-token"}"#;

/// For how long a first failure is given again.
const COOL_DOWN: Duration = Duration::from_secs(1);

const MINUTE: Duration = Duration::from_secs(60);
