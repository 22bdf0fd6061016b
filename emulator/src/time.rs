use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Returns the whole seconds since the Unix epoch, or zero for earlier times.
pub(super) fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Returns `2026-11-25T21:34:06Z`.
pub(super) fn rfc3339(time: SystemTime) -> String {
    let Utc {
        year,
        month,
        day,
        hour,
        minute,
        second,
    } = time.into();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Returns `2026-11-25T21:34:06.0000000Z`, as .NET writes a time.
///
/// * `time`: since the Unix epoch.
pub(super) fn rfc3339_with_ticks(time: Duration) -> String {
    let Utc {
        year,
        month,
        day,
        hour,
        minute,
        second,
    } = Utc::from_unix_seconds(time.as_secs());
    let ticks = time.subsec_nanos() / 100;
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ticks:07}Z")
}

/// Whether a version of an API is a date, not before the first service and not long after this crate: a client that is newer
/// than the crate is welcome.
pub(super) fn is_plausible_version(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let [year, month, day] = parts.as_slice() else {
        return false;
    };
    let number = |text: &str, length: usize| {
        let is_number = text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u32>().ok().filter(|_| is_number)
    };
    number(year, 4).is_some_and(|year| (2009..=2030).contains(&year))
        && number(month, 2).is_some_and(|month| (1..=12).contains(&month))
        && number(day, 2).is_some_and(|day| (1..=31).contains(&day))
}

/// A date and time in UTC.
pub(super) struct Utc {
    pub(super) year: u64,
    pub(super) month: u64,
    pub(super) day: u64,
    pub(super) hour: u64,
    pub(super) minute: u64,
    pub(super) second: u64,
}

impl From<SystemTime> for Utc {
    fn from(time: SystemTime) -> Self {
        Self::from_unix_seconds(unix_seconds(time))
    }
}

impl Utc {
    fn from_unix_seconds(seconds: u64) -> Self {
        // Days since 0000-03-01. In years that start in March, the leap day is the last day, and
        // the lengths of the months repeat every 153 days.
        let days = seconds / 86_400 + 719_468;
        let (era, day_of_era) = (days / 146_097, days % 146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let month = (month_from_march + 2) % 12 + 1;
        Self {
            year: era * 400 + year_of_era + u64::from(month <= 2),
            month,
            day: day_of_year - (153 * month_from_march + 2) / 5 + 1,
            hour: seconds / 3_600 % 24,
            minute: seconds / 60 % 60,
            second: seconds % 60,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_match_httpdate_for_200_years() {
        for day in 0..200 * 366 {
            let time = UNIX_EPOCH + Duration::from_secs(day * 86_400 + day % 86_400);
            let Utc {
                year,
                month,
                day,
                hour,
                minute,
                second,
            } = Utc::from(time);
            let text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}");
            let date = httpdate::fmt_http_date(time);
            let months = "JanFebMarAprMayJunJulAugSepOctNovDec";
            let fields: Vec<_> = date.split([' ', ',']).filter(|field| !field.is_empty()).collect();
            let month = months.find(fields[2]).unwrap() / 3 + 1;
            assert_eq!(
                text,
                format!("{}-{month:02}-{}T{}", fields[3], fields[1], fields[4])
            );
        }
    }
}
