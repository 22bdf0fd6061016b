use entra_workload::Owner;
use entra_workload::diagnose::Severity;

use crate::lint::picture::{CLIENT_ID, Picture};
use crate::lint::rule::{Problem, Rule, Symptom};
use crate::lint::value::Value;

pub(super) const RULE: Rule = Rule {
    code: "EW711",
    summary: "client ID of another identity than that of the federated credential",
    symptom: Symptom::Aadsts(700_213),
    owner: Owner::Developer,
    severity: Severity::Error,
    cause: "The service account asks for the token of one identity, and the federated credential that names it belongs to another.",
    fix: "Use the same identity in the annotation and in `user_assigned_identity_id` (`parent_id` before azurerm 5).",
    check,
};

fn check(picture: &Picture<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for account in &picture.accounts {
        let Some((_, value)) = account.annotation(CLIENT_ID) else {
            continue;
        };
        let Some(identity) = value.reference().and_then(|text| identity(text, ".client_id")) else {
            continue;
        };
        let (Some(namespace), Some(name)) = (account.namespace(), account.name()) else {
            continue;
        };
        let subject = format!("system:serviceaccount:{namespace}:{name}");
        let parents: Vec<&str> = picture
            .of_kind("azurerm_federated_identity_credential")
            .filter(|(source, _)| picture.module(*source) == picture.module(account.source))
            .filter(|(_, credential)| credential.body.get("subject").and_then(Value::text) == Some(&subject))
            .filter_map(|(_, credential)| credential.body.get("parent_id")?.reference())
            .collect();
        // A variable or the output of a module can be any identity.
        let are_known = parents
            .iter()
            .all(|parent| self::identity(parent, ".id").is_some());
        if !parents.is_empty()
            && are_known
            && !parents
                .iter()
                .any(|parent| self::identity(parent, ".id") == Some(identity))
        {
            problems.push(Problem::new(
                account.source,
                value,
                format!("the federated credential belongs to {}", parents.concat()),
            ));
        }
    }
    problems
}

/// The identity in `azurerm_user_assigned_identity.NAME.ATTRIBUTE`.
fn identity<'a>(text: &'a str, attribute: &str) -> Option<&'a str> {
    let name = text.strip_prefix("azurerm_user_assigned_identity.")?;
    name.strip_suffix(attribute)
}
