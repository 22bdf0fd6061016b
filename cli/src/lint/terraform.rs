use std::ops::Range;

use hcl_edit::Span;
use hcl_edit::expr::{Expression, ObjectKey};
use hcl_edit::structure::{Body, Structure};

use super::value::{Kind, Value};

/// A `resource` block, or that of the `provider`, with its type.
pub(super) struct Resource {
    pub(super) kind: String,
    /// Whether it stands for several resources that are created in parallel.
    pub(super) is_repeated: bool,
    pub(super) body: Value,
}

/// Reads the resources of a module's file; the error is a line and a reason.
pub(super) fn read(text: &str) -> Result<Vec<Resource>, String> {
    let body: Body = hcl_edit::parser::parse_body(text).map_err(|error| {
        let location = error.location();
        format!("line {}: {}", location.line(), error.message())
    })?;
    let blocks = body.iter().filter_map(Structure::as_block);
    let resources = blocks.filter(|block| matches!(block.ident.as_str(), "resource" | "provider"));
    Ok(resources
        .filter_map(|block| {
            let body = of_body(&block.body, block.ident.span().unwrap_or_default(), text);
            Some(Resource {
                kind: block.labels.first()?.as_str().to_owned(),
                is_repeated: ["for_each", "count"].iter().any(|name| body.get(name).is_some()),
                body,
            })
        })
        .collect())
}

fn of_body(body: &Body, span: Range<usize>, text: &str) -> Value {
    let key = |name: &str, span: Option<Range<usize>>| Value {
        span: span.unwrap_or_default(),
        kind: Kind::Text(name.to_owned()),
    };
    let entries = body.iter().map(|structure| match structure {
        Structure::Attribute(attribute) => (
            key(current_name(attribute.key.as_str()), attribute.key.span()),
            of_expression(&attribute.value, text),
        ),
        Structure::Block(block) => (
            key(block.ident.as_str(), block.ident.span()),
            of_body(&block.body, block.ident.span().unwrap_or_default(), text),
        ),
    });
    Value {
        span,
        kind: Kind::Map(entries.collect()),
    }
}

/// Version 5 of the provider renames the attribute; the rules know it by the older name.
fn current_name(name: &str) -> &str {
    if name == "user_assigned_identity_id" {
        "parent_id"
    } else {
        name
    }
}

fn of_expression(expression: &Expression, text: &str) -> Value {
    let span = expression.span().unwrap_or_default();
    let kind = match expression {
        Expression::String(value) => Kind::Text(value.as_str().to_owned()),
        Expression::Array(items) => Kind::List(items.iter().map(|item| of_expression(item, text)).collect()),
        Expression::Object(object) => Kind::Map(
            object
                .iter()
                .map(|(key, value)| {
                    let name = match key {
                        ObjectKey::Ident(name) => Value {
                            span: name.span().unwrap_or_default(),
                            kind: Kind::Text(name.as_str().to_owned()),
                        },
                        ObjectKey::Expression(key) => of_expression(key, text),
                    };
                    (name, of_expression(value.expr(), text))
                })
                .collect(),
        ),
        _ => Kind::Other(text.get(span.clone()).unwrap_or_default().trim().to_owned()),
    };
    Value { span, kind }
}
