//! How the clients of databases use the tokens of `entra-workload`, one file each. Copy the file that
//! you need.

pub mod postgres;
pub mod redis;

/// The page of the documentation; its code is compiled here, with all crates that it needs.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/integrations.md")]
pub mod integrations {}
