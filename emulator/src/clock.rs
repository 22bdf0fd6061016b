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

    /// Moves the clock forward, in whole seconds. It never goes back: tokens would not be valid yet.
    ///
    /// Returns `false`, and does nothing, if it would be more than a century ahead.
    pub(super) fn advance(&self, by: Duration) -> bool {
        let add = |ahead: u64| ahead.checked_add(by.as_secs()).filter(|ahead| *ahead <= FARTHEST);
        self.ahead
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, add)
            .is_ok()
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

/// In seconds; dates beyond have no text.
const FARTHEST: u64 = 100 * 366 * 86_400;
