use std::collections::HashSet;

use entra_workload::{Owner, diagnose::Severity};

use crate::lint::picture::Picture;
use crate::lint::rule::{Problem, Rule, Symptom};
use crate::lint::value::Value;

pub(super) const RULE: Rule = Rule {
    code: "EW705",
    summary: "federated credentials of one identity are created in parallel",
    symptom: Symptom::Refused,
    owner: Owner::Developer,
    severity: Severity::Warning,
    cause: "Azure refuses concurrent writes of federated credentials to one identity with the status 409.",
    fix: "Chain them with `dependsOn` (Bicep loop: `@batchSize(1)`; `azapi`: `depends_on`), or use `azurerm`.",
    check,
};

fn check(picture: &Picture<'_>) -> Vec<Problem> {
    // The identities of credentials that wait for nothing.
    let mut free = HashSet::new();
    let mut problems = Vec::new();
    let credentials = picture.of_kind("azurerm_federated_identity_credential");
    let names: HashSet<&str> = credentials
        .map(|(_, credential)| credential.name.as_str())
        .collect();
    let credentials = picture.of_kind("azurerm_federated_identity_credential");
    for (source, credential) in credentials.filter(|(_, credential)| !credential.is_serial) {
        let Some(parent) = credential
            .body
            .get("parent_id")
            .filter(|parent| parent.scalar().is_some())
        else {
            continue;
        };
        let key = (picture.module(source), parent.scalar());
        let awaited = credential.body.get("depends_on").map(Value::items);
        let awaited = awaited.unwrap_or_default().iter().filter_map(Value::reference);
        let waits = { awaited }.any(|awaited| awaited.split('.').any(|part| names.contains(part)));
        let of_each = parent
            .scalar()
            .is_some_and(|text| text.contains("each.") || text.contains("count."));
        // Either of two can wait for the other.
        if !waits && free.contains(&key) {
            let message = "another credential of this identity, and nothing that orders them";
            problems.push(Problem::new(source, parent, message));
        } else if credential.is_repeated && !of_each && credential.body.get("count").is_none() {
            let message = "the loop creates several credentials of this identity at once";
            problems.push(Problem::new(source, parent, message));
        }
        if !waits {
            free.insert(key);
        }
    }
    problems
}
