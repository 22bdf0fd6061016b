use entra_workload::diagnose::{Owner, Severity};

use crate::lint::picture::Picture;
use crate::lint::rule::{Problem, Rule, Symptom};

pub(super) const RULE: Rule = Rule {
    code: "EW701",
    summary: "cluster without OIDC issuer or workload identity",
    symptom: Symptom::Silence,
    owner: Owner::ClusterAdmin,
    severity: Severity::Error,
    cause: "A federated credential needs the issuer of the cluster, and the webhook comes with workload identity.",
    fix: "Set `oidc_issuer_enabled = true` and `workload_identity_enabled = true` (Bicep: `oidcIssuerProfile.enabled` and `securityProfile.workloadIdentity.enabled`).",
    check,
};

fn check(picture: &Picture<'_>) -> Vec<Problem> {
    if picture
        .of_kind("azurerm_federated_identity_credential")
        .next()
        .is_none()
    {
        return Vec::new();
    }
    let mut problems = Vec::new();
    for (source, cluster) in picture.of_kind("azurerm_kubernetes_cluster") {
        for (name, what) in [
            ("oidc_issuer_enabled", "the OIDC issuer is not enabled"),
            ("workload_identity_enabled", "workload identity is not enabled"),
        ] {
            let value = cluster.body.get(name);
            if value.is_none_or(|value| value.reference() == Some("false")) {
                problems.push(Problem::new(source, value.unwrap_or(&cluster.body), what));
            }
        }
    }
    problems
}
