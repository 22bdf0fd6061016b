use entra_workload::diagnose::{Owner, Severity};

use crate::lint::picture::{CLIENT_ID, Picture};
use crate::lint::rule::{Problem, Rule, Symptom};

pub(super) const RULE: Rule = Rule {
    code: "EW706",
    summary: "principal ID where the client ID belongs",
    symptom: Symptom::Aadsts(700_016),
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
            let end = text.trim_end_matches(['"', '}', ' ']).len();
            let (expression, rest) = text.split_at_checked(end)?;
            let expression = expression.strip_suffix(".principal_id")?;
            let mended = format!("{expression}.client_id{rest}");
            Some(Problem::new(source, value, "the principal ID").replaced_by(mended))
        })
        .collect()
}
