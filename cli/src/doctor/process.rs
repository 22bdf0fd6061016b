use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use entra_workload::Environment;

use crate::Failure;

/// Reads the variables of another process, with the paths of its files as they are seen from here.
///
/// An ephemeral container has its own environment and its own files. The webhook does not see it, so
/// what the program has is found only by way of its process.
pub(super) fn environment(pid: u32) -> Result<Environment, Failure> {
    let file = format!("/proc/{pid}/environ");
    let bytes = std::fs::read(&file).map_err(|error| {
        format!("{file} cannot be read: {error}; share the process namespace (`--target`) and run as the same user or as root")
    })?;
    let root = root(pid);
    let variables = bytes.split(|byte| *byte == 0).filter_map(|variable| {
        let mut parts = variable.splitn(2, |byte| *byte == b'=');
        let name = String::from_utf8(parts.next()?.to_vec()).ok()?;
        let value = OsString::from_vec(parts.next()?.to_vec());
        let is_path = FILES.contains(&name.as_str()) && !value.is_empty();
        Some((name, if is_path { in_root(&root, &value) } else { value }))
    });
    Ok(variables.collect())
}

pub(super) fn api_token_file(pid: u32) -> PathBuf {
    root(pid).join("var/run/secrets/kubernetes.io/serviceaccount/token")
}

fn root(pid: u32) -> PathBuf {
    format!("/proc/{pid}/root").into()
}

fn in_root(root: &Path, path: &OsString) -> OsString {
    let path = Path::new(path);
    root.join(path.strip_prefix("/").unwrap_or(path)).into_os_string()
}

/// The variables of the webhook that name files.
const FILES: [&str; 3] = [
    "AZURE_FEDERATED_TOKEN_FILE",
    "AZURE_KUBERNETES_CA_FILE",
    "AZURE_CLIENT_CERTIFICATE_PATH",
];
