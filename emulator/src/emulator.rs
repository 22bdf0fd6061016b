mod builder;
mod data;
mod pods;

use std::collections::HashSet;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use tokio::task::JoinSet;

use crate::blob::BlobAccount;
use crate::ci_systems::CiSystems;
use crate::clock::Clock;
use crate::directory::Directory;
use crate::endpoint::Endpoint;
use crate::entra::Entra;
use crate::fault::Fault;
use crate::identity_host::{IdentityHost, IdentityHosts};
use crate::issuer::ClusterIssuer;
use crate::key_vault::KeyVault;
use crate::managed_identity::{self, ManagedIdentities, ManagedIdentity};
use crate::permissions::Permissions;
use crate::pod::Pod;
use crate::request_log::RecordedRequest;
use crate::server::{Server, Traffic};
use crate::token_proxy::TokenProxy;
use crate::token_verifier::TokenVerifier;

pub use builder::EmulatorBuilder;

/// The servers of the emulator: a cluster issuer, Entra, managed identity endpoints, a Key Vault
/// and a Blob account.
///
/// Dropping it stops the servers and removes the files of its pods.
///
/// # Examples
///
/// ```
/// use entra_workload_emulator::{Emulator, Endpoint, Fault};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> std::io::Result<()> {
/// let emulator = Emulator::start().await?;
/// let pod = emulator.pod("shop", "orders")?;
/// emulator.inject(Endpoint::Entra, Fault::status(503).times(2));
/// // … run the code under test with `pod.variables()` and `emulator.ca_certificate_pem()` …
/// assert!(emulator.requests_to(Endpoint::Entra).is_empty());
/// # assert!(pod.token_file().exists());
/// # Ok(()) }
/// ```
pub struct Emulator {
    issuer: Arc<ClusterIssuer>,
    entra: Arc<Entra>,
    key_vault: Arc<KeyVault>,
    blobs: Arc<BlobAccount>,
    permissions: Permissions,
    clock: Clock,
    authority_host: String,
    key_vault_url: String,
    blob_account_url: String,
    managed_identities: Arc<ManagedIdentities>,
    imds_url: String,
    app_service_url: String,
    app_service_header: String,
    identity_hosts: Arc<IdentityHosts>,
    token_proxy: Arc<TokenProxy>,
    ci_systems: CiSystems,
    ca_certificate_pem: String,
    ca_certificate_file: PathBuf,
    traffic: Arc<Traffic>,
    proxy_url: String,
    _proxy: JoinSet<()>,
    _servers: Vec<Server>,
    pods: Arc<Mutex<Vec<Pod>>>,
    _rotation: JoinSet<()>,
    directory: Directory,
}

impl Emulator {
    /// Starts an emulator with the default settings.
    ///
    /// # Errors
    ///
    /// Returns an error if binding a port, generating a key or creating a temporary directory
    /// fails.
    ///
    /// # Panics
    ///
    /// Panics outside a Tokio runtime with I/O and time enabled. The servers run in that runtime.
    pub async fn start() -> io::Result<Self> {
        Self::builder().start().await
    }

    /// Returns a builder with the default settings.
    pub fn builder() -> EmulatorBuilder {
        EmulatorBuilder {
            clock: Clock::default(),
            access_token_lifetime: None,
            refresh_in: None,
            trusted_issuers: Vec::new(),
            issuer_ca: Vec::new(),
            tenant_id: None,
            port_base: None,
            allow_external_hosts: false,
            upstream_proxy: None,
            known_keys: false,
            rotate_tokens: false,
        }
    }

    /// Moves the clock of the issuer, Entra and the services forward, in whole seconds, and replaces the
    /// tokens of pods that are due then. TLS certificates and the caller keep the system time.
    ///
    /// # Errors
    ///
    /// Returns an error if a token file cannot be written, or if the clock would be more than a century ahead.
    pub fn advance(&self, by: Duration) -> io::Result<()> {
        if !self.clock.advance(by) {
            let text = "the clock cannot be more than a century ahead";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        self.rotate_due_tokens()
    }

    /// The time of the issuer, Entra and the services.
    pub fn now(&self) -> SystemTime {
        self.clock.now()
    }

    /// Removes faults, recorded requests, secrets, containers, resources, the keys that Entra has fetched from issuers, and
    /// states such as an outage.
    /// Applications and managed identities have the credentials and roles that they had at
    /// [`Admin::start`](crate::Admin::start), and later ones those of their [seed](Self::seed). They and the pods stay,
    /// because programs know them. The clock stays, too: set back, it would make tokens invalid.
    ///
    /// # Errors
    ///
    /// Returns an error if a token file cannot be written.
    pub fn reset(&self) -> io::Result<()> {
        self.traffic.faults.clear_all();
        self.traffic.log.clear();
        self.permissions.reset();
        self.key_vault.clear();
        self.blobs.clear();
        self.entra.reset();
        self.issuer.start();
        self.rotate_tokens()
    }

    /// Assigns a user-assigned managed identity to the virtual machine and to the app.
    pub fn assign_identity(&self, identity: ManagedIdentity) {
        self.managed_identities.assign(identity);
    }

    pub(crate) fn assign_named_identity(&self, name: &str, identity: ManagedIdentity) -> ManagedIdentity {
        self.managed_identities.assign_named(name, identity)
    }

    /// Whether it is the client ID of an application or of a managed identity.
    pub(crate) fn knows(&self, client_id: &str) -> bool {
        let identity = self
            .managed_identities
            .find(managed_identity::CLIENT_ID, client_id);
        self.entra.knows(client_id) || identity.is_some()
    }

    /// What [`reset`](Self::reset) leads back to.
    pub(crate) fn set_baseline(&self) {
        self.entra.set_baseline();
        self.permissions.set_baseline();
    }

    /// Adds the identities that are not among the `known` ones to the baseline.
    pub(crate) fn add_to_baseline(&self, known: &HashSet<String>) {
        for client_id in self.client_ids().difference(known) {
            self.entra.add_to_baseline(client_id);
            self.permissions.add_to_baseline(client_id);
        }
    }

    /// Returns the client IDs of applications and of user-assigned managed identities, in lower case.
    pub(crate) fn client_ids(&self) -> HashSet<String> {
        let mut client_ids = self.entra.client_ids();
        let identities = self.managed_identities.user().into_iter();
        client_ids.extend(identities.map(|identity| identity.client_id.to_lowercase()));
        client_ids
    }

    /// Enables the system-assigned managed identity of the virtual machine and the app. Every call
    /// returns the same identity.
    pub fn assign_system_identity(&self) -> ManagedIdentity {
        self.managed_identities.assign_system()
    }

    /// The URL of the instance metadata service (IMDS), `http://127.0.0.1:PORT`, for example for
    /// `AZURE_POD_IDENTITY_AUTHORITY_HOST`.
    ///
    /// It replaces `http://169.254.169.254`. The token endpoint is
    /// `/metadata/identity/oauth2/token`. There are no managed identities until one is assigned.
    /// Requests without the header `Metadata: true` get 400, as on a real virtual machine.
    pub fn imds_url(&self) -> &str {
        &self.imds_url
    }

    /// The managed identity endpoint of App Service, `http://127.0.0.1:PORT/msi/token`, for
    /// `IDENTITY_ENDPOINT`. It has the same identities as IMDS.
    pub fn app_service_url(&self) -> &str {
        &self.app_service_url
    }

    /// The required value of the request header `X-IDENTITY-HEADER`, for `IDENTITY_HEADER`.
    pub fn app_service_header(&self) -> &str {
        &self.app_service_header
    }

    /// The variables that a host sets in its processes, for its managed identity. It has the same
    /// identities as IMDS.
    pub fn host_variables(&self, host: IdentityHost) -> Vec<(&'static str, String)> {
        self.identity_hosts.variables(host)
    }

    /// The folder with the challenge files of Azure Arc's agent. On a real server it is
    /// `/var/opt/azcmagent/tokens`.
    pub fn arc_key_folder(&self) -> &Path {
        self.identity_hosts.key_folder()
    }

    /// The URL of a proxy, `http://127.0.0.1:PORT`, for `HTTPS_PROXY`. Through it, programs reach the emulator
    /// by the host names of the public cloud: `login.microsoftonline.com` and its aliases,
    /// `VAULT.vault.azure.net` for any vault, and `ACCOUNT.blob.core.windows.net` for any account. It refuses
    /// every other host with 403, unless they are [allowed](EmulatorBuilder::allow_external_hosts): then the URL is
    /// `http://USER:PASSWORD@127.0.0.1:PORT`. Its connections are not recorded; the requests in them are.
    pub fn proxy_url(&self) -> &str {
        &self.proxy_url
    }

    /// The URL of Entra, `https://127.0.0.1:PORT/`, for `AZURE_AUTHORITY_HOST`.
    ///
    /// It ends with a slash, like the value set by the workload identity webhook.
    pub fn authority_host(&self) -> &str {
        &self.authority_host
    }

    /// The URL of the cluster issuer, `https://127.0.0.1:PORT/`. It ends with a slash, as on AKS.
    pub fn issuer_url(&self) -> &str {
        self.issuer.url()
    }

    /// The URL of the Key Vault, `https://127.0.0.1:PORT`. It accepts tokens for
    /// `https://vault.azure.net`.
    ///
    /// Configure clients not to verify the challenge resource, because the host is not a subdomain
    /// of `vault.azure.net`.
    pub fn key_vault_url(&self) -> &str {
        &self.key_vault_url
    }

    /// The URL of the Blob account, `https://127.0.0.1:PORT/devaccount`. It accepts tokens for
    /// `https://storage.azure.com`.
    pub fn blob_account_url(&self) -> &str {
        &self.blob_account_url
    }

    /// The CA certificate of all servers, as one PEM block.
    pub fn ca_certificate_pem(&self) -> &str {
        &self.ca_certificate_pem
    }

    /// A file with the CA certificate of all servers, for `SSL_CERT_FILE` of a child process.
    pub fn ca_certificate_file(&self) -> &Path {
        &self.ca_certificate_file
    }

    /// The cluster issuer.
    pub fn issuer(&self) -> &ClusterIssuer {
        &self.issuer
    }

    /// Microsoft Entra.
    pub fn entra(&self) -> &Entra {
        &self.entra
    }

    /// Returns a verifier of the access tokens that Entra issues, for servers of your own tests.
    pub fn token_verifier(&self) -> TokenVerifier {
        TokenVerifier::new(self.entra.verifier())
    }

    /// The token proxy of the cluster.
    pub fn token_proxy(&self) -> &TokenProxy {
        &self.token_proxy
    }

    /// Queues a fault for an endpoint. Faults apply in the order in which they were queued.
    pub fn inject(&self, endpoint: Endpoint, fault: Fault) {
        self.traffic.faults.inject(endpoint, fault);
    }

    /// Removes all queued faults of an endpoint.
    pub fn clear_faults(&self, endpoint: Endpoint) {
        self.traffic.faults.clear(endpoint);
    }

    /// The requests to all endpoints, oldest first. Only the last 65,536 requests are kept.
    pub fn requests(&self) -> Vec<RecordedRequest> {
        self.traffic.log.all()
    }

    /// The refused requests, each in one line with its reason, and how often. It includes hosts that the
    /// [proxy](Self::proxy_url) has refused, and is kept over a [reset](Self::reset).
    pub fn refusals(&self) -> Vec<(String, usize)> {
        self.traffic.log.refusals()
    }

    /// Forgets the requests so far.
    pub fn clear_requests(&self) {
        self.traffic.log.clear();
    }

    /// The requests to one endpoint, oldest first.
    pub fn requests_to(&self, endpoint: Endpoint) -> Vec<RecordedRequest> {
        let mut requests = self.requests();
        requests.retain(|request| request.endpoint() == endpoint);
        requests
    }
}

impl fmt::Debug for Emulator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Emulator")
            .field("authority_host", &self.authority_host)
            .field("issuer_url", &self.issuer_url())
            .field("key_vault_url", &self.key_vault_url)
            .field("blob_account_url", &self.blob_account_url)
            .field("imds_url", &self.imds_url)
            .field("app_service_url", &self.app_service_url)
            .finish_non_exhaustive()
    }
}
