//! The Azure SDK's types: everything that converts between them and this crate's, in both
//! directions.

#[cfg(feature = "azure-core-021")]
pub(crate) mod azure_core_021;
#[cfg(feature = "azure-core")]
mod context;
#[cfg(feature = "azure-core")]
pub(crate) mod error;
#[cfg(feature = "azure-core")]
pub(crate) mod http;
#[cfg(feature = "default-credential")]
pub(crate) mod http_client;
#[cfg(feature = "azure-core")]
pub(crate) mod token;
#[cfg(feature = "azure-core")]
mod transport;

#[cfg(feature = "azure-core")]
use std::future::Future;
#[cfg(feature = "azure-core")]
use std::pin::Pin;

#[cfg(feature = "azure-core")]
pub(crate) use context::{DiscoveredTenant, Parameters};
#[cfg(feature = "azure-core")]
pub use context::{ForceTokenRefresh, TokenClaims, TokenTenantId};
#[cfg(feature = "azure-core")]
pub use transport::SdkTransport;

/// The future of the SDK's `get_token`.
#[cfg(feature = "azure-core")]
pub(crate) type TokenFuture<'a> =
    Pin<Box<dyn Future<Output = azure_core::Result<azure_core::credentials::AccessToken>> + Send + 'a>>;
