use entra_workload::{Owner, diagnose::Severity};

use crate::lint::picture::Picture;
use crate::lint::rule::{Problem, Rule, Symptom};

pub(super) const RULE: Rule = Rule {
    code: "EW803",
    summary: "pods start without workload identity while the webhook is down",
    symptom: Symptom::Silence,
    owner: Owner::ClusterAdmin,
    severity: Severity::Warning,
    cause: "With the failure policy `Ignore`, the API server creates pods unchanged when the webhook does not respond.",
    fix: "Set `failurePolicy: Fail`; the webhook receives only pods with the label.",
    check,
};

fn check(picture: &Picture<'_>) -> Vec<Problem> {
    let webhooks = picture.webhooks();
    webhooks
        .filter_map(|(object, webhook)| {
            let policy = webhook.get("failurePolicy")?;
            (policy.text() == Some("Ignore")).then(|| Problem::new(object.source, policy, "not Fail"))
        })
        .collect()
}
