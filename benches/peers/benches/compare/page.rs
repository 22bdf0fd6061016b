//! `benches/README.md`: the sections that this program writes.

use std::path::{Path, PathBuf};

use azure_core::time::OffsetDateTime;

/// Replaces a section of the page, and says how, when, where and with which versions it was made.
///
/// * `options`: those of the command.
pub fn replace(section: &str, options: &str, text: &str) {
    let path = folder().join("README.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let (begin, end) = (
        format!("<!-- begin {section} -->\n"),
        format!("<!-- end {section} -->\n"),
    );
    let (before, rest) = page.split_once(&begin).unwrap();
    let (_, after) = rest.split_once(&end).unwrap();
    let made_by = made_by(options);
    std::fs::write(&path, format!("{before}{begin}{made_by}\n\n{text}{end}{after}")).unwrap();
}

/// Returns the folder of the page and its pictures.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn made_by(options: &str) -> String {
    format!(
        "`cargo bench -p peers --bench compare{options}`, {}, {} shared cores, {}.",
        OffsetDateTime::now_utc().date(),
        std::thread::available_parallelism().unwrap(),
        versions(),
    )
}

fn versions() -> String {
    let lock = folder().join("../Cargo.lock");
    let lock = std::fs::read_to_string(lock).unwrap();
    let version = |name: &str| {
        // The last of several versions is the newest.
        let entry = lock
            .split("[[package]]")
            .filter(|entry| entry.contains(&format!("name = \"{name}\"\n")))
            .last();
        let version = entry.and_then(|entry| entry.split("version = \"").nth(1)?.split('"').next());
        format!("{name} {}", version.unwrap_or("?"))
    };
    [
        "entra-workload",
        "azure_identity",
        "azure_storage_blob",
        "object_store",
    ]
    .map(version)
    .join(", ")
}
