use std::io;
#[cfg(not(feature = "aws-lc-rs"))]
use std::sync::atomic::{AtomicUsize, Ordering};

use rcgen::{KeyPair, PKCS_RSA_SHA256};

/// Generates a 2048-bit RSA key. This takes up to a second; do not call it on an async thread.
#[cfg(feature = "aws-lc-rs")]
pub(super) fn generate() -> io::Result<KeyPair> {
    KeyPair::generate_for(&PKCS_RSA_SHA256).map_err(io::Error::other)
}

/// Returns one of the keys of this crate, in turn: ring cannot generate RSA keys.
#[cfg(not(feature = "aws-lc-rs"))]
pub(super) fn generate() -> io::Result<KeyPair> {
    static NEXT: AtomicUsize = AtomicUsize::new(0);

    let next = NEXT.fetch_add(1, Ordering::Relaxed) % SPARE.len();
    SPARE
        .get(next)
        .map_or_else(|| Err(io::ErrorKind::NotFound.into()), |key| read(key))
}

/// Reads an RSA key.
///
/// * `der`: PKCS #8.
pub(super) fn read(der: &[u8]) -> io::Result<KeyPair> {
    KeyPair::from_pkcs8_der_and_sign_algo(&der.into(), &PKCS_RSA_SHA256).map_err(io::Error::other)
}

/// The known key of the cluster's issuer. Everybody has it, see
/// [`known_keys`](crate::EmulatorBuilder::known_keys).
pub(super) const ISSUER: &[u8] = include_bytes!("keys/issuer.der");

/// The known key of Entra, as above.
pub(super) const ENTRA: &[u8] = include_bytes!("keys/entra.der");

/// An emulator has a key each for the cluster's issuer, Entra, the token proxy, GitHub and Azure Pipelines; the issuer publishes
/// two.
#[cfg(not(feature = "aws-lc-rs"))]
const SPARE: [&[u8]; 8] = [
    include_bytes!("keys/spare-1.der"),
    include_bytes!("keys/spare-2.der"),
    include_bytes!("keys/spare-3.der"),
    include_bytes!("keys/spare-4.der"),
    include_bytes!("keys/spare-5.der"),
    include_bytes!("keys/spare-6.der"),
    include_bytes!("keys/spare-7.der"),
    include_bytes!("keys/spare-8.der"),
];
