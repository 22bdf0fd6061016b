use entra_workload::{Code, Owner, diagnose::Severity};

use crate::lint::picture::{Picture, TOKEN_FILES};
use crate::lint::rule::{Problem, Rule, Symptom};

pub(super) const RULE: Rule = Rule {
    code: "EW622",
    summary: "AZURE_FEDERATED_TOKEN_FILE is hard-coded",
    symptom: Symptom::Aadsts(Code::AUDIENCE_MISMATCH),
    owner: Owner::Developer,
    severity: Severity::Error,
    cause: "`AZURE_FEDERATED_TOKEN_FILE` with the token of the API server, or with another path, keeps the webhook from setting the right one.",
    fix: "Remove the variable: the webhook sets it.",
    check,
};

fn check(picture: &Picture<'_>) -> Vec<Problem> {
    // With a volume of its own, EW624 compares the two.
    let pods = picture
        .pods
        .iter()
        .filter(|pod| pod.is_labelled() && pod.token_sources().next().is_none());
    pods.flat_map(|pod| {
        pod.variables("AZURE_FEDERATED_TOKEN_FILE")
            .map(|variable| (pod.object.source, variable))
    })
    .filter_map(|(source, variable)| Some((source, variable.get("value")?)))
    .filter(|(_, value)| !value.text().is_some_and(|file| TOKEN_FILES.contains(&file)))
    .map(|(source, value)| Problem::new(source, value, "not the file of the webhook"))
    .collect()
}
