use entra_workload::{Code, Owner, diagnose::Severity};

use crate::lint::picture::{CLIENT_ID, LABEL, Picture, is_near, same, steps_of_is_near};
use crate::lint::rule::{Problem, Rule, Symptom};
use crate::lint::value::Value;

pub(super) const RULE: Rule = Rule {
    code: "EW604",
    summary: "pod with the label uses no annotated service account",
    symptom: Symptom::Aadsts(Code::SUBJECT_MISMATCH),
    owner: Owner::Developer,
    severity: Severity::Error,
    cause: "Without `serviceAccountName`, the pod uses the service account `default`, which usually has no annotation and no federated credential; a misspelt name has none, either.",
    fix: "Set `serviceAccountName` in the spec of the pod to the annotated service account.",
    check,
};

fn check(picture: &Picture<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    let annotated = picture.accounts.iter();
    let annotated: Vec<_> = annotated
        .filter(|account| account.annotation(CLIENT_ID).is_some())
        .filter_map(|account| Some((account.namespace(), account.name()?)))
        .collect();
    for pod in picture
        .pods
        .iter()
        .filter(|pod| pod.is_labelled() && pod.is_whole() && !picture.is_patched(&pod.object))
    {
        let name = pod.service_account();
        let text = name.and_then(Value::scalar).unwrap_or_default();
        if text.is_empty() {
            // Unusual, and right.
            if picture
                .annotated_account("default", pod.object.namespace())
                .is_some()
            {
                continue;
            }
            let place = pod.label(LABEL).map_or(pod.object.place(), |(key, _)| key);
            problems.push(Problem::new(
                pod.object.source,
                place,
                "no serviceAccountName beside this label",
            ));
            continue;
        }
        if picture.has_account(text, pod.object.namespace()) {
            continue;
        }
        let source = pod.object.source;
        let compared = annotated.iter();
        let mut compared =
            compared.take_while(|(_, name)| picture.may_compare(source, steps_of_is_near(text, name)));
        let meant = compared.find(|(namespace, name)| {
            same(*namespace, pod.object.namespace()) && (text == "default" || is_near(text, name))
        });
        if let (Some((_, meant)), Some(name)) = (meant, name) {
            let message = format!("the annotated service account is {meant}");
            problems.push(Problem::new(pod.object.source, name, message));
        }
    }
    problems
}
