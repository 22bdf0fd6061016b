use std::ffi::{OsStr, OsString};
use std::io;
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use azure_core::credentials::TokenCredential;
use azure_identity::{AzureCliCredentialOptions, AzureDeveloperCliCredentialOptions, Executor};

use super::credential;
use super::sdk::SDK_FETCH_TIMEOUT;
use crate::cache::{Cache, DEFAULT_MAX_SLOTS};
use crate::clock::{Clock, SystemClock};
use crate::env::Environment;
use crate::error::{Error, ErrorKind};
use crate::exchange::{Grant, TokenSource, Urgency};
use crate::sdk;
use crate::token::TokenRequest;

/// Gets tokens for the user or service principal that is logged in to the Azure CLI (`az login`).
///
/// It adds this crate's cache to `azure_identity`'s credential, so `az` runs once for each token.
///
/// # Errors
///
/// * [`ErrorKind::Unavailable`] if `az` is not on the `PATH`, or if nobody is logged in.
/// * [`ErrorKind::Rejected`] if `az` fails.
/// * [`ErrorKind::Transport`] if `az` does not end within 30 s.
///
/// # Examples
///
/// ```no_run
/// # async fn f() -> Result<(), entra_workload::Error> {
/// let credential = entra_workload::AzureCliCredential::new();
/// let token = credential.token(&["https://storage.azure.com/.default"]).await?;
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct AzureCliCredential(Cache);

/// Gets tokens for the user or service principal that is logged in to the Azure Developer CLI
/// (`azd auth login`); otherwise like [`AzureCliCredential`].
///
/// # Examples
///
/// ```no_run
/// # async fn f() -> Result<(), entra_workload::Error> {
/// let credential = entra_workload::AzureDeveloperCliCredential::new();
/// let token = credential.token(&["https://storage.azure.com/.default"]).await?;
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct AzureDeveloperCliCredential(Cache);

impl AzureCliCredential {
    /// Creates a credential that runs the `az` on the `PATH` of this process.
    pub fn new() -> Arc<Self> {
        Self::with(&Environment::from_process(), None)
    }

    /// Creates a credential that runs the `az` on the `PATH` of `environment`.
    pub(crate) fn with(environment: &Environment, clock: Option<Arc<dyn Clock>>) -> Arc<Self> {
        Arc::new(Self(DeveloperTool::cache(Tool::Az, environment, clock)))
    }
}

impl AzureDeveloperCliCredential {
    /// Creates a credential that runs the `azd` on the `PATH` of this process.
    pub fn new() -> Arc<Self> {
        Self::with(&Environment::from_process(), None)
    }

    /// Creates a credential that runs the `azd` on the `PATH` of `environment`.
    pub(crate) fn with(environment: &Environment, clock: Option<Arc<dyn Clock>>) -> Arc<Self> {
        Arc::new(Self(DeveloperTool::cache(Tool::Azd, environment, clock)))
    }
}

credential!(AzureCliCredential);
credential!(AzureDeveloperCliCredential);

#[derive(Clone, Copy, Debug)]
enum Tool {
    Az,
    Azd,
}

impl Tool {
    fn program(self) -> &'static str {
        match self {
            Self::Az => "az",
            Self::Azd => "azd",
        }
    }

    /// The text by which the tool reports that nobody is logged in. Its other errors recommend to
    /// log in too.
    fn logged_out_text(self) -> &'static str {
        match self {
            Self::Az => "Please run 'az login' to setup account",
            Self::Azd => "not logged in",
        }
    }

    fn login_command(self) -> &'static str {
        match self {
            Self::Az => "az login",
            Self::Azd => "azd auth login",
        }
    }
}

#[derive(Debug)]
struct DeveloperTool {
    tool: Tool,
    path: Option<OsString>,
    folders: Vec<PathBuf>,
    clock: Arc<dyn Clock>,
}

impl DeveloperTool {
    fn cache(tool: Tool, environment: &Environment, clock: Option<Arc<dyn Clock>>) -> Cache {
        let clock = clock.unwrap_or_else(|| Arc::new(SystemClock::new()));
        let source = Self {
            tool,
            path: environment.path().map(OsStr::to_owned),
            folders: environment.program_folders(),
            clock: clock.clone(),
        };
        Cache::new(Arc::new(source), clock, SDK_FETCH_TIMEOUT, DEFAULT_MAX_SLOTS)
    }

    /// Returns whether the program exists. Blocks on the file system, for microseconds.
    fn is_on_path(&self) -> bool {
        let names = PROGRAM_SUFFIXES.map(|suffix| format!("{}{suffix}", self.tool.program()));
        self.folders
            .iter()
            .any(|folder| names.iter().any(|name| folder.join(name).is_file()))
    }

    fn credential(&self, tenant_id: Option<&str>) -> azure_core::Result<Arc<dyn TokenCredential>> {
        let executor: Option<Arc<dyn Executor>> = Some(Arc::new(Shell {
            path: self.path.clone(),
        }));
        let tenant_id = tenant_id.map(str::to_owned);
        Ok(match self.tool {
            Tool::Az => azure_identity::AzureCliCredential::new(Some(AzureCliCredentialOptions {
                executor,
                tenant_id,
                ..AzureCliCredentialOptions::default()
            }))?,
            Tool::Azd => {
                azure_identity::AzureDeveloperCliCredential::new(Some(AzureDeveloperCliCredentialOptions {
                    executor,
                    tenant_id,
                }))?
            }
        })
    }

    fn convert_error(&self, error: azure_core::Error) -> Error {
        let (program, login) = (self.tool.program(), self.tool.login_command());
        let text = error.to_string();
        if text.contains(self.tool.logged_out_text()) && !text.contains("AADSTS") {
            return Error::unavailable(format!("nobody is logged in to {program}; run `{login}`"))
                .with_source(error);
        }
        let is_timeout = |cause: &io::Error| cause.kind() == io::ErrorKind::TimedOut;
        if sdk::error::causes(&error)
            .filter_map(|cause| cause.downcast_ref())
            .any(is_timeout)
        {
            return Error::transport(format!("{program} did not end within {TIMEOUT:?}")).with_source(error);
        }
        Error::new(ErrorKind::Rejected, format!("{program} returned no token")).with_source(error)
    }
}

#[async_trait]
impl TokenSource for DeveloperTool {
    async fn fetch(&self, request: &TokenRequest<'_>, _: Urgency) -> Result<Grant, Error> {
        let program = self.tool.program();
        if request.requested_claims().is_some() || request.scopes().len() != 1 {
            return Err(Error::configuration(format!(
                "{program} supports exactly one scope and no claims"
            )));
        }
        if !self.is_on_path() {
            return Err(Error::unavailable(format!("{program} is not on the PATH")));
        }
        let credential = self.credential(request.requested_tenant_id()).map_err(|error| {
            Error::configuration(format!("invalid arguments for `{program}`")).with_source(error)
        })?;
        let requested_at = self.clock.now();
        let token = credential
            .get_token(request.scopes(), None)
            .await
            .map_err(|error| self.convert_error(error))?;
        Ok(sdk::token::from_sdk(&token, requested_at))
    }
}

/// Runs a tool with the `PATH` of an [`Environment`], without a terminal and with a time limit.
#[derive(Debug)]
struct Shell {
    path: Option<OsString>,
}

#[async_trait]
impl Executor for Shell {
    async fn run(&self, program: &OsStr, args: &[&OsStr]) -> io::Result<Output> {
        let mut command = tokio::process::Command::new(program);
        command.args(args).stdin(Stdio::null()).kill_on_drop(true);
        if let Some(path) = &self.path {
            command.env("PATH", path);
        }
        tokio::time::timeout(TIMEOUT, command.output())
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }
}

/// The file extensions of programs on Windows, where the Azure CLI is a script.
#[cfg(windows)]
const PROGRAM_SUFFIXES: [&str; 3] = [".cmd", ".exe", ".bat"];

#[cfg(not(windows))]
const PROGRAM_SUFFIXES: [&str; 1] = [""];

/// A cold start of `az` on a slow laptop takes ten seconds, which is the whole limit of the SDKs for
/// Go and Python.
const TIMEOUT: Duration = Duration::from_secs(30);
