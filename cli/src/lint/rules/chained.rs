use entra_workload::{Code, Owner, diagnose::Severity};

use crate::lint::picture::Picture;
use crate::lint::rule::{Problem, Rule, Symptom};

pub(super) const RULE: Rule = Rule {
    code: "EW710",
    summary: "federated credential trusts tokens of Entra",
    symptom: Symptom::Aadsts(Code::CHAINED_FEDERATION),
    owner: Owner::Developer,
    severity: Severity::Error,
    cause: "A token that was itself obtained with a federated credential is refused as an assertion, so credentials cannot be chained.",
    fix: "Trust the issuer of the cluster directly.",
    check,
};

fn check(picture: &Picture<'_>) -> Vec<Problem> {
    let credentials = picture.of_kind("azurerm_federated_identity_credential");
    credentials
        .filter_map(|(source, credential)| {
            let issuer = credential.body.get("issuer")?;
            let text = issuer.scalar()?.trim_matches(['"', '\'']);
            let is_entra = text.starts_with("https://login.microsoftonline.")
                || text.starts_with("https://sts.windows.net/");
            is_entra.then(|| Problem::new(source, issuer, "an issuer of Entra"))
        })
        .collect()
}
