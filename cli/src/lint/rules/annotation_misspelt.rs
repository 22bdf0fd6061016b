use entra_workload::diagnose::{Owner, Severity};

use crate::lint::picture::Picture;
use crate::lint::rule::{Problem, Rule, Symptom};

pub(super) const RULE: Rule = Rule {
    code: "EW607",
    summary: "unknown annotation of workload identity",
    symptom: Symptom::Silence,
    owner: Owner::Developer,
    severity: Severity::Error,
    cause: "The webhook knows four annotations of a service account and ignores all others without a word.",
    fix: "Correct the spelling.",
    check,
};

fn check(picture: &Picture<'_>) -> Vec<Problem> {
    let accounts = picture.accounts.iter();
    let keys =
        accounts.flat_map(|account| account.annotations().iter().map(|(key, _)| (account.source, key)));
    keys.filter_map(|(source, key)| {
        let name = key.text()?;
        let is_near = name.contains("workload.identity")
            || name.contains("workload-identity") && name.contains("azure");
        (is_near && !KNOWN.contains(&name))
            .then(|| Problem::new(source, key, "the webhook ignores this annotation"))
    })
    .collect()
}

/// Source: azure-workload-identity, "Service Account labels and annotations".
const KNOWN: [&str; 4] = [
    "azure.workload.identity/client-id",
    "azure.workload.identity/tenant-id",
    "azure.workload.identity/service-account-token-expiration",
    "azure.workload.identity/use-identity-binding",
];
