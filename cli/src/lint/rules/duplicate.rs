use std::collections::HashSet;

use entra_workload::{Owner, diagnose::Severity};

use crate::lint::picture::Picture;
use crate::lint::rule::{Problem, Rule, Symptom};
use crate::lint::value::Value;

pub(super) const RULE: Rule = Rule {
    code: "EW708",
    summary: "two federated credentials have the same issuer and subject",
    symptom: Symptom::Refused,
    owner: Owner::Developer,
    severity: Severity::Error,
    cause: "Azure refuses a second federated credential of an identity with the same issuer and subject.",
    fix: "Remove one of them.",
    check,
};

fn check(picture: &Picture<'_>) -> Vec<Problem> {
    let mut seen = HashSet::new();
    let mut problems = Vec::new();
    for (source, credential) in picture.of_kind("azurerm_federated_identity_credential") {
        let part = |name: &str| credential.body.get(name).and_then(Value::scalar);
        let Some(subject) = credential
            .body
            .get("subject")
            .filter(|subject| subject.text().is_some())
        else {
            continue;
        };
        let parts = (
            picture.module(source),
            [part("parent_id"), part("issuer"), part("subject")],
        );
        // Of one without a parent that can be seen, nobody knows the identity; and one of several can be left out.
        if part("parent_id").is_none() || credential.is_repeated {
            continue;
        }
        if !seen.insert(parts) {
            problems.push(Problem::new(
                source,
                subject,
                "this identity already has this subject",
            ));
        }
    }
    problems
}
