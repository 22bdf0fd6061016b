use std::ffi::{OsStr, OsString};
use std::process::ExitCode;

use clap::Args;
use tokio::process::Command;

use crate::{Failure, escape};

/// Becomes a program that the system ends with this process's parent
#[derive(Args)]
pub(super) struct Arguments {
    /// The process of `run`
    #[arg(long)]
    parent: i32,
    #[arg(required = true, last = true)]
    command: Vec<OsString>,
}

/// Returns a command for a program that ends with this process, even if this one is killed.
///
/// Only a process itself can ask Linux for a signal at the end of its parent. So this program is started again, asks, and becomes
/// the other one.
pub(super) fn command(program: &OsStr, arguments: &[OsString]) -> Command {
    let mut command = Command::new(program);
    if cfg!(target_os = "linux") && std::fs::exists(THIS).is_ok_and(|exists| exists) {
        command = Command::new(THIS);
        command.args(["emulator", super::EXEC, "--parent"]);
        command.arg(std::process::id().to_string()).arg("--").arg(program);
    }
    command.args(arguments);
    command
}

/// Returns only if the program cannot be started, or if the parent has ended in the meantime.
#[cfg(target_os = "linux")]
pub(super) fn exec(arguments: &Arguments) -> Result<ExitCode, Failure> {
    use std::os::unix::process::CommandExt as _;

    use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};

    // A program can catch this signal to end its own children.
    set_parent_process_death_signal(Some(Signal::TERM))?;
    if getppid().map(Pid::as_raw_pid) != Some(arguments.parent) {
        return Err("the emulator has ended".into());
    }
    let (program, rest) = arguments.command.split_first().ok_or("there is no program")?;
    let error = std::process::Command::new(program).args(rest).exec();
    Err(cannot_be_started(program, &error))
}

#[cfg(not(target_os = "linux"))]
pub(super) fn exec(_arguments: &Arguments) -> Result<ExitCode, Failure> {
    Err("only Linux ends a program with its parent".into())
}

pub(super) fn cannot_be_started(program: &OsStr, error: &std::io::Error) -> Failure {
    format!("{} cannot be started: {error}", escape::path(program.as_ref())).into()
}

const THIS: &str = "/proc/self/exe";
