use entra_workload::Owner;
use entra_workload::diagnose::Severity;

use crate::lint::picture::{Picture, TOKEN_FILES};
use crate::lint::rule::{Problem, Rule, Symptom};
use crate::lint::value::Value;

pub(super) const RULE: Rule = Rule {
    code: "EW624",
    summary: "the variable names no file of the hand-written token volume",
    symptom: Symptom::Silence,
    owner: Owner::Developer,
    severity: Severity::Error,
    cause: "The token is at `mountPath` followed by `path`; elsewhere there is no file.",
    fix: "Set `AZURE_FEDERATED_TOKEN_FILE` to `mountPath/path` of the volume.",
    check,
};

fn check(picture: &Picture<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for pod in &picture.pods {
        for container in pod.containers() {
            let list = |name: &str| container.get(name).map(Value::items).unwrap_or_default();
            let text = |value: &Value, name: &str| value.get(name).and_then(Value::text).map(str::to_owned);
            let mut variables = list("env").iter();
            let variable = variables.find(|variable| {
                variable.get("name").and_then(Value::text) == Some("AZURE_FEDERATED_TOKEN_FILE")
            });
            let Some(value) = variable.and_then(|variable| variable.get("value")) else {
                continue;
            };
            let files: Vec<String> = pod
                .token_sources()
                .flat_map(|(volume, token)| {
                    let mounts = list("volumeMounts").iter();
                    mounts
                        .filter(move |mount| text(mount, "name").as_deref() == Some(volume))
                        .filter_map(move |mount| {
                            let folder = text(mount, "mountPath")?;
                            Some(format!(
                                "{}/{}",
                                folder.trim_end_matches('/'),
                                text(token, "path")?
                            ))
                        })
                })
                .collect();
            let file = value.text().unwrap_or_default();
            // That of the webhook can be there beside a volume for something else.
            if !files.is_empty() && !TOKEN_FILES.contains(&file) && !files.iter().any(|found| found == file) {
                let message = format!("the volume has {}", files.join(" and "));
                problems.push(Problem::new(pod.object.source, value, message));
            }
        }
    }
    problems
}
