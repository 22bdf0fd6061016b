use std::fmt;

use serde::Serialize;

use super::finding::{Finding, Severity, display};
use super::pod::Pod;
use super::remedy;
use crate::code::Code;
use crate::escape::Escaped;

/// The result of [`diagnose()`](super::diagnose()).
#[derive(Clone, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// The checks in the order in which a credential depends on them.
    pub checks: Vec<Check>,
    /// The problems in the same order.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Returns the first cause: the first error, or else the first warning. Nothing if the pod is
    /// healthy.
    pub fn cause(&self) -> Option<&Finding> {
        let of = |severity| {
            let findings = self.findings.iter();
            findings
                .filter(|finding| finding.follows_from.is_none())
                .find(move |finding| finding.severity == severity)
        };
        of(Severity::Error).or_else(|| of(Severity::Warning))
    }

    /// Whether the pod gets a token, and access to the resources that were asked.
    pub fn is_healthy(&self) -> bool {
        self.findings
            .iter()
            .all(|finding| finding.severity < Severity::Error)
    }

    pub(super) fn add(&mut self, outcome: Outcome, pod: &Pod) {
        let Outcome {
            step,
            is_skipped,
            detail,
            findings,
        } = outcome;
        let Some(detail) = detail else {
            return self.skip(step);
        };
        let worst = findings.iter().map(|finding| finding.severity).max();
        let state = match worst {
            Some(Severity::Error) => State::Failed,
            Some(Severity::Warning) => State::Warned,
            _ if is_skipped => State::Skipped,
            _ => State::Passed,
        };
        for mut finding in findings {
            if finding.follows_from.is_none() {
                finding.follows_from = self.confirm(&finding);
            }
            finding.remedies = remedy::remedies(&finding, pod);
            self.findings.push(finding);
        }
        let detail = Escaped(detail).to_string();
        self.checks.push(Check { step, state, detail });
    }

    pub(super) fn skip(&mut self, step: Step) {
        let cause = self.cause().filter(|cause| cause.severity == Severity::Error);
        let detail = match cause {
            Some(cause) => format!("follows from {}", cause.code),
            None => "not checked".to_owned(),
        };
        self.checks.push(Check {
            step,
            state: State::Skipped,
            detail,
        });
    }

    /// Drops what was predicted from the token file and the issuer, because Entra has accepted the token. A wrong
    /// clock is not wrong enough yet.
    pub(super) fn drop_refuted(&mut self) {
        let is_refuted =
            |finding: &Finding| !finding.aadsts.is_empty() && finding.code != Code::CLOCK_IS_WRONG;
        self.findings.retain(|finding| !is_refuted(finding));
        for finding in &mut self.findings {
            finding.severity = finding.severity.min(Severity::Warning);
        }
        for check in &mut self.checks {
            match check.step {
                Step::TokenFile | Step::Issuer if matches!(check.state, State::Warned | State::Failed) => {
                    check.state = State::Passed;
                    check.detail = format!("Entra accepts it, although {}", check.detail);
                }
                Step::Clock if check.state == State::Failed => check.state = State::Warned,
                _ => {}
            }
        }
    }

    pub(super) fn has_error(&self, code: Code) -> bool {
        let mut findings = self.findings.iter();
        findings.any(|finding| finding.code == code && finding.severity == Severity::Error)
    }

    pub(super) fn has_failed(&self, steps: impl IntoIterator<Item = Step>) -> bool {
        let failed = |step| {
            let mut checks = self.checks.iter();
            checks.any(|check| check.step == step && check.state == State::Failed)
        };
        steps.into_iter().any(failed)
    }

    /// Returns the code of an earlier finding that predicted this one, which is now as certain.
    fn confirm(&mut self, finding: &Finding) -> Option<Code> {
        let predicts = |earlier: &&mut Finding| {
            let codes = &earlier.aadsts;
            // Clients that cannot use a proxy try without it.
            let is_of_proxy = earlier.code == Code::PROXY_FAILED && WITHOUT_PROXY.contains(&finding.code);
            earlier.severity >= Severity::Warning
                && (is_of_proxy || codes.iter().any(|code| finding.aadsts.contains(code)))
        };
        let earlier = self.findings.iter_mut().find(predicts)?;
        earlier.severity = earlier.severity.max(finding.severity);
        Some(earlier.code)
    }
}

/// One check of a [`Report`].
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Check {
    /// What was checked.
    #[serde(serialize_with = "display")]
    pub step: Step,
    /// How it ended.
    pub state: State,
    /// What was seen, in one line.
    pub detail: String,
}

/// How a [`Check`] ended. As JSON, it is the name in lower case.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum State {
    /// All is well.
    Passed,
    /// It works, but there is a warning.
    Warned,
    /// There is an error.
    Failed,
    /// Not checked, because something before it failed.
    Skipped,
}

/// A step of a diagnosis.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Step {
    /// The variables of the webhook.
    Variables,
    /// The clock of this machine, next to that of the login host.
    Clock,
    /// The file with the service-account token, and its claims.
    TokenFile,
    /// Name, connection, TLS and tenant of the login host.
    LoginHost,
    /// The discovery document and the keys of the cluster's issuer.
    Issuer,
    /// The token request.
    TokenRequest,
    /// A request to a resource.
    Resource,
    /// The identities that a default credential would use in place of workload identity.
    OtherIdentity,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Variables => "variables",
            Self::Clock => "clock",
            Self::TokenFile => "token file",
            Self::LoginHost => "login host",
            Self::Issuer => "issuer",
            Self::TokenRequest => "token request",
            Self::Resource => "resource",
            Self::OtherIdentity => "other identities",
        })
    }
}

/// What a step has seen.
pub(super) struct Outcome {
    pub(super) step: Step,
    /// Whether it was not checked.
    pub(super) is_skipped: bool,
    /// `None` if it was not checked because of an earlier finding.
    pub(super) detail: Option<String>,
    pub(super) findings: Vec<Finding>,
}

impl Outcome {
    pub(super) fn passed(step: Step, detail: impl Into<String>) -> Self {
        Self {
            step,
            is_skipped: false,
            detail: Some(detail.into()),
            findings: Vec::new(),
        }
    }

    /// The finding is the detail, too.
    pub(super) fn failed(step: Step, finding: Finding) -> Self {
        Self {
            step,
            is_skipped: false,
            detail: Some(finding.title.to_owned()),
            findings: vec![finding],
        }
    }

    /// Not checked, because an earlier check has failed.
    pub(super) fn skipped(step: Step) -> Self {
        Self {
            step,
            is_skipped: true,
            detail: None,
            findings: Vec::new(),
        }
    }

    /// Not checked, for another reason.
    pub(super) fn skipped_because(step: Step, reason: impl Into<String>) -> Self {
        Self {
            detail: Some(reason.into()),
            ..Self::skipped(step)
        }
    }

    /// Adds a finding. The first error replaces the detail, and a warning is added to it.
    pub(super) fn and(mut self, finding: Option<Finding>) -> Self {
        let Some(finding) = finding else {
            return self;
        };
        let has_failed = self
            .findings
            .iter()
            .any(|finding| finding.severity == Severity::Error);
        self.detail = match (self.detail, finding.severity) {
            (_, Severity::Error) if !has_failed => Some(finding.title.to_owned()),
            (Some(detail), Severity::Warning) if !has_failed => Some(format!("{detail}; {}", finding.title)),
            (detail, _) => detail,
        };
        self.findings.push(finding);
        self
    }
}

/// How a connection fails that needs a proxy.
const WITHOUT_PROXY: [Code; 5] = [
    Code::UNKNOWN_HOST,
    Code::RESOLVER_SILENT,
    Code::CONNECTION_REFUSED,
    Code::UNREACHABLE_HOST,
    Code::NO_RESPONSE,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warning_that_predicted_an_error_is_its_cause_and_as_severe() {
        let proxy = Finding::new(Code::PROXY_FAILED, Severity::Warning, "no URL");
        let issuer = Finding::new(Code::ISSUER_UNREACHABLE, Severity::Warning, "no keys").predicting(50_166);
        let unknown_host = Finding::new(Code::UNKNOWN_HOST, Severity::Error, "no host");
        let refusal =
            Finding::new(Code::ISSUER_KEYS_UNREACHABLE, Severity::Error, "no keys").predicting(50_166);
        for (warning, error) in [(proxy, unknown_host), (issuer, refusal)] {
            let code = warning.code;
            let mut report = Report::default();
            report.add(Outcome::failed(Step::Variables, warning), &Pod::default());
            assert!(report.is_healthy());
            report.add(Outcome::failed(Step::LoginHost, error), &Pod::default());
            let cause = report.cause().unwrap();
            assert_eq!((cause.code, cause.severity), (code, Severity::Error));
            assert_eq!(report.findings[1].follows_from, Some(code));
        }
    }
}
