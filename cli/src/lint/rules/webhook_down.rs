use std::collections::HashSet;

use entra_workload::{Owner, diagnose::Severity};

use crate::lint::picture::{Object, Picture, object_name};
use crate::lint::rule::{Problem, Rule, Symptom};
use crate::lint::value::Value;

pub(super) const RULE: Rule = Rule {
    code: "EW804",
    summary: "workload identity webhook has no ready pod",
    symptom: Symptom::Refused,
    owner: Owner::ClusterAdmin,
    severity: Severity::Error,
    cause: "The service of the webhook has no endpoints, so the API server cannot ask it about new pods.",
    fix: "Find out why its pods are not ready.",
    check,
};

fn check(picture: &Picture<'_>) -> Vec<Problem> {
    let of = |object: &Object<'_>| {
        (
            object.place().text().map(str::to_owned),
            object.namespace().map(str::to_owned),
        )
    };
    let services: HashSet<_> = picture
        .webhooks()
        .filter_map(|(_, webhook)| webhook.at(&["clientConfig", "service"]))
        .map(|service| {
            let part = |name: &str| service.get(name).and_then(Value::text).map(str::to_owned);
            (part("name"), part("namespace"))
        })
        .collect();
    let endpoints = picture.objects.iter().filter(|object| object.kind == "Endpoints");
    endpoints
        .filter(|object| services.contains(&of(object)) && !is_ready(object))
        .map(|object| {
            let namespace = object.namespace().and_then(object_name);
            let command = namespace.map(|namespace| {
                format!("kubectl --namespace {namespace} get pods --selector azure-workload-identity.io/system=true")
            });
            Problem::new(object.source, object.place(), "no address is ready").mended_by(command)
        })
        .collect()
}

fn is_ready(object: &Object<'_>) -> bool {
    let subsets = object.value.get("subsets").map(Value::items).unwrap_or_default();
    let mut addresses = subsets.iter().filter_map(|subset| subset.get("addresses"));
    addresses.any(|addresses| !addresses.items().is_empty())
}
