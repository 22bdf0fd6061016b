use entra_workload::diagnose::{Owner, Severity};

use crate::lint::picture::Picture;
use crate::lint::rule::{Problem, Rule, Symptom};
use crate::lint::value::Value;

pub(super) const RULE: Rule = Rule {
    code: "EW707",
    summary: "only a role for management, none for data",
    symptom: Symptom::Forbidden,
    owner: Owner::TenantAdmin,
    severity: Severity::Error,
    cause: "Owner, Contributor and Reader allow to manage a resource, not to read its data.",
    fix: "Assign a data role, such as `Storage Blob Data Contributor` or `Key Vault Secrets User`.",
    check,
};

fn check(picture: &Picture<'_>) -> Vec<Problem> {
    let roles = || {
        picture
            .of_kind("azurerm_role_assignment")
            .filter_map(|(source, role)| {
                Some((
                    source,
                    role.body.get("principal_id")?,
                    role.body.get("role_definition_name")?,
                ))
            })
    };
    let is_management = |role: &Value| matches!(role.text(), Some("Owner" | "Contributor" | "Reader"));
    if picture
        .of_kind("azurerm_federated_identity_credential")
        .next()
        .is_none()
    {
        return Vec::new();
    }
    roles()
        .filter(|(source, identity, role)| {
            let is_identity = identity
                .reference()
                .is_some_and(|text| text.contains("azurerm_user_assigned_identity."));
            let has_data_role = roles().any(|(other_source, other, role)| {
                picture.module(other_source) == picture.module(*source)
                    && other.scalar() == identity.scalar()
                    && !is_management(role)
            });
            is_identity && is_management(role) && !has_data_role
        })
        .map(|(source, _, role)| Problem::new(source, role, "does not allow to read data"))
        .collect()
}
