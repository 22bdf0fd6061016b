//! What the tests of this folder share: a clock, an endpoint that a test answers by hand, service-account tokens,
//! and a watch over all log lines for secrets.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its own part")]

pub mod clock;
#[cfg(feature = "azure-core")]
pub mod sdk;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use entra_workload::{Clock, Environment, Error, SystemClock, Transport};
use http::{HeaderMap, Request, Response};
use tokio::sync::{mpsc, oneshot};

pub const CLIENT_ID: &str = "7a5ff21b-4f5b-4f5b-9e3e-2c0b5a1d9a10";
pub const TENANT_ID: &str = "72f988bf-86f1-41af-91ab-2d7cd011db47";
pub const VAULT: &str = "https://vault.azure.net/.default";
pub const BLOB: &str = "https://storage.azure.com/.default";

/// A transport, and the endpoint at its other end: the test sees each request while it is in flight and answers it.
pub fn pair() -> (FakeTransport, Endpoint) {
    watch_for_secrets();
    let (sender, receiver) = mpsc::unbounded_channel();
    (FakeTransport(sender), Endpoint(receiver))
}

#[derive(Debug)]
pub struct FakeTransport(mpsc::UnboundedSender<Exchange>);

#[async_trait]
impl Transport for FakeTransport {
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, Error> {
        let (reply, replied) = oneshot::channel();
        let (head, body) = request.into_parts();
        let exchange = Exchange {
            uri: head.uri.to_string(),
            method: head.method.to_string(),
            headers: head.headers,
            form: url::form_urlencoded::parse(&body).into_owned().collect(),
            at: tokio::time::Instant::now(),
            reply,
        };
        self.0.send(exchange).expect("the test's endpoint is gone");
        replied.await.expect("the test dropped a request")
    }
}

pub struct Endpoint(mpsc::UnboundedReceiver<Exchange>);

impl Endpoint {
    pub async fn request(&mut self) -> Exchange {
        tokio::time::timeout(Duration::from_secs(100_000), self.0.recv())
            .await
            .expect("no request came")
            .unwrap()
    }

    /// Lets all tasks run until they wait, and checks that none of them sent a request.
    pub async fn is_idle(&mut self) {
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        if let Ok(request) = self.0.try_recv() {
            panic!("a request came that nobody expected: {:?}", request.form.keys());
        }
    }
}

/// One request in flight.
pub struct Exchange {
    pub uri: String,
    pub method: String,
    pub headers: HeaderMap,
    pub form: BTreeMap<String, String>,
    pub at: tokio::time::Instant,
    reply: oneshot::Sender<Result<Response<Bytes>, Error>>,
}

impl Exchange {
    pub fn reply(self, status: u16, headers: &[(&str, &str)], body: impl Into<Bytes>) {
        let mut response = Response::builder().status(status);
        for (name, value) in headers {
            response = response.header(*name, *value);
        }
        self.answer(Ok(response.body(body.into()).unwrap()));
    }

    pub fn grant(self, secret: &str, expires_in: u64) {
        let body =
            format!(r#"{{"token_type":"Bearer","expires_in":{expires_in},"access_token":"{secret}"}}"#);
        self.reply(200, &[], body);
    }

    pub fn refuse(self, status: u16, error: &str, code: u32) {
        let body = format!(
            r#"{{"error":"{error}","error_description":"AADSTS{code}: no.\r\nTrace ID: 1\r\nTimestamp: 2","error_codes":[{code}],"trace_id":"trace","correlation_id":"correlation"}}"#
        );
        self.reply(status, &[], body);
    }

    pub fn fail(self, error: Error) {
        self.answer(Err(error));
    }

    fn answer(self, answer: Result<Response<Bytes>, Error>) {
        // Whoever asked may have given up: then there is nobody to tell.
        let _gave_up = self.reply.send(answer);
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// A token as the API server would sign it, but for the signature; good from now for `lifetime`.
pub fn service_account_token(id: &str, lifetime: Duration) -> String {
    let now = SystemClock::new()
        .now()
        .system_time
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let header = part(r#"{"alg":"RS256","kid":"key"}"#);
    let claims = part(&format!(
        r#"{{"aud":["api://AzureADTokenExchange"],"exp":{},"iat":{now},"iss":"https://issuer/","jti":"{id}","nbf":{now},"sub":"system:serviceaccount:ns:app"}}"#,
        now + lifetime.as_secs()
    ));
    format!("{header}.{claims}.{}", part("planted-signature"))
}

/// A pod with its token file, in a folder of its own.
pub struct Pod {
    folder: tempfile::TempDir,
}

impl Pod {
    pub fn new() -> Self {
        let pod = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        pod.project(service_account_token("first", Duration::from_secs(3600)));
        pod
    }

    pub fn token_file(&self) -> PathBuf {
        self.folder.path().join("azure-identity-token")
    }

    pub fn project(&self, content: impl AsRef<[u8]>) {
        let next = self.folder.path().join("..next");
        std::fs::write(&next, content).unwrap();
        std::fs::rename(&next, self.token_file()).unwrap();
    }

    pub fn environment(&self) -> Environment {
        environment(&self.token_file())
    }
}

pub fn environment(token_file: &Path) -> Environment {
    Environment::from_iter([
        ("AZURE_CLIENT_ID".to_owned(), CLIENT_ID.into()),
        ("AZURE_TENANT_ID".to_owned(), TENANT_ID.into()),
        (
            "AZURE_AUTHORITY_HOST".to_owned(),
            "https://login.microsoftonline.com/".into(),
        ),
        (
            "AZURE_FEDERATED_TOKEN_FILE".to_owned(),
            token_file.as_os_str().to_owned(),
        ),
    ])
}

/// From the first call on, ends the process if any log line, at any level and of any crate, holds a secret.
pub fn watch_for_secrets() {
    static WATCH: Once = Once::new();
    WATCH.call_once(|| {
        tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_writer(|| Watch)
            .init();
    });
}

struct Watch;

impl io::Write for Watch {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if let Some(secret) = secret_in(&String::from_utf8_lossy(line)) {
            eprintln!(
                "a secret is in the log ({secret}): {}",
                String::from_utf8_lossy(line)
            );
            std::process::exit(101);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What in `text` is a secret: anything that a test planted, or a JWT.
pub fn secret_in(text: &str) -> Option<&'static str> {
    if text.contains("planted") {
        return Some("planted by a test");
    }
    let is_jwt = |word: &str| word.starts_with("eyJ") && word.len() > 40;
    let mut words = text.split(|c: char| !c.is_ascii_alphanumeric() && !"-_.".contains(c));
    words.any(is_jwt).then_some("a JWT")
}

/// Checks that nothing of an error gives a secret away.
#[track_caller]
pub fn is_safe(error: &dyn std::error::Error) {
    let mut next = Some(error);
    while let Some(error) = next {
        let shown = format!("{error} {error:?}");
        assert_eq!(secret_in(&shown), None, "{shown}");
        next = error.source();
    }
}
