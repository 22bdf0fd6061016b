use entra_workload::diagnose::{Owner, Severity};

use crate::lint::picture::{Picture, same};
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
    let policies = picture
        .objects
        .iter()
        .filter(|object| object.kind == "NetworkPolicy");
    policies
        .filter_map(|policy| {
            let spec = policy.value.get("spec")?;
            let types = spec.get("policyTypes")?;
            let is_egress = types.items().iter().any(|kind| kind.text() == Some("Egress"));
            let applies = picture.pods.iter().any(|pod| {
                let labels = spec
                    .at(&["podSelector", "matchLabels"])
                    .map(Value::entries)
                    .unwrap_or_default();
                pod.is_labelled()
                    && same(policy.namespace(), pod.object.namespace())
                    && spec.at(&["podSelector", "matchExpressions"]).is_none()
                    && labels.iter().all(|(key, value)| {
                        let label = key.text().and_then(|key| pod.label(key));
                        label.is_some_and(|(_, label)| label.scalar() == value.scalar())
                    })
            });
            let rules = spec.get("egress").map(Value::items).unwrap_or_default();
            // Of another policy, rules add up; a rule without ports allows all of them.
            let allows = rules.iter().any(|rule| {
                let ports = rule.get("ports").map(Value::items).unwrap_or_default();
                ports.is_empty()
                    || ports.iter().any(|port| {
                        let number = |name: &str| port.get(name)?.scalar()?.parse::<u16>().ok();
                        match (port.get("port").and_then(Value::scalar), number("port")) {
                            (None | Some("https"), _) => true,
                            (_, Some(first)) => (first..=number("endPort").unwrap_or(first)).contains(&443),
                            _ => false,
                        }
                    })
            });
            let is_only = picture
                .objects
                .iter()
                .filter(|object| object.kind == "NetworkPolicy")
                .count()
                == 1;
            (is_egress && applies && is_only && !allows)
                .then(|| Problem::new(policy.source, types, "no rule allows port 443"))
        })
        .collect()
}
