use entra_workload::{Owner, diagnose::Severity};

use crate::lint::picture::Picture;
use crate::lint::rule::{Problem, Rule, Symptom};

pub(super) const RULE: Rule = Rule {
    code: "EW605",
    summary: "service account is in another namespace",
    symptom: Symptom::Refused,
    owner: Owner::Developer,
    severity: Severity::Error,
    cause: "A pod uses service accounts of its own namespace only.",
    fix: "Give the service account, the workload and the subject of the federated credential the same namespace.",
    check,
};

fn check(picture: &Picture<'_>) -> Vec<Problem> {
    let pods = picture
        .pods
        .iter()
        .filter(|pod| picture.account_of(pod).is_none());
    pods.filter_map(|pod| {
        let name = pod.service_account()?;
        if !pod.is_labelled() {
            return None;
        }
        let other = picture.annotated_account(name.text()?, None)?;
        let namespace = other.namespace().unwrap_or_default();
        Some(Problem::new(
            pod.object.source,
            name,
            format!("this service account is in namespace {namespace}"),
        ))
    })
    .collect()
}
