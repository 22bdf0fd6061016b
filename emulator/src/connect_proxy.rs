use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{PROXY_AUTHENTICATE, PROXY_AUTHORIZATION};
use http::uri::Authority;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::access_key::AccessKey;
use super::public_host::PublicHost;
use super::server::{Port, Traffic, accept};

/// An HTTP proxy that knows one method, `CONNECT`, and leads the host names of the public cloud to the
/// servers of the emulator. TLS stays between the client and the server.
///
/// Source: RFC 9110, 9.3.6.
pub(super) struct ConnectProxy {
    pub(super) login: SocketAddr,
    pub(super) key_vault: SocketAddr,
    pub(super) blob: SocketAddr,
    /// The password of clients that are connected to other hosts, too. `None` for no client.
    pub(super) external: Option<AccessKey>,
    /// The proxy that leads to them, `host:port`.
    pub(super) upstream: Option<String>,
    pub(super) traffic: Arc<Traffic>,
}

impl ConnectProxy {
    /// Accepts connections until the set is dropped.
    pub(super) fn start(self, port: Port) -> JoinSet<()> {
        let proxy = Arc::new(self);
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(port, move |stream| {
            let proxy = Arc::clone(&proxy);
            async move {
                let tunnel = Mutex::new(None);
                let service = service_fn(|request| proxy.handle(request, &tunnel));
                let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                // An error is visible to the client.
                let _ = connection.with_upgrades().await;
                let tunnel = tunnel.into_inner().unwrap_or_else(PoisonError::into_inner);
                if let Some(Tunnel { client, mut server }) = tunnel
                    && let Ok(client) = client.await
                {
                    // It ends with one of the two connections.
                    let _ = copy_bidirectional(&mut TokioIo::new(client), &mut server).await;
                }
            }
        }));
        tasks
    }

    async fn handle(
        &self,
        request: Request<Incoming>,
        tunnel: &Mutex<Option<Tunnel>>,
    ) -> io::Result<Response<Full<Bytes>>> {
        let target = request.uri().authority().cloned();
        let Some(target) = target.filter(|_| request.method() == Method::CONNECT) else {
            let text = "This proxy knows the method CONNECT only: send plain HTTP directly.\n";
            return Ok(refusal(StatusCode::METHOD_NOT_ALLOWED, text.to_owned()));
        };
        let stream = match PublicHost::parse(target.host()) {
            Some(PublicHost::Login) => TcpStream::connect(self.login).await,
            Some(PublicHost::Vault(_)) => TcpStream::connect(self.key_vault).await,
            Some(PublicHost::BlobAccount(_)) => TcpStream::connect(self.blob).await,
            None if self.is_allowed(&request) => self.connect_outside(&target).await,
            None if self.external.is_some() => {
                let host = target.host();
                let text = format!(
                    "{host} is not emulated: it requires the user and the password in HTTPS_PROXY.\n"
                );
                let mut response = refusal(StatusCode::PROXY_AUTHENTICATION_REQUIRED, text);
                let challenge = HeaderValue::from_static("Basic realm=\"entra-workload\"");
                response.headers_mut().insert(PROXY_AUTHENTICATE, challenge);
                return Ok(response);
            }
            None => {
                let host = target.host();
                let text = format!("{host} is not emulated. Allow external hosts if the program needs it.\n");
                let line = format!("proxy CONNECT {host}: 403 {}", text.trim_end());
                self.traffic.log.count_refusal(&line);
                return Ok(refusal(StatusCode::FORBIDDEN, text));
            }
        };
        let server = match stream {
            Ok(server) => server,
            Err(error) => {
                let text = format!("There is no connection to {target}: {error}\n");
                return Ok(refusal(StatusCode::BAD_GATEWAY, text));
            }
        };
        *tunnel.lock().unwrap_or_else(PoisonError::into_inner) = Some(Tunnel {
            client: hyper::upgrade::on(request),
            server,
        });
        Ok(Response::new(Full::default()))
    }
}

impl ConnectProxy {
    /// Returns the URL of a proxy for `HTTPS_PROXY`.
    pub(super) fn url(port: &Port, external: Option<&AccessKey>) -> String {
        external.map_or_else(
            || port.plain_url(),
            |key| format!("http://{USER}:{}@{}", key.as_str(), port.address()),
        )
    }

    /// Whether a client may connect to other hosts. Other users of the machine can reach the port, and would get the rights of
    /// this one in the network.
    fn is_allowed<T>(&self, request: &Request<T>) -> bool {
        let presented = request.headers().get(PROXY_AUTHORIZATION);
        let presented = presented.and_then(|value| value.to_str().ok()?.split_once(' '));
        let (Some(key), Some((scheme, credentials))) = (&self.external, presented) else {
            return false;
        };
        let expected = format!("{USER}:{}", key.as_str());
        scheme.eq_ignore_ascii_case("basic")
            && STANDARD
                .decode(credentials)
                .is_ok_and(|credentials| credentials == expected.as_bytes())
    }

    /// Connects to a host that is not emulated, through the proxy of the machine if it has one.
    async fn connect_outside(&self, target: &Authority) -> io::Result<TcpStream> {
        let port = target.port_u16().unwrap_or(443);
        let Some(upstream) = &self.upstream else {
            return TcpStream::connect((target.host().trim_matches(['[', ']']), port)).await;
        };
        let mut stream = TcpStream::connect(upstream).await?;
        let target = format!("{}:{port}", target.host());
        let request = format!("CONNECT {target} HTTP/1.1\r\nhost: {target}\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        // To the byte, because what follows belongs to the client.
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") && head.len() < MAX_HEAD {
            head.push(stream.read_u8().await?);
        }
        let status = head.split(|byte| *byte == b' ').nth(1);
        if status == Some(b"200") {
            return Ok(stream);
        }
        let status = String::from_utf8_lossy(status.unwrap_or_default()).into_owned();
        Err(io::Error::other(format!("the proxy {upstream} answers {status}")))
    }
}

/// The two ends of a connection through the proxy.
struct Tunnel {
    client: OnUpgrade,
    server: TcpStream,
}

fn refusal(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response
}

const USER: &str = "emulator";

/// Far longer than the head of such a response.
const MAX_HEAD: usize = 16 * 1024;
