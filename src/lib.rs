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
mod code;
mod escape;
#[cfg(feature = "command")]
mod process_group;
mod uuid;

mod error;
mod token;

mod clock;
mod crypto;
mod env;
mod metrics;

mod transport;

mod authority;
mod challenge;

mod assertion;

mod exchange;

mod cache;

mod sdk;

mod credential;

mod chain;

mod integration;

#[cfg(feature = "diagnose")]
pub mod diagnose;

#[cfg(feature = "default-credential")]
#[cfg_attr(docsrs, doc(auto_cfg = false))]
pub mod guide;

#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzz;

// So that unit tests can include the clock of the integration tests.
#[cfg(test)]
extern crate self as entra_workload;

#[cfg(feature = "command")]
pub use assertion::CommandAssertion;
#[cfg(feature = "spiffe")]
pub use assertion::SpiffeJwtSvid;
pub use assertion::{
    AssertionRequest, AzurePipelines, ClientAssertion, GitHubActions, KubernetesTokenRequest,
    ProjectedTokenFile, TerraformOidc,
};
pub use authority::{Cloud, CustomCloud};
pub use chain::{ChainedTokenCredential, ChainedTokenCredentialBuilder};
#[cfg(feature = "default-credential")]
pub use chain::{DefaultAzureCredential, DefaultAzureCredentialBuilder, DefaultAzureLink};
pub use challenge::BearerChallenge;
pub use clock::{Clock, Moment, SystemClock};
pub use code::{Code, Owner};
#[cfg(feature = "azure-core")]
pub use credential::SdkCredential;
#[cfg(feature = "default-credential")]
pub use credential::{
    AzureCliCredential, AzureCliCredentialBuilder, AzureDeveloperCliCredential,
    AzureDeveloperCliCredentialBuilder, ManagedIdentityCredential, ManagedIdentityCredentialBuilder,
    ManagedIdentityId,
};
pub use credential::{
    AzurePipelinesCredential, AzurePipelinesCredentialBuilder, ClientAssertionCredential,
    ClientAssertionCredentialBuilder, ClientSecretCredential, ClientSecretCredentialBuilder, Credential,
    CredentialAssertion, CredentialPool, Identity, WorkloadIdentityCredential,
    WorkloadIdentityCredentialBuilder,
};
#[cfg(feature = "client-certificate")]
pub use credential::{
    ClientCertificateCredential, ClientCertificateCredentialBuilder, EnvironmentCredential,
    EnvironmentCredentialBuilder,
};
pub use env::Environment;
pub use error::{Attempt, Error, ErrorKind};
#[cfg(feature = "reqwest-middleware")]
pub use integration::BearerTokenMiddleware;
#[cfg(feature = "azure-core")]
pub use integration::ClaimsChallengePolicy;
#[cfg(feature = "object-store")]
pub use integration::ObjectStoreCredential;
#[cfg(feature = "reqsign")]
pub use integration::ReqsignCredential;
pub use integration::TokenStream;
#[cfg(feature = "azure-core")]
pub use sdk::{ForceTokenRefresh, SdkTransport, TokenClaims, TokenTenantId};
pub use token::{AccessToken, Secret, TokenRequest};
pub use transport::{HttpTransport, TokenProxy, TokenProxyBuilder, Transport};
