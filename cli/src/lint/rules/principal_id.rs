use entra_workload::{Code, Owner, diagnose::Severity};

use crate::lint::picture::{CLIENT_ID, Picture};
use crate::lint::rule::{Problem, Rule, Symptom};

pub(super) const RULE: Rule = Rule {
    code: "EW706",
    summary: "principal ID is used as client ID",
    symptom: Symptom::Aadsts(Code::UNKNOWN_APPLICATION),
    owner: Owner::Developer,
    severity: Severity::Error,
    cause: "The principal ID names the identity in role assignments; Entra knows it as an application by its client ID.",
    fix: "Use `client_id`.",
    check,
};

fn check(picture: &Picture<'_>) -> Vec<Problem> {
    let annotations = picture
        .accounts
        .iter()
        .filter_map(|account| Some((account.source, &account.annotation(CLIENT_ID)?.1)));
    annotations
        .filter_map(|(source, value)| {
            let text = value.reference()?;
            let problem = Problem::new(source, value, "the principal ID");
            let replacement = text.replace(".principal_id", ".client_id");
            // Other resources, modules among them, need not have the other attribute.
            let is_certain = replacement.contains(IDENTITY) && picture.text(source, value) == text;
            let is_wrong = text.contains(".principal_id") && !text.contains(".client_id");
            is_wrong.then(|| {
                if is_certain {
                    problem.replaced_by(replacement)
                } else {
                    problem
                }
            })
        })
        .collect()
}

const IDENTITY: &str = "azurerm_user_assigned_identity.";
