use std::collections::{HashMap, HashSet};

use entra_workload::{Code, Owner, diagnose::Severity};

use crate::lint::picture::{CLIENT_ID, Picture};
use crate::lint::rule::{Problem, Rule, Symptom};
use crate::lint::value::Value;

pub(super) const RULE: Rule = Rule {
    code: "EW711",
    summary: "client ID and federated credential belong to different identities",
    symptom: Symptom::Aadsts(Code::SUBJECT_MISMATCH),
    owner: Owner::Developer,
    severity: Severity::Error,
    cause: "The service account asks for the token of one identity, and the federated credential that names it belongs to another.",
    fix: "Use the same identity in the annotation and in `user_assigned_identity_id` (`parent_id` before azurerm 5).",
    check,
};

fn check(picture: &Picture<'_>) -> Vec<Problem> {
    // The identities that have a credential with each subject.
    let mut of_subjects: HashMap<_, Parents<'_>> = HashMap::new();
    for (source, credential) in picture.of_kind("azurerm_federated_identity_credential") {
        let subject = credential.body.get("subject").and_then(Value::text);
        let parent = credential.body.get("parent_id").and_then(Value::reference);
        if let (Some(subject), Some(parent)) = (subject, parent) {
            let parents = of_subjects.entry((picture.module(source), subject)).or_default();
            parents.first.get_or_insert(parent);
            parents.identities.insert(identity(parent, ".id"));
        }
    }
    let accounts = picture.accounts.iter();
    accounts
        .filter_map(|account| {
            let (_, value) = account.annotation(CLIENT_ID)?;
            let identity = identity(value.reference()?, ".client_id")?;
            let (namespace, name) = (account.namespace()?, account.name()?);
            let subject = format!("system:serviceaccount:{namespace}:{name}");
            let parents = of_subjects.get(&(picture.module(account.source), subject.as_str()))?;
            let known = &parents.identities;
            // A variable or the output of a module can be any identity.
            let is_other = !known.contains(&None) && !known.contains(&Some(identity));
            let first = parents.first.filter(|_| is_other)?;
            let message = format!("the federated credential belongs to {first}");
            Some(Problem::new(account.source, value, message))
        })
        .collect()
}

#[derive(Default)]
struct Parents<'a> {
    first: Option<&'a str>,
    /// `None` for one that is not known.
    identities: HashSet<Option<&'a str>>,
}

/// The identity in `azurerm_user_assigned_identity.NAME.ATTRIBUTE`.
fn identity<'a>(text: &'a str, attribute: &str) -> Option<&'a str> {
    let name = text.strip_prefix("azurerm_user_assigned_identity.")?;
    name.strip_suffix(attribute)
}
