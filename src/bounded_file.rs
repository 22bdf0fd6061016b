use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use zeroize::Zeroizing;

/// How the files that variables name are read. Default: [`read`].
#[derive(Clone, Default)]
pub(crate) struct FileReader(Option<Arc<ReadFile>>);

type ReadFile = dyn Fn(&Path) -> io::Result<Vec<u8>> + Send + Sync;

impl FileReader {
    #[cfg(feature = "diagnose")]
    pub(crate) fn new(read: Arc<ReadFile>) -> Self {
        Self(Some(read))
    }

    /// As [`read`].
    pub(crate) fn read(&self, path: &Path, limit: usize) -> io::Result<Zeroizing<Vec<u8>>> {
        let Some(read_file) = &self.0 else {
            return read(path, limit);
        };
        let bytes = Zeroizing::new(read_file(path)?);
        if bytes.len() > limit {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(bytes)
    }
}

impl fmt::Debug for FileReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FileReader")
    }
}

/// Reads a regular file of at most `limit` bytes. Blocks on the file system, but never waits for a
/// writer.
///
/// # Errors
///
/// `IsADirectory` for a directory, `InvalidInput` for anything else that is not a regular file,
/// `FileTooLarge` for more than `limit` bytes, and every error of the system.
pub(crate) fn read(path: &Path, limit: usize) -> io::Result<Zeroizing<Vec<u8>>> {
    let file = open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if !metadata.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // Enough capacity for the whole file: a buffer that grows would leave copies of the secret
    // behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(limit + 1));
    file.take(limit as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > limit {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(bytes)
}

/// Opens a file without waiting: by default, opening a FIFO blocks until it has a writer.
#[cfg(unix)]
fn open(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;

    OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)
}

#[cfg(not(unix))]
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).open(path)
}
