use entra_workload::{Owner, diagnose::Severity};

use crate::lint::picture::{Picture, object_name};
use crate::lint::rule::{Problem, Rule, Symptom};

pub(super) const RULE: Rule = Rule {
    code: "EW802",
    summary: "workload identity webhook is installed twice",
    symptom: Symptom::Refused,
    owner: Owner::ClusterAdmin,
    severity: Severity::Error,
    cause: "The add-on of AKS and the chart change the same pods, with different settings; the one that comes last wins.",
    fix: "Remove the chart if AKS installs the webhook.",
    check,
};

fn check(picture: &Picture<'_>) -> Vec<Problem> {
    let webhooks = picture.webhooks().skip(1);
    webhooks
        .map(|(object, webhook)| {
            let place = webhook.get("name").unwrap_or(webhook);
            let name = object.place().text().and_then(object_name);
            let command = name.map(|name| format!("kubectl delete mutatingwebhookconfiguration {name}"));
            Problem::new(object.source, place, "another one does the same").mended_by(command)
        })
        .collect()
}
