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
use http_body_util::{BodyExt, Either, Full, Limited};
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

/// What one endpoint answers when nothing goes wrong.
#[async_trait]
pub(super) trait Service: Send + Sync + 'static {
    /// Answers one request, read to its end.
    async fn handle(&self, request: http::Request<Bytes>) -> http::Response<Bytes>;

    /// The answer of this endpoint when it fails with `status` of its own accord.
    fn failure(&self, status: StatusCode, _request: &http::Request<Bytes>) -> http::Response<Bytes> {
        let message = status.canonical_reason().unwrap_or("Failure");
        let body = serde_json::json!({ "error": { "code": message.replace(' ', ""), "message": message } });
        json(status, &body)
    }
}

/// A JSON answer.
pub(super) fn json(status: StatusCode, body: &serde_json::Value) -> http::Response<Bytes> {
    let mut response = http::Response::new(Bytes::from(body.to_string()));
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}

/// A port of the loopback interface, not served yet: addresses must be known before services are made.
pub(super) struct Port {
    listener: TcpListener,
    address: SocketAddr,
}

impl Port {
    /// Takes any free port of 127.0.0.1.
    pub(super) async fn bind() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
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

/// What all servers share: the faults that wait for requests, and the log of those that came.
#[derive(Default)]
pub(super) struct Traffic {
    pub(super) faults: Faults,
    pub(super) log: RequestLog,
}

/// One endpoint on its port, until it is dropped: then the port is free and every connection is cut.
pub(super) struct Server {
    _tasks: JoinSet<()>,
}

impl Server {
    /// * `tls`: plain HTTP without it.
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
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(port.listener, tls.map(TlsAcceptor::from), handler));
        Self { _tasks: tasks }
    }
}

/// Serves one connection after another, each in a task that dies with this one.
async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, handler: Arc<Handler>) {
    let mut connections = JoinSet::new();
    loop {
        // A failed accept (out of file descriptors, a client gone already) concerns one connection, not the server.
        if let Ok((stream, _)) = listener.accept().await {
            connections.spawn(serve(stream, tls.clone(), Arc::clone(&handler)));
        } else {
            tokio::time::sleep(PAUSE_AFTER_FAILED_ACCEPT).await;
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(stream: TcpStream, tls: Option<TlsAcceptor>, handler: Arc<Handler>) {
    // Small writes go out at once, as Entra's do: else Nagle's algorithm and a client's delayed acknowledgement add 40 ms to
    // some handshakes.
    let _ = stream.set_nodelay(true);
    // What goes wrong on a connection is seen by its client, and is often what a test ordered.
    match tls {
        None => serve_http(stream, &handler).await,
        Some(tls) => {
            if let Ok(stream) = tls.accept(stream).await {
                serve_http(stream, &handler).await;
            }
        }
    }
}

async fn serve_http(stream: impl AsyncRead + AsyncWrite + Unpin, handler: &Handler) {
    let service = service_fn(|request| handler.handle(request));
    // As above.
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

struct Handler {
    endpoint: Endpoint,
    service: Arc<dyn Service>,
    traffic: Arc<Traffic>,
}

impl Handler {
    /// An error closes the connection without an answer.
    async fn handle(
        &self,
        request: http::Request<Incoming>,
    ) -> Result<http::Response<Either<Full<Bytes>, TruncatedBody>>, ConnectionClosed> {
        let (parts, body) = request.into_parts();
        let body = Limited::new(body, MAX_BODY)
            .collect()
            .await
            .map_err(|_| ConnectionClosed)?;
        let request = http::Request::from_parts(parts, body.to_bytes());
        let recorded = self.traffic.log.record(self.endpoint, &request);
        let fault = self.traffic.faults.next(self.endpoint);
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
        recorded.set_status(response.status());
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

/// A body that breaks off. Between its bytes and the break it lets hyper flush, or nothing would be sent at all.
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
#[error("the connection was closed on purpose")]
struct ConnectionClosed;

/// Out of file descriptors, the next accept fails at once as well.
const PAUSE_AFTER_FAILED_ACCEPT: Duration = Duration::from_millis(10);

/// Blob's single-request uploads of tests are far smaller; a bound keeps a mistake from eating the machine's memory.
const MAX_BODY: usize = 64 * 1024 * 1024;
