use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::sync::Arc;

use entra_workload::Environment;
use rustix::fs::{Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::process::geteuid;
use rustix::thread::{
    CapabilitySet, CapabilitySets, Gid, Uid, set_capabilities, set_no_new_privs, set_thread_groups,
    set_thread_res_gid, set_thread_res_uid,
};

use crate::Failure;

/// Another process, with the rights of its user.
pub(super) struct Process {
    pub(super) environment: Environment,
    pub(super) files: Files,
}

impl Process {
    /// Reads the variables of a process, and gives up the rights that its user does not have: its variables name files,
    /// which root could read and send away.
    ///
    /// An ephemeral container has its own environment and its own files. The webhook does not see it, so what the
    /// program has is found only by way of its process.
    ///
    /// To be called before another thread starts: threads have the rights of the one that started them.
    pub(super) fn enter(pid: u32) -> Result<Self, Failure> {
        let folder = format!("/proc/{pid}");
        let failed = |error: io::Error| {
            format!(
                "{folder} cannot be read: {error}; share the process namespace (`--target`) and run as the same user or as root"
            )
        };
        let (variables, user, root) = read(&folder).map_err(failed)?;
        user.take_on().map_err(|error| {
            format!("the rights of the user of process {pid} cannot be taken on: {error}")
        })?;
        let variables = variables.split(|byte| *byte == 0).filter_map(|variable| {
            let mut parts = variable.splitn(2, |byte| *byte == b'=');
            let name = String::from_utf8(parts.next()?.to_vec()).ok()?;
            Some((name, OsString::from_vec(parts.next()?.to_vec())))
        });
        Ok(Self {
            // Its programs, such as `az`, are not run.
            environment: variables.filter(|(name, _)| name != "PATH").collect(),
            files: Files(Arc::new(root)),
        })
    }
}

/// All parts are read from one process, also if its ID is used anew meanwhile.
fn read(folder: &str) -> io::Result<(Vec<u8>, User, OwnedFd)> {
    let folder = File::open(folder)?;
    let text = |name: &str| {
        let file = openat(&folder, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        let mut text = Vec::new();
        File::from(file).take(MAX_TEXT).read_to_end(&mut text)?;
        io::Result::Ok(text)
    };
    let user = User::of(&String::from_utf8_lossy(&text("status")?));
    let user = user.ok_or_else(|| io::Error::other("its user is unknown"))?;
    let root = openat(&folder, "root", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    Ok((text("environ")?, user, root))
}

/// The files of a process.
#[derive(Clone)]
pub(super) struct Files(Arc<OwnedFd>);

impl Files {
    /// Reads a file by its path in the process. Links lead to the root of the process, not to that of this one.
    pub(super) fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        // Opening a FIFO would wait for a writer.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let file = File::from(openat2(&self.0, path, flags, Mode::empty(), resolve)?);
        let metadata = file.metadata()?;
        if !metadata.is_file() && !metadata.is_dir() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut bytes = Vec::new();
        file.take(MAX_FILE).read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

/// The user that a process runs as.
#[derive(Debug, PartialEq)]
struct User {
    id: u32,
    group: u32,
    groups: Vec<u32>,
}

impl User {
    /// Reads `/proc/PID/status`. The real IDs count: a set-user-ID program has the variables of whoever runs it.
    fn of(status: &str) -> Option<Self> {
        let ids = |name: &str| {
            let mut lines = status.lines();
            let ids = lines.find_map(|line| line.strip_prefix(name))?.split_whitespace();
            ids.map(|id| id.parse().ok().filter(|id| *id != u32::MAX))
                .collect::<Option<Vec<u32>>>()
        };
        Some(Self {
            id: *ids("Uid:")?.first()?,
            group: *ids("Gid:")?.first()?,
            groups: ids("Groups:")?,
        })
    }

    /// Gives this thread the rights of the user, for good. Without root, it has no others: the kernel shows a process
    /// to its own user only.
    fn take_on(&self) -> io::Result<()> {
        if geteuid().is_root() {
            let groups: Vec<Gid> = self.groups.iter().copied().map(Gid::from_raw).collect();
            let (user, group) = (Uid::from_raw(self.id), Gid::from_raw(self.group));
            set_thread_groups(&groups)?;
            set_thread_res_gid(group, group, group)?;
            set_thread_res_uid(user, user, user)?;
        }
        let none = CapabilitySet::empty();
        let sets = CapabilitySets {
            effective: none,
            permitted: none,
            inheritable: none,
        };
        set_capabilities(None, sets)?;
        set_no_new_privs(true)?;
        Ok(())
    }
}

/// The variables of a process, in bytes. Source: Linux, `fs/exec.c`, three quarters of the default stack limit.
const MAX_TEXT: u64 = 6 * 1024 * 1024;

/// More than any file of a credential has; what is too long is for the library to say.
const MAX_FILE: u64 = 2 * 1024 * 1024;

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_lead_to_the_root_of_the_process() {
        let root = tempfile::tempdir().unwrap();
        let outside = tempfile::NamedTempFile::new().unwrap();
        fs::write(&outside, "outside").unwrap();
        let root = root.path();
        fs::create_dir_all(root.join("run/secrets")).unwrap();
        fs::create_dir(root.join("var")).unwrap();
        fs::write(root.join("a"), "inside").unwrap();
        symlink("/run", root.join("var/run")).unwrap();
        symlink("..data", root.join("run/secrets/token")).unwrap();
        symlink("../../a", root.join("run/secrets/..data")).unwrap();
        symlink("/loop", root.join("loop")).unwrap();
        symlink(outside.path(), root.join("absolute")).unwrap();
        symlink("/proc/self/environ", root.join("magic")).unwrap();
        let files = Files(Arc::new(File::open(root).unwrap().into()));
        let read = |path: &str| files.read(Path::new(path)).map_err(|error| error.kind());
        for path in ["/var/run/secrets/token", "/../../a", "a"] {
            assert_eq!(read(path).unwrap(), b"inside", "{path}");
        }
        for path in [
            "/absolute",
            "/magic",
            "/var/run/secrets/none",
            outside.path().to_str().unwrap(),
        ] {
            assert_eq!(read(path), Err(io::ErrorKind::NotFound), "{path}");
        }
        assert!(read("/loop").is_err());
        assert_eq!(read("/var"), Err(io::ErrorKind::IsADirectory));
    }

    #[test]
    fn file_that_would_block_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("fifo");
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, Mode::RUSR).unwrap();
        let files = Files(Arc::new(File::open(root.path()).unwrap().into()));
        let error = files.read(Path::new("fifo")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn real_user_of_a_set_user_id_program_counts() {
        let status = "Name:\tsudo\nUid:\t1000\t0\t0\t0\nGid:\t1001\t0\t0\t0\nGroups:\t4 1001 \n";
        let user = User {
            id: 1000,
            group: 1001,
            groups: vec![4, 1001],
        };
        assert_eq!(User::of(status), Some(user));
        assert_eq!(User::of("Uid:\tx\nGid:\t0\nGroups:\n"), None);
    }
}
