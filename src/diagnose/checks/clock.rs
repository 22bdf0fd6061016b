use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::Response;
use http::header::DATE;

use crate::code::Code;
use crate::diagnose::finding::{ClockSkew, Finding, Property, Severity};
use crate::diagnose::report::{self, Observation, SkipReason, Step};

pub(in crate::diagnose) struct Outcome {
    pub(in crate::diagnose) check: report::Outcome,
    /// Whether the difference is more than Entra accepts.
    pub(in crate::diagnose) is_wrong: bool,
}

impl Outcome {
    pub(super) fn skipped() -> Self {
        Self::of(report::Outcome::skipped(Step::Clock))
    }

    pub(super) fn skipped_because(reason: SkipReason) -> Self {
        Self::of(report::Outcome::skipped_because(Step::Clock, reason))
    }

    fn of(check: report::Outcome) -> Self {
        Self {
            check,
            is_wrong: false,
        }
    }
}

/// Compares the clock of this machine with the `Date` of the response of the login host.
pub(super) fn check(response: &Response<Bytes>, now: SystemTime) -> Outcome {
    let date = response.headers().get(DATE).and_then(|date| date.to_str().ok());
    let Some(theirs) = date.and_then(|date| httpdate::parse_http_date(date).ok()) else {
        return Outcome::skipped_because(SkipReason::NoDate);
    };
    let (difference, is_ahead) = match now.duration_since(theirs) {
        Ok(ahead) => (ahead, true),
        Err(error) => (error.duration(), false),
    };
    let skew = ClockSkew::new(difference, is_ahead);
    if difference <= NOTABLE_SKEW {
        return Outcome::of(report::Outcome::passed(Step::Clock, Observation::Clock(skew)));
    }
    let is_wrong = difference > ACCEPTED_SKEW;
    let severity = if is_wrong {
        Severity::Error
    } else {
        Severity::Warning
    };
    let mut finding = Finding::new(Code::CLOCK_IS_WRONG, severity).comparing(
        Property::Time,
        httpdate::fmt_http_date(now),
        Some(&httpdate::fmt_http_date(theirs)),
    );
    finding.clock_skew = Some(skew);
    if is_wrong {
        finding = finding.predicting(Code::ASSERTION_OUTSIDE_VALIDITY);
    }
    Outcome {
        check: report::Outcome::failed(Step::Clock, finding).seeing(Observation::Clock(skew)),
        is_wrong,
    }
}

/// What Entra accepts. Source: facts of the Microsoft identity platform; .NET's default `ClockSkew`.
const ACCEPTED_SKEW: Duration = Duration::from_secs(300);

/// More than a request and the seconds of the header explain.
const NOTABLE_SKEW: Duration = Duration::from_secs(60);
