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

/// Gets tokens for who is logged in to the Azure CLI (`az login`).
///
/// It is `azure_identity`'s credential behind this crate's cache, so that `az` runs once for a token and not for a call.
///
/// # Errors
///
/// [`ErrorKind::Unavailable`] if `az` is not on the `PATH`, or nobody is logged in; [`ErrorKind::Rejected`] if it runs and fails;
/// [`ErrorKind::Transport`] if it does not end within 30 s.
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

/// Gets tokens for who is logged in to the Azure Developer CLI (`azd auth login`); otherwise as [`AzureCliCredential`].
#[derive(Debug)]
pub struct AzureDeveloperCliCredential(Cache);

impl AzureCliCredential {
    /// The credential of the `az` on this process's `PATH`.
    pub fn new() -> Arc<Self> {
        Self::with(&Environment::from_process(), None)
    }

    /// The credential of the `az` on the `PATH` of `environment`.
    pub(crate) fn with(environment: &Environment, clock: Option<Arc<dyn Clock>>) -> Arc<Self> {
        Arc::new(Self(DeveloperTool::cache(Tool::Az, environment, clock)))
    }
}

impl AzureDeveloperCliCredential {
    /// The credential of the `azd` on this process's `PATH`.
    pub fn new() -> Arc<Self> {
        Self::with(&Environment::from_process(), None)
    }

    /// The credential of the `azd` on the `PATH` of `environment`.
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

    /// What the tool says where nobody is logged in. Other failures advise to log in too, and are failures.
    fn logged_out(self) -> &'static str {
        match self {
            Self::Az => "Please run 'az login' to setup account",
            Self::Azd => "not logged in",
        }
    }

    /// What makes somebody logged in.
    fn login(self) -> &'static str {
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

    /// Whether there is such a program. Looks at the file system, which for the folders of a `PATH` takes microseconds.
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

    fn failure(&self, error: azure_core::Error) -> Error {
        let (program, login) = (self.tool.program(), self.tool.login());
        let text = error.to_string();
        if text.contains(self.tool.logged_out()) && !text.contains("AADSTS") {
            return Error::unavailable(format!("nobody is logged in to {program}; run `{login}`"))
                .with_source(error);
        }
        let timed_out = |cause: &io::Error| cause.kind() == io::ErrorKind::TimedOut;
        if sdk::error::causes(&error)
            .filter_map(|cause| cause.downcast_ref())
            .any(timed_out)
        {
            return Error::transport(format!("{program} did not end within {TIMEOUT:?}")).with_source(error);
        }
        Error::new(ErrorKind::Rejected, format!("{program} gave no token")).with_source(error)
    }
}

#[async_trait]
impl TokenSource for DeveloperTool {
    async fn fetch(&self, request: &TokenRequest<'_>, _: Urgency) -> Result<Grant, Error> {
        let program = self.tool.program();
        if request.requested_claims().is_some() || request.scopes().len() != 1 {
            return Err(Error::configuration(format!(
                "{program} takes one scope and no claims"
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
            .map_err(|error| self.failure(error))?;
        Ok(sdk::token::from_sdk(&token, requested_at))
    }
}

/// Runs a tool with a `PATH` of its own and without a terminal, and ends it when it takes too long.
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

/// How programs are called on Windows, where the Azure CLI is a script; elsewhere a name is a name.
#[cfg(windows)]
const PROGRAM_SUFFIXES: [&str; 3] = [".cmd", ".exe", ".bat"];

#[cfg(not(windows))]
const PROGRAM_SUFFIXES: [&str; 1] = [""];

/// A cold `az` on a slow laptop takes ten seconds; the SDKs for Go and Python give it as long.
const TIMEOUT: Duration = Duration::from_secs(30);
