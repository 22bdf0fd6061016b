use std::fmt;
use std::sync::Arc;

use super::options::ClientOptions;
use super::{client_options, credential};
use crate::assertion::ClientAssertion;
use crate::cache::Cache;
use crate::error::Error;
use crate::exchange::ClientAuthentication;

/// Gets tokens for an application with client assertions from any source: a CI system
/// ([`GitHubActions`](crate::assertion::GitHubActions), [`AzurePipelines`](crate::assertion::AzurePipelines)), the variables of
/// Terraform ([`TerraformOidc`](crate::assertion::TerraformOidc)), the API server of a cluster
/// ([`KubernetesTokenRequest`](crate::assertion::KubernetesTokenRequest)), a managed identity
/// ([`CredentialAssertion`](crate::assertion::CredentialAssertion)), a file
/// ([`ProjectedTokenFile`](crate::assertion::ProjectedTokenFile)), a command, SPIFFE, or your own.
///
/// In a pod with workload identity, use
/// [`WorkloadIdentityCredential`](crate::WorkloadIdentityCredential).
///
/// # Examples
///
/// ```
/// use entra_workload::{ClientAssertionCredential, Secret};
/// use entra_workload::assertion::AssertionRequest;
///
/// let credential = ClientAssertionCredential::builder()
///     .tenant_id("72f988bf-86f1-41af-91ab-2d7cd011db47")
///     .client_id("7a5ff21b-4f5b-4f5b-9e3e-2c0b5a1d9a10")
///     .assertion(|_: AssertionRequest| async { Ok(Secret::from("eyJ...")) })
///     .build()?;
/// # Ok::<(), entra_workload::Error>(())
/// ```
#[derive(Debug)]
pub struct ClientAssertionCredential(Cache);

impl ClientAssertionCredential {
    /// Returns a builder. [`assertion`](ClientAssertionCredentialBuilder::assertion) is required;
    /// the other options override environment variables, and the IDs
    /// that the source names.
    pub fn builder() -> ClientAssertionCredentialBuilder {
        ClientAssertionCredentialBuilder::default()
    }
}

credential!(ClientAssertionCredential);

/// Builds a [`ClientAssertionCredential`].
///
/// # Examples
///
/// ```
/// use entra_workload::ClientAssertionCredential;
/// use entra_workload::assertion::ProjectedTokenFile;
///
/// let credential = ClientAssertionCredential::builder()
///     .tenant_id("72f988bf-86f1-41af-91ab-2d7cd011db47")
///     .client_id("7a5ff21b-4f5b-4f5b-9e3e-2c0b5a1d9a10")
///     .assertion(ProjectedTokenFile::new("/var/run/secrets/tokens/azure"))
///     .build()?;
/// # drop(credential);
/// # Ok::<(), entra_workload::Error>(())
/// ```
#[derive(Default)]
pub struct ClientAssertionCredentialBuilder {
    options: ClientOptions,
    assertion: Option<Arc<dyn ClientAssertion>>,
}

impl ClientAssertionCredentialBuilder {
    /// Sets the source of the client assertions. It is called for every attempt of a token request.
    #[must_use]
    pub fn assertion(mut self, assertion: impl ClientAssertion) -> Self {
        self.assertion = Some(Arc::new(assertion));
        self
    }

    /// Builds the credential. Does no I/O.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) if the source of assertions,
    /// the client ID or the tenant ID is missing, or if one of the IDs or the authority host is
    /// invalid.
    pub fn build(mut self) -> Result<Arc<ClientAssertionCredential>, Error> {
        let environment = self.options.take_environment();
        let assertion = self.assertion.ok_or_else(|| {
            Error::configuration("the source of client assertions is not set; call .assertion(..)")
        })?;
        self.options
            .default_ids(assertion.client_id(), assertion.tenant_id());
        let client = self.options.client(&environment)?;
        let cache = self
            .options
            .build(client, ClientAuthentication::Assertion(assertion), &environment)?;
        Ok(Arc::new(ClientAssertionCredential(cache)))
    }
}

client_options!(ClientAssertionCredentialBuilder, client_id);

impl fmt::Debug for ClientAssertionCredentialBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientAssertionCredentialBuilder")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
