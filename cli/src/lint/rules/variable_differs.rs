use entra_workload::{Code, Owner, diagnose::Severity};

use crate::lint::picture::Picture;
use crate::lint::rule::{Problem, Rule, Symptom};

pub(super) const RULE: Rule = Rule {
    code: "EW612",
    summary: "container variable differs from the service account",
    symptom: Symptom::Aadsts(Code::SUBJECT_MISMATCH),
    owner: Owner::Developer,
    severity: Severity::Error,
    cause: "The webhook keeps variables that are already there, so the client ID of the container wins over the annotation.",
    fix: "Remove the variable: the webhook sets it from the annotation.",
    check,
};

fn check(picture: &Picture<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    // In a running pod the webhook set them; see EW807.
    let pods = picture
        .pods
        .iter()
        .filter(|pod| pod.is_labelled() && !pod.is_running());
    for pod in pods {
        let Some(account) = picture.account_of(pod) else {
            continue;
        };
        for (variable, annotation) in PAIRS {
            let Some(wanted) = account.annotation(annotation).and_then(|(_, value)| value.text()) else {
                continue;
            };
            for value in pod
                .variables(variable)
                .filter_map(|variable| variable.get("value"))
            {
                if value
                    .text()
                    .is_some_and(|text| !text.eq_ignore_ascii_case(wanted))
                {
                    problems.push(Problem::new(
                        pod.object.source,
                        value,
                        format!("the annotation says {wanted}"),
                    ));
                }
            }
        }
    }
    problems
}

const PAIRS: [(&str, &str); 2] = [
    ("AZURE_CLIENT_ID", "azure.workload.identity/client-id"),
    ("AZURE_TENANT_ID", "azure.workload.identity/tenant-id"),
];
