//! `entra-workload doctor`: what is wrong with this pod, who can fix it, and how.

mod checklist;
mod cluster;
mod explained;
mod explanation;
#[cfg_attr(not(target_os = "linux"), path = "doctor/no_process.rs")]
mod process;
mod text;

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clap::Args;
use entra_workload::diagnose::{DiagnoseOptions, Report, Step, diagnose};
use entra_workload::{Environment, Owner};
use tokio::time::Instant;

use self::cluster::Live;
use self::explained::Explained;
use self::process::Process;

use crate::Failure;
use crate::escape::{json, line};
use crate::lint;
use crate::roots::AnyRoots;

/// Checks the workload identity of this pod, and reports the cause, who can fix it, and the commands that do
///
/// Exit codes: 0: healthy; 1: requires a developer, or no action (temporary); 2: requires a cluster administrator; 3:
/// requires a tenant administrator; 64: wrong arguments, or the process or the cluster cannot be read.
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
    /// Diagnose the pod of this process, from an ephemeral container that shares its process namespace. Its files are read
    /// with the rights of its user, also if the doctor runs as root
    #[arg(long, value_name = "PID")]
    pid: Option<u32>,
    /// Diagnose a service account through the current kubeconfig context
    #[arg(long, value_name = "NAMESPACE/NAME", group = "target", conflicts_with = "pid")]
    service_account: Option<cluster::Name>,
    /// Diagnose the service account of a Deployment
    #[arg(long, value_name = "NAMESPACE/NAME", group = "target", conflicts_with = "pid")]
    deployment: Option<cluster::Name>,
    /// Diagnose the service account of a pod
    #[arg(long, value_name = "NAMESPACE/NAME", group = "target", conflicts_with = "pid")]
    pod: Option<cluster::Name>,
    /// Send the token to this login host, too, if the variables of the process or the Deployment name it. Without this option,
    /// only the login hosts of Azure's clouds and that of the own AZURE_AUTHORITY_HOST get it
    #[arg(long, value_name = "HOST")]
    allow_authority_host: Vec<String>,
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
    fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout)
    }

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

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    // Before the runtime starts its threads.
    let process = arguments.pid.map(Process::enter).transpose();
    let ended = process.and_then(|process| {
        let runtime = crate::runtime()?;
        let ended = runtime.block_on(check(arguments, process.as_ref()));
        // Does not wait for a file system, or an exec plugin of the kubeconfig, that hangs.
        runtime.shutdown_background();
        ended
    });
    if let Err(error) = &ended
        && arguments.json
    {
        let document = serde_json::json!({ "error": error.to_string() });
        anstream::stdout()
            .lock()
            .write_all((json(&document)? + "\n").as_bytes())?;
    }
    ended
}

async fn check(arguments: &Arguments, process: Option<&Process>) -> Result<ExitCode, Failure> {
    let mut shown = None;
    loop {
        let live = match arguments.target() {
            Some(target) => Some(cluster::read(&target, std::env::vars_os(), arguments.timeout()).await?),
            None => None,
        };
        let lint = live
            .as_ref()
            .map(|live| lint::of_objects(&live.objects))
            .transpose()?;
        let report = match (process, &live) {
            (Some(process), _) => {
                let files = process.files.clone();
                let options = foreign(arguments)?.read_files(move |path| files.read(path));
                Some(report(&process.environment, options).await)
            }
            (None, Some(Live { pod: Some(pod), .. })) => {
                let files = Arc::clone(pod);
                let options = foreign(arguments)?.read_files(move |path| files.read(path));
                Some(report(&pod.environment, options.skip_other_identities()).await)
            }
            (None, Some(Live { pod: None, .. })) => None,
            (None, None) => Some(report(&Environment::from_process(), options(arguments)?).await),
        };
        let deployment = arguments.deployment.as_ref().map(|name| name.name.as_str());
        let explained = report.as_ref().map(|report| Explained::new(report, deployment));
        let text = if arguments.json {
            json(&document(explained.as_ref(), live.as_ref(), lint.as_ref()))? + "\n"
        } else {
            let mut text = lint.as_ref().map(|lint| lint.text.clone()).unwrap_or_default();
            for note in live.iter().flat_map(|live| &live.notes) {
                let _ = writeln!(text, "note: {}", line(note));
            }
            let are_wrong = lint.as_ref().is_some_and(|lint| lint.owner.is_some());
            let of_report = match &explained {
                Some(report) => text::report(report, are_wrong),
                None => text::binding(are_wrong),
            };
            text + &of_report
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

fn options(arguments: &Arguments) -> Result<DiagnoseOptions, Failure> {
    let mut options = DiagnoseOptions::new()
        .timeout(arguments.timeout())
        .transport(AnyRoots::new()?);
    if let Some(scope) = &arguments.scope {
        options = options.scope(scope);
    }
    if let Some(url) = &arguments.blob {
        options = options.blob(url);
    }
    if let Some(url) = &arguments.vault {
        options = options.vault(url);
    }
    Ok(options)
}

/// The options for variables that somebody else has set: they do not decide who gets the token.
fn foreign(arguments: &Arguments) -> Result<DiagnoseOptions, Failure> {
    let own = std::env::var("AZURE_AUTHORITY_HOST").ok();
    let allowed = arguments.allow_authority_host.iter().cloned().chain(own);
    let options = options(arguments)?.known_clouds_only(true);
    Ok(allowed.fold(options, DiagnoseOptions::allow_authority_host))
}

async fn report(environment: &Environment, options: DiagnoseOptions) -> Report {
    let step = Arc::new(Mutex::new(None));
    let current = Arc::clone(&step);
    let options = options.on_step(move |step| {
        *current.lock().unwrap_or_else(PoisonError::into_inner) = Some((step, Instant::now()));
    });
    let mut diagnosis = std::pin::pin!(diagnose(environment, &options));
    loop {
        tokio::select! {
            report = &mut diagnosis => return report,
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

/// Says what takes so long, on a terminal.
fn show_progress(step: Option<(Step, Instant)>) {
    let Some((step, since)) = step.filter(|(_, since)| since.elapsed() >= NOTICEABLE) else {
        return;
    };
    let mut stderr = io::stderr();
    if stderr.is_terminal() {
        let _ = writeln!(
            stderr,
            "still checking the {} ({} s)",
            checklist::name(step),
            since.elapsed().as_secs()
        );
    }
}

/// The report, and its cause by code.
fn document(
    explained: Option<&Explained<'_>>,
    live: Option<&Live>,
    lint: Option<&lint::OfObjects>,
) -> serde_json::Value {
    let report = explained.map(|explained| explained.report);
    let objects_are_right = lint.is_none_or(|lint| lint.owner.is_none());
    serde_json::json!({
        "lint": lint.map(|lint| &lint.findings),
        "notes": live.map(|live| &live.notes),
        "healthy": report.is_none_or(Report::is_healthy) && objects_are_right,
        "cause": report.and_then(Report::cause).map(|finding| finding.code.to_string()),
        "checks": explained.map(|explained| &explained.checks),
        "findings": explained.map(|explained| &explained.findings),
    })
}

fn owner_of_cause(report: &Report) -> Option<Owner> {
    let cause = report.cause().filter(|_| !report.is_healthy());
    cause.map(|cause| cause.owner)
}

/// The exit code names the party that can fix the problem.
pub(crate) fn exit_code(owner: Owner) -> u8 {
    match owner {
        Owner::ClusterAdmin => 2,
        Owner::TenantAdmin => 3,
        _ => 1,
    }
}

/// Show progress after this delay.
const NOTICEABLE: Duration = Duration::from_secs(1);

/// Between two reports of `--watch`: a new federated credential takes minutes.
const PAUSE: Duration = Duration::from_secs(5);

const EXAMPLES: &str = "Examples:
  entra-workload doctor --vault https://myvault.vault.azure.net
  entra-workload doctor --deployment shop/orders
  kubectl debug -it POD --image IMAGE --target CONTAINER --profile sysadmin -- entra-workload doctor --pid 1";
