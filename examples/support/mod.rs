//! What the sample programs have in common: logs on stderr, and one line for a failure.

use std::error::Error;
use std::io::{self, Write as _};
use std::process::ExitCode;

use tracing_subscriber::EnvFilter;

/// Logs warnings to stderr; `RUST_LOG` changes the filter.
pub(crate) fn log_to_stderr() {
    // A token request that fails is the error that the program prints.
    let default = || EnvFilter::new("warn,entra_workload::cache=error");
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| default());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .init();
}

/// Returns exit code 0, or prints the error on one line and returns 1.
pub(crate) fn exit_code(result: Result<(), Box<dyn Error>>) -> ExitCode {
    let Err(error) = result else {
        return ExitCode::SUCCESS;
    };
    // The clients of the SDK wrap the error of the credential, which says what to do.
    let text = match entra_workload::Error::find_in(error.as_ref()) {
        Some(error) => format!("{error:?}"),
        None => with_causes(error.as_ref()),
    };
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    // If stderr is closed, the error cannot be reported.
    let _ = writeln!(io::stderr(), "error: {line}");
    ExitCode::FAILURE
}

/// Returns `a: b: c`. The SDK repeats some texts.
fn with_causes(error: &(dyn Error + 'static)) -> String {
    let mut texts: Vec<_> = std::iter::successors(Some(error), |&error| error.source())
        .map(ToString::to_string)
        .collect();
    texts.dedup();
    texts.join(": ")
}
