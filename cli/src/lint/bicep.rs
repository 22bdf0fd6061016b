use std::collections::HashMap;
use std::ops::Range;

use tree_sitter::{Node, Parser, Point, Tree};

use super::terraform::{LONGEST_LOCAL, Resource, resolve};
use super::value::{Kind, Value};

/// What a file has.
pub(super) struct Module {
    pub(super) resources: Vec<Resource>,
    /// Where its outer declarations are.
    pub(super) declarations: Vec<Range<usize>>,
    /// Where strings are: what looks like a comment in them is none.
    pub(super) literals: Vec<Range<usize>>,
    /// What could not be read, because it is wrong or newer than the grammar.
    pub(super) problem: Option<String>,
}

/// Reads the resources of a Bicep file in the terms of Terraform, so that one rule reads both; the error is a line and
/// a reason.
pub(super) fn read(text: &str) -> Result<Module, String> {
    let mut parser = Parser::new();
    parser
        .set_language(&tree_sitter_bicep::LANGUAGE.into())
        .map_err(|error| error.to_string())?;
    // The grammar looks for the end of a text in several lines, often up to the end of the file.
    let mut budget = MAX_SCANNED;
    let mut next = |start: usize, _: Point| {
        let end = (start + CHUNK).min(text.len()).min(start + budget);
        let chunk = text.as_bytes().get(start..end).unwrap_or_default();
        budget -= chunk.len();
        chunk
    };
    let tree = parser.parse_with_options(&mut next, None, None);
    let tree = tree.filter(|_| budget > 0).ok_or("too large, or not Bicep")?;
    let mut found = Found::default();
    for node in children(tree.root_node()) {
        if node.kind() == "variable_declaration"
            && let [name, .., value] = children(node).as_slice()
        {
            let value = of_node(*value, text, 0);
            if value.span.len() <= LONGEST_LOCAL {
                found.variables.insert(source(*name, text).to_owned(), value.kind);
            }
        }
    }
    collect(tree.root_node(), &[], text, &mut found);
    for resource in &mut found.resources {
        resolve_scope(&mut resource.body, &found.symbols);
    }
    let problem = first_error(tree.root_node()).map(|node| {
        let line = node.start_position().row + 1;
        format!("line {line}: not Bicep, or newer than this reader")
    });
    match problem {
        Some(problem) if found.symbols.is_empty() => Err(problem),
        problem => Ok(Module {
            resources: found.resources,
            declarations: children(tree.root_node()).iter().map(Node::byte_range).collect(),
            literals: literals(&tree),
            problem,
        }),
    }
}

/// The places of strings, in their order and without overlap.
fn literals(tree: &Tree) -> Vec<Range<usize>> {
    let mut literals = Vec::new();
    let mut cursor = tree.walk();
    loop {
        let is_string = cursor.node().kind() == "string";
        if is_string {
            literals.push(cursor.node().byte_range());
        }
        if !is_string && cursor.goto_first_child() {
            continue;
        }
        while !cursor.goto_next_sibling() {
            if !cursor.goto_parent() {
                return literals;
            }
        }
    }
}

#[derive(Default)]
struct Found {
    resources: Vec<Resource>,
    /// The type of each symbol, in lower case.
    symbols: HashMap<String, String>,
    /// The names of `var`, each with its value.
    variables: HashMap<String, Kind>,
}

/// Writes the scope of a role assignment as Terraform would.
fn resolve_scope(body: &mut Value, symbols: &HashMap<String, String>) {
    let Kind::Map(entries) = &mut body.kind else {
        return;
    };
    for (_, value) in entries.iter_mut().filter(|(key, _)| key.text() == Some("scope")) {
        let Some((name, kind)) = value.reference().and_then(|name| symbols.get_key_value(name)) else {
            continue;
        };
        let kind = match kind.as_str() {
            "microsoft.storage/storageaccounts" => "azurerm_storage_account",
            "microsoft.keyvault/vaults" => "azurerm_key_vault",
            _ => continue,
        };
        value.kind = Kind::Other(format!("{kind}.{name}.id"));
    }
}

fn first_error(node: Node<'_>) -> Option<Node<'_>> {
    let mut node = Some(node).filter(Node::has_error)?;
    loop {
        let inner = node.children(&mut node.walk()).find(Node::has_error);
        match inner {
            Some(inner) if !node.is_error() => node = inner,
            _ => return Some(node),
        }
    }
}

/// Collects the resources that are children of a node: a file, or the object of another resource.
///
/// * `parents`: their types and symbols, the outermost first.
fn collect(node: Node<'_>, parents: &[(&str, &str)], text: &str, found: &mut Found) {
    for child in children(node) {
        match child.kind() {
            "resource_declaration" if parents.len() < DEEPEST => declaration(child, parents, text, found),
            "object_property" => collect(child, parents, text, found),
            "module_declaration" => found.resources.push(Resource {
                kind: "module".to_owned(),
                name: String::new(),
                is_serial: false,
                is_repeated: false,
                body: of_node(child, text, DEEPEST),
            }),
            _ => {}
        }
    }
}

fn declaration(node: Node<'_>, parents: &[(&str, &str)], text: &str, found: &mut Found) {
    // What is in it is not certain.
    if node.has_error() {
        return;
    }
    let children = children(node);
    let [symbol, kind, .., body_node] = children.as_slice() else {
        return;
    };
    let Some(object) = object_of(*body_node) else {
        return;
    };
    let symbol = source(*symbol, text);
    let own = source(*kind, text).trim_matches('\'');
    let own = own.split_once('@').map_or(own, |(kind, _)| kind);
    let parent = parents.last();
    let kind = match parent {
        // The type of a child is relative to that of its parent.
        Some((kind, _)) if !own.contains('.') => format!("{kind}/{own}"),
        _ => own.to_owned(),
    };
    found.symbols.insert(symbol.to_owned(), kind.to_ascii_lowercase());
    let mut walk = node.walk();
    let is_existing = node.children(&mut walk).any(|child| child.kind() == "existing");
    if !is_existing {
        let mut body = of_node(object, text, 0);
        resolve(&mut body, &found.variables);
        let parent = parent.map(|(_, symbol)| *symbol);
        let mut resource = translate(&kind, &body, parent);
        if let Some(resource) = &mut resource {
            symbol.clone_into(&mut resource.name);
            resource.is_repeated = body_node.kind() == "for_statement" && !is_serial(node, text);
        }
        found.resources.extend(resource);
    }
    let parents = [parents, &[(kind.as_str(), symbol)]].concat();
    collect(object, &parents, text, found);
}

/// Whether `@batchSize(1)` is before a resource.
fn is_serial(node: Node<'_>, text: &str) -> bool {
    let before = node
        .prev_named_sibling()
        .filter(|before| before.kind() == "decorators");
    before.is_some_and(|before| source(before, text).replace(' ', "").contains("@batchSize(1)"))
}

/// The object of a resource, which can be conditional or in a loop.
fn object_of(mut node: Node<'_>) -> Option<Node<'_>> {
    while node.kind() != "object" {
        let is_wrapper = matches!(node.kind(), "if_statement" | "for_statement");
        node = children(node).pop().filter(|_| is_wrapper)?;
    }
    Some(node)
}

/// What the rules ask about, under the names of Terraform.
fn translate(kind: &str, body: &Value, parent: Option<&str>) -> Option<Resource> {
    let of_identity = |symbol: &str, attribute: &str| {
        Kind::Other(format!("azurerm_user_assigned_identity.{symbol}.{attribute}"))
    };
    let property = |path: &[&str]| {
        let mut path = path.iter();
        // What an expression stands for is not known, and neither is what would be in it.
        path.try_fold(body.get("properties")?, |value, key| {
            value.get(key).or_else(|| value.reference().map(|_| value))
        })
        .cloned()
    };
    let (kind, attributes): (_, Vec<(&str, Option<Value>)>) = match kind.to_ascii_lowercase().as_str() {
        "microsoft.managedidentity/userassignedidentities" => ("azurerm_user_assigned_identity", Vec::new()),
        "microsoft.managedidentity/userassignedidentities/federatedidentitycredentials" => {
            let named = body.get("parent").or_else(|| body.get("name"));
            let symbol = body.get("parent").and_then(Value::reference);
            let symbol = symbol.or(parent).or_else(|| parent_of_name(body));
            let parent = symbol.map(|symbol| Value {
                span: named.unwrap_or(body).span.clone(),
                kind: of_identity(symbol, "id"),
            });
            (
                "azurerm_federated_identity_credential",
                vec![
                    ("parent_id", parent),
                    ("issuer", property(&["issuer"])),
                    ("subject", property(&["subject"])),
                    ("audience", property(&["audiences"])),
                    ("depends_on", body.get("dependsOn").cloned()),
                ],
            )
        }
        // AKS Automatic has both.
        "microsoft.containerservice/managedclusters" if is_automatic(body) => return None,
        "microsoft.containerservice/managedclusters" => (
            "azurerm_kubernetes_cluster",
            vec![
                ("oidc_issuer_enabled", property(&["oidcIssuerProfile", "enabled"])),
                (
                    "workload_identity_enabled",
                    property(&["securityProfile", "workloadIdentity", "enabled"]),
                ),
            ],
        ),
        "microsoft.authorization/roleassignments" => {
            let principal = property(&["principalId"]).map(|mut value| {
                let symbol = value.reference();
                if let Some(symbol) = symbol.and_then(|text| text.strip_suffix(".properties.principalId")) {
                    value.kind = of_identity(symbol, "principal_id");
                }
                value
            });
            let role = property(&["roleDefinitionId"]).map(|mut value| {
                let text = value.scalar().unwrap_or_default().to_ascii_lowercase();
                if let Some((_, name)) = MANAGEMENT_ROLES.iter().find(|(id, _)| text.contains(id)) {
                    value.kind = Kind::Text((*name).to_owned());
                }
                value
            });
            (
                "azurerm_role_assignment",
                vec![
                    ("principal_id", principal),
                    ("role_definition_name", role),
                    ("scope", body.get("scope").cloned()),
                ],
            )
        }
        _ => return None,
    };
    let entries = attributes.into_iter().filter_map(|(name, value)| {
        let value = value?;
        let key = Value {
            span: value.span.clone(),
            kind: Kind::Text(name.to_owned()),
        };
        Some((key, value))
    });
    Some(Resource {
        kind: kind.to_owned(),
        name: String::new(),
        is_serial: false,
        is_repeated: false,
        body: Value {
            span: body.span.start..body.span.start + 1,
            kind: Kind::Map(entries.collect()),
        },
    })
}

/// The parent in a name such as `'${orders.name}/main'` or `'orders/main'`.
fn parent_of_name(body: &Value) -> Option<&str> {
    let name = body.get("name")?.scalar()?.trim_matches('\'');
    let (parent, _) = name.split_once('/')?;
    let symbol = parent
        .strip_prefix("${")
        .and_then(|rest| rest.strip_suffix(".name}"));
    Some(symbol.unwrap_or(parent))
}

fn is_automatic(body: &Value) -> bool {
    let sku = body.at(&["sku", "name"]).and_then(Value::text);
    sku.is_some_and(|name| name.eq_ignore_ascii_case("Automatic"))
}

fn of_node(node: Node<'_>, text: &str, depth: usize) -> Value {
    let mut parts = children(node).into_iter();
    let kind = match node.kind() {
        "object" if depth < DEEPEST => Kind::Map(
            parts
                .filter_map(|property| {
                    let [key, value] = children(property).try_into().ok()?;
                    let name = source(key, text).trim_matches('\'').to_owned();
                    let key = Value {
                        span: key.byte_range(),
                        kind: Kind::Text(name),
                    };
                    Some((key, of_node(value, text, depth + 1)))
                })
                .collect(),
        ),
        "array" if depth < DEEPEST => Kind::List(parts.map(|item| of_node(item, text, depth + 1)).collect()),
        "string" if parts.all(|part| part.kind() == "string_content") => {
            Kind::Text(source(node, text).trim_matches('\'').to_owned())
        }
        _ => Kind::Other(source(node, text).to_owned()),
    };
    Value {
        span: node.byte_range(),
        kind,
    }
}

fn children(node: Node<'_>) -> Vec<Node<'_>> {
    let mut walk = node.walk();
    let children = node.named_children(&mut walk);
    children.filter(|child| !child.is_extra()).collect()
}

fn source<'a>(node: Node<'_>, text: &'a str) -> &'a str {
    text.get(node.byte_range()).unwrap_or_default()
}

/// In bytes. The need grows with the square of the length; a file of 250 kB needs two thirds.
const MAX_SCANNED: usize = 100_000_000;

/// In bytes; what is read again after each look at the rest of the file.
const CHUNK: usize = 1024;

/// No rule looks deeper; what is below is text.
const DEEPEST: usize = 16;

/// Source: Microsoft, "Azure built-in roles": general.
const MANAGEMENT_ROLES: [(&str, &str); 3] = [
    ("8e3af657-a8ff-443c-a75c-2fe8c4bcb635", "Owner"),
    ("b24988ac-6180-42a0-ab88-20f7382dd24c", "Contributor"),
    ("acdd72a7-3385-48ef-bd42-f606fba81ae7", "Reader"),
];
