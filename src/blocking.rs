//! Work that blocks its thread: files, names of hosts, keys, root certificates.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::sync::watch;

/// Runs `work` off the runtime's threads and returns its result. Resumes a panic of `work` in the
/// caller.
///
/// # Errors
///
/// [`NO_THREAD`] if no thread can be started.
///
/// The work has a thread of its own, which may never end: a file system can hang. A runtime waits for its
/// blocking threads when it shuts down, so the one that waits for the work ends with the caller. It is there so
/// that a paused clock does not advance meanwhile.
///
/// Never resolves if the runtime is shutting down: the caller is dropped with the runtime, and
/// waiters of other runtimes get no error that does not concern them.
pub(crate) async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    run_on(thread::Builder::new(), work).await
}

/// As [`run`].
///
/// * `thread`: of the work.
async fn run_on<T: Send + 'static>(
    thread: thread::Builder,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    let (sender, receiver) = channel();
    let _abandon_on_drop = Abandon(sender.clone());
    let work = move || {
        // Nobody waits for the result if the caller is gone.
        let _ = sender.send(Some(catch_unwind(AssertUnwindSafe(work))));
    };
    thread.spawn(work).map_err(|_| NO_THREAD)?;
    let wait = || tokio::task::spawn_blocking(move || receiver.recv().ok().flatten());
    // Tokio panics if it has no blocking thread and can start none.
    let done = catch_unwind(AssertUnwindSafe(wait)).map_err(|_| NO_THREAD)?;
    match done.await {
        Ok(Some(Ok(result))) => Ok(result),
        Ok(Some(Err(panic))) => resume_unwind(panic),
        Ok(None) => std::future::pending().await,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            Err(_cancelled) => std::future::pending().await,
        },
    }
}

/// Work whose result the callers share that come while it runs: while a file system hangs, there is one thread that
/// waits for it.
#[derive(Debug)]
pub(crate) struct Shared<T>(Mutex<Option<watch::Receiver<Option<T>>>>);

impl<T: Clone + Send + Sync + 'static> Shared<T> {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// `TimedOut` if the result takes longer than two seconds: the work itself goes on. [`NO_THREAD`] if no
    /// thread can be started.
    pub(crate) async fn read(&self, work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
        self.run(READ_LIMIT, work).await
    }

    /// As `read`, with another time limit.
    pub(crate) async fn run(
        &self,
        limit: Duration,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        let result = async {
            let sender = loop {
                let mut running = match self.start() {
                    Ok(sender) => break sender,
                    Err(running) => running,
                };
                let result = running.wait_for(Option::is_some).await;
                // There is none if the work panicked, or if its runtime ended before it began.
                if let Some(result) = result.ok().and_then(|result| result.clone()) {
                    return Ok(result);
                }
            };
            // Sent by the thread of the work: the runtime of the first caller may never be polled again.
            run(move || {
                let result = work();
                sender.send_replace(Some(result.clone()));
                result
            })
            .await
        };
        tokio::time::timeout(limit, result)
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Returns where the result of new work goes, or where that of the running work comes from.
    fn start(&self) -> Result<watch::Sender<Option<T>>, watch::Receiver<Option<T>>> {
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_running =
            |work: &&watch::Receiver<Option<T>>| work.has_changed().is_ok() && work.borrow().is_none();
        if let Some(work) = running.as_ref().filter(is_running) {
            return Err(work.clone());
        }
        let (sender, receiver) = watch::channel(None);
        *running = Some(receiver);
        Ok(sender)
    }
}

impl<T> Default for Shared<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

/// Tells the waiting thread that the caller is gone.
struct Abandon<T>(Sender<Option<T>>);

impl<T> Drop for Abandon<T> {
    fn drop(&mut self) {
        // Fails if the result was there before.
        let _ = self.0.send(None);
    }
}

/// The kind of the error if the system starts no thread, because the process, its user or its container is at a limit.
/// No error of reading has it.
pub(crate) const NO_THREAD: io::ErrorKind = io::ErrorKind::QuotaExceeded;

/// Takes microseconds. More than half of the shortest time limit of a token request, 5 s, is left.
const READ_LIMIT: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::mpsc::Receiver;

    use futures::FutureExt;
    use tokio::runtime::{Builder, Runtime};

    use super::*;

    fn current_thread() -> Runtime {
        Builder::new_current_thread().enable_time().build().unwrap()
    }

    /// Work that ends with the sender.
    fn hanging() -> (Sender<()>, impl FnOnce() -> &'static str + Send) {
        let (end, ended): (_, Receiver<()>) = channel();
        (end, move || {
            let _ = ended.recv();
            "ended"
        })
    }

    #[test]
    fn panic_in_the_work_is_resumed_in_the_caller() {
        let work = AssertUnwindSafe(run(|| panic!("a bug in the work")));
        let panic = current_thread().block_on(work.catch_unwind()).unwrap_err();
        assert_eq!(panic.downcast_ref(), Some(&"a bug in the work"));
    }

    #[tokio::test]
    async fn error_is_returned_when_no_thread_can_be_started() {
        let too_large = thread::Builder::new().stack_size(usize::MAX / 4);
        let error = run_on(too_large, || ()).await.unwrap_err();
        assert_eq!(error.kind(), NO_THREAD);
    }

    /// A runtime whose threads need more memory than there is.
    #[test]
    fn error_is_returned_when_the_runtime_can_start_no_thread() {
        let mut builder = Builder::new_current_thread();
        let runtime = builder.thread_stack_size(usize::MAX / 4).build().unwrap();
        let error = runtime.block_on(run(|| ())).unwrap_err();
        assert_eq!(error.kind(), NO_THREAD);
    }

    #[test]
    fn run_never_resolves_when_the_runtime_is_shutting_down() {
        let runtime = current_thread();
        let handle = runtime.handle().clone();
        drop(runtime);
        let _context = handle.enter();
        assert!(run(|| ()).now_or_never().is_none());
    }

    #[test]
    fn runtime_shuts_down_while_work_hangs() {
        let (end, work) = hanging();
        let (shut_down, is_shut_down) = channel();
        thread::spawn(move || {
            let runtime = current_thread();
            let (started, has_started) = channel();
            let task = runtime.spawn(run(move || {
                started.send(()).unwrap();
                work()
            }));
            runtime.block_on(async {
                while has_started.try_recv().is_err() {
                    tokio::task::yield_now().await;
                }
            });
            drop((task, runtime));
            shut_down.send(()).unwrap();
        });
        is_shut_down
            .recv_timeout(Duration::from_secs(60))
            .expect("the runtime waits for the work");
        drop(end);
    }

    #[tokio::test(start_paused = true)]
    async fn callers_share_hanging_work_and_give_up_at_the_time_limit() {
        let shared = Shared::default();
        let (end, work) = hanging();
        let mut first = pin!(shared.read(work));
        let mut second = pin!(shared.read(|| panic!("a second thread")));
        assert!(futures::poll!(&mut first).is_pending());
        assert!(futures::poll!(&mut second).is_pending());
        tokio::time::advance(READ_LIMIT).await;
        for caller in [first.await, second.await] {
            assert_eq!(caller.unwrap_err().kind(), io::ErrorKind::TimedOut);
        }

        // Nothing keeps a paused clock from advancing while the thread of the work ends.
        tokio::time::resume();
        let mut third = pin!(shared.read(|| panic!("a second thread")));
        assert!(futures::poll!(&mut third).is_pending());
        drop(end);
        assert_eq!(third.await.unwrap(), "ended");
        assert_eq!(shared.read(|| "again").await.unwrap(), "again");
    }

    #[tokio::test]
    async fn panic_in_shared_work_leaves_the_other_callers_their_own() {
        let shared = Shared::default();
        let (end, work) = hanging();
        let panics = shared.read(move || {
            work();
            panic!("a bug in the work")
        });
        let mut panics = Box::pin(AssertUnwindSafe(panics).catch_unwind());
        assert!(futures::poll!(&mut panics).is_pending());
        let mut other = pin!(shared.read(|| "other"));
        assert!(futures::poll!(&mut other).is_pending());
        drop(end);
        assert_eq!(other.await.unwrap(), "other");
        panics.await.unwrap_err();
    }

    /// The caller that began the work may belong to a runtime that no thread runs.
    #[test]
    fn work_of_a_stopped_runtime_has_a_result_for_others() {
        let shared = Shared::default();
        let (end, work) = hanging();
        let (stopped, driven) = (current_thread(), current_thread());
        let mut first = Box::pin(shared.read(work));
        stopped.block_on(async { assert!(futures::poll!(&mut first).is_pending()) });
        drop(end);
        assert!(driven.block_on(shared.read(|| "own")).is_ok());
    }
}
