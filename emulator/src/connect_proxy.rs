use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::copy_bidirectional;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::public_host::PublicHost;
use super::server::{Port, accept};

/// An HTTP proxy that knows one method, `CONNECT`, and leads the host names of the public cloud to the
/// servers of the emulator. TLS stays between the client and the server.
///
/// Source: RFC 9110, 9.3.6.
pub(super) struct ConnectProxy {
    pub(super) login: SocketAddr,
    pub(super) key_vault: SocketAddr,
    pub(super) blob: SocketAddr,
    /// Whether other hosts are connected to, too.
    pub(super) allow_external: bool,
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
            None if self.allow_external => {
                let port = target.port_u16().unwrap_or(443);
                TcpStream::connect((target.host(), port)).await
            }
            None => {
                let text = format!(
                    "{} is not emulated. Allow external hosts if the program needs it.\n",
                    target.host()
                );
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
