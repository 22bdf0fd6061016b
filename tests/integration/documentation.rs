//! The pages agree with each other and with the code.

mod limits;
mod links;
mod operations;
mod options;
mod paths;
mod tables;

use std::fs;
use std::path::Path;

/// The rows below a header, as cells.
fn table<'a>(page: &'a str, header: &str) -> Vec<Vec<&'a str>> {
    let lines = page.lines().skip_while(|line| !line.starts_with(header)).skip(2);
    let rows = lines.take_while(|line| line.starts_with('|'));
    let cells = |row: &'a str| {
        let cells = row.trim().trim_start_matches('|');
        let cells = cells.strip_suffix('|').unwrap();
        cells.split('|').map(str::trim).collect()
    };
    rows.map(cells).collect()
}

fn code_spans(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

fn one_line(file: &str) -> String {
    read(file).split_whitespace().collect::<Vec<_>>().join(" ")
}

fn read(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
