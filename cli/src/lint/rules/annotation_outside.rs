use entra_workload::{Owner, diagnose::Severity};

use crate::lint::picture::Picture;
use crate::lint::rule::{Problem, Rule, Symptom};
use crate::lint::value::Value;

pub(super) const RULE: Rule = Rule {
    code: "EW621",
    summary: "annotation or label is directly under metadata",
    symptom: Symptom::Silence,
    owner: Owner::Developer,
    severity: Severity::Error,
    cause: "Keys that Kubernetes does not know are dropped or refused: an annotation belongs under `metadata.annotations`, a label under `metadata.labels`.",
    fix: "Move it under `metadata.annotations`, or under `metadata.labels`.",
    check,
};

fn check(picture: &Picture<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for object in &picture.objects {
        let metadata = object
            .value
            .get("metadata")
            .map(Value::entries)
            .unwrap_or_default();
        for (key, _) in metadata.iter().chain(object.value.entries()) {
            if key.text().is_some_and(|key| key.starts_with(PREFIX)) {
                problems.push(Problem::new(
                    object.source,
                    key,
                    "not under annotations or labels",
                ));
            }
        }
    }
    for pod in &picture.pods {
        // The metadata of the template, of which the loop above has not seen anything.
        let metadata = pod.template.get("metadata").filter(|_| pod.object.kind != "Pod");
        let keys = metadata.map(Value::entries).unwrap_or_default().iter();
        problems.extend(
            keys.filter(|(key, _)| key.text().is_some_and(|key| key.starts_with(PREFIX)))
                .map(|(key, _)| Problem::new(pod.object.source, key, "not under annotations or labels")),
        );
    }
    problems
}

const PREFIX: &str = "azure.workload.identity/";
