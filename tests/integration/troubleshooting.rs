//! "Troubleshooting" has a section for each code, with the texts of the catalog.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use entra_workload::diagnose::{CATALOG, Entry};

/// `UPDATE=1 cargo test --all-features --test integration troubleshooting::` writes them.
#[test]
fn page_has_the_sections_and_the_aadsts_codes_of_the_catalog() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/troubleshooting.md");
    let page = fs::read_to_string(&path).unwrap();
    let expected = with_part(&page, "codes", &CATALOG.iter().map(section).collect::<String>());
    let expected = with_part(&expected, "aadsts", &aadsts());
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, &expected).unwrap();
    }
    assert_eq!(fs::read_to_string(&path).unwrap(), expected);
}

#[test]
fn every_message_of_the_catalog_is_in_the_source() {
    let source = source(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    let messages = CATALOG.iter().flat_map(|entry| entry.messages);
    for part in messages.flat_map(|message| message.split('…')).map(str::trim) {
        assert!(source.contains(part), "no error says {part:?}");
    }
}

fn section(entry: &Entry) -> String {
    let Entry {
        code,
        title,
        owner,
        cause,
        fix,
        ..
    } = entry;
    let mut section = format!("### {code}\n\n**{title}** · who: {owner}");
    let aadsts: Vec<String> = entry.aadsts.iter().map(u32::to_string).collect();
    if !aadsts.is_empty() {
        let _ = write!(section, " · AADSTS {}", aadsts.join(", "));
    }
    section.push_str("\n\n");
    if !entry.messages.is_empty() {
        let messages: Vec<String> = entry
            .messages
            .iter()
            .map(|message| format!("`{message}`"))
            .collect();
        let _ = write!(section, "Message: {}\n\n", messages.join(", "));
    }
    let _ = write!(section, "Cause: {cause}\n\nFix: {fix}\n\n");
    section
}

fn aadsts() -> String {
    let mut rows = BTreeMap::<u32, Vec<String>>::new();
    for entry in CATALOG {
        for aadsts in entry.aadsts {
            let code = entry.code.to_string();
            let link = format!("[{code}](#{})", code.to_lowercase());
            rows.entry(*aadsts).or_default().push(link);
        }
    }
    let rows = rows
        .iter()
        .map(|(code, sections)| format!("| {code} | {} |\n", sections.join(", ")));
    format!(
        "| AADSTS | section |\n| --- | --- |\n{}\n",
        rows.collect::<String>()
    )
}

/// Replaces what is between two comments of the page.
fn with_part(page: &str, name: &str, part: &str) -> String {
    let start = format!("<!-- {name}: written by tests/troubleshooting.rs -->\n\n");
    let end = format!("<!-- end of {name} -->");
    let (before, rest) = page.split_once(&start).unwrap();
    let (_, after) = rest.split_once(&end).unwrap();
    format!("{before}{start}{part}{end}{after}")
}

/// Without the catalog itself, and with each text in one line.
fn source(folder: &Path) -> String {
    let mut text = String::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            text += &source(&path);
        } else if !path.ends_with("catalog.rs") {
            let lines = fs::read_to_string(path).unwrap();
            let lines = lines.split("\\\n").enumerate();
            text.extend(
                lines.map(|(index, part)| if index == 0 { part } else { part.trim_start() }.to_owned()),
            );
        }
    }
    text
}
