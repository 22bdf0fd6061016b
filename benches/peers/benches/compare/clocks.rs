//! Clocks for this crate's credential; the peers know only the system's.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use entra_workload::{Clock, Moment, SystemClock};

/// The system's clocks, set forward.
#[derive(Clone, Debug, Default)]
pub struct Ahead(Arc<AtomicU64>);

impl Ahead {
    pub fn advance(&self, time: Duration) {
        self.0.fetch_add(time.as_secs(), Ordering::SeqCst);
    }
}

impl Clock for Ahead {
    fn now(&self) -> Moment {
        SystemClock::new().now() + Duration::from_secs(self.0.load(Ordering::SeqCst))
    }
}

/// The time of a paused Tokio runtime, in which an hour takes a second.
#[derive(Debug)]
pub struct Simulated {
    wall: SystemTime,
    start: tokio::time::Instant,
}

impl Simulated {
    pub fn start() -> Self {
        Self {
            wall: SystemTime::now(),
            start: tokio::time::Instant::now(),
        }
    }
}

impl Clock for Simulated {
    fn now(&self) -> Moment {
        let now = tokio::time::Instant::now();
        Moment {
            instant: now.into_std(),
            system_time: self.wall + (now - self.start),
        }
    }
}
