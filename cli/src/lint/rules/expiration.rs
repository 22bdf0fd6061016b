use entra_workload::diagnose::{Owner, Severity};

use crate::lint::picture::Picture;
use crate::lint::rule::{Problem, Rule, Symptom};

pub(super) const RULE: Rule = Rule {
    code: "EW609",
    summary: "token expiration outside 3600 to 86400 seconds",
    symptom: Symptom::Refused,
    owner: Owner::Developer,
    severity: Severity::Error,
    cause: "The webhook refuses other values, and Entra refuses tokens that live longer than a day.",
    fix: "Use 3600 to 86400, as a string.",
    check,
};

fn check(picture: &Picture<'_>) -> Vec<Problem> {
    let accounts = picture
        .accounts
        .iter()
        .filter_map(|account| Some((account.source, &account.annotation(NAME)?.1)));
    let pods = picture
        .pods
        .iter()
        .filter_map(|pod| Some((pod.object.source, &pod.annotation(NAME)?.1)));
    let wrong = accounts.chain(pods).filter(|(_, value)| {
        let seconds = value.scalar().and_then(|text| text.parse::<u32>().ok());
        !seconds.is_some_and(|seconds| (3600..=86_400).contains(&seconds))
    });
    wrong
        .map(|(source, value)| Problem::new(source, value, "outside 3600 to 86400"))
        .collect()
}

const NAME: &str = "azure.workload.identity/service-account-token-expiration";
