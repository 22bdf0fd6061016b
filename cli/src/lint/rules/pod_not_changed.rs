use entra_workload::{Owner, diagnose::Severity};

use crate::lint::picture::Picture;
use crate::lint::rule::{Problem, Rule, Symptom};

pub(super) const RULE: Rule = Rule {
    code: "EW805",
    summary: "running pod was not changed by the webhook",
    symptom: Symptom::Silence,
    owner: Owner::Developer,
    severity: Severity::Error,
    cause: "The webhook changes a pod only when it is created. This one is older than the webhook, or was created while it was down.",
    fix: "Recreate the pod.",
    check,
};

fn check(picture: &Picture<'_>) -> Vec<Problem> {
    let pods = picture.pods.iter().filter(|pod| {
        pod.is_running() && pod.is_labelled() && pod.variables("AZURE_FEDERATED_TOKEN_FILE").next().is_none()
    });
    pods.map(|pod| {
        let message = "it has neither variables nor token";
        Problem::new(pod.object.source, pod.object.place(), message).mended_by(pod.create_anew())
    })
    .collect()
}
