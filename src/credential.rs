//! The credentials, one file each. Each one resolves its settings and combines a token source with
//! a cache.

mod client;
mod macros;
mod options;

mod azure_pipelines;
mod client_assertion;
#[cfg(feature = "client-certificate")]
mod client_certificate;
mod client_secret;
mod credential_assertion;
#[cfg(feature = "default-credential")]
mod developer_tools;
#[cfg(feature = "client-certificate")]
mod environment;
mod identity;
#[cfg(feature = "default-credential")]
mod managed_identity;
#[cfg(feature = "azure-core")]
mod own_tenant;
#[cfg(feature = "azure-core")]
mod sdk;
mod workload_identity;

use std::fmt;

use async_trait::async_trait;

use crate::error::Error;
use crate::token::{AccessToken, TokenRequest};

pub use azure_pipelines::{AzurePipelinesCredential, AzurePipelinesCredentialBuilder};
pub use client_assertion::{ClientAssertionCredential, ClientAssertionCredentialBuilder};
#[cfg(feature = "client-certificate")]
pub use client_certificate::{ClientCertificateCredential, ClientCertificateCredentialBuilder};
pub use client_secret::{ClientSecretCredential, ClientSecretCredentialBuilder};
pub use credential_assertion::CredentialAssertion;
#[cfg(feature = "default-credential")]
pub use developer_tools::{
    AzureCliCredential, AzureCliCredentialBuilder, AzureDeveloperCliCredential,
    AzureDeveloperCliCredentialBuilder,
};
#[cfg(feature = "client-certificate")]
pub use environment::{EnvironmentCredential, EnvironmentCredentialBuilder};
pub(crate) use identity::Identify;
pub use identity::Identity;
#[cfg(feature = "client-certificate")]
pub(crate) use macros::source;
pub(crate) use macros::{client_options, credential};
#[cfg(feature = "default-credential")]
pub use managed_identity::{ManagedIdentityCredential, ManagedIdentityCredentialBuilder, ManagedIdentityId};
#[cfg(feature = "default-credential")]
pub(crate) use options::{ClientOptions, present};
#[cfg(feature = "azure-core")]
pub(crate) use own_tenant::own_tenant_token;
#[cfg(feature = "azure-core")]
pub use sdk::SdkCredential;
#[cfg(feature = "default-credential")]
pub(crate) use workload_identity::missing_workload_identity;
pub use workload_identity::{WorkloadIdentityCredential, WorkloadIdentityCredentialBuilder};

/// Gets access tokens. All credentials of this crate implement it, and the links of a chain are of
/// this type.
///
/// The credentials also have inherent methods of the same names, so they can be used without
/// importing this trait. `dyn Credential` is for programs that choose a credential at run time.
///
/// # Implementing
///
/// * [`token_for`](Self::token_for) is the only required method. It must be cancel safe, and its
///   error decides what a chain does: it continues past
///   [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable), which means "not set up here", and
///   stops at every other kind.
/// * An implementation that caches tokens also implements [`cached`](Self::cached),
///   [`invalidate`](Self::invalidate), [`invalidate_secret`](Self::invalidate_secret) and
///   [`clear`](Self::clear); the defaults are those of a credential without a cache.
/// * Errors, logs and `Debug` must not contain a token.
///
/// # Examples
///
/// A credential for tests:
///
/// ```
/// use std::time::{Duration, SystemTime};
///
/// use entra_workload::{AccessToken, Credential, Error, TokenRequest};
///
/// #[derive(Debug)]
/// struct FixedToken(AccessToken);
///
/// #[async_trait::async_trait]
/// impl Credential for FixedToken {
///     async fn token_for(&self, _request: &TokenRequest<'_>) -> Result<AccessToken, Error> {
///         Ok(self.0.clone())
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Error> {
/// let expires_on = SystemTime::now() + Duration::from_secs(3600);
/// let fixed = FixedToken(AccessToken::new("a-token", expires_on));
/// let credential: Box<dyn Credential> = Box::new(fixed);
/// let token = credential.token(&["https://vault.azure.net/.default"]).await?;
/// assert_eq!(token.secret(), "a-token");
/// # Ok(()) }
/// ```
#[async_trait]
pub trait Credential: fmt::Debug + Send + Sync + 'static {
    /// Returns a token for `request`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) if this credential is not set up
    /// here; any other kind if it is set up and fails.
    async fn token_for(&self, request: &TokenRequest<'_>) -> Result<AccessToken, Error>;

    /// Returns a token for `scopes`: the cached one, or that of [`token_for`](Self::token_for).
    ///
    /// # Errors
    ///
    /// As [`token_for`](Self::token_for).
    async fn token(&self, scopes: &[&str]) -> Result<AccessToken, Error> {
        let request = TokenRequest::new(scopes);
        match self.cached(&request) {
            Some(token) => Ok(token),
            None => self.token_for(&request).await,
        }
    }

    /// Gets a token for `scopes` and returns the identity it is for: for start-up and readiness probes. A
    /// cached token counts. See [`Identity`] for an example.
    ///
    /// An implementation outside this crate does not need its own: the default returns the name of the type
    /// and [`client_id`](Self::client_id).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use entra_workload::{Credential, Error};
    ///
    /// async fn is_ready(credential: Arc<dyn Credential>) -> Result<(), Error> {
    ///     let identity = credential.check(&["https://vault.azure.net/.default"]).await?;
    ///     println!("running as {identity}");
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`token`](Self::token).
    async fn check(&self, scopes: &[&str]) -> Result<Identity, Error> {
        self.token(scopes).await?;
        Ok(Identity::new(type_name_of(self), self.client_id()))
    }

    /// Returns the token for `request` if a usable one is cached. Must not block and should not
    /// allocate; a chain calls it before [`token_for`](Self::token_for).
    fn cached(&self, request: &TokenRequest<'_>) -> Option<AccessToken> {
        let _ = request;
        None
    }

    /// Calls `read` with the token for `request` if a usable one is cached. For adapters that copy
    /// the token: it needs no clone, whose count of references slows cores down that read at the
    /// same time.
    fn read_cached(&self, request: &TokenRequest<'_>, read: &mut dyn FnMut(&AccessToken)) {
        if let Some(token) = self.cached(request) {
            read(&token);
        }
    }

    /// Removes this token from the cache, for example because a service rejected it. Does nothing
    /// if a newer one has replaced it.
    fn invalidate(&self, token: &AccessToken) {
        let _ = token;
    }

    /// Removes the token with this text from the cache; otherwise like
    /// [`invalidate`](Self::invalidate).
    fn invalidate_secret(&self, secret: &str) {
        let _ = secret;
    }

    /// Removes all tokens from the cache.
    fn clear(&self) {}

    /// Returns the client ID that tokens are requested for, if it is known; for logs.
    fn client_id(&self) -> Option<&str> {
        None
    }
}

/// Returns the name of a type without its module and parameters.
fn type_name_of<T: ?Sized>(_: &T) -> &'static str {
    let path = std::any::type_name::<T>();
    let path = path.split_once('<').map_or(path, |(path, _)| path);
    path.rsplit_once("::").map_or(path, |(_, name)| name)
}
