use entra_workload::{Owner, diagnose::Severity};

use crate::lint::picture::{CLIENT_ID, Picture};
use crate::lint::rule::{Problem, Rule, Symptom};

pub(super) const RULE: Rule = Rule {
    code: "EW807",
    summary: "running pod has an outdated client ID",
    symptom: Symptom::Silence,
    owner: Owner::Developer,
    severity: Severity::Error,
    cause: "The webhook writes the annotation of the service account into a pod when the pod is created, and never again.",
    fix: "Recreate the pod.",
    check,
};

fn check(picture: &Picture<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for pod in picture
        .pods
        .iter()
        .filter(|pod| pod.is_running() && pod.is_labelled())
    {
        let account = picture.account_of(pod);
        let annotation = account.and_then(|account| account.annotation(CLIENT_ID));
        let Some(wanted) = annotation.and_then(|(_, value)| value.text()) else {
            continue;
        };
        let mut values = pod
            .variables("AZURE_CLIENT_ID")
            .filter_map(|variable| variable.get("value"));
        let old = values.find(|value| {
            value
                .text()
                .is_some_and(|text| !text.eq_ignore_ascii_case(wanted))
        });
        if let Some(value) = old {
            let message = format!("the annotation says {wanted}");
            problems.push(Problem::new(pod.object.source, value, message).mended_by(pod.create_anew()));
        }
    }
    problems
}
