use std::time::{Duration, SystemTime};

use http::HeaderMap;
use http::header::{DATE, RETRY_AFTER};

/// Returns how long the server asks to wait: `retry-after-ms` or `x-ms-retry-after-ms` in
/// milliseconds, or `Retry-After` in seconds or as a date. A date is relative to the server's own
/// `Date` if there is one, so that a wrong local clock has no effect.
///
/// Source: RFC 9110, section 10.2.3; the other two are Azure's (`azure_core`, retry policy).
pub(crate) fn parse(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    number(headers).or_else(|| {
        let date = |name: &str| httpdate::parse_http_date(text(headers, name)?).ok();
        let until = date(RETRY_AFTER.as_str())?;
        let from = date(DATE.as_str()).unwrap_or(now);
        Some(until.duration_since(from).unwrap_or_default())
    })
}

/// The same without a date, for those who have no clock.
pub(crate) fn number(headers: &HeaderMap) -> Option<Duration> {
    let integer = |name: &str| text(headers, name)?.parse::<u64>().ok();
    let milliseconds = MILLISECONDS.iter().find_map(|name| integer(name));
    let seconds = || integer(RETRY_AFTER.as_str()).map(Duration::from_secs);
    milliseconds.map(Duration::from_millis).or_else(seconds)
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

const MILLISECONDS: [&str; 2] = ["retry-after-ms", "x-ms-retry-after-ms"];

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn every_form_is_parsed() {
        // Sun, 06 Nov 1994 08:49:37 GMT
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        for (pairs, wanted) in [
            (&[][..], None),
            (&[("retry-after", "30")], Some(30_000)),
            (&[("retry-after", " 0 ")], Some(0)),
            (&[("retry-after", "-1")], None),
            (&[("retry-after", "1.5")], None),
            (&[("retry-after", "soon")], None),
            (&[("retry-after", "18446744073709551615")], Some(u64::MAX)),
            (&[("retry-after-ms", "250"), ("retry-after", "30")], Some(250)),
            (&[("x-ms-retry-after-ms", "1500")], Some(1500)),
            (&[("retry-after-ms", "x"), ("retry-after", "2")], Some(2000)),
            (&[("retry-after", "Sun, 06 Nov 1994 08:50:37 GMT")], Some(60_000)),
            (&[("retry-after", "Sun, 06 Nov 1994 08:48:37 GMT")], Some(0)),
            (
                &[
                    ("retry-after", "Sun, 06 Nov 1994 09:50:07 GMT"),
                    ("date", "Sun, 06 Nov 1994 09:49:37 GMT"),
                ],
                Some(30_000),
            ),
        ] {
            let parsed =
                parse(&headers(pairs), now).map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
            assert_eq!(parsed, wanted, "{pairs:?}");
        }
    }

    proptest! {
        #[test]
        fn any_header_is_parsed_without_a_panic(bytes in proptest::collection::vec(32u8..=255, 0..60)) {
            if let Ok(value) = HeaderValue::from_bytes(&bytes) {
                for name in ["retry-after", "retry-after-ms", "date"] {
                    let mut headers = headers(&[("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT")]);
                    headers.insert(name, value.clone());
                    let _ = parse(&headers, SystemTime::UNIX_EPOCH);
                }
            }
        }
    }
}
