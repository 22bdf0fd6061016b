//! `entra-workload doctor`: what is wrong with this pod, who can mend it, and how.

mod cluster;
mod process;
mod text;

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clap::Args;
use entra_workload::Environment;
use entra_workload::diagnose::{DiagnoseOptions, Owner, Report, Step, diagnose};
use tokio::time::Instant;

use crate::Failure;
use crate::lint;
use crate::roots::AnyRoots;

/// Checks the workload identity of this pod, and prints what is wrong, who can mend it, and how
///
/// Exit codes: 0 healthy, 1 the developer can mend it or it passes by itself, 2 a cluster administrator must, 3 a
/// tenant administrator must, 64 wrong arguments.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
#[expect(clippy::doc_markdown, reason = "help is plain text")]
pub(crate) struct Arguments {
    /// Request a token for this scope, such as https://vault.azure.net/.default
    #[arg(long)]
    scope: Option<String>,
    /// Also read from this Blob account, container or blob
    #[arg(long, value_name = "URL", value_parser = url)]
    blob: Option<String>,
    /// Also list the secrets of this Key Vault
    #[arg(long, value_name = "URL", value_parser = url)]
    vault: Option<String>,
    /// Check the pod of this process, from an ephemeral container that shares its process namespace
    #[arg(long, value_name = "PID")]
    pid: Option<u32>,
    /// Check a service account of the cluster of the kubeconfig: what will its pods get?
    #[arg(long, value_name = "NAMESPACE/NAME", group = "target", conflicts_with = "pid")]
    service_account: Option<cluster::Name>,
    /// The same for the service account of a Deployment
    #[arg(long, value_name = "NAMESPACE/NAME", group = "target", conflicts_with = "pid")]
    deployment: Option<cluster::Name>,
    /// The same for the service account of a pod
    #[arg(long, value_name = "NAMESPACE/NAME", group = "target", conflicts_with = "pid")]
    pod: Option<cluster::Name>,
    /// The time limit of each check, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    timeout: u64,
    /// Repeat until the pod is healthy
    #[arg(long)]
    watch: bool,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

impl Arguments {
    fn target(&self) -> Option<cluster::Target> {
        let Self {
            service_account,
            deployment,
            pod,
            ..
        } = self;
        let service_account = service_account.clone().map(cluster::Target::ServiceAccount);
        let deployment = deployment.clone().map(cluster::Target::Deployment);
        service_account
            .or(deployment)
            .or(pod.clone().map(cluster::Target::Pod))
    }
}

pub(crate) async fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let mut shown = None;
    loop {
        let live = match arguments.target() {
            Some(target) => Some(cluster::read(&target, std::env::vars_os()).await?),
            None => None,
        };
        let lint = live
            .as_ref()
            .map(|live| lint::of_objects(&live.objects))
            .transpose()?;
        let environment = match (arguments.pid, &live) {
            (Some(pid), _) => Some(process::environment(pid)?),
            (None, Some(live)) => live.environment.clone(),
            (None, None) => Some(Environment::from_process()),
        };
        let report = match &environment {
            Some(environment) => Some(report(arguments, environment).await?),
            None => None,
        };
        let text = if arguments.json {
            serde_json::to_string_pretty(&document(report.as_ref(), live.as_ref(), lint.as_ref()))? + "\n"
        } else {
            let notes = live.iter().flat_map(|live| &live.notes);
            let notes = notes.flat_map(|note| ["note: ", note, "\n"]).collect::<String>();
            let of_objects = lint.as_ref().map(|lint| lint.text.clone()).unwrap_or_default();
            let are_wrong = lint.as_ref().is_some_and(|lint| lint.owner.is_some());
            let of_report = match &report {
                Some(report) => text::report(report, are_wrong),
                None => text::binding(are_wrong),
            };
            of_objects + &notes + &of_report
        };
        // While it watches, only changes are news.
        if shown.as_ref() != Some(&text) {
            anstream::stdout().lock().write_all(text.as_bytes())?;
            shown = Some(text);
        }
        let of_lint = lint.as_ref().and_then(|lint| lint.owner);
        let is_healthy = report.as_ref().is_none_or(Report::is_healthy) && of_lint.is_none();
        if !arguments.watch || is_healthy {
            // What is wrong with the objects comes before what follows from it.
            let owner = of_lint.or_else(|| owner_of_cause(report.as_ref()?));
            return Ok(ExitCode::from(owner.map_or(0, exit_code)));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn report(arguments: &Arguments, environment: &Environment) -> Result<Report, Failure> {
    let step = Arc::new(Mutex::new(None));
    let current = Arc::clone(&step);
    let mut options = DiagnoseOptions::new()
        .timeout(Duration::from_secs(arguments.timeout))
        .transport(AnyRoots::new()?)
        .on_step(move |step| {
            *current.lock().unwrap_or_else(PoisonError::into_inner) = Some((step, Instant::now()));
        });
    if let Some(scope) = &arguments.scope {
        options = options.scope(scope);
    }
    if let Some(url) = &arguments.blob {
        options = options.blob(url);
    }
    if let Some(url) = &arguments.vault {
        options = options.vault(url);
    }
    if let Some(pid) = arguments.pid {
        options = options.api_token_file(process::api_token_file(pid));
    }
    let mut diagnosis = std::pin::pin!(diagnose(environment, &options));
    loop {
        tokio::select! {
            report = &mut diagnosis => {
                let target = arguments.target();
                return Ok(match target {
                    Some(cluster::Target::Deployment(name)) => with_deployment(report, &name),
                    _ => report,
                });
            }
            () = tokio::time::sleep(NOTICEABLE) => show_progress(*step.lock().unwrap_or_else(PoisonError::into_inner)),
        }
    }
}

fn url(text: &str) -> Result<String, String> {
    let uri: http::Uri = text.parse().map_err(|_| "it is not a URL".to_owned())?;
    match (uri.scheme_str(), uri.host()) {
        (Some("https" | "http"), Some(_)) => Ok(text.to_owned()),
        _ => Err("it must be a URL, such as https://myvault.vault.azure.net".to_owned()),
    }
}

/// A token that was not made for a pod does not name its Deployment.
fn with_deployment(mut report: Report, name: &cluster::Name) -> Report {
    let findings = report.findings.iter_mut();
    for remedy in findings.flat_map(|finding| &mut finding.remedies) {
        let named = format!("deployment {}", name.name);
        remedy.text = remedy.text.replace("deployment DEPLOYMENT", &named);
    }
    report
}

/// Says what takes so long, on a terminal.
fn show_progress(step: Option<(Step, Instant)>) {
    let Some((step, since)) = step.filter(|(_, since)| since.elapsed() >= NOTICEABLE) else {
        return;
    };
    let mut stderr = io::stderr();
    if stderr.is_terminal() {
        let _ = writeln!(
            stderr,
            "still checking the {step} ({} s)",
            since.elapsed().as_secs()
        );
    }
}

/// The report, and its cause by code.
fn document(
    report: Option<&Report>,
    live: Option<&cluster::Live>,
    lint: Option<&lint::OfObjects>,
) -> serde_json::Value {
    let objects_are_right = lint.is_none_or(|lint| lint.owner.is_none());
    serde_json::json!({
        "lint": lint.map(|lint| &lint.findings),
        "notes": live.map(|live| &live.notes),
        "healthy": report.is_none_or(Report::is_healthy) && objects_are_right,
        "cause": report.and_then(Report::cause).map(|finding| finding.code.to_string()),
        "checks": report.map(|report| &report.checks),
        "findings": report.map(|report| &report.findings),
    })
}

fn owner_of_cause(report: &Report) -> Option<Owner> {
    let cause = report.cause().filter(|_| !report.is_healthy());
    cause.map(|cause| cause.owner)
}

/// Who must mend something, the farther the higher.
pub(crate) fn exit_code(owner: Owner) -> u8 {
    match owner {
        Owner::ClusterAdmin => 2,
        Owner::TenantAdmin => 3,
        _ => 1,
    }
}

/// From here on, people wonder.
const NOTICEABLE: Duration = Duration::from_secs(1);

/// Between two reports of `--watch`: a new federated credential takes minutes.
const PAUSE: Duration = Duration::from_secs(5);

const EXAMPLES: &str = "Examples:
  entra-workload doctor --vault https://myvault.vault.azure.net
  entra-workload doctor --deployment shop/orders
  kubectl debug -it POD --image IMAGE --target CONTAINER --profile sysadmin -- entra-workload doctor --pid 1";
