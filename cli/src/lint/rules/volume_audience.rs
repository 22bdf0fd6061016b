use entra_workload::diagnose::{Owner, Severity};

use crate::lint::picture::Picture;
use crate::lint::rule::{Problem, Rule, Symptom};
use crate::lint::value::Value;

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
        let volumes = pod.spec.get("volumes").map(Value::items).unwrap_or_default();
        let sources = volumes
            .iter()
            .filter_map(|volume| volume.at(&["projected", "sources"]))
            .flat_map(Value::items);
        let tokens = sources.filter_map(|source| source.get("serviceAccountToken"));
        for audience in tokens.filter_map(|token| token.get("audience")) {
            let text = audience.text().unwrap_or_default();
            let is_meant = text.to_ascii_lowercase().contains("azureadtokenexchange");
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
const KNOWN: [&str; 3] = [
    "api://AzureADTokenExchange",
    "api://AzureADTokenExchangeUSGov",
    "api://AzureADTokenExchangeChina",
];
