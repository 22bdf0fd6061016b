use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, Write as _};
use std::process::{ExitCode, ExitStatus};

use clap::Args;
use entra_workload_emulator::{Emulator, RecordedRequest};
use tokio::process::{Child, Command};

use super::{Options, Running};
use crate::Failure;

/// Runs a program with the emulator, and with the variables that lead to it
///
/// The program reaches login.microsoftonline.com, VAULT.vault.azure.net and ACCOUNT.blob.core.windows.net through a
/// proxy, so its code stays as it is. Its exit code is passed on. At the end, refused requests are listed.
#[derive(Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    options: Options,
    /// Do not list refused requests at the end
    #[arg(long)]
    quiet: bool,
    /// The program and its arguments
    #[arg(required = true, last = true)]
    command: Vec<OsString>,
}

pub(super) async fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let running = Running::start(&arguments.options, None).await?;
    let (program, rest) = arguments.command.split_first().ok_or("there is no program")?;
    let mut command = Command::new(program);
    command.args(rest);
    running.variables.apply(&mut command);
    let mut child = command
        .spawn()
        .map_err(|error| format!("{} cannot be started: {error}", program.display()))?;
    let status = wait(&mut child).await?;
    if !arguments.quiet {
        list_refusals(&running.emulator)?;
    }
    Ok(exit_code(status))
}

/// Waits for the child, and passes signals on to it.
#[cfg(unix)]
async fn wait(child: &mut Child) -> io::Result<ExitStatus> {
    use rustix::process::{Pid, Signal, kill_process};
    use tokio::signal::unix::{SignalKind, signal};

    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let id = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    loop {
        let signal = tokio::select! {
            status = child.wait() => return status,
            _ = terminate.recv() => Signal::TERM,
            _ = interrupt.recv() => Signal::INT,
            _ = hangup.recv() => Signal::HUP,
        };
        if let Some(id) = id {
            // It can have ended in the meantime.
            let _ = kill_process(id, signal);
        }
    }
}

#[cfg(not(unix))]
async fn wait(child: &mut Child) -> io::Result<ExitStatus> {
    child.wait().await
}

/// As a shell has it: 128 and the number of the signal.
fn exit_code(status: ExitStatus) -> ExitCode {
    #[cfg(unix)]
    let signal = std::os::unix::process::ExitStatusExt::signal(&status);
    #[cfg(not(unix))]
    let signal: Option<i32> = None;
    let code = status.code().or(signal.map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok())
        .map_or(ExitCode::FAILURE, ExitCode::from)
}

fn list_refusals(emulator: &Emulator) -> io::Result<()> {
    let mut refusals: BTreeMap<String, usize> = BTreeMap::new();
    for request in emulator.requests().iter().filter(|request| is_refusal(request)) {
        let line = format!(
            "{} {} {}: {} {}",
            request.endpoint(),
            request.method(),
            request.path(),
            request.status().unwrap_or_default(),
            request.refusal().unwrap_or_default()
        );
        *refusals.entry(line).or_default() += 1;
    }
    let mut stderr = io::stderr().lock();
    for (line, count) in refusals {
        let times = if count > 1 {
            format!(" ({count} times)")
        } else {
            String::new()
        };
        writeln!(stderr, "entra-workload: refused{times}: {line}")?;
    }
    Ok(())
}

/// Not the challenge that clients of Key Vault ask for first, and nothing that is simply not there.
fn is_refusal(request: &RecordedRequest) -> bool {
    let asks_for_challenge = request.status() == Some(401) && request.header("authorization").is_none();
    request.refusal().is_some() && request.status() != Some(404) && !asks_for_challenge
}
