//! A secret in each variable that the crate reads, and in manifests: no command shows it.

use std::fs;
use std::process::{Command, Output};

#[test]
fn secret_in_any_variable_is_shown_by_neither_doctor_nor_token() {
    let commands: [&[&str]; 3] = [
        &["doctor"],
        &["doctor", "--json"],
        &["token", "--scope", "https://vault.azure.net/.default"],
    ];
    let variables = variables();
    assert!(variables.len() > 45, "{variables:?}");
    let mut leaks = Vec::new();
    for (text, plant) in plants() {
        for variable in &variables {
            for arguments in commands {
                let output = run(command(arguments).envs(pod()).env(variable, &plant));
                let excerpt = planted(&output);
                leaks.extend(excerpt.map(|excerpt| format!("{arguments:?} {variable} = {text}: {excerpt}")));
            }
        }
    }
    assert!(leaks.is_empty(), "{leaks:#?}");
}

#[test]
fn secret_in_every_variable_is_not_shown_by_the_emulator() {
    for (text, plant) in plants() {
        let planting = variables().into_iter().map(|variable| (variable, &plant));
        let arguments = ["emulator", "run", "--allow-external", "--", "/bin/true"];
        let output = run(command(&arguments).envs(planting));
        assert_eq!(planted(&output), None, "{text}");
    }
}

#[test]
fn secret_in_a_manifest_is_not_shown_by_lint() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("deployment.yaml");
    let mut leaks = Vec::new();
    for (text, plant) in plants() {
        for style in [flow, block] {
            let manifests: Vec<String> = variables()
                .iter()
                .map(|variable| style(variable, &plant))
                .collect();
            fs::write(&file, manifests.join("\n---\n")).unwrap();
            for format in ["text", "json", "sarif", "github"] {
                let output = run(command(&["lint", "--format", format]).arg(&file));
                assert_eq!(output.status.code(), Some(1), "{format} {text}: {output:?}");
                leaks.extend(planted(&output).map(|excerpt| format!("{format} {text}: {excerpt}")));
            }
        }
    }
    assert!(leaks.is_empty(), "{leaks:#?}");
}

/// A command without the variables of this process.
fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_entra-workload"));
    // No request leaves this machine, also not to a planted proxy.
    command
        .args(arguments)
        .env_clear()
        .env("RUST_LOG", "trace")
        .env("NO_PROXY", "*")
        .env("AZURE_AUTHORITY_HOST", "https://127.0.0.1:1")
        .env("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://127.0.0.1:1");
    command
}

fn run(command: &mut Command) -> Output {
    command.output().unwrap()
}

fn pod() -> [(&'static str, &'static str); 3] {
    [
        ("AZURE_CLIENT_ID", "7a5ff21b-4f5b-4f5b-9e3e-2c0b5a1d9a10"),
        ("AZURE_TENANT_ID", "72f988bf-86f1-41af-91ab-2d7cd011db47"),
        ("AZURE_FEDERATED_TOKEN_FILE", "/nowhere/token"),
    ]
}

/// A Deployment in one line.
fn flow(variable: &str, value: &str) -> String {
    serde_json::json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name(variable), "namespace": "shop"},
        "spec": {"template": {
            "metadata": {"labels": {"azure.workload.identity/use": "true"}},
            "spec": {
                "serviceAccountName": "orders",
                "containers": [{"name": "app", "image": "app", "env": [{"name": variable, "value": value}]}],
            },
        }},
    })
    .to_string()
}

/// The same in several lines.
fn block(variable: &str, value: &str) -> String {
    let (name, value) = (name(variable), serde_json::json!(value));
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: {name}\n  namespace: shop\nspec:\n  template:\n    \
         metadata:\n      labels:\n        azure.workload.identity/use: \"true\"\n    spec:\n      \
         serviceAccountName: orders\n      containers:\n        - name: app\n          image: app\n          \
         env:\n            - name: {variable}\n              value: {value}\n"
    )
}

fn name(variable: &str) -> String {
    variable.to_ascii_lowercase().replace('_', "-")
}

/// Returns the names of all variables in `src/env.rs` of the library, the only reader of the process environment, and
/// those that its dependencies read.
fn variables() -> Vec<String> {
    let source = include_str!("../../../src/env.rs");
    let (source, _) = source.split_once("#[cfg(test)]\nmod tests").unwrap();
    let is_name = |text: &&str| {
        text.len() >= 4
            && !text.ends_with('_')
            && (text.contains('_') || ["PATH", "ProgramData"].contains(text))
            && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    let of_dependencies = ["SSL_CERT_FILE", "SSL_CERT_DIR", "no_proxy"];
    let mut names: Vec<String> = source.split('"').filter(is_name).map(str::to_owned).collect();
    names.extend(of_dependencies.map(str::to_owned));
    names.sort();
    names.dedup();
    names
}

fn plants() -> [(&'static str, String); 4] {
    [
        (
            "a JWT",
            format!("eyJhbGciOiJSUzI1NiJ9.{MARK_OF_JWT}.c2lnbmF0dXJl"),
        ),
        (
            "PEM",
            format!("-----BEGIN PRIVATE KEY-----\n{SECRET}\n-----END PRIVATE KEY-----\n"),
        ),
        (
            "a secret with control characters",
            format!("{SECRET}\u{1b}]52;c;eA==\u{7}\r\n::stop-commands::x\u{202e}\u{200b}"),
        ),
        (
            "a URL with a user",
            format!("https://user:{SECRET}@127.0.0.1:1/x"),
        ),
    ]
}

/// Returns the text around the first mark.
fn planted(output: &Output) -> Option<String> {
    let text = format!(
        "{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    let start = MARKS.iter().find_map(|mark| text.find(mark))?;
    let before: String = text.get(..start)?.chars().rev().take(150).collect();
    let after: String = text.get(start..)?.chars().take(60).collect();
    Some(format!("{}>>>{after}", before.chars().rev().collect::<String>()))
}

const SECRET: &str = "planted8Q~aZ3xK9mP2vR7tL5nW4bY6cH1dJ0fG";

/// `{"sub":"planted"}` in base64url.
const MARK_OF_JWT: &str = "eyJzdWIiOiJwbGFudGVkIn0";

const MARKS: [&str; 5] = ["planted", MARK_OF_JWT, "\u{1b}", "\n::stop", "\u{202e}"];
