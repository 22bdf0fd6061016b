use std::time::Duration;

use bytes::Bytes;

use super::Emulator;
use crate::key_vault::OWN_VAULT;
use crate::permissions::{Role, RoleScope};

/// Roles, secrets and blobs.
impl Emulator {
    /// Assigns a role to an application or a managed identity.
    ///
    /// Every identity has all roles until the first decision about it: from then on, it has the ones that
    /// were assigned.
    pub fn assign_role(&self, client_id: &str, role: Role, scope: RoleScope) {
        self.assign_role_after(client_id, role, scope, Duration::ZERO);
    }

    /// Assigns a role that works after a delay on the clock of the emulator. In Azure, the delay is up to ten
    /// minutes.
    pub fn assign_role_after(&self, client_id: &str, role: Role, scope: RoleScope, delay: Duration) {
        let works_from = self.clock.now() + delay;
        self.permissions.assign(client_id, role, scope, works_from);
    }

    /// Removes all roles of an application or a managed identity.
    pub fn remove_roles(&self, client_id: &str) {
        self.permissions.remove_all(client_id);
    }

    /// Sets a secret in a vault: behind the proxy, `VAULT.vault.azure.net`.
    ///
    /// * `vault`: `None` for that of [`key_vault_url`](Self::key_vault_url).
    pub fn set_secret(&self, vault: Option<&str>, name: &str, value: &str) {
        self.key_vault.set_secret(vault.unwrap_or(OWN_VAULT), name, value);
    }

    /// Creates a container if needed, and a blob in it.
    ///
    /// * `account`: `None` for that of [`blob_account_url`](Self::blob_account_url).
    pub fn put_blob(&self, account: Option<&str>, container: &str, name: &str, content: impl Into<Vec<u8>>) {
        let content = Bytes::from(content.into());
        self.blobs.put(account, container, Some((name, content)));
    }

    /// Creates an empty container, if needed.
    ///
    /// * `account`: as in [`put_blob`](Self::put_blob).
    pub fn create_container(&self, account: Option<&str>, name: &str) {
        self.blobs.put(account, name, None);
    }
}
