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
    replace(replacements)?;
    Ok(count)
}

/// Replaces all files, or none if it fails.
fn replace(replacements: Vec<(&Source, NamedTempFile)>) -> Result<(), Note> {
    let mut changed: Vec<&Source> = Vec::new();
    for (source, file) in replacements {
        if let Err(failure) = file.persist(&source.path) {
            // All that can be restored are.
            let restored: Vec<_> = changed.iter().map(|source| restore(source)).collect();
            let state = match restored.into_iter().find_map(Result::err) {
                None => "no file changed".to_owned(),
                Some(error) => format!("some files changed, and not all of them could be restored: {error}"),
            };
            return Err(Note::new(&source.path, format!("{state}: {}", failure.error)));
        }
        changed.push(source);
    }
    Ok(())
}

/// The text of a file with its fixes, and how many there are. Of two in one place the last one counts.
///
/// * `findings`: in the order of files and places.
fn fixed(index: usize, text: &str, findings: &[Finding]) -> (String, usize) {
    let before = findings.partition_point(|finding| finding.problem.source < index);
    let findings = findings.get(before..).unwrap_or_default();
    let of_file = findings.partition_point(|finding| finding.problem.source == index);
    let findings = findings.get(..of_file).unwrap_or_default();
    let mut end = text.len() + 1;
    let mut fixes: Vec<_> = { findings.iter().rev() }
        .filter_map(|finding| finding.problem.fix.as_ref())
        .filter(|(span, _)| {
            let is_apart = span.end <= end && span.start < end;
            end = if is_apart { span.start } else { end };
            is_apart
        })
        .collect();
    fixes.reverse();
    let (mut whole, mut place) = (String::with_capacity(text.len()), 0);
    for (span, replacement) in &fixes {
        whole += text.get(place..span.start).unwrap_or_default();
        whole += replacement;
        place = span.end;
    }
    (whole + text.get(place..).unwrap_or_default(), fixes.len())
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
#[expect(clippy::unnecessary_wraps, reason = "as on Unix")]
fn keep_owner(_: &File, _: &Metadata) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::lint::source;

    /// A folder that comes in place of a file after its new text was written cannot be replaced.
    #[test]
    fn files_are_restored_if_a_later_one_cannot_be_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let names = ["a.yaml", "b.yaml", "c.yaml"];
        for name in names {
            fs::write(path(name), format!("{name}: old")).unwrap();
        }
        let (sources, _) = source::read(&names.map(path)).unwrap();
        let replacements = sources
            .iter()
            .map(|source| (source, beside(&source.path, "new").unwrap()))
            .collect();
        fs::remove_file(path("c.yaml")).unwrap();
        fs::create_dir(path("c.yaml")).unwrap();
        let note = replace(replacements).unwrap_err();
        assert!(note.text.starts_with("no file changed: "), "{note}");
        assert_eq!(note.path, path("c.yaml"));
        for name in ["a.yaml", "b.yaml"] {
            assert_eq!(fs::read_to_string(path(name)).unwrap(), format!("{name}: old"));
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
    }

    /// A file with a second name is not written; the one after it is restored all the same.
    #[cfg(unix)]
    #[test]
    fn file_that_cannot_be_restored_does_not_keep_others_from_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for name in ["a.yaml", "b.yaml", "c.yaml"] {
            fs::write(path(name), "old").unwrap();
        }
        let (sources, _) = source::read(&["a.yaml", "b.yaml", "c.yaml"].map(path)).unwrap();
        let replacements: Vec<_> = sources
            .iter()
            .map(|source| (source, beside(&source.path, "new").unwrap()))
            .collect();
        if let Some((_, file)) = replacements.first() {
            fs::hard_link(file.path(), path("another name")).unwrap();
        }
        fs::remove_file(path("c.yaml")).unwrap();
        fs::create_dir(path("c.yaml")).unwrap();
        let note = replace(replacements).unwrap_err();
        assert!(note.text.starts_with("some files changed, and not all"), "{note}");
        assert_eq!(fs::read_to_string(path("b.yaml")).unwrap(), "old");
    }
}
