//! Every link leads to a page and a heading, in the repository and in the rustdoc, which has all pages.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::{read, root};

#[test]
fn code_in_the_readme_fits_80_columns() {
    let text = read("README.md");
    let code = text.split("```").skip(1).step_by(2).flat_map(str::lines);
    let wide: Vec<&str> = code.filter(|line| line.chars().count() > 80).collect();
    assert!(wide.is_empty(), "{wide:#?}");
}

#[test]
fn every_page_is_in_the_rustdoc() {
    let in_rustdoc = modules();
    let pages = pages().into_iter().filter(|page| page.starts_with("docs/"));
    for page in pages.chain(["CHANGELOG.md", "DESIGN.md", "SECURITY.md"].map(str::to_owned)) {
        assert!(in_rustdoc.contains_key(&page), "src/guide.rs lacks {page}");
    }
}

#[test]
fn every_relative_link_leads_to_a_file_and_to_a_heading() {
    for page in pages() {
        let text = prose(&read(&page));
        for target in targets(&text).filter(|target| !target.contains(':')) {
            let (path, anchor) = resolve(&page, &target);
            assert!(root().join(&path).exists(), "{page}: {target}");
            let has_heading = || headings(&read(&path)).contains(&anchor);
            assert!(anchor.is_empty() || has_heading(), "{page}: {target}");
        }
    }
}

#[test]
fn every_link_to_a_published_page_leads_to_a_page_and_to_a_heading() {
    let modules = modules();
    for page in pages() {
        let text = prose(&read(&page));
        for target in targets(&text) {
            let Some(place) = target.strip_prefix(GUIDE) else {
                continue;
            };
            let (module, anchor) = place.split_once("/index.html").unwrap();
            let found = modules.iter().find(|(_, name)| *name == module);
            let (path, _) = found.unwrap_or_else(|| panic!("{page}: {target}"));
            let anchor = anchor.trim_start_matches('#');
            let has_heading = || headings(&read(path)).iter().any(|heading| heading == anchor);
            assert!(anchor.is_empty() || has_heading(), "{page}: {target}");
        }
    }
}

#[test]
fn every_label_of_a_link_is_defined_in_its_page() {
    for page in pages() {
        let text = prose(&read(&page));
        let definitions = definitions(&text);
        let without_code_spans: String = text.split('`').step_by(2).collect();
        for label in between(&without_code_spans, "][", ']') {
            assert!(definitions.contains_key(label), "{page}: [{label}]");
        }
    }
}

/// Within rustdoc, the definitions of `rustdoc-links.md` replace those of the page.
#[test]
fn every_link_of_a_rustdoc_page_leads_to_the_same_page_in_the_rustdoc() {
    let modules = modules();
    let in_rustdoc = definitions(&read("docs/rustdoc-links.md"));
    for page in modules.keys().map(String::as_str).chain(["README.md"]) {
        let text = prose(&read(page));
        for target in inline_targets(&text) {
            assert!(
                target.starts_with('#') || target.starts_with("https:"),
                "{page}: {target} is dead in the rustdoc; define it in docs/rustdoc-links.md"
            );
        }
        for (label, target) in definitions(&text) {
            if target.starts_with("https:") {
                continue;
            }
            let replaced = in_rustdoc
                .get(&label)
                .unwrap_or_else(|| panic!("{page}: rustdoc-links.md lacks [{label}]"));
            let (path, anchor) = resolve(page, &target);
            let expected = match modules.get(&path) {
                Some(module) if anchor.is_empty() => format!("crate::guide::{module}"),
                Some(module) => format!("crate::guide::{module}#{anchor}"),
                // A picture that follows its page.
                None if has_extension(&path, "svg") => {
                    assert!(replaced.starts_with("data:"), "{label}");
                    continue;
                }
                None => format!("{SOURCES}{path}"),
            };
            assert_eq!(replaced.trim_end_matches('/'), expected, "{page}: [{label}]");
        }
    }
}

/// Every Markdown file of this repository, but for fixtures of tests and those that only rustdoc shows.
fn pages() -> Vec<String> {
    let mut folders = vec![String::new()];
    let mut pages = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root().join(&folder)).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            let is_skipped = name.starts_with('.') || ["target", "tests", "node_modules"].contains(&&*name);
            let path = format!("{folder}{name}");
            if entry.file_type().unwrap().is_dir() && !is_skipped {
                folders.push(path + "/");
            } else if has_extension(&name, "md") && !path.starts_with("docs/rustdoc-") {
                pages.push(path);
            }
        }
    }
    pages
}

/// The files that `src/guide.rs` includes, and their modules.
fn modules() -> BTreeMap<String, String> {
    let guide = read("src/guide.rs");
    let mut modules = BTreeMap::new();
    let mut included = Vec::new();
    for line in guide.lines() {
        if let Some((_, rest)) = line.split_once("include_str!(\"../") {
            included.push(rest.split('"').next().unwrap().to_owned());
        } else if let Some(name) = line.strip_prefix("pub mod ") {
            let name = name.trim_end_matches(" {}");
            let pages = included.drain(..).filter(|path| has_extension(path, "md"));
            let pages = pages.filter(|path| path != "docs/rustdoc-links.md");
            modules.extend(pages.map(|path| (path, name.to_owned())));
        }
    }
    modules
}

fn has_extension(path: &str, extension: &str) -> bool {
    Path::new(path)
        .extension()
        .is_some_and(|of_path| of_path == extension)
}

/// The path within this repository and the anchor of a relative link.
fn resolve(page: &str, target: &str) -> (String, String) {
    let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
    if file.is_empty() {
        return (page.to_owned(), anchor.to_owned());
    }
    let folder = page.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut path = Vec::new();
    for part in folder.split('/').chain(file.split('/')) {
        match part {
            "" => {}
            ".." => drop(path.pop().expect(target)),
            part => path.push(part),
        }
    }
    (path.join("/"), anchor.to_owned())
}

fn targets(text: &str) -> impl Iterator<Item = String> {
    definitions(text).into_values().chain(inline_targets(text))
}

/// Without the lines of code blocks.
fn prose(text: &str) -> String {
    let mut in_code = false;
    let mut prose = String::new();
    for line in text.lines() {
        let is_fence = line.trim_start().starts_with("```");
        in_code ^= is_fence;
        if !in_code && !is_fence {
            prose = prose + line + "\n";
        }
    }
    prose
}

/// `[label]: target`.
fn definitions(text: &str) -> BTreeMap<String, String> {
    let lines = text.lines().filter_map(|line| {
        let (label, target) = line.strip_prefix('[')?.split_once("]: ")?;
        Some((label.to_owned(), target.to_owned()))
    });
    lines.collect()
}

/// `[text](target)`.
fn inline_targets(text: &str) -> Vec<String> {
    between(text, "](", ')').map(str::to_owned).collect()
}

fn between<'a>(text: &'a str, start: &'a str, end: char) -> impl Iterator<Item = &'a str> {
    text.split(start)
        .skip(1)
        .filter_map(move |rest| Some(rest.split_once(end)?.0))
}

/// The anchors of a page's headings, as GitHub and rustdoc make them.
fn headings(text: &str) -> Vec<String> {
    let lines = prose(text);
    let headings = lines.lines().filter(|line| line.starts_with('#'));
    let anchor = |line: &str| {
        let text = line.trim_start_matches('#').trim().to_lowercase();
        let kept = |c: &char| c.is_alphanumeric() || " -_".contains(*c);
        text.chars().filter(kept).collect::<String>().replace(' ', "-")
    };
    headings.map(anchor).collect()
}

const GUIDE: &str = "https://docs.rs/entra-workload/latest/entra_workload/guide/";

const SOURCES: &str = "https://docs.rs/crate/entra-workload/latest/source/";
