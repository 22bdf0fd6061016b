use serde::Serialize;

use super::finding::{ClockSkew, Comparison, Finding, OtherIdentity, Resource, Severity, display};
use crate::code::Code;

/// The result of [`diagnose()`](super::diagnose()).
///
/// As JSON, it has the fields below under their names.
#[derive(Clone, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// The checks in the order in which a credential depends on them.
    pub checks: Vec<Check>,
    /// The problems in the same order.
    pub findings: Vec<Finding>,
    /// The names of the pod.
    pub pod: Pod,
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

    pub(super) fn add(&mut self, outcome: Outcome) {
        let Outcome {
            step,
            skipped,
            observation,
            comparison,
            findings,
        } = outcome;
        let of = |severity| {
            let findings = findings.iter();
            findings.filter(move |finding| finding.severity == severity)
        };
        let errors: Vec<Code> = of(Severity::Error).map(|finding| finding.code).take(1).collect();
        let warnings: Vec<Code> = of(Severity::Warning).map(|finding| finding.code).collect();
        let (state, codes) = if !errors.is_empty() {
            (State::Failed, errors)
        } else if !warnings.is_empty() {
            (State::Warned, warnings)
        } else if skipped.is_some() {
            (State::Skipped, Vec::new())
        } else {
            (State::Passed, Vec::new())
        };
        let cause = self.cause().filter(|cause| cause.severity == Severity::Error);
        let skipped = skipped.map(|reason| match (reason, cause) {
            (SkipReason::NotChecked, Some(cause)) => SkipReason::FollowsFrom(cause.code),
            _ => reason,
        });
        self.checks.push(Check {
            step,
            state,
            codes,
            skipped,
            observation,
            comparison,
            is_overruled: false,
        });
        for mut finding in findings {
            if finding.follows_from.is_none() {
                finding.follows_from = self.confirm(&finding);
            }
            self.findings.push(finding);
        }
    }

    pub(super) fn skip(&mut self, step: Step) {
        self.add(Outcome::skipped(step));
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
                    check.is_overruled = true;
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

/// The names of a pod, as far as its service-account token and its variables tell them.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Pod {
    /// The namespace.
    pub namespace: Option<String>,
    /// The service account.
    pub service_account: Option<String>,
    /// The pod.
    pub name: Option<String>,
    /// The client ID of its identity.
    pub client_id: Option<String>,
}

/// One check of a [`Report`].
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Check {
    /// What was checked.
    pub step: Step,
    /// How it ended.
    pub state: State,
    /// The codes that decide the state: that of the first error, or those of the warnings.
    #[serde(serialize_with = "codes")]
    pub codes: Vec<Code>,
    /// Why it was skipped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skipped: Option<SkipReason>,
    /// What was seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observation: Option<Observation>,
    /// The first difference between what was presented and what was expected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comparison: Option<Comparison>,
    /// Whether Entra has accepted the token although the check did not pass.
    pub is_overruled: bool,
}

/// Why a [`Check`] was skipped. As JSON, it is the name in snake case.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SkipReason {
    /// An earlier check has found this error.
    FollowsFrom(#[serde(serialize_with = "display")] Code),
    /// There was nothing to check.
    NotChecked,
    /// The login host did not respond.
    NoResponse,
    /// The response of the login host has no date.
    NoDate,
    /// The token proxy of an identity binding replaces the login host.
    TokenProxy,
    /// The pod cannot reach the issuer. Only Entra needs to.
    NotReachableFromPod,
}

/// What a [`Check`] has seen. As JSON, it is an object with the name in snake case as its key.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the fields are those that the variant names")]
#[non_exhaustive]
pub enum Observation {
    /// The client, its tenant, and the host that token requests are sent to.
    Client {
        client_id: String,
        tenant_id: String,
        host: String,
    },
    /// The difference between the clocks.
    Clock(ClockSkew),
    /// The subject of the service-account token, and when it expires.
    ServiceAccountToken {
        subject: String,
        expires_in_minutes: Option<i64>,
    },
    /// The login host knows the tenant.
    Tenant { host: String, tenant_id: String },
    /// The issuer publishes the key of the token.
    PublishedKey { issuer: String },
    /// Entra issued an access token.
    AccessToken { scope: String, expires_in_minutes: u64 },
    /// The resource was asked.
    Resource(Resource),
    /// A default credential uses this identity.
    Identity(OtherIdentity),
    /// A default credential has no token either.
    NoIdentity,
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

/// A step of a diagnosis. As JSON, it is the name in snake case.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
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

/// What a step has seen.
pub(super) struct Outcome {
    step: Step,
    skipped: Option<SkipReason>,
    observation: Option<Observation>,
    comparison: Option<Comparison>,
    findings: Vec<Finding>,
}

impl Outcome {
    pub(super) fn passed(step: Step, observation: Observation) -> Self {
        Self {
            observation: Some(observation),
            ..Self::new(step)
        }
    }

    pub(super) fn failed(step: Step, finding: Finding) -> Self {
        Self::new(step).and(Some(finding))
    }

    /// Not checked, because an earlier check has failed.
    pub(super) fn skipped(step: Step) -> Self {
        Self::skipped_because(step, SkipReason::NotChecked)
    }

    pub(super) fn skipped_because(step: Step, reason: SkipReason) -> Self {
        Self {
            skipped: Some(reason),
            ..Self::new(step)
        }
    }

    pub(super) fn and(mut self, finding: Option<Finding>) -> Self {
        self.findings.extend(finding);
        self
    }

    pub(super) fn seeing(mut self, observation: Observation) -> Self {
        self.observation = Some(observation);
        self
    }

    /// Shows the first comparison of the findings.
    pub(super) fn compared(mut self) -> Self {
        let mut comparisons = self.findings.iter().flat_map(|finding| &finding.comparisons);
        self.comparison = comparisons.next().cloned();
        self
    }

    /// The same outcome as that of another step.
    pub(super) fn of_step(self, step: Step) -> Self {
        Self { step, ..self }
    }

    #[cfg(test)]
    pub(super) fn findings(&self) -> &[Finding] {
        &self.findings
    }

    fn new(step: Step) -> Self {
        Self {
            step,
            skipped: None,
            observation: None,
            comparison: None,
            findings: Vec::new(),
        }
    }
}

fn codes<S: serde::Serializer>(codes: &[Code], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(codes.iter().map(Code::to_string))
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
        let keys = Code::ISSUER_KEYS_UNREACHABLE;
        let proxy = Finding::new(Code::PROXY_FAILED, Severity::Warning);
        let issuer = Finding::new(Code::ISSUER_UNREACHABLE, Severity::Warning).predicting(keys);
        let unknown_host = Finding::new(Code::UNKNOWN_HOST, Severity::Error);
        let refusal = Finding::new(keys, Severity::Error).predicting(keys);
        for (warning, error) in [(proxy, unknown_host), (issuer, refusal)] {
            let code = warning.code;
            let mut report = Report::default();
            report.add(Outcome::failed(Step::Variables, warning));
            assert!(report.is_healthy());
            report.add(Outcome::failed(Step::LoginHost, error));
            let cause = report.cause().unwrap();
            assert_eq!((cause.code, cause.severity), (code, Severity::Error));
            assert_eq!(report.findings[1].follows_from, Some(code));
        }
    }

    #[test]
    fn codes_of_a_check_are_its_first_error_or_its_warnings() {
        let finding = |code, severity| Some(Finding::new(code, severity));
        let warned = Outcome::skipped(Step::Variables)
            .and(finding(Code::ANOTHER_IDENTITY, Severity::Info))
            .and(finding(Code::PROXY_FAILED, Severity::Warning))
            .and(finding(Code::ANOTHER_CREDENTIAL_FIRST, Severity::Warning));
        let mut report = Report::default();
        report.add(warned);
        let failed = Outcome::failed(
            Step::LoginHost,
            Finding::new(Code::CLOCK_IS_WRONG, Severity::Warning),
        );
        report.add(
            failed
                .and(finding(Code::OUTAGE, Severity::Error))
                .and(finding(Code::THROTTLED, Severity::Error)),
        );
        report.skip(Step::Issuer);
        let states = report
            .checks
            .iter()
            .map(|check| (check.state, check.codes.clone(), check.skipped));
        assert_eq!(
            states.collect::<Vec<_>>(),
            [
                (
                    State::Warned,
                    vec![Code::PROXY_FAILED, Code::ANOTHER_CREDENTIAL_FIRST],
                    Some(SkipReason::NotChecked)
                ),
                (State::Failed, vec![Code::OUTAGE], None),
                (
                    State::Skipped,
                    vec![],
                    Some(SkipReason::FollowsFrom(Code::OUTAGE))
                ),
            ]
        );
    }
}
