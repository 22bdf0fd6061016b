use entra_workload::{Owner, diagnose::Severity};

use crate::lint::picture::{Object, Picture};
use crate::lint::rule::{Problem, Rule, Symptom};
use crate::lint::value::Value;
use crate::remedy::use_of_identity;

pub(super) const RULE: Rule = Rule {
    code: "EW808",
    summary: "service account may not use the identity of its binding",
    symptom: Symptom::Refused,
    owner: Owner::ClusterAdmin,
    severity: Severity::Error,
    cause: "The token proxy asks the API server whether the service account has the verb `use-managed-identity` on the identity, and the answer is no.",
    fix: "Bind a ClusterRole with the verb `use-managed-identity` for the client ID in the API group `cid.wi.aks.azure.com`.",
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

/// The command that lets the account use the identity.
fn command(review: &Object<'_>, attributes: &Value) -> Option<String> {
    let user = review.value.at(&["spec", "user"])?.text()?;
    let (namespace, name) = user.strip_prefix("system:serviceaccount:")?.split_once(':')?;
    let client_id = attributes.get("resource")?.text().filter(|id| !id.is_empty())?;
    Some(use_of_identity(client_id, namespace, name).text)
}
