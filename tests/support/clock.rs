//! The clock of all tests and benchmarks of this crate.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use entra_workload::clock::{Clock, Moment, SystemClock};
use tokio::time::Instant;

/// A clock that a test can set.
///
/// Clones show the same time. Time passes as for the Tokio runtime, which a test may pause and
/// advance, or not at all if the clock is [stopped](Self::stopped); in both cases a test can also
/// move the clock.
#[derive(Clone, Debug)]
pub struct TestClock {
    /// What the clock shows, less the time that passed on its runtime.
    base: Arc<Mutex<Moment>>,
    runtime_start: Option<Instant>,
}

impl TestClock {
    /// Follows the time of the Tokio runtime.
    pub fn new() -> Self {
        Self {
            runtime_start: Some(Instant::now()),
            ..Self::stopped()
        }
    }

    /// Shows the same time until it is moved.
    pub fn stopped() -> Self {
        Self {
            base: Arc::new(Mutex::new(SystemClock::new().now())),
            runtime_start: None,
        }
    }

    /// Moves both the monotonic and the wall clock forward.
    pub fn advance(&self, by: Duration) {
        let mut base = self.base.lock().unwrap();
        *base = *base + by;
    }

    /// Moves only the wall clock, as NTP or the suspension of a machine does; back if `seconds` is
    /// negative.
    pub fn move_wall(&self, seconds: i64) {
        let distance = Duration::from_secs(seconds.unsigned_abs());
        let mut base = self.base.lock().unwrap();
        if seconds < 0 {
            base.system_time -= distance;
        } else {
            base.system_time += distance;
        }
    }

    /// Sets only the wall clock.
    pub fn set_wall(&self, time: SystemTime) {
        self.base.lock().unwrap().system_time = time - self.passed();
    }

    /// The wall clock as a function, for an emulator.
    pub fn wall_time(&self) -> impl Fn() -> SystemTime + Send + Sync + 'static {
        let clock = self.clone();
        move || clock.now().system_time
    }

    /// The time that passed on the runtime.
    fn passed(&self) -> Duration {
        self.runtime_start
            .map(|start| start.elapsed())
            .unwrap_or_default()
    }
}

impl Clock for TestClock {
    fn now(&self) -> Moment {
        *self.base.lock().unwrap() + self.passed()
    }
}
