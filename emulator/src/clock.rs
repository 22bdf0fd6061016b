use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

/// The wall clock shared by the issuer, Entra and the services.
#[derive(Clone)]
pub(super) struct Clock {
    base: Arc<dyn Fn() -> SystemTime + Send + Sync>,
    /// In seconds.
    ahead: Arc<AtomicU64>,
}

impl Clock {
    pub(super) fn new(now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        Self {
            base: Arc::new(now),
            ahead: Arc::default(),
        }
    }

    pub(super) fn now(&self) -> SystemTime {
        (self.base)() + Duration::from_secs(self.ahead.load(Ordering::Relaxed))
    }

    /// Moves the clock forward, in whole seconds.
    pub(super) fn advance(&self, by: Duration) {
        self.ahead.fetch_add(by.as_secs(), Ordering::Relaxed);
    }

    /// Undoes all moves.
    pub(super) fn reset(&self) {
        self.ahead.store(0, Ordering::Relaxed);
    }
}

impl Default for Clock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the only place that reads the system time"
    )]
    fn default() -> Self {
        Self::new(SystemTime::now)
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}
