use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::value::Value;
use super::{terraform, yaml};
use crate::Failure;

/// A file that was read, or standard input.
pub(super) struct Source {
    pub(super) path: String,
    pub(super) text: String,
    pub(super) documents: Vec<Value>,
    pub(super) resources: Vec<terraform::Resource>,
}

/// Reads files, folders (those with a known ending) and `-`, standard input.
///
/// Files that cannot be parsed are left out; the second list says why.
pub(super) fn read(paths: &[PathBuf]) -> Result<(Vec<Source>, Vec<String>), Failure> {
    let (mut sources, mut notes) = (Vec::new(), Vec::new());
    let mut files = Vec::new();
    for path in paths {
        if path.as_os_str() == "-" {
            let mut text = String::new();
            io::stdin().read_to_string(&mut text)?;
            parse("<stdin>".to_owned(), text, false, &mut sources, &mut notes);
        } else {
            walk(path, true, &mut files).map_err(|error| format!("{}: {error}", path.display()))?;
        }
    }
    for file in files {
        let bytes = fs::read(&file).map_err(|error| format!("{}: {error}", file.display()))?;
        let path = file.display().to_string();
        match String::from_utf8(bytes) {
            Ok(text) => parse(path, text, ends_with(&file, &["tf"]), &mut sources, &mut notes),
            Err(_) => notes.push(format!("{path}: not read, it is not UTF-8")),
        }
    }
    Ok((sources, notes))
}

/// An object of a cluster. JSON is YAML, too.
pub(super) fn of_object(name: &str, object: &serde_json::Value) -> Result<Source, Failure> {
    let text = serde_json::to_string_pretty(object)?;
    let documents = yaml::read(&text)?;
    Ok(Source {
        path: name.to_owned(),
        text,
        documents,
        resources: Vec::new(),
    })
}

/// A file that was named is read whatever its ending.
fn walk(path: &Path, is_named: bool, files: &mut Vec<PathBuf>) -> io::Result<()> {
    if !path.is_dir() {
        if is_named || ends_with(path, &["yaml", "yml", "tf"]) {
            files.push(path.to_owned());
        }
        return Ok(());
    }
    let entries: io::Result<Vec<_>> = fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect();
    let mut entries = entries?;
    entries.sort();
    for entry in entries {
        let is_hidden = entry
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if !is_hidden && !entry.is_symlink() {
            walk(&entry, false, files)?;
        }
    }
    Ok(())
}

fn parse(path: String, text: String, is_terraform: bool, sources: &mut Vec<Source>, notes: &mut Vec<String>) {
    if !is_terraform && text.contains("{{") {
        notes.push(format!(
            "{path}: not read, it is a template; pipe the output of `helm template` here"
        ));
        return;
    }
    let parsed = if is_terraform {
        terraform::read(&text).map(|resources| (Vec::new(), resources))
    } else {
        yaml::read(&text).map(|documents| (documents, Vec::new()))
    };
    match parsed {
        Ok((documents, resources)) => sources.push(Source {
            path,
            text,
            documents,
            resources,
        }),
        Err(error) => notes.push(format!("{path}: not read: {error}")),
    }
}

fn ends_with(path: &Path, endings: &[&str]) -> bool {
    path.extension()
        .is_some_and(|found| endings.iter().any(|ending| found == *ending))
}
