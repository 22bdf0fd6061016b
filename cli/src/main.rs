//! `entra-workload`: finds out why a pod gets no Azure token, before and after it is deployed, and emulates Azure.

mod catalog;
mod doctor;
#[cfg(feature = "emulator")]
mod emulator;
mod escape;
mod lint;
mod remedy;
mod roots;
mod token;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

fn main() -> ExitCode {
    let command = match Cli::try_parse() {
        Ok(cli) => cli.command,
        Err(error) => {
            let is_usage_error = error.use_stderr();
            let printed = if is_usage_error {
                write!(io::stderr(), "{}", escape::lines(&error.render().to_string()))
            } else {
                error.print()
            };
            return match printed {
                Ok(()) if is_usage_error => ExitCode::from(USAGE),
                Ok(()) => ExitCode::SUCCESS,
                Err(_) => ExitCode::FAILURE,
            };
        }
    };
    match run(command) {
        Ok(code) => code,
        Err(error) if is_broken_pipe(&error) => ExitCode::from(BROKEN_PIPE),
        Err(error) => {
            let error = error.to_string();
            let _ = writeln!(io::stderr(), "entra-workload: {}", escape::lines(&error));
            ExitCode::from(USAGE)
        }
    }
}

fn run(command: Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Doctor(arguments) => doctor::run(&arguments),
        #[cfg(feature = "emulator")]
        Command::Emulator(arguments) => runtime()?.block_on(emulator::run(&arguments)),
        Command::Lint(arguments) => lint::run(&arguments),
        Command::Token(arguments) => runtime()?.block_on(token::run(&arguments)),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "entra-workload", &mut script);
            io::stdout().write_all(&script)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

fn is_broken_pipe(error: &Failure) -> bool {
    let error = error.downcast_ref::<io::Error>();
    error.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// Why the command itself failed: wrong arguments, unreadable files, no output.
type Failure = Box<dyn std::error::Error>;

/// Tools for AKS workload identity: find out why a pod gets no Azure token, before and after it is deployed, and test
/// without a cloud.
#[derive(Parser)]
#[command(name = "entra-workload", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Doctor(Box<doctor::Arguments>),
    #[cfg(feature = "emulator")]
    Emulator(emulator::Arguments),
    Lint(lint::Arguments),
    Token(token::Arguments),
    /// Prints a completion script for a shell.
    Completions {
        /// The shell.
        shell: Shell,
    },
}

/// What a shell shows for a program that SIGPIPE ended: the reader has not seen the whole output.
const BROKEN_PIPE: u8 = 141;
/// `EX_USAGE` of sysexits.h. Lower codes say who can fix what a check has found.
const USAGE: u8 = 64;
