use entra_workload::diagnose::{Owner, Severity};

use crate::lint::picture::Picture;
use crate::lint::rule::{Problem, Rule, Symptom};

pub(super) const RULE: Rule = Rule {
    code: "EW703",
    summary: "issuer of AKS without its slash at the end",
    symptom: Symptom::Aadsts(700_211),
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
            let text = issuer.text()?;
            (text.contains(".oic.prod-aks.azure.com") && !text.ends_with('/'))
                .then(|| Problem::new(source, issuer, "no slash at the end").completed_by("/"))
        })
        .collect()
}
