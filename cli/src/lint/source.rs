use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::terraform::kubernetes;
use super::value::{Kind, Value};
use super::{bicep, terraform, yaml};
use crate::{Failure, escape};

/// A file that was read, or standard input.
pub(super) struct Source {
    pub(super) path: String,
    pub(super) text: String,
    /// Where its lines begin, in bytes.
    lines: Vec<usize>,
    pub(super) documents: Vec<Value>,
    pub(super) resources: Vec<terraform::Resource>,
    /// The local values of a file of Terraform.
    locals: Vec<(String, Kind)>,
    /// Where the names of its resources are known: in Terraform the folder, in Bicep the file.
    pub(super) module: PathBuf,
    /// Whether it is an object of a cluster, which a command can change.
    pub(super) is_live: bool,
    /// What could not be read of it.
    pub(super) note: Option<String>,
}

impl Source {
    /// The line of a place, counted from 0.
    pub(super) fn line_of(&self, place: usize) -> usize {
        let before = self.lines.partition_point(|start| *start <= place);
        before.saturating_sub(1)
    }

    /// Where a line begins, in bytes.
    pub(super) fn start_of(&self, line: usize) -> usize {
        self.lines.get(line).copied().unwrap_or(self.text.len())
    }

    /// A line without its end.
    pub(super) fn line(&self, line: usize) -> &str {
        let text = self.text.get(self.start_of(line)..self.start_of(line + 1));
        text.unwrap_or_default().trim_end_matches(['\r', '\n'])
    }
}

/// Reads files, folders (those with a known ending) and `-`, standard input.
///
/// A file of a folder that cannot be parsed is left out, and the second list says why. One that was named must be
/// readable: its mistakes would go unseen.
pub(super) fn read(paths: &[PathBuf]) -> Result<(Vec<Source>, Vec<String>), Failure> {
    let (mut sources, mut notes) = (Vec::new(), Vec::new());
    let mut seen = HashSet::new();
    let mut is_new = |path: &Path| seen.insert(path.canonicalize().unwrap_or_else(|_| path.to_owned()));
    for path in paths {
        if path.as_os_str() == "-" {
            let mut bytes = Vec::new();
            io::stdin().read_to_end(&mut bytes)?;
            // The program before the pipe has probably failed.
            if bytes.trim_ascii().is_empty() {
                return Err("<stdin>: there is nothing to read".into());
            }
            sources.push(parse("<stdin>".to_owned(), bytes)?);
            continue;
        }
        let failed = |error: io::Error| format!("{}: {error}", escape::path(path));
        if !path.is_dir() && !is_new(path) {
            continue;
        }
        if !path.is_dir() {
            let bytes = fs::read(path).map_err(failed)?;
            sources.push(parse(path.display().to_string(), bytes)?);
            continue;
        }
        let mut files = Vec::new();
        walk(path, &mut files).map_err(failed)?;
        if files.is_empty() {
            notes.push(format!("{}: there is nothing to read", escape::path(path)));
        }
        for file in files.into_iter().filter(|file| is_new(file)) {
            let bytes = fs::read(&file).map_err(|error| format!("{}: {error}", escape::path(&file)))?;
            match parse(file.display().to_string(), bytes) {
                Ok(source) => sources.push(source),
                Err(reason) => notes.push(reason),
            }
        }
    }
    resolve_locals(&mut sources);
    for source in &mut sources {
        let objects = source.resources.iter().filter_map(kubernetes::object);
        source.documents.extend(objects);
    }
    notes.extend(sources.iter().filter_map(|source| source.note.clone()));
    Ok((sources, notes))
}

/// A local value is known in all files of its module.
fn resolve_locals(sources: &mut [Source]) {
    let mut of_modules: HashMap<PathBuf, Vec<(String, Kind)>> = HashMap::new();
    for source in sources.iter_mut().filter(|source| !source.locals.is_empty()) {
        let locals = of_modules.entry(source.module.clone()).or_default();
        locals.append(&mut source.locals);
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
    Ok(Source {
        path: name.to_owned(),
        lines: lines(&text),
        text,
        documents,
        resources: Vec::new(),
        locals: Vec::new(),
        module: PathBuf::new(),
        is_live: true,
        note: None,
    })
}

/// Finds the files with a known ending; not in hidden folders, and not through links.
fn walk(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    let entries: io::Result<Vec<_>> = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect();
    let mut entries = entries?;
    entries.sort();
    for entry in entries {
        let name = entry.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with('.') || entry.is_symlink() {
            continue;
        }
        if entry.is_dir() {
            walk(&entry, files)?;
        } else if ["yaml", "yml", "tf", "tofu", "bicep"]
            .iter()
            .any(|ending| has_ending(&entry, ending))
        {
            files.push(entry);
        }
    }
    Ok(())
}

/// Parses a file; the error names it and the reason.
fn parse(path: String, bytes: Vec<u8>) -> Result<Source, String> {
    let text = String::from_utf8(bytes).map_err(|_| format!("{path}: not read: it is not UTF-8"))?;
    let unreadable = |reason| format!("{path}: not read: {reason}");
    let (mut documents, mut resources, mut locals) = (Vec::new(), Vec::new(), Vec::new());
    let mut module = PathBuf::from(&path);
    let mut note = None;
    if ["tf", "tofu"]
        .iter()
        .any(|ending| has_ending(Path::new(&path), ending))
    {
        let read = terraform::read(&text).map_err(unreadable)?;
        (resources, locals) = (read.resources, read.locals);
        module.pop();
    } else if has_ending(Path::new(&path), "bicep") {
        let (found, problem) = bicep::read(&text).map_err(unreadable)?;
        resources = found;
        note = problem.map(|problem| format!("{path}: read in part: {problem}"));
    } else {
        documents = match yaml::read(&text) {
            Ok(documents) if !documents.iter().any(is_template) => documents,
            Err(reason) if !text.contains("{{") => return Err(unreadable(reason)),
            _ => return Err(unreadable(TEMPLATE.to_owned())),
        };
    }
    Ok(Source {
        path,
        lines: lines(&text),
        text,
        documents,
        resources,
        locals,
        module,
        is_live: false,
        note,
    })
}

fn lines(text: &str) -> Vec<usize> {
    let ends = text.match_indices('\n').map(|(end, _)| end + 1);
    [0].into_iter().chain(ends).collect()
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

const TEMPLATE: &str = "it is a template; pipe the output of `helm template` here";
