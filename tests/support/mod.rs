//! Shared by the tests, one concept per file. Nothing here uses the emulator, so that the published
//! package, which has no dependency on it, can compile these files.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "tests, and each binary uses its own part"
)]

pub mod azurite;
pub mod clock;
pub mod identifiers;
pub mod log;
pub mod pod;
pub mod runtime;
pub mod sample;
#[cfg(feature = "azure-core")]
pub mod sdk;
pub mod transport;
