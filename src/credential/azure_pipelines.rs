use std::fmt;
use std::sync::Arc;

use super::options::ClientOptions;
use super::{client_options, credential};
use crate::assertion::{AzurePipelines, ClientAssertion};
use crate::cache::Cache;
use crate::env::{External, Form};
use crate::error::Error;
use crate::exchange::ClientAuthentication;
use crate::token::Secret;

/// Gets tokens in a job of Azure Pipelines with a service connection that uses workload identity
/// federation.
///
/// In a step of the tasks `AzureCLI@2` or `AzurePowerShell@5`, which set the variables of the service
/// connection, only the access token of the job must be mapped:
///
/// ```yaml
/// - task: AzureCLI@2
///   inputs: {azureSubscription: orders, scriptType: bash, scriptLocation: inlineScript, inlineScript: ./orders}
///   env: {SYSTEM_ACCESSTOKEN: $(System.AccessToken)}
/// ```
///
/// In other steps, set the options. [`AzurePipelines`] describes the variables and the errors.
///
/// # Examples
///
/// ```no_run
/// # async fn f() -> Result<(), entra_workload::Error> {
/// use entra_workload::AzurePipelinesCredential;
///
/// let credential = AzurePipelinesCredential::builder()
///     .tenant_id("72f988bf-86f1-41af-91ab-2d7cd011db47")
///     .client_id("7a5ff21b-4f5b-4f5b-9e3e-2c0b5a1d9a10")
///     .service_connection_id("0a8ff2d6-6f2a-4a0c-9c1d-3c9f4f4f2a77")
///     .build()?;
/// let token = credential.token(&["https://management.azure.com/.default"]).await?;
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct AzurePipelinesCredential(Cache);

impl AzurePipelinesCredential {
    /// Builds the credential from the variables of this job. Does no I/O.
    ///
    /// # Errors
    ///
    /// As [`AzurePipelinesCredentialBuilder::build`].
    pub fn from_env() -> Result<Arc<Self>, Error> {
        Self::builder().build()
    }

    /// Returns a builder. Its options override environment variables.
    pub fn builder() -> AzurePipelinesCredentialBuilder {
        AzurePipelinesCredentialBuilder::default()
    }
}

credential!(AzurePipelinesCredential);

/// Builds an [`AzurePipelinesCredential`]. The client and the tenant default to
/// `AZURESUBSCRIPTION_CLIENT_ID` and `AZURESUBSCRIPTION_TENANT_ID`, then to `AZURE_CLIENT_ID` and
/// `AZURE_TENANT_ID`.
///
/// # Examples
///
/// ```
/// use entra_workload::{AzurePipelinesCredential, Environment};
///
/// let credential = AzurePipelinesCredential::builder()
///     .environment(Environment::from_iter([
///         ("SYSTEM_OIDCREQUESTURI", "https://dev.azure.com/contoso/_apis/distributedtask/hubs/build/oidctoken"),
///         ("SYSTEM_ACCESSTOKEN", "the-access-token-of-the-job"),
///         ("AZURESUBSCRIPTION_TENANT_ID", "72f988bf-86f1-41af-91ab-2d7cd011db47"),
///         ("AZURESUBSCRIPTION_CLIENT_ID", "7a5ff21b-4f5b-4f5b-9e3e-2c0b5a1d9a10"),
///     ]))
///     .service_connection_id("0a8ff2d6-6f2a-4a0c-9c1d-3c9f4f4f2a77")
///     .build()?;
/// # drop(credential);
/// # Ok::<(), entra_workload::Error>(())
/// ```
#[derive(Default)]
pub struct AzurePipelinesCredentialBuilder {
    options: ClientOptions,
    service_connection_id: Option<External>,
    system_access_token: Option<Secret>,
}

impl AzurePipelinesCredentialBuilder {
    /// Sets the service connection, a GUID. Default: `AZURESUBSCRIPTION_SERVICE_CONNECTION_ID`.
    #[must_use]
    pub fn service_connection_id(mut self, service_connection_id: impl Into<String>) -> Self {
        let id = External::new(Form::ClientId, service_connection_id.into());
        self.service_connection_id = Some(id);
        self
    }

    /// Sets the access token of the job. Default: `SYSTEM_ACCESSTOKEN`.
    #[must_use]
    pub fn system_access_token(mut self, system_access_token: impl Into<String>) -> Self {
        let token: String = system_access_token.into();
        self.system_access_token = (!token.is_empty()).then(|| Secret::from(token));
        self
    }

    /// Builds the credential. Does no I/O. The transport is used for the requests to Azure Pipelines too.
    ///
    /// # Errors
    ///
    /// * [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) if `SYSTEM_OIDCREQUESTURI` is not set:
    ///   this is not a job of Azure Pipelines.
    /// * [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) if it is set, and another setting is
    ///   missing or invalid.
    pub fn build(mut self) -> Result<Arc<AzurePipelinesCredential>, Error> {
        let environment = self.options.take_environment();
        let mut assertion =
            AzurePipelines::with_options(&environment, self.service_connection_id, self.system_access_token)?;
        if let Some(transport) = &self.options.transport {
            assertion = assertion.shared_transport(transport.clone());
        }
        let mut options = self.options;
        options.default_ids(assertion.client_id(), assertion.tenant_id());
        let client = options.client(&environment)?;
        let authentication = ClientAuthentication::Assertion(Arc::new(assertion));
        let cache = options.build(client, authentication, &environment)?;
        Ok(Arc::new(AzurePipelinesCredential(cache)))
    }
}

client_options!(AzurePipelinesCredentialBuilder, client_id);

impl fmt::Debug for AzurePipelinesCredentialBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AzurePipelinesCredentialBuilder")
            .field("options", &self.options)
            .field("service_connection_id", &self.service_connection_id)
            .finish_non_exhaustive()
    }
}
