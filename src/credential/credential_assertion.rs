use std::sync::Arc;

use async_trait::async_trait;

use super::Credential;
use crate::assertion::{AssertionRequest, ClientAssertion};
use crate::error::Error;
use crate::token::{Secret, TokenRequest};

/// A source of client assertions that are the tokens of another credential: a managed identity as the
/// federated credential of an application.
///
/// The application can be of any tenant in which it is registered, so this is the way for a workload with
/// a managed identity to act in other tenants. It needs a federated credential with the issuer
/// `https://login.microsoftonline.com/{tenant}/v2.0`, the object ID of the user-assigned managed identity
/// as subject, and the audience of the [cloud](crate::Cloud).
///
/// Entra accepts only the token of a user-assigned managed identity that got it from its own host: neither
/// that of an application, nor one that was itself obtained with a federated credential (AADSTS700231).
///
/// Source: Microsoft identity platform, "Configure an application to trust a managed identity".
///
/// # Errors
///
/// Those of the other credential.
///
/// # Examples
///
/// ```no_run
/// # #[cfg(feature = "default-credential")]
/// # async fn f() -> Result<(), entra_workload::Error> {
/// use entra_workload::{ClientAssertionCredential, ManagedIdentityCredential};
/// use entra_workload::assertion::CredentialAssertion;
/// use entra_workload::builder::ManagedIdentityId;
///
/// let identity = ManagedIdentityCredential::builder()
///     .id(ManagedIdentityId::ClientId("0a8ff2d6-6f2a-4a0c-9c1d-3c9f4f4f2a77".into()))
///     .build()?;
/// let credential = ClientAssertionCredential::builder()
///     .tenant_id("contoso.com") // of a customer
///     .client_id("7a5ff21b-4f5b-4f5b-9e3e-2c0b5a1d9a10") // of the application
///     .assertion(CredentialAssertion::new(identity))
///     .build()?;
/// let token = credential.token(&["https://vault.azure.net/.default"]).await?;
/// # Ok(()) }
/// ```
#[derive(Debug)]
#[must_use]
pub struct CredentialAssertion {
    credential: Arc<dyn Credential>,
    audience: Option<String>,
}

impl CredentialAssertion {
    /// Creates a source of the tokens of `credential`.
    pub fn new(credential: Arc<dyn Credential>) -> Self {
        Self {
            credential,
            audience: None,
        }
    }

    /// Sets the audience of the tokens. Default: that of the credential's [cloud](crate::Cloud), which is
    /// `api://AzureADTokenExchange` in the public cloud.
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audience = Some(audience.into());
        self
    }
}

#[async_trait]
impl ClientAssertion for CredentialAssertion {
    async fn assertion(&self, request: AssertionRequest) -> Result<Secret, Error> {
        let audience = self.audience.as_deref().unwrap_or(request.audience());
        let scope = format!("{audience}/.default");
        let scopes = [scope.as_str()];
        let token = match self.credential.cached(&TokenRequest::new(&scopes)) {
            Some(token) => token,
            None => self.credential.token_for(&TokenRequest::new(&scopes)).await?,
        };
        Ok(Secret::from(token.secret()))
    }
}
