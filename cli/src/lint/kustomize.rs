use std::collections::{HashMap, HashSet};
use std::path::{Component, Path, PathBuf};

use super::picture::template_of;
use super::source::{self, Origin, Source};
use super::value::{Kind, Value};
use super::yaml;

/// What the patches of Kustomize change: of a changed object, the files do not say what it lacks in the end.
///
/// Only a kustomization that can be built counts, and only for the objects that it builds.
#[derive(Default)]
pub(super) struct Patches {
    /// What each build changes.
    builds: Vec<HashSet<Target>>,
    /// For each file, the builds that it is part of.
    of_source: Vec<Vec<usize>>,
    /// Files that are themselves a patch, each with the index of the document.
    documents: HashSet<(usize, usize)>,
}

/// The objects that a patch is for; without a kind or a name, or with a pattern in place of it, all of them.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Target {
    kind: Option<String>,
    name: Option<String>,
}

/// An entry of `patches`.
struct Patch {
    file: Option<PathBuf>,
    /// Without any, the objects in the file name themselves.
    targets: Vec<Target>,
    /// Whether it can be applied, as far as it is in the kustomization itself.
    is_usable: bool,
}

/// What a patch can be used for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Use {
    Nothing,
    /// It does not say which object it is for.
    WithTarget,
    Alone,
}

struct Kustomization {
    folder: PathBuf,
    /// Built only as part of another one.
    is_component: bool,
    resources: Vec<String>,
    components: Vec<String>,
    patches: Vec<Patch>,
    /// Whether it builds objects that are in no file, such as those of a chart.
    has_generators: bool,
}

impl Patches {
    pub(super) fn of(sources: &[Source]) -> Self {
        let tree = Tree::of(sources);
        let mut patches = Self {
            of_source: vec![Vec::new(); sources.len()],
            ..Self::default()
        };
        for (index, kustomization) in tree.kustomizations.iter().enumerate() {
            if kustomization.is_component {
                continue;
            }
            let mut walk = Walk::default();
            if tree.build(index, true, &mut walk, 0).is_some() {
                patches.add(&tree, &walk);
            }
        }
        patches
    }

    /// Whether a document of a file is itself a patch, and no object.
    pub(super) fn is_patch(&self, source: usize, document: usize) -> bool {
        self.documents.contains(&(source, document))
    }

    /// Whether an object of a file is changed.
    pub(super) fn change(&self, source: usize, kind: &str, name: Option<&str>) -> bool {
        let builds = self.of_source.get(source).into_iter().flatten();
        let targets = Target::all_of(kind, name);
        { builds.filter_map(|build| self.builds.get(*build)) }
            .any(|changed| targets.iter().any(|target| changed.contains(target)))
    }

    fn add(&mut self, tree: &Tree<'_>, walk: &Walk) {
        let objects = walk.sources.iter().filter_map(|source| tree.sources.get(*source));
        let objects = objects.flat_map(objects_of).map(name_of);
        let built: HashSet<_> = objects
            .flat_map(|(kind, name)| Target::all_of(kind, name))
            .collect();
        let patches = walk
            .patched
            .iter()
            .filter_map(|index| tree.kustomizations.get(*index));
        let mut targets = HashSet::new();
        // Of each file, whether it is for the objects that it names, and whether for others that are built.
        let mut files: HashMap<usize, (bool, bool)> = HashMap::new();
        for patch in patches.flat_map(|kustomization| &kustomization.patches) {
            targets.extend(patch.targets.iter().cloned());
            let file = patch.file.as_ref().filter(|file| !tree.resources.contains(*file));
            if let Some(source) = file.and_then(|file| tree.files.get(file)) {
                let (names_own, has_built) = files.entry(*source).or_default();
                *names_own |= patch.targets.is_empty();
                *has_built |= patch.targets.iter().any(|target| built.contains(target));
            }
        }
        for (source, (names_own, has_built)) in files {
            let documents = tree.sources.get(source).map(|source| source.documents.as_slice());
            for (index, document) in documents.unwrap_or_default().iter().enumerate() {
                let own = Target::of_object(document);
                let is_patch =
                    names_own && built.contains(&own) || !is_whole(document) && (walk.is_open || has_built);
                if !is_patch {
                    continue;
                }
                self.documents.insert((source, index));
                targets.insert(own);
            }
        }
        if targets.is_empty() {
            return;
        }
        for source in &walk.sources {
            if let Some(builds) = self.of_source.get_mut(*source) {
                builds.push(self.builds.len());
            }
        }
        self.builds.push(targets);
    }
}

/// All kustomizations, and where they are.
struct Tree<'a> {
    sources: &'a [Source],
    kustomizations: Vec<Kustomization>,
    files: HashMap<PathBuf, usize>,
    folders: HashMap<PathBuf, usize>,
    /// The files of each folder.
    beside: HashMap<PathBuf, Vec<usize>>,
    /// What a kustomization has as a resource is an object, whatever another one says.
    resources: HashSet<PathBuf>,
    /// What each file of a patch can be used for.
    uses: HashMap<PathBuf, Use>,
}

/// A kustomization as it is built.
#[derive(Default)]
struct Walk {
    seen: HashSet<usize>,
    sources: HashSet<usize>,
    /// The kustomizations whose patches are for all of it: itself and its components.
    patched: Vec<usize>,
    /// Whether some of its resources are not among the files.
    is_open: bool,
}

impl<'a> Tree<'a> {
    fn of(sources: &'a [Source]) -> Self {
        let mut tree = Self {
            sources,
            kustomizations: Vec::new(),
            files: HashMap::new(),
            folders: HashMap::new(),
            beside: HashMap::new(),
            resources: HashSet::new(),
            uses: HashMap::new(),
        };
        let files = sources.iter().enumerate();
        for (index, source) in files.filter(|(_, source)| source.origin == Origin::File) {
            let path = normal(&source.path);
            let folder = path.parent().unwrap_or(Path::new("")).to_owned();
            tree.beside.entry(folder.clone()).or_default().push(index);
            tree.files.insert(path, index);
            let mut documents = source.documents.iter();
            if let Some(document) = documents.find(|document| is_kustomization(source, document)) {
                let kustomization = Kustomization::of(folder, document);
                let resources = kustomization.resources.iter();
                tree.resources
                    .extend(resources.map(|path| normal(&kustomization.folder.join(path))));
                tree.folders
                    .insert(kustomization.folder.clone(), tree.kustomizations.len());
                tree.kustomizations.push(kustomization);
            }
        }
        let patches = tree
            .kustomizations
            .iter()
            .flat_map(|kustomization| &kustomization.patches);
        for file in patches.filter_map(|patch| patch.file.as_ref()) {
            if !tree.uses.contains_key(file) {
                let found = match tree.files.get(file).and_then(|source| sources.get(*source)) {
                    Some(source) => Use::of(&source.documents),
                    // Only the files with a known ending are read before, and only in the named folders.
                    None => source::read_file(file, &mut Vec::new())
                        .map_or(Use::Nothing, |source| Use::of(&source.documents)),
                };
                tree.uses.insert(file.clone(), found);
            }
        }
        tree
    }

    /// Follows resources and components. `None` if one of them or a patch does not exist or is refused: then Kustomize
    /// builds nothing.
    ///
    /// * `is_patched`: whether the patches are for the whole build.
    fn build(&self, index: usize, is_patched: bool, walk: &mut Walk, depth: usize) -> Option<()> {
        let kustomization = self.kustomizations.get(index)?;
        if depth > DEEPEST {
            return None;
        }
        if !walk.seen.insert(index) {
            return Some(());
        }
        if is_patched {
            walk.patched.push(index);
        }
        if !{ kustomization.patches.iter() }.all(|patch| self.is_usable(&kustomization.folder, patch)) {
            return None;
        }
        walk.is_open |= kustomization.has_generators;
        let resources = kustomization.resources.iter().map(|path| (path, false));
        let components = kustomization.components.iter().map(|path| (path, is_patched));
        for (path, is_patched) in resources.chain(components) {
            let whole = normal(&kustomization.folder.join(path));
            let is_file = self.files.contains_key(&whole) || whole.is_file();
            if is_file && !is_within(&kustomization.folder, &whole) {
                return None;
            }
            if let Some(source) = self.files.get(&whole) {
                walk.sources.insert(*source);
            } else if let Some(index) = self.folders.get(&whole) {
                self.build(*index, is_patched, walk, depth + 1)?;
            } else if path.contains("://")
                || path.contains("?ref=")
                || path.starts_with("git@")
                || whole.is_file()
                || NAMES.iter().any(|name| whole.join(name).is_file())
            {
                walk.is_open = true;
                walk.sources.extend(self.beside.get(&whole).into_iter().flatten());
            } else {
                return None;
            }
        }
        Some(())
    }

    fn is_usable(&self, folder: &Path, patch: &Patch) -> bool {
        let is_usable = |file: &PathBuf| {
            let least = if patch.targets.is_empty() {
                Use::Alone
            } else {
                Use::WithTarget
            };
            is_within(folder, file) && self.uses.get(file).is_some_and(|found| *found >= least)
        };
        patch.is_usable && patch.file.as_ref().is_none_or(is_usable)
    }
}

impl Kustomization {
    fn of(folder: PathBuf, value: &Value) -> Self {
        let list = |name: &str| value.get(name).map(Value::items).unwrap_or_default();
        let texts = |name: &str| list(name).iter().filter_map(Value::text).map(str::to_owned);
        let patches = list("patches")
            .iter()
            .chain(list("patchesStrategicMerge"))
            .chain(list("patchesJson6902"));
        let mut patches: Vec<Patch> = patches.map(|patch| Patch::of(&folder, patch)).collect();
        // They are for all objects.
        let of_all = ["commonLabels", "commonAnnotations", "replacements", "components"];
        // Without these, they are only on the objects themselves, not on the pods.
        let is_of_pods = |labels: &Value| {
            ["includeTemplates", "includeSelectors"]
                .iter()
                .any(|name| labels.get(name).is_some_and(is_true))
        };
        let mut labels = list("labels").iter().filter(|labels| is_of_pods(labels));
        if labels.any(mentions) || of_all.iter().any(|name| value.get(name).is_some_and(mentions)) {
            patches.push(Patch {
                file: None,
                targets: vec![Target {
                    kind: None,
                    name: None,
                }],
                is_usable: true,
            });
        }
        Self {
            folder,
            is_component: value.get("kind").and_then(Value::text) == Some("Component"),
            resources: texts("resources").chain(texts("bases")).collect(),
            components: texts("components").collect(),
            patches,
            has_generators: ["helmCharts", "generators"]
                .iter()
                .any(|name| value.get(name).is_some()),
        }
    }
}

impl Patch {
    fn of(folder: &Path, patch: &Value) -> Self {
        // An entry of `patchesStrategicMerge` is a file or the patch itself.
        let own = patch.text();
        let is_inline = |text: &&str| text.contains('\n') || text.starts_with('{');
        let inline = { patch.get("patch").and_then(Value::text) }.or(own.filter(is_inline));
        let file = { patch.get("path").and_then(Value::text) }.or(own.filter(|text| !is_inline(text)));
        let objects = inline.map(|text| yaml::read(text).unwrap_or_default());
        let target = patch.get("target");
        let targets = match (target, &objects) {
            (Some(target), _) => vec![Target::of(target.get("kind"), target.get("name"))],
            (None, Some(objects)) => objects.iter().map(Target::of_object).collect(),
            (None, None) => Vec::new(),
        };
        let least = if target.is_some() {
            Use::WithTarget
        } else {
            Use::Alone
        };
        Self {
            is_usable: match objects {
                Some(objects) => Use::of(&objects) >= least,
                None => file.is_some(),
            },
            // What is remote can be anything.
            file: { file.filter(|file| !file.contains("://")) }.map(|file| normal(&folder.join(file))),
            targets,
        }
    }
}

impl Use {
    fn of(documents: &[Value]) -> Self {
        let of_one = |document: &Value| match (&document.kind, name_of(document)) {
            (Kind::Map(_), (kind, Some(_))) if !kind.is_empty() => Self::Alone,
            (Kind::Map(_) | Kind::List(_), _) => Self::WithTarget,
            _ => Self::Nothing,
        };
        let is_empty = |document: &Value| matches!(&document.kind, Kind::Other(text) if text == "null");
        let documents = documents.iter().filter(|document| !is_empty(document));
        documents.map(of_one).min().unwrap_or(Self::Nothing)
    }
}

impl Target {
    fn of(kind: Option<&Value>, name: Option<&Value>) -> Self {
        let is_pattern = |text: &str| text.contains(['*', '.', '|']);
        let text = |value: Option<&Value>| {
            let text = value.and_then(Value::text).filter(|text| !is_pattern(text));
            text.map(str::to_owned)
        };
        Self {
            kind: text(kind),
            name: text(name),
        }
    }

    fn of_object(object: &Value) -> Self {
        Self::of(object.get("kind"), object.at(&["metadata", "name"]))
    }

    /// All targets that an object is one of.
    fn all_of(kind: &str, name: Option<&str>) -> [Self; 4] {
        let target = |kind: Option<&str>, name: Option<&str>| Self {
            kind: kind.map(str::to_owned),
            name: name.map(str::to_owned),
        };
        [
            target(Some(kind), name),
            target(Some(kind), None),
            target(None, name),
            target(None, None),
        ]
    }
}

/// The objects of a file, also those in lists.
fn objects_of(source: &Source) -> impl Iterator<Item = &Value> {
    source.documents.iter().flat_map(|document| {
        let items = document.get("items").map(Value::items).unwrap_or_default();
        [document].into_iter().chain(items)
    })
}

fn name_of(object: &Value) -> (&str, Option<&str>) {
    let kind = object.get("kind").and_then(Value::text);
    let name = object.at(&["metadata", "name"]).and_then(Value::text);
    (kind.unwrap_or_default(), name)
}

/// Whether a workload can be created as it is; a patch lacks something.
fn is_whole(object: &Value) -> bool {
    let (kind, _) = name_of(object);
    let Some(spec) = template_of(kind, object).and_then(|template| template.get("spec")) else {
        return false;
    };
    let mut containers = spec
        .get("containers")
        .map(Value::items)
        .unwrap_or_default()
        .iter();
    containers.all(|container| container.get("image").is_some())
        && match kind {
            "Pod" => true,
            "Job" | "CronJob" => spec.get("restartPolicy").is_some(),
            _ => object.at(&["spec", "selector"]).is_some(),
        }
}

/// A kustomization need not name its kind; that of Flux has another version.
fn is_kustomization(source: &Source, document: &Value) -> bool {
    let file = source.path.file_stem().unwrap_or_default();
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

/// Whether Kustomize reads a file for a kustomization: folders can be anywhere, files not.
fn is_within(folder: &Path, file: &Path) -> bool {
    let rest = file.strip_prefix(folder);
    rest.is_ok_and(|rest| !rest.starts_with(".."))
}

fn is_true(value: &Value) -> bool {
    matches!(&value.kind, Kind::Other(text) if text == "true")
}

/// A path without `.` and `..`.
pub(super) fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if normal.file_name().is_some() => {
                normal.pop();
            }
            // Nothing is above the root.
            Component::ParentDir if normal.has_root() => {}
            part => normal.push(part),
        }
    }
    normal
}

/// Far deeper than overlays are, and shallow enough for the stack.
const DEEPEST: usize = 100;

/// Kustomize builds a folder only if one of them is in it; those that are not among the files are not read.
const NAMES: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];
