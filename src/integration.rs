//! What feeds the tokens to other libraries.

#[cfg(feature = "azure-core")]
mod azure_core;

#[cfg(feature = "azure-core")]
pub use azure_core::ClaimsChallengePolicy;
