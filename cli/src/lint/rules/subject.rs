use entra_workload::diagnose::{Owner, Severity};

use crate::lint::picture::{CLIENT_ID, Picture, is_near, same};
use crate::lint::rule::{Problem, Rule, Symptom};

pub(super) const RULE: Rule = Rule {
    code: "EW702",
    summary: "subject is not that of the service account",
    symptom: Symptom::Aadsts(700_213),
    owner: Owner::Developer,
    severity: Severity::Error,
    cause: "Entra compares the subject exactly and case-sensitively with `system:serviceaccount:NAMESPACE:NAME`.",
    fix: "Use namespace and name of the service account, in this order.",
    check,
};

fn check(picture: &Picture<'_>) -> Vec<Problem> {
    let credentials = picture.of_kind("azurerm_federated_identity_credential");
    credentials
        .filter_map(|(source, credential)| {
            let subject = credential.body.get("subject")?;
            let text = subject.text()?;
            let Some((namespace, name)) = text
                .strip_prefix("system:serviceaccount:")
                .and_then(|rest| rest.split_once(':'))
            else {
                let is_meant = text.to_ascii_lowercase().starts_with("system:serviceaccount");
                return is_meant
                    .then(|| Problem::new(source, subject, "not system:serviceaccount:NAMESPACE:NAME"));
            };
            // The account can be that of a chart, so only one that is nearly the same is a mistake.
            let annotated = picture
                .accounts
                .iter()
                .filter(|it| it.annotation(CLIENT_ID).is_some());
            let accounts: Vec<_> = annotated
                .filter_map(|account| Some((account.namespace(), account.name()?)))
                .collect();
            let same_as = |known: &(Option<&str>, &str)| known.1 == name && same(known.0, Some(namespace));
            let near = accounts.iter().find(|(known_namespace, known)| {
                let known_namespace = known_namespace.unwrap_or(namespace);
                is_near(name, known) && is_near(namespace, known_namespace)
                    || *known == name
                    || (*known, known_namespace) == (namespace, name)
            });
            let (known_namespace, known) = near.filter(|_| !accounts.iter().any(same_as))?;
            let known_namespace = known_namespace.unwrap_or(namespace);
            let message = format!("the service account is {known_namespace}:{known}");
            Some(Problem::new(source, subject, message))
        })
        .collect()
}
