use super::Emulator;
use std::collections::HashMap;
use std::fs;
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::task::spawn_blocking;
use tokio_rustls::rustls::sign::SingleCertAndKey;

use crate::app_service::AppService;
use crate::blob::BlobAccount;
use crate::certificate_authority::{CertificateAuthority, server_config_with, thumbprint};
use crate::ci_systems::CiSystems;
use crate::clock::Clock;
use crate::endpoint::Endpoint;
use crate::entra::{Entra, IssuerKeys};
use crate::identity_host::IdentityHosts;
use crate::imds::Imds;
use crate::issuer::ClusterIssuer;
use crate::jwt::{PublicKey, SigningKey, parse_key_set};
use crate::key_vault::KeyVault;
use crate::managed_identity::ManagedIdentities;
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
        let (token_proxy_port, identity_hosts_port) = (Port::bind().await?, Port::bind().await?);
        let service_fabric_port = Port::bind().await?;
        let service_fabric_certificate = authority.issue(&["service-fabric"])?;
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

        let token_proxy = Arc::new(TokenProxy::new(
            token_proxy_port.url(),
            directory.path().join("token-proxy-ca.crt"),
            Arc::clone(&issuer),
            Arc::clone(&entra),
            self.clock.clone(),
        )?);

        let key_vault = Arc::new(KeyVault::new(entra.verifier(), self.clock.clone()));
        let blobs = Arc::new(BlobAccount::new(
            entra.verifier(),
            self.clock.clone(),
            BLOB_ACCOUNT,
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

        let traffic = Arc::new(Traffic::default());
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
            serve(key_vault_port, Endpoint::KeyVault, key_vault),
            serve(blob_port, Endpoint::Blob, blobs),
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
            identity_hosts,
            token_proxy,
            ci_systems,
            ca_certificate_pem: authority.pem().to_owned(),
            ca_certificate_file,
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

/// As in Azurite, the first segment of the path is the account.
const BLOB_ACCOUNT: &str = "devaccount";
