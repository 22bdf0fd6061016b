//! One file for each consumer of tokens.

#[cfg(feature = "azure-core")]
mod azure_core;

#[cfg(feature = "azure-core")]
pub use azure_core::{SdkCredential, SdkTransport};
