use std::fmt;
use std::time::{Duration, Instant, SystemTime};

#[cfg(target_os = "linux")]
use rustix::time::{ClockId, clock_gettime};

/// Tells a credential what time it is.
///
/// A credential asks its clock once a call and never asks the system by itself, so a test or a simulation can
/// move time at will: see [`builder().clock(..)`](crate::WorkloadIdentityCredentialBuilder::clock). Time-outs and
/// pauses between attempts are not asked here: they are those of the Tokio runtime.
///
/// # Examples
///
/// ```
/// use entra_workload::{Clock, Moment, SystemClock};
/// use std::time::Duration;
///
/// /// An hour a second.
/// #[derive(Debug)]
/// struct Fast(Moment);
///
/// impl Clock for Fast {
///     fn now(&self) -> Moment {
///         self.0 + SystemClock::new().now().since(self.0) * 3600
///     }
/// }
///
/// let fast = Fast(SystemClock::new().now());
/// assert!(!fast.now().reached(SystemClock::new().now() + Duration::from_secs(86_400)));
/// ```
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// The present moment.
    fn now(&self) -> Moment;
}

/// The clocks of the operating system; the default.
///
/// On Linux these are the coarse ones, which the kernel moves at each tick (1 to 10 ms, next to nothing in the life of a token),
/// and which cost a quarter of the others: a cached call reads both. The longest tick is added, so that no token is used after
/// its expiry.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    /// The kernel tells the time since boot; an `Instant` comes only from another one.
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

impl Clock for SystemClock {
    #[cfg(target_os = "linux")]
    fn now(&self) -> Moment {
        let (instant, then) = self.start;
        let passed = since_epoch(ClockId::MonotonicCoarse).saturating_sub(then);
        Moment {
            instant: instant.checked_add(passed).unwrap_or(instant),
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

/// What a clock of the kernel shows, since that clock's zero.
#[cfg(target_os = "linux")]
fn since_epoch(clock: ClockId) -> Duration {
    Duration::try_from(clock_gettime(clock)).unwrap_or_default()
}

/// One moment on two clocks: the one that only goes forward, and the one on the wall.
///
/// Neither is enough. The monotonic clock stands still while a machine is suspended, so a token could look valid
/// long after its expiry; the wall clock is set forward and back by people and by NTP. A deadline therefore counts as
/// [reached](Self::reached) as soon as *either* clock says so: at worst a token is renewed too early, and never used
/// too late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The reading of the monotonic clock.
    pub instant: Instant,
    /// The reading of the wall clock, in UTC.
    pub system_time: SystemTime,
}

impl Moment {
    /// Whether `deadline` has come, on either clock.
    pub fn reached(self, deadline: Self) -> bool {
        self.instant >= deadline.instant || self.system_time >= deadline.system_time
    }

    /// The time that the monotonic clock counted since `earlier`; zero if that is still to come.
    pub fn since(self, earlier: Self) -> Duration {
        self.instant.saturating_duration_since(earlier.instant)
    }
}

impl std::ops::Add<Duration> for Moment {
    type Output = Self;

    /// The moment `duration` later on both clocks, or a century later if that is sooner: no time this crate
    /// handles lies further off, and no addition overflows.
    fn add(self, duration: Duration) -> Self {
        let duration = duration.min(CENTURY);
        Self {
            instant: self.instant.checked_add(duration).unwrap_or(self.instant),
            system_time: self.system_time.checked_add(duration).unwrap_or(self.system_time),
        }
    }
}

/// Of a kernel with the fewest interrupts, `CONFIG_HZ=100`.
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
    fn a_deadline_is_reached_when_either_clock_has_passed_it() {
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
            "the machine slept: only the wall clock went on"
        );
        let set_back = Moment {
            system_time: start.system_time - seconds(7200),
            ..start + seconds(61)
        };
        assert!(
            set_back.reached(deadline),
            "the wall clock was set back: the monotonic one still counts"
        );
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "compared with the clocks of the standard library"
    )]
    #[test]
    fn the_systems_clocks_go_with_those_of_the_standard_library() {
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
    fn additions_never_overflow() {
        let start = SystemClock::new().now();
        assert!((start + Duration::MAX).reached(start + seconds(86_400 * 365)));
        assert_eq!(start.since(start + seconds(1)), Duration::ZERO);
    }
}
