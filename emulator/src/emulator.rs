use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tempfile::TempDir;
use tokio::task::spawn_blocking;

use crate::app_service::AppService;
use crate::blob::BlobAccount;
use crate::certificate_authority::CertificateAuthority;
use crate::clock::Clock;
use crate::endpoint::Endpoint;
use crate::entra::{Entra, FederatedCredential, IssuerKeys};
use crate::fault::Fault;
use crate::guid::Guid;
use crate::imds::Imds;
use crate::issuer::ClusterIssuer;
use crate::jwt::{SigningKey, parse_key_set};
use crate::key_vault::KeyVault;
use crate::managed_identity::{ManagedIdentities, ManagedIdentity};
use crate::pod::{self, Pod};
use crate::request_log::RecordedRequest;
use crate::server::{Port, Server, Traffic};
use crate::service_account_token::EXCHANGE_AUDIENCE;

/// The whole emulator: dropping it stops every server and removes its files.
pub struct Emulator {
    issuer: Arc<ClusterIssuer>,
    entra: Arc<Entra>,
    authority_host: String,
    key_vault_url: String,
    blob_account_url: String,
    managed_identities: Arc<ManagedIdentities>,
    imds_url: String,
    app_service_url: String,
    app_service_header: String,
    ca_certificate_pem: String,
    ca_certificate_file: PathBuf,
    traffic: Arc<Traffic>,
    _servers: Vec<Server>,
    directory: TempDir,
}

impl Emulator {
    /// Starts an emulator with the defaults of the [builder](Self::builder).
    ///
    /// # Errors
    ///
    /// If no port, key or temporary directory is to be had.
    ///
    /// # Panics
    ///
    /// Outside a Tokio runtime with I/O and time enabled; the servers run in it.
    pub async fn start() -> io::Result<Self> {
        Self::builder().start().await
    }

    /// An emulator that differs from the default one.
    pub fn builder() -> EmulatorBuilder {
        EmulatorBuilder {
            clock: Clock::default(),
            access_token_lifetime: None,
            refresh_in: None,
            trusted_issuers: Vec::new(),
            issuer_ca: Vec::new(),
        }
    }

    /// Registers a new application with a federated credential for this service account, and projects a token of it.
    ///
    /// # Errors
    ///
    /// If the token cannot be written.
    pub fn pod(&self, namespace: &str, service_account: &str) -> io::Result<Pod> {
        let client_id = Guid::random().to_string();
        let credential = FederatedCredential {
            issuer: self.issuer.url().to_owned(),
            subject: format!("system:serviceaccount:{namespace}:{service_account}"),
            audience: EXCHANGE_AUDIENCE.to_owned(),
        };
        self.entra.register_federated_credential(&client_id, credential);
        let volume = tempfile::Builder::new()
            .prefix("pod-")
            .tempdir_in(self.directory.path())?
            .keep();
        let pod = Pod {
            issuer: Arc::clone(&self.issuer),
            namespace: namespace.to_owned(),
            service_account: service_account.to_owned(),
            client_id,
            tenant_id: self.entra.tenant_id().to_owned(),
            authority_host: self.authority_host.clone(),
            token_file: pod::token_file(&volume),
            volume,
        };
        pod.rotate()?;
        Ok(pod)
    }

    /// Gives the machine and the app this user-assigned managed identity.
    pub fn assign_identity(&self, identity: ManagedIdentity) {
        self.managed_identities.assign(identity);
    }

    /// Gives the machine and the app a system-assigned managed identity, the same at every call.
    pub fn assign_system_identity(&self) -> ManagedIdentity {
        self.managed_identities.assign_system()
    }

    /// `http://127.0.0.1:PORT`: stands for `http://169.254.169.254`, for instance in `AZURE_POD_IDENTITY_AUTHORITY_HOST`.
    ///
    /// Its managed identities are those that were assigned, and none at first. Tokens come from
    /// `/metadata/identity/oauth2/token`; whatever lacks the header `Metadata: true` is answered 400, as on a real machine.
    pub fn imds_url(&self) -> &str {
        &self.imds_url
    }

    /// `http://127.0.0.1:PORT/msi/token`, for `IDENTITY_ENDPOINT`; the identities are those of the machine.
    pub fn app_service_url(&self) -> &str {
        &self.app_service_url
    }

    /// What `X-IDENTITY-HEADER` must hold there, for `IDENTITY_HEADER`.
    pub fn app_service_header(&self) -> &str {
        &self.app_service_header
    }

    /// `https://127.0.0.1:PORT/`, with the trailing slash that the webhook puts into `AZURE_AUTHORITY_HOST`.
    pub fn authority_host(&self) -> &str {
        &self.authority_host
    }

    /// `https://127.0.0.1:PORT/`, with the trailing slash of an AKS issuer.
    pub fn issuer_url(&self) -> &str {
        self.issuer.url()
    }

    /// `https://127.0.0.1:PORT`; the vault takes tokens for `https://vault.azure.net`.
    ///
    /// Its host is none under `vault.azure.net`, so a client must be told not to verify the challenge's resource.
    pub fn key_vault_url(&self) -> &str {
        &self.key_vault_url
    }

    /// `https://127.0.0.1:PORT/devaccount`; the account takes tokens for `https://storage.azure.com`.
    pub fn blob_account_url(&self) -> &str {
        &self.blob_account_url
    }

    /// The certificate that all servers' certificates are signed with: one PEM block.
    pub fn ca_certificate_pem(&self) -> &str {
        &self.ca_certificate_pem
    }

    /// The same in a file, for `SSL_CERT_FILE` of a child process.
    pub fn ca_certificate_file(&self) -> &Path {
        &self.ca_certificate_file
    }

    /// The cluster's issuer.
    pub fn issuer(&self) -> &ClusterIssuer {
        &self.issuer
    }

    /// The login host.
    pub fn entra(&self) -> &Entra {
        &self.entra
    }

    /// Orders a fault at an endpoint; it strikes when those ordered before it are used up.
    pub fn inject(&self, endpoint: Endpoint, fault: Fault) {
        self.traffic.faults.inject(endpoint, fault);
    }

    /// Takes back every fault of an endpoint that has not struck yet.
    pub fn clear_faults(&self, endpoint: Endpoint) {
        self.traffic.faults.clear(endpoint);
    }

    /// The requests to all endpoints, oldest first; the last 65,536 of them.
    pub fn requests(&self) -> Vec<RecordedRequest> {
        self.traffic.log.all()
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

/// Settings of an [`Emulator`], all optional.
#[derive(Debug)]
#[must_use]
pub struct EmulatorBuilder {
    clock: Clock,
    access_token_lifetime: Option<Duration>,
    refresh_in: Option<Duration>,
    /// Issuer and JWK set.
    trusted_issuers: Vec<(String, Vec<u8>)>,
    issuer_ca: Vec<u8>,
}

impl EmulatorBuilder {
    /// The wall clock of the issuer, of Entra and of the services; certificates go by the system's. The default is
    /// [`SystemTime::now`].
    pub fn clock(mut self, now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        self.clock = Clock::new(now);
        self
    }

    /// `expires_in` of access tokens, in whole seconds; the default is 3599.
    pub fn access_token_lifetime(mut self, lifetime: Duration) -> Self {
        self.access_token_lifetime = Some(lifetime);
        self
    }

    /// `refresh_in` of access tokens, in whole seconds; by default there is none.
    pub fn refresh_in(mut self, refresh_in: Duration) -> Self {
        self.refresh_in = Some(refresh_in);
        self
    }

    /// Gives Entra the keys of another issuer, which it then never asks. A federated credential is still needed.
    ///
    /// * `issuer`: the `iss` of its tokens, byte for byte.
    /// * `jwks`: a JWK set in JSON.
    pub fn trust_issuer(mut self, issuer: impl Into<String>, jwks: impl AsRef<[u8]>) -> Self {
        self.trusted_issuers.push((issuer.into(), jwks.as_ref().to_vec()));
        self
    }

    /// Lets Entra trust further roots when it asks issuers for their keys, such as the CA of a real cluster.
    ///
    /// * `pem`: one or more `CERTIFICATE` blocks.
    pub fn trust_issuer_ca(mut self, pem: impl AsRef<[u8]>) -> Self {
        self.issuer_ca.push(b'\n');
        self.issuer_ca.extend_from_slice(pem.as_ref());
        self
    }

    /// Starts the servers, in the Tokio runtime of the caller.
    ///
    /// # Errors
    ///
    /// If no port, key or temporary directory is to be had, or if a JWK set or a PEM block is none.
    pub async fn start(self) -> io::Result<Emulator> {
        let given_keys = self
            .trusted_issuers
            .into_iter()
            .map(|(issuer, jwks)| Some((issuer, parse_key_set(&jwks)?)))
            .collect::<Option<HashMap<_, _>>>()
            .ok_or_else(|| {
                io::Error::new(io::ErrorKind::InvalidInput, "the issuer's keys are not a JWK set")
            })?;
        let (issuer_key, entra_key) = (
            spawn_blocking(SigningKey::generate),
            spawn_blocking(SigningKey::generate),
        );
        let authority = CertificateAuthority::generate()?;
        let directory = tempfile::Builder::new().prefix("entra-workload-").tempdir()?;
        let ca_certificate_file = directory.path().join("ca.pem");
        fs::write(&ca_certificate_file, authority.pem())?;

        let (issuer_port, entra_port) = (Port::bind().await?, Port::bind().await?);
        let (key_vault_port, blob_port) = (Port::bind().await?, Port::bind().await?);
        let (imds_port, app_service_port) = (Port::bind().await?, Port::bind().await?);
        let imds_url = imds_port.plain_url();
        let app_service_url = format!("{}{}", app_service_port.plain_url(), AppService::PATH);
        let key_vault_url = key_vault_port.url();
        let blob_account_url = format!("{}/{BLOB_ACCOUNT}", blob_port.url());
        let issuer_url = format!("{}/", issuer_port.url());
        let authority_host = format!("{}/", entra_port.url());
        let issuer_roots = [authority.pem().as_bytes(), &self.issuer_ca].concat();
        let issuer_keys = spawn_blocking(move || IssuerKeys::new(&issuer_roots, given_keys));

        let issuer = ClusterIssuer::new(issuer_url, issuer_key.await??, self.clock.clone());
        let issuer = Arc::new(issuer);
        let entra = Entra::new(
            authority_host.clone(),
            entra_key.await??,
            issuer_keys.await??,
            self.clock.clone(),
        );
        if let Some(lifetime) = self.access_token_lifetime {
            entra.set_access_token_lifetime(lifetime);
        }
        entra.set_refresh_in(self.refresh_in);
        let entra = Arc::new(entra);

        let key_vault = Arc::new(KeyVault::new(entra.verifier(), self.clock.clone()));
        let blobs = Arc::new(BlobAccount::new(entra.verifier(), self.clock, BLOB_ACCOUNT));

        let managed_identities = Arc::<ManagedIdentities>::default();
        let imds = Imds::new(Arc::clone(&managed_identities), Arc::clone(&entra));
        let app_service = AppService::new(Arc::clone(&managed_identities), Arc::clone(&entra));
        let app_service_header = app_service.header().to_owned();

        let traffic = Arc::new(Traffic::default());
        let start =
            |port, tls, endpoint, service| Server::start(port, tls, endpoint, service, Arc::clone(&traffic));
        let serve = |port, endpoint, service| start(port, Some(authority.server_config()), endpoint, service);
        // As real ones, which answer to their own machine only.
        let serve_plain = |port, endpoint, service| start(port, None, endpoint, service);
        let servers = vec![
            serve(issuer_port, Endpoint::Issuer, Arc::clone(&issuer) as _),
            serve(entra_port, Endpoint::Entra, Arc::clone(&entra) as _),
            serve(key_vault_port, Endpoint::KeyVault, key_vault),
            serve(blob_port, Endpoint::Blob, blobs),
            serve_plain(imds_port, Endpoint::Imds, Arc::new(imds) as _),
            serve_plain(app_service_port, Endpoint::AppService, Arc::new(app_service)),
        ];
        Ok(Emulator {
            issuer,
            entra,
            authority_host,
            key_vault_url,
            blob_account_url,
            managed_identities,
            imds_url,
            app_service_url,
            app_service_header,
            ca_certificate_pem: authority.pem().to_owned(),
            ca_certificate_file,
            _servers: servers,
            traffic,
            directory,
        })
    }
}

/// As in Azurite: the account is the first segment of the path.
const BLOB_ACCOUNT: &str = "devaccount";
