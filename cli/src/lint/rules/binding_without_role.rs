use entra_workload::diagnose::{Owner, Severity};

use crate::lint::picture::Picture;
use crate::lint::rule::{Problem, Rule, Symptom};
use crate::lint::value::Value;

pub(super) const RULE: Rule = Rule {
    code: "EW617",
    summary: "identity binding without its ClusterRole",
    symptom: Symptom::Refused,
    owner: Owner::ClusterAdmin,
    severity: Severity::Warning,
    cause: "The token proxy refuses service accounts without the verb `use-managed-identity` on the identity.",
    fix: "Add a ClusterRole with that verb, and bind it to the service account.",
    check,
};

fn check(picture: &Picture<'_>) -> Vec<Problem> {
    let grants = |value: &Value| {
        let rules = value.get("rules").map(Value::items).unwrap_or_default();
        let verbs = rules
            .iter()
            .filter_map(|rule| rule.get("verbs"))
            .flat_map(Value::items);
        verbs
            .filter_map(Value::text)
            .any(|verb| verb == "use-managed-identity")
    };
    if picture
        .objects
        .iter()
        .any(|object| object.kind == "ClusterRole" && grants(object.value))
    {
        return Vec::new();
    }
    let pods = picture
        .pods
        .iter()
        .filter_map(|pod| Some((pod.object.source, pod.annotation(NAME)?)));
    pods.filter(|(_, (_, value))| value.text() == Some("true"))
        .map(|(source, (key, _))| Problem::new(source, key, "no ClusterRole in the files grants it"))
        .collect()
}

const NAME: &str = "azure.workload.identity/use-identity-binding";
