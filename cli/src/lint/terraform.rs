pub(super) mod kubernetes;

use std::collections::HashMap;
use std::ops::Range;

use hcl_edit::Span;
use hcl_edit::expr::{Expression, ObjectKey};
use hcl_edit::structure::{BlockLabel, Body, Structure};
use hcl_edit::visit::{self, Visit};

use super::value::{Kind, Value};

/// A `resource` block, or that of the `provider`, with its type; or a `module`, whose resources are not read.
pub(super) struct Resource {
    pub(super) kind: String,
    /// In Bicep its symbol; empty for a provider.
    pub(super) name: String,
    /// Whether its provider writes one after the other.
    pub(super) is_serial: bool,
    /// Whether it stands for several resources that are created in parallel.
    pub(super) is_repeated: bool,
    pub(super) body: Value,
}

/// What a file of a module has.
#[derive(Default)]
pub(super) struct Module {
    pub(super) resources: Vec<Resource>,
    /// Such as `local.audience`, with its value.
    pub(super) locals: Vec<(String, Kind)>,
    /// Where its outer blocks are.
    pub(super) blocks: Vec<Range<usize>>,
    /// Where strings are: what looks like a comment in them is none.
    pub(super) literals: Vec<Range<usize>>,
}

impl Resource {
    /// Writes the values of names in place of the names.
    pub(super) fn resolve(&mut self, names: &HashMap<String, Kind>) {
        resolve(&mut self.body, names);
    }
}

/// Reads a module's file; the error is a line and a reason.
pub(super) fn read(text: &str) -> Result<Module, String> {
    let body: Body = hcl_edit::parser::parse_body(text).map_err(|error| {
        let location = error.location();
        format!("line {}: {}", location.line(), error.message())
    })?;
    let mut literals = Literals::default();
    literals.visit_body(&body);
    let mut module = Module {
        literals: literals.0,
        ..Module::default()
    };
    for block in body.iter().filter_map(Structure::as_block) {
        module.blocks.extend(block.span());
        let body = of_body(&block.body, block.ident.span().unwrap_or_default(), text);
        let label = |index: usize| block.labels.get(index).map(|label| label.as_str().to_owned());
        match block.ident.as_str() {
            "resource" | "provider" => module.resources.extend(label(0).map(|kind| {
                let resource = Resource {
                    kind,
                    name: label(1).unwrap_or_default(),
                    is_serial: true,
                    is_repeated: ["for_each", "count"].iter().any(|name| body.get(name).is_some()),
                    body,
                };
                of_azapi(resource)
            })),
            "module" => module.resources.push(Resource {
                kind: "module".to_owned(),
                name: label(0).unwrap_or_default(),
                is_serial: true,
                is_repeated: false,
                body,
            }),
            "locals" => {
                let entries = body.entries().iter();
                let entries = entries.filter(|(_, value)| value.span.len() <= LONGEST_LOCAL);
                module.locals.extend(entries.filter_map(|(name, value)| {
                    Some((format!("local.{}", name.text()?), value.kind.clone()))
                }));
            }
            _ => {}
        }
    }
    Ok(module)
}

/// The places of strings, in their order and without overlap.
#[derive(Default)]
struct Literals(Vec<Range<usize>>);

impl Visit for Literals {
    fn visit_block_label(&mut self, label: &BlockLabel) {
        self.0.extend(label.span());
    }

    fn visit_expr(&mut self, expression: &Expression) {
        match expression {
            Expression::String(_) | Expression::StringTemplate(_) | Expression::HeredocTemplate(_) => {
                self.0.extend(expression.span());
            }
            _ => visit::visit_expr(self, expression),
        }
    }
}

pub(super) fn resolve(value: &mut Value, names: &HashMap<String, Kind>) {
    if let Some(kind) = value.reference().and_then(|reference| names.get(reference)) {
        value.kind = kind.clone();
        return;
    }
    match &mut value.kind {
        Kind::List(items) => items.iter_mut().for_each(|item| resolve(item, names)),
        Kind::Map(entries) => entries.iter_mut().for_each(|(_, item)| resolve(item, names)),
        Kind::Text(_) | Kind::Other(_) => {}
    }
}

/// A federated credential that `azapi` writes, in the terms of `azurerm`.
fn of_azapi(mut resource: Resource) -> Resource {
    let kind = resource
        .body
        .get("type")
        .and_then(Value::text)
        .unwrap_or_default();
    let kind = kind.to_ascii_lowercase();
    if resource.kind != "azapi_resource" || !kind.contains("/federatedidentitycredentials@") {
        return resource;
    }
    let properties = resource.body.at(&["body", "properties"]).cloned();
    if let (Kind::Map(entries), Some(properties)) = (&mut resource.body.kind, properties) {
        let attributes = properties.entries().iter().cloned().map(|(mut name, value)| {
            if name.text() == Some("audiences") {
                name.kind = Kind::Text("audience".to_owned());
            }
            (name, value)
        });
        entries.extend(attributes);
    }
    "azurerm_federated_identity_credential".clone_into(&mut resource.kind);
    resource.is_serial = false;
    resource
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
        // The body of an older `azapi_resource`.
        Expression::FuncCall(call) if call.name.name.as_str() == "jsonencode" => {
            return call.args.iter().next().map_or(
                Value {
                    span,
                    kind: Kind::Other("null".to_owned()),
                },
                |object| of_expression(object, text),
            );
        }
        _ => Kind::Other(text.get(span.clone()).unwrap_or_default().trim().to_owned()),
    };
    Value { span, kind }
}

/// In bytes. Each reference copies the value; a subject or an audience is far shorter.
pub(super) const LONGEST_LOCAL: usize = 1000;
