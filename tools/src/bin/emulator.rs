//! Measures the emulator's command: start, memory, token requests, and 30 days by the clock.
//!
//! ```text
//! scripts/static && cargo run --release --package tools --bin emulator -- target/HOST/static/entra-workload
//! ```
//!
//! Linux. The server runs on the first core, this program on the second. With `--azurite FILE`, the start and the memory
//! of Azurite's Blob service are measured beside it (`scripts/azurite` installs it).
#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a program that times its steps and talks to its user"
)]

use std::error::Error;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use clap::Parser;
use futures::future::try_join_all;
use serde_json::Value;

#[derive(Parser)]
struct Arguments {
    /// The command `entra-workload`
    command: PathBuf,
    /// `dist/src/blob/main.js` of Azurite
    #[arg(long)]
    azurite: Option<PathBuf>,
    /// For how long tokens are requested
    #[arg(long, default_value_t = 5)]
    seconds: u64,
}

type Failure = Box<dyn Error>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let arguments = Arguments::parse();
    println!("size: {} bytes", fs::metadata(&arguments.command)?.len());
    let start = || {
        let mut command = Command::new("taskset");
        command.args(["-c", "0"]).arg(&arguments.command);
        command.args(["emulator", "serve", "--json"]);
        Server::start(command, "{")
    };
    let mut starts = Vec::new();
    for _ in 0..STARTS {
        starts.push(start()?.ready_after);
    }
    report_starts("emulator", &mut starts);

    let server = start()?;
    println!("emulator: {} kB resident, idle", server.resident()?);
    let state: Value = serde_json::from_str(&server.line)?;
    let workload = Workload::new(&state)?;
    workload.token().await?;
    println!("emulator: {} kB resident, after a token", server.resident()?);
    let (began, mut count) = (Instant::now(), 0);
    while began.elapsed() < Duration::from_secs(arguments.seconds) {
        try_join_all((0..CONNECTIONS).map(|_| workload.token())).await?;
        count += CONNECTIONS;
    }
    let seconds = began.elapsed().as_secs_f64();
    println!(
        "emulator: {:.0} token requests a second on one core, each verified",
        f64::from(count) / seconds
    );
    println!(
        "emulator: {} kB resident, after {count} tokens",
        server.resident()?
    );

    let began = Instant::now();
    for _ in 0..30 * 24 {
        workload.token().await?;
        workload.advance().await?;
    }
    println!(
        "emulator: {:.2} s for 30 days, a token each hour",
        began.elapsed().as_secs_f64()
    );
    drop(server);

    if let Some(azurite) = arguments.azurite {
        let start = || {
            let mut command = Command::new("taskset");
            command.args(["-c", "0", "node"]).arg(&azurite);
            command.args([
                "--inMemoryPersistence",
                "--blobPort",
                "0",
                "--skipApiVersionCheck",
            ]);
            Server::start(command, "Azurite Blob service successfully listens")
        };
        let mut starts = Vec::new();
        for _ in 0..STARTS {
            starts.push(start()?.ready_after);
        }
        report_starts("Azurite", &mut starts);
        println!("Azurite: {} kB resident, idle", start()?.resident()?);
    }
    Ok(())
}

fn report_starts(name: &str, starts: &mut [Duration]) {
    starts.sort();
    let milliseconds = |time: Option<&Duration>| time.map_or(0.0, Duration::as_secs_f64) * 1e3;
    println!(
        "{name}: ready after {:.0} ms (median of {STARTS}; longest {:.0} ms)",
        milliseconds(starts.get(starts.len() / 2)),
        milliseconds(starts.last())
    );
}

/// A running server. Dropping it ends it.
struct Server {
    child: Child,
    /// The line that says it is ready.
    line: String,
    ready_after: Duration,
}

impl Server {
    fn start(mut command: Command, ready: &str) -> Result<Self, Failure> {
        let began = Instant::now();
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        let stdout = child.stdout.take().ok_or("no output")?;
        let mut lines = BufReader::new(stdout).lines();
        let line = lines.find(|line| line.as_ref().is_ok_and(|line| line.contains(ready)));
        Ok(Self {
            child,
            line: line.ok_or("it was never ready")??,
            ready_after: began.elapsed(),
        })
    }

    /// In kB.
    fn resident(&self) -> Result<u64, Failure> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.and_then(|line| line.split_whitespace().next());
        Ok(number.ok_or("no VmRSS")?.parse()?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}

/// The pod of a server. Its connections are kept.
struct Workload {
    http: reqwest::Client,
    token_url: String,
    admin_url: String,
    client_id: String,
    token_file: PathBuf,
}

impl Workload {
    fn new(state: &Value) -> Result<Self, Failure> {
        let text = |pointer: &str| {
            let value = state.pointer(pointer).and_then(Value::as_str);
            value
                .map(str::to_owned)
                .ok_or_else(|| format!("there is no {pointer}"))
        };
        let ca = fs::read(text("/caFile")?)?;
        let root = reqwest::Certificate::from_pem(&ca)?;
        Ok(Self {
            http: reqwest::Client::builder()
                .tls_certs_only([root])
                .no_proxy()
                .build()?,
            token_url: format!(
                "{}{}/oauth2/v2.0/token",
                text("/authorityHost")?,
                text("/tenantId")?
            ),
            admin_url: text("/adminUrl")?,
            client_id: text("/variables/AZURE_CLIENT_ID")?,
            token_file: text("/variables/AZURE_FEDERATED_TOKEN_FILE")?.into(),
        })
    }

    async fn token(&self) -> Result<(), Failure> {
        let body = format!(
            "grant_type=client_credentials&client_id={}&client_assertion_type={ASSERTION_TYPE}&client_assertion={}&scope={SCOPE}",
            self.client_id,
            fs::read_to_string(&self.token_file)?
        );
        let request = self.http.post(&self.token_url).body(body);
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        let response = request.send().await?.error_for_status()?;
        response.bytes().await?;
        Ok(())
    }

    async fn advance(&self) -> Result<(), Failure> {
        let url = format!("{}/clock/advance", self.admin_url);
        let request = self.http.post(url).body(r#"{"by":"1h"}"#);
        request.send().await?.error_for_status()?;
        Ok(())
    }
}

const STARTS: usize = 20;
const CONNECTIONS: u32 = 8;
const ASSERTION_TYPE: &str = "urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer";
const SCOPE: &str = "https%3A%2F%2Fvault.azure.net%2F.default";
