use entra_workload::{Owner, diagnose::Severity};

use crate::lint::picture::Picture;
use crate::lint::rule::{Problem, Rule, Symptom};

pub(super) const RULE: Rule = Rule {
    code: "EW801",
    summary: "workload identity webhook is not installed",
    symptom: Symptom::Silence,
    owner: Owner::ClusterAdmin,
    severity: Severity::Error,
    cause: "Only the webhook gives a pod its variables and its token, unless both are written by hand.",
    fix: "Run `az aks update --enable-workload-identity --enable-oidc-issuer`, or install the chart `workload-identity-webhook`.",
    check,
};

fn check(picture: &Picture<'_>) -> Vec<Problem> {
    let is_expected = picture
        .pods
        .iter()
        .any(|pod| pod.is_labelled() && pod.variables("AZURE_FEDERATED_TOKEN_FILE").next().is_none());
    if !is_expected || picture.webhooks().next().is_some() {
        return Vec::new();
    }
    let lists = picture.objects.iter();
    lists
        .filter(|object| object.kind == "MutatingWebhookConfigurationList")
        .map(|list| {
            Problem::new(
                list.source,
                list.place(),
                "none of these is that of workload identity",
            )
        })
        .collect()
}
