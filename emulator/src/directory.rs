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
        Self::create_in(&std::env::temp_dir())
    }

    fn create_in(parent: &Path) -> io::Result<Self> {
        remove_leftovers(parent);
        loop {
            let directory = tempfile::Builder::new().prefix(PREFIX).tempdir_in(parent)?;
            let path = directory.path().join(LOCK);
            let lock = File::create(&path).map_err(naming(&path))?;
            // Another start can take it for a leftover until it is locked.
            if lock_exclusively(&lock) != Lock::OfAnother && path.exists() {
                return Ok(Self {
                    directory,
                    _lock: lock,
                });
            }
        }
    }

    pub(super) fn path(&self) -> &Path {
        self.directory.path()
    }
}

/// Adds a path to an error, for `map_err`.
pub(super) fn naming(path: &Path) -> impl FnOnce(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

fn remove_leftovers(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        if !name.to_string_lossy().starts_with(PREFIX) {
            continue;
        }
        // Without a lock file, it is just being created.
        let Ok(lock) = File::open(entry.path().join(LOCK)) else {
            continue;
        };
        // The lock is held until it is gone, so that its owner does not take it for usable.
        if lock_exclusively(&lock) == Lock::Own {
            // It can belong to somebody else.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Who has the lock of a file. It ends with the process, in whatever namespace that is.
#[derive(PartialEq, Eq)]
#[cfg_attr(not(unix), expect(dead_code, reason = "there are no locks"))]
enum Lock {
    Own,
    OfAnother,
    /// The file system has no locks: nothing is removed.
    Unsupported,
}

#[cfg(unix)]
fn lock_exclusively(file: &File) -> Lock {
    use rustix::fs::{FlockOperation, flock};
    use rustix::io::Errno;

    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Lock::Own,
        Err(Errno::WOULDBLOCK) => Lock::OfAnother,
        Err(_) => Lock::Unsupported,
    }
}

#[cfg(not(unix))]
fn lock_exclusively(_file: &File) -> Lock {
    Lock::Unsupported
}

const PREFIX: &str = "entra-workload-emulator-";
const LOCK: &str = "lock";

#[cfg(all(test, unix))]
mod tests {
    use std::sync::Barrier;
    use std::thread;

    use super::*;

    #[test]
    fn parallel_starts_keep_the_directories_of_each_other() {
        let parent = tempfile::tempdir().unwrap();
        let (started, created) = (Barrier::new(STARTS), Barrier::new(STARTS));
        let start = || {
            started.wait();
            let directory = Directory::create_in(parent.path());
            // Every start has now removed what it takes for leftovers.
            created.wait();
            directory.is_ok_and(|directory| directory.path().join(LOCK).exists())
        };
        thread::scope(|scope| {
            let starts: Vec<_> = (0..STARTS)
                .map(|_| scope.spawn(|| (0..ROUNDS).filter(|_| start()).count()))
                .collect();
            for start in starts {
                assert_eq!(start.join().unwrap(), ROUNDS);
            }
        });
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
    }

    #[test]
    fn directory_without_an_owner_is_removed_and_one_in_use_is_not() {
        let parent = tempfile::tempdir().unwrap();
        let leftover = parent.path().join(format!("{PREFIX}leftover"));
        fs::create_dir(&leftover).unwrap();
        File::create(leftover.join(LOCK)).unwrap();
        let first = Directory::create_in(parent.path()).unwrap();
        assert!(!leftover.exists());
        let _second = Directory::create_in(parent.path()).unwrap();
        assert!(first.path().exists());
    }

    #[test]
    fn error_names_the_path() {
        let missing = Path::new("/no/such/folder");
        let error = Directory::create_in(missing).err().unwrap().to_string();
        assert!(error.contains("/no/such/folder"), "{error}");
    }

    const STARTS: usize = 16;
    const ROUNDS: usize = 50;
}
