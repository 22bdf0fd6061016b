//! Files and folders that the pages for contributors name.

use super::{code_spans, read, root};

#[test]
fn paths_in_the_pages_for_contributors_exist() {
    for page in ["CONTRIBUTING.md", "RELEASING.md", "SECURITY.md"] {
        let text = read(page);
        let text: String = text.split("```").step_by(2).collect();
        for path in code_spans(&text).filter(|span| is_path(span)) {
            assert!(root().join(path).exists(), "{page}: {path}");
        }
    }
}

/// Whether a span is a path below the root, without a placeholder or a choice.
fn is_path(span: &str) -> bool {
    let has_only = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    let is_below = |folder: &str| span.starts_with(folder);
    span.contains('/')
        && span.chars().all(has_only)
        && !span.contains("NAME")
        && FOLDERS.iter().copied().any(is_below)
}

const FOLDERS: [&str; 12] = [
    ".ci/",
    ".github/",
    "benches/",
    "cli/",
    "docs/",
    "emulator/",
    "examples/",
    "fuzz/",
    "scripts/",
    "src/",
    "tests/",
    "tools/",
];
