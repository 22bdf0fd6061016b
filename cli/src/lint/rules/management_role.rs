use std::collections::HashSet;

use entra_workload::{Owner, diagnose::Severity};

use crate::lint::picture::Picture;
use crate::lint::rule::{Problem, Rule, Symptom};
use crate::lint::value::Value;

pub(super) const RULE: Rule = Rule {
    code: "EW707",
    summary: "identity has no data-plane role",
    symptom: Symptom::Forbidden,
    owner: Owner::TenantAdmin,
    severity: Severity::Error,
    cause: "Owner, Contributor and Reader allow to manage a resource, not to read its data.",
    fix: "Assign a role such as `Storage Blob Data Contributor` or `Key Vault Secrets User`.",
    check,
};

fn check(picture: &Picture<'_>) -> Vec<Problem> {
    let text = |body: &Value, name: &str| body.get(name).and_then(Value::scalar).map(str::to_owned);
    // The identities of pods; those of pipelines and of the cluster manage things.
    let credentials = picture.of_kind("azurerm_federated_identity_credential");
    let identities: HashSet<_> = credentials
        .filter(|(_, credential)| {
            let subject = text(&credential.body, "subject").unwrap_or_default();
            !subject.starts_with("repo:") && !subject.starts_with("sc://")
        })
        .filter_map(|(source, credential)| {
            let parent = text(&credential.body, "parent_id")?;
            Some((
                picture.module(source),
                format!("{}.principal_id", parent.strip_suffix(".id")?),
            ))
        })
        .collect();
    let assignments: Vec<_> = picture
        .of_kind("azurerm_role_assignment")
        .filter_map(|(source, assignment)| {
            let identity = (picture.module(source), text(&assignment.body, "principal_id")?);
            identities
                .contains(&identity)
                .then_some((source, identity, &assignment.body))
        })
        .collect();
    // The older way to let an identity read a vault.
    let policies: HashSet<_> = picture
        .of_kind("azurerm_key_vault_access_policy")
        .filter_map(|(source, policy)| Some((picture.module(source), text(&policy.body, "object_id")?)))
        .collect();
    let management = |body: &Value| -> bool {
        let role = text(body, "role_definition_name");
        matches!(role.as_deref(), Some("Owner" | "Contributor" | "Reader"))
    };
    let others = assignments.iter().filter(|(.., body)| !management(body));
    let with_others: HashSet<_> = others.map(|(_, identity, _)| identity).collect();
    assignments
        .iter()
        .filter(|(_, identity, body)| {
            // A group of resources is managed for many reasons; an account or a vault is there for its data.
            let scope = text(body, "scope").unwrap_or_default();
            let scope = scope.strip_prefix("data.").unwrap_or(&scope);
            let is_vault = scope.starts_with("azurerm_key_vault");
            let is_for_data =
                scope.starts_with("azurerm_storage_account") || is_vault && !policies.contains(identity);
            is_for_data && !with_others.contains(identity)
        })
        .filter_map(|(source, _, body)| {
            let role = body.get("role_definition_name")?;
            Some(Problem::new(*source, role, "does not allow to read data"))
        })
        .collect()
}
