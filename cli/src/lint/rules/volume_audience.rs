use entra_workload::diagnose::{Owner, Severity};

use crate::lint::picture::Picture;
use crate::lint::rule::{Problem, Rule, Symptom};

pub(super) const RULE: Rule = Rule {
    code: "EW610",
    summary: "hand-written token volume has another audience",
    symptom: Symptom::Aadsts(700_212),
    owner: Owner::Developer,
    severity: Severity::Error,
    cause: "Entra accepts a token only if its audience is that of the federated credential.",
    fix: "Use `audience: api://AzureADTokenExchange`, or leave the volume to the webhook.",
    check,
};

fn check(picture: &Picture<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for pod in &picture.pods {
        for (volume, token) in pod.token_sources() {
            let Some(audience) = token.get("audience") else {
                continue;
            };
            let text = audience.text().unwrap_or_default();
            let is_meant =
                volume.contains("azure") || text.to_ascii_lowercase().contains("azureadtokenexchange");
            if is_meant && !KNOWN.contains(&text) {
                problems.push(Problem::new(
                    pod.object.source,
                    audience,
                    "not the audience of Entra",
                ));
            }
        }
    }
    problems
}

/// Source: Microsoft, "Workload identity federation", audiences of the clouds.
const KNOWN: [&str; 4] = [
    "api://AzureADTokenExchange",
    "api://AzureADTokenExchangeUSGov",
    "api://AzureADTokenExchangeChina",
    "api://AKSIdentityBinding",
];
