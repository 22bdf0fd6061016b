//! When a token is refreshed, and how long a failure is left alone: pure functions of durations.

use std::time::Duration;

/// How long after its request a token is refreshed: `refresh_in`, or half its life, less a random part of up to a fifth, so
/// that pods which started together drift apart.
///
/// * `random`: between 0 and 1.
pub(crate) fn refresh_after(lifetime: Duration, refresh_in: Option<Duration>, random: f64) -> Duration {
    let due = refresh_in.unwrap_or(lifetime / 2);
    due.mul_f64(1.0 - random.clamp(0.0, 1.0) * REFRESH_JITTER)
}

/// How long to use a token on after its refresh failed, before the next try.
pub(crate) fn retry_refresh_after(lifetime: Duration, retry_after: Option<Duration>) -> Duration {
    let pause = (lifetime / 10).min(REFRESH_RETRY);
    pause.max(retry_after.unwrap_or_default().min(LONGEST_RETRY_AFTER))
}

/// How long a key without a token answers with the error of its last exchange.
///
/// * `failures`: how many exchanges have failed in a row, this one included.
pub(crate) fn cool_down(failures: u32, retry_after: Option<Duration>) -> Duration {
    let pause = COOL_DOWN
        .saturating_mul(1 << failures.saturating_sub(1).min(5))
        .min(LONGEST_COOL_DOWN);
    pause.max(retry_after.unwrap_or_default().min(LONGEST_RETRY_AFTER))
}

/// With a 60-minute token, refreshes spread over six minutes, and at least half an hour is left when one begins.
const REFRESH_JITTER: f64 = 0.2;

/// Azure SDKs for Go, .NET and Python wait 30 s after a failed early refresh. A tenth of the life for tokens that live less
/// than five minutes, so that these too get several tries.
const REFRESH_RETRY: Duration = Duration::from_secs(30);

/// Long enough to stop a storm of callers, short enough to be no outage of its own.
const COOL_DOWN: Duration = Duration::from_secs(1);

const LONGEST_COOL_DOWN: Duration = Duration::from_secs(30);

/// A server that asks for more is obeyed for this long: a mistaken or forged header must not switch a pod off.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn a_sixty_minute_token_outlives_a_25_minute_outage_whenever_that_begins() {
        for random in [0.0, 0.5, 1.0] {
            let refresh = refresh_after(seconds(3600), None, random);
            assert!(refresh <= seconds(35 * 60), "{refresh:?}");
            assert!(refresh >= seconds(24 * 60), "{refresh:?}");
        }
    }

    #[test]
    fn the_servers_refresh_time_goes_before_half_the_life() {
        assert_eq!(
            refresh_after(seconds(86_400), Some(seconds(43_000)), 0.0),
            seconds(43_000)
        );
        assert_eq!(refresh_after(seconds(3600), None, 0.0), seconds(1800));
        assert_eq!(refresh_after(seconds(3600), Some(seconds(0)), 0.7), seconds(0));
    }

    #[test]
    fn a_failed_refresh_is_tried_again_after_30_seconds_or_as_the_server_asks() {
        assert_eq!(retry_refresh_after(seconds(3600), None), seconds(30));
        assert_eq!(retry_refresh_after(seconds(3600), Some(seconds(5))), seconds(30));
        assert_eq!(retry_refresh_after(seconds(3600), Some(seconds(90))), seconds(90));
        assert_eq!(
            retry_refresh_after(seconds(3600), Some(Duration::MAX)),
            seconds(600)
        );
        assert_eq!(retry_refresh_after(seconds(10), None), seconds(1));
    }

    #[test]
    fn a_key_cools_down_from_one_second_to_thirty() {
        let pauses: Vec<u64> = (1..8)
            .map(|failures| cool_down(failures, None).as_secs())
            .collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30]);
        assert_eq!(cool_down(u32::MAX, None), seconds(30));
        assert_eq!(cool_down(1, Some(seconds(7))), seconds(7));
        assert_eq!(cool_down(9, Some(seconds(7))), seconds(30));
        assert_eq!(cool_down(1, Some(Duration::MAX)), seconds(600));
    }
}
