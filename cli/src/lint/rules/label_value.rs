use entra_workload::{Owner, diagnose::Severity};

use crate::lint::picture::{LABEL, Picture};
use crate::lint::rule::{Problem, Rule, Symptom};

pub(super) const RULE: Rule = Rule {
    code: "EW603",
    summary: "label value is not the string \"true\"",
    symptom: Symptom::Silence,
    owner: Owner::Developer,
    severity: Severity::Error,
    cause: "The webhook compares with the string `true`. The API server refuses a boolean, and any other text is ignored.",
    fix: "Write `\"true\"`, with quotes and in lower case.",
    check,
};

fn check(picture: &Picture<'_>) -> Vec<Problem> {
    let labels = picture
        .pods
        .iter()
        .filter_map(|pod| Some((pod, pod.label(LABEL)?)));
    // In a patch, `null` removes the label; in Terraform, it can be a reference.
    let wrong = labels.filter(|(_, (_, value))| {
        let is_literal = |text: &str| matches!(text, "true" | "false") || text.parse::<f64>().is_ok();
        !matches!(value.text(), Some("true" | "false")) && value.reference().is_none_or(is_literal)
    });
    wrong
        .map(|(pod, (key, value))| {
            let problem = Problem::new(pod.object.source, value, "not the string \"true\"");
            let problem = problem.mended_by(pod.set_label());
            let is_meant = value
                .scalar()
                .is_some_and(|text| text.eq_ignore_ascii_case("true"));
            // In place of an anchor, the names that refer to it would be unknown.
            let is_anchored = picture.text(pod.object.source, value).starts_with('&');
            // A block scalar begins in another line.
            let is_in_line = !picture.between(pod.object.source, key, value).contains('\n');
            if is_meant && is_in_line && !is_anchored {
                problem.replaced_by("\"true\"")
            } else {
                problem
            }
        })
        .collect()
}
