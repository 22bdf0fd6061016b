use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

/// A role for data, of those that Azure has built in.
///
/// Its text is the name in Azure, such as `Storage Blob Data Reader`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Role {
    /// Reads blobs and lists.
    StorageBlobDataReader,
    /// Reads and writes blobs and containers.
    StorageBlobDataContributor,
    /// The same here as the contributor: there are no POSIX permissions.
    StorageBlobDataOwner,
    /// Reads secrets.
    KeyVaultSecretsUser,
    /// Reads, writes and deletes secrets.
    KeyVaultSecretsOfficer,
}

impl Role {
    /// All roles.
    pub const ALL: [Self; 5] = [
        Self::StorageBlobDataReader,
        Self::StorageBlobDataContributor,
        Self::StorageBlobDataOwner,
        Self::KeyVaultSecretsUser,
        Self::KeyVaultSecretsOfficer,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::StorageBlobDataReader => "Storage Blob Data Reader",
            Self::StorageBlobDataContributor => "Storage Blob Data Contributor",
            Self::StorageBlobDataOwner => "Storage Blob Data Owner",
            Self::KeyVaultSecretsUser => "Key Vault Secrets User",
            Self::KeyVaultSecretsOfficer => "Key Vault Secrets Officer",
        }
    }

    /// Whether it is a role of Key Vault, and not of Storage.
    pub(crate) fn is_for_vaults(self) -> bool {
        matches!(self, Self::KeyVaultSecretsUser | Self::KeyVaultSecretsOfficer)
    }

    fn allows(self, action: Action) -> bool {
        match action {
            Action::ReadBlob => matches!(
                self,
                Self::StorageBlobDataReader | Self::StorageBlobDataContributor | Self::StorageBlobDataOwner
            ),
            Action::WriteBlob => {
                matches!(
                    self,
                    Self::StorageBlobDataContributor | Self::StorageBlobDataOwner
                )
            }
            Action::ReadSecret => matches!(self, Self::KeyVaultSecretsUser | Self::KeyVaultSecretsOfficer),
            Action::WriteSecret => self == Self::KeyVaultSecretsOfficer,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let role = Self::ALL.into_iter().find(|role| role.name() == name);
        role.ok_or_else(|| {
            let known = Self::ALL.map(Self::name).join(", ");
            format!("the role {name:?} is not one of: {known}")
        })
    }
}

/// Where a role applies.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RoleScope {
    /// All accounts and vaults.
    Everything,
    /// A storage account.
    Account(String),
    /// A container, in any account.
    Container(String),
    /// A container of an account: both names.
    ContainerOf(String, String),
    /// A vault.
    Vault(String),
}

impl RoleScope {
    /// Names of accounts and vaults are parts of host names, which ignore case.
    fn in_lower_case(self) -> Self {
        match self {
            Self::Everything => self,
            Self::Account(name) => Self::Account(name.to_ascii_lowercase()),
            Self::Container(name) => Self::Container(name.to_ascii_lowercase()),
            Self::ContainerOf(account, name) => {
                Self::ContainerOf(account.to_ascii_lowercase(), name.to_ascii_lowercase())
            }
            Self::Vault(name) => Self::Vault(name.to_ascii_lowercase()),
        }
    }
}

/// What a request does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    ReadBlob,
    WriteBlob,
    ReadSecret,
    WriteSecret,
}

/// The role assignments of each client. A client without a decision has all roles.
#[derive(Clone, Default)]
pub(super) struct Permissions(Arc<Mutex<Decisions>>);

#[derive(Default)]
struct Decisions {
    clients: HashMap<String, Vec<Assignment>>,
    /// What a reset leads back to.
    baseline: HashMap<String, Vec<Assignment>>,
}

#[derive(Clone)]
struct Assignment {
    role: Role,
    scope: RoleScope,
    works_from: SystemTime,
}

impl Permissions {
    pub(super) fn assign(&self, client_id: &str, role: Role, scope: RoleScope, works_from: SystemTime) {
        let mut decisions = self.lock();
        let assignments = decisions.clients.entry(client_id.to_lowercase()).or_default();
        assignments.push(Assignment {
            role,
            scope: scope.in_lower_case(),
            works_from,
        });
    }

    /// From here on, the client has the roles that are assigned to it.
    pub(super) fn remove_all(&self, client_id: &str) {
        self.lock().clients.insert(client_id.to_lowercase(), Vec::new());
    }

    /// Goes back to the decisions of the baseline.
    pub(super) fn reset(&self) {
        let decisions = &mut *self.lock();
        decisions.clients.clone_from(&decisions.baseline);
    }

    /// Makes the decisions so far the baseline.
    pub(super) fn set_baseline(&self) {
        let decisions = &mut *self.lock();
        decisions.baseline.clone_from(&decisions.clients);
    }

    /// Adds the decision about a client to the baseline, if there is one.
    pub(super) fn add_to_baseline(&self, client_id: &str) {
        let mut decisions = self.lock();
        let decision = decisions.clients.get_key_value(client_id);
        let decision = decision.map(|(client_id, roles)| (client_id.clone(), roles.clone()));
        decisions.baseline.extend(decision);
    }

    /// Whether a client may do something at one of these scopes.
    pub(super) fn allow(
        &self,
        client_id: &str,
        action: Action,
        scopes: &[RoleScope],
        now: SystemTime,
    ) -> bool {
        let decisions = self.lock();
        let Some(assignments) = decisions.clients.get(&client_id.to_lowercase()) else {
            return true;
        };
        assignments.iter().any(|assignment| {
            assignment.works_from <= now
                && assignment.role.allows(action)
                && (assignment.scope == RoleScope::Everything || scopes.contains(&assignment.scope))
        })
    }

    fn lock(&self) -> MutexGuard<'_, Decisions> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
