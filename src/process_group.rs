use std::io;
use std::process::{Output, Stdio};

use futures_util::future::try_join;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};

/// Runs a command to its end and returns its output.
///
/// If the future fails or is dropped, the program and all processes that it has started are killed.
///
/// * `limit`: of each of the two output streams, in bytes.
///
/// # Errors
///
/// `FileTooLarge` if an output stream is longer than `limit`, and every error of the system.
pub(crate) async fn output(command: &mut Command, limit: u64) -> io::Result<Output> {
    let mut group = ProcessGroup::spawn(command)?;
    let (stdout, stderr) = (group.0.stdout.take(), group.0.stderr.take());
    let (stdout, stderr) = try_join(read(stdout, limit), read(stderr, limit)).await?;
    Ok(Output {
        status: group.0.wait().await?,
        stdout,
        stderr,
    })
}

async fn read(stream: Option<impl AsyncRead + Unpin>, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(stream) = stream {
        stream.take(limit + 1).read_to_end(&mut bytes).await?;
    }
    if bytes.len() as u64 > limit {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(bytes)
}

/// A process and those that it starts. Killed on drop, unless the process has ended and was waited
/// for.
struct ProcessGroup(Child);

impl ProcessGroup {
    fn spawn(command: &mut Command) -> io::Result<Self> {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        #[cfg(unix)]
        command.process_group(0);
        Ok(Self(command.spawn()?))
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        // There is no ID after the wait, when the system may give it to another process.
        if let Some(id) = self.0.id() {
            kill(id);
        }
    }
}

#[cfg(unix)]
fn kill(id: u32) {
    use rustix::process::{Pid, Signal, kill_process_group};

    let group = i32::try_from(id).ok().and_then(Pid::from_raw);
    if let Some(group) = group {
        // Fails only if all processes of the group have ended.
        let _ = kill_process_group(group, Signal::KILL);
    }
}

/// Windows has no process groups, and its job objects need unsafe code or the `windows` crate.
/// `taskkill` kills the processes whose chain of parents leads to `id`; a process whose parent has
/// ended before is not found.
#[cfg(windows)]
fn kill(id: u32) {
    // Without it the processes end by themselves, later.
    let _ = std::process::Command::new("taskkill")
        .args(["/F", "/T", "/PID", &id.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
}
