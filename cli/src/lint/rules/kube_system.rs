use entra_workload::{Owner, diagnose::Severity};

use crate::lint::picture::Picture;
use crate::lint::rule::{Problem, Rule, Symptom};

pub(super) const RULE: Rule = Rule {
    code: "EW618",
    summary: "pod with the label is in kube-system",
    symptom: Symptom::Silence,
    owner: Owner::Developer,
    severity: Severity::Error,
    cause: "The webhook does not see pods of the namespace `kube-system`.",
    fix: "Use another namespace.",
    check,
};

fn check(picture: &Picture<'_>) -> Vec<Problem> {
    let pods = picture.pods.iter().filter(|pod| pod.is_labelled());
    pods.filter_map(|pod| {
        let place = pod.object.value.at(&["metadata", "namespace"])?;
        (place.text() == Some("kube-system"))
            .then(|| Problem::new(pod.object.source, place, "the webhook skips this namespace"))
    })
    .collect()
}
