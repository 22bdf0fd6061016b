//! "Troubleshooting" has a section for each code, with the texts of the catalog.

use std::fs;
use std::path::Path;

#[path = "../../src/catalog.rs"]
mod catalog;

use catalog::{CATALOG, Entry};
use entra_workload::Code;

#[test]
fn every_code_has_one_entry_in_order() {
    let codes: Vec<Code> = CATALOG.iter().map(|entry| entry.code).collect();
    assert_eq!(codes, Code::ALL);
}

/// `UPDATE=1 cargo test -p entra-workload-cli --test integration troubleshooting::` writes them.
#[test]
fn page_has_the_sections_of_the_catalog() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/troubleshooting.md");
    let page = fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(START).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    let sections: String = CATALOG.iter().map(section).collect();
    let expected = format!("{before}{START}{sections}{END}{after}");
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, &expected).unwrap();
    }
    assert_eq!(fs::read_to_string(&path).unwrap(), expected);
}

/// Their addresses are in errors, reports and logs.
#[test]
fn each_code_links_to_its_section() {
    for Entry { code, .. } in CATALOG {
        let anchor = code.to_string().to_lowercase();
        assert!(
            code.url().ends_with(&format!("/guide/troubleshooting/#{anchor}")),
            "{code}"
        );
        assert!(section(Entry::of(*code).unwrap()).starts_with(&format!("### {code}\n")));
    }
}

fn section(entry: &Entry) -> String {
    let Entry { code, cause, fix, .. } = entry;
    let numbers: Vec<String> = entry.aadsts().iter().map(u32::to_string).collect();
    let aadsts = match &numbers[..] {
        [] => String::new(),
        numbers => format!(", AADSTS {}", numbers.join(", ")),
    };
    let (title, owner) = (code.title(), code.owner());
    let cause = match *cause {
        "" => String::new(),
        cause => format!("{cause} "),
    };
    format!("### {code}\n\n**{title}** ({owner}{aadsts})\n\n{cause}**Fix:** {fix}\n\n")
}

const START: &str = "<!-- codes: written by cli/tests/integration/troubleshooting.rs -->\n\n";
const END: &str = "<!-- end of codes -->";
