//! One file for each consumer of tokens.

/// Hands all credentials of the crate to a macro that lets an SDK use them.
#[cfg(any(feature = "azure-core", feature = "azure-core-021"))]
macro_rules! for_all_credentials {
    ($implement:ident) => {
        $implement!(
            #[cfg(feature = "default-credential")]
            crate::AzureCliCredential,
            #[cfg(feature = "default-credential")]
            crate::AzureDeveloperCliCredential,
            crate::ChainedTokenCredential,
            crate::ClientAssertionCredential,
            #[cfg(feature = "client-certificate")]
            crate::ClientCertificateCredential,
            crate::ClientSecretCredential,
            #[cfg(feature = "default-credential")]
            crate::DefaultAzureCredential,
            #[cfg(feature = "client-certificate")]
            crate::EnvironmentCredential,
            #[cfg(feature = "default-credential")]
            crate::ManagedIdentityCredential,
            #[cfg(feature = "azure-core")]
            crate::SdkCredential,
            crate::WorkloadIdentityCredential,
        );
    };
}

#[cfg(any(feature = "azure-core", feature = "azure-core-021"))]
use for_all_credentials;

#[cfg(feature = "azure-core")]
mod azure_core;
#[cfg(feature = "azure-core-021")]
mod azure_core_021;

#[cfg(feature = "azure-core")]
pub use azure_core::{SdkCredential, SdkTransport};
