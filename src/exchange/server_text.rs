use std::fmt;

use crate::token::Secret;

/// A server's error text, redacted: one line of bounded length, without IDs and times, and without
/// anything that could be part of a token that the server echoes.
#[derive(Debug)]
pub(crate) struct ServerText(String);

impl ServerText {
    /// Returns `None` if nothing is left to show.
    ///
    /// * `secret`: what was sent; a text that contains a part of it is dropped entirely.
    pub(crate) fn new(description: &str, secret: &Secret) -> Option<Self> {
        let text = description.split("Trace ID:").next().unwrap_or_default();
        if secret
            .expose()
            .split('.')
            .any(|part| !part.is_empty() && text.contains(part))
        {
            return None;
        }
        let mut line = String::new();
        for word in text
            .split(|c: char| c.is_whitespace() || c.is_control())
            .filter(|word| !word.is_empty())
        {
            let opaque = |run: &str| run.len() > MAX_WORD;
            let word = if word
                .split(|c: char| !c.is_ascii_alphanumeric() && !"-_+.".contains(c))
                .any(opaque)
            {
                "[...]"
            } else {
                word
            };
            if line.len() + word.len() > MAX_TEXT {
                break;
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        (!line.is_empty()).then_some(Self(line))
    }
}

impl fmt::Display for ServerText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ServerText {}

/// Names in Kubernetes have at most 63 characters, GUIDs have 36. A longer word may be part of a
/// token.
const MAX_WORD: usize = 63;

/// Entra's texts are one to three sentences.
const MAX_TEXT: usize = 600;
