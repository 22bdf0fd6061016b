//! Which crates each feature adds to a program: a new one must be noticed, and then allowed or removed.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

#[test]
fn the_default_features_bring_in_these_crates() {
    is_as_listed("default", &[]);
}

#[test]
fn the_core_brings_in_these_crates() {
    is_as_listed("core", &alone(""));
}

#[test]
fn the_feature_aws_lc_rs_brings_in_these_crates() {
    is_as_listed("aws-lc-rs", &alone("aws-lc-rs"));
}

#[test]
fn the_feature_ring_brings_in_these_crates() {
    is_as_listed("ring", &alone("ring"));
}

#[test]
fn the_feature_azure_core_brings_in_these_crates() {
    is_as_listed("azure-core", &alone("azure-core"));
}

#[test]
fn the_feature_azure_core_021_brings_in_these_crates() {
    is_as_listed("azure-core-021", &alone("azure-core-021"));
}

#[test]
fn the_feature_client_certificate_brings_in_these_crates() {
    is_as_listed("client-certificate", &alone("client-certificate"));
}

#[test]
fn the_feature_command_brings_in_these_crates() {
    is_as_listed("command", &alone("command"));
}

#[test]
fn the_feature_default_credential_brings_in_these_crates() {
    is_as_listed("default-credential", &alone("default-credential"));
}

#[test]
fn the_feature_diagnose_brings_in_the_crates_of_the_default_credential() {
    is_as_listed("default-credential", &alone("diagnose"));
}

#[test]
fn the_feature_metrics_brings_in_these_crates() {
    is_as_listed("metrics", &alone("metrics"));
}

#[test]
fn the_feature_object_store_brings_in_these_crates() {
    is_as_listed("object-store", &alone("object-store"));
}

#[test]
fn the_feature_reqsign_brings_in_these_crates() {
    is_as_listed("reqsign", &alone("reqsign"));
}

#[test]
fn the_feature_pkcs12_brings_in_these_crates() {
    is_as_listed("pkcs12", &alone("pkcs12"));
}

#[test]
fn the_feature_spiffe_brings_in_these_crates() {
    is_as_listed("spiffe", &alone("spiffe"));
}

#[test]
fn the_feature_reqwest_middleware_brings_in_these_crates() {
    is_as_listed("reqwest-middleware", &alone("reqwest-middleware"));
}

#[test]
fn the_default_features_stay_light() {
    let crates = crates(&[]);
    let names: BTreeSet<&String> = crates.iter().map(|(name, _)| name).collect();
    assert!(names.len() <= MAX_DEFAULT, "{} crates", names.len());
    for (name, version) in &crates {
        assert!(!version.contains('-'), "{name} {version} is a pre-release");
        assert!(!WEAK_CIPHERS.contains(&name.as_str()), "{name}");
    }
}

#[test]
fn a_program_with_ring_needs_no_aws_lc() {
    for features in ["ring", "ring,client-certificate,default-credential"] {
        for (name, _) in crates(&alone(features)) {
            assert!(!name.starts_with("aws-lc"), "{features}: {name}");
        }
    }
}

#[test]
fn the_command_needs_no_aws_lc_beside_ring() {
    for (name, _) in crates_of("entra-workload-cli", &[]) {
        assert!(!name.starts_with("aws-lc"), "{name}");
    }
}

/// Options for Cargo: these features, without the default ones.
fn alone(features: &str) -> [&str; 3] {
    ["--no-default-features", "--features", features]
}

/// * `list`: a file in `tests/dependencies`, one crate a line.
/// * `features`: options for Cargo.
#[track_caller]
fn is_as_listed(list: &str, features: &[&str]) {
    let file = format!("tests/dependencies/{list}.txt");
    let listed = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(&file)).unwrap();
    let listed: BTreeSet<String> = listed.lines().map(str::to_owned).collect();
    let found: BTreeSet<String> = crates(features).into_iter().map(|(name, _)| name).collect();
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
        "{file} differs; edit it if the change is meant:{}{}",
        added.concat(),
        gone.concat()
    );
}

/// The names and versions of what is compiled besides the crate itself.
///
/// * `features`: options for Cargo.
fn crates(features: &[&str]) -> BTreeSet<(String, String)> {
    crates_of("entra-workload", features)
}

fn crates_of(package: &str, features: &[&str]) -> BTreeSet<(String, String)> {
    // Of one platform, so that the result is the same on every machine.
    let tree = Command::new(env!("CARGO"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["tree", "--locked", "--package", package])
        .args(["--edges", "normal,build", "--prefix", "none"])
        .args(["--target", "x86_64-unknown-linux-gnu", "--format", "{p}"])
        .args(features)
        .output()
        .unwrap();
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let tree = String::from_utf8(tree.stdout).unwrap();
    tree.lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(name, rest)| (name, rest.split(' ').next().unwrap()))
        .filter(|(name, _)| *name != package)
        .map(|(name, version)| (name.to_owned(), version.to_owned()))
        .collect()
}

/// By name: a crate in two versions, over which this crate has no power, counts once. `azure_identity` 1.0 alone brings in 139.
const MAX_DEFAULT: usize = 150;

/// Ciphers that only old PKCS#12 files use.
const WEAK_CIPHERS: [&str; 2] = ["des", "rc2"];
