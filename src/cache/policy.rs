//! When a token is refreshed, and how long a failure is left alone: pure functions of durations.

use std::ops::Range;
use std::time::Duration;

/// How long after its request a token is refreshed: `refresh_in`, or half its life, less a random part of up to a third, so
/// that pods which started together drift apart. A `refresh_in` that is shorter than the pause between two tries is a mistake
/// of the server, and would make every call start an exchange.
///
/// * `random`: between 0 and 1.
pub(crate) fn refresh_after(lifetime: Duration, refresh_in: Option<Duration>, random: f64) -> Duration {
    let due = refresh_in
        .unwrap_or(lifetime / 2)
        .max(refresh_pause(lifetime, None));
    due.mul_f64(1.0 - random.clamp(0.0, 1.0) * REFRESH_JITTER)
}

/// How long to use a token on after the first refresh has begun, or has failed, before the next try.
pub(crate) fn refresh_pause(lifetime: Duration, retry_after: Option<Duration>) -> Duration {
    REFRESH_PAUSE.min(lifetime / 10).max(limited(retry_after))
}

/// How long to use a token on after its refresh has failed twice or more: this is an outage, and who asks often now asks at
/// once when it is over, together with everybody else. So the next try waits for half of the remaining life or more; towards
/// the end, when a try is worth more than the server's peace, it comes as soon as the first.
///
/// * `random`: between 0 and 1.
pub(crate) fn outage_pause(
    lifetime: Duration,
    remaining: Duration,
    retry_after: Option<Duration>,
    random: f64,
) -> Duration {
    let soon = refresh_pause(lifetime, retry_after);
    if remaining <= LAST_MINUTES.min(lifetime / 6) {
        return soon;
    }
    let share = OUTAGE_SHARE.start + random.clamp(0.0, 1.0) * (OUTAGE_SHARE.end - OUTAGE_SHARE.start);
    remaining.mul_f64(share).max(soon)
}

/// How long a key without a token answers with the error of its last exchange.
///
/// * `failures`: how many exchanges have failed in a row, this one included.
pub(crate) fn cooldown(failures: u32, retry_after: Option<Duration>) -> Duration {
    let pause = COOLDOWN
        .saturating_mul(1 << failures.saturating_sub(1).min(5))
        .min(MAX_COOLDOWN);
    pause.max(limited(retry_after))
}

fn limited(retry_after: Option<Duration>) -> Duration {
    retry_after.unwrap_or_default().min(MAX_RETRY_AFTER)
}

// The numbers of the refresh were chosen with `tools/src/bin/fleet.rs`; DESIGN.md has its figures.

/// With a 60-minute token, refreshes spread over ten minutes, and at least half an hour is left when one begins. Of a fleet
/// started at once, 2.6 times as many as on average ask in the busiest ten seconds of the first wave; with a fifth it was 5 times.
const REFRESH_JITTER: f64 = 1.0 / 3.0;

/// Azure SDKs for Go, .NET and Python wait 30 s after a failed early refresh. A tenth of the life for tokens that live less
/// than five minutes, so that these too get several tries.
const REFRESH_PAUSE: Duration = Duration::from_secs(30);

/// Which share of its remaining life a token is used on in an outage, until its end is near. Each try that a pod makes in an outage
/// adds the mean load of an even day to the peak after it: with these, a 60-minute token makes two or three in 25 minutes.
const OUTAGE_SHARE: Range<f64> = 0.5..0.75;

/// The end of a token's life. What the promise of 25 minutes leaves of the 30 after the refresh; a sixth of shorter lives.
const LAST_MINUTES: Duration = Duration::from_secs(300);

/// Long enough to stop a storm of callers, short enough to be no outage of its own.
const COOLDOWN: Duration = Duration::from_secs(1);

const MAX_COOLDOWN: Duration = Duration::from_secs(30);

/// A server that asks for more is limited for this long: a mistaken or forged header must not switch a pod off.
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
            // The worst case: the refresh is due as late as can be, and the outage begins right then.
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
        let wait = |remaining, random| outage_pause(seconds(3600), seconds(remaining), None, random);
        assert_eq!(wait(2000, 0.0), seconds(1000));
        assert_eq!(wait(2000, 1.0), seconds(1500));
        assert_eq!(wait(2000, 7.0), seconds(1500));
        assert_eq!(wait(301, 0.0).as_secs(), 150);
        assert_eq!(wait(300, 1.0), seconds(30));
        assert_eq!(wait(0, 1.0), seconds(30));
        let asked = |remaining| outage_pause(seconds(3600), seconds(remaining), Some(seconds(200)), 0.0);
        assert_eq!(
            (asked(2000), asked(310), asked(100)),
            (seconds(1000), seconds(200), seconds(200))
        );
    }

    #[test]
    fn token_of_one_minute_gets_several_refreshes_in_an_outage() {
        let wait = |remaining| outage_pause(seconds(60), seconds(remaining), None, 0.0);
        assert_eq!(
            (wait(30), wait(11), wait(10)),
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
