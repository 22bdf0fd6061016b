use entra_workload::diagnose::{Owner, Severity};

use crate::lint::picture::Picture;
use crate::lint::rule::{Problem, Rule, Symptom};

pub(super) const RULE: Rule = Rule {
    code: "EW805",
    summary: "running pod was never changed by the webhook",
    symptom: Symptom::Silence,
    owner: Owner::Developer,
    severity: Severity::Error,
    cause: "The webhook changes a pod only when it is created. This one is older than the webhook, or was created while it was down.",
    fix: "Create the pod anew.",
    check,
};

fn check(picture: &Picture<'_>) -> Vec<Problem> {
    let pods = picture.pods.iter().filter(|pod| {
        pod.object.kind == "Pod"
            && pod.object.value.get("status").is_some()
            && pod.is_labelled()
            && pod.variables("AZURE_FEDERATED_TOKEN_FILE").next().is_none()
    });
    pods.map(|pod| {
        let (namespace, name) = (pod.object.namespace().unwrap_or_default(), pod.object.place());
        // Without a controller nobody would create it anew.
        let owners = pod.object.value.at(&["metadata", "ownerReferences"]);
        let command = owners.map(|_| {
            let name = name.text().unwrap_or_default();
            format!("kubectl --namespace {namespace} delete pod {name}")
        });
        Problem::new(pod.object.source, name, "it has neither variables nor token").mended_by(command)
    })
    .collect()
}
