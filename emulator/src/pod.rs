use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::issuer::ClusterIssuer;
use super::service_account_token::ServiceAccountToken;

/// A pod as the workload-identity webhook leaves it: four variables and a projected token.
///
/// Its files go with the [`Emulator`](crate::Emulator).
#[derive(Debug)]
pub struct Pod {
    pub(super) issuer: Arc<ClusterIssuer>,
    pub(super) namespace: String,
    pub(super) service_account: String,
    pub(super) client_id: String,
    pub(super) tenant_id: String,
    pub(super) authority_host: String,
    /// The volume, which belongs to this pod alone.
    pub(super) volume: PathBuf,
    pub(super) token_file: PathBuf,
}

impl Pod {
    /// The application that the pod signs in as: a GUID in lower case.
    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    /// The emulator's tenant.
    pub fn tenant_id(&self) -> &str {
        &self.tenant_id
    }

    /// The projected token. On Unix it is a symlink to `..data/azure-identity-token`, and `..data` one to the newest
    /// version, as in a real volume.
    pub fn token_file(&self) -> &Path {
        &self.token_file
    }

    /// What the webhook and the kubelet put into the pod's environment: names and values.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        vec![
            ("AZURE_CLIENT_ID", self.client_id.clone()),
            ("AZURE_TENANT_ID", self.tenant_id.clone()),
            (
                "AZURE_FEDERATED_TOKEN_FILE",
                self.token_file.display().to_string(),
            ),
            ("AZURE_AUTHORITY_HOST", self.authority_host.clone()),
            ("KUBERNETES_SERVICE_HOST", "127.0.0.1".to_owned()),
        ]
    }

    /// Puts a new token into the place of the old one, as the kubelet does every so often.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn rotate(&self) -> io::Result<()> {
        self.project(&ServiceAccountToken::new(&self.namespace, &self.service_account))
    }

    /// Puts this token into the place of the old one.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn project(&self, token: &ServiceAccountToken) -> io::Result<()> {
        write(&self.volume, self.issuer.sign(token))
    }
}

/// The token's place in its volume.
pub(super) fn token_file(volume: &Path) -> PathBuf {
    volume.join(TOKEN)
}

/// Writes a version into a directory of its own and then swaps the one symlink that all readers go through. Old
/// versions stay, unlike the kubelet's: a reader that has followed `..data` but not yet opened the file would find
/// nothing.
///
/// Source: Kubernetes, `pkg/volume/util/atomic_writer.go`.
#[cfg(unix)]
fn write(volume: &Path, token: String) -> io::Result<()> {
    use std::os::unix::fs::symlink;

    let version = tempfile::Builder::new().prefix("..").tempdir_in(volume)?.keep();
    fs::write(version.join(TOKEN), token)?;
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

/// Symlinks need a privilege on Windows, so the file itself is replaced.
#[cfg(not(unix))]
fn write(volume: &Path, token: String) -> io::Result<()> {
    let new = volume.join("..new");
    fs::write(&new, token)?;
    fs::rename(new, token_file(volume))
}

const TOKEN: &str = "azure-identity-token";
