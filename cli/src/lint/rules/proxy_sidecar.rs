use entra_workload::{Owner, diagnose::Severity};

use crate::lint::picture::Picture;
use crate::lint::rule::{Problem, Rule, Symptom};
use crate::lint::value::Value;

pub(super) const RULE: Rule = Rule {
    code: "EW625",
    summary: "pod with a proxy sidecar uses the network of its node",
    symptom: Symptom::Refused,
    owner: Owner::Developer,
    severity: Severity::Error,
    cause: "The sidecar catches requests to IMDS in the pod's own network, so the webhook refuses it with `hostNetwork`.",
    fix: "Remove `hostNetwork`, or use a client with workload identity and remove the annotation.",
    check,
};

fn check(picture: &Picture<'_>) -> Vec<Problem> {
    let pods = picture.pods.iter().filter(|pod| {
        let network = pod.spec.get("hostNetwork").and_then(Value::scalar);
        pod.is_labelled() && network == Some("true")
    });
    pods.filter_map(|pod| {
        let (key, value) = pod.annotation("azure.workload.identity/inject-proxy-sidecar")?;
        (value.text() == Some("true")).then(|| Problem::new(pod.object.source, key, "hostNetwork is true"))
    })
    .collect()
}
