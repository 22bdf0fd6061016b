use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use azure_core::credentials::TokenCredential;
use azure_core::error::ErrorKind as SdkErrorKind;
use azure_identity::{AzureCliCredentialOptions, AzureDeveloperCliCredentialOptions, Executor};

use super::options::GRACE_PERIOD;
use super::sdk::SDK_FETCH_TIMEOUT;
use super::{ClientOptions, client_options, credential, source};
use crate::authority::{AllowedTenants, TenantId};
use crate::blocking::{NO_THREAD, Shared};
use crate::cache::{Cache, DEFAULT_MAX_SLOTS};
use crate::clock::Clock;
use crate::env::Environment;
use crate::error::{Error, ErrorKind};
use crate::exchange::{Grant, TokenSource, Urgency};
use crate::process_group::Programs;
use crate::sdk;
use crate::token::TokenRequest;

/// Gets tokens for the user or service principal that is logged in to the Azure CLI (`az login`).
///
/// It adds this crate's cache to `azure_identity`'s credential, so `az` runs once for each token.
/// At most four `az` run at a time. At the time limit, and when the runtime shuts down, `az` is killed
/// with all processes that it has started. Only the absolute folders of the `PATH` count.
///
/// # Errors
///
/// * [`ErrorKind::Unavailable`] if `az` is not on the `PATH`, is not executable, or if nobody is logged in.
/// * [`ErrorKind::Rejected`] if `az` fails.
/// * [`ErrorKind::Transport`] if `az` does not end within 30 s, or the [timeout](AzureCliCredentialBuilder::timeout).
/// * [`ErrorKind::Protocol`] if `az` writes more than 1 MiB, or something else than a token in JSON.
///
/// No message contains what `az` writes, apart from the codes of Entra.
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

/// Builds an [`AzureCliCredential`].
///
/// # Examples
///
/// ```
/// # fn f() -> Result<(), entra_workload::Error> {
/// let credential = entra_workload::AzureCliCredential::builder()
///     .tenant_id("72f988bf-86f1-41af-91ab-2d7cd011db47")
///     .additionally_allowed_tenants(["contoso.com"])
///     .build()?;
/// # Ok(()) }
/// # f().unwrap();
/// ```
#[derive(Debug, Default)]
pub struct AzureCliCredentialBuilder {
    options: ClientOptions,
}

/// Builds an [`AzureDeveloperCliCredential`].
///
/// # Examples
///
/// ```
/// # fn f() -> Result<(), entra_workload::Error> {
/// let credential = entra_workload::AzureDeveloperCliCredential::builder()
///     .tenant_id("72f988bf-86f1-41af-91ab-2d7cd011db47")
///     .build()?;
/// # Ok(()) }
/// # f().unwrap();
/// ```
#[derive(Debug, Default)]
pub struct AzureDeveloperCliCredentialBuilder {
    options: ClientOptions,
}

credential!(AzureCliCredential);
source!(AzureCliCredential);

impl AzureCliCredential {
    /// Creates a credential that runs the tool on the `PATH` of this process, in the tenant of its
    /// login.
    pub fn new() -> Arc<Self> {
        let environment = Environment::from_process();
        let options = ClientOptions::default();
        Arc::new(Self(DeveloperTool::cache(Tool::Az, None, &environment, &options)))
    }

    /// Returns a builder; all options are optional.
    pub fn builder() -> AzureCliCredentialBuilder {
        AzureCliCredentialBuilder::default()
    }

    /// Creates a credential that runs the tool on the `PATH` of `environment`.
    pub(crate) fn with_options(
        environment: &Environment,
        options: &ClientOptions,
    ) -> Result<Arc<Self>, Error> {
        let tenant_id = options.parse_tenant_id()?;
        let cache = DeveloperTool::cache(Tool::Az, tenant_id, environment, options);
        Ok(Arc::new(Self(cache)))
    }
}

client_options!(AzureCliCredentialBuilder, developer_tool);

impl AzureCliCredentialBuilder {
    /// Builds the credential. Does no I/O.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Configuration`] if the tenant ID is invalid.
    pub fn build(mut self) -> Result<Arc<AzureCliCredential>, Error> {
        let environment = self.options.take_environment();
        AzureCliCredential::with_options(&environment, &self.options)
    }
}

credential!(AzureDeveloperCliCredential);
source!(AzureDeveloperCliCredential);

impl AzureDeveloperCliCredential {
    /// Creates a credential that runs the tool on the `PATH` of this process, in the tenant of its
    /// login.
    pub fn new() -> Arc<Self> {
        let environment = Environment::from_process();
        let options = ClientOptions::default();
        Arc::new(Self(DeveloperTool::cache(
            Tool::Azd,
            None,
            &environment,
            &options,
        )))
    }

    /// Returns a builder; all options are optional.
    pub fn builder() -> AzureDeveloperCliCredentialBuilder {
        AzureDeveloperCliCredentialBuilder::default()
    }

    /// Creates a credential that runs the tool on the `PATH` of `environment`.
    pub(crate) fn with_options(
        environment: &Environment,
        options: &ClientOptions,
    ) -> Result<Arc<Self>, Error> {
        let tenant_id = options.parse_tenant_id()?;
        let cache = DeveloperTool::cache(Tool::Azd, tenant_id, environment, options);
        Ok(Arc::new(Self(cache)))
    }
}

client_options!(AzureDeveloperCliCredentialBuilder, developer_tool);

impl AzureDeveloperCliCredentialBuilder {
    /// Builds the credential. Does no I/O.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Configuration`] if the tenant ID is invalid.
    pub fn build(mut self) -> Result<Arc<AzureDeveloperCliCredential>, Error> {
        let environment = self.options.take_environment();
        AzureDeveloperCliCredential::with_options(&environment, &self.options)
    }
}

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

    fn token_command(self) -> &'static str {
        match self {
            Self::Az => "az account get-access-token",
            Self::Azd => "azd auth token --output json",
        }
    }

    /// Returns the error for a tool that failed, with the codes of Entra in what it wrote.
    fn rejected(self, text: &str) -> Error {
        let numbers = text.split("AADSTS").skip(1).filter_map(|rest| {
            let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            rest.get(..end)?.parse().ok()
        });
        let mut codes: Vec<u32> = numbers.collect();
        codes.dedup();
        let failed = format!("{} returned no token", self.program());
        let named = codes.iter().map(|code| format!("AADSTS{code}"));
        let failed: Vec<String> = std::iter::once(failed).chain(named).collect();
        let message = format!("{}; run `{}` to see why", failed.join(", "), self.token_command());
        Error::new(ErrorKind::Rejected, message).with_aadsts_codes(codes)
    }

    fn login_command(self) -> &'static str {
        match self {
            Self::Az => "az login",
            Self::Azd => "azd auth login",
        }
    }
}

struct DeveloperTool {
    tool: Tool,
    shell: Arc<Shell>,
    search: ProgramSearch,
    /// The tenant of requests that name none. Default: that of the login.
    tenant_id: Option<TenantId>,
    allowed_tenants: AllowedTenants,
    clock: Arc<dyn Clock>,
}

impl DeveloperTool {
    fn cache(
        tool: Tool,
        tenant_id: Option<TenantId>,
        environment: &Environment,
        options: &ClientOptions,
    ) -> Cache {
        let clock = options.clock();
        let timeout = options.timeout_or(TIMEOUT);
        let source = Self {
            tool,
            shell: Arc::new(Shell {
                path: environment.program_path(),
                programs: Programs::new(),
                timeout,
            }),
            search: ProgramSearch::new(tool.program(), &environment.program_folders()),
            tenant_id,
            allowed_tenants: options.allowed_tenants(environment),
            clock: clock.clone(),
        };
        let max_slots = options.max_cached_tokens.unwrap_or(DEFAULT_MAX_SLOTS);
        let fetch_timeout = SDK_FETCH_TIMEOUT.max(timeout + GRACE_PERIOD);
        Cache::new(Arc::new(source), clock, fetch_timeout, max_slots)
    }

    fn tenant(&self, requested: Option<&str>) -> Result<Option<TenantId>, Error> {
        match requested {
            Some(requested) => self.allowed_tenants.check(requested, self.tenant_id.as_ref()),
            None => Ok(self.tenant_id.clone()),
        }
    }

    fn credential(&self, tenant_id: Option<TenantId>) -> azure_core::Result<Arc<dyn TokenCredential>> {
        let executor: Option<Arc<dyn Executor>> = Some(self.shell.clone());
        let tenant_id = tenant_id.map(|tenant_id| tenant_id.as_str().to_owned());
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
        // It quotes what the tool wrote, which may contain a secret.
        let text = error.to_string();
        if text.contains(self.tool.logged_out_text()) && !text.contains("AADSTS") {
            return Error::unavailable(format!("nobody is logged in to {program}; run `{login}`"));
        }
        let io_error = sdk::error::causes(&error).find_map(|cause| cause.downcast_ref());
        let converted = match io_error.map(io::Error::kind) {
            Some(io::ErrorKind::TimedOut) => {
                Error::transport(format!("{program} did not end within {:?}", self.shell.timeout))
            }
            Some(io::ErrorKind::FileTooLarge) => Error::protocol(format!("{program} wrote more than 1 MiB")),
            Some(_) => Error::new(ErrorKind::Rejected, format!("{program} cannot be run")),
            None if is_unexpected_output(&error) => {
                let command = self.tool.token_command();
                return Error::protocol(format!(
                    "{program} did not write a token in JSON; run `{command}` to see what it writes"
                ));
            }
            None => return self.tool.rejected(&text),
        };
        converted.with_source(error)
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
        let tenant_id = self.tenant(request.requested_tenant_id())?;
        let is_found = self.search.finds(is_executable).await;
        if !is_found.map_err(|error| search_failed(program, error))? {
            return Err(Error::unavailable(format!("{program} is not on the PATH")));
        }
        let credential = self.credential(tenant_id).map_err(|error| {
            Error::configuration(format!("invalid arguments for `{program}`")).with_source(error)
        })?;
        let requested_at = self.clock.now();
        let token = credential
            .get_token(request.scopes(), None)
            .await
            .map_err(|error| self.convert_error(error))?;
        Ok(sdk::token::from_sdk(&token, requested_at))
    }

    fn tenant_id(&self) -> Option<&str> {
        self.tenant_id.as_ref().map(TenantId::as_str)
    }
}

/// Looks for a program in the folders of the `PATH`. A folder can be on a file system that hangs.
struct ProgramSearch {
    files: Vec<PathBuf>,
    running: Shared<bool>,
}

impl ProgramSearch {
    fn new(program: &str, folders: &[PathBuf]) -> Self {
        let names = PROGRAM_SUFFIXES.map(|suffix| format!("{program}{suffix}"));
        let files = folders
            .iter()
            .flat_map(|folder| names.iter().map(|name| folder.join(name)));
        Self {
            files: files.collect(),
            running: Shared::default(),
        }
    }

    /// Returns whether one of the files is the program.
    ///
    /// # Errors
    ///
    /// As [`Shared::read`].
    async fn finds(&self, is_program: impl Fn(&Path) -> bool + Send + 'static) -> io::Result<bool> {
        let files = self.files.clone();
        self.running
            .read(move || files.iter().any(|file| is_program(file)))
            .await
    }
}

fn search_failed(program: &str, error: io::Error) -> Error {
    let what = match error.kind() {
        NO_THREAD => "because no thread can be started; raise the limit of processes of the user",
        _ => "in time; check the file systems of the folders of the PATH",
    };
    Error::transport(format!("{program} cannot be looked for {what}")).with_source(error)
}

fn is_executable(file: &Path) -> bool {
    #[cfg(unix)]
    let is_allowed = rustix::fs::access(file, rustix::fs::Access::EXEC_OK).is_ok();
    // On Windows, the extension decides.
    #[cfg(not(unix))]
    let is_allowed = true;
    is_allowed && file.is_file()
}

/// Without the variable `PATH`.
impl fmt::Debug for DeveloperTool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeveloperTool")
            .field("tool", &self.tool)
            .field("tenant_id", &self.tenant_id)
            .finish_non_exhaustive()
    }
}

/// Whether the tool succeeded and wrote something else than a token.
fn is_unexpected_output(error: &azure_core::Error) -> bool {
    sdk::error::causes(error).any(|cause| {
        let of_sdk = cause.downcast_ref::<azure_core::Error>();
        of_sdk.is_some_and(|error| *error.kind() == SdkErrorKind::DataConversion)
            || cause.downcast_ref::<serde_json::Error>().is_some()
    })
}

/// Runs a tool with the `PATH` of an [`Environment`], without input, and with limits of its time
/// and its output.
struct Shell {
    path: Option<OsString>,
    programs: Programs,
    timeout: Duration,
}

impl fmt::Debug for Shell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shell")
    }
}

#[async_trait]
impl Executor for Shell {
    async fn run(&self, program: &OsStr, args: &[&OsStr]) -> io::Result<Output> {
        let mut command = tokio::process::Command::new(program);
        command.args(args);
        if let Some(path) = &self.path {
            command.env("PATH", path);
        }
        self.programs.output(&mut command, self.timeout, MAX_OUTPUT).await
    }
}

/// The file extensions of programs on Windows, where the Azure CLI is a script.
#[cfg(windows)]
const PROGRAM_SUFFIXES: [&str; 3] = [".cmd", ".exe", ".bat"];

#[cfg(not(windows))]
const PROGRAM_SUFFIXES: [&str; 1] = [""];

/// A cold start of `az` on a slow laptop takes ten seconds, which is the whole limit of the SDKs
/// for Go and Python.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A token with its metadata has a few kilobytes.
const MAX_OUTPUT: u64 = 1024 * 1024;

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::mpsc::channel;
    use std::thread;

    use super::*;

    fn search() -> ProgramSearch {
        ProgramSearch::new("az", &[PathBuf::from("/opt/a"), PathBuf::from("/opt/b")])
    }

    #[tokio::test]
    async fn folders_of_the_path_are_read_off_the_threads_of_the_runtime() {
        let runtime = thread::current().id();
        let search = search();
        let is_elsewhere = move |file: &Path| file.starts_with("/opt/b") && thread::current().id() != runtime;
        assert!(search.finds(is_elsewhere).await.unwrap());
        assert!(!search.finds(|_| false).await.unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn search_in_a_folder_that_hangs_ends_in_time_and_has_one_thread() {
        let search = search();
        let (end, ended) = channel::<()>();
        let ended = std::sync::Mutex::new(ended);
        let mut first = pin!(search.finds(move |_| ended.lock().unwrap().recv().is_ok()));
        assert!(futures::poll!(&mut first).is_pending());
        let (start, started) = channel();
        let mut second = pin!(search.finds(move |_| start.send(()).is_ok()));
        assert!(futures::poll!(&mut second).is_pending());
        tokio::time::advance(TIMEOUT).await;
        for search in [first.await, second.await] {
            let error = search_failed("az", search.unwrap_err());
            assert_eq!(error.kind(), ErrorKind::Transport);
            let message =
                "az cannot be looked for in time; check the file systems of the folders of the PATH";
            assert_eq!(error.to_string(), message);
        }
        started.recv().expect_err("a second thread");
        drop(end);
    }
}
