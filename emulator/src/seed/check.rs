use std::io;

use super::{RoleSeed, Seed};
use crate::blob::is_container_name;
use crate::guid::is_guid;
use crate::permissions::RoleScope;

impl Seed {
    /// Checks all names and IDs, so that an invalid seed changes nothing.
    pub(super) fn check(&self) -> io::Result<()> {
        for pod in &self.pods {
            pod_name("pods.namespace", &pod.namespace)?;
            pod_name("pods.serviceAccount", &pod.service_account)?;
            guid("pods.clientId", pod.client_id.as_deref())?;
            roles(pod.roles.as_deref())?;
        }
        for application in &self.applications {
            guid("applications.clientId", Some(&application.client_id))?;
            roles(application.roles.as_deref())?;
        }
        for identity in &self.managed_identities {
            guid("managedIdentities.clientId", identity.client_id.as_deref())?;
            guid("managedIdentities.objectId", identity.object_id.as_deref())?;
            roles(identity.roles.as_deref())?;
        }
        for secret in &self.secrets {
            vault("secrets.vault", secret.vault.as_deref())?;
            let wanted = "the name of a secret: letters, digits and hyphens";
            check(
                &secret.name,
                is_letters_digits_and_hyphens,
                "secrets.name",
                wanted,
            )?;
        }
        for it in &self.containers {
            account("containers.account", it.account.as_deref())?;
            container("containers.name", Some(&it.name))?;
        }
        Ok(())
    }
}

impl RoleSeed {
    pub(super) fn scope(&self) -> io::Result<RoleScope> {
        account("roles.account", self.account.as_deref())?;
        container("roles.container", self.container.as_deref())?;
        vault("roles.vault", self.vault.as_deref())?;
        let is_odd = if self.role.is_for_vaults() {
            self.account.is_some() || self.container.is_some()
        } else {
            self.vault.is_some()
        };
        if is_odd || self.delay_seconds > LONGEST_DELAY {
            let text = format!("the role {} does not fit its scope or its delay", self.role);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        Ok(match (&self.account, &self.container, &self.vault) {
            (Some(account), Some(name), _) => RoleScope::ContainerOf(account.clone(), name.clone()),
            (None, Some(name), _) => RoleScope::Container(name.clone()),
            (Some(name), None, _) => RoleScope::Account(name.clone()),
            (None, None, Some(name)) => RoleScope::Vault(name.clone()),
            (None, None, None) => RoleScope::Everything,
        })
    }
}

fn roles(roles: Option<&[RoleSeed]>) -> io::Result<()> {
    roles
        .into_iter()
        .flatten()
        .try_for_each(|role| role.scope().map(drop))
}

fn pod_name(field: &str, name: &str) -> io::Result<()> {
    let is_valid = |name: &str| {
        let mut bytes = name.bytes();
        !name.is_empty() && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.".contains(&b))
    };
    let wanted = "the name of a Kubernetes object: lower-case letters, digits, hyphens and dots";
    check(name, is_valid, field, wanted)
}

fn guid(field: &str, id: Option<&str>) -> io::Result<()> {
    let wanted = "a GUID, such as 22222222-2222-4222-8222-000000000001";
    id.map_or(Ok(()), |id| check(id, is_guid, field, wanted))
}

/// Source: "Azure Key Vault", vault names.
fn vault(field: &str, name: Option<&str>) -> io::Result<()> {
    let is_valid = |name: &str| (3..=24).contains(&name.len()) && is_letters_digits_and_hyphens(name);
    let wanted = "the name of a vault without its domain: 3 to 24 letters, digits and hyphens";
    name.map_or(Ok(()), |name| check(name, is_valid, field, wanted))
}

/// Source: "Storage account overview", storage account name.
fn account(field: &str, name: Option<&str>) -> io::Result<()> {
    let is_valid = |name: &str| {
        let mut bytes = name.bytes();
        (3..=24).contains(&name.len()) && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    };
    let wanted = "the name of a storage account without its domain: 3 to 24 lower-case letters and digits";
    name.map_or(Ok(()), |name| check(name, is_valid, field, wanted))
}

fn container(field: &str, name: Option<&str>) -> io::Result<()> {
    let wanted = "the name of a container: 3 to 63 lower-case letters, digits and hyphens";
    name.map_or(Ok(()), |name| check(name, is_container_name, field, wanted))
}

fn is_letters_digits_and_hyphens(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

fn check(value: &str, is_valid: impl Fn(&str) -> bool, field: &str, wanted: &str) -> io::Result<()> {
    if is_valid(value) {
        return Ok(());
    }
    let text = format!("{field}: {value:?} is not {wanted}");
    Err(io::Error::new(io::ErrorKind::InvalidInput, text))
}

/// In seconds; a day.
const LONGEST_DELAY: u64 = 86_400;
