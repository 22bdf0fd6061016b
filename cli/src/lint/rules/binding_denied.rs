use entra_workload::diagnose::{Owner, Severity};
use serde_json::json;

use crate::lint::picture::{Object, Picture};
use crate::lint::rule::{Problem, Rule, Symptom};
use crate::lint::value::Value;

pub(super) const RULE: Rule = Rule {
    code: "EW808",
    summary: "service account may not use the identity of its binding",
    symptom: Symptom::Refused,
    owner: Owner::ClusterAdmin,
    severity: Severity::Error,
    cause: "The token proxy asks the API server whether the service account has the verb `use-managed-identity` on the identity, and the answer is no.",
    fix: "Add a ClusterRole with that verb for the client ID in the API group `cid.wi.aks.azure.com`, and bind it to the service account.",
    check,
};

fn check(picture: &Picture<'_>) -> Vec<Problem> {
    let reviews = picture.objects.iter();
    let denied = reviews.filter(|object| {
        let allowed = object.value.at(&["status", "allowed"]).and_then(Value::reference);
        object.kind == "SubjectAccessReview" && allowed == Some("false")
    });
    denied
        .filter_map(|review| {
            let attributes = review.value.at(&["spec", "resourceAttributes"])?;
            let verb = attributes.get("verb")?;
            (verb.text() == Some("use-managed-identity")).then(|| {
                let problem = Problem::new(review.source, verb, "the API server says no");
                problem.mended_by(command(review, attributes))
            })
        })
        .collect()
}

/// The command that lets the account use the identity. `kubectl create clusterrole` refuses this resource, since the API
/// server does not list it.
fn command(review: &Object<'_>, attributes: &Value) -> Option<String> {
    let user = review.value.at(&["spec", "user"])?.text()?;
    let (namespace, name) = user.strip_prefix("system:serviceaccount:")?.split_once(':')?;
    let client = attributes.get("resource")?.text().filter(|id| !id.is_empty())?;
    let role = format!("use-{}", client.to_ascii_lowercase());
    let group = "rbac.authorization.k8s.io";
    let grant = json!({
        "apiGroups": ["cid.wi.aks.azure.com"], "resources": [client], "verbs": ["use-managed-identity"],
    });
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": [
        { "apiVersion": format!("{group}/v1"), "kind": "ClusterRole", "metadata": { "name": role }, "rules": [grant] },
        { "apiVersion": format!("{group}/v1"), "kind": "ClusterRoleBinding",
          "metadata": { "name": format!("{role}-{namespace}-{name}") },
          "roleRef": { "apiGroup": group, "kind": "ClusterRole", "name": role },
          "subjects": [{ "kind": "ServiceAccount", "namespace": namespace, "name": name }] },
    ]});
    Some(format!("echo '{list}' | kubectl apply --filename -"))
}
