use entra_workload::{Owner, diagnose::Severity};

use crate::lint::picture::Picture;
use crate::lint::rule::{Problem, Rule, Symptom};
use crate::lint::value::Value;

pub(super) const RULE: Rule = Rule {
    code: "EW616",
    summary: "HTTPS_PROXY is set without NO_PROXY",
    symptom: Symptom::Timeout,
    owner: Owner::Developer,
    severity: Severity::Warning,
    cause: "Requests to the metadata service, the API server and private endpoints go to the proxy, too.",
    fix: "Set `NO_PROXY` to `169.254.169.254`, the address range of the cluster and the private endpoints.",
    check,
};

fn check(picture: &Picture<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for pod in picture.pods.iter().filter(|pod| pod.is_labelled()) {
        for container in pod.containers() {
            let variables = container.get("env").map(Value::items).unwrap_or_default();
            let name = |wanted: &str| {
                let mut names = variables.iter().filter_map(|variable| variable.get("name"));
                names.find(|name| name.text().is_some_and(|text| text.eq_ignore_ascii_case(wanted)))
            };
            // Others can come from a ConfigMap.
            if let Some(place) = name("HTTPS_PROXY")
                .filter(|_| name("NO_PROXY").is_none() && container.get("envFrom").is_none())
            {
                problems.push(Problem::new(pod.object.source, place, "without NO_PROXY"));
            }
        }
    }
    problems
}
