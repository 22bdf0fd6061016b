//! The guides: every link leads to a page, in the repository and in the rustdoc, and the README stays short.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn every_ignored_advisory_is_in_the_page_of_the_features() {
    let (deny, page) = (read("deny.toml"), read("docs/features.md"));
    let ids: Vec<&str> = deny
        .lines()
        .filter_map(|line| line.trim().strip_prefix("{ id = \""))
        .collect();
    for id in ids.iter().filter_map(|line| line.split('"').next()) {
        assert!(page.contains(id), "{id}");
    }
    assert!(!ids.is_empty());
}

#[test]
fn readme_has_at_most_600_words_before_its_links() {
    let text = read("README.md");
    let words = text.split("## Links").next().unwrap().split_whitespace().count();
    assert!(words <= 600, "{words} words");
}

#[test]
fn every_relative_link_leads_to_a_file_and_to_a_heading() {
    for page in pages() {
        let text = prose(&read(&page));
        let targets = definitions(&text).into_values().chain(inline_targets(&text));
        for target in targets.filter(|target| !target.contains(':')) {
            let (file, anchor) = target.split_once('#').unwrap_or((&target, ""));
            let path = match file {
                "" => PathBuf::from(&page),
                file => Path::new(&page).parent().unwrap().join(file),
            };
            assert!(root().join(&path).exists(), "{page}: {target}");
            let headings = || headings(&read(path.to_str().unwrap()));
            assert!(
                anchor.is_empty() || headings().iter().any(|heading| heading == anchor),
                "{page}: {target}"
            );
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
    let modules = read("src/guide.rs");
    let in_rustdoc = definitions(&read("docs/rustdoc-links.md"));
    for page in pages().filter(|page| page == "README.md" || modules.contains(&format!("../{page}\")]"))) {
        let text = prose(&read(&page));
        for target in inline_targets(&text) {
            assert!(
                target.starts_with('#') || target.starts_with("https:"),
                "{page}: {target} is dead in the rustdoc; define it in docs/rustdoc-links.md"
            );
        }
        for (label, target) in definitions(&text) {
            let replaced = in_rustdoc
                .get(&label)
                .unwrap_or_else(|| panic!("{page}: rustdoc-links.md lacks [{label}]"));
            let Some(place) = replaced.strip_prefix("crate::guide::") else {
                // A picture that follows its page, or a file that docs.rs shows among the sources.
                let file = replaced.trim_start_matches(SOURCES).trim_end_matches('/');
                assert!(replaced.starts_with("data:") || target.ends_with(file), "{label}");
                continue;
            };
            let (module, anchor) = place.split_once('#').unwrap_or((place, ""));
            let expected = match target.strip_prefix("https://docs.rs/") {
                Some(_) => format!("entra_workload/guide/{module}/index.html"),
                None => module.replace('_', "-"),
            };
            let (file, target_anchor) = target.split_once('#').unwrap_or((&target, ""));
            let file = file.trim_end_matches(".md").to_lowercase();
            assert!(
                file.ends_with(&expected) && anchor == target_anchor,
                "{page}: [{label}] leads to {target} here and to {replaced} in the rustdoc"
            );
        }
    }
}

#[test]
fn every_message_of_the_troubleshooting_page_is_in_the_source() {
    let page = read("docs/troubleshooting.md");
    let rows = page
        .split("## Messages")
        .nth(1)
        .unwrap()
        .split("\n## ")
        .next()
        .unwrap()
        .lines()
        .filter_map(|line| Some(line.strip_prefix("| `")?.split_once('`')?.0));
    let source = source();
    let parts: Vec<&str> = rows
        .flat_map(|message| message.split('…'))
        .map(str::trim)
        .collect();
    assert!(parts.len() > 15, "{parts:?}");
    for part in parts {
        assert!(source.contains(part), "no error says {part:?}");
    }
}

/// Every Markdown file of the root and of `docs`, but for those that only rustdoc shows.
fn pages() -> impl Iterator<Item = String> {
    let of = |folder: &'static str| {
        let names = fs::read_dir(root().join(folder)).unwrap();
        names.map(move |entry| format!("{folder}{}", entry.unwrap().file_name().to_str().unwrap()))
    };
    of("").chain(of("docs/")).filter(|page| {
        let is_markdown = Path::new(page)
            .extension()
            .is_some_and(|extension| extension == "md");
        is_markdown && !page.starts_with("docs/rustdoc-")
    })
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

/// The text of all sources: strings in one line, constants in place of their names.
fn source() -> String {
    let mut folders = vec![root().join("src")];
    let mut source = String::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                source += &fs::read_to_string(path).unwrap();
            }
        }
    }
    let mut lines = source.split("\\\n").map(str::trim_start);
    let joined = lines.next().unwrap().to_owned() + &lines.collect::<String>();
    joined.replace("{AZURE_", "AZURE_").replace('}', "")
}

fn read(page: &str) -> String {
    fs::read_to_string(root().join(page)).unwrap()
}

const SOURCES: &str = "https://docs.rs/crate/entra-workload/latest/source/";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
