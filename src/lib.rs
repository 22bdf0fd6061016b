#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(feature = "default-credential", doc = include_str!("../docs/rustdoc-links.md"))]
#![cfg_attr(feature = "default-credential", doc = include_str!("../README.md"))]
#![cfg_attr(feature = "default-credential", doc = include_str!("../docs/rustdoc-front-page.md"))]
#![cfg_attr(
    not(feature = "default-credential"),
    doc = "Gives a Rust program in Kubernetes its Microsoft Entra access tokens. The guides need the default features."
)]

mod blocking;
mod bounded_file;
mod error;
mod token;
mod uuid;

mod clock;
mod crypto;
mod env;

mod transport;

mod authority;

mod assertion;

mod exchange;

mod cache;

mod sdk;

mod credential;

mod chain;

mod integration;

#[cfg(feature = "default-credential")]
#[cfg_attr(docsrs, doc(auto_cfg = false))]
pub mod _documentation;

#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzz;

// So that unit tests can include the clock of the integration tests.
#[cfg(test)]
extern crate self as entra_workload;

pub use assertion::{AssertionRequest, ClientAssertion, ProjectedTokenFile};
pub use chain::{ChainedTokenCredential, ChainedTokenCredentialBuilder};
#[cfg(feature = "default-credential")]
pub use chain::{DefaultAzureCredential, DefaultAzureCredentialBuilder, DefaultAzureLink};
pub use clock::{Clock, Moment, SystemClock};
#[cfg(feature = "azure-core")]
pub use credential::SdkCredential;
#[cfg(feature = "default-credential")]
pub use credential::{
    AzureCliCredential, AzureCliCredentialBuilder, AzureDeveloperCliCredential,
    AzureDeveloperCliCredentialBuilder, ManagedIdentityCredential, ManagedIdentityCredentialBuilder,
    ManagedIdentityId,
};
pub use credential::{
    ClientAssertionCredential, ClientAssertionCredentialBuilder, ClientSecretCredential,
    ClientSecretCredentialBuilder, Credential, Identity, WorkloadIdentityCredential,
    WorkloadIdentityCredentialBuilder,
};
#[cfg(feature = "client-certificate")]
pub use credential::{
    ClientCertificateCredential, ClientCertificateCredentialBuilder, EnvironmentCredential,
    EnvironmentCredentialBuilder,
};
pub use env::Environment;
pub use error::{Attempt, Error, ErrorKind};
#[cfg(feature = "object-store")]
pub use integration::ObjectStoreCredential;
#[cfg(feature = "reqsign")]
pub use integration::ReqsignCredential;
pub use integration::TokenStream;
#[cfg(feature = "azure-core")]
pub use sdk::SdkTransport;
pub use token::{AccessToken, Secret, TokenRequest};
pub use transport::{HttpTransport, TokenProxy, TokenProxyBuilder, Transport};
