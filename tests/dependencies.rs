//! Which crates each feature brings into a program: a new one is to be noticed, and then to be allowed or not.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "tests"
)]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

#[test]
fn the_core_brings_in_these_crates() {
    is_as_listed("core", &["--no-default-features"]);
}

#[test]
fn the_feature_azure_core_brings_in_these_crates() {
    is_as_listed(
        "azure-core",
        &["--no-default-features", "--features", "azure-core"],
    );
}

#[test]
fn the_feature_client_certificate_brings_in_these_crates() {
    let features = ["--no-default-features", "--features", "client-certificate"];
    is_as_listed("client-certificate", &features);
}

#[test]
fn the_feature_azure_core_021_brings_in_these_crates() {
    is_as_listed(
        "azure-core-021",
        &["--no-default-features", "--features", "azure-core-021"],
    );
}

#[test]
fn the_default_is_the_feature_default_credential() {
    is_as_listed(
        "default-credential",
        &["--no-default-features", "--features", "default-credential"],
    );
    is_as_listed("default-credential", &[]);
}

/// * `list`: a file in `tests/dependencies`, one crate a line.
/// * `features`: options for Cargo.
#[track_caller]
fn is_as_listed(list: &str, features: &[&str]) {
    let file = format!("tests/dependencies/{list}.txt");
    let listed = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(&file)).unwrap();
    let listed: BTreeSet<&str> = listed.lines().collect();
    // Of one platform, so that every machine sees the same.
    let tree = Command::new(env!("CARGO"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args([
            "tree",
            "--locked",
            "--package",
            "entra-workload",
            "--edges",
            "normal,build",
            "--prefix",
            "none",
        ])
        .args(["--target", "x86_64-unknown-linux-gnu", "--format", "{p}"])
        .args(features)
        .output()
        .unwrap();
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let tree = String::from_utf8(tree.stdout).unwrap();
    let found: BTreeSet<&str> = tree
        .lines()
        .filter_map(|line| line.split(' ').next())
        .filter(|name| !["", "entra-workload"].contains(name))
        .collect();
    let added: Vec<_> = found
        .difference(&listed)
        .map(|name| format!("\n+ {name}"))
        .collect();
    let gone: Vec<_> = listed
        .difference(&found)
        .map(|name| format!("\n- {name}"))
        .collect();
    assert!(
        added.is_empty() && gone.is_empty(),
        "{file} is to be changed, if this is meant:{}{}",
        added.concat(),
        gone.concat()
    );
}
