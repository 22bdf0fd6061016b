use std::collections::{HashMap, HashSet};
use std::ops::Range;

use saphyr::{MarkedYaml, Scalar, ScanError, YamlData, YamlLoader};
use saphyr_parser::{Event, Parser, ScalarStyle, Span};

use super::value::{Kind, Value};

/// Reads all documents of a YAML file; the error is a line and a reason.
pub(super) fn read(text: &str) -> Result<Vec<Value>, String> {
    check_size(text)?;
    let failed = |error: &ScanError| format!("line {}: {}", error.marker().line(), error.info());
    let mut loader = YamlLoader::<MarkedYaml<'_>>::default();
    // Charts have them, and as for Helm and kubectl the last one counts.
    loader.allow_duplicate_keys(true);
    let outcome = Parser::new_from_str(text).load(&mut loader, true);
    outcome.map_err(|error| failed(&error))?;
    if let Some(error) = loader.error() {
        return Err(failed(error));
    }
    let file = File::new(text);
    let documents = loader.into_documents().into_iter();
    Ok(documents.map(|node| file.value(&node)).collect())
}

/// The places of all scalars, in their order: what looks like a comment in them is none.
pub(super) fn scalars(text: &str) -> Vec<Range<usize>> {
    let file = File::new(text);
    let events = Parser::new_from_str(text).map_while(Result::ok);
    events
        .filter_map(|(event, span)| match event {
            Event::Scalar(_, ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted, ..) => {
                Some(file.quoted(file.place(span)))
            }
            Event::Scalar(..) => Some(file.place(span)),
            _ => None,
        })
        .collect()
}

/// Refuses a file before the loader takes too much: it recurses, and copies what has an anchor.
pub(crate) fn check_size(text: &str) -> Result<(), String> {
    // Of values, and of the bytes of scalars.
    let (mut count, mut bytes) = (0_usize, 0_usize);
    // Those of them that aliases copy.
    let mut copied = (0_usize, 0_usize);
    // For each open collection, its anchor, and the counts at its start.
    let mut open: Vec<(usize, usize, usize)> = Vec::new();
    // What a copy of each anchor adds to the counts.
    let mut anchors: HashMap<usize, (usize, usize)> = HashMap::new();
    for event in Parser::new_from_str(text) {
        // The loader reports it with a better text.
        let Ok((event, span)) = event else {
            return Ok(());
        };
        match event {
            Event::SequenceStart(anchor, _) | Event::MappingStart(anchor, _) => {
                open.push((anchor, count, bytes));
            }
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some((anchor, values, length)) = open.pop().filter(|(anchor, ..)| *anchor > 0) {
                    let copy = (count - values, bytes - length);
                    anchors.insert(anchor, copy);
                    count += copy.0;
                    bytes += copy.1;
                }
            }
            Event::Scalar(text, _, anchor, _) => {
                bytes += text.len();
                if anchor > 0 {
                    anchors.insert(anchor, (0, text.len()));
                }
            }
            Event::Alias(anchor) => {
                let (values, length) = anchors.get(&anchor).copied().unwrap_or_default();
                count += values;
                bytes += length;
                copied = (copied.0 + values, copied.1 + length);
            }
            _ => {}
        }
        count += 1;
        let line = span.start.line();
        if open.len() > MAX_DEPTH {
            return Err(format!("line {line}: nested too deep"));
        }
        if count > MAX_VALUES {
            return Err(format!("line {line}: more than {MAX_VALUES} values"));
        }
        if bytes > MAX_TEXT {
            return Err(format!(
                "line {line}: more than {MAX_TEXT} bytes with all aliases"
            ));
        }
    }
    // Thousands of small files, or of patches in one, would take as much as thousands of large ones.
    if copied.0 > text.len() * MAX_COPIED_VALUES || copied.1 > text.len() * MAX_COPIED_TEXT {
        return Err("its aliases copy too much for its length".to_owned());
    }
    Ok(())
}

/// A file, and where its characters begin, in bytes.
struct File<'a> {
    text: &'a str,
    bytes: Vec<usize>,
}

impl<'a> File<'a> {
    fn new(text: &'a str) -> Self {
        // Places are counted in characters.
        let bytes = text.char_indices().map(|(byte, _)| byte).chain([text.len()]);
        Self {
            text,
            bytes: bytes.collect(),
        }
    }

    fn place(&self, span: Span) -> Range<usize> {
        let byte = |index: usize| {
            let found = self.bytes.get(index).or(self.bytes.last());
            found.copied().unwrap_or_default()
        };
        let start = byte(span.start.index());
        start..byte(span.end.index()).max(start)
    }

    /// After a quoted scalar, the parser counts blanks and a comment, too.
    fn quoted(&self, place: Range<usize>) -> Range<usize> {
        let text = self.text.get(place.clone()).unwrap_or_default();
        let quoted = text.chars().next().filter(|quote| matches!(quote, '"' | '\''));
        let closing = quoted.and_then(|quote| closing_quote(text, quote));
        place.start..closing.map_or(place.end, |length| place.start + length)
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
                        // Of several maps, an earlier one goes first.
                        Kind::List(items) if key.text() == Some("<<") => {
                            merged.extend(items.iter().flat_map(Value::entries).cloned());
                        }
                        _ => own.push((key, item)),
                    }
                }
                // A merge key fills in what the map does not have itself.
                if !merged.is_empty() {
                    let known: HashSet<Option<String>> =
                        own.iter().map(|(key, _)| key.text().map(str::to_owned)).collect();
                    merged.retain(|(key, _)| !known.contains(&key.text().map(str::to_owned)));
                }
                own.extend(merged);
                Kind::Map(own)
            }
            YamlData::Tagged(_, node) => return self.value(node),
            _ => other("null".to_owned()),
        };
        let place = self.place(node.span);
        Value {
            span: match kind {
                Kind::Text(_) | Kind::Other(_) => self.quoted(place),
                Kind::List(_) | Kind::Map(_) => place,
            },
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

/// Several times what a manifest of 10 MB has; each takes some hundred bytes of memory.
const MAX_VALUES: usize = 2_000_000;

/// For each byte of the file. A value has about ten bytes, and few manifests use an anchor as often as a hundred times.
const MAX_COPIED_VALUES: usize = 10;
const MAX_COPIED_TEXT: usize = 100;

/// In bytes; twice what the largest file that is read can have without an alias.
const MAX_TEXT: usize = 20_000_000;
