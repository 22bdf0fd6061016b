use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use entra_workload_emulator::{PodSeed, Seed};
use saphyr::{LoadableYamlNode as _, Scalar, Yaml};
use serde_json::{Map, Value};

use crate::lint::yaml::check_size;
use crate::{Failure, escape};

/// Reads seeds and Kubernetes manifests, and joins them. A pipe, such as `<(helm template .)`, can make it wait.
pub(super) fn read(paths: &[PathBuf]) -> Result<Seed, Failure> {
    let mut all = Seed::default();
    for path in paths {
        let failed = |error: &dyn std::fmt::Display| {
            let text = format!("{}: {error}", escape::path(path));
            escape::line(&text).to_string()
        };
        let text = read_text(path).map_err(|error| failed(&error))?;
        check_size(&text).map_err(|error| failed(&error))?;
        let documents = Yaml::load_from_str(&text).map_err(|error| failed(&error))?;
        for document in &documents {
            let document = json(document);
            // A comment alone, or nothing after `---`.
            if document.is_null() {
                continue;
            }
            if document.get("kind").is_some() {
                let items = document.get("items").and_then(Value::as_array);
                let objects = items.map_or(std::slice::from_ref(&document), Vec::as_slice);
                all.pods.extend(objects.iter().filter_map(of_manifest));
                continue;
            }
            let seed: Seed = serde_json::from_value(document).map_err(|error| failed(&error))?;
            all.pods.extend(seed.pods);
            all.applications.extend(seed.applications);
            all.managed_identities.extend(seed.managed_identities);
            all.secrets.extend(seed.secrets);
            all.containers.extend(seed.containers);
            all.resources.extend(seed.resources);
            all.trusted_issuers.extend(seed.trusted_issuers);
        }
    }
    Ok(all)
}

fn read_text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(MAX_LENGTH + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_LENGTH {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            "a seed has at most 16 MiB",
        ));
    }
    Ok(text)
}

/// A service account with a client ID is a pod. Everything else in a manifest does not matter here.
fn of_manifest(object: &Value) -> Option<PodSeed> {
    let metadata = object
        .get("metadata")
        .filter(|_| object["kind"] == "ServiceAccount")?;
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let client_id = metadata.pointer("/annotations/azure.workload.identity~1client-id")?;
    let namespace = metadata.get("namespace").and_then(text);
    let mut pod = PodSeed::new(
        namespace.unwrap_or_else(|| "default".to_owned()),
        text(metadata.get("name")?)?,
    );
    // One that is filled in by a script or a template is not known yet, and the pod gets another.
    pod.client_id = Some(text(client_id)?).filter(|client_id| !client_id.contains(['$', '{']));
    Some(pod)
}

fn json(value: &Yaml<'_>) -> Value {
    match value {
        Yaml::Value(Scalar::Null) | Yaml::BadValue | Yaml::Alias(_) => Value::Null,
        Yaml::Value(Scalar::Boolean(value)) => (*value).into(),
        Yaml::Value(Scalar::Integer(value)) => (*value).into(),
        Yaml::Value(Scalar::FloatingPoint(value)) => value.into_inner().into(),
        Yaml::Value(Scalar::String(text)) | Yaml::Representation(text, ..) => text.as_ref().into(),
        Yaml::Sequence(items) => items.iter().map(json).collect(),
        Yaml::Mapping(entries) => {
            let entries = entries.iter();
            let fields = entries.map(|(key, value)| {
                let key = json(key);
                (
                    key.as_str().map_or_else(|| key.to_string(), str::to_owned),
                    json(value),
                )
            });
            Value::Object(fields.collect::<Map<_, _>>())
        }
        Yaml::Tagged(_, value) => json(value),
    }
}

/// In bytes, as much as the admin API takes.
const MAX_LENGTH: u64 = 16 * 1024 * 1024;
