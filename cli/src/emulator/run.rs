use std::ffi::OsString;
use std::io::{self, Write as _};
use std::process::{ExitCode, ExitStatus};

use clap::Args;

use super::bound_program::{self, cannot_be_started};
use super::signals::Signals;
use super::{Options, Running, seed};
use crate::{Failure, escape};

/// Runs a program with the emulator, and with the variables that lead to it
///
/// The program reaches login.microsoftonline.com, VAULT.vault.azure.net and ACCOUNT.blob.core.windows.net through a
/// proxy, so its code stays as it is. Its exit code is passed on. At the end, refused requests are listed.
#[derive(Args)]
#[command(after_help = super::EXAMPLES)]
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
    // While this waits for a pipe, a signal ends it.
    let seed = seed::read(&arguments.options.seed)?;
    // Before the child and the files, so that no signal ends this process without them.
    let mut signals = Signals::new()?;
    let running = Running::start(&arguments.options, seed, None).await?;
    let (program, rest) = arguments.command.split_first().ok_or("there is no program")?;
    let mut command = bound_program::command(program, rest);
    running.variables.apply(&mut command);
    let mut child = command
        .spawn()
        .map_err(|error| cannot_be_started(program, &error))?;
    let status = signals.pass_on_until_exit(&mut child).await?;
    if !arguments.quiet {
        let mut stderr = io::stderr().lock();
        for (line, count) in running.emulator.refusals() {
            let times = if count > 1 {
                format!(" ({count} times)")
            } else {
                String::new()
            };
            // The exit code of the program matters more than a reader that has gone.
            let _ = writeln!(stderr, "entra-workload: refused{times}: {}", escape::line(&line));
        }
    }
    Ok(exit_code(status))
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
