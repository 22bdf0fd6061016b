use std::fs::{self, File};
use std::io;
use std::path::Path;

use tempfile::TempDir;

/// The directory of an emulator, removed with it. A lock says that it is in use.
pub(super) struct Directory {
    directory: TempDir,
    _lock: File,
}

impl Directory {
    /// Creates it, and removes those of emulators that were killed.
    pub(super) fn create() -> io::Result<Self> {
        let parent = std::env::temp_dir();
        remove_leftovers(&parent);
        let directory = tempfile::Builder::new().prefix(PREFIX).tempdir_in(parent)?;
        let lock = File::create(directory.path().join(LOCK))?;
        lock_exclusively(&lock);
        Ok(Self {
            directory,
            _lock: lock,
        })
    }

    pub(super) fn path(&self) -> &Path {
        self.directory.path()
    }
}

fn remove_leftovers(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        if !name.to_string_lossy().starts_with(PREFIX) {
            continue;
        }
        // Without a lock file, it is just being created.
        let lock = File::open(entry.path().join(LOCK));
        if lock.is_ok_and(|lock| lock_exclusively(&lock)) {
            // It can belong to somebody else.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Returns whether nobody else has the lock. It ends with the process, in whatever namespace that is.
#[cfg(unix)]
fn lock_exclusively(file: &File) -> bool {
    use rustix::fs::{FlockOperation, flock};

    flock(file, FlockOperation::NonBlockingLockExclusive).is_ok()
}

/// Elsewhere, nothing is removed.
#[cfg(not(unix))]
fn lock_exclusively(_file: &File) -> bool {
    false
}

const PREFIX: &str = "entra-workload-emulator-";
const LOCK: &str = "lock";
