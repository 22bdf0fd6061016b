//! The integration tests that share one process: a module for each subject.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    dead_code,
    unreachable_pub,
    reason = "tests"
)]

#[path = "../support/mod.rs"]
mod support;

#[cfg(feature = "azure-core")]
mod azurite;
mod chaos;
#[cfg(feature = "default-credential")]
mod check;
mod ci_jobs;
#[cfg(feature = "azure-core")]
mod claims_challenges;
#[cfg(feature = "client-certificate")]
mod client_certificate;
#[cfg(all(unix, feature = "command"))]
mod command_assertion;
#[cfg(feature = "default-credential")]
mod credential_assertion;
#[cfg(all(unix, feature = "default-credential"))]
mod default_chain;
#[cfg(all(unix, feature = "default-credential"))]
mod default_options;
mod dependencies;
#[cfg(all(unix, feature = "default-credential"))]
mod developer_tools;
#[cfg(all(unix, feature = "diagnose"))]
mod diagnose;
#[cfg(feature = "diagnose")]
mod diagnosis;
#[cfg(feature = "azure-core")]
mod discovered_tenants;
mod documentation;
mod environment;
mod exchange;
mod faults;
#[cfg(feature = "default-credential")]
mod foreign_errors;
#[cfg(all(unix, feature = "default-credential"))]
mod identity_binding;
mod invalidate;
mod layout;
#[cfg(feature = "default-credential")]
mod managed_identity;
#[cfg(all(unix, feature = "default-credential"))]
mod managed_identity_chain;
#[cfg(feature = "default-credential")]
mod managed_identity_hosts;
mod many_credentials;
#[cfg(feature = "metrics")]
mod metrics;
#[cfg(feature = "diagnose")]
mod mutated_pods;
#[cfg(feature = "azure-core")]
mod oracle;
mod public_api;
#[cfg(feature = "reqwest-middleware")]
mod reqwest_middleware;
#[cfg(feature = "azure-core")]
mod samples;
#[cfg(feature = "azure-core-021")]
mod sdk_021;
#[cfg(feature = "azure-core")]
mod sdk_errors;
#[cfg(feature = "azure-core")]
mod sdk_refresh;
#[cfg(unix)]
mod set_up_files;
#[cfg(all(unix, feature = "spiffe"))]
mod spiffe;
mod tenants;
mod token_file;
mod token_options;
mod token_request;
mod token_stream;
mod unsent_assertions;
