use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::Value;

use super::variables::LoginHost;
use super::{Diagnosis, clock};
use crate::code::{Code, Owner};
use crate::diagnose::finding::{Defect, Finding, Property, Severity, escaped};
use crate::diagnose::report::{self, Observation, SkipReason, Step};

pub(in crate::diagnose) struct Outcome {
    pub(in crate::diagnose) clock: clock::Outcome,
    pub(in crate::diagnose) check: report::Outcome,
}

impl Outcome {
    pub(in crate::diagnose) fn skipped() -> Self {
        Self {
            clock: clock::Outcome::skipped(),
            check: report::Outcome::skipped(Step::LoginHost),
        }
    }

    /// In a pod with an identity binding, only the token proxy is asked.
    pub(in crate::diagnose) fn replaced_by_token_proxy() -> Self {
        Self {
            clock: clock::Outcome::skipped_because(SkipReason::TokenProxy),
            check: report::Outcome::skipped_because(Step::LoginHost, SkipReason::TokenProxy),
        }
    }

    /// Without a response, there is no time to compare with.
    fn failed(finding: Finding) -> Self {
        Self {
            clock: clock::Outcome::skipped_because(SkipReason::NoResponse),
            check: report::Outcome::failed(Step::LoginHost, finding),
        }
    }
}

/// Reads the discovery document of the tenant, which needs no token.
pub(in crate::diagnose) async fn check(diagnosis: &Diagnosis<'_>, login_host: &LoginHost) -> Outcome {
    let LoginHost { authority, tenant_id } = login_host;
    let host = authority.host();
    let url = match authority.discovery_url(tenant_id) {
        Ok(url) => url,
        Err(error) => return Outcome::failed(Finding::of_error(&error, Code::INVALID_AUTHORITY_HOST)),
    };
    let response = match diagnosis.get(&url).await {
        Ok(response) => response,
        Err(error) => {
            let mut finding = Finding::of_error(&error, Code::UNREACHABLE_HOST).with_host(host);
            // No cloud has this host, so the variable is wrong and not the network.
            if finding.code == Code::UNKNOWN_HOST && authority.cloud().is_none() {
                finding.owner = Owner::Developer;
            }
            return Outcome::failed(finding);
        }
    };
    let now = diagnosis.options.clock.now().system_time;
    let check = match problem(&response, host, tenant_id.as_str()) {
        Some(finding) => report::Outcome::failed(Step::LoginHost, finding),
        None => report::Outcome::passed(
            Step::LoginHost,
            Observation::Tenant {
                host: escaped(host),
                tenant_id: escaped(tenant_id.as_str()),
            },
        ),
    };
    Outcome {
        clock: clock::check(&response, now),
        check,
    }
}

fn problem(response: &Response<Bytes>, host: &str, tenant_id: &str) -> Option<Finding> {
    let status = response.status();
    let finding = |code| {
        let finding = Finding::new(code, Severity::Error);
        finding.with_host(host).with_status(status)
    };
    if status == StatusCode::TOO_MANY_REQUESTS {
        return Some(finding(Code::THROTTLED));
    }
    if status.is_server_error() {
        return Some(finding(Code::OUTAGE));
    }
    let Ok(document) = serde_json::from_slice::<Value>(response.body()) else {
        return Some(finding(Code::NOT_ENTRA).with_defect(Defect::NotJson));
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
    let is_named = |code: u32| codes.contains(&code) || text.contains(&format!("AADSTS{code}"));
    if Code::UNKNOWN_TENANT.aadsts_codes().any(is_named) {
        let mut finding = finding(Code::UNKNOWN_TENANT).comparing(Property::TenantId, tenant_id, None);
        finding.aadsts.extend(codes.first());
        return Some(finding);
    }
    Some(finding(Code::NOT_ENTRA).with_defect(Defect::NoDiscoveryDocument))
}
