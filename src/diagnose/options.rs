use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::finding::Resource;
use super::report::Step;
use crate::authority::Cloud;
use crate::bounded_file::FileReader;
use crate::clock::{Clock, SystemClock};
use crate::code::Code;
use crate::error::Error;
use crate::transport::Transport;

/// What [`diagnose()`](super::diagnose()) looks at besides the pod itself.
#[derive(Clone)]
#[must_use]
pub struct DiagnoseOptions {
    pub(super) scope: Option<String>,
    pub(super) resources: Vec<Resource>,
    pub(super) timeout: Duration,
    pub(super) transport: Option<Arc<dyn Transport>>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) api_token_file: PathBuf,
    pub(super) known_clouds_only: bool,
    pub(super) allowed_authority_hosts: Vec<String>,
    pub(super) file_reader: FileReader,
    pub(super) skips_other_identities: bool,
    pub(super) on_step: Option<Arc<dyn Fn(Step) + Send + Sync>>,
}

impl Default for DiagnoseOptions {
    fn default() -> Self {
        Self {
            scope: None,
            resources: Vec::new(),
            timeout: TIMEOUT,
            transport: None,
            clock: Arc::new(SystemClock::new()),
            api_token_file: API_TOKEN_FILE.into(),
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
        self.resources.push(Resource::blob(&url.into()));
        self
    }

    /// Also lists the secrets of a Key Vault, by its URL.
    pub fn vault(mut self, url: impl Into<String>) -> Self {
        self.resources.push(Resource::vault(&url.into()));
        self
    }

    /// Sets the time limit of each request, and of a program of a developer tool.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets the transport of all requests but those to a token proxy. Default: [`HttpTransport`](crate::transport::HttpTransport).
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

    /// Returns the scope of the token request, in the cloud of the login host.
    pub(super) fn requested_scope(&self, cloud: &Cloud) -> Result<String, Error> {
        if let Some(scope) = &self.scope {
            return Ok(scope.clone());
        }
        let (service, scope) = match self.resources.first() {
            Some(resource) => (resource.service.to_string(), resource.scope(cloud)),
            None => ("Resource Manager".to_owned(), cloud.resource_manager_scope()),
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

/// Longer than the connect timeout of 5 s and the slowest responses of Entra.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Source: Kubernetes, "Configure Service Accounts for Pods".
const API_TOKEN_FILE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";
