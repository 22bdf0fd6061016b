use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::time::Duration;

use async_trait::async_trait;
use tokio::process::Command;
use zeroize::Zeroizing;

use super::jwt::Claims;
use super::{AssertionRequest, ClientAssertion};
use crate::env::{External, Form};
use crate::error::{Error, ErrorKind};
use crate::process_group::Programs;
use crate::token::Secret;

/// A source of client assertions that runs a program and takes the JWT that it writes.
///
/// * The program runs for each token request, without a shell and without input, in the environment and
///   the working directory of this process.
/// * Its standard output must be the JWT; white space around it is ignored. Its error output is read and
///   dropped, because it may contain a secret.
/// * At the time limit, and when the credential gives up, the program is killed with all processes that it
///   has started. When it has ended, a process that it has left behind keeps running.
/// * At most four run at a time.
///
/// # Errors
///
/// * [`ErrorKind::Configuration`] if the program cannot be started.
/// * [`ErrorKind::Rejected`] if it fails.
/// * [`ErrorKind::Transport`] if it does not end in time.
/// * [`ErrorKind::Protocol`] if it writes no JWT, or more than 64 KiB.
///
/// No message contains its output or its arguments.
///
/// # Examples
///
/// A service account of Google Cloud as the federated credential of an application:
///
/// ```no_run
/// # fn f() -> Result<(), entra_workload::Error> {
/// use entra_workload::ClientAssertionCredential;
/// use entra_workload::assertion::CommandAssertion;
///
/// let identity_token = CommandAssertion::new("gcloud").args([
///     "auth",
///     "print-identity-token",
///     "--impersonate-service-account=orders@contoso.iam.gserviceaccount.com",
///     "--audiences=api://AzureADTokenExchange",
/// ]);
/// let credential = ClientAssertionCredential::builder()
///     .tenant_id("72f988bf-86f1-41af-91ab-2d7cd011db47")
///     .client_id("7a5ff21b-4f5b-4f5b-9e3e-2c0b5a1d9a10")
///     .assertion(identity_token)
///     .build()?;
/// # Ok(()) }
/// ```
#[must_use]
pub struct CommandAssertion {
    program: External,
    args: Vec<OsString>,
    timeout: Duration,
    programs: Programs,
}

impl CommandAssertion {
    /// Creates a source that runs `program` without arguments.
    ///
    /// * `program`: a path, or a name on the `PATH` of this process.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        Self {
            program: External::new(Form::Program, program.as_ref()),
            args: Vec::new(),
            timeout: TIMEOUT,
            programs: Programs::new(),
        }
    }

    /// Adds arguments.
    pub fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.args
            .extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Sets the time limit of a run. Default: 15 s. The time limit of the credential applies too.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Returns the name of the program, for messages; not that of a whole command line, which may contain a
    /// secret.
    fn name(&self) -> String {
        let name = self.program.as_path().file_name();
        match name.filter(|_| self.program.is_well_formed()) {
            Some(name) => name.to_string_lossy().into_owned(),
            None => "the program".to_owned(),
        }
    }

    fn run_error(&self, error: io::Error) -> Error {
        let name = self.name();
        let error_text = match error.kind() {
            io::ErrorKind::TimedOut => {
                return Error::transport(format!("{name} did not end within {:?}", self.timeout));
            }
            io::ErrorKind::FileTooLarge => {
                return Error::protocol(format!("{name} wrote more than 64 KiB, so it is not a token"));
            }
            io::ErrorKind::NotFound if !self.program.is_well_formed() => {
                "does not exist; pass its arguments to .args(..), apart from its name"
            }
            io::ErrorKind::NotFound => "does not exist; check its path, or the PATH of this process",
            io::ErrorKind::PermissionDenied => "is not executable for this user",
            _ => "cannot be run",
        };
        let program = if self.program.is_well_formed() {
            format!("the program {name}")
        } else {
            name
        };
        Error::configuration(format!("{program} {error_text}")).with_source(error)
    }
}

#[async_trait]
impl ClientAssertion for CommandAssertion {
    async fn assertion(&self, _request: AssertionRequest) -> Result<Secret, Error> {
        let name = self.name();
        let mut command = Command::new(self.program.as_path());
        command.args(&self.args);
        let output = self.programs.output(&mut command, self.timeout, MAX_OUTPUT);
        let output = output.await.map_err(|error| self.run_error(error))?;
        let stdout = Zeroizing::new(output.stdout);
        drop(Zeroizing::new(output.stderr));
        if !output.status.success() {
            let status = output.status;
            return Err(Error::new(
                ErrorKind::Rejected,
                format!("{name} failed ({status}); run it by hand to see why"),
            ));
        }
        let jwt = std::str::from_utf8(&stdout).map(str::trim).map_err(|_| {
            Error::protocol(format!("the output of {name} is not UTF-8, so it is not a token"))
        })?;
        Claims::read(jwt)
            .map_err(|reason| Error::protocol(format!("the output of {name} is not a JWT: {reason}")))?;
        Ok(Secret::from(jwt))
    }
}

/// Without the arguments, which may contain secrets.
impl fmt::Debug for CommandAssertion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CommandAssertion")
            .field("program", &self.program)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// Shorter than the default time limit of a credential, so that the error names the program.
const TIMEOUT: Duration = Duration::from_secs(15);

/// Of each output stream. Entra would reject an assertion of this length.
const MAX_OUTPUT: u64 = 64 * 1024;
