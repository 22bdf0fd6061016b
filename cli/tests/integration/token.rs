//! `entra-workload token`: what other programs read.

use std::process::{Command, Output};

use entra_workload_emulator::{Emulator, Pod};
use serde_json::Value;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn token_is_printed_in_the_form_that_was_asked_for() {
    let (emulator, pod) = start().await;
    let bare = text(&token(&emulator, &pod, &[]));
    let bare = bare.strip_suffix('\n').unwrap();
    assert_eq!(bare.split('.').count(), 3);

    let json: Value = serde_json::from_str(&text(&token(&emulator, &pod, &["--output", "json"]))).unwrap();
    assert_eq!(json["accessToken"].as_str().unwrap().split('.').count(), 3);
    let time = json["expiresOn"].as_str().unwrap();
    assert!(time.ends_with('Z') && time.contains('T'), "{time}");

    let env = text(&token(&emulator, &pod, &["--output", "env"]));
    let words = shlex::split(&env).unwrap();
    assert!(words[0] == "export" && words[1].starts_with("AZURE_ACCESS_TOKEN=eyJ"));

    let exec = text(&token(&emulator, &pod, &["--output", "exec-credential"]));
    let exec: Value = serde_json::from_str(&exec).unwrap();
    assert_eq!(exec["apiVersion"], "client.authentication.k8s.io/v1");
    assert_eq!(exec["kind"], "ExecCredential");
    assert!(exec["status"]["token"].as_str().unwrap().starts_with("eyJ"));
    assert!(exec["status"]["expirationTimestamp"].is_string());
}

/// `kubectl` refuses the output in another version than that of its configuration.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exec_credential_has_the_version_that_kubectl_asks_for() {
    let (emulator, pod) = start().await;
    let run = |info: &str| {
        let mut command = token_command(&emulator, &pod, &["--output", "exec-credential"]);
        command.env("KUBERNETES_EXEC_INFO", info).output().unwrap()
    };
    for version in ["v1", "v1beta1"] {
        let version = format!("client.authentication.k8s.io/{version}");
        let info = serde_json::json!({"apiVersion": version, "kind": "ExecCredential", "spec": {}});
        let exec: Value = serde_json::from_str(&text(&run(&info.to_string()))).unwrap();
        assert_eq!(exec["apiVersion"], version);
    }
    for info in [
        r#"{"apiVersion": "client.authentication.k8s.io/v2\u001b"}"#,
        "{}",
        "x",
    ] {
        let output = run(info);
        assert_eq!(output.status.code(), Some(64), "{info}");
        assert!(output.stdout.is_empty());
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(
            error.contains("KUBERNETES_EXEC_INFO") && !error.contains('\u{1b}'),
            "{error}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn claims_are_printed_in_place_of_the_token() {
    let (emulator, pod) = start().await;
    let shown = text(&token(&emulator, &pod, &["--claims"]));
    let claims: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(claims["tid"], pod.tenant_id());
    assert!(!shown.contains("eyJ"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn error_goes_to_standard_error_with_its_code() {
    let (emulator, pod) = start().await;
    emulator.entra().remove_federated_credentials(pod.client_id());
    let output = token(&emulator, &pod, &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(
        error.contains("AADSTS70025") && error.contains("(EW401)"),
        "{error}"
    );
}

#[test]
fn wrong_arguments_exit_with_64_and_completions_know_every_command() {
    let run = |arguments: &[&str]| command().args(arguments).output().unwrap();
    for arguments in [
        &[][..],
        &["token"],
        &["doctor", "--timeout", "0"],
        &["no-such-command"],
    ] {
        assert_eq!(run(arguments).status.code(), Some(64), "{arguments:?}");
    }
    let script = text(&run(&["completions", "bash"]));
    for command in ["doctor", "lint", "token", "completions"] {
        assert!(script.contains(command), "{command}");
    }
    assert!(text(&run(&["--version"])).starts_with("entra-workload "));
}

async fn start() -> (Emulator, Pod) {
    let emulator = Emulator::start().await.unwrap();
    let pod = emulator.pod("shop", "orders").unwrap();
    (emulator, pod)
}

fn token(emulator: &Emulator, pod: &Pod, arguments: &[&str]) -> Output {
    token_command(emulator, pod, arguments).output().unwrap()
}

fn token_command(emulator: &Emulator, pod: &Pod, arguments: &[&str]) -> Command {
    let mut command = command();
    command
        .args(["token", "--scope", "https://vault.azure.net/.default"])
        .args(arguments)
        .env_clear()
        .envs(pod.variables())
        .env("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://127.0.0.1:9")
        .env("SSL_CERT_FILE", emulator.ca_certificate_file());
    command
}

fn command() -> Command {
    Command::new(env!("CARGO_BIN_EXE_entra-workload"))
}

fn text(output: &Output) -> String {
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout.clone()).unwrap()
}
