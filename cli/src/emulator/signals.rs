use std::io;
#[cfg(unix)]
use std::io::IsTerminal as _;
use std::process::ExitStatus;

use tokio::process::Child;

/// The signals that a program can expect. They are caught from the moment that this exists.
#[cfg(unix)]
pub(super) struct Signals(tokio::sync::mpsc::UnboundedReceiver<rustix::process::Signal>);

#[cfg(unix)]
impl Signals {
    pub(super) fn new() -> io::Result<Self> {
        use rustix::process::Signal;
        use tokio::signal::unix::{SignalKind, signal};

        // Under nohup, it stays ignored here and in the child.
        let is_hangup_ignored = is_hangup_ignored();
        let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
        for (kind, number) in [
            (SignalKind::alarm(), Signal::ALARM),
            (SignalKind::hangup(), Signal::HUP),
            (SignalKind::interrupt(), Signal::INT),
            (SignalKind::quit(), Signal::QUIT),
            (SignalKind::terminate(), Signal::TERM),
            (SignalKind::user_defined1(), Signal::USR1),
            (SignalKind::user_defined2(), Signal::USR2),
        ] {
            if number == Signal::HUP && is_hangup_ignored {
                continue;
            }
            let mut caught = signal(kind)?;
            let sender = sender.clone();
            tokio::spawn(
                async move { while caught.recv().await.is_some() && sender.send(number).is_ok() {} },
            );
        }
        Ok(Self(receiver))
    }

    /// Returns after a signal that asks for an end.
    pub(super) async fn wait_for_end(&mut self) {
        use rustix::process::Signal;

        while let Some(signal) = self.0.recv().await {
            if [Signal::HUP, Signal::INT, Signal::TERM].contains(&signal) {
                return;
            }
        }
    }

    /// Waits for the child, and passes signals on to it.
    ///
    /// Not those of the keyboard: a terminal has sent them to the child, too.
    pub(super) async fn pass_on_until_exit(&mut self, child: &mut Child) -> io::Result<ExitStatus> {
        use rustix::process::{Pid, Signal, kill_process};

        let id = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        let has_terminal = io::stdin().is_terminal();
        loop {
            let signal = tokio::select! {
                status = child.wait() => return status,
                Some(signal) = self.0.recv() => signal,
            };
            let is_of_keyboard = has_terminal && [Signal::INT, Signal::QUIT].contains(&signal);
            if let Some(id) = id.filter(|_| !is_of_keyboard) {
                // It can have ended in the meantime.
                let _ = kill_process(id, signal);
            }
        }
    }
}

/// Whether this process was started with SIGHUP ignored. Only Linux tells.
///
/// Source: proc(5), `SigIgn`: a mask of which the lowest bit is signal 1, SIGHUP.
#[cfg(unix)]
fn is_hangup_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & 1 == 1)
}

/// Elsewhere there is Ctrl-C alone, which the child gets, too.
#[cfg(not(unix))]
pub(super) struct Signals;

#[cfg(not(unix))]
impl Signals {
    #[expect(clippy::unnecessary_wraps, reason = "as on Unix")]
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self)
    }

    pub(super) async fn wait_for_end(&mut self) {
        let _ = tokio::signal::ctrl_c().await;
    }

    pub(super) async fn pass_on_until_exit(&mut self, child: &mut Child) -> io::Result<ExitStatus> {
        child.wait().await
    }
}
