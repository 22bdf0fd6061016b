//! No secret is logged or shown: each test tells one story with the logs of all crates at `TRACE`,
//! and checks that no piece of a secret is in the log or in what `Debug` and `Display` show.
#![cfg(feature = "default-credential")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    unreachable_pub,
    reason = "tests"
)]

#[path = "../support/mod.rs"]
mod support;

mod leak_check;

mod application;
mod assertion_sources;
mod default_chain;
mod managed_identity;
mod misplaced_secrets;
#[cfg(all(feature = "diagnose", feature = "reqwest-middleware"))]
mod sensitive_headers;
mod workload_identity;
