use entra_workload::diagnose::{Owner, Severity};

use crate::lint::picture::Picture;
use crate::lint::rule::{Problem, Rule, Symptom};
use crate::lint::value::Value;

pub(super) const RULE: Rule = Rule {
    code: "EW709",
    summary: "more than 20 federated credentials on one identity",
    symptom: Symptom::Refused,
    owner: Owner::Developer,
    severity: Severity::Error,
    cause: "An identity can have 20 federated credentials.",
    fix: "Use another identity for some of them, or an identity binding of AKS.",
    check,
};

fn check(picture: &Picture<'_>) -> Vec<Problem> {
    let credentials: Vec<_> = picture.of_kind("azurerm_federated_identity_credential").collect();
    let parent = |body: &Value| body.get("parent_id").and_then(Value::scalar).map(str::to_owned);
    let mut problems = Vec::new();
    for (index, (source, credential)) in credentials.iter().enumerate() {
        let Some(place) = credential.body.get("parent_id") else {
            continue;
        };
        let before = credentials.iter().take(index);
        let before = before
            .filter(|(other, _)| picture.module(*other) == picture.module(*source))
            .filter(|(_, other)| parent(&other.body) == parent(&credential.body))
            .count();
        if before == MOST {
            problems.push(Problem::new(
                *source,
                place,
                "the 21st federated credential of this identity",
            ));
        }
    }
    problems
}

/// Source: Microsoft, "Workload identity federation considerations".
const MOST: usize = 20;
