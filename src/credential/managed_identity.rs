mod metadata_client;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use azure_core::credentials::TokenCredential;
use azure_core::error::ErrorKind as SdkErrorKind;
use azure_core::http::{ClientOptions, StatusCode, Url};
use azure_identity::{ManagedIdentityCredentialOptions, UserAssignedId};
use bytes::Bytes;

use super::credential;
use super::sdk::SDK_FETCH_TIMEOUT;
use crate::cache::{Cache, DEFAULT_MAX_SLOTS};
use crate::clock::{Clock, SystemClock};
use crate::env::{AZURE_POD_IDENTITY_AUTHORITY_HOST, Environment};
use crate::error::{Error, ErrorKind};
use crate::exchange::{Grant, TokenSource, Urgency};
use crate::sdk;
use crate::token::TokenRequest;
use crate::transport::{HttpTransport, Transport};
use metadata_client::MetadataClient;

/// Gets tokens for the managed identity of the virtual machine, node, App Service, Function or Container App that this process
/// runs on.
///
/// It is `azure_identity`'s credential behind this crate's cache, with "not here" ([`ErrorKind::Unavailable`]) told apart from
/// "here, and broken". The endpoint is on the same machine and is never asked through an HTTP proxy.
///
/// | variable | set by | meaning |
/// | --- | --- | --- |
/// | `IDENTITY_ENDPOINT`, `IDENTITY_HEADER` | App Service, Functions, Container Apps | where to ask there; `azure_identity` reads them from the process |
/// | `AZURE_POD_IDENTITY_AUTHORITY_HOST` | you | a host to ask in place of `http://169.254.169.254` |
///
/// In a pod this is the identity of the *node*, which every pod on it shares:
/// [`WorkloadIdentityCredential`](crate::WorkloadIdentityCredential) gives a pod its own.
///
/// # Examples
///
/// ```no_run
/// use entra_workload::{ManagedIdentityCredential, ManagedIdentityId};
///
/// # fn f() -> Result<(), entra_workload::Error> {
/// let system_assigned = ManagedIdentityCredential::builder().build()?;
/// let user_assigned = ManagedIdentityCredential::builder()
///     .id(ManagedIdentityId::ClientId("7a5ff21b-4f5b-4f5b-9e3e-2c0b5a1d9a10".into()))
///     .build()?;
/// # Ok(()) }
/// ```
///
/// Azure Arc, Azure ML, Cloud Shell and Service Fabric are as far as `azure_identity` has them: 1.0 has none, which is a
/// [`ErrorKind::Configuration`] error.
#[derive(Debug)]
pub struct ManagedIdentityCredential(Cache);

impl ManagedIdentityCredential {
    /// A builder.
    pub fn builder() -> ManagedIdentityCredentialBuilder {
        ManagedIdentityCredentialBuilder::default()
    }
}

credential!(ManagedIdentityCredential);

/// Which of several identities: without one, it is the system-assigned identity.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ManagedIdentityId {
    /// The client id of a user-assigned identity.
    ClientId(String),
    /// The object id (principal id) of a user-assigned identity.
    ObjectId(String),
    /// The Azure resource id of a user-assigned identity.
    ResourceId(String),
}

impl From<&ManagedIdentityId> for UserAssignedId {
    fn from(id: &ManagedIdentityId) -> Self {
        match id.clone() {
            ManagedIdentityId::ClientId(id) => Self::ClientId(id),
            ManagedIdentityId::ObjectId(id) => Self::ObjectId(id),
            ManagedIdentityId::ResourceId(id) => Self::ResourceId(id),
        }
    }
}

/// Makes a [`ManagedIdentityCredential`].
#[derive(Debug, Default)]
pub struct ManagedIdentityCredentialBuilder {
    id: Option<ManagedIdentityId>,
    probe_first: bool,
    environment: Option<Environment>,
    transport: Option<Arc<dyn Transport>>,
    clock: Option<Arc<dyn Clock>>,
}

impl ManagedIdentityCredentialBuilder {
    /// A user-assigned identity. Default: the system-assigned one.
    #[must_use]
    pub fn id(mut self, id: ManagedIdentityId) -> Self {
        self.id = Some(id);
        self
    }

    /// Asks first, for a second at most, whether there is a metadata service at all, and is
    /// [`ErrorKind::Unavailable`] if there is none, or if it knows no identity: for the link of a
    /// chain. Without it a machine without a metadata service fails after more than a minute of tries, as one whose service is
    /// being restarted must not.
    #[must_use]
    pub fn probe_first(mut self) -> Self {
        self.probe_first = true;
        self
    }

    /// The variables to go by. Default: those of the process.
    #[must_use]
    pub fn environment(mut self, environment: Environment) -> Self {
        self.environment = Some(environment);
        self
    }

    /// What sends the requests. Default: [`HttpTransport`], which sends plain `http` past every proxy.
    #[must_use]
    pub fn transport(mut self, transport: impl Transport) -> Self {
        self.transport = Some(Arc::new(transport));
        self
    }

    /// The clock that tokens age by. Default: [`SystemClock`].
    #[must_use]
    pub fn clock(self, clock: impl Clock) -> Self {
        self.shared_clock(Arc::new(clock))
    }

    pub(crate) fn shared_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Makes the credential. Does no I/O.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Configuration`] if `AZURE_POD_IDENTITY_AUTHORITY_HOST` is not a URL.
    pub fn build(self) -> Result<Arc<ManagedIdentityCredential>, Error> {
        let environment = self.environment.unwrap_or_else(Environment::from_process);
        let metadata_host = environment
            .metadata_host()?
            .map(|host| Url::parse(&host))
            .transpose()
            .map_err(|error| {
                Error::configuration(format!("{AZURE_POD_IDENTITY_AUTHORITY_HOST} is not a URL"))
                    .with_source(error)
            })?;
        let clock = self.clock.unwrap_or_else(|| Arc::new(SystemClock::new()));
        let source = ManagedIdentity {
            id: self.id,
            probes: self.probe_first && !environment.hosts_managed_identity(),
            answered: AtomicBool::new(false),
            client: Arc::new(MetadataClient {
                transport: self.transport.unwrap_or_else(|| Arc::new(HttpTransport::new())),
                metadata_host,
            }),
            clock: clock.clone(),
        };
        Ok(Arc::new(ManagedIdentityCredential(Cache::new(
            Arc::new(source),
            clock,
            SDK_FETCH_TIMEOUT,
            DEFAULT_MAX_SLOTS,
        ))))
    }
}

#[derive(Debug)]
struct ManagedIdentity {
    id: Option<ManagedIdentityId>,
    probes: bool,
    /// Whether the metadata service has ever answered.
    answered: AtomicBool,
    client: Arc<MetadataClient>,
    clock: Arc<dyn Clock>,
}

#[async_trait]
impl TokenSource for ManagedIdentity {
    async fn fetch(&self, request: &TokenRequest<'_>, _: Urgency) -> Result<Grant, Error> {
        if request.requested_tenant_id().is_some() || request.requested_claims().is_some() {
            return Err(Error::configuration(
                "a managed identity belongs to one tenant and takes no claims",
            ));
        }
        if self.probes && !self.answered.load(Ordering::Relaxed) {
            self.probe().await?;
            self.answered.store(true, Ordering::Relaxed);
        }
        // A new one each time: it would give its own cached token until 5 minutes before the expiry.
        let credential =
            azure_identity::ManagedIdentityCredential::new(Some(ManagedIdentityCredentialOptions {
                user_assigned_id: self.id.as_ref().map(Into::into),
                client_options: ClientOptions {
                    transport: Some(azure_core::http::Transport::new(self.client.clone())),
                    ..ClientOptions::default()
                },
            }))
            .map_err(|error| {
                Error::configuration("this host's kind of managed identity is not supported")
                    .with_source(error)
            })?;
        let requested_at = self.clock.now();
        let token = credential
            .get_token(request.scopes(), None)
            .await
            .map_err(|error| self.failure(error))?;
        Ok(sdk::token::from_sdk(&token, requested_at))
    }

    fn client_id(&self) -> Option<&str> {
        match &self.id {
            Some(ManagedIdentityId::ClientId(client_id)) => Some(client_id),
            _ => None,
        }
    }
}

impl ManagedIdentity {
    /// Any answer will do: without the `Metadata` header a metadata service refuses.
    async fn probe(&self) -> Result<(), Error> {
        let probe = http::Request::get(METADATA_URL)
            .body(Bytes::new())
            .map_err(|error| {
                Error::configuration("the metadata service's URL is wrong").with_source(error)
            })?;
        let not_here =
            "there is no metadata service: this is no Azure machine, or it may not be reached from here";
        match tokio::time::timeout(PROBE_TIMEOUT, self.client.send(probe)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(Error::unavailable(not_here).with_source(error)),
            Err(_) => Err(Error::unavailable(not_here)),
        }
    }

    fn failure(&self, error: azure_core::Error) -> Error {
        let status = sdk_causes(&error).find_map(azure_core::Error::http_status);
        let told = match (status, &self.id) {
            (Some(StatusCode::BadRequest), None) if self.probes => Error::unavailable(
                "this machine has no system-assigned identity; to use a user-assigned one, name it",
            ),
            (Some(StatusCode::BadRequest), id) => {
                let identity = id
                    .as_ref()
                    .map_or("system-assigned identity".to_owned(), |id| format!("{id:?}"));
                Error::new(
                    ErrorKind::Rejected,
                    format!("{identity} is not assigned to this machine"),
                )
            }
            // What Docker Desktop says for an address that leads nowhere.
            (Some(StatusCode::Forbidden), _) if self.probes && error.to_string().contains("unreachable") => {
                Error::unavailable("the metadata service cannot be reached from here")
            }
            (Some(_), _) => Error::new(ErrorKind::Rejected, "the managed identity endpoint refused"),
            // Without the cause, which quotes what it read: it may be a token.
            (None, _) if is_not_json(&error) && self.probes => {
                return Error::unavailable("the response is not from the Azure metadata service");
            }
            (None, _) if is_not_json(&error) => {
                return Error::protocol("the managed identity endpoint's answer is not JSON");
            }
            (None, _) => Error::transport("the managed identity endpoint gave no answer"),
        };
        let status = status.and_then(|status| http::StatusCode::from_u16(status.into()).ok());
        let told = match status {
            Some(status) => told.with_status(status),
            None => told,
        };
        told.with_source(error)
    }
}

fn is_not_json(error: &azure_core::Error) -> bool {
    sdk_causes(error).any(|cause| *cause.kind() == SdkErrorKind::DataConversion)
        || sdk::error::causes(error).any(<dyn std::error::Error>::is::<serde_json::Error>)
}

fn sdk_causes(error: &azure_core::Error) -> impl Iterator<Item = &azure_core::Error> {
    sdk::error::causes(error).filter_map(|cause| cause.downcast_ref())
}

const METADATA_URL: &str = "http://169.254.169.254/metadata/identity/oauth2/token";

/// As in the SDKs for Go, JavaScript, .NET and Python: a metadata service on the same machine answers in milliseconds.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);
