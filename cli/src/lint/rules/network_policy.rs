use entra_workload::diagnose::{Owner, Severity};

use crate::lint::picture::{Object, Picture, Pod, same};
use crate::lint::rule::{Problem, Rule, Symptom};
use crate::lint::value::Value;

pub(super) const RULE: Rule = Rule {
    code: "EW619",
    summary: "network policy without egress to the login host",
    symptom: Symptom::Timeout,
    owner: Owner::ClusterAdmin,
    severity: Severity::Error,
    cause: "A policy with the type Egress blocks all that it does not allow: here TCP port 443, or port 53 for DNS.",
    fix: "Allow egress to TCP port 443, and to port 53 of the DNS service.",
    check,
};

fn check(picture: &Picture<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for pod in picture.pods.iter().filter(|pod| pod.is_labelled()) {
        // The rules of all policies add up.
        let policies: Vec<_> = picture
            .objects
            .iter()
            .filter(|object| object.kind == "NetworkPolicy" && applies(object, pod))
            .collect();
        let Some(first) = policies.first() else {
            continue;
        };
        let allows = |port: u16, is_outside: bool| {
            let rules = policies
                .iter()
                .filter_map(|policy| policy.value.at(&["spec", "egress"]));
            rules.flat_map(Value::items).any(|rule| {
                let to = rule.get("to").map(Value::items).unwrap_or_default();
                let reaches = !is_outside || to.is_empty() || to.iter().any(|to| to.get("ipBlock").is_some());
                let ports = rule.get("ports").map(Value::items).unwrap_or_default();
                reaches && (ports.is_empty() || ports.iter().any(|it| includes(it, port)))
            })
        };
        let missing = match (allows(443, true), allows(53, false)) {
            (true, true) => continue,
            (false, _) => "no rule allows port 443",
            (true, false) => "no rule allows DNS, port 53",
        };
        let place = first.value.at(&["spec", "podSelector"]);
        problems.push(Problem::new(
            first.source,
            place.unwrap_or(first.place()),
            missing,
        ));
    }
    problems
}

/// Whether a policy restricts the egress of a pod.
fn applies(policy: &Object<'_>, pod: &Pod<'_>) -> bool {
    let spec = policy.value.get("spec").unwrap_or(policy.value);
    let is_egress = match spec.get("policyTypes") {
        Some(types) => types.items().iter().any(|kind| kind.text() == Some("Egress")),
        None => spec.get("egress").is_some(),
    };
    let labels = spec.at(&["podSelector", "matchLabels"]).map(Value::entries);
    is_egress
        && same(policy.namespace(), pod.object.namespace())
        && spec.at(&["podSelector", "matchExpressions"]).is_none()
        && labels.unwrap_or_default().iter().all(|(key, value)| {
            let label = key.text().and_then(|key| pod.label(key));
            label.is_some_and(|(_, label)| label.scalar() == value.scalar())
        })
}

fn includes(port: &Value, wanted: u16) -> bool {
    let number = |name: &str| port.get(name)?.scalar()?.parse::<u16>().ok();
    match (port.get("port").and_then(Value::scalar), number("port")) {
        (None, _) => true,
        (Some(name), None) => (name, wanted) == ("https", 443) || (name, wanted) == ("dns", 53),
        (_, Some(first)) => (first..=number("endPort").unwrap_or(first)).contains(&wanted),
    }
}
