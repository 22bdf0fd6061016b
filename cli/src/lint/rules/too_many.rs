use std::collections::HashMap;

use entra_workload::{Owner, diagnose::Severity};

use crate::lint::picture::Picture;
use crate::lint::rule::{Problem, Rule, Symptom};

pub(super) const RULE: Rule = Rule {
    code: "EW709",
    summary: "identity has more than 20 federated credentials",
    symptom: Symptom::Refused,
    owner: Owner::Developer,
    severity: Severity::Error,
    cause: "An identity can have 20 federated credentials.",
    fix: "Use another identity for some of them, or an identity binding.",
    check,
};

fn check(picture: &Picture<'_>) -> Vec<Problem> {
    let mut counts = HashMap::new();
    let mut problems = Vec::new();
    for (source, credential) in picture.of_kind("azurerm_federated_identity_credential") {
        let Some(place) = credential.body.get("parent_id") else {
            continue;
        };
        let identity = (picture.module(source), place.scalar());
        let count = counts.entry(identity).or_insert(0);
        *count += 1;
        if *count == MOST + 1 {
            problems.push(Problem::new(
                source,
                place,
                "the 21st federated credential of this identity",
            ));
        }
    }
    problems
}

/// Source: Microsoft, "Workload identity federation considerations".
const MOST: usize = 20;
