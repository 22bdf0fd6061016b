//! What the tests share, one concept a file. Nothing here needs the emulator, which the published package lacks.
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
