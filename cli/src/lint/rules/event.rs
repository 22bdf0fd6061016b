use entra_workload::{Owner, diagnose::Severity};

use crate::lint::picture::Picture;
use crate::lint::rule::{Problem, Rule, Symptom};
use crate::lint::value::Value;

pub(super) const RULE: Rule = Rule {
    code: "EW806",
    summary: "event reports a failure of workload identity",
    symptom: Symptom::Refused,
    owner: Owner::ClusterAdmin,
    severity: Severity::Warning,
    cause: "The API server or the kubelet could not do something for workload identity in the last hour.",
    fix: "Read the message of the event. Often the webhook is down: see EW804.",
    check,
};

fn check(picture: &Picture<'_>) -> Vec<Problem> {
    let events = picture.objects.iter().filter(|object| {
        object.kind == "Event" && object.value.get("type").and_then(Value::text) == Some("Warning")
    });
    events
        .filter_map(|event| {
            let message = event.value.get("message")?;
            let text = message.text()?;
            let is_ours = MARKS.iter().any(|mark| text.contains(mark));
            is_ours.then(|| Problem::new(event.source, message, "reported by the cluster"))
        })
        .collect()
}

/// The webhook, the volume that it adds, and its annotations.
const MARKS: [&str; 3] = [
    "azure-workload-identity",
    "azure-identity-token",
    "azure.workload.identity/",
];
