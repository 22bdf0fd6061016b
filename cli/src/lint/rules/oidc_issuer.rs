use std::collections::HashSet;

use entra_workload::{Owner, diagnose::Severity};

use crate::lint::picture::Picture;
use crate::lint::rule::{Problem, Rule, Symptom};
use crate::lint::value::Value;

pub(super) const RULE: Rule = Rule {
    code: "EW701",
    summary: "cluster has no OIDC issuer or no workload identity",
    symptom: Symptom::Silence,
    owner: Owner::ClusterAdmin,
    severity: Severity::Error,
    cause: "A federated credential needs the issuer of the cluster, and the webhook comes with workload identity.",
    fix: "Set `oidc_issuer_enabled = true` and `workload_identity_enabled = true` (Bicep: `oidcIssuerProfile.enabled` and `securityProfile.workloadIdentity.enabled`).",
    check,
};

fn check(picture: &Picture<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut issuers = HashSet::new();
    for (source, credential) in picture.of_kind("azurerm_federated_identity_credential") {
        let issuer = credential.body.get("issuer").and_then(Value::reference);
        let names = issuer
            .filter(|issuer| !issuer.starts_with("data."))
            .unwrap_or_default();
        issuers.extend(names.split(['.', '[']).map(|name| (picture.module(source), name)));
    }
    for (source, cluster) in picture.of_kind("azurerm_kubernetes_cluster") {
        let of_cluster = issuers.contains(&(picture.module(source), cluster.name.as_str()));
        let setting = |name: &str| cluster.body.get(name);
        let is_off = |name: &str| setting(name).is_none_or(|value| value.reference() == Some("false"));
        let (issuer, webhook) = ("oidc_issuer_enabled", "workload_identity_enabled");
        // One without the other is a mistake in itself.
        let is_meant = of_cluster || !is_off(webhook);
        for (name, what) in [
            (issuer, "the OIDC issuer is not enabled"),
            (webhook, "workload identity is not enabled"),
        ] {
            if is_meant && is_off(name) {
                let place = setting(name).unwrap_or(&cluster.body);
                problems.push(Problem::new(source, place, what));
            }
        }
    }
    problems
}
