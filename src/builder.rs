//! The builders of the credentials, and the types of their options.
//!
//! Each credential has a function `builder()` that creates its builder.

pub use crate::chain::ChainedTokenCredentialBuilder;
#[cfg(feature = "default-credential")]
pub use crate::chain::{DefaultAzureCredentialBuilder, DefaultAzureLink};
#[cfg(feature = "default-credential")]
pub use crate::credential::{
    AzureCliCredentialBuilder, AzureDeveloperCliCredentialBuilder, ManagedIdentityCredentialBuilder,
    ManagedIdentityId,
};
pub use crate::credential::{
    AzurePipelinesCredentialBuilder, ClientAssertionCredentialBuilder, ClientSecretCredentialBuilder,
    WorkloadIdentityCredentialBuilder,
};
#[cfg(feature = "client-certificate")]
pub use crate::credential::{ClientCertificateCredentialBuilder, EnvironmentCredentialBuilder};
