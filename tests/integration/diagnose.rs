//! What a diagnosis sends and starts: each request once, and nothing after the report.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use entra_workload::diagnose::{DiagnoseOptions, diagnose};
use entra_workload::transport::Transport;
use entra_workload::{Environment, Error};
use http::{Request, Response};
use tokio::sync::oneshot;

/// A pod without a token file, and with what other links of a default credential need.
fn environment(selected: &str) -> Environment {
    Environment::from_iter([
        ("AZURE_TOKEN_CREDENTIALS", selected),
        ("AZURE_TENANT_ID", "72f988bf-86f1-41af-91ab-2d7cd011db47"),
        ("AZURE_CLIENT_ID", "7a5ff21b-4f5b-4f5b-9e3e-2c0b5a1d9a10"),
        ("AZURE_CLIENT_SECRET", "planted"),
        ("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://127.0.0.1:9"),
    ])
}

#[tokio::test(start_paused = true)]
async fn each_token_request_is_sent_once_through_the_given_transport() {
    for (selected, host) in [
        ("EnvironmentCredential", "login.microsoftonline.com"),
        ("ManagedIdentityCredential", "127.0.0.1"),
    ] {
        let network = Network {
            status: Some(503),
            ..Network::default()
        };
        let options = DiagnoseOptions::new().transport(network.clone());
        let report = diagnose(&environment(selected), &options).await;
        let finding = report.findings.iter().find(|finding| finding.code == "EW001");
        let identity = finding.unwrap().identity.as_ref().unwrap();
        assert!(!identity.has_token, "{finding:?}");
        let requests = network.token_requests.lock().unwrap().clone();
        assert_eq!(requests, BTreeMap::from([(host.to_owned(), 1)]), "{selected}");
    }
}

#[tokio::test(start_paused = true)]
async fn no_request_outlives_the_report() {
    for selected in ["EnvironmentCredential", "ManagedIdentityCredential"] {
        let network = Network::default();
        let options = DiagnoseOptions::new().transport(network.clone());
        diagnose(&environment(selected), &options).await;
        assert_eq!(network.token_requests.lock().unwrap().len(), 1, "{selected}");
        assert_eq!(network.in_flight.load(Ordering::SeqCst), 0, "{selected}");
    }
}

/// The program holds a FIFO open, so its reader sees the end of the file when it ends.
#[tokio::test]
async fn no_program_outlives_a_dropped_diagnosis() {
    let folder = tempfile::tempdir().unwrap();
    let (az, fifo) = (folder.path().join("az"), folder.path().join("fifo"));
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let script = format!(
        "#!/bin/sh\nexec 3> '{}'\necho started >&3\n/bin/sleep 60",
        fifo.display()
    );
    fs::write(&az, script).unwrap();
    fs::set_permissions(&az, fs::Permissions::from_mode(0o755)).unwrap();
    let path = ("PATH", folder.path().to_str().unwrap());
    let selected = ("AZURE_TOKEN_CREDENTIALS", "AzureCliCredential");
    let environment = Environment::from_iter([path, selected]);
    let (start, started) = oneshot::channel();
    let (end, ended) = oneshot::channel();
    // Not of the runtime, which would wait for it.
    std::thread::spawn(move || {
        let mut reader = BufReader::new(fs::File::open(fifo).unwrap());
        reader.read_line(&mut String::new()).unwrap();
        start.send(()).unwrap();
        reader.read_to_string(&mut String::new()).unwrap();
        end.send(()).unwrap();
    });

    let options = DiagnoseOptions::new().timeout(LIMIT);
    tokio::select! {
        started = started => started.unwrap(),
        report = diagnose(&environment, &options) => panic!("{report:?}"),
    }
    let ended = tokio::time::timeout(LIMIT / 2, ended).await;
    ended.expect("the program goes on").unwrap();
}

/// Answers each request with a status, or none.
#[derive(Clone, Debug, Default)]
struct Network {
    status: Option<u16>,
    /// The number of those to each host.
    token_requests: Arc<Mutex<BTreeMap<String, usize>>>,
    in_flight: Arc<AtomicUsize>,
}

#[async_trait]
impl Transport for Network {
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, Error> {
        let uri = request.uri();
        let is_probe = uri.query().is_none() && request.method() == http::Method::GET;
        if !is_probe {
            let host = uri.host().unwrap().to_owned();
            *self.token_requests.lock().unwrap().entry(host).or_default() += 1;
        }
        let _in_flight = InFlight::new(self.in_flight.clone());
        match self.status {
            Some(status) => Ok(Response::builder().status(status).body(Bytes::new()).unwrap()),
            None if is_probe => Ok(Response::new(Bytes::new())),
            None => std::future::pending().await,
        }
    }
}

/// Counts until it is dropped.
struct InFlight(Arc<AtomicUsize>);

impl InFlight {
    fn new(count: Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Only bounds a test that fails.
const LIMIT: Duration = Duration::from_secs(55);
