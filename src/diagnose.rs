//! What is wrong with the identity of this pod, who can fix it, and how.
//!
//! [`diagnose()`] looks at everything that a token needs, from inside the pod, in the order in which a
//! credential meets it:
//!
//! ```text
//! variables ─► clock ─► token file ─► login host ─► issuer ─► token request ─► resource
//!                                                                    └─► other identities
//! ```
//!
//! Each problem is a [`Finding`]. What depends on a failed check is skipped, so the first error is the
//! cause, and what only follows from it says so. No token is in a report.

mod catalog;
mod finding;
mod issuer;
mod login_host;
mod other_identity;
mod pod;
mod remedy;
mod report;
mod resource;
mod token_file;
mod token_request;
mod variables;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};

use crate::authority::Cloud;
use crate::bounded_file::FileReader;
use crate::clock::{Clock, SystemClock};
use crate::code::Code;
use crate::env::Environment;
use crate::error::Error;
use crate::transport::{HttpTransport, Transport};

pub use catalog::{CATALOG, Entry};
pub use finding::{Evidence, Finding, Remedy, Severity};
pub use pod::Pod;
pub use remedy::{BindingPermission, Federation, Tool};
pub use report::{Check, Report, State, Step};

/// Checks the workload identity of the pod with these variables.
///
/// It makes one token request to each service and retries nothing, so that the report shows the state of
/// now. It reads the token file and the environment, and changes nothing.
///
/// # Cancel safety
///
/// Safe to drop: no request and no program outlives the future.
///
/// # Examples
///
/// ```no_run
/// use entra_workload::Environment;
/// use entra_workload::diagnose::{DiagnoseOptions, diagnose};
///
/// # async fn f() {
/// let options = DiagnoseOptions::new().vault("https://myvault.vault.azure.net");
/// let report = diagnose(&Environment::from_process(), &options).await;
/// match report.cause() {
///     Some(finding) => println!("{}: {} ({})", finding.code, finding.cause, finding.owner),
///     None => println!("healthy"),
/// }
/// # }
/// ```
pub async fn diagnose(environment: &Environment, options: &DiagnoseOptions) -> Report {
    let environment = &environment.clone().with_file_reader(options.file_reader.clone());
    let transport = options.transport.clone();
    let diagnosis = Diagnosis {
        environment,
        options,
        transport: transport.unwrap_or_else(|| Arc::new(HttpTransport::new())),
    };
    let mut report = Report::default();

    diagnosis.start(Step::Variables);
    let variables = variables::check(&diagnosis);
    let mut pod = diagnosis.pod().await;
    // Commands contain it only if it is one.
    if let Some(client_id) = &variables.settings.client_id
        && client_id.is_well_formed()
    {
        pod.client_id = client_id.to_string();
    }
    report.add(variables.check, &pod);
    let settings = variables.settings;

    diagnosis.start(Step::LoginHost);
    let login_host = match &settings.login_host {
        Some(login_host) => login_host::check(&diagnosis, login_host).await,
        None if settings.has_token_proxy && !report.has_failed([Step::Variables]) => {
            login_host::Outcome::replaced_by_token_proxy()
        }
        None => login_host::Outcome::skipped(),
    };
    report.add(login_host.clock, &pod);

    diagnosis.start(Step::TokenFile);
    let token_file = match &settings.token_file {
        Some(path) => token_file::check(&diagnosis, &settings, path, login_host.skew).await,
        None => token_file::Outcome::skipped(),
    };
    report.add(token_file.check, &pod);
    report.add(login_host.check, &pod);

    if let Some(token) = &token_file.token {
        diagnosis.start(Step::Issuer);
        report.add(issuer::check(&diagnosis, &settings, token).await, &pod);
    } else {
        report.skip(Step::Issuer);
    }

    let scope = match options.requested_scope(&settings.cloud) {
        Ok(scope) => scope,
        Err(error) => {
            let finding = Finding::of_error(&error, Code::INVALID_SCOPE);
            report.add(report::Outcome::failed(Step::TokenRequest, finding), &pod);
            return report;
        }
    };
    let has_token = token_file.token.is_some();
    if report.has_failed([Step::Variables, Step::LoginHost]) || !has_token {
        report.skip(Step::TokenRequest);
        // A credential of the environment would use the same login host.
        let is_refused = report.has_error(Code::UNKNOWN_LOGIN_HOST);
        let looks_for_others = !options.skips_other_identities && !is_refused;
        if looks_for_others && (report.has_failed([Step::Variables]) || !has_token) {
            diagnosis.start(Step::OtherIdentity);
            report.add(other_identity::check(&diagnosis, &scope).await, &pod);
        }
        return report;
    }

    diagnosis.start(Step::TokenRequest);
    let request = token_request::check(&diagnosis, token_file.token.as_ref(), &scope).await;
    report.add(request.check, &pod);
    let Some(token) = request.token else {
        return report;
    };
    report.drop_refuted();
    for resource in &options.resources {
        diagnosis.start(Step::Resource);
        let check = resource::check(&diagnosis, &settings, resource, &scope, &token).await;
        report.add(check, &pod);
    }
    report
}

/// What [`diagnose()`] looks at besides the pod itself.
#[derive(Clone)]
#[must_use]
pub struct DiagnoseOptions {
    scope: Option<String>,
    resources: Vec<resource::Resource>,
    timeout: Duration,
    transport: Option<Arc<dyn Transport>>,
    clock: Arc<dyn Clock>,
    api_token_file: PathBuf,
    known_clouds_only: bool,
    allowed_authority_hosts: Vec<String>,
    file_reader: FileReader,
    skips_other_identities: bool,
    on_step: Option<Arc<dyn Fn(Step) + Send + Sync>>,
}

impl Default for DiagnoseOptions {
    fn default() -> Self {
        Self {
            scope: None,
            resources: Vec::new(),
            timeout: TIMEOUT,
            transport: None,
            clock: Arc::new(SystemClock::new()),
            api_token_file: pod::API_TOKEN_FILE.into(),
            known_clouds_only: false,
            allowed_authority_hosts: Vec::new(),
            file_reader: FileReader::default(),
            skips_other_identities: false,
            on_step: None,
        }
    }
}

impl DiagnoseOptions {
    /// The defaults: the token request is for Azure Resource Manager, no resource is asked, and each
    /// request has 10 s.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the scope of the token request, such as `https://vault.azure.net/.default`.
    pub fn scope(mut self, scope: impl Into<String>) -> Self {
        self.scope = Some(scope.into());
        self
    }

    /// Also reads from a Blob account, a container or a blob, by its URL.
    pub fn blob(mut self, url: impl Into<String>) -> Self {
        self.resources.push(resource::Resource::blob(&url.into()));
        self
    }

    /// Also lists the secrets of a Key Vault, by its URL.
    pub fn vault(mut self, url: impl Into<String>) -> Self {
        self.resources.push(resource::Resource::vault(&url.into()));
        self
    }

    /// Sets the time limit of each request, and of a program of a developer tool.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets the transport of all requests but those to a token proxy. Default: [`HttpTransport`].
    pub fn transport(mut self, transport: impl Transport) -> Self {
        self.transport = Some(Arc::new(transport));
        self
    }

    /// Sets the clock that the expiry of the token is compared with.
    #[cfg(feature = "test-util")]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Sets the file with the pod's token for the API server of its cluster. Only its names of namespace,
    /// service account and pod are read, for the commands of a report. It need not exist.
    pub fn api_token_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.api_token_file = path.into();
        self
    }

    /// Sets whether the login host must be that of a [cloud](Cloud) of Microsoft, and a token proxy the API server: for
    /// variables of somebody else, which could send a token anywhere. Every other host is an error then, and nothing is
    /// sent to it. Default: another login host is a warning, except on this machine.
    pub fn known_clouds_only(mut self, known_clouds_only: bool) -> Self {
        self.known_clouds_only = known_clouds_only;
        self
    }

    /// Adds a login host or token proxy that counts as known.
    ///
    /// * `host`: a host, such as `login.example.com:8443`, or an authority host, such as `https://login.example.com`.
    pub fn allow_authority_host(mut self, host: impl Into<String>) -> Self {
        self.allowed_authority_hosts.push(host.into());
        self
    }

    /// Sets how the files that the variables name are read, and that of [`api_token_file`](Self::api_token_file).
    /// Default: from the file system of this process.
    ///
    /// For the variables of another process, whose files this process sees elsewhere or not at all. The function is
    /// called off the runtime's threads and may block.
    pub fn read_files(mut self, read: impl Fn(&Path) -> io::Result<Vec<u8>> + Send + Sync + 'static) -> Self {
        self.file_reader = FileReader::new(Arc::new(read));
        self
    }

    /// Does not look for the identities that a default credential would use in place of workload identity. For the
    /// variables of another machine, where other identities answer.
    pub fn skip_other_identities(mut self) -> Self {
        self.skips_other_identities = true;
        self
    }

    /// Sets a function that is called when a step starts.
    pub fn on_step(mut self, on_step: impl Fn(Step) + Send + Sync + 'static) -> Self {
        self.on_step = Some(Arc::new(on_step));
        self
    }

    fn requested_scope(&self, cloud: &Cloud) -> Result<String, Error> {
        if let Some(scope) = &self.scope {
            return Ok(scope.clone());
        }
        let (service, scope) = match self.resources.first() {
            Some(resource) => (resource.service(), resource.scope(cloud)),
            None => ("Resource Manager", cloud.resource_manager_scope()),
        };
        scope.map(str::to_owned).ok_or_else(|| {
            Error::configuration(format!(
                "the scope of {service} in the cloud {cloud:?} is not known; set the scope"
            ))
            .with_code(Code::INVALID_SCOPE)
        })
    }
}

impl fmt::Debug for DiagnoseOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiagnoseOptions")
            .field("scope", &self.scope)
            .field("resources", &self.resources)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// What all steps of one diagnosis use.
struct Diagnosis<'a> {
    environment: &'a Environment,
    options: &'a DiagnoseOptions,
    transport: Arc<dyn Transport>,
}

impl Diagnosis<'_> {
    fn start(&self, step: Step) {
        if let Some(on_step) = &self.options.on_step {
            on_step(step);
        }
    }

    async fn pod(&self) -> Pod {
        let token_file = self.environment.workload_identity().ok();
        let token_file = token_file.and_then(|variables| variables.token_file);
        let files = token_file
            .map(|token_file| token_file.as_path().to_owned())
            .into_iter()
            .chain([self.options.api_token_file.clone()]);
        Pod::read(files.collect(), self.environment.file_reader()).await
    }

    /// Sends a request within the time limit of a step.
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, Error> {
        let host = request.uri().host().unwrap_or_default().to_owned();
        let sent = tokio::time::timeout(self.options.timeout, self.transport.send(request));
        sent.await.unwrap_or_else(|_| {
            Err(Error::transport(format!("{host} did not respond in time")).with_code(Code::NO_RESPONSE))
        })
    }

    async fn get(&self, url: &str) -> Result<Response<Bytes>, Error> {
        let request = Request::get(url).body(Bytes::new());
        let invalid = |error| Error::configuration(format!("{url:?} is not a URL")).with_source(error);
        self.send(request.map_err(invalid)?).await
    }
}

/// Longer than the connect timeout of 5 s and the slowest responses of Entra.
const TIMEOUT: Duration = Duration::from_secs(10);
