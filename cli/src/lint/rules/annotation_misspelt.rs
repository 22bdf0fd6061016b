use entra_workload::{Owner, diagnose::Severity};

use crate::lint::picture::{LABEL, Picture};
use crate::lint::rule::{Problem, Rule, Symptom};
use crate::lint::value::Value;

pub(super) const RULE: Rule = Rule {
    code: "EW607",
    summary: "unknown annotation or label of workload identity",
    symptom: Symptom::Silence,
    owner: Owner::Developer,
    severity: Severity::Error,
    cause: "The webhook knows four annotations of a service account and ignores all others without a word.",
    fix: "Correct the spelling.",
    check,
};

fn check(picture: &Picture<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut compare = |source: usize, key: &Value, known: &[&str], what: &str| {
        let name = key.text().unwrap_or_default();
        // The chart of the webhook has labels of its own.
        let is_near = ["azure", "workload", "identity"]
            .iter()
            .all(|part| name.contains(part))
            && !name.starts_with("azure-workload-identity.io/");
        if is_near && !known.contains(&name) {
            problems.push(Problem::new(
                source,
                key,
                format!("the webhook ignores this {what}"),
            ));
        }
    };
    for account in &picture.accounts {
        for (key, _) in account.annotations() {
            compare(account.source, key, &OF_ACCOUNTS, "annotation");
        }
    }
    for pod in &picture.pods {
        let of = |map: &str| {
            pod.template
                .at(&["metadata", map])
                .map(Value::entries)
                .unwrap_or_default()
        };
        for (key, _) in of("annotations") {
            compare(pod.object.source, key, &OF_PODS, "annotation");
        }
        for (key, _) in of("labels") {
            compare(pod.object.source, key, &[LABEL], "label");
        }
    }
    problems
}

/// Source: azure-workload-identity, "Service Account labels and annotations".
const OF_ACCOUNTS: [&str; 4] = [
    "azure.workload.identity/client-id",
    "azure.workload.identity/tenant-id",
    "azure.workload.identity/service-account-token-expiration",
    "azure.workload.identity/use-identity-binding",
];

/// Source: azure-workload-identity, "Pod annotations"; AKS, "Identity bindings".
const OF_PODS: [&str; 5] = [
    "azure.workload.identity/service-account-token-expiration",
    "azure.workload.identity/skip-containers",
    "azure.workload.identity/inject-proxy-sidecar",
    "azure.workload.identity/proxy-sidecar-port",
    "azure.workload.identity/use-identity-binding",
];
