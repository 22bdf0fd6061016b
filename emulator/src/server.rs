use std::fmt::Write as _;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use http_body_util::{BodyExt, Either, Full, LengthLimitError, Limited};
use hyper::body::{Body, Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

use super::endpoint::Endpoint;
use super::fault::{FaultKind, Faults};
use super::request_log::RequestLog;

/// An emulated service.
#[async_trait]
pub(super) trait Service: Send + Sync + 'static {
    /// Handles a request.
    async fn handle(&self, request: http::Request<Bytes>) -> http::Response<Bytes>;

    /// Whether the service accepts the credentials of a request, or needs none.
    fn is_authenticated(&self, _request: &http::Request<Bytes>) -> bool {
        true
    }

    /// Returns the error response of this service for an injected status.
    fn failure(&self, status: StatusCode, request: &http::Request<Bytes>) -> http::Response<Bytes>;
}

/// Returns a JSON response. It can repeat what another client has sent, and be shown in a terminal: what is not printable is
/// `\u009b` and the like.
pub(super) fn json(status: StatusCode, body: &serde_json::Value) -> http::Response<Bytes> {
    let mut text = String::new();
    for c in body.to_string().chars() {
        if c == '\u{7f}' || !c.is_ascii() && c.escape_debug().len() > 1 {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(text, "\\u{unit:04x}");
            }
        } else {
            text.push(c);
        }
    }
    let mut response = http::Response::new(Bytes::from(text));
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}

/// A bound port of the loopback interface. Services need the addresses before they start.
pub(super) struct Port {
    listener: TcpListener,
    address: SocketAddr,
}

impl Port {
    /// Binds a port of 127.0.0.1; 0 stands for a free one.
    pub(super) async fn bind(port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await;
        let listener = listener.map_err(|error| {
            io::Error::new(
                error.kind(),
                format!("port {port} of 127.0.0.1 cannot be used: {error}"),
            )
        })?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// `https://127.0.0.1:PORT`.
    pub(super) fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// `http://127.0.0.1:PORT`.
    pub(super) fn plain_url(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// The state shared by all servers: queued faults and recorded requests.
#[derive(Default)]
pub(super) struct Traffic {
    pub(super) faults: Faults,
    pub(super) log: RequestLog,
}

/// A running server. Dropping it closes the port and all connections.
pub(super) struct Server {
    _tasks: JoinSet<()>,
}

impl Server {
    /// * `tls`: `None` for plain HTTP.
    pub(super) fn start(
        port: Port,
        tls: Option<Arc<ServerConfig>>,
        endpoint: Endpoint,
        service: Arc<dyn Service>,
        traffic: Arc<Traffic>,
    ) -> Self {
        let handler = Arc::new(Handler {
            endpoint,
            service,
            traffic,
        });
        let tls = tls.map(TlsAcceptor::from);
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(port, move |stream| {
            serve(stream, tls.clone(), Arc::clone(&handler))
        }));
        Self { _tasks: tasks }
    }
}

/// Accepts connections. Their tasks are aborted with this one.
pub(super) async fn accept<F>(port: Port, serve: impl Fn(TcpStream) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let mut connections = JoinSet::new();
    loop {
        // A failed accept (no file descriptor, connection aborted) does not stop the server.
        if let Ok((stream, _)) = port.listener.accept().await {
            connections.spawn(serve(stream));
        } else {
            tokio::time::sleep(PAUSE_AFTER_FAILED_ACCEPT).await;
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(stream: TcpStream, tls: Option<TlsAcceptor>, handler: Arc<Handler>) {
    // Without it, Nagle's algorithm and delayed acknowledgements add 40 ms to some handshakes.
    let _ = stream.set_nodelay(true);
    // Connection errors are visible to the client and often injected.
    match tls {
        None => serve_http(stream, ServerName(None), &handler).await,
        Some(tls) => {
            if let Ok(stream) = tls.accept(stream).await {
                let server_name = ServerName(stream.get_ref().1.server_name().map(Into::into));
                serve_http(stream, server_name, &handler).await;
            }
        }
    }
}

async fn serve_http(stream: impl AsyncRead + AsyncWrite + Unpin, server_name: ServerName, handler: &Handler) {
    let service = service_fn(|mut request: http::Request<Incoming>| {
        request.extensions_mut().insert(server_name.clone());
        handler.handle(request)
    });
    // Connection errors are ignored, as above.
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

/// The server name of the TLS handshake, an extension of each request.
#[derive(Clone)]
pub(super) struct ServerName(pub(super) Option<Arc<str>>);

struct Handler {
    endpoint: Endpoint,
    service: Arc<dyn Service>,
    traffic: Arc<Traffic>,
}

impl Handler {
    /// An error closes the connection without a response.
    async fn handle(
        &self,
        request: http::Request<Incoming>,
    ) -> Result<http::Response<Either<Full<Bytes>, TruncatedBody>>, ConnectionClosed> {
        let (parts, body) = request.into_parts();
        let limit = if self.endpoint == Endpoint::Blob {
            MAX_BLOB_BODY
        } else {
            MAX_BODY
        };
        let body = match Limited::new(body, limit).collect().await {
            Ok(body) => body,
            Err(error) if error.is::<LengthLimitError>() => {
                let text = format!("The body is larger than {limit} bytes.");
                let mut response = http::Response::new(Either::Left(Full::from(text)));
                *response.status_mut() = StatusCode::PAYLOAD_TOO_LARGE;
                return Ok(response);
            }
            Err(_) => return Err(ConnectionClosed),
        };
        let request = http::Request::from_parts(parts, body.to_bytes());
        let recorded = self.traffic.log.record(self.endpoint, &request);
        let is_authenticated = self.service.is_authenticated(&request);
        let fault = self.traffic.faults.next(self.endpoint, is_authenticated);
        let truncate = matches!(fault, Some(FaultKind::Truncate));
        let response = match fault {
            None | Some(FaultKind::Truncate) => self.service.handle(request).await,
            Some(FaultKind::Delay(delay)) => {
                tokio::time::sleep(delay).await;
                self.service.handle(request).await
            }
            Some(FaultKind::Status(status)) => self.service.failure(status, &request),
            Some(FaultKind::Throttle(retry_after)) => {
                let mut response = self.service.failure(StatusCode::TOO_MANY_REQUESTS, &request);
                response
                    .headers_mut()
                    .insert(RETRY_AFTER, retry_after.as_secs().into());
                response
            }
            Some(FaultKind::Reply(reply)) => reply,
            Some(FaultKind::Hang) => std::future::pending().await,
            Some(FaultKind::Reset) => return Err(ConnectionClosed),
        };
        recorded.set_response(&response);
        if let Some(line) = recorded.refusal_line() {
            self.traffic.log.count_refusal(&line);
        }
        Ok(if truncate {
            truncated(response)
        } else {
            response.map(|body| Either::Left(Full::new(body)))
        })
    }
}

fn truncated(response: http::Response<Bytes>) -> http::Response<Either<Full<Bytes>, TruncatedBody>> {
    let (mut parts, mut body) = response.into_parts();
    parts.headers.insert(CONTENT_LENGTH, body.len().into());
    body.truncate(body.len() / 2);
    http::Response::from_parts(
        parts,
        Either::Right(TruncatedBody {
            body: Some(body),
            flushed: false,
        }),
    )
}

/// A body that ends with an error after its bytes. It yields once in between, so that hyper flushes
/// the bytes.
struct TruncatedBody {
    body: Option<Bytes>,
    flushed: bool,
}

impl Body for TruncatedBody {
    type Data = Bytes;
    type Error = ConnectionClosed;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ConnectionClosed>>> {
        if let Some(body) = self.body.take() {
            return Poll::Ready(Some(Ok(Frame::data(body))));
        }
        if !std::mem::replace(&mut self.flushed, true) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Some(Err(ConnectionClosed)))
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the connection is closed by an injected fault")]
struct ConnectionClosed;

/// Without file descriptors, every accept fails at once.
const PAUSE_AFTER_FAILED_ACCEPT: Duration = Duration::from_millis(10);

/// Twice what the official clients upload in one request; bounds the memory of a faulty client.
const MAX_BLOB_BODY: usize = 512 * 1024 * 1024;

/// Of token requests and secrets, far longer than Azure takes.
const MAX_BODY: usize = 1024 * 1024;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn json_keeps_its_value_and_has_no_character_that_acts_on_a_terminal() {
        let hostile = "a\u{1b}[2J\u{7f}\u{9b}31m\u{202e}\u{200b}\u{e0041}ö東'\"";
        let body = serde_json::json!({ hostile: hostile });
        let response = json(StatusCode::OK, &body);
        let shown = std::str::from_utf8(response.body()).unwrap();
        let is_shown = |c: char| c.is_ascii_graphic() || " ö東".contains(c);
        assert!(shown.chars().all(is_shown), "{shown:?}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(shown).unwrap(), body);
    }
}
