//! Work that blocks its thread: files, keys, root certificates.

use std::panic::resume_unwind;

/// Runs `work` off the runtime's threads and returns its result. Resumes a panic of `work` in the
/// caller.
///
/// Never resolves if the runtime is shutting down: the caller is dropped with the runtime, and
/// waiters of other runtimes get no error that does not concern them.
pub(crate) async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            Err(_cancelled) => std::future::pending().await,
        },
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use tokio::runtime::Builder;

    use super::*;

    #[test]
    fn panic_in_the_work_is_resumed_in_the_caller() {
        let runtime = Builder::new_current_thread().build().unwrap();
        let work = std::panic::AssertUnwindSafe(run(|| panic!("a bug in the work")));
        let panic = runtime.block_on(work.catch_unwind()).unwrap_err();
        assert_eq!(panic.downcast_ref(), Some(&"a bug in the work"));
    }

    #[test]
    fn run_never_resolves_when_the_runtime_is_shutting_down() {
        let runtime = Builder::new_current_thread().build().unwrap();
        let handle = runtime.handle().clone();
        drop(runtime);
        let _context = handle.enter();
        assert!(run(|| ()).now_or_never().is_none());
    }
}
