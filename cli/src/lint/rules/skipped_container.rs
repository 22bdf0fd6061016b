use std::collections::HashSet;

use entra_workload::{Owner, diagnose::Severity};

use crate::lint::picture::Picture;
use crate::lint::rule::{Problem, Rule, Symptom};
use crate::lint::value::Value;

pub(super) const RULE: Rule = Rule {
    code: "EW613",
    summary: "skip-containers leaves no container with a token",
    symptom: Symptom::Silence,
    owner: Owner::Developer,
    severity: Severity::Error,
    cause: "The webhook changes no container in this list.",
    fix: "Remove the container that needs tokens from the annotation.",
    check,
};

fn check(picture: &Picture<'_>) -> Vec<Problem> {
    let pods = picture.pods.iter().filter(|pod| pod.is_labelled());
    pods.filter_map(|pod| {
        let (_, value) = pod.annotation("azure.workload.identity/skip-containers")?;
        let skipped: HashSet<&str> = value.text()?.split(';').map(str::trim).collect();
        // An init container alone is hardly what the token is for.
        let containers = pod.spec.get("containers").map(Value::items).unwrap_or_default();
        let mut names = containers
            .iter()
            .filter_map(|container| container.get("name")?.text());
        names
            .all(|name| skipped.contains(name))
            .then(|| Problem::new(pod.object.source, value, "all containers are skipped"))
    })
    .collect()
}
