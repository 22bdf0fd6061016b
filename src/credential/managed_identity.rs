mod arc;
mod host;
mod metadata_client;
mod reason;
mod schedule;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use azure_core::credentials::TokenCredential;
use azure_core::error::ErrorKind as SdkErrorKind;
use azure_core::http::{ClientOptions as SdkClientOptions, Url};
use azure_identity::{ManagedIdentityCredentialOptions, UserAssignedId};
use bytes::Bytes;
use http::StatusCode;
use tokio::time::Instant;

use super::client::check_client_id;
use super::options::MAX_TIMEOUT;
use super::sdk::SDK_FETCH_TIMEOUT;
use super::{ClientOptions, credential, source};
use crate::cache::{Cache, DEFAULT_MAX_SLOTS};
use crate::clock::{Clock, SystemClock};
use crate::env::{AZURE_POD_IDENTITY_AUTHORITY_HOST, Environment, External, Form, is_client_id, is_secret};
use crate::error::{Error, ErrorKind};
use crate::exchange::{Grant, TokenSource, Urgency};
use crate::guid::is_guid;
use crate::sdk;
use crate::token::TokenRequest;
use crate::transport::Transport;
use host::Host;
use metadata_client::{MetadataClient, Refusal};
use reason::Reason;
use schedule::Schedule;

/// Gets tokens for a managed identity of the virtual machine, node, App Service, Function, Container
/// App, Azure Arc server, Azure ML job, Service Fabric application or Cloud Shell that this process runs
/// on.
///
/// It adds this crate's cache to `azure_identity`'s credential, and distinguishes a machine without
/// a managed identity ([`ErrorKind::Unavailable`]) from a failure. The endpoint is on the same
/// machine and is never called through an HTTP proxy.
///
/// | variable | set by | meaning |
/// | --- | --- | --- |
/// | `IDENTITY_ENDPOINT`, `IDENTITY_HEADER` | App Service, Functions, Container Apps | the endpoint and its secret; `azure_identity` reads them from the process environment |
/// | `IDENTITY_ENDPOINT`, `IMDS_ENDPOINT` | Azure Arc | the endpoint of the agent; system-assigned identity only |
/// | `MSI_ENDPOINT`, `MSI_SECRET`, `DEFAULT_IDENTITY_CLIENT_ID` | Azure ML | the endpoint, its secret, and the identity without an ID of your own; by client ID only |
/// | `IDENTITY_ENDPOINT`, `IDENTITY_HEADER`, `IDENTITY_SERVER_THUMBPRINT` | Service Fabric | the endpoint, its secret, and the SHA-1 of its certificate; the identity is that of the application |
/// | `MSI_ENDPOINT` alone | Cloud Shell | the endpoint; the identity of the user |
/// | `AZURE_POD_IDENTITY_AUTHORITY_HOST` | you | the host that replaces `http://169.254.169.254` |
///
/// In a pod this is an identity of the *node*, which all its pods share;
/// [`WorkloadIdentityCredential`](crate::WorkloadIdentityCredential) is for a pod's own identity.
///
/// Azure Arc, Azure ML, Service Fabric and Cloud Shell are supported by this crate, the others through
/// `azure_identity`.
///
/// # Examples
///
/// ```no_run
/// use entra_workload::ManagedIdentityCredential;
///
/// # fn f() -> Result<(), entra_workload::Error> {
/// let system_assigned = ManagedIdentityCredential::builder().build()?;
/// let user_assigned = ManagedIdentityCredential::builder()
///     .client_id("7a5ff21b-4f5b-4f5b-9e3e-2c0b5a1d9a10")
///     .build()?;
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct ManagedIdentityCredential(Cache);

impl ManagedIdentityCredential {
    /// Returns a builder; all options are optional.
    pub fn builder() -> ManagedIdentityCredentialBuilder {
        ManagedIdentityCredentialBuilder::default()
    }
}

credential!(ManagedIdentityCredential);
source!(ManagedIdentityCredential);

/// The ID of a user-assigned managed identity.
///
/// # Examples
///
/// ```
/// use entra_workload::builder::ManagedIdentityId;
///
/// let id = ManagedIdentityId::ClientId("7a5ff21b-4f5b-4f5b-9e3e-2c0b5a1d9a10".into());
/// assert!(matches!(id, ManagedIdentityId::ClientId(_)));
/// ```
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ManagedIdentityId {
    /// The client ID.
    ClientId(String),
    /// The object ID (principal ID).
    ObjectId(String),
    /// The Azure resource ID.
    ResourceId(String),
}

impl ManagedIdentityId {
    fn to_sdk(&self) -> UserAssignedId {
        match self.clone() {
            Self::ClientId(id) => UserAssignedId::ClientId(id),
            Self::ObjectId(id) => UserAssignedId::ObjectId(id),
            Self::ResourceId(id) => UserAssignedId::ResourceId(id),
        }
    }

    /// Checks the form of the ID before it is sent: it may be a client secret in the wrong variable.
    fn check(&self) -> Result<(), Error> {
        let problem = match self {
            Self::ClientId(id) => return check_client_id(id),
            Self::ObjectId(id) if !is_guid(id) => "object ID of the managed identity: it is not a GUID",
            Self::ResourceId(id) if !id.starts_with('/') || is_secret(id) => {
                "resource ID of the managed identity: it does not begin with /subscriptions/"
            }
            Self::ObjectId(_) | Self::ResourceId(_) => return Ok(()),
        };
        Err(Error::configuration(format!("invalid {problem}")))
    }
}

/// Shows an ID only in its form.
impl fmt::Debug for ManagedIdentityId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, form, id) = match self {
            Self::ClientId(id) => ("ClientId", Form::ClientId, id),
            Self::ObjectId(id) => ("ObjectId", Form::ClientId, id),
            Self::ResourceId(id) => ("ResourceId", Form::Path, id),
        };
        f.debug_tuple(name).field(&External::new(form, id)).finish()
    }
}

/// Builds a [`ManagedIdentityCredential`].
///
/// # Examples
///
/// ```
/// use entra_workload::Environment;
/// use entra_workload::builder::ManagedIdentityCredentialBuilder;
///
/// # fn f() -> Result<(), entra_workload::Error> {
/// let credential = ManagedIdentityCredentialBuilder::default()
///     .probe_first()
///     .environment(Environment::default())
///     .build()?;
/// # Ok(()) }
/// # f().unwrap();
/// ```
#[derive(Debug, Default)]
pub struct ManagedIdentityCredentialBuilder {
    id: Option<ManagedIdentityId>,
    probe_first: bool,
    makes_one_attempt: bool,
    arc_key_folder: Option<PathBuf>,
    environment: Option<Environment>,
    transport: Option<Arc<dyn Transport>>,
    clock: Option<Arc<dyn Clock>>,
    timeout: Option<Duration>,
    /// The tenant of a chain, which requests may name.
    tenant_id: Option<External>,
    max_cached_tokens: Option<usize>,
}

impl ManagedIdentityCredentialBuilder {
    /// Sets the user-assigned identity with this client ID; the same as
    /// [`id`](Self::id) with [`ManagedIdentityId::ClientId`]. Default: the system-assigned identity.
    ///
    /// # Examples
    ///
    /// ```
    /// use entra_workload::ManagedIdentityCredential;
    ///
    /// # fn f() -> Result<(), entra_workload::Error> {
    /// let credential = ManagedIdentityCredential::builder()
    ///     .client_id("7a5ff21b-4f5b-4f5b-9e3e-2c0b5a1d9a10")
    ///     .build()?;
    /// # Ok(()) }
    /// # f().unwrap();
    /// ```
    #[must_use]
    pub fn client_id(self, client_id: impl Into<String>) -> Self {
        self.id(ManagedIdentityId::ClientId(client_id.into()))
    }

    /// Sets a user-assigned identity by any of its IDs. Default: the system-assigned identity.
    #[must_use]
    pub fn id(mut self, id: ManagedIdentityId) -> Self {
        self.id = Some(id);
        self
    }

    /// Probes for the metadata service, for at most one second, before the first token request. A host with an
    /// endpoint of its own, such as App Service, has none and is not probed.
    ///
    /// For a link of a chain: the error is [`ErrorKind::Unavailable`] if there is no metadata
    /// service, if it is not Azure's, or if it has no identity. An error of Azure's that may be temporary
    /// is retried for up to 90 s, with or without the probe, which covers a restart of the service.
    #[must_use]
    pub fn probe_first(mut self) -> Self {
        self.probe_first = true;
        self
    }

    /// Sets the options that a chain has for all its links.
    pub(crate) fn common_options(self, options: ClientOptions) -> Self {
        Self {
            environment: options.environment,
            transport: options.transport,
            clock: options.clock,
            timeout: options.timeout,
            tenant_id: options.tenant_id,
            max_cached_tokens: options.max_cached_tokens,
            ..self
        }
    }

    /// Repeats no token request that has failed.
    #[cfg(feature = "diagnose")]
    pub(crate) fn without_retries(mut self) -> Self {
        self.makes_one_attempt = true;
        self
    }

    /// On Azure Arc, sets the folder that its agent writes its challenge files to; files elsewhere are
    /// never read. Default: `/var/opt/azcmagent/tokens`, on Windows
    /// `%ProgramData%\AzureConnectedMachineAgent\Tokens`.
    #[must_use]
    pub fn arc_key_folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.arc_key_folder = Some(folder.into());
        self
    }

    /// Sets the environment variables. Default: those of the process when [`build`](Self::build) is
    /// called.
    #[must_use]
    pub fn environment(mut self, environment: Environment) -> Self {
        self.environment = Some(environment);
        self
    }

    /// Sets the transport of the requests. Default: an [`HttpTransport`](crate::transport::HttpTransport) without a
    /// proxy; on Service Fabric, one that trusts only the certificate that the host announces. There, a
    /// transport of your own must trust it.
    #[must_use]
    pub fn transport(mut self, transport: impl Transport) -> Self {
        self.transport = Some(Arc::new(transport));
        self
    }

    /// Sets the time limit for getting a token: the probe, all attempts, and the pauses between them.
    /// Default: 3 min, of which attempts start in the first 90 s, or 30 s at an endpoint of the host; at most
    /// one hour.
    ///
    /// A shorter limit than 90 s does not cover an update of the metadata service, which takes up to 70 s.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use entra_workload::ManagedIdentityCredential;
    ///
    /// # fn f() -> Result<(), entra_workload::Error> {
    /// let credential = ManagedIdentityCredential::builder()
    ///     .timeout(Duration::from_secs(10))
    ///     .build()?;
    /// # Ok(()) }
    /// # f().unwrap();
    /// ```
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Sets the clock. Default: [`SystemClock`].
    #[cfg(feature = "test-util")]
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Some(Arc::new(clock));
        self
    }

    /// Builds the credential. Does no I/O.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Configuration`] if `AZURE_POD_IDENTITY_AUTHORITY_HOST` or the variable of a host is
    /// not a URL.
    pub fn build(self) -> Result<Arc<ManagedIdentityCredential>, Error> {
        let environment = self.environment.unwrap_or_else(Environment::from_process);
        let metadata_host = environment.metadata_host()?.map(|host| metadata_host(&host));
        let metadata_host = metadata_host.transpose()?;
        let clock = self.clock.unwrap_or_else(|| Arc::new(SystemClock::new()));
        let timeout = self.timeout.unwrap_or(SDK_FETCH_TIMEOUT).min(MAX_TIMEOUT);
        let host = Host::detect(&environment, self.arc_key_folder)?;
        let has_own_endpoint = environment.hosts_managed_identity();
        let transport = self.transport;
        let source = ManagedIdentity {
            id: self.id,
            tenant_id: self.tenant_id,
            timeout,
            ignores_tenant: environment.disables_multitenant_auth(),
            schedule: if self.makes_one_attempt {
                schedule::ONCE
            } else if has_own_endpoint {
                schedule::HOST
            } else {
                schedule::METADATA_SERVICE
            },
            is_optional: self.probe_first && !has_own_endpoint,
            has_responded: AtomicBool::new(false),
            client: Arc::new(MetadataClient {
                transport: transport.unwrap_or_else(|| Arc::new(Host::transport(host.as_ref()))),
                metadata_host,
                clock: clock.clone(),
            }),
            host,
            clock: clock.clone(),
        };
        Ok(Arc::new(ManagedIdentityCredential(Cache::new(
            Arc::new(source),
            clock,
            timeout,
            self.max_cached_tokens.unwrap_or(DEFAULT_MAX_SLOTS),
        ))))
    }
}

#[derive(Debug)]
struct ManagedIdentity {
    id: Option<ManagedIdentityId>,
    /// The tenant of the chain's options, which requests may name.
    tenant_id: Option<External>,
    /// Whether the tenant of a request is ignored.
    ignores_tenant: bool,
    /// If it is one that `azure_identity` does not support.
    host: Option<Host>,
    schedule: Schedule,
    /// For the probe, all attempts, and the pauses between them.
    timeout: Duration,
    /// Whether a metadata service that is missing, or has no identity, is
    /// [`ErrorKind::Unavailable`].
    is_optional: bool,
    /// Whether the metadata service has ever responded.
    has_responded: AtomicBool,
    client: Arc<MetadataClient>,
    clock: Arc<dyn Clock>,
}

#[async_trait]
impl TokenSource for ManagedIdentity {
    async fn fetch(&self, request: &TokenRequest<'_>, _: Urgency) -> Result<Grant, Error> {
        let deadline = Instant::now() + self.timeout;
        // First, so that a chain on a machine without a metadata service continues, whatever the
        // request names. A host with its own endpoint is never optional.
        if self.is_optional && !self.has_responded.load(Ordering::Relaxed) {
            self.probe().await?;
            self.has_responded.store(true, Ordering::Relaxed);
        }
        let scope = self.check(request)?;
        self.id.as_ref().map_or(Ok(()), ManagedIdentityId::check)?;
        self.schedule.run(deadline, || self.attempt(scope)).await
    }

    fn client_id(&self) -> Option<&str> {
        match &self.id {
            Some(ManagedIdentityId::ClientId(client_id)) => is_client_id(client_id).then_some(client_id),
            _ => None,
        }
    }
}

impl ManagedIdentity {
    async fn attempt(&self, scope: &str) -> Result<Grant, Error> {
        if let Some(host) = &self.host {
            let transport = &*self.client.transport;
            return host.token(scope, self.id.as_ref(), transport, &*self.clock).await;
        }
        // A new one for each attempt: its own cache would return the old token until 5 minutes before
        // the expiry.
        let credential =
            azure_identity::ManagedIdentityCredential::new(Some(ManagedIdentityCredentialOptions {
                user_assigned_id: self.id.as_ref().map(ManagedIdentityId::to_sdk),
                client_options: SdkClientOptions {
                    transport: Some(azure_core::http::Transport::new(self.client.clone())),
                    ..SdkClientOptions::default()
                },
            }))
            // Without the source, which quotes the variables of the host.
            .map_err(|_| Error::configuration(UNSUPPORTED))?;
        let requested_at = self.clock.now();
        let token = credential
            .get_token(&[scope], None)
            .await
            .map_err(|error| self.convert_error(error))?;
        Ok(sdk::token::from_sdk(&token, requested_at))
    }

    /// Checks that a managed identity supports the request, and returns its scope.
    fn check<'a>(&self, request: &TokenRequest<'a>) -> Result<&'a str, Error> {
        let is_own = |requested: &str| {
            let own = self.tenant_id.as_ref().map(External::expose);
            own.is_some_and(|own| own.eq_ignore_ascii_case(requested))
        };
        let other_tenant = request
            .requested_tenant_id()
            .filter(|requested| !self.ignores_tenant && !is_own(requested));
        if other_tenant.is_some() || request.requested_claims().is_some() {
            return Err(Error::configuration(
                "a managed identity supports neither a tenant nor claims in the request",
            ));
        }
        let [scope] = request.scopes() else {
            return Err(Error::configuration(
                "a managed identity supports one scope per request",
            ));
        };
        Ok(scope)
    }

    /// Checks that a metadata service exists. Any response will do: without the `Metadata` header
    /// the service rejects the request.
    async fn probe(&self) -> Result<(), Error> {
        let probe = http::Request::get(METADATA_URL)
            .body(Bytes::new())
            .map_err(|error| {
                Error::configuration("invalid URL of the metadata service").with_source(error)
            })?;
        let missing =
            "there is no metadata service: this machine is not in Azure, or it cannot reach the service";
        match tokio::time::timeout(PROBE_TIMEOUT, self.client.send(probe)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) if error.status().is_some() => Ok(()),
            Ok(Err(error)) => Err(Error::unavailable(missing).with_source(error)),
            Err(_) => Err(Error::unavailable(missing)),
        }
    }

    fn convert_error(&self, error: azure_core::Error) -> Error {
        if let Some(refusal) = sdk::error::causes(&error).find_map(|cause| cause.downcast_ref()) {
            return self.convert_refusal(refusal);
        }
        // Without the source, which quotes the response: it may contain a token.
        if is_unexpected_json(&error) {
            return Error::protocol("the response of the managed identity endpoint has no usable token");
        }
        if !is_not_json(&error) {
            return sdk::error::from_sdk(error);
        }
        if self.is_optional {
            Error::unavailable(FOREIGN)
        } else {
            Error::protocol("the response of the managed identity endpoint is not JSON")
        }
    }

    fn convert_refusal(&self, refusal: &Refusal) -> Error {
        let status = refusal.status;
        if status == StatusCode::BAD_REQUEST {
            return self.convert_bad_request(&refusal.reason);
        }
        let converted = if !self.is_optional || !refusal.is_foreign {
            let message = format!(
                "the managed identity endpoint rejected the request (status {})",
                status.as_u16()
            );
            Error::new(ErrorKind::Rejected, message).with_retry_after(refusal.retry_after)
        } else if status == StatusCode::FORBIDDEN && refusal.reason.is_unreachable() {
            Error::unavailable("the metadata service cannot be reached from here")
        } else {
            Error::unavailable(FOREIGN)
        };
        refusal.reason.explain(converted, status)
    }

    /// Only a machine without an identity lets a chain continue. Any other reason concerns this
    /// request, so the identity of another link must not replace this one.
    fn convert_bad_request(&self, reason: &Reason) -> Error {
        if !reason.is_identity_not_found() {
            return reason.rejected();
        }
        let missing = "no managed identity is assigned to this machine";
        let error = match &self.id {
            None if self.is_optional => Error::unavailable(missing),
            None => Error::new(ErrorKind::Rejected, missing),
            Some(id) => Error::new(
                ErrorKind::Rejected,
                format!("{id:?} is not assigned to this machine"),
            ),
        };
        reason.explain(error, StatusCode::BAD_REQUEST)
    }
}

fn metadata_host(host: &External) -> Result<Url, Error> {
    let url = Url::parse(host.expose()).ok();
    url.filter(|_| host.is_well_formed()).ok_or_else(|| {
        Error::configuration(format!(
            "{AZURE_POD_IDENTITY_AUTHORITY_HOST} is not a URL of a host alone; it looks like http://host"
        ))
    })
}

/// Returns whether a response is JSON, but without a member or with one of another type.
fn is_unexpected_json(error: &azure_core::Error) -> bool {
    json_errors(error).any(serde_json::Error::is_data)
}

fn is_not_json(error: &azure_core::Error) -> bool {
    sdk_causes(error).any(|cause| *cause.kind() == SdkErrorKind::DataConversion)
        || json_errors(error).next().is_some()
}

fn json_errors(error: &azure_core::Error) -> impl Iterator<Item = &serde_json::Error> {
    sdk::error::causes(error).filter_map(|cause| cause.downcast_ref())
}

fn sdk_causes(error: &azure_core::Error) -> impl Iterator<Item = &azure_core::Error> {
    sdk::error::causes(error).filter_map(|cause| cause.downcast_ref())
}

const FOREIGN: &str = "the response is not from the Azure metadata service";

/// App Service, for example, supports no resource IDs.
const UNSUPPORTED: &str = "this host's kind of managed identity, or of its ID, is not supported";

const METADATA_URL: &str = "http://169.254.169.254/metadata/identity/oauth2/token";

/// As in the SDKs for Go, JavaScript, .NET and Python. A metadata service on the same machine
/// responds in milliseconds.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);
