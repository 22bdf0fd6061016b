//! What both sample programs do alike: log to stderr, and tell why they failed.

use std::error::Error;
use std::io::{self, Write as _};
use std::process::ExitCode;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// Warnings go to stderr; `RUST_LOG` asks for more or less.
pub(crate) fn log_to_stderr() {
    let filter = EnvFilter::builder()
        .with_default_directive(LevelFilter::WARN.into())
        .from_env_lossy();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .init();
}

/// Exit code 0, or 1 after one line with the failure and all its causes.
pub(crate) fn exit_code(result: Result<(), Box<dyn Error>>) -> ExitCode {
    let Err(error) = result else {
        return ExitCode::SUCCESS;
    };
    // Nobody is left to tell if stderr is closed.
    let _ = writeln!(io::stderr(), "error: {}", chain(error.as_ref()));
    ExitCode::FAILURE
}

/// `a: b: c` on one line, without the causes that the text before them repeats.
fn chain(error: &dyn Error) -> String {
    let mut text = one_line(error);
    let mut cause = error.source();
    while let Some(error) = cause {
        let message = one_line(error);
        if !text.contains(&message) {
            text = format!("{text}: {message}");
        }
        cause = error.source();
    }
    text
}

fn one_line(error: &dyn Error) -> String {
    error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}
