use std::fmt::{self, Write};

/// Shows a text without characters that steer a terminal, break a line, reorder text or are invisible: they are
/// written as in a Rust string, such as `\n` and `\u{202e}`.
pub(crate) struct Escaped<T>(pub(crate) T);

impl<T: fmt::Display> fmt::Display for Escaped<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Escaper(f), "{}", self.0)
    }
}

/// Whether a text has neither white space nor characters that [`Escaped`] changes. `Url` drops some of them: its host
/// would not be the one that a person reads.
pub(crate) fn is_visible(text: &str) -> bool {
    !text.contains(|c: char| c.is_whitespace() || is_escaped(c))
}

struct Escaper<'a, 'b>(&'a mut fmt::Formatter<'b>);

impl Write for Escaper<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some((start, c)) = rest.char_indices().find(|(_, c)| is_escaped(*c)) {
            let (shown, tail) = rest.split_at(start);
            self.0.write_str(shown)?;
            if FILLERS.contains(&c) {
                write!(self.0, "{}", c.escape_unicode())?;
            } else {
                write!(self.0, "{}", c.escape_debug())?;
            }
            rest = tail.strip_prefix(c).unwrap_or_default();
        }
        self.0.write_str(rest)
    }
}

fn is_escaped(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_control();
    }
    FILLERS.contains(&c) || c.escape_debug().next() == Some('\\')
}

/// Letters according to Unicode, and invisible: the fillers of Hangul.
const FILLERS: [char; 4] = ['\u{115f}', '\u{1160}', '\u{3164}', '\u{ffa0}'];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn visible_text_is_unchanged() {
        for text in ["", r#"C:\Users "a" 'b'"#, "größe, 東京, 🙂", "a b"] {
            assert_eq!(Escaped(text).to_string(), text);
        }
    }

    #[test]
    fn characters_that_act_on_a_terminal_are_escaped() {
        for (text, escaped) in [
            ("a\r\n::stop-commands::x", r"a\r\n::stop-commands::x"),
            ("\u{1b}]52;c;eA==\u{7}", r"\u{1b}]52;c;eA==\u{7}"),
            ("\u{9b}2J", r"\u{9b}2J"),
            ("a\u{202e}b\u{200b}c\u{feff}", r"a\u{202e}b\u{200b}c\u{feff}"),
            (
                "\u{2028}\u{ad}\u{e0041}\u{3164}",
                r"\u{2028}\u{ad}\u{e0041}\u{3164}",
            ),
        ] {
            assert_eq!(Escaped(text).to_string(), escaped);
        }
    }

    proptest! {
        #[test]
        fn no_text_leaves_a_character_that_is_escaped(text: String, c: char) {
            let shown = Escaped(format!("{text}{c}")).to_string();
            prop_assert!(!shown.contains(is_escaped), "{shown:?}");
            prop_assert_eq!(Escaped(&shown).to_string(), shown);
        }
    }
}
