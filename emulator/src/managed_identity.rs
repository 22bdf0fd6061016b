use std::sync::{Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

/// A managed identity of a virtual machine or an app.
///
/// A token request selects it by one of its three IDs, which are case-insensitive.
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
    /// The client ID, a GUID: the `appid` of its tokens.
    pub client_id: String,
    /// The object ID or principal ID, a GUID: the `oid` of its tokens.
    pub object_id: String,
    /// The resource ID, its path in Azure Resource Manager: the `xms_mirid` of its tokens.
    pub resource_id: String,
}

impl ManagedIdentity {
    /// Creates a user-assigned identity with random IDs.
    pub fn named(name: &str) -> Self {
        Self::with_provider_path(&format!(
            "Microsoft.ManagedIdentity/userAssignedIdentities/{name}"
        ))
    }

    fn with_provider_path(provider_path: &str) -> Self {
        Self {
            client_id: Uuid::new_v4().to_string(),
            object_id: Uuid::new_v4().to_string(),
            resource_id: format!(
                "/subscriptions/{}/resourceGroups/emulator/providers/{provider_path}",
                Uuid::new_v4()
            ),
        }
    }
}

/// The identities assigned to the virtual machine and the app.
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

    /// Returns the user-assigned identity with this name or these IDs. Assigns it if there is none.
    pub(super) fn assign_named(&self, name: &str, identity: ManagedIdentity) -> ManagedIdentity {
        let mut assigned = self.lock();
        let suffix = format!("/userAssignedIdentities/{name}");
        let known = assigned.user.iter().find(|known| {
            known.client_id.eq_ignore_ascii_case(&identity.client_id) || known.resource_id.ends_with(&suffix)
        });
        if let Some(known) = known {
            return known.clone();
        }
        assigned.user.push(identity.clone());
        identity
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

    /// Finds the identity with this ID.
    ///
    /// * `field`: the kind of ID.
    pub(super) fn find(&self, field: IdField, id: &str) -> Option<ManagedIdentity> {
        let assigned = self.lock();
        let mut all = assigned.user.iter().chain(&assigned.system);
        all.find(|identity| field(identity).eq_ignore_ascii_case(id))
            .cloned()
    }

    fn lock(&self) -> MutexGuard<'_, Assigned> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Selects one of the three IDs of an identity.
pub(super) type IdField = fn(&ManagedIdentity) -> &str;

pub(super) const CLIENT_ID: IdField = |identity| &identity.client_id;
pub(super) const OBJECT_ID: IdField = |identity| &identity.object_id;
pub(super) const RESOURCE_ID: IdField = |identity| &identity.resource_id;
