use std::collections::{BTreeSet, HashMap};

use entra_workload::{Owner, diagnose::Severity};

use crate::lint::picture::{Picture, TOKEN_FILES};
use crate::lint::rule::{Problem, Rule, Symptom};
use crate::lint::value::Value;

pub(super) const RULE: Rule = Rule {
    code: "EW624",
    summary: "AZURE_FEDERATED_TOKEN_FILE does not point into a mounted token volume",
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
        // The files of each volume.
        let mut volumes: HashMap<&str, BTreeSet<&str>> = HashMap::new();
        for (volume, token) in pod.token_sources() {
            let path = token.get("path").and_then(Value::text);
            volumes.entry(volume).or_default().extend(path);
        }
        for container in pod.containers() {
            let list = |name: &str| container.get(name).map(Value::items).unwrap_or_default();
            let mut variables = list("env").iter();
            let variable = variables.find(|variable| {
                variable.get("name").and_then(Value::text) == Some("AZURE_FEDERATED_TOKEN_FILE")
            });
            let Some(value) = variable.and_then(|variable| variable.get("value")) else {
                continue;
            };
            let mounts = list("volumeMounts").iter().filter_map(|mount| {
                let text = |name: &str| mount.get(name).and_then(Value::text);
                let files = volumes.get(text("name")?).filter(|files| !files.is_empty())?;
                Some((text("mountPath")?.trim_end_matches('/'), files))
            });
            let file = value.text().unwrap_or_default();
            let has_file = |(folder, files): &(&str, &BTreeSet<&str>)| {
                let path = file.strip_prefix(folder).and_then(|rest| rest.strip_prefix('/'));
                path.is_some_and(|path| path.len() < LONGEST_PATH && files.contains(path))
            };
            let mounts: Vec<_> = mounts.collect();
            // That of the webhook can be there beside a volume for something else.
            if !mounts.is_empty() && !TOKEN_FILES.contains(&file) && !mounts.iter().any(has_file) {
                let found = mounts
                    .iter()
                    .flat_map(|(folder, files)| files.iter().map(move |file| format!("{folder}/{file}")));
                let found: Vec<_> = found.take(MOST_SHOWN).collect();
                let message = format!("the volume has {}", found.join(" and "));
                problems.push(Problem::new(pod.object.source, value, message));
            }
        }
    }
    problems
}

/// Of a path, in bytes. Source: Linux, `include/uapi/linux/limits.h`.
const LONGEST_PATH: usize = 4096;

/// Of the files in a message.
const MOST_SHOWN: usize = 3;
