//! The options of builders in "Configuration" are those of the source.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use super::{code_spans, read, root, table};

#[test]
fn documented_builder_options_are_those_of_the_source() {
    let page = read("docs/configuration.md");
    let shared: BTreeSet<String> = table(&page, "| option |")
        .iter()
        .map(|row| row[0].trim_matches('`').to_owned())
        .collect();
    let mut documented = BTreeMap::new();
    for row in table(&page, "| credential |") {
        let own = code_spans(row[1]).map(str::to_owned);
        let options: BTreeSet<String> = if row[1].starts_with("only") {
            own.collect()
        } else {
            own.chain(shared.iter().cloned()).collect()
        };
        for credential in code_spans(row[0]) {
            documented.insert(format!("{credential}Builder"), options.clone());
        }
    }
    let defined = credential_builders();
    let names: BTreeSet<&String> = documented.keys().chain(defined.keys()).collect();
    for name in names {
        assert_eq!(documented.get(name), defined.get(name), "{name}");
    }
}

/// The options of each builder of a credential: its own methods, and those of `client_options!`.
fn credential_builders() -> BTreeMap<String, BTreeSet<String>> {
    let macros = read("src/credential/macros.rs");
    let macros = macros.split("macro_rules! client_options").nth(1).unwrap();
    let macros = macros.split("\n}\n").next().unwrap();
    let sources: Vec<String> = source_files().iter().map(|file| read(file)).collect();
    let mut builders = BTreeMap::new();
    for source in &sources {
        for name in source.split("pub struct ").skip(1) {
            let name = name.split([' ', '<', '(', ';']).next().unwrap();
            if !name.ends_with("CredentialBuilder") {
                continue;
            }
            let mut options = BTreeSet::new();
            for source in &sources {
                for block in source.split(&format!("impl {name} {{")).skip(1) {
                    options.extend(methods(block.split("\n}\n").next().unwrap()));
                }
                for arm in source.split(&format!("client_options!({name}")).skip(1) {
                    options.extend(macro_options(macros, arm.split(')').next().unwrap()));
                }
            }
            options.remove("build");
            builders.insert(name.to_owned(), options);
        }
    }
    builders
}

/// * `arm`: of `client_options!`, such as `, client_id`.
fn macro_options(macros: &str, arm: &str) -> BTreeSet<String> {
    let start = format!("\n    ($builder:ident{arm}) => {{");
    let text = macros
        .split(&start)
        .nth(1)
        .unwrap_or_else(|| panic!("no arm {arm}"));
    let text = text.split("\n    ($builder:ident").next().unwrap();
    let others = text.split("client_options!($builder").skip(1);
    let others = others.flat_map(|other| macro_options(macros, other.split(')').next().unwrap()));
    methods(text).chain(others).collect()
}

fn methods(block: &str) -> impl Iterator<Item = String> {
    let functions = block.split("pub fn ").skip(1);
    functions.map(|function| function.split(['(', '<']).next().unwrap().to_owned())
}

fn source_files() -> Vec<String> {
    let mut folders = vec![PathBuf::from("src")];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root().join(&folder)).unwrap() {
            let path = folder.join(entry.unwrap().file_name());
            if root().join(&path).is_dir() {
                folders.push(path);
            } else {
                files.push(path.to_str().unwrap().to_owned());
            }
        }
    }
    files
}
