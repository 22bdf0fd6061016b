use entra_workload::{Code, Owner, diagnose::Severity};

use crate::lint::picture::Picture;
use crate::lint::rule::{Problem, Rule, Symptom};

pub(super) const RULE: Rule = Rule {
    code: "EW703",
    summary: "AKS issuer URL lacks its trailing slash",
    symptom: Symptom::Aadsts(Code::ISSUER_MISMATCH),
    owner: Owner::Developer,
    severity: Severity::Error,
    cause: "Entra compares the issuer exactly, and that of AKS ends with a slash.",
    fix: "Use `azurerm_kubernetes_cluster.NAME.oidc_issuer_url` (Bicep: `NAME.properties.oidcIssuerProfile.issuerURL`), or add the slash.",
    check,
};

fn check(picture: &Picture<'_>) -> Vec<Problem> {
    let credentials = picture.of_kind("azurerm_federated_identity_credential");
    credentials
        .filter_map(|(source, credential)| {
            let issuer = credential.body.get("issuer")?;
            let problem = Problem::new(source, issuer, "no slash at the end");
            if issuer
                .reference()
                .is_some_and(|text| text.starts_with("trimsuffix("))
            {
                return Some(problem);
            }
            let text = issuer.text()?;
            let is_wrong = text.contains(".oic.prod-aks.azure.com") && !text.ends_with('/');
            // It can be written elsewhere, and have a name here; or have three quotes on each side in Bicep.
            let written = picture.text(source, issuer);
            let is_here = written.contains(text) && written.len() == text.len() + 2;
            is_wrong.then(|| {
                if is_here {
                    problem.completed_by("/")
                } else {
                    problem
                }
            })
        })
        .collect()
}
