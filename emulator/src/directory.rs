use std::fs;
use std::io;
use std::path::Path;
use std::process;

use tempfile::TempDir;

/// Creates the directory of an emulator, named by its process, and removes those of processes that were killed.
///
/// The others are found on Linux only, where `/proc` tells which processes there are.
pub(super) fn create() -> io::Result<TempDir> {
    let parent = std::env::temp_dir();
    if Path::new("/proc/self").exists() {
        remove_leftovers(&parent);
    }
    let prefix = format!("{PREFIX}{}-", process::id());
    tempfile::Builder::new().prefix(&prefix).tempdir_in(parent)
}

fn remove_leftovers(parent: &Path) {
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    for entry in entries {
        let name = entry.file_name();
        let process = name
            .to_str()
            .and_then(|name| name.strip_prefix(PREFIX)?.split('-').next())
            .and_then(|process| process.parse::<u32>().ok());
        let is_dead = process.is_some_and(|process| !Path::new(&format!("/proc/{process}")).exists());
        if is_dead {
            // It can belong to somebody else.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

const PREFIX: &str = "entra-workload-emulator-";
