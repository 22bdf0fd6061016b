use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use crate::Failure;
use crate::roots;

/// Writes a file with the CA of the emulator and all public ones, because the variables for such files replace the
/// roots of the system.
///
/// * `ca_file`: the file is written beside it.
pub(super) fn write(ca_file: &Path, ca: &str) -> Result<PathBuf, Failure> {
    let mut bundle = ca.to_owned();
    bundle.push('\n');
    bundle.push_str(&roots::mozilla_pem());
    // A company's own roots.
    for name in ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"] {
        if let Some(inherited) = env::var_os(name).and_then(|path| fs::read_to_string(path).ok()) {
            bundle.push('\n');
            bundle.push_str(&inherited);
        }
    }
    let path = ca_file.with_file_name("ca-bundle.pem");
    fs::write(&path, bundle)?;
    Ok(path)
}
