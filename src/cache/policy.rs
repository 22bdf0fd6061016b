//! When a token is refreshed, and how long the cache waits after a failure: pure functions of
//! durations.

use std::ops::Range;
use std::time::Duration;

/// Returns the time from the request of a token to its refresh: `refresh_in`, or half the lifetime,
/// less a random part of up to a third, so that the refreshes of pods that started together spread.
///
/// A `refresh_in` shorter than the pause between two refreshes is raised to that pause: it would
/// start a fetch at every call.
///
/// * `random`: between 0 and 1.
pub(crate) fn refresh_after(lifetime: Duration, refresh_in: Option<Duration>, random: f64) -> Duration {
    let due = refresh_in
        .unwrap_or(lifetime / 2)
        .max(refresh_pause(lifetime, None));
    due.mul_f64(1.0 - random.clamp(0.0, 1.0) * REFRESH_JITTER)
}

/// Returns the pause after the start or the first failure of a refresh.
pub(crate) fn refresh_pause(lifetime: Duration, retry_after: Option<Duration>) -> Duration {
    REFRESH_PAUSE.min(lifetime / 10).max(limited(retry_after))
}

/// Returns the pause after a refresh has failed twice or more, which counts as an outage.
///
/// Frequent refreshes during an outage synchronize all pods at its end. The pause is therefore at
/// least half of the remaining lifetime, until the last minutes of the token, in which it is as
/// short as after the first failure.
///
/// * `random`: between 0 and 1.
pub(crate) fn outage_pause(
    lifetime: Duration,
    remaining: Duration,
    retry_after: Option<Duration>,
    random: f64,
) -> Duration {
    let shortest = refresh_pause(lifetime, retry_after);
    if remaining <= LAST_MINUTES.min(lifetime / 6) {
        return shortest;
    }
    let share = OUTAGE_SHARE.start + random.clamp(0.0, 1.0) * (OUTAGE_SHARE.end - OUTAGE_SHARE.start);
    remaining.mul_f64(share).max(shortest)
}

/// Returns how long callers without a token get the error of the last fetch.
///
/// * `failures`: how many fetches in a row have failed, including the last one.
pub(crate) fn cooldown(failures: u32, retry_after: Option<Duration>) -> Duration {
    let pause = COOLDOWN
        .saturating_mul(1 << failures.saturating_sub(1).min(5))
        .min(MAX_COOLDOWN);
    pause.max(limited(retry_after))
}

fn limited(retry_after: Option<Duration>) -> Duration {
    retry_after.unwrap_or_default().min(MAX_RETRY_AFTER)
}

// The numbers of the refresh were chosen with `tools/src/bin/fleet.rs`; benches/README.md has its figures.

/// Spreads the refreshes of 60-minute tokens over ten minutes, and leaves at least half an hour
/// when a refresh starts. In a fleet that started at once, the busiest ten seconds of the first
/// refreshes have 2.6 times the mean load; with a fifth it was 5 times.
const REFRESH_JITTER: f64 = 1.0 / 3.0;

/// The Azure SDKs for Go, .NET and Python wait 30 s after a failed early refresh. The pause is a
/// tenth of lifetimes below five minutes, so that these tokens get several refreshes too.
const REFRESH_PAUSE: Duration = Duration::from_secs(30);

/// The share of the remaining lifetime that the pause takes in an outage. Each refresh that a pod
/// tries during an outage adds the mean load of a normal day to the peak after it: with these
/// shares, a 60-minute token is refreshed two or three times in 25 minutes.
const OUTAGE_SHARE: Range<f64> = 0.5..0.75;

/// The last minutes of a token: of the 30 minutes that are left when its refresh starts, those
/// beyond an outage of 25 minutes. A sixth of shorter lifetimes.
const LAST_MINUTES: Duration = Duration::from_secs(300);

/// Long enough to limit the load of many callers, short enough not to prolong an outage.
const COOLDOWN: Duration = Duration::from_secs(1);

const MAX_COOLDOWN: Duration = Duration::from_secs(30);

/// A server that asks for a longer pause gets this one: an incorrect or forged header must not
/// disable a pod.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn token_of_60_minutes_is_refreshed_30_minutes_or_more_before_its_expiry() {
        assert_eq!(refresh_after(seconds(3600), None, 0.0), seconds(30 * 60));
        assert_eq!(refresh_after(seconds(3600), None, 1.0).as_secs(), 20 * 60);
        assert_eq!(refresh_after(seconds(3600), None, 7.0).as_secs(), 20 * 60);
    }

    #[test]
    fn refresh_is_tried_again_between_an_outage_of_25_minutes_and_the_expiry() {
        for random in [0.0, 0.2, 0.5, 0.8, 1.0] {
            // The worst case: the refresh starts as late as possible, and the outage begins just
            // before it.
            let mut remaining = seconds(30 * 60 - 30);
            while remaining > seconds(5 * 60) {
                let pause = outage_pause(seconds(3600), remaining, None, random);
                assert!(pause >= seconds(30), "{random}: {pause:?}");
                remaining -= pause;
            }
            assert!(remaining >= seconds(60), "{random}: {remaining:?}");
        }
    }

    #[test]
    fn refreshes_in_an_outage_are_frequent_only_in_the_last_5_minutes() {
        let pause = |remaining, random| outage_pause(seconds(3600), seconds(remaining), None, random);
        assert_eq!(pause(2000, 0.0), seconds(1000));
        assert_eq!(pause(2000, 1.0), seconds(1500));
        assert_eq!(pause(2000, 7.0), seconds(1500));
        assert_eq!(pause(301, 0.0).as_secs(), 150);
        assert_eq!(pause(300, 1.0), seconds(30));
        assert_eq!(pause(0, 1.0), seconds(30));
        let with_retry_after =
            |remaining| outage_pause(seconds(3600), seconds(remaining), Some(seconds(200)), 0.0);
        assert_eq!(
            (
                with_retry_after(2000),
                with_retry_after(310),
                with_retry_after(100)
            ),
            (seconds(1000), seconds(200), seconds(200))
        );
    }

    #[test]
    fn token_of_one_minute_gets_several_refreshes_in_an_outage() {
        let pause = |remaining| outage_pause(seconds(60), seconds(remaining), None, 0.0);
        assert_eq!(
            (pause(30), pause(11), pause(10)),
            (seconds(15), seconds(6), seconds(6))
        );
    }

    #[test]
    fn refresh_in_takes_precedence_over_half_the_lifetime() {
        assert_eq!(
            refresh_after(seconds(86_400), Some(seconds(43_000)), 0.0),
            seconds(43_000)
        );
        assert_eq!(refresh_after(seconds(3600), None, 0.0), seconds(1800));
    }

    #[test]
    fn refresh_in_of_zero_does_not_start_a_fetch_at_every_call() {
        assert_eq!(refresh_after(seconds(3600), Some(seconds(0)), 0.0), seconds(30));
        assert_eq!(refresh_after(seconds(60), Some(seconds(1)), 0.0), seconds(6));
    }

    #[test]
    fn failed_refresh_is_repeated_after_30_seconds_or_retry_after() {
        assert_eq!(refresh_pause(seconds(3600), None), seconds(30));
        assert_eq!(refresh_pause(seconds(3600), Some(seconds(5))), seconds(30));
        assert_eq!(refresh_pause(seconds(3600), Some(seconds(90))), seconds(90));
        assert_eq!(refresh_pause(seconds(3600), Some(Duration::MAX)), seconds(600));
        assert_eq!(refresh_pause(seconds(10), None), seconds(1));
    }

    #[test]
    fn cooldown_grows_from_1_to_30_seconds() {
        let pauses: Vec<u64> = (1..8)
            .map(|failures| cooldown(failures, None).as_secs())
            .collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30]);
        assert_eq!(cooldown(u32::MAX, None), seconds(30));
        assert_eq!(cooldown(1, Some(seconds(7))), seconds(7));
        assert_eq!(cooldown(9, Some(seconds(7))), seconds(30));
        assert_eq!(cooldown(1, Some(Duration::MAX)), seconds(600));
    }
}
