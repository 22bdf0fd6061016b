use std::collections::{HashMap, HashSet};
use std::io;
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
    /// The numbers of the targets that objects are of.
    numbers: HashMap<Target, usize>,
    /// What builds change: the index of the file, and the number of the target.
    changed: HashSet<(usize, usize)>,
    /// Files that are themselves a patch, each with the index of the document.
    documents: HashSet<(usize, usize)>,
    /// The first file that is not followed, because those before take too much.
    pub(super) stopped_at: Option<usize>,
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
    /// The index of its file.
    source: usize,
    folder: PathBuf,
    /// Whether Kustomize reads its kind and its version.
    is_valid: bool,
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
        let mut patches = Self::default();
        let mut steps = Steps(MOST_STEPS);
        for (index, kustomization) in tree.kustomizations.iter().enumerate() {
            if kustomization.is_component {
                continue;
            }
            let mut walk = Walk::default();
            if tree.build(index, true, &mut walk, &mut steps, 0).is_some() {
                patches.add(&tree, &mut walk, &mut steps);
            }
            if steps.0 == 0 {
                patches.stopped_at = Some(kustomization.source);
                break;
            }
        }
        patches.numbers = tree.numbers;
        patches
    }

    /// Whether a document of a file is itself a patch, and no object.
    pub(super) fn is_patch(&self, source: usize, document: usize) -> bool {
        self.documents.contains(&(source, document))
    }

    /// Whether an object of a file is changed.
    pub(super) fn change(&self, source: usize, kind: &str, name: Option<&str>) -> bool {
        !self.changed.is_empty()
            && Target::all_of(kind, name).iter().any(|target| {
                let number = self.numbers.get(target);
                number.is_some_and(|number| self.changed.contains(&(source, *number)))
            })
    }

    /// Returns `None` if there are no steps left.
    fn add(&mut self, tree: &Tree<'_>, walk: &mut Walk, steps: &mut Steps) -> Option<()> {
        let patched = std::mem::take(&mut walk.patched);
        let patched = patched.iter().filter_map(|index| tree.kustomizations.get(*index));
        let mut targets = HashSet::new();
        // Of each file, whether it is for the objects that it names, and whether for others that are built.
        let mut files: HashMap<usize, (bool, bool)> = HashMap::new();
        for patch in patched.flat_map(|kustomization| &kustomization.patches) {
            let file = patch.file.as_ref().filter(|file| !tree.resources.contains(*file));
            let source = file.and_then(|file| tree.files.get(file));
            if let Some(source) = source {
                files.entry(*source).or_default().0 |= patch.targets.is_empty();
            }
            steps.take(1)?;
            for number in patch.targets.iter().filter_map(|target| tree.numbers.get(target)) {
                steps.take(1)?;
                targets.insert(*number);
                if let Some(source) = source {
                    files.entry(*source).or_default().1 |= tree.is_built(*number, walk, steps)?;
                }
            }
        }
        for (source, (names_own, has_built)) in files {
            let documents = tree.patches.get(&source).into_iter().flatten();
            for (index, (own, is_whole)) in documents.enumerate() {
                steps.take(1)?;
                let own = tree.numbers.get(own).copied();
                let is_own = match own {
                    Some(own) => names_own && tree.is_built(own, walk, steps)?,
                    None => false,
                };
                if is_own || !is_whole && (walk.is_open || has_built) {
                    self.documents.insert((source, index));
                    targets.extend(own);
                }
            }
        }
        for target in targets {
            let sources = tree.with(target);
            if sources.len() < walk.sources.len() {
                steps.take(sources.len())?;
                let built = sources.iter().filter(|source| walk.sources.contains(*source));
                self.changed.extend(built.map(|source| (*source, target)));
            } else {
                steps.take(walk.sources.len())?;
                let built = { walk.sources.iter() }.filter(|source| sources.binary_search(source).is_ok());
                self.changed.extend(built.map(|source| (*source, target)));
            }
        }
        Some(())
    }
}

/// All kustomizations, and where they are.
struct Tree<'a> {
    sources: &'a [Source],
    kustomizations: Vec<Kustomization>,
    /// What each of them builds; `None` if Kustomize refuses it.
    entries: Vec<Option<Vec<Entry>>>,
    files: HashMap<PathBuf, usize>,
    folders: HashMap<PathBuf, usize>,
    /// The files of each folder.
    beside: HashMap<PathBuf, Vec<usize>>,
    /// What a kustomization has as a resource is an object, whatever another one says.
    resources: HashSet<PathBuf>,
    /// Of the files that patches name, the object of each document, and whether it is whole.
    patches: HashMap<usize, Vec<(Target, bool)>>,
    /// The targets that objects are of.
    numbers: HashMap<Target, usize>,
    /// For each target, the files with such an object, in order.
    of_target: Vec<Vec<usize>>,
}

/// A resource or a component.
enum Entry {
    File(usize),
    Kustomization {
        index: usize,
        is_component: bool,
    },
    /// A folder or a file that is not read, or an address.
    Open(PathBuf),
}

/// A kustomization as it is built.
#[derive(Default)]
struct Walk {
    /// Whether each is complete; one that is not is within itself.
    seen: HashMap<usize, bool>,
    sources: HashSet<usize>,
    /// The kustomizations whose patches are for all of it: itself and its components.
    patched: Vec<usize>,
    /// Whether some of its resources are not among the files.
    is_open: bool,
    /// Whether it has objects of a target.
    built: HashMap<usize, bool>,
}

/// The steps that are left: thousands of kustomizations can build the same thousands of files.
struct Steps(usize);

impl Steps {
    fn take(&mut self, count: usize) -> Option<()> {
        let left = self.0.checked_sub(count);
        self.0 = left.unwrap_or_default();
        left.map(|_| ())
    }
}

impl<'a> Tree<'a> {
    fn of(sources: &'a [Source]) -> Self {
        let mut tree = Self {
            sources,
            kustomizations: Vec::new(),
            entries: Vec::new(),
            files: HashMap::new(),
            folders: HashMap::new(),
            beside: HashMap::new(),
            resources: HashSet::new(),
            patches: HashMap::new(),
            numbers: HashMap::new(),
            of_target: Vec::new(),
        };
        let files = sources.iter().enumerate();
        for (index, source) in files.filter(|(_, source)| source.origin == Origin::File) {
            let path = normal(&source.path);
            let folder = path.parent().unwrap_or(Path::new("")).to_owned();
            tree.beside.entry(folder.clone()).or_default().push(index);
            tree.files.insert(path, index);
            if let Some(document) = kustomization_of(source) {
                let kustomization = Kustomization::of(index, folder, document);
                let resources = kustomization.resources.iter().filter(|_| kustomization.is_valid);
                tree.resources
                    .extend(resources.map(|path| normal(&kustomization.folder.join(path))));
                tree.folders
                    .insert(kustomization.folder.clone(), tree.kustomizations.len());
                tree.kustomizations.push(kustomization);
            }
        }
        if tree.kustomizations.is_empty() {
            return tree;
        }
        tree.add_targets();
        let mut uses = HashMap::new();
        let entries = tree.kustomizations.iter();
        tree.entries = entries
            .map(|kustomization| tree.entries_of(kustomization, &mut uses))
            .collect();
        tree
    }

    fn add_targets(&mut self) {
        for (index, source) in self.sources.iter().enumerate() {
            for (kind, name) in objects_of(source).map(name_of) {
                for target in Target::all_of(kind, name) {
                    let next = self.numbers.len();
                    let number = *self.numbers.entry(target).or_insert(next);
                    if number == self.of_target.len() {
                        self.of_target.push(Vec::new());
                    }
                    let sources = self.of_target.get_mut(number);
                    if let Some(sources) = sources.filter(|sources| sources.last() != Some(&index)) {
                        sources.push(index);
                    }
                }
            }
        }
        let patches = self.kustomizations.iter();
        let patches = patches.flat_map(|kustomization| &kustomization.patches);
        for source in patches.filter_map(|patch| self.files.get(patch.file.as_ref()?)) {
            self.patches.entry(*source).or_insert_with(|| {
                let documents = self
                    .sources
                    .get(*source)
                    .map(|source| source.documents.as_slice());
                let documents = documents.unwrap_or_default().iter();
                documents
                    .map(|document| (Target::of_object(document), is_whole(document)))
                    .collect()
            });
        }
    }

    /// The files with an object of a target.
    fn with(&self, target: usize) -> &[usize] {
        self.of_target.get(target).map(Vec::as_slice).unwrap_or_default()
    }

    fn is_built(&self, target: usize, walk: &mut Walk, steps: &mut Steps) -> Option<bool> {
        if let Some(is_built) = walk.built.get(&target) {
            return Some(*is_built);
        }
        let sources = self.with(target);
        steps.take(sources.len())?;
        let is_built = sources.iter().any(|source| walk.sources.contains(source));
        walk.built.insert(target, is_built);
        Some(is_built)
    }

    /// Follows resources and components. `None` if one of them or a patch does not exist or is refused: then Kustomize
    /// builds nothing; or if there are no steps left.
    ///
    /// * `is_patched`: whether the patches are for the whole build.
    fn build(
        &self,
        index: usize,
        is_patched: bool,
        walk: &mut Walk,
        steps: &mut Steps,
        depth: usize,
    ) -> Option<()> {
        let kustomization = self.kustomizations.get(index)?;
        let entries = self.entries.get(index)?.as_ref()?;
        if depth > DEEPEST {
            return None;
        }
        match walk.seen.get(&index) {
            Some(true) => return Some(()),
            Some(false) => return None,
            None => walk.seen.insert(index, false),
        };
        if is_patched {
            walk.patched.push(index);
        }
        walk.is_open |= kustomization.has_generators;
        for entry in entries {
            steps.take(1)?;
            match entry {
                Entry::File(source) => drop(walk.sources.insert(*source)),
                Entry::Kustomization { index, is_component } => {
                    self.build(*index, is_patched && *is_component, walk, steps, depth + 1)?;
                }
                Entry::Open(folder) => {
                    walk.is_open = true;
                    let sources = self.beside.get(folder).map(Vec::as_slice).unwrap_or_default();
                    steps.take(sources.len())?;
                    walk.sources.extend(sources);
                }
            }
        }
        walk.seen.insert(index, true);
        Some(())
    }

    fn entries_of(
        &self,
        kustomization: &Kustomization,
        uses: &mut HashMap<PathBuf, Use>,
    ) -> Option<Vec<Entry>> {
        let folder = &kustomization.folder;
        let mut names = NAMES.iter().filter(|name| folder.join(name).is_file());
        if !kustomization.is_valid || names.nth(1).is_some() {
            return None;
        }
        let mut patches = kustomization.patches.iter();
        if !patches.all(|patch| self.is_usable(folder, patch, uses)) {
            return None;
        }
        let resources = kustomization.resources.iter().map(|path| (path, false));
        let components = kustomization.components.iter().map(|path| (path, true));
        let (mut files, mut built) = (HashSet::new(), HashSet::new());
        let entries = resources.chain(components).map(|(path, is_component)| {
            let entry = self.entry(folder, path, is_component)?;
            // No object can be there twice.
            let is_twice = match entry {
                Entry::File(file) => !files.insert(file),
                Entry::Kustomization { index, .. } => !is_component && !built.insert(index),
                Entry::Open(_) => false,
            };
            (!is_twice).then_some(entry)
        });
        entries.collect()
    }

    fn entry(&self, folder: &Path, path: &str, is_component: bool) -> Option<Entry> {
        let whole = normal(&folder.join(path));
        if let Some(index) = self.folders.get(&whole) {
            let kind = self.kustomizations.get(*index)?.is_component;
            let index = *index;
            return (kind == is_component).then_some(Entry::Kustomization { index, is_component });
        }
        let file = self.files.get(&whole);
        let is_file = file.is_some() || whole.is_file();
        if is_file && !is_within(folder, &whole) {
            return None;
        }
        if let Some(file) = file {
            return Some(Entry::File(*file));
        }
        let is_open = is_file
            || path.contains("://")
            || path.contains("?ref=")
            || path.starts_with("git@")
            || NAMES.iter().any(|name| whole.join(name).is_file());
        is_open.then_some(Entry::Open(whole))
    }

    fn is_usable(&self, folder: &Path, patch: &Patch, uses: &mut HashMap<PathBuf, Use>) -> bool {
        let least = if patch.targets.is_empty() {
            Use::Alone
        } else {
            Use::WithTarget
        };
        let Some(file) = &patch.file else {
            return patch.is_usable;
        };
        if !patch.is_usable || !is_within(folder, file) {
            return false;
        }
        let known = self.files.get(file).and_then(|source| self.sources.get(*source));
        let real = match known {
            Some(_) => Some(file.clone()),
            // A link can lead to any file of the machine, also to one that blocks.
            None => { file.canonicalize().ok() }
                .filter(|real| folder_of(folder).is_ok_and(|folder| real.starts_with(folder))),
        };
        real.is_some_and(|real| {
            let found = *uses.entry(real).or_insert_with_key(|real| match known {
                Some(source) => Use::of(&source.documents),
                // Only the files with a known ending are read before, and only in the named folders.
                None => source::read_file(real, &mut Vec::new())
                    .map_or(Use::Nothing, |source| Use::of(&source.documents)),
            });
            found >= least
        })
    }
}

impl Kustomization {
    fn of(source: usize, folder: PathBuf, value: &Value) -> Self {
        let list = |name: &str| value.get(name).map(Value::items).unwrap_or_default();
        let texts = |name: &str| list(name).iter().filter_map(Value::text).map(str::to_owned);
        let patches = list("patches")
            .iter()
            .chain(list("patchesStrategicMerge"))
            .chain(list("patchesJson6902"));
        let mut read = HashMap::new();
        let patches = patches.map(|patch| Patch::of(&folder, patch, &mut read));
        let mut patches: Vec<Patch> = patches.collect();
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
            source,
            folder,
            is_valid: is_valid(value),
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
    /// * `read`: the objects in patches that are in the kustomization; aliases repeat them.
    fn of<'a>(folder: &Path, patch: &'a Value, read: &mut HashMap<&'a str, Vec<Value>>) -> Self {
        // An entry of `patchesStrategicMerge` is a file or the patch itself.
        let own = patch.text();
        let is_inline = |text: &&str| text.contains('\n') || text.starts_with('{');
        let inline = { patch.get("patch").and_then(Value::text) }.or(own.filter(is_inline));
        let file = { patch.get("path").and_then(Value::text) }.or(own.filter(|text| !is_inline(text)));
        let objects = inline.map(|text| {
            let objects = read.entry(text);
            &*objects.or_insert_with(|| yaml::read(text).unwrap_or_default())
        });
        let target = patch.get("target");
        let targets = match (target, objects) {
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
                Some(objects) => Use::of(objects) >= least,
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

/// The kustomization of a file. Kustomize reads the first document of a file with one of three names.
fn kustomization_of(source: &Source) -> Option<&Value> {
    let document = source.documents.first();
    document.filter(|_| is_kustomization(&source.path))
}

/// Whether kind and version are those of a kustomization, which need not name them; that of Flux has another version.
fn is_valid(kustomization: &Value) -> bool {
    let text = |name: &str| kustomization.get(name).map(Value::text);
    let is_own = |version: Option<&str>| version.is_some_and(|it| it.starts_with("kustomize.config.k8s.io/"));
    text("apiVersion").is_none_or(is_own)
        && text("kind").is_none_or(|kind| matches!(kind, Some("Kustomization" | "Component")))
}

/// Whether Kustomize looks for a kustomization in a file of this name.
pub(super) fn is_kustomization(file: &Path) -> bool {
    NAMES
        .iter()
        .any(|name| file.file_name().is_some_and(|file| file == *name))
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

/// The real path of a folder.
fn folder_of(folder: &Path) -> io::Result<PathBuf> {
    let folder = Some(folder).filter(|folder| !folder.as_os_str().is_empty());
    folder.unwrap_or(Path::new(".")).canonicalize()
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

/// For all kustomizations; a few seconds at most. A large repository takes some ten thousand.
const MOST_STEPS: usize = 2_000_000;

/// Kustomize builds a folder only if one of them is in it; those that are not among the files are not read.
const NAMES: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];
