//! Lint in a repository of strangers: nothing outside the tree is written, and no text of theirs acts on a terminal or
//! on a CI system, or hides a finding.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "tests"
)]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

const FORMATS: [&str; 4] = ["text", "json", "sarif", "github"];

#[cfg(unix)]
mod files {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use super::*;

    #[test]
    fn fix_of_a_name_that_is_not_utf8_leaves_other_files_alone() {
        let (folder, outside) = (folder(), folder());
        let target = outside.path().join("bashrc");
        fs::write(&target, "original").unwrap();
        symlink(&target, folder.path().join("a\u{fffd}.yaml")).unwrap();
        symlink(&target, folder.path().join(r"a\xff.yaml")).unwrap();
        let file = folder.path().join(OsStr::from_bytes(b"a\xff.yaml"));
        fs::write(&file, fixable()).unwrap();
        let output = lint(folder.path(), &["--fix", "."]);
        assert!(output.status.success(), "{}", text(&output));
        assert_eq!(fs::read_to_string(&target).unwrap(), "original");
        assert_ne!(fs::read_to_string(&file).unwrap(), fixable());
    }

    #[test]
    fn fix_writes_no_file_if_one_of_them_is_a_link() {
        for is_hard in [false, true] {
            let (folder, outside) = (folder(), folder());
            let target = outside.path().join("target.yaml");
            fs::write(&target, fixable()).unwrap();
            let (first, link) = (folder.path().join("a.yaml"), folder.path().join("b.yaml"));
            fs::write(&first, fixable()).unwrap();
            if is_hard {
                fs::hard_link(&target, &link).unwrap();
            } else {
                symlink(&target, &link).unwrap();
            }
            let output = lint(folder.path(), &["--fix", "a.yaml", "b.yaml"]);
            assert_eq!(output.status.code(), Some(64));
            assert!(
                text(&output).contains("b.yaml: no file changed: "),
                "{}",
                text(&output)
            );
            for file in [&target, &first] {
                assert_eq!(fs::read_to_string(file).unwrap(), fixable());
            }
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
        }
    }

    #[test]
    fn fix_replaces_the_file_and_keeps_its_mode() {
        let folder = folder();
        let file = folder.path().join("a.yaml");
        fs::write(&file, fixable()).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        let before = fs::metadata(&file).unwrap();
        assert!(lint(folder.path(), &["--fix", "."]).status.success());
        let after = fs::metadata(&file).unwrap();
        assert_ne!(before.ino(), after.ino());
        assert_eq!((before.mode(), before.uid()), (after.mode(), after.uid()));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn pipe_in_a_folder_is_noted_and_a_named_one_is_an_error() {
        let folder = folder();
        let status = Command::new("mkfifo").arg(folder.path().join("a.yaml")).status();
        assert!(status.unwrap().success());
        fs::write(folder.path().join("b.yaml"), bad()).unwrap();
        let output = lint(folder.path(), &["."]);
        assert_eq!(output.status.code(), Some(1));
        assert!(
            text(&output).contains("a.yaml: not read: not a regular file"),
            "{}",
            text(&output)
        );
        assert_eq!(lint(folder.path(), &["a.yaml"]).status.code(), Some(64));
    }

    /// File names with control characters, logging commands and bytes that are not UTF-8.
    #[test]
    fn hostile_file_names_are_escaped_in_every_format() {
        let folder = folder();
        for (index, part) in HOSTILE.iter().enumerate() {
            fs::write(folder.path().join(format!("{index}{part}.yaml")), bad()).unwrap();
            fs::write(folder.path().join(format!("{part}{index}broken.yaml")), "a: [").unwrap();
        }
        fs::write(folder.path().join(OsStr::from_bytes(b"\xff\x9b\x1b.yaml")), bad()).unwrap();
        for format in FORMATS {
            let output = lint(folder.path(), &["--format", format, "."]);
            assert_eq!(output.status.code(), Some(1));
            assert_safe(&output, format);
        }
    }

    #[test]
    fn sarif_paths_are_relative_uris_in_percent_encoding() {
        let folder = folder();
        fs::create_dir(folder.path().join("in")).unwrap();
        let names: [(&[u8], &str); 3] = [
            (b"c:d.yaml", "c%3Ad.yaml"),
            (b"a b#%.yaml", "a%20b%23%25.yaml"),
            (b"\xff.yaml", "%FF.yaml"),
        ];
        let own = folder.path().canonicalize().unwrap();
        for (name, uri) in names {
            let name = Path::new(OsStr::from_bytes(name));
            fs::write(own.join("in").join(name), bad()).unwrap();
            let absolute = own.join("in").join(name);
            for path in [
                Path::new("in").join(name),
                Path::new("in/../in").join(name),
                absolute,
            ] {
                let output = command(&own)
                    .args(["--format", "sarif"])
                    .arg(path)
                    .output()
                    .unwrap();
                let location = &sarif(&output)["results"][0]["locations"][0]["physicalLocation"];
                assert_eq!(location["artifactLocation"]["uri"], format!("in/{uri}"));
            }
        }
        let output = lint(&own.join("in"), &["--format", "sarif", "../in/../in/c:d.yaml"]);
        let location = &sarif(&output)["results"][0]["locations"][0]["physicalLocation"];
        assert_eq!(location["artifactLocation"]["uri"], "c%3Ad.yaml");
        let outside = super::folder();
        let path = own.join("in/c:d.yaml");
        let output = lint(outside.path(), &["--format", "sarif", path.to_str().unwrap()]);
        let location = &sarif(&output)["results"][0]["locations"][0]["physicalLocation"];
        let uri = location["artifactLocation"]["uri"].as_str().unwrap();
        assert!(
            uri.starts_with("file:///") && uri.ends_with("/in/c%3Ad.yaml"),
            "{uri}"
        );
    }
}

/// Decoded values of YAML come into messages: the namespace of EW605, and the annotation of EW612.
#[test]
fn hostile_values_are_escaped_in_every_format() {
    let fixture = |code: &str| fs::read_to_string(fixtures().join(code).join("bad.yaml")).unwrap();
    let json = |text: &str| serde_json::to_string(text).unwrap();
    for part in HOSTILE {
        let client = "azure.workload.identity/client-id: ";
        let (before, rest) = fixture("EW612").split_once(client).map(owned).unwrap();
        let (_, after) = rest.split_once('\n').unwrap();
        let of_annotation = format!("{before}{client}{}\n{after}", json(part));
        let (before, after) = fixture("EW605").split_once("namespace: ").map(owned).unwrap();
        let (_, after) = after.split_once('\n').unwrap();
        let of_namespace = format!("{before}namespace: {}\n{after}", json(part));
        for (code, manifest) in [("EW612", of_annotation), ("EW605", of_namespace)] {
            for format in FORMATS {
                let output = with_input(&["--format", format], &manifest);
                assert!(text(&output).contains(code), "{code} {format}: {}", text(&output));
                assert_safe(&output, format);
            }
        }
    }
}

/// The line of a finding is shown as it is in the file.
#[test]
fn hostile_characters_of_a_shown_line_are_escaped() {
    for part in HOSTILE
        .iter()
        .filter(|part| !part.contains(['\n', '\r', '\u{7}', '\u{1b}', '\u{feff}']))
    {
        let manifest = bad().replace("\"true\"\nspec", &format!("\"true\" # {part}\nspec"));
        let output = with_input(&[], &manifest);
        assert!(text(&output).contains("EW601"), "{}", text(&output));
        assert_safe(&output, "text");
    }
}

#[test]
fn messages_of_github_encode_percent_signs_and_properties() {
    let folder = folder();
    let name = "a%0A,line=9::b.yaml";
    fs::write(folder.path().join(name), bad()).unwrap();
    let shown = text(&lint(folder.path(), &["--format", "github", "."]));
    assert!(shown.contains("a%250A%2Cline=9%3A%3Ab.yaml,line="), "{shown}");
    assert_eq!(shown.matches("::").count(), 2, "{shown}");
}

#[test]
fn wrong_arguments_are_escaped() {
    for part in HOSTILE.iter().filter(|part| !part.contains('\0')) {
        let output = lint(Path::new("."), &["--format", part]);
        assert_eq!(output.status.code(), Some(64));
        assert_safe(&output, "text");
    }
}

/// Each is in the output of every format, if it is not escaped.
const HOSTILE: [&str; 14] = [
    "\n::stop-commands::x",
    "\r::add-mask::x",
    "::error::x",
    "##[error]x",
    "##vso[task.setvariable variable=a]x",
    "\u{1b}]52;c;cGxhbnRlZA==\u{7}",
    "\u{1b}[2J",
    "\u{9b}2J",
    "\u{85}::warning::x",
    "\u{202e}dlrow",
    "\u{2066}a\u{2069}",
    "a\u{200b}\u{200d}\u{feff}b",
    "\u{2028}::debug::x",
    "\u{e0041}\u{3164}\u{ad}",
];

/// Only what the format itself writes may be a control character or a logging command.
#[track_caller]
fn assert_safe(output: &Output, format: &str) {
    for stream in [&output.stdout, &output.stderr] {
        let shown = std::str::from_utf8(stream).expect("output is UTF-8");
        let is_unsafe = |c: char| {
            c.is_control() && c != '\n'
                || matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
                || matches!(c, '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{3164}' | '\u{e0000}'..)
        };
        assert!(!shown.contains(is_unsafe), "{format}: {shown:?}");
        assert!(!shown.contains("##["), "{format}: {shown}");
        assert!(!shown.contains("##vso["), "{format}: {shown}");
        for line in shown.lines().filter(|line| line.trim_start().starts_with("::")) {
            let is_own = ["error", "warning", "notice"]
                .iter()
                .any(|kind| line.starts_with(&format!("::{kind} file=")));
            assert!(format == "github" && is_own, "{format}: {line}");
        }
    }
}

fn owned((one, other): (&str, &str)) -> (String, String) {
    (one.to_owned(), other.to_owned())
}

/// A manifest with one error.
fn bad() -> String {
    fs::read_to_string(fixtures().join("EW601/bad.yaml")).unwrap()
}

/// A manifest whose error has a safe fix.
fn fixable() -> String {
    fs::read_to_string(fixtures().join("EW603/bad.yaml")).unwrap()
}

fn sarif(output: &Output) -> Value {
    let log: Value = serde_json::from_slice(&output.stdout).expect("stdout is a log");
    log["runs"][0].clone()
}

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn lint(folder: &Path, arguments: &[&str]) -> Output {
    command(folder).args(arguments).output().unwrap()
}

fn with_input(arguments: &[&str], input: &str) -> Output {
    let mut child = command(Path::new("."))
        .args(arguments)
        .arg("-")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn command(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_entra-workload"));
    command.current_dir(folder).arg("lint");
    command
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lint")
}
