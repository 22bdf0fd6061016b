//! The layers of the crate: `chain → credential → cache → exchange → transport`. No module uses a
//! module of its own or of a higher layer.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// The layers, lowest first. A module uses only modules of the lines above its own.
const LAYERS: [&[&str]; 15] = [
    &[
        "blocking",
        "bounded_file",
        "code",
        "escape",
        "guid",
        "process_group",
    ],
    &["error", "token"],
    &["clock", "crypto", "env", "metrics"],
    &["transport"],
    &["authority", "challenge"],
    &["assertion"],
    &["exchange"],
    &["cache"],
    &["sdk"],
    &["credential"],
    &["chain"],
    &["integration"],
    &["builder"],
    &["diagnose"],
    &["guide", "fuzz"],
];

#[test]
fn modules_use_only_modules_of_lower_layers() {
    let public = public_names(&source("lib.rs"));
    for file in files() {
        assert_eq!(upward_uses(&file, &public), [""; 0], "{}", file.name);
    }
}

#[test]
fn every_form_of_an_upward_use_is_detected() {
    let public = public_names("pub use cache::{Cache, Lease}; pub use error::Error;");
    for (name, code) in [
        ("exchange.rs", "use crate::cache::Cache;"),
        ("exchange.rs", "use crate::Cache;"),
        ("exchange.rs", "use crate::{Error, Lease};"),
        ("exchange.rs", "use crate::{error::{self, Error}, cache::{self}};"),
        ("exchange.rs", "use crate::*;"),
        ("exchange.rs", "use super::cache;"),
        ("exchange.rs", "fn f() -> Option<crate::cache::Cache> { None }"),
        ("exchange.rs", "m! { crate::cache::Cache }"),
        ("exchange.rs", "mod tests { use super::super::cache::Cache; }"),
        ("exchange/reply.rs", "use super::super::cache::Cache;"),
        ("exchange/reply.rs", "use super::super::{error::Error, cache};"),
        ("env.rs", "use crate::clock::Clock;"),
    ] {
        let uses = upward_uses(&File::new(name, code), &public);
        assert_eq!(uses.len(), 1, "{name}: {code} {uses:?}");
    }
    for (name, code) in [
        ("exchange.rs", "use crate::{Error as _, error, exchange::reply};"),
        (
            "exchange.rs",
            "mod tests { use super::*; mod more { use super::super::cache; } }",
        ),
        (
            "exchange/reply.rs",
            "use super::{cache, Cache}; use cache::Cache;",
        ),
        (
            "exchange.rs",
            "/// See [`Cache`](crate::cache::Cache).\nconst NAME: &str = \"crate::cache\";",
        ),
        (
            "exchange.rs",
            "pub(crate) struct S; pub(in crate::exchange) struct T;",
        ),
    ] {
        assert_eq!(
            upward_uses(&File::new(name, code), &public),
            [""; 0],
            "{name}: {code}"
        );
    }
}

/// The checks use each other in one direction only, and what is below them does not use them.
#[test]
fn modules_of_a_diagnosis_use_each_other_without_a_circle() {
    let mut remaining: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for file in files() {
        let Some(own) = file.name.strip_prefix("diagnose/") else {
            continue;
        };
        let own = own.trim_end_matches(".rs").to_owned();
        let targets = file.paths.iter().filter_map(|path| {
            let parts = path.strip_prefix("crate::diagnose::")?.split("::");
            let parts: Vec<&str> = parts
                .take_while(|part| part.starts_with(char::is_lowercase))
                .collect();
            match parts[..] {
                ["checks", check, ..] => Some(format!("checks/{check}")),
                [module, ..] => Some(module.to_owned()),
                [] => None,
            }
        });
        let targets = targets.filter(|target| *target != own).collect();
        remaining.insert(own, targets);
    }
    assert!(remaining.len() > 10, "{remaining:?}");
    while !remaining.is_empty() {
        let is_lowest = |targets: &BTreeSet<String>| targets.iter().all(|name| !remaining.contains_key(name));
        let lowest: Vec<String> = remaining
            .iter()
            .filter(|(_, targets)| is_lowest(targets))
            .map(|(own, _)| own.clone())
            .collect();
        assert!(!lowest.is_empty(), "a circle: {remaining:?}");
        remaining.retain(|own, _| !lowest.contains(own));
    }
}

#[test]
fn lib_rs_contains_only_modules_in_layer_order_and_reexports() {
    let mut layers = Vec::new();
    for item in items(&source("lib.rs")) {
        let words: Vec<&str> = item
            .iter()
            .map(String::as_str)
            .filter(|word| *word != "pub")
            .collect();
        match words[..] {
            ["mod", module] => layers.push(layer(module).expect(module)),
            // `extern crate self` is for the test clock.
            ["use", ..] | ["extern", "crate", "self", ..] => {}
            _ => panic!("neither a module nor a re-export: {words:?}"),
        }
    }
    assert!(layers.is_sorted() && layers.len() > 8, "{layers:?}");
}

#[test]
fn only_env_reads_variables_and_only_clock_reads_the_time() {
    for file in files() {
        let uses = |path: &str| {
            file.paths
                .iter()
                .any(|used| used == path || used.starts_with(&format!("{path}::")))
        };
        let reads_the_time = uses("std::time::Instant::now")
            || uses("std::time::SystemTime::now")
            || uses("SystemTime::now")
            || uses("std::time::Instant") && uses("Instant::now");
        assert_eq!(uses("std::env"), file.name == "env.rs", "{}", file.name);
        assert_eq!(reads_the_time, file.name == "clock.rs", "{}", file.name);
    }
}

#[test]
fn no_file_uses_unsafe_code_or_prints() {
    for file in files() {
        for word in ["unsafe", "print", "println", "eprint", "eprintln", "dbg"] {
            assert!(
                !file.paths.iter().any(|path| path == word),
                "{word} in {}",
                file.name
            );
        }
    }
}

/// Variables that are passed as values, and a cleared environment of the command, replace those of
/// `.cargo/config.toml`.
#[test]
fn every_test_of_managed_identities_replaces_the_metadata_service() {
    let uses = [
        "DefaultAzureCredential::builder",
        "DefaultAzureCredential::new",
        "ManagedIdentityCredential::builder",
        "diagnose(&",
    ];
    let replaces = ["AZURE_POD_IDENTITY_AUTHORITY_HOST", "NO_METADATA_SERVICE"];
    let mut checked = Vec::new();
    for folder in [
        "tests",
        "tests/integration",
        "cli/tests/integration",
        "emulator/tests/integration",
        "benches/peers/tests",
    ] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        // The published package has no other packages.
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let module = entry.unwrap().path();
            let code = code_below(&module) + &code_below(&module.with_extension(""));
            let contains = |words: &[&str]| words.iter().any(|word| code.contains(word));
            let clears = code.contains("env_clear") && code.contains("CARGO_BIN_EXE_entra-workload");
            if (contains(&uses) || clears) && module.file_name() != Some(OsStr::new("layout.rs")) {
                assert!(contains(&replaces), "{} uses the machine's", module.display());
                checked.push(module);
            }
        }
    }
    assert!(checked.len() > 5, "{checked:?}");
}

/// Returns the code of a file, or of all files in a folder.
fn code_below(path: &Path) -> String {
    if path.is_dir() {
        let entries = fs::read_dir(path).unwrap();
        return entries.map(|entry| code_below(&entry.unwrap().path())).collect();
    }
    let is_code = path.is_file() && path.extension() == Some(OsStr::new("rs"));
    let code = is_code.then(|| fs::read_to_string(path).unwrap());
    code.unwrap_or_default()
}

/// Returns the paths in a file that lead to its own or to a higher layer.
fn upward_uses(file: &File, public: &BTreeMap<String, String>) -> Vec<String> {
    let own = layer(file.module()).unwrap_or_else(|| panic!("{} is in no layer", file.name));
    let is_upward = |path: &&String| {
        if UPWARD_EXPORTS.contains(&(&file.name, path)) {
            return false;
        }
        let Some(name) = path
            .strip_prefix("crate::")
            .and_then(|path| path.split("::").next())
        else {
            return false;
        };
        let module = public.get(name).map_or(name, String::as_str);
        module != file.module() && layer(module).is_none_or(|layer| layer >= own)
    };
    file.paths.iter().filter(is_upward).cloned().collect()
}

/// A source of client assertions that is made of a credential, beside the other sources.
const UPWARD_EXPORTS: [(&str, &str); 1] = [("assertion.rs", "crate::credential::CredentialAssertion")];

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|modules| modules.contains(&module))
}

/// Returns the module of each name that `lib.rs` makes public.
fn public_names(lib: &str) -> BTreeMap<String, String> {
    let file = File::new("lib.rs", lib);
    let names = file.paths.iter().filter_map(|path| path.split_once("::"));
    names
        .map(|(module, name)| (name.to_owned(), module.to_owned()))
        .collect()
}

/// A file of the crate and the paths in its code. Paths within the crate start at its root.
struct File {
    name: String,
    paths: Vec<String>,
}

impl File {
    fn new(name: &str, code: &str) -> Self {
        let module = name.trim_end_matches(".rs").split('/').map(str::to_owned);
        let mut paths = Vec::new();
        collect(code.parse().unwrap(), &module.collect::<Vec<_>>(), &mut paths);
        Self {
            name: name.to_owned(),
            paths: paths.iter().map(|path| path.join("::")).collect(),
        }
    }

    fn module(&self) -> &str {
        self.name.split(['/', '.']).next().unwrap()
    }
}

/// Collects the paths in `code`: resolves `super` and `self`, and expands the braces of a `use`.
fn collect(code: TokenStream, module: &[String], paths: &mut Vec<Vec<String>>) {
    let tokens: Vec<TokenTree> = code.into_iter().collect();
    let mut rest = &tokens[..];
    while let [first, after @ ..] = rest {
        rest = after;
        match (first, after) {
            (TokenTree::Ident(word), [TokenTree::Ident(name), TokenTree::Group(body), ..])
                if word == "mod" =>
            {
                collect(body.stream(), &[module, &[name.to_string()]].concat(), paths);
                rest = &after[2..];
            }
            (TokenTree::Ident(word), _) => {
                let word = word.to_string();
                let start = match word.as_str() {
                    "self" => [&["crate".to_owned()], module].concat(),
                    "super" => [&["crate".to_owned()], &module[..module.len() - 1]].concat(),
                    _ => vec![word],
                };
                rest = collect_path(start, after, paths);
            }
            (TokenTree::Group(group), _) => collect(group.stream(), module, paths),
            _ => {}
        }
    }
}

/// Collects the path that starts with `path` and continues in `rest`; returns the tokens after it.
fn collect_path<'a>(
    mut path: Vec<String>,
    mut rest: &'a [TokenTree],
    paths: &mut Vec<Vec<String>>,
) -> &'a [TokenTree] {
    while let [TokenTree::Punct(one), TokenTree::Punct(two), next, after @ ..] = rest
        && (one.as_char(), two.as_char()) == (':', ':')
    {
        match next {
            TokenTree::Ident(word) if word == "super" && path.len() > 1 => drop(path.pop()),
            TokenTree::Ident(word) => path.push(word.to_string()),
            TokenTree::Punct(star) if star.as_char() == '*' => path.push("*".to_owned()),
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => {
                let tokens: Vec<TokenTree> = group.stream().into_iter().collect();
                let mut branches = &tokens[..];
                while let [first, after @ ..] = branches {
                    let branch = [&path[..], &[first.to_string()]].concat();
                    branches = match first {
                        TokenTree::Punct(comma) if comma.as_char() == ',' => after,
                        TokenTree::Ident(word) if word == "as" => &after[1..],
                        _ => collect_path(branch, after, paths),
                    };
                }
                return after;
            }
            _ => break,
        }
        rest = after;
    }
    paths.push(path);
    rest
}

/// Returns the words of each item of a file, without attributes. No item may have a body.
fn items(code: &str) -> Vec<Vec<String>> {
    let mut items = vec![Vec::new()];
    let mut is_attribute = false;
    for token in code.parse::<TokenStream>().unwrap() {
        match token {
            TokenTree::Punct(hash) if hash.as_char() == '#' => is_attribute = true,
            TokenTree::Punct(bang) if bang.as_char() == '!' && is_attribute => {}
            TokenTree::Group(_) if is_attribute => is_attribute = false,
            TokenTree::Punct(end) if end.as_char() == ';' => items.push(Vec::new()),
            token => items.last_mut().unwrap().push(token.to_string()),
        }
    }
    assert!(items.pop().unwrap().is_empty(), "an item with a body");
    items
}

/// Returns all files of the crate except `lib.rs`.
fn files() -> Vec<File> {
    let mut folders = vec![PathBuf::new()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(sources().join(&folder)).unwrap() {
            let entry = entry.unwrap();
            let path = folder.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                folders.push(path);
            } else if path != Path::new("lib.rs") {
                let name = path
                    .iter()
                    .map(|part| part.to_str().unwrap())
                    .collect::<Vec<_>>()
                    .join("/");
                files.push(File::new(&name, &source(&name)));
            }
        }
    }
    assert!(files.len() > 20, "source files are missing");
    files
}

fn source(name: &str) -> String {
    fs::read_to_string(sources().join(name)).unwrap()
}

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}
