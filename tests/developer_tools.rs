//! The credentials of developer tools, with shell scripts in place of `az` and `azd`.
#![cfg(all(unix, feature = "default-credential"))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "tests"
)]

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use entra_workload::{DefaultAzureCredential, Environment, ErrorKind};
use tempfile::TempDir;

const SCOPES: [&str; 1] = ["https://vault.azure.net/.default"];

/// A folder with a script that is called `az`.
struct Tool(TempDir);

impl Tool {
    fn new(commands: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("az");
        fs::write(&program, format!("#!/bin/sh\n{commands}\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        Self(folder)
    }

    fn credential(&self) -> Arc<DefaultAzureCredential> {
        let environment = Environment::from_iter([
            ("AZURE_TOKEN_CREDENTIALS", "AzureCliCredential".as_ref()),
            ("PATH", self.0.path().as_os_str()),
        ]);
        DefaultAzureCredential::builder()
            .environment(environment)
            .build()
            .unwrap()
    }
}

/// A tool that never ends, nor does the process that it starts. Both hold a FIFO open, so its reader
/// sees the end of the file when the last of them ends.
struct EndlessTool {
    tool: Tool,
    events: Receiver<&'static str>,
}

impl EndlessTool {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap().keep();
        let fifo = folder.join("fifo");
        assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        let tool = Tool::new(&format!(
            "exec 3> '{}'\n/bin/sleep 60 &\necho started >&3\nwait",
            fifo.display()
        ));
        Self {
            tool,
            events: events(folder),
        }
    }

    /// Waits for the next event. The limit only bounds a test that fails.
    fn expect(&self, event: &str) {
        let next = self.events.recv_timeout(Duration::from_secs(10));
        assert_eq!(next, Ok(event));
    }
}

fn events(folder: PathBuf) -> Receiver<&'static str> {
    let (sender, events) = mpsc::channel();
    std::thread::spawn(move || {
        let mut reader = BufReader::new(File::open(folder.join("fifo")).unwrap());
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        sender.send("started").unwrap();
        reader.read_to_string(&mut line).unwrap();
        fs::remove_dir_all(folder).unwrap();
        sender.send("ended").unwrap();
    });
    events
}

#[tokio::test]
async fn all_processes_of_a_tool_end_at_the_time_limit() {
    let tool = EndlessTool::new();
    let credential = tool.tool.credential();
    let token = tokio::spawn(async move { credential.token(&SCOPES).await });
    let tool = tokio::task::spawn_blocking(move || {
        tool.expect("started");
        tool
    });
    let tool = tool.await.unwrap();

    tokio::time::pause();
    let error = token.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Transport, "{error}");
    assert!(error.to_string().contains("did not end within 30s"), "{error}");
    tool.expect("ended");
}

#[test]
fn all_processes_of_a_tool_end_when_the_runtime_is_dropped() {
    let tool = EndlessTool::new();
    let credential = tool.tool.credential();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    runtime.spawn(async move { credential.token(&SCOPES).await });
    tool.expect("started");
    drop(runtime);
    tool.expect("ended");
}

#[tokio::test]
async fn tool_that_writes_more_than_a_mebibyte_is_a_protocol_error() {
    let token = r#"{"accessToken":"a-token","expires_on":4102444800,"tokenType":"Bearer"}"#;
    for commands in [
        format!("printf '%2000000s' ''; echo '{token}'"),
        format!("printf '%2000000s' '' >&2; echo '{token}'"),
        "printf '%2000000s' '' >&2; exit 1".to_owned(),
        "while :; do echo 'endless'; done".to_owned(),
    ] {
        let error = Tool::new(&commands)
            .credential()
            .token(&SCOPES)
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol, "{commands}: {error}");
        assert!(error.to_string().contains("az wrote more than 1 MiB"), "{error}");
    }
}
