use std::fs;
use std::path::{Path, PathBuf};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use sha1::{Digest as _, Sha1};

use crate::Failure;

/// Writes the certificates of a bundle as a trust store of Java, in the format JKS.
///
/// Source: `OpenJDK`, `sun.security.provider.JavaKeyStore`.
pub(super) fn write(bundle: &Path) -> Result<PathBuf, Failure> {
    let certificates = CertificateDer::pem_file_iter(bundle)?.collect::<Result<Vec<_>, _>>()?;
    let mut store = Vec::new();
    store.extend(MAGIC.to_be_bytes());
    store.extend(VERSION.to_be_bytes());
    store.extend(u32::try_from(certificates.len())?.to_be_bytes());
    for (index, certificate) in certificates.iter().enumerate() {
        store.extend(TRUSTED_CERTIFICATE.to_be_bytes());
        text(&mut store, &index.to_string())?;
        // When it was added, which nobody asks.
        store.extend(0_u64.to_be_bytes());
        text(&mut store, "X.509")?;
        store.extend(u32::try_from(certificate.len())?.to_be_bytes());
        store.extend(certificate.as_ref());
    }
    let mut digest = Sha1::new();
    for unit in PASSWORD.encode_utf16() {
        digest.update(unit.to_be_bytes());
    }
    digest.update(WHITENER);
    digest.update(&store);
    store.extend(digest.finalize());
    let path = bundle.with_file_name("truststore.jks");
    fs::write(&path, store)?;
    Ok(path)
}

fn text(store: &mut Vec<u8>, text: &str) -> Result<(), Failure> {
    store.extend(u16::try_from(text.len())?.to_be_bytes());
    store.extend(text.as_bytes());
    Ok(())
}

const MAGIC: u32 = 0xfeed_feed;
const VERSION: u32 = 2;
const TRUSTED_CERTIFICATE: u32 = 2;
const WHITENER: &[u8] = b"Mighty Aphrodite";

/// Java's default. There is nothing secret in the store.
pub(super) const PASSWORD: &str = "changeit";
