use std::collections::HashSet;

use entra_workload::{Code, Owner, diagnose::Severity};

use crate::lint::picture::{CLIENT_ID, Picture, is_near, steps_of_is_near};
use crate::lint::rule::{Problem, Rule, Symptom};
use crate::lint::value::Value;

pub(super) const RULE: Rule = Rule {
    code: "EW702",
    summary: "subject is not that of the service account",
    symptom: Symptom::Aadsts(Code::SUBJECT_MISMATCH),
    owner: Owner::Developer,
    severity: Severity::Error,
    cause: "Entra compares the subject exactly and case-sensitively with `system:serviceaccount:NAMESPACE:NAME`.",
    fix: "Use namespace and name of the service account, in this order.",
    check,
};

fn check(picture: &Picture<'_>) -> Vec<Problem> {
    let of_kind = |kind| picture.of_kind(kind);
    let credentials = || of_kind("azurerm_federated_identity_credential");
    let subjects: HashSet<Option<&str>> = credentials()
        .chain(of_kind("azuread_application_federated_identity_credential"))
        .map(|(_, credential)| credential.body.get("subject").and_then(Value::text))
        .collect();
    let is_federated = |namespace: &str, name: &str| {
        let subject = format!("system:serviceaccount:{namespace}:{name}");
        // One that is computed can be any.
        subjects.contains(&None) || subjects.contains(&Some(subject.as_str()))
    };
    // The account can be that of a chart; one of the files that has no credential is meant, if it is similar, or if its
    // credential cannot be in a module.
    let has_modules = of_kind("module").next().is_some();
    let accounts = picture.accounts.iter();
    let accounts: Vec<_> = accounts
        .filter(|account| account.annotation(CLIENT_ID).is_some())
        .filter_map(|account| Some((account.namespace(), account.name()?)))
        .filter(|(namespace, name)| namespace.is_none_or(|namespace| !is_federated(namespace, name)))
        .collect();
    credentials()
        .filter_map(|(source, credential)| {
            let subject = credential.body.get("subject")?;
            let text = subject.text()?;
            let Some((namespace, name)) = text
                .strip_prefix("system:serviceaccount:")
                .and_then(|rest| rest.split_once(':'))
            else {
                let is_meant = text.to_ascii_lowercase().contains("serviceaccount:");
                return is_meant
                    .then(|| Problem::new(source, subject, "not system:serviceaccount:NAMESPACE:NAME"));
            };
            if picture.annotated_account(name, Some(namespace)).is_some() {
                return None;
            }
            let is_similar = |known_namespace: &str, known: &str| {
                let is_swapped = (known_namespace, known) == (name, namespace);
                let near = |one: &str, other: &str| one == other || is_near(one, other);
                let (of_namespace, of_name) = (near(known_namespace, namespace), near(known, name));
                is_swapped || of_namespace && of_name || known == name || known_namespace == namespace
            };
            let mut compared = accounts.iter().take_while(|(own, known)| {
                let of_namespace = match own {
                    Some(own) => steps_of_is_near(own, namespace),
                    // It is part of a subject to look for.
                    None => namespace.len(),
                };
                picture.may_compare(source, steps_of_is_near(known, name) + of_namespace)
            });
            let (known_namespace, known) = compared.find_map(|(own, known)| {
                let known_namespace = own.unwrap_or(namespace);
                let is_meant = !has_modules || is_similar(known_namespace, known);
                (is_meant && (own.is_some() || !is_federated(known_namespace, known)))
                    .then_some((known_namespace, known))
            })?;
            let message = format!("the service account is {known_namespace}:{known}");
            Some(Problem::new(source, subject, message))
        })
        .collect()
}
