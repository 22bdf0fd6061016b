use entra_workload::{Code, Owner, diagnose::Severity};

use crate::lint::picture::Picture;
use crate::lint::rule::{Problem, Rule, Symptom};

pub(super) const RULE: Rule = Rule {
    code: "EW704",
    summary: "audience is not that of the token exchange",
    symptom: Symptom::Aadsts(Code::AUDIENCE_MISMATCH),
    owner: Owner::Developer,
    severity: Severity::Error,
    cause: "The webhook asks for tokens with the audience `api://AzureADTokenExchange`.",
    fix: "Use `api://AzureADTokenExchange`, or that of the cloud.",
    check,
};

fn check(picture: &Picture<'_>) -> Vec<Problem> {
    let credentials = picture.of_kind("azurerm_federated_identity_credential");
    let audiences =
        credentials.filter_map(|(source, credential)| Some((source, credential.body.get("audience")?)));
    audiences
        .flat_map(|(source, audiences)| audiences.items().iter().map(move |audience| (source, audience)))
        .filter(|(_, audience)| audience.text().is_some_and(|text| !KNOWN.contains(&text)))
        .map(|(source, audience)| Problem::new(source, audience, "not api://AzureADTokenExchange"))
        .collect()
}

/// Source: `entra_workload::Cloud`.
const KNOWN: [&str; 8] = [
    "api://AzureADTokenExchange",
    "api://AzureADTokenExchangeUSGov",
    "api://AzureADTokenExchangeChina",
    "api://AzureADTokenExchangeFrance",
    "api://AzureADTokenExchangeGermany",
    "api://AzureADTokenExchangeGovSG",
    "api://AzureADTokenExchangeUSNat",
    "api://AzureADTokenExchangeUSSec",
];
