//! `docs/operations.md` against the code: the log events and the metrics.

use std::collections::BTreeSet;
use std::fs;

use super::{code_spans, read, root, table};

#[test]
fn operations_page_lists_the_log_events_of_the_source() {
    let page = read("docs/operations.md");
    let mut listed = BTreeSet::new();
    for row in table(&page, "| level | messages |") {
        let level = code_spans(row[0]).next().unwrap();
        listed.extend(code_spans(row[1]).map(|message| (level.to_owned(), message.to_owned())));
    }
    let events: BTreeSet<(String, String)> = sources().iter().flat_map(|source| log_events(source)).collect();
    assert_eq!(listed, events);
    assert!(events.contains(&("info".to_owned(), "selected credential".to_owned())));
}

#[test]
fn operations_page_lists_the_metrics_of_the_source() {
    let names: BTreeSet<String> = read("src/metrics.rs")
        .split('"')
        .filter(|text| text.starts_with("entra_workload_"))
        .map(str::to_owned)
        .collect();
    let page = read("docs/operations.md");
    let rows = table(&page, "| metric |").into_iter();
    let listed: BTreeSet<String> = rows.map(|row| row[0].trim_matches('`').to_owned()).collect();
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
        .filter_map(|(start, path)| source.split_at(start + path.len()).1.split_once("!("));
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
    call.split_at(end.unwrap()).0
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
