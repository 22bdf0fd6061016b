use super::Emulator;
use super::pods::rotate_due;
use std::collections::HashMap;
use std::fs;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use tokio::task::{JoinSet, spawn_blocking};
use tokio_rustls::rustls::sign::SingleCertAndKey;
use uuid::Uuid;

use crate::access_key::AccessKey;
use crate::app_service::AppService;
use crate::blob::BlobAccount;
use crate::certificate_authority::{CertificateAuthority, server_config_with, thumbprint};
use crate::ci_systems::CiSystems;
use crate::clock::Clock;
use crate::connect_proxy::ConnectProxy;
use crate::directory::{Directory, naming};
use crate::endpoint::Endpoint;
use crate::entra::{Entra, IssuerKeys};
use crate::identity_host::IdentityHosts;
use crate::imds::Imds;
use crate::issuer::ClusterIssuer;
use crate::jwt::{PublicKey, SigningKey, parse_key_set};
use crate::key_vault::KeyVault;
use crate::managed_identity::ManagedIdentities;
use crate::permissions::Permissions;
use crate::pod::Pod;
use crate::rsa_key;
use crate::server::{Port, Server, Traffic};
use crate::token_proxy::TokenProxy;

/// Settings of an [`Emulator`]. All are optional.
///
/// # Examples
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use entra_workload_emulator::Emulator;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> std::io::Result<()> {
/// let emulator = Emulator::builder()
///     .access_token_lifetime(Duration::from_secs(600))
///     .refresh_in(Duration::from_secs(300))
///     .clock(|| SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000))
///     .start()
///     .await?;
/// # drop(emulator);
/// # Ok(()) }
/// ```
#[derive(Debug)]
#[must_use]
pub struct EmulatorBuilder {
    pub(super) clock: Clock,
    pub(super) access_token_lifetime: Option<Duration>,
    pub(super) refresh_in: Option<Duration>,
    /// Issuer and JWK set.
    pub(super) trusted_issuers: Vec<(String, Vec<u8>)>,
    pub(super) issuer_ca: Vec<u8>,
    pub(super) tenant_id: Option<String>,
    pub(super) port_base: Option<u16>,
    pub(super) allow_external_hosts: bool,
    pub(super) upstream_proxy: Option<String>,
    pub(super) known_keys: bool,
    pub(super) rotate_tokens: bool,
}

impl EmulatorBuilder {
    /// Sets the wall clock of the issuer, Entra and the services. The default is
    /// [`SystemTime::now`]. TLS certificates always use the system time.
    pub fn clock(mut self, now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        self.clock = Clock::new(now);
        self
    }

    /// Sets `expires_in` of access tokens, in whole seconds. The default is 3599.
    pub fn access_token_lifetime(mut self, lifetime: Duration) -> Self {
        self.access_token_lifetime = Some(lifetime);
        self
    }

    /// Sets `refresh_in` of access tokens, in whole seconds. By default, responses do not have it.
    pub fn refresh_in(mut self, refresh_in: Duration) -> Self {
        self.refresh_in = Some(refresh_in);
        self
    }

    /// Sets the keys of another issuer, so that Entra does not fetch them. Its tokens still need a
    /// federated credential.
    ///
    /// * `issuer`: the exact `iss` of its tokens.
    /// * `jwks`: a JWK set in JSON.
    pub fn trust_issuer(mut self, issuer: impl Into<String>, jwks: impl AsRef<[u8]>) -> Self {
        self.trusted_issuers.push((issuer.into(), jwks.as_ref().to_vec()));
        self
    }

    /// Adds root certificates that Entra trusts when it fetches the keys of issuers, such as the CA
    /// of a real cluster.
    ///
    /// * `pem`: one or more `CERTIFICATE` blocks.
    pub fn trust_issuer_ca(mut self, pem: impl AsRef<[u8]>) -> Self {
        self.issuer_ca.push(b'\n');
        self.issuer_ca.extend_from_slice(pem.as_ref());
        self
    }

    /// Sets the tenant ID, a GUID. The default is a random one.
    pub fn tenant_id(mut self, tenant_id: impl Into<String>) -> Self {
        self.tenant_id = Some(tenant_id.into().to_lowercase());
        self
    }

    /// Uses fixed ports: `base` for the proxy, then Entra, the cluster issuer, Key Vault, Blob, IMDS, App
    /// Service, the token proxy, the other identity hosts and Service Fabric. The default is free ports.
    pub fn port_base(mut self, base: u16) -> Self {
        self.port_base = Some(base);
        self
    }

    /// Lets the [proxy](Emulator::proxy_url) connect to hosts that are not emulated, for clients that send the user and the
    /// password in its URL. By default, it refuses.
    pub fn allow_external_hosts(mut self) -> Self {
        self.allow_external_hosts = true;
        self
    }

    /// Sets the proxy for these external hosts, `host:port`. By default, they are connected to directly.
    pub fn upstream_proxy(mut self, address: impl Into<String>) -> Self {
        self.upstream_proxy = Some(address.into());
        self
    }

    /// Signs tokens with keys that are part of this crate, so that the start takes a few milliseconds: two
    /// RSA keys are most of it otherwise. Everybody has these keys, and tokens of one emulator with them
    /// have valid signatures in another one. With the feature `ring` and without `aws-lc-rs`, it is always so: ring cannot
    /// generate RSA keys. The key of the CA is always new.
    pub fn known_keys(mut self) -> Self {
        self.known_keys = true;
        self
    }

    /// Replaces the token of each pod at 80 % of its life, as the kubelet does. By default, tokens change
    /// only when a test says so.
    pub fn rotate_tokens(mut self) -> Self {
        self.rotate_tokens = true;
        self
    }

    /// Starts the servers in the current Tokio runtime.
    ///
    /// # Errors
    ///
    /// Returns an error if binding a port, generating a key or creating a temporary directory
    /// fails, or if a JWK set or a PEM block is invalid.
    ///
    /// # Panics
    ///
    /// Panics outside a Tokio runtime with I/O and time enabled.
    #[expect(clippy::too_many_lines, reason = "a step for each server")]
    pub async fn start(self) -> io::Result<Emulator> {
        let given_keys = parse_key_sets(self.trusted_issuers)?;
        let pair = move |known: &'static [u8]| {
            spawn_blocking(move || {
                if self.known_keys {
                    rsa_key::read(known)
                } else {
                    rsa_key::generate()
                }
            })
        };
        let (issuer_key, entra_key) = (pair(rsa_key::ISSUER), pair(rsa_key::ENTRA));
        let authority = CertificateAuthority::generate()?;
        let directory = Directory::create()?;
        let ca_certificate_file = directory.path().join("ca.pem");
        fs::write(&ca_certificate_file, authority.pem()).map_err(naming(&ca_certificate_file))?;

        let bind = |offset| Port::bind(self.port_base.map_or(0, |base| base.saturating_add(offset)));
        let (proxy_port, entra_port, issuer_port) = (bind(0).await?, bind(1).await?, bind(2).await?);
        let (key_vault_port, blob_port) = (bind(3).await?, bind(4).await?);
        let (imds_port, app_service_port) = (bind(5).await?, bind(6).await?);
        let (token_proxy_port, identity_hosts_port) = (bind(7).await?, bind(8).await?);
        let service_fabric_port = bind(9).await?;
        let external = self.allow_external_hosts.then(AccessKey::random).transpose()?;
        let proxy_url = ConnectProxy::url(&proxy_port, external.as_ref());
        let traffic = Arc::new(Traffic::default());
        let proxy = ConnectProxy {
            login: entra_port.address(),
            key_vault: key_vault_port.address(),
            blob: blob_port.address(),
            external,
            upstream: self.upstream_proxy,
            traffic: Arc::clone(&traffic),
        };
        let service_fabric_certificate = authority.issue(&["service-fabric"])?;
        let imds_url = imds_port.plain_url();
        let app_service_url = format!("{}{}", app_service_port.plain_url(), AppService::PATH);
        let key_vault_url = key_vault_port.url();
        let blob_account_url = format!("{}/{BLOB_ACCOUNT}", blob_port.url());
        let issuer_url = format!("{}/", issuer_port.url());
        let authority_host = format!("{}/", entra_port.url());
        let issuer_roots = [authority.pem().as_bytes(), &self.issuer_ca].concat();
        let issuer_keys = spawn_blocking(move || IssuerKeys::new(&issuer_roots, given_keys));

        let issuer = ClusterIssuer::new(
            issuer_url,
            SigningKey::new(&issuer_key.await??)?,
            self.clock.clone(),
        );
        let issuer = Arc::new(issuer);
        let entra = Entra::new(
            self.tenant_id.unwrap_or_else(|| Uuid::new_v4().to_string()),
            authority_host.clone(),
            SigningKey::with_certificate(&entra_key.await??)?,
            issuer_keys.await??,
            self.clock.clone(),
        );
        if let Some(lifetime) = self.access_token_lifetime {
            entra.set_access_token_lifetime(lifetime);
        }
        entra.set_refresh_in(self.refresh_in);
        let entra = Arc::new(entra);

        let token_proxy = Arc::new(TokenProxy::new(
            token_proxy_port.url(),
            directory.path().join("token-proxy-ca.crt"),
            Arc::clone(&issuer),
            Arc::clone(&entra),
            self.clock.clone(),
        )?);

        let permissions = Permissions::default();
        let key_vault = Arc::new(KeyVault::new(
            entra.verifier(),
            permissions.clone(),
            self.clock.clone(),
        ));
        let blobs = Arc::new(BlobAccount::new(
            entra.verifier(),
            permissions.clone(),
            self.clock.clone(),
            BLOB_ACCOUNT,
            blob_port.address().port(),
        ));

        let managed_identities = Arc::<ManagedIdentities>::default();
        let imds = Imds::new(Arc::clone(&managed_identities), Arc::clone(&entra));
        let app_service = AppService::new(Arc::clone(&managed_identities), Arc::clone(&entra));
        let app_service_header = app_service.header().to_owned();

        let identity_hosts = Arc::new(IdentityHosts::new(
            identity_hosts_port.plain_url(),
            service_fabric_port.url(),
            thumbprint(&service_fabric_certificate),
            directory.path().join("arc"),
            Arc::clone(&managed_identities),
            Arc::clone(&entra),
        )?);

        let start =
            |port, tls, endpoint, service| Server::start(port, tls, endpoint, service, Arc::clone(&traffic));
        let tls = authority.server_config()?;
        let serve = |port, endpoint, service| start(port, Some(Arc::clone(&tls)), endpoint, service);
        let (exchange, host) = (Arc::clone(&entra), authority_host.clone());
        let ci_systems = CiSystems::start(exchange, host, &self.clock, &tls, &traffic).await?;
        // Plain HTTP, like the real ones.
        let serve_plain = |port, endpoint, service| start(port, None, endpoint, service);
        let proxy_tls = Some(token_proxy.server_config()?);
        let servers = vec![
            start(
                token_proxy_port,
                proxy_tls,
                Endpoint::TokenProxy,
                Arc::clone(&token_proxy) as _,
            ),
            serve(issuer_port, Endpoint::Issuer, Arc::clone(&issuer) as _),
            serve(entra_port, Endpoint::Entra, Arc::clone(&entra) as _),
            serve(key_vault_port, Endpoint::KeyVault, Arc::clone(&key_vault) as _),
            serve(blob_port, Endpoint::Blob, Arc::clone(&blobs) as _),
            serve_plain(imds_port, Endpoint::Imds, Arc::new(imds) as _),
            start(
                service_fabric_port,
                Some(server_config_with(Arc::new(SingleCertAndKey::from(
                    service_fabric_certificate,
                )))?),
                Endpoint::IdentityHost,
                Arc::clone(&identity_hosts) as _,
            ),
            serve_plain(
                identity_hosts_port,
                Endpoint::IdentityHost,
                Arc::clone(&identity_hosts) as _,
            ),
            serve_plain(app_service_port, Endpoint::AppService, Arc::new(app_service)),
        ];
        let pods = Arc::<Mutex<Vec<Pod>>>::default();
        let mut rotation = JoinSet::new();
        if self.rotate_tokens {
            let pods = Arc::clone(&pods);
            rotation.spawn(async move {
                loop {
                    tokio::time::sleep(ROTATION_CHECK).await;
                    // The next check tries again.
                    let _ = rotate_due(&pods);
                }
            });
        }
        Ok(Emulator {
            pods,
            _rotation: rotation,
            issuer,
            entra,
            key_vault,
            blobs,
            permissions,
            clock: self.clock,
            authority_host,
            key_vault_url,
            blob_account_url,
            managed_identities,
            imds_url,
            app_service_url,
            app_service_header,
            identity_hosts,
            token_proxy,
            ci_systems,
            ca_certificate_pem: authority.pem().to_owned(),
            ca_certificate_file,
            proxy_url,
            _proxy: proxy.start(proxy_port),
            _servers: servers,
            traffic,
            directory,
        })
    }
}

/// * `trusted_issuers`: issuers and their JWK sets.
fn parse_key_sets(trusted_issuers: Vec<(String, Vec<u8>)>) -> io::Result<HashMap<String, Vec<PublicKey>>> {
    let parsed = trusted_issuers
        .into_iter()
        .map(|(issuer, jwks)| Some((issuer, parse_key_set(&jwks)?)));
    let invalid = || {
        let text = "the keys of the issuer are not a JWK set";
        io::Error::new(io::ErrorKind::InvalidInput, text)
    };
    parsed.collect::<Option<_>>().ok_or_else(invalid)
}

/// Tokens live an hour and more.
const ROTATION_CHECK: Duration = Duration::from_secs(1);

/// As in Azurite, the first segment of the path is the account.
const BLOB_ACCOUNT: &str = "devaccount";
