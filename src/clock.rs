//! The time as the credentials see it. Public with the feature `test-util`: tests and simulations set it.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

#[cfg(target_os = "linux")]
use rustix::time::{ClockId, clock_gettime};

/// A source of the current time.
///
/// A credential reads its clock once a call and never reads the time of the system directly, so a
/// test or a simulation controls the time with
/// [`builder().clock(..)`](crate::builder::WorkloadIdentityCredentialBuilder::clock). Time limits and pauses
/// between attempts follow the Tokio runtime's time instead.
///
/// # Examples
///
/// ```
/// use entra_workload::clock::{Clock, Moment, SystemClock};
/// use std::time::Duration;
///
/// /// Runs 3600 times as fast as the system's clocks.
/// #[derive(Debug)]
/// struct FastClock(Moment);
///
/// impl Clock for FastClock {
///     fn now(&self) -> Moment {
///         self.0 + SystemClock::new().now().since(self.0) * 3600
///     }
/// }
///
/// let clock = FastClock(SystemClock::new().now());
/// assert!(!clock.now().reached(SystemClock::new().now() + Duration::from_secs(86_400)));
/// ```
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// Returns the current time.
    fn now(&self) -> Moment;
}

/// The clocks of the operating system. This is the default.
///
/// On Linux it reads the coarse clocks, which the kernel advances at each tick of 1 to 10 ms and
/// which cost a quarter of the precise ones: a cached call reads both the monotonic and the wall
/// clock. The longest tick is added, so that no token is used after its expiry.
///
/// # Examples
///
/// ```
/// use entra_workload::clock::{Clock, SystemClock};
///
/// let clock = SystemClock::new();
/// let start = clock.now();
/// assert!(clock.now().reached(start));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    /// An `Instant`, and the kernel's clock at that time: `Instant` cannot be built from the
    /// kernel's time since boot.
    #[cfg(target_os = "linux")]
    start: (Instant, Duration),
}

impl SystemClock {
    /// The clocks of this system.
    #[cfg(target_os = "linux")]
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that asks the system for the time"
    )]
    pub fn new() -> Self {
        Self {
            start: (Instant::now() + TICK, since_epoch(ClockId::MonotonicCoarse)),
        }
    }

    /// The clocks of this system.
    #[cfg(not(target_os = "linux"))]
    pub fn new() -> Self {
        Self {}
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

/// A clock that several credentials share.
impl<T: Clock + ?Sized> Clock for Arc<T> {
    fn now(&self) -> Moment {
        (**self).now()
    }
}

impl Clock for SystemClock {
    #[cfg(target_os = "linux")]
    fn now(&self) -> Moment {
        let (instant, start) = self.start;
        let elapsed = since_epoch(ClockId::MonotonicCoarse).saturating_sub(start);
        Moment {
            instant: instant.checked_add(elapsed).unwrap_or(instant),
            system_time: SystemTime::UNIX_EPOCH + (TICK + since_epoch(ClockId::RealtimeCoarse)),
        }
    }

    #[cfg(not(target_os = "linux"))]
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that asks the system for the time"
    )]
    fn now(&self) -> Moment {
        Moment {
            instant: Instant::now(),
            system_time: SystemTime::now(),
        }
    }
}

/// Reads a clock of the kernel, as the time since that clock's epoch.
#[cfg(target_os = "linux")]
fn since_epoch(clock: ClockId) -> Duration {
    Duration::try_from(clock_gettime(clock)).unwrap_or_default()
}

/// A point in time on two clocks: the monotonic clock and the wall clock.
///
/// Neither clock is enough. The monotonic clock stops while a machine is suspended, so a token
/// could look valid long after its expiry. The wall clock is adjusted by administrators and by NTP.
/// A deadline therefore counts as [reached](Self::reached) as soon as *either* clock has reached
/// it: at worst a token is refreshed too early, but it is never used too late.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use entra_workload::clock::{Clock, SystemClock};
///
/// let now = SystemClock::new().now();
/// let deadline = now + Duration::from_secs(60);
/// assert!(!now.reached(deadline));
/// assert_eq!(deadline.since(now), Duration::from_secs(60));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The reading of the monotonic clock.
    pub instant: Instant,
    /// The reading of the wall clock, in UTC.
    pub system_time: SystemTime,
}

impl Moment {
    /// Returns whether either clock has reached `deadline`.
    pub fn reached(self, deadline: Self) -> bool {
        self.instant >= deadline.instant || self.system_time >= deadline.system_time
    }

    /// Returns the time since `earlier` on the monotonic clock, or zero if `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        self.instant.saturating_duration_since(earlier.instant)
    }
}

impl std::ops::Add<Duration> for Moment {
    type Output = Self;

    /// Adds `duration`, at most a century, to both clocks. Never overflows: this crate handles no
    /// time that is further away.
    fn add(self, duration: Duration) -> Self {
        let duration = duration.min(CENTURY);
        Self {
            instant: self.instant.checked_add(duration).unwrap_or(self.instant),
            system_time: self.system_time.checked_add(duration).unwrap_or(self.system_time),
        }
    }
}

/// The longest tick: that of a kernel with `CONFIG_HZ=100`.
#[cfg(target_os = "linux")]
const TICK: Duration = Duration::from_millis(10);

const CENTURY: Duration = Duration::from_secs(100 * 365 * 86_400);

#[cfg(test)]
#[path = "../tests/support/clock.rs"]
#[allow(dead_code, unreachable_pub, reason = "integration tests use it too")]
pub(crate) mod test_clock;

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn deadline_is_reached_when_either_clock_has_passed_it() {
        let start = SystemClock::new().now();
        let deadline = start + seconds(60);
        assert!(!start.reached(deadline));
        assert!((start + seconds(60)).reached(deadline));
        let suspended = Moment {
            system_time: start.system_time + seconds(61),
            ..start
        };
        assert!(
            suspended.reached(deadline),
            "the machine was suspended: only the wall clock advanced"
        );
        let set_back = Moment {
            system_time: start.system_time - seconds(7200),
            ..start + seconds(61)
        };
        assert!(
            set_back.reached(deadline),
            "the wall clock was set back: the monotonic clock decides"
        );
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "compared with the clocks of the standard library"
    )]
    #[test]
    fn system_clock_agrees_with_the_standard_library() {
        const TOLERANCE: Duration = Duration::from_millis(30);
        let clock = SystemClock::new();
        let before = (Instant::now(), SystemTime::now());
        let now = clock.now();
        let after = (Instant::now(), SystemTime::now());
        assert!(
            now.instant + TOLERANCE >= before.0 && now.instant <= after.0 + TOLERANCE,
            "{now:?} {before:?} {after:?}"
        );
        assert!(
            now.system_time + TOLERANCE >= before.1 && now.system_time <= after.1 + TOLERANCE,
            "{now:?} {before:?} {after:?}"
        );
    }

    #[test]
    fn addition_saturates_when_the_duration_is_huge() {
        let start = SystemClock::new().now();
        assert!((start + Duration::MAX).reached(start + seconds(86_400 * 365)));
        assert_eq!(start.since(start + seconds(1)), Duration::ZERO);
    }
}
