//! `docs/operations.md` against the code: the log events and the metrics.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn operations_page_lists_the_log_events_of_the_source() {
    let events: BTreeSet<(String, String)> = sources().iter().flat_map(|source| log_events(source)).collect();
    assert_eq!(rows_of_two_names("## Logs"), events);
    assert!(events.contains(&("info".to_owned(), "selected credential".to_owned())));
}

#[test]
fn operations_page_lists_the_metrics_of_the_source() {
    let names: BTreeSet<String> = read("src/metrics.rs")
        .split('"')
        .filter(|text| text.starts_with("entra_workload_"))
        .map(str::to_owned)
        .collect();
    let listed: BTreeSet<String> = rows("## Metrics").map(|names| names[0].clone()).collect();
    assert_eq!(listed, names);
    assert!(names.contains("entra_workload_fetches_total"));
}

#[test]
fn alerts_use_metrics_that_exist() {
    let page = read("docs/operations.md");
    let (_, rules) = page.split_once("```yaml\n").unwrap();
    let source = read("src/metrics.rs");
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    for name in rules
        .split(|c| !is_of_name(c))
        .filter(|name| name.starts_with("entra_workload_"))
    {
        assert!(source.contains(&format!("\"{name}\"")), "{name}");
    }
}

/// The level and the message of each event: the message is the last literal of the call.
fn log_events(source: &str) -> Vec<(String, String)> {
    let levels = ["debug", "info", "warn", "error", "trace"];
    let calls = source
        .match_indices("tracing::")
        .filter_map(|(start, path)| source[start + path.len()..].split_once("!("));
    let events = calls.filter(|(level, _)| levels.contains(level));
    let event = |(level, call): (&str, &str)| {
        let message = arguments(call).rsplit('"').nth(1).unwrap();
        (level.to_owned(), message.to_owned())
    };
    events.map(event).collect()
}

/// The text up to the parenthesis that ends a call.
fn arguments(call: &str) -> &str {
    let mut open = 1;
    let end = call.find(|c| {
        match c {
            '(' => open += 1,
            ')' => open -= 1,
            _ => {}
        }
        open == 0
    });
    &call[..end.unwrap()]
}

fn rows_of_two_names(heading: &str) -> BTreeSet<(String, String)> {
    rows(heading)
        .map(|names| (names[0].clone(), names[1].clone()))
        .collect()
}

/// The names in backticks of each row of the table below a heading.
fn rows(heading: &str) -> impl Iterator<Item = Vec<String>> {
    let page = read("docs/operations.md");
    let (_, section) = page.split_once(&format!("{heading}\n")).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let rows: Vec<Vec<String>> = section
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| line.split('`').skip(1).step_by(2).map(str::to_owned).collect())
        .collect();
    rows.into_iter()
}

/// The files of the library without their tests.
fn sources() -> Vec<String> {
    let mut folders = vec![root().join("src")];
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let source = fs::read_to_string(path).unwrap();
                sources.push(
                    source
                        .split("\n#[cfg(test)]\nmod tests {")
                        .next()
                        .unwrap()
                        .to_owned(),
                );
            }
        }
    }
    sources
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}
