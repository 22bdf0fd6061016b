use std::time::Duration;

/// How long to pause before attempt `failed + 1`: anything from nothing to 0.5 s, 1 s, 2 s, and so on to 8 s.
///
/// Full jitter spreads the clients of a recovering server best. Source: "Exponential Backoff And Jitter", AWS
/// Architecture Blog, 2015.
pub(super) fn full_jitter(failed: u32) -> Duration {
    let ceiling = FIRST
        .saturating_mul(1 << failed.saturating_sub(1).min(4))
        .min(LONGEST);
    ceiling.mul_f64(fastrand::f64())
}

const FIRST: Duration = Duration::from_millis(500);

const LONGEST: Duration = Duration::from_secs(8);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_stay_within_their_ceilings() {
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
