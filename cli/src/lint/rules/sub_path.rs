use std::collections::HashSet;

use entra_workload::{Code, Owner, diagnose::Severity};

use crate::lint::picture::Picture;
use crate::lint::rule::{Problem, Rule, Symptom};
use crate::lint::value::Value;

pub(super) const RULE: Rule = Rule {
    code: "EW611",
    summary: "token volume is mounted with subPath",
    symptom: Symptom::Aadsts(Code::ASSERTION_OUTSIDE_VALIDITY),
    owner: Owner::Developer,
    severity: Severity::Error,
    cause: "The kubelet never updates a file that is mounted with `subPath`, so the token expires after an hour.",
    fix: "Mount the folder of the volume, without `subPath`.",
    check,
};

fn check(picture: &Picture<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for pod in &picture.pods {
        let volumes = pod.token_sources().map(|(volume, _)| volume);
        let names: HashSet<&str> = volumes.chain(["azure-identity-token"]).collect();
        let mounts = pod
            .containers()
            .filter_map(|container| container.get("volumeMounts"))
            .flat_map(Value::items);
        for mount in mounts {
            let is_token = mount
                .get("name")
                .and_then(Value::text)
                .is_some_and(|name| names.contains(name));
            let sub_path = mount.entry("subPath").or_else(|| mount.entry("subPathExpr"));
            if let Some((key, _)) = sub_path.filter(|_| is_token) {
                problems.push(Problem::new(pod.object.source, key, "this file is never updated"));
            }
        }
    }
    problems
}
