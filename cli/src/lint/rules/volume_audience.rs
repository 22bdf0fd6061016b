use std::collections::HashSet;

use entra_workload::{Code, Owner, diagnose::Severity};

use crate::lint::picture::{Picture, Pod};
use crate::lint::rule::{Problem, Rule, Symptom};
use crate::lint::value::Value;

pub(super) const RULE: Rule = Rule {
    code: "EW610",
    summary: "projected token volume has another audience",
    symptom: Symptom::Aadsts(Code::AUDIENCE_MISMATCH),
    owner: Owner::Developer,
    severity: Severity::Error,
    cause: "Entra accepts a token only if its audience is that of the federated credential.",
    fix: "Use `audience: api://AzureADTokenExchange`, or leave the volume to the webhook.",
    check,
};

fn check(picture: &Picture<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for pod in &picture.pods {
        let used = used_paths(pod);
        for (volume, token) in pod.token_sources() {
            let path = token.get("path").and_then(Value::text).unwrap_or_default();
            let is_used = !path.is_empty() && used.contains(path);
            let Some(audience) = token.get("audience") else {
                // The API server fills in its own.
                if is_used {
                    let message = "no audience, so it is that of the API server";
                    problems.push(Problem::new(pod.object.source, token, message));
                }
                continue;
            };
            let text = audience.text().unwrap_or_default();
            let is_meant = is_used
                || volume.contains("azure")
                || text.to_ascii_lowercase().contains("azureadtokenexchange");
            // One that is filled in later can be right.
            if is_meant && !KNOWN.contains(&text) && !text.contains('$') {
                let message = "not the audience of Entra";
                problems.push(Problem::new(pod.object.source, audience, message));
            }
        }
    }
    problems
}

/// The paths in a volume that the file of a container ends with.
fn used_paths<'a>(pod: &Pod<'a>) -> HashSet<&'a str> {
    let tokens = pod.token_sources();
    let lengths: HashSet<usize> = tokens
        .filter_map(|(_, token)| Some(token.get("path")?.text()?.len()))
        .collect();
    let variables = pod.variables("AZURE_FEDERATED_TOKEN_FILE");
    let files: HashSet<&str> = variables
        .filter_map(|variable| variable.get("value")?.text())
        .collect();
    let ends = files.into_iter().flat_map(|file| {
        let slashes = file.match_indices('/').map(|(slash, _)| slash + 1);
        slashes.filter_map(|start| file.get(start..))
    });
    ends.filter(|end| lengths.contains(&end.len())).collect()
}

/// Source: `entra_workload::Cloud`.
const KNOWN: [&str; 9] = [
    "api://AzureADTokenExchange",
    "api://AzureADTokenExchangeUSGov",
    "api://AzureADTokenExchangeChina",
    "api://AzureADTokenExchangeFrance",
    "api://AzureADTokenExchangeGermany",
    "api://AzureADTokenExchangeGovSG",
    "api://AzureADTokenExchangeUSNat",
    "api://AzureADTokenExchangeUSSec",
    "api://AKSIdentityBinding",
];
