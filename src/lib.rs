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
mod guid;
#[cfg(feature = "command")]
mod process_group;

mod error;
mod token;

#[cfg(feature = "test-util")]
pub mod clock;
#[cfg(not(feature = "test-util"))]
#[allow(unreachable_pub, reason = "public with the feature `test-util`")]
mod clock;
mod crypto;
mod env;
mod metrics;

pub mod transport;

mod authority;
mod challenge;

pub mod assertion;

mod exchange;

mod cache;

mod sdk;

mod credential;

mod chain;

pub mod integration;

pub mod builder;

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

pub use authority::{Cloud, CustomCloud};
pub use chain::ChainedTokenCredential;
#[cfg(feature = "default-credential")]
pub use chain::DefaultAzureCredential;
pub use code::{Code, Owner};
#[cfg(feature = "default-credential")]
pub use credential::{AzureCliCredential, AzureDeveloperCliCredential, ManagedIdentityCredential};
pub use credential::{
    AzurePipelinesCredential, ClientAssertionCredential, ClientSecretCredential, Credential, Identity,
    WorkloadIdentityCredential,
};
#[cfg(feature = "client-certificate")]
pub use credential::{ClientCertificateCredential, EnvironmentCredential};
pub use env::Environment;
pub use error::{Attempt, Error, ErrorKind};
pub use integration::TokenStream;
pub use token::{AccessToken, Secret, TokenRequest};
