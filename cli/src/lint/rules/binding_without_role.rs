use entra_workload::{Owner, diagnose::Severity};

use crate::lint::binding::{Bindings, Roles};
use crate::lint::picture::Picture;
use crate::lint::rule::{Problem, Rule, Symptom};

pub(super) const RULE: Rule = Rule {
    code: "EW617",
    summary: "identity binding has no ClusterRole",
    symptom: Symptom::Refused,
    owner: Owner::ClusterAdmin,
    severity: Severity::Warning,
    cause: "The token proxy refuses service accounts without the verb `use-managed-identity` on the identity.",
    fix: "Bind a ClusterRole with the verb `use-managed-identity` to the service account.",
    check,
};

fn check(picture: &Picture<'_>) -> Vec<Problem> {
    let (roles, bindings) = (Roles::of(picture), Bindings::of(picture));
    let mut problems = Vec::new();
    for pod in &picture.pods {
        let Some((key, value)) = pod.annotation(NAME) else {
            continue;
        };
        let account = picture.account_of(pod);
        if value.text() != Some("true") || picture.is_live(pod.object.source) {
            continue;
        }
        let message = match roles.granting(account) {
            None => "no ClusterRole in the files grants it",
            Some((_, role)) if !bindings.bind(role, account) => "no ClusterRoleBinding in the files binds it",
            Some(_) => continue,
        };
        problems.push(Problem::new(pod.object.source, key, message));
    }
    problems
}

const NAME: &str = "azure.workload.identity/use-identity-binding";
