//! The snapshot of the environment, in a process of its own.

use std::collections::BTreeSet;
use std::process::Command;

use entra_workload::Environment;

#[test]
fn snapshot_of_a_process_contains_every_documented_variable() {
    let documented = documented();
    assert!(documented.len() > 25, "{documented:?}");
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "environment::snapshot", "--nocapture"])
        .env_clear()
        .envs(documented.iter().map(|name| (name, "planted")))
        .env("SECRET_OF_ANOTHER_PROGRAM", "planted")
        .output()
        .unwrap();
    let output = String::from_utf8(output.stdout).unwrap();
    let (_, names) = output.split_once("snapshot: {").unwrap();
    let names = names.split_once('}').unwrap().0.split(", ");
    let names: BTreeSet<String> = names.map(|name| name.trim_matches('"').to_owned()).collect();
    assert_eq!(names, documented);
}

#[test]
#[ignore = "started by the test above, with variables"]
fn snapshot() {
    println!("snapshot: {:?}", Environment::from_process());
}

/// Returns the names in "Configuration", and the variables that it has in lower case or no row for.
fn documented() -> BTreeSet<String> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");
    let page = std::fs::read_to_string(path).unwrap();
    let rows = page.lines().filter(|line| line.starts_with("| `"));
    let cells = rows.filter_map(|row| row.split('|').nth(1));
    let names = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    let is_name = |name: &&str| {
        name.chars()
            .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
    };
    let others = [
        "https_proxy",
        "all_proxy",
        "AZURE_KUBERNETES_SNI_NAME",
        "ACTIONS_ID_TOKEN_REQUEST_TOKEN",
        "ACTIONS_ID_TOKEN_REQUEST_URL",
        "ARM_CLIENT_ID",
        "ARM_OIDC_TOKEN",
        "ARM_OIDC_TOKEN_FILE_PATH",
        "SYSTEM_ACCESSTOKEN",
        "KUBERNETES_SERVICE_HOST",
        "KUBERNETES_SERVICE_PORT",
        "PATH",
    ];
    let names = names.filter(is_name).filter(|name| !OF_OTHERS.contains(name));
    names.chain(others).map(str::to_owned).collect()
}

/// Read by the HTTP client and by the library of root certificates, from the process itself.
const OF_OTHERS: [&str; 3] = ["NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR"];
