use std::ops::Range;

use saphyr::{LoadableYamlNode, MarkedYaml, Scalar, YamlData};

use super::value::{Kind, Value};

/// Reads all documents of a YAML file; the error is a line and a reason.
pub(super) fn read(text: &str) -> Result<Vec<Value>, String> {
    let documents = MarkedYaml::load_from_str(text)
        .map_err(|error| format!("line {}: {}", error.marker().line(), error.info()))?;
    // Places are counted in characters.
    let bytes: Vec<usize> = text
        .char_indices()
        .map(|(byte, _)| byte)
        .chain([text.len()])
        .collect();
    Ok(documents.iter().map(|node| value(node, &bytes, 0)).collect())
}

fn value(node: &MarkedYaml<'_>, bytes: &[usize], depth: usize) -> Value {
    let byte = |index: usize| bytes.get(index).or(bytes.last()).copied().unwrap_or_default();
    let start = byte(node.span.start.index());
    let span: Range<usize> = start..byte(node.span.end.index()).max(start);
    let other = |text: String| Kind::Other(text);
    let kind = match &node.data {
        YamlData::Value(Scalar::String(text)) | YamlData::Representation(text, ..) => {
            Kind::Text(text.to_string())
        }
        YamlData::Value(Scalar::Boolean(value)) => other(value.to_string()),
        YamlData::Value(Scalar::Integer(value)) => other(value.to_string()),
        YamlData::Value(Scalar::FloatingPoint(value)) => other(value.to_string()),
        YamlData::Sequence(items) if depth < MAX_DEPTH => {
            Kind::List(items.iter().map(|item| value(item, bytes, depth + 1)).collect())
        }
        YamlData::Mapping(entries) if depth < MAX_DEPTH => {
            let entries = entries.iter();
            Kind::Map(
                entries
                    .map(|(key, item)| (value(key, bytes, depth + 1), value(item, bytes, depth + 1)))
                    .collect(),
            )
        }
        YamlData::Tagged(_, node) => return value(node, bytes, depth + 1),
        _ => other("null".to_owned()),
    };
    Value { span, kind }
}

/// Far deeper than any manifest, and shallow enough for the stack.
const MAX_DEPTH: usize = 100;
