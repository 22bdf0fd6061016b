use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

use entra_workload::Environment;

use crate::Failure;

/// Reads the variables of another process, with the paths of its files as they are seen from here.
///
/// An ephemeral container has its own environment and its own files. The webhook does not see it, so
/// what the program has is found only by way of its process.
pub(super) fn environment(pid: u32) -> Result<Environment, Failure> {
    let file = format!("/proc/{pid}/environ");
    let bytes = fs::read(&file).map_err(|error| {
        format!("{file} cannot be read: {error}; share the process namespace (`--target`) and run as the same user or as root")
    })?;
    let root = root(pid);
    let variables = bytes.split(|byte| *byte == 0).filter_map(|variable| {
        let mut parts = variable.splitn(2, |byte| *byte == b'=');
        let name = String::from_utf8(parts.next()?.to_vec()).ok()?;
        let value = OsString::from_vec(parts.next()?.to_vec());
        let is_path = FILES.contains(&name.as_str()) && !value.is_empty();
        let seen = || in_root(&root, Path::new(&value)).into_os_string();
        Some((name, if is_path { seen() } else { value }))
    });
    Ok(variables.collect())
}

pub(super) fn api_token_file(pid: u32) -> PathBuf {
    let path = "/var/run/secrets/kubernetes.io/serviceaccount/token";
    in_root(&root(pid), Path::new(path))
}

fn root(pid: u32) -> PathBuf {
    format!("/proc/{pid}/root").into()
}

/// Returns the path of a file of the process as it is seen from here. Absolute links, such as `/var/run` in many
/// images, lead to the root of the process, not to that of this one.
fn in_root(root: &Path, path: &Path) -> PathBuf {
    let mut rest: VecDeque<OsString> = components(path);
    let mut inside = PathBuf::new();
    let mut links = 0;
    while let Some(component) = rest.pop_front() {
        if component == ".." {
            inside.pop();
            continue;
        }
        inside.push(component);
        let Some(link) = fs::read_link(root.join(&inside))
            .ok()
            .filter(|_| links < MOST_LINKS)
        else {
            continue;
        };
        links += 1;
        if link.is_absolute() {
            inside.clear();
        } else {
            inside.pop();
        }
        let mut target = components(&link);
        target.append(&mut rest);
        rest = target;
    }
    root.join(inside)
}

fn components(path: &Path) -> VecDeque<OsString> {
    let components = path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    });
    components.collect()
}

/// That of Linux, `MAXSYMLINKS`.
const MOST_LINKS: usize = 40;

/// The variables of the webhook that name files.
const FILES: [&str; 3] = [
    "AZURE_FEDERATED_TOKEN_FILE",
    "AZURE_KUBERNETES_CA_FILE",
    "AZURE_CLIENT_CERTIFICATE_PATH",
];

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_lead_to_the_root_of_the_process() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        fs::create_dir_all(root.join("run/secrets")).unwrap();
        fs::create_dir(root.join("var")).unwrap();
        symlink("/run", root.join("var/run")).unwrap();
        symlink("..data", root.join("run/secrets/token")).unwrap();
        symlink("../../a", root.join("run/secrets/..data")).unwrap();
        symlink("/loop", root.join("loop")).unwrap();
        for (path, seen) in [
            ("/var/run/secrets/none", "run/secrets/none"),
            ("/var/run/secrets/token", "a"),
            ("/../../etc/passwd", "etc/passwd"),
            ("/loop", "loop"),
        ] {
            assert_eq!(in_root(root, Path::new(path)), root.join(seen), "{path}");
        }
    }
}
