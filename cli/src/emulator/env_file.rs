use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

use crate::{Failure, escape};

/// Writes the variables for a shell, Compose and dotenv, readable by its owner only: whoever has the URL of the admin API can
/// steer the emulator.
///
/// A rename replaces the file, so that neither a link is followed nor another process reads half of it.
pub(super) fn write<'a>(
    path: &Path,
    variables: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Result<(), Failure> {
    let named = |reason: &dyn std::fmt::Display| format!("{}: {reason}", escape::path(path));
    if path.symlink_metadata().is_ok_and(|found| !found.is_file()) {
        return Err(named(&"not a regular file; give --env-file a new path").into());
    }
    let text = text(variables)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let file = tempfile::Builder::new()
        .prefix(".entra-workload-")
        .tempfile_in(folder.unwrap_or(Path::new(".")));
    let mut file = file.map_err(|error| named(&error))?;
    file.write_all(text.as_bytes()).map_err(|error| named(&error))?;
    file.persist(path).map_err(|error| named(&error.error))?;
    Ok(())
}

/// A value has quotes unless no reader gives a meaning to its characters: `docker run --env-file` takes quotes for a part of it.
fn text<'a>(variables: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<String, Failure> {
    let mut text = String::new();
    for (name, value) in variables {
        if value.contains(char::is_control) {
            let reason = "has a control character, which a line of --env-file cannot hold";
            return Err(format!("the value of {name} {reason}").into());
        }
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "_./:@%+,=-".contains(c);
        let value = if value.chars().all(is_plain) {
            value.into()
        } else {
            shlex::try_quote(value)?
        };
        let _ = writeln!(text, "{name}={value}");
    }
    Ok(text)
}

#[cfg(all(test, unix))]
#[allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
    use std::process::Command;

    use super::*;

    #[test]
    fn shell_that_reads_the_file_gets_each_value_and_runs_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("azure.env");
        for value in [
            "http://127.0.0.1:1/a%20b@c,d=e+f",
            "$(touch run)",
            "`touch run`",
            "a;touch run",
            "a&touch run",
            "a|touch run>run",
            "a touch run",
            "it's 'a'",
            "'$(touch run)'",
            "\"$HOME\"",
            r"a\b\$c\\",
            "*",
            "~",
            "a:~/b",
            "#a #b",
            "{a,b}",
            "größe",
            "",
        ] {
            write(&file, [("NAME", value)]).unwrap();
            let script = "set -a; . ./azure.env; exec sh -c 'printf %s \"$NAME\"'";
            let mut shell = Command::new("sh");
            let output = shell.args(["-c", script]).current_dir(&folder).output().unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), value);
            assert!(!folder.path().join("run").exists(), "{value}");
        }
        let plain = text([("NAME", "http://127.0.0.1:1/")]).unwrap();
        assert_eq!(plain, "NAME=http://127.0.0.1:1/\n");
    }

    /// Readers of lines, such as `docker run --env-file`, would take the rest for another variable.
    #[test]
    fn value_with_a_line_break_is_refused() {
        for value in ["a\nLD_PRELOAD=b", "a\rb", "a\u{1b}b", "a\0b"] {
            let refused = text([("NAME", value)]);
            let shown = refused.unwrap_err().to_string();
            assert!(
                shown.starts_with("the value of NAME has a control character"),
                "{shown}"
            );
        }
    }

    #[test]
    fn file_is_replaced_and_readable_by_its_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let (file, other) = (folder.path().join("azure.env"), folder.path().join("other"));
        fs::write(&other, "kept").unwrap();
        fs::set_permissions(&other, fs::Permissions::from_mode(0o666)).unwrap();
        fs::hard_link(&other, &file).unwrap();
        write(&file, [("NAME", "value")]).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "NAME=value\n");
        assert_eq!(file.metadata().unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::read_to_string(&other).unwrap(), "kept");
    }

    #[test]
    fn link_and_pipe_in_place_of_the_file_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("target");
        fs::write(&target, "kept").unwrap();
        let paths = ["link", "dangling", "pipe"].map(|name| folder.path().join(name));
        let [link, dangling, pipe] = &paths;
        symlink(&target, link).unwrap();
        symlink(folder.path().join("nothing"), dangling).unwrap();
        assert!(Command::new("mkfifo").arg(pipe).status().unwrap().success());
        for path in &paths {
            let refused = write(path, [("NAME", "value")]);
            let shown = refused.unwrap_err().to_string();
            assert!(shown.contains("not a regular file"), "{shown}");
        }
        assert_eq!(fs::read_to_string(&target).unwrap(), "kept");
        assert!(!folder.path().join("nothing").exists());
    }
}
