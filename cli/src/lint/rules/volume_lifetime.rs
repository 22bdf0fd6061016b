use entra_workload::{Code, Owner, diagnose::Severity};

use crate::lint::picture::Picture;
use crate::lint::rule::{Problem, Rule, Symptom};
use crate::lint::value::Value;

pub(super) const RULE: Rule = Rule {
    code: "EW623",
    summary: "projected token lifetime exceeds 24 hours",
    symptom: Symptom::Aadsts(Code::ASSERTION_LIVES_TOO_LONG),
    owner: Owner::Developer,
    severity: Severity::Error,
    cause: "Entra accepts tokens that are valid for at most a day.",
    fix: "Use `expirationSeconds: 3600`, and at most 86400.",
    check,
};

fn check(picture: &Picture<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for pod in &picture.pods {
        for token in pod.token_sources().map(|(_, token)| token) {
            let is_meant = token
                .get("audience")
                .and_then(Value::text)
                .is_some_and(|text| text.contains("AzureADTokenExchange"));
            let seconds = token.get("expirationSeconds").filter(|_| is_meant);
            if let Some(seconds) = seconds.filter(|seconds| {
                seconds
                    .scalar()
                    .and_then(|text| text.parse::<u64>().ok())
                    .is_some_and(|text| text > 86_400)
            }) {
                problems.push(Problem::new(pod.object.source, seconds, "more than 86400"));
            }
        }
    }
    problems
}
