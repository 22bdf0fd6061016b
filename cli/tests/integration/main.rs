//! The integration tests of the command: a module for each subject.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests"
)]

mod cluster;
#[cfg(unix)]
mod doctor;
#[cfg(all(unix, feature = "emulator"))]
mod emulator;
mod lint;
mod lint_untrusted;
mod misplaced_secrets;
mod setups;
mod token;
mod troubleshooting;
