use std::collections::HashSet;
use std::io;
use std::sync::PoisonError;
use std::time::Duration;

use super::directory::Limit;
use super::{Entra, FederatedCredential};
use crate::jwt::PublicKey;
use crate::time::unix_seconds;

/// What an administrator of the tenant does, and what tests order.
impl Entra {
    /// Registers an application without credentials. An existing application keeps its credentials
    /// and is enabled.
    ///
    /// * `client_id`: case-insensitive.
    pub fn register_application(&self, client_id: &str) {
        self.directory().application(client_id).disabled = false;
    }

    /// Adds a federated credential to an application. Registers the application if needed.
    pub fn register_federated_credential(&self, client_id: &str, credential: FederatedCredential) {
        let mut directory = self.directory();
        let credentials = &mut directory.application(client_id).federated_credentials;
        if !credentials.contains(&credential) {
            credentials.push(credential);
        }
    }

    pub(crate) fn trust_issuer(&self, issuer: &str, keys: Vec<PublicKey>) {
        self.issuer_keys.give(issuer, keys);
    }

    /// Removes all federated credentials of an application.
    pub fn remove_federated_credentials(&self, client_id: &str) {
        self.directory()
            .application(client_id)
            .federated_credentials
            .clear();
    }

    /// Sets the client secret of an application; the previous secret becomes invalid. Registers the
    /// application if needed.
    pub fn set_client_secret(&self, client_id: &str, secret: impl Into<String>) {
        let secret = secret.into();
        self.directory().application(client_id).set_client_secret(secret);
    }

    /// Expires the client secret of an application: token requests with it get AADSTS7000222.
    pub fn expire_client_secret(&self, client_id: &str) {
        self.directory().application(client_id).expire_client_secret();
    }

    /// Adds a certificate to an application. Registers the application if needed.
    ///
    /// * `pem`: the first `CERTIFICATE` block is used. Its expiry is ignored.
    ///
    /// # Errors
    ///
    /// Returns an error if `pem` has no certificate with an RSA key.
    pub fn register_certificate(&self, client_id: &str, pem: impl AsRef<[u8]>) -> io::Result<()> {
        let key = PublicKey::from_certificate(pem.as_ref())?;
        self.directory().application(client_id).certificates.push(key);
        Ok(())
    }

    /// Removes all certificates of an application.
    pub fn remove_certificates(&self, client_id: &str) {
        self.directory().application(client_id).certificates.clear();
    }

    /// Disables an application: token requests get AADSTS7000112 until it is registered again.
    /// Access tokens that were already issued stay valid.
    pub fn disable_application(&self, client_id: &str) {
        self.directory().application(client_id).disabled = true;
    }

    /// Blocks an application by a policy of conditional access: token requests get AADSTS53003, with the claims
    /// that the policy asks for.
    ///
    /// * `blocked`: `false` ends it.
    pub fn block_by_policy(&self, client_id: &str, blocked: bool) {
        self.directory().application(client_id).blocked = blocked;
    }

    /// Lets the token endpoint answer AADSTS90033 (503) until it is available again. Managed identity endpoints
    /// answer 500.
    pub fn set_available(&self, available: bool) {
        self.directory().unavailable = !available;
    }

    /// Limits the token requests of each minute: the others get AADSTS90055 (429) and, in `Retry-After`, the
    /// seconds until the minute is over. `None` ends it.
    pub fn limit_token_requests(&self, per_minute: impl Into<Option<u32>>) {
        self.directory().limit = per_minute.into().map(Limit::new);
    }

    pub(crate) fn reset(&self) {
        let baseline = self.baseline.lock().unwrap_or_else(PoisonError::into_inner);
        self.directory().reset(&baseline);
        self.issuer_keys.forget_fetched();
    }

    /// What a reset leads back to.
    pub(crate) fn set_baseline(&self) {
        let applications = self.directory().applications.clone();
        *self.baseline.lock().unwrap_or_else(PoisonError::into_inner) = applications;
    }

    /// Adds an application, if it is one, to what a reset leads back to.
    pub(crate) fn add_to_baseline(&self, client_id: &str) {
        let application = self.directory().applications.get(client_id).cloned();
        let application = application.map(|application| (client_id.to_owned(), application));
        let mut baseline = self.baseline.lock().unwrap_or_else(PoisonError::into_inner);
        baseline.extend(application);
    }

    /// Returns the client IDs of the applications, in lower case.
    pub(crate) fn client_ids(&self) -> HashSet<String> {
        self.directory().applications.keys().cloned().collect()
    }

    /// Whether an application is registered.
    pub(crate) fn knows(&self, client_id: &str) -> bool {
        self.directory()
            .applications
            .contains_key(&client_id.to_lowercase())
    }

    /// Revokes the access tokens that an application has so far and that were requested with the client capability
    /// `cp1` (continuous access evaluation): Key Vault and Blob answer 401 with a claims challenge. New tokens are
    /// accepted. Tokens without `cp1` work until they expire, as in Azure.
    pub fn revoke_tokens(&self, client_id: &str) {
        self.revocations.revoke(client_id);
    }

    /// Revokes the sign-ins of an application: assertions from before, which includes the current service-account
    /// token, get AADSTS50173 until there is a new one. Entra does this with the grants of users.
    ///
    /// It moves the clock a second forward, because tokens have their time of issue in whole seconds.
    pub fn revoke_sign_ins(&self, client_id: &str) {
        // Without it, a new token of the same second could not be told from an old one.
        self.clock.advance(Duration::from_secs(1));
        let now = unix_seconds(self.clock.now());
        self.directory().application(client_id).sign_ins_from = now;
    }

    /// Adds a resource. Key Vault, Storage, Azure Resource Manager, Azure Database for PostgreSQL and MySQL
    /// (`https://ossrdbms-aad.database.windows.net`) and Azure Managed Redis (`https://redis.azure.com`)
    /// are built in.
    ///
    /// * `identifier`: the scope without `/.default`, such as `https://NAMESPACE.servicebus.windows.net`
    ///   for an Event Hubs namespace.
    pub fn register_resource(&self, identifier: &str) {
        self.directory().register_resource(identifier);
    }

    /// Sets `expires_in` of tokens that are issued later, in whole seconds.
    pub fn set_access_token_lifetime(&self, lifetime: Duration) {
        self.directory().access_token_lifetime = lifetime;
    }

    /// Sets `refresh_in` of tokens that are issued later, in whole seconds. `None` omits the field,
    /// as Entra does for one-hour tokens.
    pub fn set_refresh_in(&self, refresh_in: impl Into<Option<Duration>>) {
        self.directory().refresh_in = refresh_in.into();
    }
}
