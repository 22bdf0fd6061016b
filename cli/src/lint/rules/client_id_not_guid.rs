use entra_workload::{Code, Owner, diagnose::Severity};

use crate::lint::picture::{CLIENT_ID, Picture, is_guid};
use crate::lint::rule::{Problem, Rule, Symptom};

pub(super) const RULE: Rule = Rule {
    code: "EW608",
    summary: "annotated client ID is not a GUID",
    symptom: Symptom::Aadsts(Code::UNKNOWN_APPLICATION),
    owner: Owner::Developer,
    severity: Severity::Error,
    cause: "The annotation needs the client ID of the identity: not its name, not its resource ID.",
    fix: "Use the output of `az identity show --query clientId`.",
    check,
};

fn check(picture: &Picture<'_>) -> Vec<Problem> {
    let annotations = picture
        .accounts
        .iter()
        .filter_map(|account| Some((account, &account.annotation(CLIENT_ID)?.1)));
    let wrong = annotations.filter(|(_, value)| {
        // An empty value of a chart.
        let text = match value.reference() {
            Some("null") => "",
            Some(_) => "00000000-0000-0000-0000-000000000000",
            None => value.text().unwrap_or_default(),
        };
        // Filled in by a script, Kustomize, Flux or Terraform.
        let is_placeholder = text.starts_with('$')
            || ["${", "{{", "#{"].iter().any(|mark| text.contains(mark))
            || text.contains('_') && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
        !is_guid(text) && !is_placeholder
    });
    wrong
        .map(|(account, value)| {
            Problem::new(account.source, value, "not a GUID").mended_by(account.set_client_id())
        })
        .collect()
}
