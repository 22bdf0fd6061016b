use super::Resource;
use crate::lint::value::{Kind, Value};

/// The object of a resource of the provider `kubernetes`, as a manifest has it. Source: its documentation, version 2.
pub(in crate::lint) fn object(resource: &Resource) -> Option<Value> {
    if resource.kind == "kubernetes_manifest" {
        return resource.body.get("manifest").cloned();
    }
    let kind = resource.kind.strip_prefix("kubernetes_")?;
    let kind = kind.strip_suffix("_v1").unwrap_or(kind);
    let (_, kind, version) = KINDS.iter().find(|(name, ..)| *name == kind)?;
    let mut object = in_manifest(&resource.body);
    if let Kind::Map(entries) = &mut object.kind {
        let place = &resource.body.span;
        entries.push((text(place, "kind"), text(place, kind)));
        entries.push((text(place, "apiVersion"), text(place, version)));
    }
    Some(object)
}

/// Writes names as a manifest does, and repeated blocks as a list.
fn in_manifest(value: &Value) -> Value {
    let mut entries: Vec<(Value, Value)> = Vec::new();
    for (key, value) in value.entries() {
        let name = key.text().unwrap_or_default();
        if ["labels", "annotations", "match_labels"].contains(&name) {
            entries.push((text(&key.span, &in_camel_case(name)), with_texts(value)));
            continue;
        }
        let value = if value.entries().is_empty() {
            value.clone()
        } else {
            in_manifest(value)
        };
        let Some((_, list)) = LISTS.iter().find(|(block, _)| *block == name) else {
            entries.push((text(&key.span, &in_camel_case(name)), value));
            continue;
        };
        let known = entries.iter_mut().find(|(key, _)| key.text() == Some(list));
        match known.map(|(_, items)| &mut items.kind) {
            Some(Kind::List(items)) => items.push(value),
            _ => entries.push((
                text(&key.span, list),
                Value {
                    span: value.span.clone(),
                    kind: Kind::List(vec![value]),
                },
            )),
        }
    }
    Value {
        span: value.span.clone(),
        kind: Kind::Map(entries),
    }
}

/// Terraform makes texts of the numbers and truth values of a map of texts.
fn with_texts(map: &Value) -> Value {
    let mut map = map.clone();
    if let Kind::Map(entries) = &mut map.kind {
        for (_, value) in entries {
            let literal = value
                .reference()
                .filter(|text| matches!(*text, "true" | "false") || text.parse::<f64>().is_ok());
            if let Some(literal) = literal.map(str::to_owned) {
                value.kind = Kind::Text(literal);
            }
        }
    }
    map
}

fn in_camel_case(name: &str) -> String {
    let mut parts = name.split('_');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |name, part| {
        let (initial, rest) = part.split_at_checked(1).unwrap_or((part, ""));
        name + &initial.to_ascii_uppercase() + rest
    })
}

fn text(span: &std::ops::Range<usize>, text: &str) -> Value {
    Value {
        span: span.clone(),
        kind: Kind::Text(text.to_owned()),
    }
}

/// The name in the resource, the kind, and its version.
const KINDS: [(&str, &str, &str); 8] = [
    ("cron_job", "CronJob", "batch/v1"),
    ("daemonset", "DaemonSet", "apps/v1"),
    ("daemon_set", "DaemonSet", "apps/v1"),
    ("deployment", "Deployment", "apps/v1"),
    ("job", "Job", "batch/v1"),
    ("pod", "Pod", "v1"),
    ("service_account", "ServiceAccount", "v1"),
    ("stateful_set", "StatefulSet", "apps/v1"),
];

/// Blocks that a manifest has as a list.
const LISTS: [(&str, &str); 7] = [
    ("container", "containers"),
    ("init_container", "initContainers"),
    ("env", "env"),
    ("env_from", "envFrom"),
    ("volume", "volumes"),
    ("volume_mount", "volumeMounts"),
    ("sources", "sources"),
];
