use std::collections::HashSet;

use entra_workload::{Code, Owner, diagnose::Severity};

use crate::lint::picture::Picture;
use crate::lint::rule::{Problem, Rule, Symptom};

pub(super) const RULE: Rule = Rule {
    code: "EW713",
    summary: "issuer is a literal although the cluster is in the same module",
    symptom: Symptom::Aadsts(Code::ISSUER_MISMATCH),
    owner: Owner::Developer,
    severity: Severity::Warning,
    cause: "A cluster that is created anew has another issuer, and nothing connects the literal with it.",
    fix: "Use the output of the cluster, as for EW703.",
    check,
};

fn check(picture: &Picture<'_>) -> Vec<Problem> {
    let clusters: HashSet<_> = picture
        .of_kind("azurerm_kubernetes_cluster")
        .map(|(source, _)| picture.module(source))
        .collect();
    let credentials = picture.of_kind("azurerm_federated_identity_credential");
    credentials
        .filter(|(source, _)| clusters.contains(&picture.module(*source)))
        .filter_map(|(source, credential)| {
            let issuer = credential.body.get("issuer")?;
            // Without its slash it is an error, see EW703.
            let is_of_aks =
                issuer.text()?.contains(".oic.prod-aks.azure.com") && issuer.text()?.ends_with('/');
            is_of_aks.then(|| Problem::new(source, issuer, "a literal"))
        })
        .collect()
}
