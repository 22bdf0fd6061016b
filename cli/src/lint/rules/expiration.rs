use entra_workload::{Owner, diagnose::Severity};

use crate::lint::picture::Picture;
use crate::lint::rule::{Problem, Rule, Symptom};

pub(super) const RULE: Rule = Rule {
    code: "EW609",
    summary: "token expiration is outside 3600 to 86400 seconds",
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
    accounts
        .chain(pods)
        .filter_map(|(source, value)| {
            let seconds = value.scalar().and_then(|text| text.parse::<u32>().ok());
            let message = match (seconds, value.reference()) {
                (Some(seconds), None) if (3600..=86_400).contains(&seconds) => return None,
                // A reference of Terraform, or filled in by a script.
                (None, Some(_)) => return None,
                (None, None) if value.scalar().is_some_and(|text| text.contains(['$', '{', '#'])) => {
                    return None;
                }
                (Some(_), Some(_)) if picture.is_manifest(source) => "not a string: it needs quotes",
                (Some(seconds), Some(_)) if (3600..=86_400).contains(&seconds) => return None,
                _ => "outside 3600 to 86400",
            };
            Some(Problem::new(source, value, message))
        })
        .collect()
}

const NAME: &str = "azure.workload.identity/service-account-token-expiration";
