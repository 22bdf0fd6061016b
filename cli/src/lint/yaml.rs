use std::ops::Range;

use saphyr::{MarkedYaml, Scalar, ScanError, YamlData, YamlLoader};
use saphyr_parser::{Event, Parser};

use super::value::{Kind, Value};

/// Reads all documents of a YAML file; the error is a line and a reason.
pub(super) fn read(text: &str) -> Result<Vec<Value>, String> {
    check_depth(text)?;
    let failed = |error: &ScanError| format!("line {}: {}", error.marker().line(), error.info());
    let mut loader = YamlLoader::<MarkedYaml<'_>>::default();
    // Charts have them, and as for Helm and kubectl the last one counts.
    loader.allow_duplicate_keys(true);
    let outcome = Parser::new_from_str(text).load(&mut loader, true);
    outcome.map_err(|error| failed(&error))?;
    if let Some(error) = loader.error() {
        return Err(failed(error));
    }
    // Places are counted in characters.
    let bytes: Vec<usize> = text
        .char_indices()
        .map(|(byte, _)| byte)
        .chain([text.len()])
        .collect();
    let file = File { text, bytes };
    let documents = loader.into_documents();
    Ok(documents.iter().map(|node| file.value(node)).collect())
}

/// The loader recurses, so a file that is nested too deep is refused before.
pub(crate) fn check_depth(text: &str) -> Result<(), String> {
    let mut depth = 0_usize;
    for event in Parser::new_from_str(text) {
        // The loader reports it with a better text.
        let Ok((event, span)) = event else {
            return Ok(());
        };
        match event {
            Event::SequenceStart(..) | Event::MappingStart(..) => depth += 1,
            Event::SequenceEnd | Event::MappingEnd => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DEPTH {
            return Err(format!("line {}: nested too deep", span.start.line()));
        }
    }
    Ok(())
}

/// A file, and where its characters begin, in bytes.
struct File<'a> {
    text: &'a str,
    bytes: Vec<usize>,
}

impl File<'_> {
    fn span(&self, node: &MarkedYaml<'_>) -> Range<usize> {
        let byte = |index: usize| {
            let found = self.bytes.get(index).or(self.bytes.last());
            found.copied().unwrap_or_default()
        };
        let start = byte(node.span.start.index());
        let end = byte(node.span.end.index()).max(start);
        // After a quoted scalar, the parser counts blanks and a comment, too.
        let text = self.text.get(start..end).unwrap_or_default();
        let quoted = text.chars().next().filter(|quote| matches!(quote, '"' | '\''));
        let closing = quoted.and_then(|quote| closing_quote(text, quote));
        start..closing.map_or(end, |length| start + length)
    }

    fn value(&self, node: &MarkedYaml<'_>) -> Value {
        let other = |text: String| Kind::Other(text);
        let kind = match &node.data {
            YamlData::Value(Scalar::String(text)) | YamlData::Representation(text, ..) => {
                Kind::Text(text.to_string())
            }
            YamlData::Value(Scalar::Boolean(value)) => other(value.to_string()),
            YamlData::Value(Scalar::Integer(value)) => other(value.to_string()),
            YamlData::Value(Scalar::FloatingPoint(value)) => other(value.to_string()),
            YamlData::Sequence(items) => Kind::List(items.iter().map(|item| self.value(item)).collect()),
            YamlData::Mapping(entries) => {
                let mut own: Vec<(Value, Value)> = Vec::new();
                let mut merged = Vec::new();
                for (key, item) in entries {
                    let (key, item) = (self.value(key), self.value(item));
                    match &item.kind {
                        Kind::Map(inner) if key.text() == Some("<<") => merged.extend(inner.clone()),
                        _ => own.push((key, item)),
                    }
                }
                // A merge key fills in what the map does not have itself.
                merged.retain(|(key, _)| !own.iter().any(|(known, _)| known.text() == key.text()));
                own.extend(merged);
                Kind::Map(own)
            }
            YamlData::Tagged(_, node) => return self.value(node),
            _ => other("null".to_owned()),
        };
        Value {
            span: self.span(node),
            kind,
        }
    }
}

/// Returns the length of a quoted scalar.
fn closing_quote(text: &str, quote: char) -> Option<usize> {
    let mut chars = text.char_indices().skip(1).peekable();
    while let Some((index, c)) = chars.next() {
        match c {
            '\\' if quote == '"' => drop(chars.next()),
            // In single quotes, two of them stand for one.
            '\'' if quote == '\'' && chars.peek().is_some_and(|(_, next)| *next == '\'') => {
                chars.next();
            }
            _ if c == quote => return Some(index + 1),
            _ => {}
        }
    }
    None
}

/// Far deeper than any manifest, and shallow enough for the stack.
const MAX_DEPTH: usize = 100;
