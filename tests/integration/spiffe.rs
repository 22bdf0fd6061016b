//! JWT-SVIDs of a SPIFFE agent, which is a gRPC server on a Unix socket, as client assertions.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use crate::support::identifiers::CLIENT_ID;
use crate::support::log::{assert_no_secret, watch_for_secrets};
use bytes::{BufMut, Bytes, BytesMut};
use entra_workload::assertion::SpiffeJwtSvid;
use entra_workload::builder::ClientAssertionCredentialBuilder;
use entra_workload::transport::HttpTransport;
use entra_workload::{ClientAssertionCredential, Environment, Error, ErrorKind};
use entra_workload_emulator::{Emulator, Endpoint, FederatedCredential, ServiceAccountToken};
use futures::stream;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio::task::JoinSet;

const SCOPES: [&str; 1] = ["https://vault.azure.net/.default"];
const SPIFFE_ID: &str = "spiffe://contoso.com/ns/shop/sa/orders";
const INVALID_ARGUMENT: u32 = 3;
const PERMISSION_DENIED: u32 = 7;
const UNAVAILABLE: u32 = 14;

/// What the agent answers: a JWT-SVID or a gRPC status.
type Answer = Result<String, u32>;

/// A SPIFFE agent with the one method `FetchJWTSVID`. Refuses requests without its metadata, as the
/// specification demands.
struct Agent {
    folder: TempDir,
    answer: Arc<Mutex<Answer>>,
    /// Audience and SPIFFE ID of each request.
    requests: Arc<Mutex<Vec<(String, String)>>>,
    _server: JoinSet<()>,
}

impl Agent {
    fn start(answer: Answer) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("agent.sock")).unwrap();
        let answer = Arc::new(Mutex::new(answer));
        let requests = Arc::default();
        let mut server = JoinSet::new();
        server.spawn(serve(listener, Arc::clone(&answer), Arc::clone(&requests)));
        Self {
            folder,
            answer,
            requests,
            _server: server,
        }
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("agent.sock")
    }

    fn source(&self) -> SpiffeJwtSvid {
        let socket = format!("unix://{}", self.socket().display());
        SpiffeJwtSvid::from_environment(&Environment::from_iter([("SPIFFE_ENDPOINT_SOCKET", socket)]))
            .unwrap()
    }
}

async fn serve(
    listener: UnixListener,
    answer: Arc<Mutex<Answer>>,
    requests: Arc<Mutex<Vec<(String, String)>>>,
) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (answer, requests) = (Arc::clone(&answer), Arc::clone(&requests));
        let service = service_fn(move |request: Request<Incoming>| {
            let (answer, requests) = (Arc::clone(&answer), Arc::clone(&requests));
            async move {
                let (head, body) = request.into_parts();
                let body = body.collect().await.unwrap().to_bytes();
                let is_for_agent = head.uri.path() == "/SpiffeWorkloadAPI/FetchJWTSVID"
                    && head
                        .headers
                        .get("workload.spiffe.io")
                        .is_some_and(|value| value == "true");
                let asked = fields(body.get(5..).unwrap());
                requests.lock().unwrap().push((
                    asked.first().cloned().unwrap_or_default(),
                    asked.get(1).cloned().unwrap_or_default(),
                ));
                let answer = answer.lock().unwrap().clone();
                Ok::<_, Infallible>(respond(if is_for_agent {
                    answer
                } else {
                    Err(INVALID_ARGUMENT)
                }))
            }
        });
        connections.spawn(async move {
            let connection = http2::Builder::new(TokioExecutor::new());
            let _ = connection.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

/// The length-delimited fields of a protobuf message whose lengths are below 128.
fn fields(mut message: &[u8]) -> Vec<String> {
    let mut fields = Vec::new();
    while let [_tag, length, rest @ ..] = message {
        let (field, rest) = rest.split_at(usize::from(*length));
        fields.push(String::from_utf8(field.to_vec()).unwrap());
        message = rest;
    }
    fields
}

/// Appends a length-delimited field of a protobuf message.
fn put_field(message: &mut BytesMut, number: u8, value: &[u8]) {
    message.put_u8(number << 3 | 2);
    let mut length = value.len();
    while length >= 0x80 {
        message.put_u8(u8::try_from(length & 0x7f).unwrap() | 0x80);
        length >>= 7;
    }
    message.put_u8(u8::try_from(length).unwrap());
    message.put_slice(value);
}

/// The frames of a response, with `grpc-status` in its trailers.
type Frames = stream::Iter<std::vec::IntoIter<Result<Frame<Bytes>, Infallible>>>;

fn respond(answer: Answer) -> Response<StreamBody<Frames>> {
    let mut frames = Vec::new();
    let status = match answer {
        Ok(svid) => {
            let mut entry = BytesMut::new();
            put_field(&mut entry, 1, SPIFFE_ID.as_bytes());
            put_field(&mut entry, 2, svid.as_bytes());
            let mut message = BytesMut::new();
            put_field(&mut message, 1, &entry);
            let mut frame = BytesMut::new();
            frame.put_u8(0);
            frame.put_u32(u32::try_from(message.len()).unwrap());
            frame.put(message);
            frames.push(Ok(Frame::data(frame.freeze())));
            0
        }
        Err(status) => status,
    };
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", status.into());
    trailers.insert("grpc-message", "planted".parse().unwrap());
    frames.push(Ok(Frame::trailers(trailers)));
    Response::builder()
        .header("content-type", "application/grpc")
        .body(StreamBody::new(stream::iter(frames)))
        .unwrap()
}

async fn emulator() -> Emulator {
    watch_for_secrets();
    let emulator = Emulator::start().await.unwrap();
    let credential = FederatedCredential {
        issuer: emulator.issuer_url().to_owned(),
        subject: SPIFFE_ID.to_owned(),
        audience: "api://AzureADTokenExchange".to_owned(),
    };
    emulator
        .entra()
        .register_federated_credential(CLIENT_ID, credential);
    emulator
}

fn svid() -> ServiceAccountToken {
    ServiceAccountToken::new("shop", "orders").subject(SPIFFE_ID)
}

fn builder(emulator: &Emulator) -> ClientAssertionCredentialBuilder {
    ClientAssertionCredential::builder()
        .environment(Environment::default())
        .tenant_id(emulator.entra().tenant_id())
        .client_id(CLIENT_ID)
        .authority_host(emulator.authority_host())
        .transport(HttpTransport::with_root_certificates(emulator.ca_certificate_pem().as_bytes()).unwrap())
}

async fn failure(emulator: &Emulator, source: SpiffeJwtSvid) -> Error {
    let credential = builder(emulator).assertion(source).build().unwrap();
    let error = credential.token(&SCOPES).await.unwrap_err();
    assert_no_secret(&error);
    assert!(emulator.requests_to(Endpoint::Entra).is_empty());
    error
}

#[tokio::test]
async fn jwt_svid_is_the_assertion() {
    let emulator = emulator().await;
    let agent = Agent::start(Ok(emulator.issuer().sign(&svid())));
    let credential = builder(&emulator).assertion(agent.source()).build().unwrap();
    credential.token(&SCOPES).await.unwrap();
    let credential = builder(&emulator)
        .assertion(agent.source().spiffe_id(SPIFFE_ID))
        .build()
        .unwrap();
    credential.token(&SCOPES).await.unwrap();
    let audience = || "api://AzureADTokenExchange".to_owned();
    assert_eq!(
        *agent.requests.lock().unwrap(),
        [(audience(), String::new()), (audience(), SPIFFE_ID.to_owned())]
    );
}

#[tokio::test]
async fn jwt_svid_with_another_algorithm_is_not_sent() {
    let emulator = emulator().await;
    let agent = Agent::start(Ok(emulator.issuer().sign(&svid().algorithm("ES256"))));
    let error = failure(&emulator, agent.source()).await;
    assert_eq!(error.kind(), ErrorKind::Assertion);
    assert_eq!(
        error.to_string(),
        "the JWT-SVID is signed with ES256, and Entra accepts RS256 only; set jwt_key_type = \"rsa-2048\" in the \
         configuration of the SPIRE server"
    );
}

#[tokio::test]
async fn each_refusal_of_the_agent_is_named_without_its_text() {
    let emulator = emulator().await;
    for (answer, kind, message) in [
        (
            Err(PERMISSION_DENIED),
            ErrorKind::Rejected,
            "issues no identity to this workload; check the selectors",
        ),
        (
            Err(INVALID_ARGUMENT),
            ErrorKind::Rejected,
            "failed (InvalidArgument)",
        ),
        (
            Ok("planted".to_owned()),
            ErrorKind::Protocol,
            "is not a JWT: it has 1 parts",
        ),
    ] {
        let agent = Agent::start(answer);
        let error = failure(&emulator, agent.source()).await;
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(message), "{error}");
    }
}

#[tokio::test]
async fn agent_that_is_unavailable_is_asked_again() {
    let emulator = emulator().await;
    let agent = Agent::start(Err(UNAVAILABLE));
    let error = failure(&emulator, agent.source()).await;
    assert!(
        error.is_transient() && error.kind() == ErrorKind::Transport,
        "{error}"
    );
    assert_eq!(agent.requests.lock().unwrap().len(), 4);
    *agent.answer.lock().unwrap() = Ok(emulator.issuer().sign(&svid()));
    let credential = builder(&emulator).assertion(agent.source()).build().unwrap();
    credential.token(&SCOPES).await.unwrap();
}

#[tokio::test]
async fn missing_socket_is_named() {
    let emulator = emulator().await;
    let agent = Agent::start(Err(UNAVAILABLE));
    let source = agent.source();
    std::fs::remove_file(agent.socket()).unwrap();
    let error = failure(&emulator, source).await;
    assert_eq!(error.kind(), ErrorKind::Transport);
    assert!(
        error
            .to_string()
            .contains("does not respond; check SPIFFE_ENDPOINT_SOCKET"),
        "{error}"
    );
}

#[tokio::test]
async fn missing_and_invalid_settings_are_named() {
    let build =
        |variables: &[(&str, &str)]| SpiffeJwtSvid::from_environment(&variables.iter().copied().collect());
    let error = build(&[]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let error = build(&[("SPIFFE_ENDPOINT_SOCKET", "https://planted")]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert!(
        error
            .to_string()
            .starts_with("SPIFFE_ENDPOINT_SOCKET is not the address"),
        "{error}"
    );

    let emulator = emulator().await;
    let agent = Agent::start(Err(UNAVAILABLE));
    let error = failure(&emulator, agent.source().spiffe_id("orders")).await;
    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert!(error.to_string().starts_with("invalid SPIFFE ID"), "{error}");
}
