use entra_workload::Owner;
use entra_workload::diagnose::Severity;

use crate::lint::picture::{Account, CLIENT_ID, Object, Picture, is_guid, same};
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
    let objects = || picture.objects.iter();
    let roles: Vec<_> = objects().filter(|it| it.kind == "ClusterRole").collect();
    let bindings: Vec<_> = objects().filter(|it| it.kind == "ClusterRoleBinding").collect();
    let mut problems = Vec::new();
    for pod in &picture.pods {
        let Some((key, value)) = pod.annotation(NAME) else {
            continue;
        };
        let account = picture.account_of(pod);
        if value.text() != Some("true") || picture.is_live(pod.object.source) {
            continue;
        }
        let role = roles.iter().find(|role| grants(role, account));
        let is_bound = |role: &Object<'_>| {
            let name = role.place().text();
            bindings.iter().any(|binding| binds(binding, name, account))
        };
        let message = match role {
            None => "no ClusterRole in the files grants it",
            Some(role) if !is_bound(role) => "no ClusterRoleBinding in the files binds it",
            Some(_) => continue,
        };
        problems.push(Problem::new(pod.object.source, key, message));
    }
    problems
}

/// Whether a role allows to use the identity of an account.
fn grants(role: &Object<'_>, account: Option<&Account<'_>>) -> bool {
    let client = account.and_then(|account| account.annotation(CLIENT_ID)?.1.text());
    let is_client = |resource: &str| {
        let known = client.filter(|client| is_guid(client) && is_guid(resource));
        known.is_none_or(|client| client.eq_ignore_ascii_case(resource))
    };
    let rules = role.value.get("rules").map(Value::items).unwrap_or_default();
    rules.iter().any(|rule| {
        let list = |name: &str| rule.get(name).map(Value::items).unwrap_or_default().iter();
        list("verbs").any(|verb| matches!(verb.text(), Some("use-managed-identity" | "*")))
            && list("resources").filter_map(Value::text).any(is_client)
    })
}

fn binds(binding: &Object<'_>, role: Option<&str>, account: Option<&Account<'_>>) -> bool {
    let subjects = binding
        .value
        .get("subjects")
        .map(Value::items)
        .unwrap_or_default();
    let text = |value: &'_ Value, name: &str| value.get(name).and_then(Value::text).map(str::to_owned);
    let is_account = |subject: &Value| {
        account.is_none_or(|account| {
            text(subject, "name").as_deref() == account.name()
                && same(text(subject, "namespace").as_deref(), account.namespace())
        })
    };
    binding.value.at(&["roleRef", "name"]).and_then(Value::text) == role
        && subjects
            .iter()
            .any(|it| text(it, "kind").as_deref() == Some("Group") || is_account(it))
}

const NAME: &str = "azure.workload.identity/use-identity-binding";
