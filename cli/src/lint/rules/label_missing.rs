use entra_workload::{Owner, diagnose::Severity};

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
    let pods = pods.filter(|pod| pod.misplaced_label().is_none());
    let pods = pods.filter(|pod| !picture.is_patched(&pod.object) && !pod.has_own_token());
    pods.filter(|pod| {
        let account = picture.account_of(pod);
        // The doctor was asked about it.
        picture.is_live(pod.object.source)
            || account.is_some_and(|account| {
                let is_meant = account.annotation(CLIENT_ID).is_some() || account.label(LABEL).is_some();
                // Its token can be for an operator that requests it, and not for the pod.
                is_meant && !pod.has_secrets_store() && !picture.is_requested(account)
            })
    })
    .map(|pod| {
        let place = pod.service_account().unwrap_or(pod.object.place());
        let problem = Problem::new(pod.object.source, place, "its pods lack the label");
        problem.mended_by(pod.set_label())
    })
    .collect()
}
