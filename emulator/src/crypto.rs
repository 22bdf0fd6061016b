//! The cryptography of tokens and of TLS: that of AWS-LC, or of ring if only the feature `ring` is enabled.
//!
//! It is named at each use: the process default depends on the enabled features of rustls in the whole program, and
//! panics if both are enabled.

#[cfg(feature = "aws-lc-rs")]
pub(super) use aws_lc_rs::{digest, signature};
#[cfg(all(feature = "ring", not(feature = "aws-lc-rs")))]
pub(super) use ring::{digest, signature};
#[cfg(feature = "aws-lc-rs")]
pub(super) use tokio_rustls::rustls::crypto::aws_lc_rs::{default_provider, sign::any_supported_type};
#[cfg(all(feature = "ring", not(feature = "aws-lc-rs")))]
pub(super) use tokio_rustls::rustls::crypto::ring::{default_provider, sign::any_supported_type};

#[cfg(not(any(feature = "aws-lc-rs", feature = "ring")))]
compile_error!("enable the feature `aws-lc-rs` or `ring` of `entra-workload-emulator`");
