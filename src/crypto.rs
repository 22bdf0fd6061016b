//! The cryptography for TLS and for client certificates.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

use crate::error::Error;

/// The [`CryptoProvider`] that the process installed, or else the one of the crate's features.
///
/// # Errors
///
/// [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) if there is neither.
pub(crate) fn provider() -> Result<Arc<CryptoProvider>, Error> {
    CryptoProvider::get_default()
        .cloned()
        .or_else(|| BUILT_IN.map(|provider| Arc::new(provider())))
        .ok_or_else(|| {
            Error::configuration(
                "there is no cryptography provider for TLS; enable the feature `aws-lc-rs` or `ring` of \
                 `entra-workload`, or call `CryptoProvider::install_default` of `rustls` at start",
            )
        })
}

#[cfg(feature = "aws-lc-rs")]
const BUILT_IN: Option<fn() -> CryptoProvider> = Some(rustls::crypto::aws_lc_rs::default_provider);

#[cfg(all(feature = "ring", not(feature = "aws-lc-rs")))]
const BUILT_IN: Option<fn() -> CryptoProvider> = Some(rustls::crypto::ring::default_provider);

#[cfg(not(any(feature = "aws-lc-rs", feature = "ring")))]
const BUILT_IN: Option<fn() -> CryptoProvider> = None;
