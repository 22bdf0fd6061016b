//! What feeds the tokens to other libraries.

#[cfg(feature = "azure-core")]
mod azure_core;
#[cfg(feature = "reqwest-middleware")]
mod reqwest;

#[cfg(feature = "azure-core")]
pub use azure_core::ClaimsChallengePolicy;
#[cfg(feature = "reqwest-middleware")]
pub use reqwest::BearerTokenMiddleware;
