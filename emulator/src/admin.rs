mod request;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{HOST, ORIGIN};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use self::request::{Advance, FaultOrder, Filter, Limit};
use crate::access_key::AccessKey;
use crate::emulator::Emulator;
use crate::endpoint::Endpoint;
use crate::request_log::RecordedRequest;
use crate::seed::Seed;
use crate::server::{self, Port, accept};
use crate::time::rfc3339;

/// An HTTP API on a port of loopback, with which a test in any language steers an emulator. It is described
/// by `GET /openapi.json`.
///
/// Its URL has a random key, without which it refuses all requests but `GET /healthz`: other users of this machine can reach
/// the port. It also refuses requests of web pages, which have another `Host` or `Origin` than its own. Dropping it closes
/// the port.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use entra_workload_emulator::{Admin, Emulator, Seed};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> std::io::Result<()> {
/// let emulator = Arc::new(Emulator::start().await?);
/// let admin = Admin::start(Arc::clone(&emulator), None, Seed::default()).await?;
/// assert!(admin.url().starts_with("http://127.0.0.1:"));
/// # Ok(()) }
/// ```
pub struct Admin {
    /// `127.0.0.1:PORT`.
    host: String,
    url: String,
    _tasks: JoinSet<()>,
}

impl Admin {
    /// Starts the API.
    ///
    /// * `port`: `None` for a free one.
    /// * `seed`: what a reset leads back to. It must have been applied before.
    ///
    /// # Errors
    ///
    /// Returns an error if the port cannot be bound or there are no random bytes.
    ///
    /// # Panics
    ///
    /// Panics outside a Tokio runtime with I/O enabled.
    pub async fn start(emulator: Arc<Emulator>, port: Option<u16>, seed: Seed) -> io::Result<Self> {
        let port = Port::bind(port.unwrap_or_default()).await?;
        let (host, key) = (port.address().to_string(), AccessKey::random()?);
        let url = format!("{}/{}", port.plain_url(), key.as_str());
        emulator.set_baseline();
        let api = Arc::new(Api {
            host: host.clone(),
            key,
            emulator,
            seed,
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(port, move |stream| {
            let api = Arc::clone(&api);
            async move {
                let service = service_fn(|request| api.handle(request));
                // An error is visible to the client.
                let _ = http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            }
        }));
        Ok(Self {
            host,
            url,
            _tasks: tasks,
        })
    }

    /// The URL, `http://127.0.0.1:PORT/KEY`. Whoever has it can steer the emulator.
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admin")
            .field("host", &self.host)
            .finish_non_exhaustive()
    }
}

struct Api {
    /// `127.0.0.1:PORT`.
    host: String,
    key: AccessKey,
    emulator: Arc<Emulator>,
    seed: Seed,
}

impl Api {
    async fn handle(&self, request: Request<Incoming>) -> io::Result<Response<Full<Bytes>>> {
        let response = match self.answer(request).await {
            Ok(Some(body)) => server::json(StatusCode::OK, &body),
            Ok(None) => {
                let mut response = Response::new(Bytes::new());
                *response.status_mut() = StatusCode::NO_CONTENT;
                response
            }
            Err(Refusal(status, text)) => server::json(status, &json!({ "error": text })),
        };
        Ok(response.map(Full::new))
    }

    /// Returns the body of the response; without one, the status is 204.
    async fn answer(&self, request: Request<Incoming>) -> Result<Option<Value>, Refusal> {
        self.check_caller(&request)?;
        let path = request.uri().path().trim_matches('/').to_owned();
        let path: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let path = match path.as_slice() {
            [key, path @ ..] if *key == self.key.as_str() => path,
            // So that a script can wait for it.
            ["healthz"] => path.as_slice(),
            _ => {
                let text = "the URL has no valid key; take the one of ENTRA_WORKLOAD_ADMIN_URL or Admin::url";
                return Err(Refusal(StatusCode::FORBIDDEN, text.to_owned()));
            }
        };
        let (parts, body) = request.into_parts();
        let body = Limited::new(body, MAX_BODY).collect().await.map_err(|_| {
            let text = "the body is too large".to_owned();
            Refusal(StatusCode::PAYLOAD_TOO_LARGE, text)
        })?;
        self.route(&Request::from_parts(parts, body.to_bytes()), path)
    }

    /// * `path`: without the key.
    fn route(&self, request: &Request<Bytes>, path: &[&str]) -> Result<Option<Value>, Refusal> {
        let emulator = &self.emulator;
        let entra = emulator.entra();
        match (request.method(), path) {
            (&Method::GET, ["healthz"]) => Ok(Some(json!({ "status": "ok" }))),
            (&Method::GET, ["openapi.json"]) => Ok(Some(serde_json::from_str(OPENAPI)?)),
            (&Method::GET, ["state"]) => Ok(Some(self.state())),
            (&Method::POST, ["seed"]) => {
                let pods = emulator.seed(&parse(request.body())?)?;
                let pods = pods.iter().map(|pod| {
                    json!({ "clientId": pod.client_id(), "tokenFile": pod.token_file(), "variables": variables(pod.variables()) })
                });
                Ok(Some(json!({ "pods": pods.collect::<Vec<_>>() })))
            }
            (&Method::GET, ["requests"]) => {
                let filter = Filter::parse(request.uri().query().unwrap_or_default())?;
                let mut requests = emulator.requests();
                requests.retain(|request| filter.includes(request));
                let shown: Vec<Value> = requests.iter().map(shown).collect();
                Ok(Some(json!({ "count": shown.len(), "requests": shown })))
            }
            (&Method::DELETE, ["requests"]) => {
                emulator.clear_requests();
                Ok(None)
            }
            (&Method::POST, ["faults"]) => {
                let (endpoint, fault) = parse::<FaultOrder>(request.body())?.into_fault()?;
                emulator.inject(endpoint, fault);
                Ok(None)
            }
            (&Method::DELETE, ["faults", endpoint]) => {
                emulator.clear_faults(endpoint.parse::<Endpoint>().map_err(Refusal::invalid)?);
                Ok(None)
            }
            (&Method::POST, ["tokens", "rotate"]) => {
                emulator.rotate_tokens()?;
                Ok(None)
            }
            (&Method::POST, ["issuer", action]) => {
                match *action {
                    "rotate-keys" => emulator.issuer().rotate_keys()?,
                    "stop" => emulator.issuer().stop(),
                    "start" => emulator.issuer().start(),
                    _ => return Err(unknown(request.method(), path)),
                }
                Ok(None)
            }
            (&Method::POST, ["entra", "stop"]) => {
                entra.set_available(false);
                Ok(None)
            }
            (&Method::POST, ["entra", "start"]) => {
                entra.set_available(true);
                Ok(None)
            }
            (&Method::POST, ["entra", "limit"]) => {
                let Limit { per_minute } = parse(request.body())?;
                entra.limit_token_requests(per_minute);
                Ok(None)
            }
            (_, ["identities", client_id, action]) => self.change_identity(request, client_id, action),
            (&Method::GET, ["clock"]) => Ok(Some(json!({ "now": rfc3339(emulator.now()) }))),
            (&Method::POST, ["clock", "advance"]) => {
                let by: Duration = parse::<Advance>(request.body())?
                    .duration()
                    .map_err(Refusal::invalid)?;
                emulator.advance(by)?;
                Ok(Some(json!({ "now": rfc3339(emulator.now()) })))
            }
            (&Method::POST, ["reset"]) => {
                emulator.reset()?;
                emulator.seed(&self.seed)?;
                Ok(None)
            }
            _ => Err(unknown(request.method(), path)),
        }
    }

    fn change_identity(
        &self,
        request: &Request<Bytes>,
        client_id: &str,
        action: &str,
    ) -> Result<Option<Value>, Refusal> {
        let (emulator, entra) = (&self.emulator, self.emulator.entra());
        if action != "enable" {
            self.check_known(client_id)?;
        }
        match (request.method(), action) {
            (&Method::POST, "roles") => emulator.seed_role(client_id, &parse(request.body())?)?,
            (&Method::DELETE, "roles") => emulator.remove_roles(client_id),
            (&Method::POST, "expire-secret") => entra.expire_client_secret(client_id),
            (&Method::POST, "revoke") => entra.revoke_tokens(client_id),
            (&Method::POST, "revoke-sign-ins") => entra.revoke_sign_ins(client_id),
            (&Method::POST, "disable") => entra.disable_application(client_id),
            (&Method::POST, "enable") => entra.register_application(client_id),
            (&Method::POST, "block") => entra.block_by_policy(client_id, true),
            (&Method::POST, "unblock") => entra.block_by_policy(client_id, false),
            _ => {
                let path = ["identities", client_id, action];
                return Err(unknown(request.method(), &path));
            }
        }
        Ok(None)
    }

    fn check_known(&self, client_id: &str) -> Result<(), Refusal> {
        if self.emulator.knows(client_id) {
            return Ok(());
        }
        let text = format!("no application and no managed identity has the client ID {client_id}");
        Err(Refusal(StatusCode::NOT_FOUND, text))
    }

    /// A page of the web in a browser on this machine has another origin, and after a trick with DNS another
    /// host.
    fn check_caller<T>(&self, request: &Request<T>) -> Result<(), Refusal> {
        let header = |name| {
            let value = request.headers().get(name)?;
            Some(value.to_str().unwrap_or_default().to_owned())
        };
        let port = self.host.rsplit(':').next().unwrap_or_default();
        let own = [self.host.clone(), format!("localhost:{port}")];
        let host = header(HOST).unwrap_or_default();
        if !own.contains(&host) {
            let text = format!("the Host is not {}: {host}", self.host);
            return Err(Refusal(StatusCode::FORBIDDEN, text));
        }
        match header(ORIGIN) {
            Some(origin) if !own.iter().any(|own| origin == format!("http://{own}")) => {
                let text = format!("requests of other origins are refused: {origin}");
                Err(Refusal(StatusCode::FORBIDDEN, text))
            }
            _ => Ok(()),
        }
    }

    fn state(&self) -> Value {
        let emulator = &self.emulator;
        json!({
            "tenantId": emulator.entra().tenant_id(),
            "authorityHost": emulator.authority_host(),
            "issuerUrl": emulator.issuer_url(),
            "keyVaultUrl": emulator.key_vault_url(),
            "blobAccountUrl": emulator.blob_account_url(),
            "imdsUrl": emulator.imds_url(),
            "proxyUrl": emulator.proxy_url(),
            "caFile": emulator.ca_certificate_file(),
            "now": rfc3339(emulator.now()),
        })
    }
}

fn unknown(method: &Method, path: &[&str]) -> Refusal {
    let text = format!("there is no {method} /{}; see /openapi.json", path.join("/"));
    Refusal(StatusCode::NOT_FOUND, text)
}

/// A status and what to say.
struct Refusal(StatusCode, String);

impl Refusal {
    fn invalid(text: impl fmt::Display) -> Self {
        Self(StatusCode::BAD_REQUEST, text.to_string())
    }
}

impl From<serde_json::Error> for Refusal {
    fn from(error: serde_json::Error) -> Self {
        Self::invalid(error)
    }
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        let status = match error.kind() {
            io::ErrorKind::InvalidInput => StatusCode::BAD_REQUEST,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self(status, error.to_string())
    }
}

fn parse<T: DeserializeOwned>(body: &Bytes) -> Result<T, Refusal> {
    Ok(serde_json::from_slice(body)?)
}

/// Without bodies and credentials.
fn shown(request: &RecordedRequest) -> Value {
    json!({
        "endpoint": request.endpoint().to_string(),
        "method": request.method(),
        "path": request.path(),
        "clientId": request.client_id(),
        "status": request.status(),
        "aadsts": request.aadsts(),
        "refusal": request.refusal(),
    })
}

fn variables(variables: Vec<(&'static str, String)>) -> BTreeMap<&'static str, String> {
    variables.into_iter().collect()
}

const OPENAPI: &str = include_str!("admin/openapi.json");

/// Seeds have small blobs.
const MAX_BODY: usize = 16 * 1024 * 1024;
