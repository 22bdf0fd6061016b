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
    fix: "Chain them with `depends_on` (Bicep: `dependsOn`, and `@batchSize(1)` for a loop).",
    check,
};

fn check(picture: &Picture<'_>) -> Vec<Problem> {
    let mut seen: Vec<(_, bool)> = Vec::new();
    let mut problems = Vec::new();
    for (source, credential) in picture.of_kind("azurerm_federated_identity_credential") {
        let Some(parent) = credential
            .body
            .get("parent_id")
            .filter(|parent| parent.scalar().is_some())
        else {
            continue;
        };
        let key = (picture.module(source), parent.scalar());
        let waits = credential.body.get("depends_on").is_some();
        // Either of two can wait for the other.
        let is_free = |(known, known_waits): &(_, bool)| *known == key && !known_waits;
        let of_each = parent
            .scalar()
            .is_some_and(|text| text.contains("each.") || text.contains("count."));
        if !waits && seen.iter().any(is_free) {
            let message = "another credential of this identity, and nothing that orders them";
            problems.push(Problem::new(source, parent, message));
        } else if credential.is_repeated && !of_each && credential.body.get("count").is_none() {
            let message = "the loop creates several credentials of this identity at once";
            problems.push(Problem::new(source, parent, message));
        }
        seen.push((key, waits));
    }
    problems
}
