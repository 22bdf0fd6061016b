//! Tokens for other libraries: the Azure SDK, `object_store`, `reqsign`, `reqwest`, and HTTP clients of your own.

#[cfg(feature = "azure-core")]
mod azure_core;
#[cfg(feature = "object-store")]
mod object_store;
#[cfg(feature = "reqsign")]
mod reqsign;
#[cfg(feature = "reqwest-middleware")]
mod reqwest;
mod token_stream;

pub use crate::challenge::BearerChallenge;
#[cfg(feature = "azure-core")]
pub use crate::credential::SdkCredential;
#[cfg(feature = "azure-core")]
pub use crate::sdk::{ForceTokenRefresh, SdkTransport, TokenClaims, TokenTenantId};
#[cfg(feature = "azure-core")]
pub use azure_core::ClaimsChallengePolicy;
#[cfg(feature = "object-store")]
pub use object_store::ObjectStoreCredential;
#[cfg(feature = "reqsign")]
pub use reqsign::ReqsignCredential;
#[cfg(feature = "reqwest-middleware")]
pub use reqwest::BearerTokenMiddleware;
pub use token_stream::TokenStream;

/// The scope of Azure Storage. The same in all clouds.
#[cfg(any(feature = "object-store", feature = "reqsign"))]
const STORAGE_SCOPE: &str = "https://storage.azure.com/.default";
