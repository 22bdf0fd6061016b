use std::sync::Arc;

use super::options::ClientOptions;
use super::{client_options, credential};
use crate::cache::Cache;
use crate::error::Error;
use crate::exchange::ClientAuthentication;
use crate::token::Secret;

/// Gets tokens for an application with a client secret.
///
/// A secret must be stored, distributed and rotated, and works for anyone who obtains it. In a pod,
/// use [`WorkloadIdentityCredential`](crate::WorkloadIdentityCredential).
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
    /// Returns a builder. Its options override environment variables.
    pub fn builder() -> ClientSecretCredentialBuilder {
        ClientSecretCredentialBuilder::default()
    }
}

credential!(ClientSecretCredential);

/// Builds a [`ClientSecretCredential`].
///
/// # Examples
///
/// ```
/// use entra_workload::{ClientSecretCredential, Environment};
///
/// let credential = ClientSecretCredential::builder()
///     .environment(Environment::from_iter([
///         ("AZURE_TENANT_ID", "72f988bf-86f1-41af-91ab-2d7cd011db47"),
///         ("AZURE_CLIENT_ID", "7a5ff21b-4f5b-4f5b-9e3e-2c0b5a1d9a10"),
///         ("AZURE_CLIENT_SECRET", "..."),
///     ]))
///     .build()?;
/// # drop(credential);
/// # Ok::<(), entra_workload::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct ClientSecretCredentialBuilder {
    pub(super) options: ClientOptions,
    client_secret: Option<Secret>,
}

impl ClientSecretCredentialBuilder {
    /// Sets the client secret: its value, not its ID. Default: `AZURE_CLIENT_SECRET`.
    #[must_use]
    pub fn client_secret(mut self, client_secret: impl Into<Secret>) -> Self {
        self.client_secret = Some(client_secret.into());
        self
    }

    /// Builds the credential. Does no I/O.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) if the secret, the client ID
    /// or the tenant ID is missing, or if one of the IDs or the authority host is invalid.
    pub fn build(mut self) -> Result<Arc<ClientSecretCredential>, Error> {
        let environment = self.options.take_environment();
        let secret = self.client_secret.filter(|secret| !secret.expose().is_empty());
        let secret = match secret {
            Some(secret) => secret,
            None => environment.client_secret()?.ok_or_else(|| {
                Error::configuration("AZURE_CLIENT_SECRET is not set; set it or call .client_secret(..)")
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
