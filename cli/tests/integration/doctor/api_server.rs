use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use serde_json::{Value, json};
use tempfile::NamedTempFile;

/// An API server on this machine, and the kubeconfig that leads to it.
pub(crate) struct ApiServer {
    pub(crate) kubeconfig: NamedTempFile,
    url: String,
}

/// What the API server responds.
#[derive(Clone)]
pub(crate) enum Response {
    Json(u16, Value),
    Text(u16, String),
    /// As many bytes, in a body that never ends a JSON text.
    Endless(usize),
    /// Nothing.
    Silence,
}

impl Response {
    pub(crate) fn forbidden() -> Self {
        let status = json!({"kind": "Status", "status": "Failure", "code": 403, "message": HOSTILE});
        Self::Json(403, status)
    }
}

impl ApiServer {
    /// * `respond`: gets the method and the path of each request.
    pub(crate) fn start(respond: impl Fn(&str, &str) -> Response + Send + Sync + Clone + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        thread::spawn(move || {
            for stream in listener.incoming() {
                let respond = respond.clone();
                thread::spawn(move || serve(&stream.unwrap(), &respond));
            }
        });
        let kubeconfig = NamedTempFile::new().unwrap();
        Self { kubeconfig, url }.with_user(&json!({}))
    }

    /// Sets how the kubeconfig authenticates.
    pub(crate) fn with_user(self, user: &Value) -> Self {
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "it",
            "clusters": [{"name": "it", "cluster": {"server": self.url}}],
            "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
            "users": [{"name": "it", "user": user}],
        });
        fs::write(&self.kubeconfig, config.to_string()).unwrap();
        self
    }

    /// A cluster with the Deployment `shop/orders`, whose service account has an annotation and gets a token.
    ///
    /// * `deployment`: what differs in it.
    pub(crate) fn with_deployment(token: &str, client_id: &str, deployment: &Value) -> Self {
        let (token, client_id, deployment) = (token.to_owned(), client_id.to_owned(), deployment.clone());
        Self::start(move |method, path| {
            let path = path.split('?').next().unwrap();
            if path.ends_with("/events") {
                return Response::forbidden();
            }
            let list = json!({"metadata": {}, "items": []});
            Response::Json(
                200,
                match (method, path) {
                    (_, "/apis/apps/v1/namespaces/shop/deployments/orders") => deployment.clone(),
                    ("GET", "/api/v1/namespaces/shop/serviceaccounts/orders") => json!({
                        "metadata": {
                            "name": "orders",
                            "namespace": "shop",
                            "annotations": {"azure.workload.identity/client-id": client_id},
                        },
                    }),
                    ("POST", _) => json!({
                        "metadata": {},
                        "spec": {"audiences": []},
                        "status": {"token": token, "expirationTimestamp": "2100-01-01T00:00:00Z"},
                    }),
                    _ => list,
                },
            )
        })
    }
}

/// A Deployment that uses workload identity.
///
/// * `env`: the variables of its container.
pub(crate) fn deployment(name: &str, env: &Value) -> Value {
    json!({
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {
            "selector": {"matchLabels": {"app": "orders"}},
            "template": {
                "metadata": {"labels": {"app": "orders", "azure.workload.identity/use": "true"}},
                "spec": {
                    "serviceAccountName": "orders",
                    "containers": [{"name": "main", "image": "main:1", "env": env}],
                },
            },
        },
    })
}

/// Answers the requests of a connection. The other side may go away at any time.
fn serve(stream: &TcpStream, respond: &dyn Fn(&str, &str) -> Response) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut writer = stream;
    loop {
        let mut first = String::new();
        reader.read_line(&mut first).ok()?;
        let mut length = 0;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok()?;
            let line = line.trim().to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().ok()?;
            }
            if line.is_empty() {
                break;
            }
        }
        reader.read_exact(&mut vec![0; length]).ok()?;
        let mut words = first.split_whitespace();
        let (status, body) = match respond(words.next()?, words.next()?) {
            Response::Json(status, body) => (status, body.to_string()),
            Response::Text(status, body) => (status, body),
            Response::Endless(length) => (200, "[".repeat(length)),
            Response::Silence => {
                reader.read_line(&mut String::new()).ok()?;
                return None;
            }
        };
        let length = body.len();
        let head = format!(
            "HTTP/1.1 {status} it\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
        );
        writer.write_all(head.as_bytes()).ok()?;
        writer.write_all(body.as_bytes()).ok()?;
    }
}

/// What a terminal, the log of a CI job or a reader would be misled by.
pub(crate) const HOSTILE: &str = "\n::stop-commands::x\r\u{1b}]52;c;cm0=\u{7}\u{9b}2J\u{202e}\u{200b}";
