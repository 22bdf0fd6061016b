use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::DATE;
use http::{Response, StatusCode};
use serde_json::Value;

use super::Diagnosis;
use super::finding::{Finding, Severity};
use super::report::{self, Step};
use super::variables::LoginHost;
use crate::code::{Code, Owner};
use crate::exchange::codes_of;

pub(super) struct Outcome {
    pub(super) clock: report::Outcome,
    pub(super) check: report::Outcome,
    /// How far this machine's clock is from that of the login host, if that is more than Entra accepts.
    pub(super) skew: Option<Duration>,
}

impl Outcome {
    pub(super) fn skipped() -> Self {
        Self {
            clock: report::Outcome::skipped(Step::Clock),
            check: report::Outcome::skipped(Step::LoginHost),
            skew: None,
        }
    }

    /// In a pod with an identity binding, only the token proxy is asked.
    pub(super) fn replaced_by_token_proxy() -> Self {
        let skipped = report::Outcome::skipped_because;
        Self {
            clock: skipped(
                Step::Clock,
                "not compared: the token proxy takes the place of the login host",
            ),
            check: skipped(Step::LoginHost, "the token proxy takes its place"),
            skew: None,
        }
    }

    /// Without a response, there is no time to compare with.
    fn failed(finding: Finding) -> Self {
        let reason = "not compared: the login host did not respond";
        Self {
            clock: report::Outcome::skipped_because(Step::Clock, reason),
            check: report::Outcome::failed(Step::LoginHost, finding),
            skew: None,
        }
    }
}

/// Reads the discovery document of the tenant, which needs no token.
pub(super) async fn check(diagnosis: &Diagnosis<'_>, login_host: &LoginHost) -> Outcome {
    let LoginHost { authority, tenant_id } = login_host;
    let host = authority.host();
    let url = match authority.discovery_url(tenant_id) {
        Ok(url) => url,
        Err(error) => {
            let finding = Finding::of_error(&error, Code::INVALID_AUTHORITY_HOST);
            return Outcome::failed(finding);
        }
    };
    let response = match diagnosis.get(&url).await {
        Ok(response) => response,
        Err(error) => {
            let finding = Finding::of_error(&error, Code::UNREACHABLE_HOST);
            let mut finding = finding.with_evidence("login host", host, "a response over TLS");
            // No cloud has this host, so the variable is wrong and not the network.
            if finding.code == Code::UNKNOWN_HOST && authority.cloud().is_none() {
                finding.owner = Owner::Developer;
            }
            return Outcome::failed(finding);
        }
    };
    let now = diagnosis.options.clock.now().system_time;
    let (clock, skew) = clock(&response, now);
    let check = match problem(&response, host, tenant_id.as_str()) {
        Some(finding) => report::Outcome::failed(Step::LoginHost, finding),
        None => report::Outcome::passed(
            Step::LoginHost,
            format!("{host} knows tenant {}", tenant_id.as_str()),
        ),
    };
    Outcome { clock, check, skew }
}

fn clock(response: &Response<Bytes>, now: SystemTime) -> (report::Outcome, Option<Duration>) {
    let date = response.headers().get(DATE).and_then(|date| date.to_str().ok());
    let Some(theirs) = date.and_then(|date| httpdate::parse_http_date(date).ok()) else {
        let reason = "not compared: the response of the login host has no date";
        return (report::Outcome::skipped_because(Step::Clock, reason), None);
    };
    let (skew, direction) = match now.duration_since(theirs) {
        Ok(ahead) => (ahead, "ahead of"),
        Err(error) => (error.duration(), "behind"),
    };
    let detail = format!("{} s {direction} the login host", skew.as_secs());
    if skew <= NOTABLE_SKEW {
        return (
            report::Outcome::passed(Step::Clock, "agrees with the login host"),
            None,
        );
    }
    let severity = if skew > ACCEPTED_SKEW {
        Severity::Error
    } else {
        Severity::Warning
    };
    let finding = Finding::new(
        Code::CLOCK_IS_WRONG,
        severity,
        format!("the clock of this machine is {detail}"),
    )
    .with_evidence(
        "time",
        httpdate::fmt_http_date(now),
        httpdate::fmt_http_date(theirs),
    );
    let finding = if severity == Severity::Error {
        finding.predicting(700_024)
    } else {
        finding
    };
    let mut outcome = report::Outcome::failed(Step::Clock, finding);
    outcome.detail = Some(detail);
    (outcome, Some(skew).filter(|skew| *skew > ACCEPTED_SKEW))
}

fn problem(response: &Response<Bytes>, host: &str, tenant_id: &str) -> Option<Finding> {
    let status = response.status();
    let error = |code, cause: String| Some(Finding::new(code, Severity::Error, cause));
    if status == StatusCode::TOO_MANY_REQUESTS {
        return error(Code::THROTTLED, format!("{host} throttles requests"));
    }
    if status.is_server_error() {
        return error(
            Code::OUTAGE,
            format!("{host} is temporarily unavailable (status {})", status.as_u16()),
        );
    }
    let Ok(document) = serde_json::from_slice::<Value>(response.body()) else {
        return Some(
            Finding::new(
                Code::NOT_ENTRA,
                Severity::Error,
                format!(
                    "the answer of {host} is not that of Entra, so a proxy or a captive portal is in between"
                ),
            )
            .with_evidence(
                "response",
                format!("status {}, not JSON", status.as_u16()),
                "the discovery document",
            ),
        );
    };
    if status == StatusCode::OK && document.get("token_endpoint").is_some() {
        return None;
    }
    let text = document
        .get("error_description")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let codes = document.get("error_codes").and_then(Value::as_array);
    let codes = codes.into_iter().flatten().filter_map(Value::as_u64);
    let codes: Vec<u32> = codes.filter_map(|code| code.try_into().ok()).collect();
    if codes_of(Code::UNKNOWN_TENANT)
        .any(|code| codes.contains(&code) || text.contains(&format!("AADSTS{code}")))
    {
        let finding = Finding::new(
            Code::UNKNOWN_TENANT,
            Severity::Error,
            format!("{host} does not know the tenant {tenant_id}"),
        )
        .with_evidence("AZURE_TENANT_ID", tenant_id, "a tenant of this cloud");
        return Some(
            codes
                .first()
                .map_or(finding.clone(), |code| finding.predicting(*code)),
        );
    }
    error(
        Code::NOT_ENTRA,
        format!(
            "{host} answers with status {} and no discovery document",
            status.as_u16()
        ),
    )
}

/// What Entra accepts. Source: facts of the Microsoft identity platform; .NET's default `ClockSkew`.
const ACCEPTED_SKEW: Duration = Duration::from_secs(300);

/// More than a request and the seconds of the header explain.
const NOTABLE_SKEW: Duration = Duration::from_secs(60);
