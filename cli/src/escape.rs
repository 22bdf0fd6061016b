//! Text from outside, made safe for a terminal and the log of a CI job.
//!
//! Control, format and unassigned characters become `\u{1b}` and the like, and logging commands of CI systems
//! (`::stop-commands::` at the start of a line, `##[…]` and `##vso[…]` anywhere) are broken up. `"`, `'` and `\` stay.

use std::fmt::{self, Display, Write as _};
use std::path::Path;

use serde::Serialize;

/// A value on one line: line breaks are escaped, too.
pub(crate) fn line(text: &str) -> Line<'_> {
    Line(text)
}

/// Text of several lines. Style it afterwards: escape sequences are escaped, too.
pub(crate) fn lines(text: &str) -> Lines<'_> {
    Lines(text)
}

pub(crate) struct Line<'a>(&'a str);

pub(crate) struct Lines<'a>(&'a str);

/// Indented JSON. Strings keep their values: what [`line`] escapes becomes `\u001b` and the like.
pub(crate) fn json(value: &impl Serialize) -> Result<String, serde_json::Error> {
    Ok(escape_json(&serde_json::to_string_pretty(value)?))
}

/// JSON on one line.
#[cfg(feature = "emulator")]
pub(crate) fn json_line(value: &impl Serialize) -> Result<String, serde_json::Error> {
    Ok(escape_json(&serde_json::to_string(value)?))
}

fn escape_json(text: &str) -> String {
    let mut json = String::with_capacity(text.len());
    for (index, c) in text.char_indices() {
        if c == '\n' || !is_unsafe(c) && !is_command(text, index) {
            json.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(json, "\\u{unit:04x}");
            }
        }
    }
    json
}

/// A path as text, not yet escaped; bytes that are not UTF-8 become `\xff` and the like.
pub(crate) fn path(path: &Path) -> String {
    let mut text = String::new();
    for chunk in path.as_os_str().as_encoded_bytes().utf8_chunks() {
        text += chunk.valid();
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

/// Whether a terminal acts on a character, or does not show it.
pub(crate) fn is_unsafe(c: char) -> bool {
    let is_kept = matches!(c, '"' | '\'' | '\\');
    // `escape_debug` counts these letters as printable, and they are shown as a blank or not at all.
    let is_blank = matches!(c, '\u{115f}' | '\u{1160}' | '\u{2800}' | '\u{3164}' | '\u{ffa0}');
    is_blank || !is_kept && c.escape_debug().len() > 1
}

impl Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(text) = *self;
        let start = text.len() - text.trim_start().len();
        let is_label = text.get(start..).is_some_and(|text| text.starts_with("::"));
        for (index, c) in text.char_indices() {
            if is_unsafe(c) && c.is_ascii() {
                write!(f, "{}", c.escape_debug())?;
            } else if is_unsafe(c) || is_command(text, index) || is_label && index == start {
                write!(f, "{}", c.escape_unicode())?;
            } else {
                f.write_char(c)?;
            }
        }
        Ok(())
    }
}

impl Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = self.0.split_inclusive('\n');
        lines.try_for_each(|text| match text.strip_suffix('\n') {
            Some(text) => writeln!(f, "{}", line(text)),
            None => write!(f, "{}", line(text)),
        })
    }
}

/// Whether the second `#` of a logging command is here.
///
/// Source: actions/runner, `ActionCommand.TryParse`; Azure Pipelines, "Logging commands".
fn is_command(text: &str, index: usize) -> bool {
    let after = text.get(..index).is_some_and(|before| before.ends_with('#'));
    let name = text.get(index..).and_then(|text| text.strip_prefix('#'));
    after
        && name.is_some_and(|name| {
            let name = name.trim_start_matches(|c: char| c.is_ascii_alphabetic());
            name.starts_with('[')
        })
}

#[cfg(test)]
#[expect(clippy::expect_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn every_character_is_shown_or_escaped_and_json_keeps_its_value() {
        let every: Vec<char> = ('\0'..=char::MAX).collect();
        for some in every.chunks(4096) {
            let text: String = some.iter().flat_map(|c| ['a', *c]).collect();
            let (line, lines) = (line(&text).to_string(), lines(&text).to_string());
            let json = json(&text).expect("a string is JSON");
            assert!(!line.contains(is_unsafe), "{line:?}");
            assert!(!lines.replace('\n', "").contains(is_unsafe), "{lines:?}");
            assert!(!json.contains(is_unsafe), "{json:?}");
            assert_eq!(serde_json::from_str::<String>(&json).ok(), Some(text));
        }
    }

    #[test]
    fn characters_that_act_on_a_terminal_or_are_not_seen_are_unsafe() {
        let controls = ('\0'..='\u{1f}').chain('\u{7f}'..='\u{9f}');
        let format = ('\u{200b}'..='\u{200f}').chain('\u{2028}'..='\u{202e}');
        let invisible = ('\u{2060}'..='\u{206f}').chain(['\u{ad}', '\u{61c}', '\u{180e}', '\u{feff}']);
        let tags = ('\u{e0000}'..='\u{e007f}').chain(['\u{115f}', '\u{3164}', '\u{fe0f}', '\u{fff9}']);
        for c in controls.chain(format).chain(invisible).chain(tags) {
            assert!(is_unsafe(c), "{c:?}");
        }
        for c in ' '..='~' {
            assert!(!is_unsafe(c), "{c:?}");
        }
        assert_eq!(
            line(r#"größe "a" 'b' C:\x 東"#).to_string(),
            r#"größe "a" 'b' C:\x 東"#
        );
        assert_eq!(line("a\u{1b}]52;\r\n").to_string(), r"a\u{1b}]52;\r\n");
    }

    #[test]
    fn logging_commands_of_ci_systems_are_broken_up() {
        for text in [
            "::stop-commands::x",
            "  ::add-mask::x",
            "a ##[error]x",
            "##vso[task.setvariable variable=a]x",
            "###[group]",
        ] {
            for shown in [line(text).to_string(), lines(&format!("a\n{text}")).to_string()] {
                assert!(!shown.contains("##[") && !shown.contains("##vso["), "{shown}");
                assert!(
                    !shown.lines().any(|line| line.trim_start().starts_with("::")),
                    "{shown}"
                );
            }
            let json = json(&[text]).expect("a list is JSON");
            assert!(!json.contains("##[") && !json.contains("##vso["), "{json}");
            assert_eq!(
                serde_json::from_str::<[String; 1]>(&json).ok(),
                Some([text.to_owned()])
            );
        }
        assert_eq!(line("a::b ## c [d]").to_string(), "a::b ## c [d]");
    }

    #[cfg(unix)]
    #[test]
    fn path_that_is_not_utf8_is_shown_with_its_bytes() {
        use std::os::unix::ffi::OsStrExt;

        let name = std::ffi::OsStr::from_bytes(b"a\xff\xc3\xa9.yaml");
        assert_eq!(path(Path::new(name)), r"a\xffé.yaml");
    }
}
