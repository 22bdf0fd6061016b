use entra_workload::diagnose::{Owner, Severity};

use crate::lint::picture::{LABEL, Picture};
use crate::lint::rule::{Problem, Rule, Symptom};
use crate::lint::value::Value;

pub(super) const RULE: Rule = Rule {
    code: "EW604",
    summary: "pod with the label uses the service account default",
    symptom: Symptom::Aadsts(700_213),
    owner: Owner::Developer,
    severity: Severity::Error,
    cause: "Without `serviceAccountName`, the pod uses the service account `default`, which usually has no annotation and no federated credential.",
    fix: "Set `serviceAccountName` in the spec of the pod.",
    check,
};

fn check(picture: &Picture<'_>) -> Vec<Problem> {
    let pods = picture.pods.iter().filter(|pod| pod.is_labelled());
    let pods = pods.filter(|pod| {
        pod.service_account()
            .and_then(Value::scalar)
            .unwrap_or_default()
            .is_empty()
    });
    pods.map(|pod| {
        let place = pod.label(LABEL).map_or(pod.object.place(), |(key, _)| key);
        Problem::new(
            pod.object.source,
            place,
            "no serviceAccountName beside this label",
        )
    })
    .collect()
}
