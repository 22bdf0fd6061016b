//! Counters and histograms for alerts, through the [`metrics`] facade: with the feature `metrics`, off by
//! default. Nothing is recorded when a cached token is read.

#[cfg(feature = "metrics")]
use ::metrics::{counter, gauge, histogram};

use std::time::Duration;

use crate::error::ErrorKind;

/// The end of one fetch.
#[derive(Debug)]
#[cfg_attr(
    not(feature = "metrics"),
    expect(dead_code, reason = "read with the feature only")
)]
pub(crate) struct FetchEnd {
    /// The kind of its error, if it failed.
    pub(crate) error: Option<ErrorKind>,
    /// Whether callers waited for it.
    pub(crate) is_awaited: bool,
    pub(crate) duration: Duration,
    /// The token that it was to replace, if that is still usable: its age, and what remains of it.
    pub(crate) refreshed: Option<(Duration, Duration)>,
    pub(crate) starts_cooldown: bool,
}

/// A fetch ended with a token or an error.
pub(crate) fn fetch_ended(end: &FetchEnd) {
    #[cfg(feature = "metrics")]
    {
        let outcome = end.error.map_or("success", outcome);
        let urgency = if end.is_awaited { "awaited" } else { "background" };
        // `increase` of Prometheus does not see a counter that begins with one.
        for outcome in OUTCOMES {
            counter!(FETCHES, "outcome" => outcome, "urgency" => "background").increment(0);
        }
        counter!(FETCHES, "outcome" => outcome, "urgency" => urgency).increment(1);
        histogram!(FETCH_DURATION, "outcome" => outcome, "urgency" => urgency).record(end.duration);
        if let Some((age, remaining)) = end.refreshed {
            histogram!(REFRESH_AGE, "outcome" => outcome).record(age);
            histogram!(REFRESH_REMAINING, "outcome" => outcome).record(remaining);
        }
        if end.starts_cooldown {
            counter!(COOLDOWNS).increment(1);
        }
    }
    #[cfg(not(feature = "metrics"))]
    let _ = end;
}

/// Usable tokens were evicted from a full cache.
pub(crate) fn evicted(tokens: usize) {
    #[cfg(feature = "metrics")]
    counter!(EVICTED_TOKENS).increment(tokens as u64);
    #[cfg(not(feature = "metrics"))]
    let _ = tokens;
}

/// A chain selected a link.
///
/// * `previous`: the link that was selected before.
pub(crate) fn selected(credential: &str, previous: Option<&str>) {
    #[cfg(feature = "metrics")]
    {
        if let Some(previous) = previous {
            gauge!(SELECTED_CREDENTIAL, "credential" => previous.to_owned()).set(0.0);
        }
        gauge!(SELECTED_CREDENTIAL, "credential" => credential.to_owned()).set(1.0);
    }
    #[cfg(not(feature = "metrics"))]
    let _ = (credential, previous);
}

#[cfg(feature = "metrics")]
fn outcome(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Unavailable => "unavailable",
        ErrorKind::Configuration => "configuration",
        ErrorKind::Assertion => "assertion",
        ErrorKind::Transport => "transport",
        ErrorKind::Rejected => "rejected",
        ErrorKind::Protocol => "protocol",
    }
}

#[cfg(feature = "metrics")]
const OUTCOMES: [&str; 7] = [
    "success",
    "unavailable",
    "configuration",
    "assertion",
    "transport",
    "rejected",
    "protocol",
];

// The names follow the rules of Prometheus: a prefix, the unit, and `_total` for counters. Source: "Metric and
// label naming" in its documentation.
#[cfg(feature = "metrics")]
const FETCHES: &str = "entra_workload_fetches_total";
#[cfg(feature = "metrics")]
const FETCH_DURATION: &str = "entra_workload_fetch_duration_seconds";
#[cfg(feature = "metrics")]
const REFRESH_AGE: &str = "entra_workload_refresh_age_seconds";
#[cfg(feature = "metrics")]
const REFRESH_REMAINING: &str = "entra_workload_refresh_remaining_seconds";
#[cfg(feature = "metrics")]
const COOLDOWNS: &str = "entra_workload_cooldowns_total";
#[cfg(feature = "metrics")]
const EVICTED_TOKENS: &str = "entra_workload_evicted_tokens_total";
#[cfg(feature = "metrics")]
const SELECTED_CREDENTIAL: &str = "entra_workload_selected_credential";
