use entra_workload::{Owner, diagnose::Severity};

use crate::lint::picture::Picture;
use crate::lint::rule::{Problem, Rule, Symptom};

pub(super) const RULE: Rule = Rule {
    code: "EW614",
    summary: "client secret takes precedence over workload identity",
    symptom: Symptom::Silence,
    owner: Owner::Developer,
    severity: Severity::Warning,
    cause: "In every SDK, a default credential looks at `AZURE_CLIENT_SECRET` first, so the secret is used, also when it has expired.",
    fix: "Remove the variable, or set `AZURE_TOKEN_CREDENTIALS` to `WorkloadIdentityCredential`.",
    check,
};

fn check(picture: &Picture<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    let pods = picture.pods.iter().filter(|pod| {
        let chosen = pod
            .variables("AZURE_TOKEN_CREDENTIALS")
            .filter_map(|variable| variable.get("value")?.text());
        pod.is_labelled() && !{ chosen }.any(|value| value.eq_ignore_ascii_case("WorkloadIdentityCredential"))
    });
    for pod in pods {
        for name in ["AZURE_CLIENT_SECRET", "AZURE_CLIENT_CERTIFICATE_PATH"] {
            let places = pod.variables(name).filter_map(|variable| variable.get("name"));
            problems.extend(
                places.map(|place| Problem::new(pod.object.source, place, "wins over workload identity")),
            );
        }
    }
    problems
}
