use std::time::Duration;

use serde::Deserialize;

use super::Refusal;
use crate::endpoint::Endpoint;
use crate::fault::Fault;
use crate::request_log::RecordedRequest;

/// A fault for an endpoint. Exactly one kind is given.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct FaultOrder {
    endpoint: String,
    status: Option<u16>,
    retry_after_seconds: Option<u64>,
    delay_milliseconds: Option<u64>,
    kind: Option<Kind>,
    times: Option<u32>,
    #[serde(default)]
    until_cleared: bool,
    #[serde(default)]
    including_unauthenticated: bool,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Hang,
    Reset,
    Truncate,
}

impl FaultOrder {
    pub(super) fn into_fault(self) -> Result<(Endpoint, Fault), Refusal> {
        let endpoint = self.endpoint.parse::<Endpoint>().map_err(Refusal::invalid)?;
        if let Some(status) = self.status.filter(|status| !(300..=599).contains(status)) {
            return Err(Refusal::invalid(format!("the status {status} is no failure")));
        }
        let kinds = [
            self.status.map(Fault::status),
            self.retry_after_seconds
                .map(|seconds| Fault::throttle(Duration::from_secs(seconds))),
            self.delay_milliseconds
                .map(|milliseconds| Fault::delay(Duration::from_millis(milliseconds))),
            self.kind.map(|kind| match kind {
                Kind::Hang => Fault::hang(),
                Kind::Reset => Fault::reset(),
                Kind::Truncate => Fault::truncate(),
            }),
        ];
        let mut kinds = kinds.into_iter().flatten();
        let (Some(mut fault), None) = (kinds.next(), kinds.next()) else {
            return Err(Refusal::invalid(
                "one of status, retryAfterSeconds, delayMilliseconds and kind must be given",
            ));
        };
        if let Some(times) = self.times {
            fault = fault.times(times);
        }
        if self.until_cleared {
            fault = fault.until_cleared();
        }
        if self.including_unauthenticated {
            fault = fault.including_unauthenticated();
        }
        Ok((endpoint, fault))
    }
}

/// How many token requests each minute has: `{"perMinute": 10}`; `null` ends the limit.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Limit {
    #[serde(deserialize_with = "Option::deserialize")]
    pub(super) per_minute: Option<u32>,
}

/// How far the clock is moved: `{"by": "61m"}`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Advance {
    by: String,
}

impl Advance {
    pub(super) fn duration(&self) -> Result<Duration, String> {
        let invalid = || format!("{:?} is no time such as 90s, 61m, 12h or 30d", self.by);
        let at = self.by.len().saturating_sub(1);
        let (number, unit) = self.by.split_at_checked(at).ok_or_else(invalid)?;
        let seconds = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3_600,
            "d" => 86_400,
            _ => return Err(invalid()),
        };
        let number: u64 = number.parse().map_err(|_| invalid())?;
        let duration = number
            .checked_mul(seconds)
            .filter(|seconds| *seconds <= LONGEST_ADVANCE);
        duration.map(Duration::from_secs).ok_or_else(invalid)
    }
}

/// The query of a list of requests.
#[derive(Default)]
pub(super) struct Filter {
    endpoint: Option<Endpoint>,
    client_id: Option<String>,
    aadsts: Option<u32>,
    status: Option<u16>,
}

impl Filter {
    pub(super) fn parse(query: &str) -> Result<Self, Refusal> {
        let mut filter = Self::default();
        let invalid = |name: &str| Refusal::invalid(format!("{name} is no number"));
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            match name.as_ref() {
                "endpoint" => filter.endpoint = Some(value.parse().map_err(Refusal::invalid)?),
                "clientId" => filter.client_id = Some(value.to_lowercase()),
                "aadsts" => filter.aadsts = Some(value.parse().map_err(|_| invalid(&name))?),
                "status" => filter.status = Some(value.parse().map_err(|_| invalid(&name))?),
                _ => {
                    return Err(Refusal::invalid(format!(
                        "{name} is none of endpoint, clientId, aadsts and status"
                    )));
                }
            }
        }
        Ok(filter)
    }

    pub(super) fn includes(&self, request: &RecordedRequest) -> bool {
        let client_id = || request.client_id().map(|id| id.to_lowercase());
        self.endpoint
            .is_none_or(|endpoint| request.endpoint() == endpoint)
            && (self.client_id.is_none() || self.client_id == client_id())
            && (self.aadsts.is_none() || self.aadsts == request.aadsts())
            && (self.status.is_none() || self.status == request.status())
    }
}

/// A century; more would leave the range of dates.
const LONGEST_ADVANCE: u64 = 100 * 366 * 86_400;
