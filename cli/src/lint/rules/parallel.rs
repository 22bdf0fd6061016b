use entra_workload::diagnose::{Owner, Severity};

use crate::lint::picture::Picture;
use crate::lint::rule::{Problem, Rule, Symptom};

pub(super) const RULE: Rule = Rule {
    code: "EW705",
    summary: "federated credentials of one identity are created in parallel",
    symptom: Symptom::Refused,
    owner: Owner::Developer,
    severity: Severity::Warning,
    cause: "Azure refuses concurrent writes of federated credentials to one identity with the status 409.",
    fix: "Chain them with `depends_on` (Bicep: `dependsOn`).",
    check,
};

fn check(picture: &Picture<'_>) -> Vec<Problem> {
    let mut seen = Vec::new();
    let mut problems = Vec::new();
    for (source, credential) in picture.of_kind("azurerm_federated_identity_credential") {
        let parent = credential
            .body
            .get("parent_id")
            .or_else(|| credential.body.get("user_assigned_identity_id"));
        let Some(parent) = parent.filter(|parent| parent.scalar().is_some()) else {
            continue;
        };
        let key = (picture.module(source), parent.scalar());
        if seen.contains(&key) && credential.body.get("depends_on").is_none() {
            problems.push(Problem::new(
                source,
                parent,
                "another credential of this identity, and nothing that orders them",
            ));
        }
        seen.push(key);
    }
    problems
}
