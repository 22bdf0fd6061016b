//! Whether and when a failed attempt is retried. Pure, except for the random jitter.

use std::time::Duration;

/// Whether callers wait for the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Urgency {
    /// Callers wait: transient failures are retried.
    Awaited,
    /// The cached token is still usable: one attempt, and the cache decides when to start the next
    /// fetch. Quick retries would double the load on a server that has just recovered.
    Background,
}

impl Urgency {
    pub(super) fn attempts(self) -> u32 {
        match self {
            Self::Awaited => MAX_ATTEMPTS,
            Self::Background => 1,
        }
    }
}

/// Returns the pause before the next attempt, or `None` if there is no further attempt: too many
/// have failed, or the next one would start after the deadline of the fetch.
///
/// * `failed`: how many attempts have failed.
/// * `remaining`: the time until the deadline.
pub(super) fn pause(
    urgency: Urgency,
    failed: u32,
    retry_after: Option<Duration>,
    remaining: Duration,
) -> Option<Duration> {
    let pause = retry_after
        .unwrap_or_default()
        .saturating_add(full_jitter(failed));
    (failed < urgency.attempts() && pause < remaining).then_some(pause)
}

/// Returns a random duration of at most 0.5 s, 1 s, 2 s and so on, up to 8 s.
///
/// Full jitter spreads the clients of a recovering server best. Source: "Exponential Backoff And
/// Jitter", AWS Architecture Blog, 2015.
fn full_jitter(failed: u32) -> Duration {
    let ceiling = FIRST_CEILING
        .saturating_mul(1 << failed.saturating_sub(1).min(4))
        .min(MAX_CEILING);
    ceiling.mul_f64(fastrand::f64())
}

/// With pauses of at most 0.5, 1 and 2 s and responses as slow as Entra's slowest, four attempts
/// fit into the default 20 s.
const MAX_ATTEMPTS: u32 = 4;

const FIRST_CEILING: Duration = Duration::from_millis(500);

const MAX_CEILING: Duration = Duration::from_secs(8);

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn at_most_four_attempts_start_before_the_deadline() {
        for failed in 1..4 {
            assert!(
                pause(Urgency::Awaited, failed, None, seconds(20)).is_some(),
                "{failed}"
            );
        }
        assert_eq!(pause(Urgency::Awaited, 4, None, seconds(20)), None);
        assert_eq!(pause(Urgency::Background, 1, None, seconds(20)), None);
        assert_eq!(pause(Urgency::Awaited, 1, None, seconds(0)), None);
        assert_eq!(pause(Urgency::Awaited, 1, Some(seconds(20)), seconds(20)), None);
        assert_eq!(pause(Urgency::Awaited, 1, Some(Duration::MAX), seconds(20)), None);
    }

    #[test]
    fn retry_after_is_added_to_the_jitter() {
        let pause = pause(Urgency::Awaited, 1, Some(seconds(7)), seconds(20)).unwrap();
        assert!(pause >= seconds(7) && pause <= seconds(8), "{pause:?}");
    }

    #[test]
    fn jitter_ceilings_double_up_to_eight_seconds() {
        for (failed, ceiling) in [
            (0, 500),
            (1, 500),
            (2, 1000),
            (3, 2000),
            (4, 4000),
            (5, 8000),
            (u32::MAX, 8000),
        ] {
            let ceiling = Duration::from_millis(ceiling);
            let longest = (0..1000).map(|_| full_jitter(failed)).max().unwrap();
            assert!(longest <= ceiling, "{failed}: {longest:?}");
            assert!(longest >= ceiling.mul_f64(0.9), "{failed}: {longest:?}");
        }
    }
}
