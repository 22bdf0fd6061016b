use entra_workload::diagnose::{Check, Observation, Report, SkipReason, State, Step};
use serde::Serialize;

use super::explanation::{Evidence, Explanation, clock_skew};

/// A check in words. As JSON, it is a check of the report.
#[derive(Serialize)]
pub(super) struct Line {
    pub(super) step: &'static str,
    pub(super) state: State,
    pub(super) detail: String,
}

/// Returns the checks of a report in order.
pub(super) fn lines(report: &Report, findings: &[Explanation]) -> Vec<Line> {
    let line = |check: &Check| Line {
        step: name(check.step),
        state: check.state,
        detail: if check.is_overruled {
            format!("Entra accepts it, although {}", detail(check, findings))
        } else {
            detail(check, findings)
        },
    };
    report.checks.iter().map(line).collect()
}

/// Returns the name of a step.
pub(super) fn name(step: Step) -> &'static str {
    match step {
        Step::Variables => "variables",
        Step::Clock => "clock",
        Step::TokenFile => "token file",
        Step::LoginHost => "login host",
        Step::Issuer => "issuer",
        Step::TokenRequest => "token request",
        Step::Resource => "resource",
        Step::OtherIdentity => "other identities",
        _ => "check",
    }
}

fn detail(check: &Check, findings: &[Explanation]) -> String {
    let titles: Vec<&str> = check.codes.iter().map(|code| code.title()).collect();
    let titles = titles.join("; ");
    let has_failed = check.state == State::Failed;
    if let (Some(comparison), [code, ..]) = (&check.comparison, &check.codes[..]) {
        let Evidence {
            what,
            presented,
            wanted,
        } = Evidence::of(*code, comparison);
        return format!("{what} is {presented}, expected {wanted}");
    }
    let seen = match &check.observation {
        Some(Observation::Clock(skew)) if !titles.is_empty() => return clock_skew(skew),
        Some(Observation::Identity(_)) => {
            let last = findings.last();
            return last.map(|finding| finding.cause.clone()).unwrap_or_default();
        }
        Some(Observation::Resource(resource)) if !titles.is_empty() => {
            return format!("{}: {titles}", resource.url);
        }
        _ if has_failed => return titles,
        Some(observation) => Some(seen(observation)),
        None => check.skipped.map(skipped),
    };
    let titles = Some(titles).filter(|titles| !titles.is_empty());
    let parts: Vec<String> = seen.into_iter().chain(titles).collect();
    parts.join("; ")
}

fn seen(observation: &Observation) -> String {
    match observation {
        Observation::Client {
            client_id,
            tenant_id,
            host,
        } => format!("client {client_id} in tenant {tenant_id} at {host}"),
        Observation::Clock(_) => "agrees with the login host".to_owned(),
        Observation::ServiceAccountToken {
            subject,
            expires_in_minutes,
        } => {
            let expiry = expires_in_minutes.map(|minutes| format!(", expires in {minutes} min"));
            subject.clone() + &expiry.unwrap_or_default()
        }
        Observation::Tenant { host, tenant_id } => format!("{host} knows tenant {tenant_id}"),
        Observation::PublishedKey { issuer } => format!("{issuer} publishes the key of the token"),
        Observation::AccessToken {
            scope,
            expires_in_minutes,
        } => format!("a token for {scope}, valid for {expires_in_minutes} min"),
        Observation::Resource(resource) => format!("{} can be read", resource.url),
        Observation::NoIdentity => "none: a default credential has no token either".to_owned(),
        _ => String::new(),
    }
}

fn skipped(reason: SkipReason) -> String {
    match reason {
        SkipReason::FollowsFrom(code) => format!("follows from {code}"),
        SkipReason::NoResponse => "not compared: the login host did not respond".to_owned(),
        SkipReason::NoDate => "not compared: the response of the login host has no date".to_owned(),
        SkipReason::TokenProxy => "the token proxy takes the place of the login host".to_owned(),
        SkipReason::NotReachableFromPod => {
            "not reachable from this pod (Entra reads it, not the pod)".to_owned()
        }
        _ => "not checked".to_owned(),
    }
}
