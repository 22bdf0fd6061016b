use std::sync::{Mutex, MutexGuard, PoisonError};

use super::guid::Guid;

/// An identity that Azure keeps for a machine or an app. It has three names, and may be asked for by each of them; all are
/// compared without regard to case.
///
/// # Examples
///
/// ```
/// use entra_workload_emulator::ManagedIdentity;
///
/// let identity = ManagedIdentity::named("orders");
/// assert!(identity.resource_id.ends_with("/userAssignedIdentities/orders"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManagedIdentity {
    /// The `appid` of its tokens: a GUID.
    pub client_id: String,
    /// The `oid` of its tokens, also called principal id: a GUID.
    pub object_id: String,
    /// Its path in Azure Resource Manager, the `xms_mirid` of its tokens.
    pub resource_id: String,
}

impl ManagedIdentity {
    /// A user-assigned identity of this name, with ids of its own.
    pub fn named(name: &str) -> Self {
        Self::with_provider_path(&format!(
            "Microsoft.ManagedIdentity/userAssignedIdentities/{name}"
        ))
    }

    fn with_provider_path(provider_path: &str) -> Self {
        Self {
            client_id: Guid::random().to_string(),
            object_id: Guid::random().to_string(),
            resource_id: format!(
                "/subscriptions/{}/resourceGroups/emulator/providers/{provider_path}",
                Guid::random()
            ),
        }
    }
}

/// The identities of the one machine, which is also the one app.
#[derive(Default)]
pub(super) struct ManagedIdentities(Mutex<Assigned>);

#[derive(Default)]
struct Assigned {
    system: Option<ManagedIdentity>,
    user: Vec<ManagedIdentity>,
}

impl ManagedIdentities {
    pub(super) fn assign(&self, identity: ManagedIdentity) {
        self.lock().user.push(identity);
    }

    pub(super) fn assign_system(&self) -> ManagedIdentity {
        let machine = || ManagedIdentity::with_provider_path("Microsoft.Compute/virtualMachines/emulator");
        self.lock().system.get_or_insert_with(machine).clone()
    }

    pub(super) fn system(&self) -> Option<ManagedIdentity> {
        self.lock().system.clone()
    }

    pub(super) fn user(&self) -> Vec<ManagedIdentity> {
        self.lock().user.clone()
    }

    /// The identity of which `name` gives this id.
    pub(super) fn find(&self, name: IdField, id: &str) -> Option<ManagedIdentity> {
        let assigned = self.lock();
        let mut all = assigned.user.iter().chain(&assigned.system);
        all.find(|identity| name(identity).eq_ignore_ascii_case(id))
            .cloned()
    }

    fn lock(&self) -> MutexGuard<'_, Assigned> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Gives one of an identity's three names.
pub(super) type IdField = fn(&ManagedIdentity) -> &str;

pub(super) const CLIENT_ID: IdField = |identity| &identity.client_id;
pub(super) const OBJECT_ID: IdField = |identity| &identity.object_id;
pub(super) const RESOURCE_ID: IdField = |identity| &identity.resource_id;
