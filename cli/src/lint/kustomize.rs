use std::path::{Component, Path, PathBuf};

use super::source::Source;
use super::value::Value;
use super::yaml;

/// What the patches of Kustomize change: of a changed object, the files do not say what it lacks in the end.
#[derive(Default)]
pub(super) struct Patches {
    files: Vec<PathBuf>,
    targets: Vec<Target>,
}

/// The objects that a patch is for; without a kind or a name, all of them.
struct Target {
    kind: Option<String>,
    name: Option<String>,
}

impl Patches {
    pub(super) fn of(sources: &[Source]) -> Self {
        let mut patches = Self::default();
        for source in sources {
            for document in source.documents.iter().filter(|it| is_kustomization(source, it)) {
                patches.add(&source.path, document);
            }
        }
        let files = sources.iter().filter(|source| patches.is_patch(source));
        let objects = files.flat_map(|source| &source.documents);
        let targets: Vec<Target> = objects.map(Target::of_object).collect();
        patches.targets.extend(targets);
        patches
    }

    /// Whether a file is itself a patch, and no object.
    pub(super) fn is_patch(&self, source: &Source) -> bool {
        let path = normal(Path::new(&source.path));
        self.files.contains(&path)
    }

    pub(super) fn change(&self, kind: &str, name: Option<&str>) -> bool {
        let matches = |wanted: &Option<String>, found: Option<&str>| {
            // A target can have a pattern in place of a name.
            let is_pattern = |text: &str| text.contains(['*', '.', '|']);
            wanted
                .as_deref()
                .is_none_or(|wanted| is_pattern(wanted) || Some(wanted) == found)
        };
        let mut targets = self.targets.iter();
        targets.any(|target| matches(&target.kind, Some(kind)) && matches(&target.name, name))
    }

    fn add(&mut self, path: &str, kustomization: &Value) {
        let folder = Path::new(path).parent().unwrap_or(Path::new(""));
        let list = |name: &str| kustomization.get(name).map(Value::items).unwrap_or_default();
        for patch in list("patches")
            .iter()
            .chain(list("patchesStrategicMerge"))
            .chain(list("patchesJson6902"))
        {
            let file = patch.get("path").and_then(Value::text).or(patch.text());
            self.files.extend(file.map(|file| normal(&folder.join(file))));
            if let Some(target) = patch.get("target") {
                self.targets
                    .push(Target::of(target.get("kind"), target.get("name")));
            } else if let Some(text) = patch.get("patch").and_then(Value::text) {
                let objects = yaml::read(text).unwrap_or_default();
                self.targets.extend(objects.iter().map(Target::of_object));
            }
        }
        // They are for all objects.
        let of_all = [
            "labels",
            "commonLabels",
            "commonAnnotations",
            "replacements",
            "components",
        ];
        if of_all
            .iter()
            .any(|name| kustomization.get(name).is_some_and(mentions))
        {
            self.targets.push(Target {
                kind: None,
                name: None,
            });
        }
    }
}

impl Target {
    fn of(kind: Option<&Value>, name: Option<&Value>) -> Self {
        let text = |value: Option<&Value>| value.and_then(Value::text).map(str::to_owned);
        Self {
            kind: text(kind),
            name: text(name),
        }
    }

    fn of_object(object: &Value) -> Self {
        Self::of(object.get("kind"), object.at(&["metadata", "name"]))
    }
}

/// A kustomization need not name its kind; that of Flux has another version.
fn is_kustomization(source: &Source, document: &Value) -> bool {
    let file = Path::new(&source.path).file_stem().unwrap_or_default();
    let version = document.get("apiVersion").and_then(Value::text);
    match version {
        Some(version) => version.starts_with("kustomize.config.k8s.io/"),
        None => file == "kustomization",
    }
}

/// Whether something of workload identity is in it; what is in another file can be anything.
fn mentions(value: &Value) -> bool {
    let is_ours = |value: &Value| {
        let text = value.text().unwrap_or_default();
        text.starts_with("azure.workload.identity/") || text.contains("serviceAccount")
    };
    let mut entries = value.entries().iter();
    is_ours(value)
        || entries.any(|(key, value)| is_ours(key) || mentions(value))
        || value.items().iter().any(mentions)
}

/// A path without `.` and `..`.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if normal.file_name().is_some() => {
                normal.pop();
            }
            part => normal.push(part),
        }
    }
    normal
}
