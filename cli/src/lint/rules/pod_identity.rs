use entra_workload::{Owner, diagnose::Severity};

use crate::lint::picture::Picture;
use crate::lint::rule::{Problem, Rule, Symptom};

pub(super) const RULE: Rule = Rule {
    code: "EW615",
    summary: "obsolete aad-pod-identity resource",
    symptom: Symptom::Silence,
    owner: Owner::Developer,
    severity: Severity::Warning,
    cause: "aad-pod-identity was archived in 2023. Its objects and labels do nothing with workload identity.",
    fix: "Remove it after the migration.",
    check,
};

fn check(picture: &Picture<'_>) -> Vec<Problem> {
    let kinds = [
        "AzureIdentity",
        "AzureIdentityBinding",
        "AzurePodIdentityException",
    ];
    let objects = picture
        .objects
        .iter()
        .filter(|object| kinds.contains(&object.kind));
    let objects = objects.map(|object| Problem::new(object.source, object.place(), "of aad-pod-identity"));
    let labels = picture
        .pods
        .iter()
        .filter_map(|pod| Some((pod.object.source, &pod.label("aadpodidbinding")?.0)));
    objects
        .chain(labels.map(|(source, key)| Problem::new(source, key, "of aad-pod-identity")))
        .collect()
}
