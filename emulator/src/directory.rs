#[cfg(unix)]
use std::fs;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

#[cfg(unix)]
use rustix::process::Uid;
use tempfile::TempDir;

/// The directory of an emulator, removed with it. Only its owner can read it. A lock says that it is in use.
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
        #[cfg(unix)]
        remove_leftovers(parent, rustix::process::geteuid());
        loop {
            let mut builder = tempfile::Builder::new();
            builder.prefix(PREFIX);
            #[cfg(unix)]
            builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700));
            let directory = builder.tempdir_in(parent)?;
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

/// Writes a file that only its owner can read.
pub(super) fn write_private(path: &Path, content: &str) -> io::Result<()> {
    let mut options = File::options();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)?.write_all(content.as_bytes())
}

/// * `owner`: the user whose directories are removed.
#[cfg(unix)]
fn remove_leftovers(parent: &Path, owner: Uid) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        if !name.to_string_lossy().starts_with(PREFIX) {
            continue;
        }
        // Without a lock file, it is just being created.
        let Some(lock) = open_lock(&entry.path(), owner) else {
            continue;
        };
        // The lock is held until it is gone, so that its owner does not take it for usable.
        if lock_exclusively(&lock) == Lock::Own {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Opens the lock of a directory. In a shared temporary folder, anything can have such a name: neither a link is followed nor
/// a pipe waited for, and what belongs to another user is left alone.
#[cfg(unix)]
fn open_lock(directory: &Path, owner: Uid) -> Option<File> {
    use rustix::fs::{FileType, Mode, OFlags, fstat, open, openat};

    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let directory = open(directory, flags | OFlags::DIRECTORY, Mode::empty()).ok()?;
    if fstat(&directory).ok()?.st_uid != owner.as_raw() {
        return None;
    }
    let lock = openat(&directory, LOCK, flags, Mode::empty()).ok()?;
    let status = fstat(&lock).ok()?;
    let is_file = FileType::from_raw_mode(status.st_mode) == FileType::RegularFile;
    (is_file && status.st_uid == owner.as_raw()).then(|| lock.into())
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
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::process::Command;
    use std::sync::{Barrier, mpsc};
    use std::thread;
    use std::time::Duration;

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

    /// The open of the pipe would wait for a writer.
    #[test]
    fn pipe_or_link_in_place_of_a_lock_neither_blocks_a_start_nor_is_removed() {
        let parent = tempfile::tempdir().unwrap();
        let folder = |name: &str| {
            let folder = parent.path().join(format!("{PREFIX}{name}"));
            fs::create_dir(&folder).unwrap();
            folder
        };
        let (pipe, link, leftover) = (folder("pipe"), folder("link"), folder("leftover"));
        make_pipe(&pipe.join(LOCK));
        let file = parent.path().join("file");
        File::create(&file).unwrap();
        symlink(&file, link.join(LOCK)).unwrap();
        File::create(leftover.join(LOCK)).unwrap();
        let link_to_folder = parent.path().join(format!("{PREFIX}link-to-folder"));
        let elsewhere = parent.path().join("elsewhere");
        fs::create_dir(&elsewhere).unwrap();
        File::create(elsewhere.join(LOCK)).unwrap();
        symlink(&elsewhere, &link_to_folder).unwrap();
        make_pipe(&parent.path().join(format!("{PREFIX}pipe-itself")));
        File::create(parent.path().join(format!("{PREFIX}file-itself"))).unwrap();

        let (sender, receiver) = mpsc::channel();
        let parent_of_thread = parent.path().to_owned();
        thread::spawn(move || sender.send(Directory::create_in(&parent_of_thread).is_ok()));
        let started = receiver.recv_timeout(Duration::from_secs(60));
        assert_eq!(started, Ok(true), "the start is blocked");
        assert!(!leftover.exists());
        for path in [pipe, link, link_to_folder, elsewhere, file] {
            assert!(path.symlink_metadata().is_ok(), "{}", path.display());
        }
    }

    #[test]
    fn leftover_of_another_user_is_left_alone() {
        let parent = tempfile::tempdir().unwrap();
        let leftover = parent.path().join(format!("{PREFIX}leftover"));
        fs::create_dir(&leftover).unwrap();
        File::create(leftover.join(LOCK)).unwrap();
        let own = rustix::process::geteuid();
        remove_leftovers(parent.path(), Uid::from_raw(own.as_raw() + 1));
        assert!(leftover.exists());
        remove_leftovers(parent.path(), own);
        assert!(!leftover.exists());
    }

    #[test]
    fn only_the_owner_can_enter_the_directory() {
        let parent = tempfile::tempdir().unwrap();
        let directory = Directory::create_in(parent.path()).unwrap();
        assert_eq!(mode(directory.path()), 0o700);
        let file = directory.path().join("token");
        write_private(&file, "planted").unwrap();
        assert_eq!(mode(&file), 0o600);
    }

    fn mode(path: &Path) -> u32 {
        path.metadata().unwrap().permissions().mode() & 0o777
    }

    fn make_pipe(path: &Path) {
        let status = Command::new("mkfifo").arg(path).status().unwrap();
        assert!(status.success());
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
