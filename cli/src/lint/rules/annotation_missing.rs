use entra_workload::{Owner, diagnose::Severity};

use crate::lint::picture::{CLIENT_ID, Picture};
use crate::lint::rule::{Problem, Rule, Symptom};

pub(super) const RULE: Rule = Rule {
    code: "EW606",
    summary: "service account has no client ID",
    symptom: Symptom::Silence,
    owner: Owner::Developer,
    severity: Severity::Warning,
    cause: "Without the annotation, the webhook sets no `AZURE_CLIENT_ID`, and the program must name the client itself.",
    fix: "Annotate the service account with `azure.workload.identity/client-id`.",
    check,
};

fn check(picture: &Picture<'_>) -> Vec<Problem> {
    let accounts = picture
        .accounts
        .iter()
        .filter(|account| picture.is_used(account) && !picture.is_patched_account(account));
    let accounts = accounts.filter(|account| account.annotation(CLIENT_ID).is_none());
    let accounts = accounts.filter(|account| !picture.is_overridden(account));
    accounts
        .map(|account| {
            Problem::new(
                account.source,
                account.place,
                "no annotation azure.workload.identity/client-id",
            )
            .mended_by(account.set_client_id())
        })
        .collect()
}
