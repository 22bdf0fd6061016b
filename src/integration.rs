//! One file for each consumer of tokens.

/// Hands all credentials of the crate to a macro that lets an SDK use them.
#[cfg(feature = "azure-core")]
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

#[cfg(feature = "azure-core")]
use for_all_credentials;

#[cfg(feature = "azure-core")]
mod azure_core;

#[cfg(feature = "azure-core")]
pub use azure_core::{SdkCredential, SdkTransport};
