use entra_workload::{Owner, diagnose::Severity};

use crate::lint::picture::Picture;
use crate::lint::rule::{Problem, Rule, Symptom};
use crate::lint::value::Value;

pub(super) const RULE: Rule = Rule {
    code: "EW620",
    summary: "Secret is used instead of a service account",
    symptom: Symptom::Silence,
    owner: Owner::Developer,
    severity: Severity::Error,
    cause: "A Secret of the type `kubernetes.io/service-account-token` holds a token for the API server that never expires. The webhook reads annotations of service accounts only.",
    fix: "Create a ServiceAccount with the annotation, and no Secret.",
    check,
};

fn check(picture: &Picture<'_>) -> Vec<Problem> {
    let secrets = picture.objects.iter().filter(|object| object.kind == "Secret");
    secrets
        .filter_map(|secret| {
            let kind = secret.value.get("type")?;
            let metadata = secret.value.get("metadata");
            let is_meant = metadata.is_some_and(|metadata| {
                let annotations = metadata
                    .get("annotations")
                    .map(Value::entries)
                    .unwrap_or_default();
                let keys = annotations
                    .iter()
                    .chain(metadata.entries())
                    .chain(secret.value.entries());
                let mut keys = keys.filter_map(|(key, _)| key.text());
                keys.any(|key| key.starts_with("azure.workload.identity/"))
            });
            let is_token = kind.text() == Some("kubernetes.io/service-account-token");
            (is_token && is_meant)
                .then(|| Problem::new(secret.source, kind, "workload identity does not read this Secret"))
        })
        .collect()
}
