use std::sync::Arc;

use super::options::ClientOptions;
use super::{client_options, credential};
use crate::cache::Cache;
use crate::error::Error;
use crate::exchange::ClientAuthentication;
use crate::token::Secret;

/// Gets tokens for an application by a client secret.
///
/// A secret must be kept, handed out and renewed, and is good for whoever finds it. In a pod, use
/// [`WorkloadIdentityCredential`](crate::WorkloadIdentityCredential).
///
/// # Examples
///
/// ```no_run
/// # fn f(secret: String) -> Result<(), entra_workload::Error> {
/// use entra_workload::ClientSecretCredential;
///
/// let credential = ClientSecretCredential::builder()
///     .tenant_id("72f988bf-86f1-41af-91ab-2d7cd011db47")
///     .client_id("7a5ff21b-4f5b-4f5b-9e3e-2c0b5a1d9a10")
///     .client_secret(secret)
///     .build()?;
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct ClientSecretCredential(Cache);

impl ClientSecretCredential {
    /// A builder; what is left out comes from the environment.
    pub fn builder() -> ClientSecretCredentialBuilder {
        ClientSecretCredentialBuilder::default()
    }
}

credential!(ClientSecretCredential);

/// Makes a [`ClientSecretCredential`]. What is left out comes from the environment.
#[derive(Debug, Default)]
pub struct ClientSecretCredentialBuilder {
    pub(super) options: ClientOptions,
    client_secret: Option<Secret>,
}

impl ClientSecretCredentialBuilder {
    /// The secret: its value, not its id. Default: `AZURE_CLIENT_SECRET`.
    #[must_use]
    pub fn client_secret(mut self, client_secret: impl Into<Secret>) -> Self {
        self.client_secret = Some(client_secret.into());
        self
    }

    /// Makes the credential. Does no I/O.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) if the secret, the client or the tenant is missing, or the
    /// tenant or the authority host cannot be right.
    pub fn build(mut self) -> Result<Arc<ClientSecretCredential>, Error> {
        let environment = self.options.take_environment();
        let secret = self.client_secret.filter(|secret| !secret.expose().is_empty());
        let secret = match secret {
            Some(secret) => secret,
            None => environment.client_secret()?.ok_or_else(|| {
                Error::configuration("AZURE_CLIENT_SECRET is not set; set it, or give .client_secret(..)")
            })?,
        };
        let client = self.options.client(&environment)?;
        let cache = self
            .options
            .build(client, ClientAuthentication::Secret(secret), &environment)?;
        Ok(Arc::new(ClientSecretCredential(cache)))
    }
}

client_options!(ClientSecretCredentialBuilder, client_id);
