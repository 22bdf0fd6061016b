use std::io;
use std::pin::pin;
use std::process::{Output, Stdio};
use std::time::Duration;

use futures_util::future::{Either, select, try_join};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::sync::Semaphore;

/// Runs programs to their end and returns their output, a few at a time: a cache with many tenants
/// refreshes all their tokens at once after an outage.
#[derive(Debug)]
pub(crate) struct Programs(Semaphore);

impl Programs {
    pub(crate) fn new() -> Self {
        Self(Semaphore::new(MAX_RUNNING))
    }

    /// Runs a command, once fewer than the allowed number run.
    ///
    /// If the program does not end in time, or the future is dropped before it has ended, the program and
    /// all processes that it has started are killed. A process that outlives the program, such as the
    /// telemetry of the Azure CLI, keeps running.
    ///
    /// * `time_limit`: of the program, from its start.
    /// * `max_output`: the limit of each of the two output streams, in bytes.
    ///
    /// # Errors
    ///
    /// `TimedOut` after the time limit, `FileTooLarge` if an output stream is too long, and every error
    /// of the system.
    pub(crate) async fn output(
        &self,
        command: &mut Command,
        time_limit: Duration,
        max_output: u64,
    ) -> io::Result<Output> {
        let _permit = self.0.acquire().await.map_err(io::Error::other)?;
        tokio::time::timeout(time_limit, output(command, max_output))
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }
}

async fn output(command: &mut Command, limit: u64) -> io::Result<Output> {
    let mut group = ProcessGroup::spawn(command)?;
    let streams = (group.0.stdout.take(), group.0.stderr.take());
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let status = {
        let reads = try_join(
            read(streams.0, limit, &mut stdout),
            read(streams.1, limit, &mut stderr),
        );
        match select(pin!(reads), pin!(group.0.wait())).await {
            Either::Left((read, end)) => {
                read?;
                end.await?
            }
            Either::Right((status, reads)) => {
                // A process that the program has left behind may hold the streams open for hours.
                if let Ok(read) = tokio::time::timeout(OUTPUT_AFTER_EXIT, reads).await {
                    read?;
                }
                status?
            }
        }
    };
    Ok(Output {
        status,
        stdout,
        stderr,
    })
}

async fn read(stream: Option<impl AsyncRead + Unpin>, limit: u64, bytes: &mut Vec<u8>) -> io::Result<()> {
    if let Some(stream) = stream {
        stream.take(limit + 1).read_to_end(bytes).await?;
    }
    if bytes.len() as u64 > limit {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(())
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

/// The programs that print a token take a second of a core each, and the Azure CLI locks the file of
/// its tokens.
const MAX_RUNNING: usize = 4;

/// What the program has written before its exit is in the pipe already; it only has to be read.
const OUTPUT_AFTER_EXIT: Duration = Duration::from_secs(1);

#[cfg(all(test, unix))]
mod tests {
    use futures::poll;

    use super::*;

    #[tokio::test]
    async fn fifth_program_starts_when_one_of_four_has_ended() {
        let programs = Programs::new();
        let mut endless: [Command; MAX_RUNNING] = std::array::from_fn(|_| Command::new("/bin/sleep"));
        let mut running: Vec<_> = endless
            .iter_mut()
            .map(|command| Box::pin(programs.output(command.arg("60"), LIMIT, 0)))
            .collect();
        for program in &mut running {
            assert!(poll!(program).is_pending());
        }
        // It fails as soon as it is started.
        let mut missing = Command::new("/nowhere/program");
        let mut fifth = pin!(programs.output(&mut missing, LIMIT, 0));
        assert!(poll!(&mut fifth).is_pending());
        running.pop();
        let error = fifth.await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    const LIMIT: Duration = Duration::from_secs(60);
}
