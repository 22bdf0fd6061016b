use std::time::{Duration, SystemTime, UNIX_EPOCH};

use time::format_description::StaticFormatDescription;
use time::macros::format_description;
use time::{Date, UtcDateTime};

/// Returns the whole seconds since the Unix epoch, or zero for earlier times.
pub(super) fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Returns `2026-11-25T21:34:06Z`.
pub(super) fn rfc3339(time: SystemTime) -> String {
    format(since_epoch(time), SECONDS)
}

/// Returns `2026-11-25T21:34:06.0000000Z`, as .NET writes a time.
///
/// * `time`: since the Unix epoch.
pub(super) fn rfc3339_with_ticks(time: Duration) -> String {
    format(time, TICKS)
}

/// Returns `2026-11-25 21:34:06Z`, as Entra writes a time in its error responses.
pub(super) fn with_space(time: SystemTime) -> String {
    format(since_epoch(time), WITH_SPACE)
}

/// Whether a version of an API is a date, not before the first service and not long after this crate: a client that is newer
/// than the crate is welcome.
pub(super) fn is_plausible_version(text: &str) -> bool {
    let date = Date::parse(text, DATE).ok();
    // The parser takes a sign, too.
    text.len() == DATE_LENGTH && date.is_some_and(|date| (2009..=2030).contains(&date.year()))
}

fn since_epoch(time: SystemTime) -> Duration {
    time.duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// * `time`: since the Unix epoch. After the year 9999, the epoch itself is written.
fn format(time: Duration, format: StaticFormatDescription) -> String {
    let date = i64::try_from(time.as_secs()).ok();
    let date = date.and_then(|seconds| UtcDateTime::from_unix_timestamp(seconds).ok());
    let date = date.and_then(|date| date.replace_nanosecond(time.subsec_nanos()).ok());
    // Writing numbers does not fail.
    date.unwrap_or(UtcDateTime::UNIX_EPOCH)
        .format(format)
        .unwrap_or_default()
}

const SECONDS: StaticFormatDescription =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
const TICKS: StaticFormatDescription =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:7]Z");
const WITH_SPACE: StaticFormatDescription =
    format_description!("[year]-[month]-[day] [hour]:[minute]:[second]Z");
const DATE: StaticFormatDescription = format_description!("[year]-[month]-[day]");

const DATE_LENGTH: usize = "2026-11-25".len();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_written_in_each_format() {
        let time = Duration::new(1_795_642_446, 120_345_678);
        let date = UNIX_EPOCH + time;
        assert_eq!(rfc3339(date), "2026-11-25T21:34:06Z");
        assert_eq!(with_space(date), "2026-11-25 21:34:06Z");
        assert_eq!(rfc3339_with_ticks(time), "2026-11-25T21:34:06.1203456Z");
        assert_eq!(rfc3339(UNIX_EPOCH - time), "1970-01-01T00:00:00Z");
    }

    #[test]
    fn version_is_a_date_between_2009_and_2030() {
        for version in ["2009-09-19", "2026-02-06", "2030-12-31"] {
            assert!(is_plausible_version(version), "{version}");
        }
        for version in [
            "",
            "7.4",
            "2008-12-31",
            "2031-01-01",
            "2026-13-01",
            "2026-2-6",
            "+2026-02-06",
            "2026-02-06 ",
        ] {
            assert!(!is_plausible_version(version), "{version}");
        }
    }
}
