//! Work that would hold a thread up: files, keys, root certificates.

use std::panic::resume_unwind;

/// Does `work` off the runtime's threads. A panic in it goes on here. In a runtime that is shutting down it never ends, so that what waits for
/// it is dropped with the runtime, and nobody else is told of an error that is none of theirs.
pub(crate) async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(stopped) => match stopped.try_into_panic() {
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
    fn a_panic_goes_on_where_the_work_is_awaited() {
        let runtime = Builder::new_current_thread().build().unwrap();
        let work = std::panic::AssertUnwindSafe(run(|| panic!("a bug in the work")));
        let panic = runtime.block_on(work.catch_unwind()).unwrap_err();
        assert_eq!(panic.downcast_ref(), Some(&"a bug in the work"));
    }

    #[test]
    fn a_runtime_that_is_shutting_down_gives_no_answer() {
        let runtime = Builder::new_current_thread().build().unwrap();
        let handle = runtime.handle().clone();
        drop(runtime);
        let _gone = handle.enter();
        assert!(run(|| ()).now_or_never().is_none());
    }
}
