use entra_workload::diagnose::{Owner, Severity};

use crate::lint::picture::{Picture, same};
use crate::lint::rule::{Problem, Rule, Symptom};

pub(super) const RULE: Rule = Rule {
    code: "EW702",
    summary: "subject matches no service account",
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
            let accounts = &picture.accounts;
            let matches = accounts.iter().any(|account| {
                // A reference of Terraform can be any name.
                account.name().is_none_or(|found| found == name) && same(account.namespace(), Some(namespace))
            });
            (!accounts.is_empty() && !matches).then(|| {
                Problem::new(
                    source,
                    subject,
                    "no service account of the files has this name and namespace",
                )
            })
        })
        .collect()
}
