use std::fs::{self, File, Metadata};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tempfile::{Builder, NamedTempFile};

use super::Finding;
use super::source::{Note, Origin, Source};
use crate::escape;

/// Refuses named paths through a link: behind it can be any folder.
///
/// In an absolute path, they are also those of the machine, such as that of `/tmp`.
pub(super) fn refuse_links(paths: &[PathBuf]) -> Result<(), Note> {
    for path in paths.iter().filter(|path| path.is_relative()) {
        // A slash at the end would follow the link.
        let plain: PathBuf = path.components().collect();
        if let Some(link) = plain.ancestors().find(|part| part.is_symlink()) {
            let link = escape::path(link);
            let reason = format!("no file changed: {link} is a symbolic link; name its target");
            return Err(Note::new(path, reason));
        }
    }
    Ok(())
}

/// Applies the safe fixes to the files, and returns how many there were.
///
/// Either all files are changed or none: each new text is written beside its file first, then all are renamed.
pub(super) fn apply(sources: &[Source], findings: &[Finding]) -> Result<usize, Note> {
    let (mut count, mut replacements) = (0, Vec::new());
    for (index, source) in sources.iter().enumerate() {
        if source.origin != Origin::File {
            continue;
        }
        let (text, fixes) = fixed(index, &source.text, findings);
        if fixes > 0 {
            let refused = |error: io::Error| Note::new(&source.path, format!("no file changed: {error}"));
            let file = beside(&source.path, &text).map_err(refused)?;
            replacements.push((source, file));
            count += fixes;
        }
    }
    let mut changed: Vec<&Source> = Vec::new();
    for (source, file) in replacements {
        if let Err(failure) = file.persist(&source.path) {
            let mut restored = changed.iter().map(|source| restore(source));
            let state = match restored.find_map(Result::err) {
                None => "no file changed".to_owned(),
                Some(error) => format!("some files changed, and not all of them could be restored: {error}"),
            };
            return Err(Note::new(&source.path, format!("{state}: {}", failure.error)));
        }
        changed.push(source);
    }
    Ok(count)
}

/// The text of a file with its fixes, the last of the file first.
fn fixed(index: usize, text: &str, findings: &[Finding]) -> (String, usize) {
    let (mut text, mut count) = (text.to_owned(), 0);
    let mut end = text.len();
    let findings = findings.iter().rev();
    for Finding { problem, .. } in findings.filter(|finding| finding.problem.source == index) {
        let Some((span, mended)) = problem.mend.as_ref().filter(|(span, _)| span.end <= end) else {
            continue;
        };
        text.replace_range(span.clone(), mended);
        end = span.start;
        count += 1;
    }
    (text, count)
}

/// Writes a text into a temporary file in the folder of a file, with its owner and its permissions.
fn beside(path: &Path, text: &str) -> io::Result<NamedTempFile> {
    let metadata = fs::symlink_metadata(path)?;
    if !metadata.is_file() {
        return Err(io::Error::other("not a regular file, or a symbolic link"));
    }
    if has_other_names(&metadata) {
        return Err(io::Error::other("the file has several hard links"));
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let mut file = Builder::new()
        .prefix(".entra-workload-")
        .tempfile_in(folder.unwrap_or(Path::new(".")))?;
    file.write_all(text.as_bytes())?;
    keep_owner(file.as_file(), &metadata)?;
    file.as_file().set_permissions(metadata.permissions())?;
    file.as_file().sync_all()?;
    Ok(file)
}

fn restore(source: &Source) -> io::Result<()> {
    beside(&source.path, &source.text)?.persist(&source.path)?;
    Ok(())
}

#[cfg(unix)]
fn has_other_names(metadata: &Metadata) -> bool {
    std::os::unix::fs::MetadataExt::nlink(metadata) > 1
}

#[cfg(not(unix))]
fn has_other_names(_: &Metadata) -> bool {
    false
}

#[cfg(unix)]
fn keep_owner(file: &File, of: &Metadata) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt, fchown};

    let own = file.metadata()?;
    if (own.uid(), own.gid()) == (of.uid(), of.gid()) {
        return Ok(());
    }
    fchown(file, Some(of.uid()), Some(of.gid()))
}

#[cfg(not(unix))]
fn keep_owner(_: &File, _: &Metadata) -> io::Result<()> {
    Ok(())
}
