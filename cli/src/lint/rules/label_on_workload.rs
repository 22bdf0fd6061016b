use entra_workload::{Owner, diagnose::Severity};

use crate::lint::picture::{LABEL, Picture};
use crate::lint::rule::{Problem, Rule, Symptom};

pub(super) const RULE: Rule = Rule {
    code: "EW601",
    summary: "label is on the workload instead of its pod template",
    symptom: Symptom::Silence,
    owner: Owner::Developer,
    severity: Severity::Error,
    cause: "The webhook sees pods only. A label of the workload is not copied to its pods.",
    fix: "Move the label to `spec.template.metadata.labels`.",
    check,
};

fn check(picture: &Picture<'_>) -> Vec<Problem> {
    let workloads = picture.pods.iter().filter(|pod| pod.label(LABEL).is_none());
    workloads
        .filter_map(|pod| {
            let (key, _) = pod.misplaced_label()?;
            let problem = Problem::new(pod.object.source, key, "here the label does nothing");
            Some(problem.mended_by(pod.set_label()))
        })
        .collect()
}
