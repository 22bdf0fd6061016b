use entra_workload::diagnose::{Owner, Severity};

use crate::lint::picture::{CLIENT_ID, LABEL, Picture};
use crate::lint::rule::{Problem, Rule, Symptom};

pub(super) const RULE: Rule = Rule {
    code: "EW602",
    summary: "pod without the label uses an annotated service account",
    symptom: Symptom::Silence,
    owner: Owner::Developer,
    severity: Severity::Error,
    cause: "Without the label on the pod template, the webhook does not change the pod: no variables, no token. A label on the service account does nothing.",
    fix: "Set the label `azure.workload.identity/use: \"true\"` on the pod template.",
    check,
};

fn check(picture: &Picture<'_>) -> Vec<Problem> {
    let pods = picture.pods.iter().filter(|pod| pod.label(LABEL).is_none());
    let pods = pods.filter(|pod| pod.object.metadata("labels", LABEL).is_none() && !pod.has_secrets_store());
    pods.filter(|pod| {
        picture
            .account_of(pod)
            .is_some_and(|account| account.annotation(CLIENT_ID).is_some())
    })
    .filter_map(|pod| {
        let place = pod.service_account()?;
        let problem = Problem::new(pod.object.source, place, "its pods lack the label");
        Some(problem.mended_by(pod.set_label()))
    })
    .collect()
}
