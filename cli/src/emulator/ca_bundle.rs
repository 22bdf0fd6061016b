use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use crate::Failure;
use crate::roots;

/// Writes a file with the CA of the emulator and the roots of the system, because the variables for such files replace
/// them. Without any, the roots are those of Mozilla.
///
/// * `ca_file`: the file is written beside it.
pub(super) fn write(ca_file: &Path, ca: &str) -> Result<PathBuf, Failure> {
    let inherited = ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"]
        .into_iter()
        .filter_map(env::var_os);
    let inherited = inherited.map(PathBuf::from).find_map(|path| read(&path));
    let system = || SYSTEM.iter().find_map(|path| read(Path::new(path)));
    let roots = inherited.or_else(system).unwrap_or_else(roots::mozilla_pem);
    let path = ca_file.with_file_name("ca-bundle.pem");
    fs::write(&path, format!("{ca}\n{roots}"))?;
    Ok(path)
}

/// Returns a file with the CA of the emulator and the certificates of an inherited `NODE_EXTRA_CA_CERTS`, all of which Node
/// adds to its own roots.
///
/// * `ca_file`: the file of the CA alone.
pub(super) fn write_for_node(ca_file: &Path, ca: &str) -> Result<PathBuf, Failure> {
    let inherited = env::var_os("NODE_EXTRA_CA_CERTS").and_then(|path| read(Path::new(&path)));
    let Some(inherited) = inherited else {
        return Ok(ca_file.to_owned());
    };
    let path = ca_file.with_file_name("node-extra-ca.pem");
    fs::write(&path, format!("{ca}\n{inherited}"))?;
    Ok(path)
}

/// A pipe could make the start wait.
fn read(path: &Path) -> Option<String> {
    path.is_file().then(|| fs::read_to_string(path).ok()).flatten()
}

/// Debian, Fedora, Alpine and macOS, SUSE. Source: Go, `crypto/x509/root_linux.go`.
const SYSTEM: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
    "/etc/ssl/ca-bundle.pem",
];
