use std::collections::{HashMap, HashSet};
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::kustomize::is_kustomization;
use super::suppression::Comment;
use super::terraform::kubernetes;
use super::value::{Kind, Value};
use super::{bicep, terraform, yaml};
use crate::{Failure, escape};

/// A file that was read, standard input, or an object of a cluster.
pub(super) struct Source {
    pub(super) origin: Origin,
    /// Of an object of a cluster, or of standard input, a name.
    pub(super) path: PathBuf,
    pub(super) text: String,
    /// Where its lines begin, in bytes.
    lines: Vec<usize>,
    /// The number of characters before each block of bytes.
    chars: Vec<usize>,
    pub(super) documents: Vec<Value>,
    pub(super) resources: Vec<terraform::Resource>,
    /// The local values of a file of Terraform.
    locals: Vec<(String, Kind)>,
    /// Where the names of its resources are known: in Terraform the folder, in Bicep the file.
    pub(super) module: PathBuf,
    /// Comments that suppress findings.
    pub(super) comments: Vec<Comment>,
    /// Where its objects, blocks and resources are, in order and without overlap.
    pub(super) objects: Vec<Range<usize>>,
}

/// Where a source comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    File,
    StandardInput,
    /// A command can change it.
    Cluster,
}

/// What lint did not do, and why.
#[derive(Debug)]
pub(super) struct Note {
    pub(super) path: PathBuf,
    /// Counted from 1.
    pub(super) line: Option<usize>,
    pub(super) text: String,
}

impl Note {
    pub(super) fn new(path: &Path, text: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            line: None,
            text: text.into(),
        }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = escape::path(&self.path);
        match self.line {
            Some(line) => write!(f, "{path}:{line}: {}", self.text),
            None => write!(f, "{path}: {}", self.text),
        }
    }
}

impl Source {
    fn new(origin: Origin, path: PathBuf, text: String) -> Self {
        let ends = text.match_indices('\n').map(|(end, _)| end + 1);
        let lines = [0].into_iter().chain(ends).collect();
        let blocks = text.as_bytes().chunks(BLOCK);
        let chars = blocks.scan(0, |before, block| {
            let start = *before;
            *before += count_chars(block);
            Some(start)
        });
        Self {
            origin,
            lines,
            chars: chars.collect(),
            documents: Vec::new(),
            resources: Vec::new(),
            locals: Vec::new(),
            module: path.clone(),
            comments: Vec::new(),
            objects: Vec::new(),
            path,
            text,
        }
    }

    /// The line of a place, counted from 0.
    pub(super) fn line_of(&self, place: usize) -> usize {
        let before = self.lines.partition_point(|start| *start <= place);
        before.saturating_sub(1)
    }

    /// The column of a place in characters, counted from 0.
    pub(super) fn column_of(&self, place: usize) -> usize {
        let before = |place: usize| {
            let (block, start) = (place / BLOCK, place / BLOCK * BLOCK);
            let rest = self.text.as_bytes().get(start..place).unwrap_or_default();
            self.chars.get(block).copied().unwrap_or_default() + count_chars(rest)
        };
        before(place) - before(self.start_of(self.line_of(place)))
    }

    /// Where a line begins, in bytes.
    pub(super) fn start_of(&self, line: usize) -> usize {
        self.lines.get(line).copied().unwrap_or(self.text.len())
    }

    /// A line without its end.
    pub(super) fn line(&self, line: usize) -> &str {
        let text = self.text.get(self.start_of(line)..self.start_of(line + 1));
        let text = text.unwrap_or_default();
        let text = text.strip_suffix('\n').unwrap_or(text);
        text.strip_suffix('\r').unwrap_or(text)
    }
}

/// Reads files, folders (those with a known ending) and `-`, standard input.
///
/// A file of a folder that cannot be read is left out, and a note says why. A named file must be readable, or its
/// mistakes would not be seen.
pub(super) fn read(paths: &[PathBuf]) -> Result<(Vec<Source>, Vec<Note>), Note> {
    let (mut sources, mut notes) = (Vec::new(), Vec::new());
    let mut seen = HashSet::new();
    let mut is_new = |path: &Path| seen.insert(path.canonicalize().unwrap_or_else(|_| path.to_owned()));
    for path in paths {
        if path.as_os_str() == "-" {
            sources.push(read_input(&mut notes).map_err(|reason| Note::new(Path::new(INPUT), reason))?);
        } else if path.is_dir() {
            let mut files = Vec::new();
            walk(path, &mut files, &mut notes).map_err(|error| Note::new(path, error.to_string()))?;
            if files.is_empty() {
                notes.push(Note::new(path, "there is nothing to read"));
            }
            for file in files.into_iter().filter(|file| is_new(file)) {
                match read_file(&file, &mut notes) {
                    Ok(source) => sources.push(source),
                    Err(reason) => notes.push(Note::new(&file, reason)),
                }
            }
        } else if is_new(path) {
            let source = read_file(path, &mut notes);
            sources.push(source.map_err(|reason| Note::new(path, reason))?);
        }
    }
    resolve_locals(&mut sources);
    for source in &mut sources {
        let objects = source.resources.iter().filter_map(kubernetes::object);
        source.documents.extend(objects);
    }
    Ok((sources, notes))
}

fn read_input(notes: &mut Vec<Note>) -> Result<Source, String> {
    let bytes = read_all(io::stdin().lock())?;
    // The program before the pipe has probably failed.
    if bytes.trim_ascii().is_empty() {
        return Err("there is nothing to read".to_owned());
    }
    parse(Origin::StandardInput, PathBuf::from(INPUT), bytes, notes)
}

/// Opens regular files only: another one can block or have no end.
pub(super) fn read_file(path: &Path, notes: &mut Vec<Note>) -> Result<Source, String> {
    let metadata = fs::metadata(path).map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(unreadable("not a regular file"));
    }
    let bytes = read_all(File::open(path).map_err(unreadable)?)?;
    parse(Origin::File, path.to_owned(), bytes, notes)
}

fn read_all(input: impl Read) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut input = input.take(MAX_BYTES + 1);
    let length = input.read_to_end(&mut bytes).map_err(unreadable)?;
    if length as u64 > MAX_BYTES {
        return Err(unreadable("larger than 10 MB"));
    }
    Ok(bytes)
}

fn unreadable(reason: impl fmt::Display) -> String {
    format!("not read: {reason}")
}

/// A local value is known in all files of its module.
fn resolve_locals(sources: &mut [Source]) {
    let mut of_modules: HashMap<PathBuf, HashMap<String, Kind>> = HashMap::new();
    for source in sources.iter_mut().filter(|source| !source.locals.is_empty()) {
        let locals = of_modules.entry(source.module.clone()).or_default();
        locals.extend(source.locals.drain(..));
    }
    for source in sources {
        if let Some(locals) = of_modules.get(&source.module) {
            let resources = source.resources.iter_mut();
            resources.for_each(|resource| resource.resolve(locals));
        }
    }
}

/// An object of a cluster. JSON is YAML, too.
pub(super) fn of_object(name: &str, object: &serde_json::Value) -> Result<Source, Failure> {
    let text = serde_json::to_string_pretty(object)?;
    let documents = yaml::read(&text)?;
    let source = Source::new(Origin::Cluster, PathBuf::from(name), text);
    Ok(Source { documents, ..source })
}

/// Finds the files with a known ending or name; not in hidden folders, and not through links.
fn walk(folder: &Path, files: &mut Vec<PathBuf>, notes: &mut Vec<Note>) -> io::Result<()> {
    let entries: io::Result<Vec<_>> = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect();
    let mut entries = entries?;
    entries.sort();
    for entry in entries {
        let name = entry.file_name().unwrap_or_default().as_encoded_bytes();
        if name.starts_with(b".") || entry.is_symlink() {
            continue;
        }
        if entry.is_dir() {
            if let Err(error) = walk(&entry, files, notes) {
                notes.push(Note::new(&entry, unreadable(error)));
            }
        } else if is_kustomization(&entry) || ENDINGS.iter().any(|ending| has_ending(&entry, ending)) {
            files.push(entry);
        }
    }
    Ok(())
}

/// Parses a file; the error is the reason.
fn parse(origin: Origin, path: PathBuf, bytes: Vec<u8>, notes: &mut Vec<Note>) -> Result<Source, String> {
    let text = String::from_utf8(bytes).map_err(|_| unreadable("it is not UTF-8"))?;
    let mut source = Source::new(origin, path, text);
    let text = source.text.as_str();
    if ["tf", "tofu"]
        .iter()
        .any(|ending| has_ending(&source.path, ending))
    {
        let read = terraform::read(text).map_err(unreadable)?;
        source.comments = Comment::find(text, &["#", "//", "/*"], &read.literals);
        (source.resources, source.locals, source.objects) = (read.resources, read.locals, read.blocks);
        source.module.pop();
    } else if has_ending(&source.path, "bicep") {
        let read = bicep::read(text).map_err(unreadable)?;
        source.comments = Comment::find(text, &["//", "/*"], &read.literals);
        (source.resources, source.objects) = (read.resources, read.declarations);
        if let Some(problem) = read.problem {
            notes.push(Note::new(&source.path, format!("read in part: {problem}")));
        }
    } else {
        source.documents = match yaml::read(text) {
            Ok(documents) if !documents.iter().any(is_template) => documents,
            Err(reason) if !text.contains("{{") => return Err(unreadable(reason)),
            _ => return Err(unreadable(TEMPLATE)),
        };
        if text.contains(Comment::MARK) {
            source.comments = Comment::find(text, &["#"], &yaml::scalars(text));
        }
        source.objects = objects(&source.documents);
    }
    Ok(source)
}

/// The places of the objects in documents and lists.
fn objects(documents: &[Value]) -> Vec<Range<usize>> {
    let mut objects = Vec::new();
    for document in documents {
        match document.get("items").map(Value::items) {
            Some(items) if !items.is_empty() => objects.extend(items.iter().map(|item| item.span.clone())),
            _ => objects.push(document.span.clone()),
        }
    }
    objects
}

fn count_chars(text: &[u8]) -> usize {
    let is_first = |byte: &&u8| **byte & 0xc0 != 0x80;
    text.iter().filter(is_first).count()
}

fn has_ending(path: &Path, ending: &str) -> bool {
    path.extension().is_some_and(|found| found == ending)
}

/// Whether there is an unquoted `{{ … }}`: to a parser, a map whose key is a map.
fn is_template(value: &Value) -> bool {
    let is_map = |key: &Value| !key.entries().is_empty();
    let mut entries = value.entries().iter();
    entries.any(|(key, item)| is_map(key) || is_template(item)) || value.items().iter().any(is_template)
}

const ENDINGS: [&str; 5] = ["yaml", "yml", "tf", "tofu", "bicep"];

/// The name of standard input in the output.
const INPUT: &str = "<stdin>";

/// Far larger than a manifest or a module; to read YAML takes up to a hundred times as much memory.
const MAX_BYTES: u64 = 10_000_000;

/// In bytes; small, because the characters of one block are counted for each place.
const BLOCK: usize = 1024;

const TEMPLATE: &str = "it is a template; pipe the output of `helm template` here";
