use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::directory::{naming, write_private};
use super::issuer::ClusterIssuer;
use super::service_account_token::{DEFAULT_LIFETIME, IDENTITY_BINDING_AUDIENCE, ServiceAccountToken};
use super::time::unix_seconds;
use super::token_proxy::TokenProxy;

/// A pod as configured by the workload identity webhook: environment variables and a projected
/// service-account token.
///
/// Its files are removed with the [`Emulator`](crate::Emulator).
///
/// # Examples
///
/// ```
/// use std::process::Command;
/// use entra_workload_emulator::Emulator;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> std::io::Result<()> {
/// let emulator = Emulator::start().await?;
/// let pod = emulator.pod("shop", "orders")?;
/// let mut program = Command::new("./my-program");
/// program.envs(pod.variables()).env("SSL_CERT_FILE", emulator.ca_certificate_file());
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Pod {
    pub(super) issuer: Arc<ClusterIssuer>,
    pub(super) namespace: String,
    pub(super) service_account: String,
    pub(super) client_id: String,
    pub(super) tenant_id: String,
    pub(super) authority_host: String,
    /// The directory of the projected volume.
    pub(super) volume: PathBuf,
    pub(super) token_file: PathBuf,
    /// When the current token was written, in seconds since the Unix epoch.
    pub(super) projected_on: Arc<AtomicU64>,
    /// In a pod with an identity binding.
    pub(super) token_proxy: Option<Arc<TokenProxy>>,
}

impl Pod {
    /// The client ID of the application of the pod, a GUID in lower case.
    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    /// The tenant ID, a GUID in lower case.
    pub fn tenant_id(&self) -> &str {
        &self.tenant_id
    }

    /// The file with the service-account token.
    ///
    /// On Unix it is a symlink to `..data/azure-identity-token`, and `..data` is a symlink to the
    /// current version, as in a real projected volume.
    pub fn token_file(&self) -> &Path {
        &self.token_file
    }

    /// The names and values of the environment variables set by the webhook and the kubelet.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        let mut variables = vec![
            ("AZURE_CLIENT_ID", self.client_id.clone()),
            ("AZURE_TENANT_ID", self.tenant_id.clone()),
            (
                "AZURE_FEDERATED_TOKEN_FILE",
                self.token_file.display().to_string(),
            ),
            ("AZURE_AUTHORITY_HOST", self.authority_host.clone()),
            ("KUBERNETES_SERVICE_HOST", "127.0.0.1".to_owned()),
        ];
        if let Some(proxy) = &self.token_proxy {
            variables.extend([
                ("AZURE_KUBERNETES_TOKEN_PROXY", proxy.url().to_owned()),
                ("AZURE_KUBERNETES_SNI_NAME", proxy.server_name().to_owned()),
                ("AZURE_KUBERNETES_CA_FILE", proxy.ca_file().display().to_string()),
            ]);
        }
        variables
    }

    /// Replaces the token with a new one, as the kubelet does regularly.
    ///
    /// # Errors
    ///
    /// Returns an error if the file cannot be written.
    pub fn rotate(&self) -> io::Result<()> {
        let token = ServiceAccountToken::new(&self.namespace, &self.service_account);
        self.project(&match self.token_proxy {
            Some(_) => token.audience(IDENTITY_BINDING_AUDIENCE),
            None => token,
        })
    }

    /// Replaces the token with the given one.
    ///
    /// # Errors
    ///
    /// Returns an error if the file cannot be written.
    pub fn project(&self, token: &ServiceAccountToken) -> io::Result<()> {
        write(&self.volume, &self.issuer.sign(token)).map_err(naming(&self.token_file))?;
        self.projected_on
            .store(unix_seconds(self.issuer.now()), Ordering::Relaxed);
        Ok(())
    }

    /// Replaces the token if it is older than 80 % of its life.
    ///
    /// Source: Kubernetes, `pkg/kubelet/token/token_manager.go`.
    pub(super) fn rotate_if_due(&self) -> io::Result<()> {
        let age = unix_seconds(self.issuer.now()).saturating_sub(self.projected_on.load(Ordering::Relaxed));
        if age.saturating_mul(5) < DEFAULT_LIFETIME.as_secs() * 4 {
            return Ok(());
        }
        self.rotate()
    }
}

/// Returns the path of the token file in a volume.
pub(super) fn token_file(volume: &Path) -> PathBuf {
    volume.join(TOKEN)
}

/// Writes the token to a new directory, then replaces the symlink `..data` atomically. Unlike the
/// kubelet it keeps old versions, for readers that have resolved `..data` but not opened the file.
///
/// Source: Kubernetes, `pkg/volume/util/atomic_writer.go`.
#[cfg(unix)]
fn write(volume: &Path, token: &str) -> io::Result<()> {
    use std::ffi::OsString;
    use std::os::unix::fs::symlink;

    let version = tempfile::Builder::new().prefix("..").tempdir_in(volume)?.keep();
    write_private(&version.join(TOKEN), token)?;
    let new_data = volume.join("..data_tmp");
    symlink(
        version.file_name().map(OsString::from).unwrap_or_default(),
        &new_data,
    )?;
    fs::rename(new_data, volume.join("..data"))?;
    let visible = token_file(volume);
    if visible.symlink_metadata().is_err() {
        symlink(Path::new("..data").join(TOKEN), visible)?;
    }
    Ok(())
}

/// Replaces the file itself, because symlinks need a privilege on Windows.
#[cfg(not(unix))]
fn write(volume: &Path, token: &str) -> io::Result<()> {
    let new = volume.join("..new");
    write_private(&new, token)?;
    fs::rename(new, token_file(volume))
}

const TOKEN: &str = "azure-identity-token";
