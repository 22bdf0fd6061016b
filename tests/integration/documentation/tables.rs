//! Features, clouds, advisories, examples and messages in the pages are those of the repository.

use std::collections::BTreeSet;

use entra_workload::Cloud;

use super::{code_spans, read, table};

#[test]
fn documented_features_are_those_of_the_manifest_with_their_number_of_crates() {
    let manifest = read("Cargo.toml");
    let features = manifest.split("\n[features]\n").nth(1).unwrap();
    let features = features.split("\n[").next().unwrap();
    let defined = features
        .lines()
        .filter_map(|line| Some(line.split_once(" = ")?.0));
    let defined: BTreeSet<&str> = defined.filter(|name| *name != "default").collect();
    let default: Vec<&str> = features.split('"').skip(1).step_by(2).collect();
    let is_default = |name: &str| default.iter().take(DEFAULT_FEATURES).any(|of| *of == name);

    let page = read("docs/configuration.md");
    let rows = table(&page, "| feature | default |");
    let documented: BTreeSet<&str> = rows.iter().map(|row| row[0].trim_matches('`')).collect();
    assert_eq!(documented, defined);

    let crates = |list: &str| {
        let names = read(&format!("tests/dependencies/{list}.txt"));
        names.lines().map(str::to_owned).collect::<BTreeSet<String>>()
    };
    let core = crates("core");
    for row in rows {
        let name = row[0].trim_matches('`');
        // These two have no crate of their own.
        let list = match name {
            "diagnose" => "default-credential",
            "test-util" => "core",
            _ => name,
        };
        let added = crates(list).difference(&core).count().to_string();
        assert_eq!(row[3], added, "{name}");
        // `command` is a part of `default-credential`.
        assert_eq!(row[1] == "yes", is_default(name) || name == "command", "{name}");
    }
    for (text, count) in [
        ("core's ", core.len()),
        ("The default features have ", crates("default").len()),
    ] {
        assert!(page.contains(&format!("{text}{count}")), "{text}{count}");
    }
}

#[test]
fn documented_clouds_have_the_login_host_and_the_audience_of_the_source() {
    let page = read("docs/configuration.md");
    let rows = table(&page, "| `Cloud` |");
    assert!(!rows.is_empty());
    for row in rows {
        let [name, host, audience] = [0, 1, 2].map(|column| code_spans(row[column]).next().unwrap());
        let cloud = Cloud::of_authority_host(host).unwrap();
        assert_eq!(format!("{cloud:?}"), name);
        assert_eq!(cloud.authority_host(), host);
        assert_eq!(cloud.token_exchange_audience(), audience);
    }
}

#[test]
fn examples_of_the_default_credential_are_rows_of_the_tested_table() {
    let tested = read("tests/fixtures/default_chain.md");
    let tested = table(&tested, "| where |");
    let page = read("docs/default-credential.md");
    let examples = table(&page, "| where |");
    assert!(!examples.is_empty());
    for example in examples {
        let is_tested = |row: &Vec<&str>| [row[0], row[3], row[4]] == example[..];
        assert!(tested.iter().any(is_tested), "{example:?}");
    }
}

#[test]
fn every_ignored_advisory_is_in_the_page_about_configuration() {
    let (deny, page) = (read("deny.toml"), read("docs/configuration.md"));
    let ids: Vec<&str> = deny
        .lines()
        .filter_map(|line| line.trim().strip_prefix("{ id = \""))
        .collect();
    for id in ids.iter().filter_map(|line| line.split('"').next()) {
        assert!(page.contains(id), "{id}");
    }
    assert!(!ids.is_empty());
}

/// How many features `default` names; it comes first.
const DEFAULT_FEATURES: usize = 4;
