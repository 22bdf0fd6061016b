use std::collections::HashSet;

use entra_workload::{Owner, diagnose::Severity};

use crate::lint::egress::{Policies, has_proxy};
use crate::lint::picture::Picture;
use crate::lint::rule::{Problem, Rule, Symptom};
use crate::lint::value::Value;

pub(super) const RULE: Rule = Rule {
    code: "EW619",
    summary: "network policy blocks egress to the login host",
    symptom: Symptom::Timeout,
    owner: Owner::ClusterAdmin,
    severity: Severity::Error,
    cause: "A policy with the type Egress blocks all that it does not allow: here TCP port 443, or port 53 for DNS.",
    fix: "Allow egress to TCP port 443, and to port 53 of the DNS service.",
    check,
};

fn check(picture: &Picture<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    let policies = Policies::of(picture);
    let mut seen = HashSet::new();
    for pod in picture.pods.iter().filter(|pod| pod.is_labelled()) {
        let labels = pod.template.at(&["metadata", "labels"]).map(Value::entries);
        let labels = labels.unwrap_or_default().iter();
        let labels: Vec<_> = labels.map(|(key, value)| (key.text(), value.scalar())).collect();
        // The same policies apply to all of these.
        if !seen.insert((pod.object.namespace(), labels, has_proxy(pod))) {
            continue;
        }
        let Some(egress) = policies.egress_of(picture, pod) else {
            continue;
        };
        let missing = match (egress.allows_https, egress.allows_dns) {
            (true, true) => continue,
            (false, _) => "no rule allows port 443",
            (true, false) => "no rule allows DNS, port 53",
        };
        let first = egress.first;
        let place = first.value.at(&["spec", "podSelector"]);
        problems.push(Problem::new(
            first.source,
            place.unwrap_or(first.place()),
            missing,
        ));
    }
    problems
}
