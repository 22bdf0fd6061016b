//! The crate `object_store` 0.14.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use async_trait::async_trait;
use object_store::azure::AzureCredential;
use object_store::client::CredentialProvider;

use super::STORAGE_SCOPE;
use crate::credential::Credential;
use crate::error::Error;
use crate::token::AccessToken;

/// Any [`Credential`] as a `CredentialProvider` of `object_store` 0.14.
///
/// `object_store` calls it for each request. The token comes from the cache of the credential: a
/// caller does not wait while a token is refreshed, and a token that is still valid is used when
/// the refresh fails. An error of `object_store` has the [`Error`] among its sources: see
/// [`Error::find_in`].
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
///
/// use entra_workload::WorkloadIdentityCredential;
/// use entra_workload::integration::ObjectStoreCredential;
/// use object_store::azure::MicrosoftAzureBuilder;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let credential = WorkloadIdentityCredential::builder()
/// #     .tenant_id("72f988bf-86f1-41af-91ab-2d7cd011db47")
/// #     .client_id("7a5ff21b-4f5b-4f5b-9e3e-2c0b5a1d9a10")
/// #     .token_file("/var/run/secrets/azure/tokens/azure-identity-token")
/// #     .build()?;
/// # /*
/// let credential = WorkloadIdentityCredential::from_env()?; // one per process
/// # */
/// let store = MicrosoftAzureBuilder::new()
///     .with_account("myaccount")
///     .with_container_name("orders")
///     .with_credentials(Arc::new(ObjectStoreCredential::new(credential)))
/// #   .with_http_connector(NoNetwork)
///     .build()?;
/// # drop(store);
/// # Ok(()) }
/// # #[derive(Debug)]
/// # struct NoNetwork;
/// # impl object_store::client::HttpConnector for NoNetwork {
/// #     fn connect(
/// #         &self,
/// #         _: &object_store::ClientOptions,
/// #     ) -> object_store::Result<object_store::client::HttpClient> {
/// #         Ok(object_store::client::HttpClient::new(NoNetwork))
/// #     }
/// # }
/// # #[async_trait::async_trait]
/// # impl object_store::client::HttpService for NoNetwork {
/// #     async fn call(
/// #         &self,
/// #         _: object_store::client::HttpRequest,
/// #     ) -> Result<object_store::client::HttpResponse, object_store::client::HttpError> {
/// #         std::future::pending().await
/// #     }
/// # }
/// ```
#[derive(Debug)]
pub struct ObjectStoreCredential {
    credential: Arc<dyn Credential>,
    scope: String,
    last: ArcSwapOption<Converted>,
}

impl ObjectStoreCredential {
    /// Uses the tokens of `credential` for Azure Storage.
    pub fn new(credential: Arc<dyn Credential>) -> Self {
        Self {
            credential,
            scope: STORAGE_SCOPE.to_owned(),
            last: ArcSwapOption::empty(),
        }
    }

    /// Sets the scope, for a service that checks tokens as Azure Storage does but has an audience
    /// of its own. Default: `https://storage.azure.com/.default`, which is that of Azure Storage in
    /// all clouds.
    #[must_use]
    pub fn with_scope(mut self, scope: impl Into<String>) -> Self {
        self.scope = scope.into();
        self
    }
}

#[async_trait]
impl CredentialProvider for ObjectStoreCredential {
    type Credential = AzureCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AzureCredential>> {
        let token = self.credential.token(&[&self.scope]).await.map_err(to_store)?;
        // `object_store` needs the text in a string of its own: one copy for each token, not for
        // each request.
        if let Some(last) = &*self.last.load()
            && last.token.is_same_token(&token)
        {
            return Ok(Arc::clone(&last.converted));
        }
        let converted = Arc::new(AzureCredential::BearerToken(token.secret().to_owned()));
        self.last.store(Some(Arc::new(Converted {
            token,
            converted: Arc::clone(&converted),
        })));
        Ok(converted)
    }
}

/// A token and the same for `object_store`, whose `Debug` shows the text.
struct Converted {
    token: AccessToken,
    converted: Arc<AzureCredential>,
}

impl std::fmt::Debug for Converted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.token.fmt(f)
    }
}

fn to_store(error: Error) -> object_store::Error {
    object_store::Error::Generic {
        store: "MicrosoftAzure",
        source: Box::new(error),
    }
}
