//! The integration tests of the emulator: a module for each subject.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unreadable_literal,
    clippy::unwrap_used,
    reason = "tests"
)]

#[path = "../support/mod.rs"]
mod support;

mod aadsts;
mod admin;
mod assertions;
#[cfg(feature = "azure-core")]
mod blob;
#[cfg(feature = "azure-core")]
mod blob_operations;
mod ci_jobs;
mod client_secrets;
mod discovery;
mod faults;
mod federated_identities;
mod identity_hosts;
#[cfg(feature = "azure-core")]
mod key_vault;
mod managed_identity;
#[cfg(feature = "azure-core")]
mod permissions;
mod pods;
mod public_api;
mod public_hosts;
mod recorded_requests;
mod reset;
mod revocation;
mod seeds;
mod service_account_tokens;
mod token_proxy;
mod token_requests;
mod token_verifier;
