//! Client assertions from a program, with shell scripts in its place.

use std::io::{BufRead, BufReader, Read};
use std::process::Command;
use std::time::Duration;

use crate::support::identifiers::{CLIENT_ID, TENANT_ID};
use crate::support::log::{assert_no_secret, watch_for_secrets};
use crate::support::transport::fake_endpoint;
use entra_workload::assertion::CommandAssertion;
use entra_workload::transport::HttpTransport;
use entra_workload::{ClientAssertionCredential, Error, ErrorKind, TokenRequest};
use entra_workload_emulator::{Emulator, Endpoint};

const SCOPES: [&str; 1] = ["https://vault.azure.net/.default"];

/// `{"alg":"RS256"}`, `{}` and a signature.
const JWT: &str = "eyJhbGciOiJSUzI1NiJ9.e30.c2lnbmF0dXJl";

const TENANTS: usize = 12;

fn script(commands: &str) -> CommandAssertion {
    CommandAssertion::new("/bin/sh").args(["-c", commands])
}

/// Gets the error of a credential whose assertion is not sent.
async fn failure(assertion: CommandAssertion) -> Error {
    let (transport, mut endpoint) = fake_endpoint();
    let credential = ClientAssertionCredential::builder()
        .tenant_id(TENANT_ID)
        .client_id(CLIENT_ID)
        .transport(transport)
        .assertion(assertion)
        .build()
        .unwrap();
    let error = credential.token(&SCOPES).await.unwrap_err();
    assert_no_secret(&error);
    endpoint.assert_no_request().await;
    error
}

#[tokio::test]
async fn output_of_a_program_is_the_assertion() {
    watch_for_secrets();
    let emulator = Emulator::start().await.unwrap();
    let pod = emulator.pod("shop", "orders").unwrap();
    // The arguments are passed as they are, and white space around the token is ignored.
    let assertion = CommandAssertion::new("cat").args([pod.token_file()]);
    let padded = script(&format!(
        "echo; echo noise >&2; cat '{}'; echo",
        pod.token_file().display()
    ));
    for assertion in [assertion, padded] {
        let credential = ClientAssertionCredential::builder()
            .tenant_id(pod.tenant_id())
            .client_id(pod.client_id())
            .authority_host(emulator.authority_host())
            .transport(
                HttpTransport::with_root_certificates(emulator.ca_certificate_pem().as_bytes()).unwrap(),
            )
            .assertion(assertion)
            .build()
            .unwrap();
        credential.token(&SCOPES).await.unwrap();
    }
    assert_eq!(emulator.requests_to(Endpoint::Entra).len(), 2);
}

/// The process that it leaves behind holds both output streams open, and waits for a writer of the FIFO.
#[tokio::test]
async fn output_of_a_program_that_leaves_a_process_behind_is_used() {
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let commands = format!("(read line < '{}') & echo {JWT}", fifo.display());
    let (transport, mut endpoint) = fake_endpoint();
    let credential = ClientAssertionCredential::builder()
        .tenant_id(TENANT_ID)
        .client_id(CLIENT_ID)
        .transport(transport)
        .assertion(script(&commands))
        .build()
        .unwrap();
    let entra = async {
        let request = endpoint.request().await;
        assert_eq!(request.form["client_assertion"], JWT);
        request.grant("planted", 3600);
    };
    let (token, ()) = tokio::join!(credential.token(&SCOPES), entra);
    token.unwrap();
    // Waits for ever if nobody reads, so the process has not been killed.
    drop(std::fs::OpenOptions::new().write(true).open(fifo).unwrap());
}

#[tokio::test]
async fn at_most_four_programs_run_at_a_time_for_many_tenants() {
    let folder = tempfile::tempdir().unwrap();
    let commands = format!(
        "cd '{}'; mkdir run.$$; set -- run.*; echo $# >> counts; sleep 0.1; rmdir run.$$; echo {JWT}",
        folder.path().display()
    );
    let (transport, mut endpoint) = fake_endpoint();
    let credential = ClientAssertionCredential::builder()
        .tenant_id(TENANT_ID)
        .client_id(CLIENT_ID)
        .additionally_allowed_tenants(["*"])
        .transport(transport)
        .assertion(script(&commands))
        .build()
        .unwrap();
    let entra = async {
        for _ in 0..TENANTS {
            endpoint.request().await.grant("planted", 3600);
        }
    };
    let tokens = futures::future::join_all((0..TENANTS).map(|tenant| {
        let credential = &credential;
        async move {
            let tenant = format!("tenant{tenant}.example");
            let request = TokenRequest::new(&SCOPES).tenant_id(&tenant);
            credential.token_for(&request).await.unwrap();
        }
    }));
    tokio::join!(tokens, entra);
    let counts = std::fs::read_to_string(folder.path().join("counts")).unwrap();
    let counts: Vec<usize> = counts.lines().map(|count| count.parse().unwrap()).collect();
    assert_eq!(counts.len(), TENANTS);
    assert!(counts.iter().all(|count| *count <= 4), "{counts:?}");
}

#[tokio::test]
async fn each_failure_of_a_program_is_named_without_its_output() {
    for (commands, kind, message) in [
        (
            "echo planted >&2; exit 3",
            ErrorKind::Rejected,
            "sh failed (exit status: 3); run it by hand",
        ),
        (
            "echo planted; kill -9 $$",
            ErrorKind::Rejected,
            "sh failed (signal: 9 (SIGKILL))",
        ),
        (
            "echo planted",
            ErrorKind::Protocol,
            "the output of sh is not a JWT: it has 1 parts",
        ),
        ("true", ErrorKind::Protocol, "the output of sh is not a JWT"),
        (
            r#"echo '{"token":"planted"}'"#,
            ErrorKind::Protocol,
            "not a JWT: it looks like JSON",
        ),
        (
            r"printf '\377planted'",
            ErrorKind::Protocol,
            "the output of sh is not UTF-8",
        ),
        (
            "while :; do echo planted; done",
            ErrorKind::Protocol,
            "sh wrote more than 64 KiB",
        ),
        (
            "while :; do echo planted; done >&2",
            ErrorKind::Protocol,
            "sh wrote more than 64 KiB",
        ),
    ] {
        let error = failure(script(commands)).await;
        assert_eq!(error.kind(), kind, "{commands}: {error}");
        assert!(error.to_string().contains(message), "{commands}: {error}");
    }
}

#[tokio::test]
async fn program_that_cannot_be_started_is_a_configuration_error() {
    for (program, message) in [
        ("/nowhere/print-token", "the program print-token does not exist"),
        (
            "no-such-program-anywhere",
            "the program no-such-program-anywhere does not exist",
        ),
        ("/etc/passwd", "the program passwd is not executable"),
    ] {
        let error = failure(CommandAssertion::new(program).args(["planted"])).await;
        assert_eq!(error.kind(), ErrorKind::Configuration, "{error}");
        assert!(error.to_string().starts_with(message), "{error}");
    }
}

#[test]
fn debug_does_not_show_the_arguments() {
    let shown = format!("{:?}", CommandAssertion::new("print-token").args(["planted"]));
    assert!(
        shown.contains("print-token") && !shown.contains("planted"),
        "{shown}"
    );
}

/// The program and its child hold a FIFO open, so its reader sees the end of the file when the last of
/// them has ended.
#[tokio::test]
async fn program_and_its_children_end_at_the_time_limit() {
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let commands = format!(
        "exec 3> '{}'\n/bin/sleep 60 >/dev/null 2>&1 &\necho started >&3\nwait",
        fifo.display()
    );
    let assertion = script(&commands).timeout(Duration::from_secs(7));
    let (started, has_started) = tokio::sync::oneshot::channel();
    let reader = std::thread::spawn(move || {
        let mut reader = BufReader::new(std::fs::File::open(fifo).unwrap());
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        started.send(line).unwrap();
        // Returns when all of them have ended.
        reader.read_to_string(&mut String::new()).unwrap();
    });
    let (transport, _endpoint) = fake_endpoint();
    let credential = ClientAssertionCredential::builder()
        .tenant_id(TENANT_ID)
        .client_id(CLIENT_ID)
        .transport(transport)
        .timeout(Duration::from_secs(7))
        .assertion(assertion)
        .build()
        .unwrap();
    let token = tokio::spawn(async move { credential.token(&SCOPES).await });
    assert_eq!(has_started.await.unwrap(), "started\n");
    tokio::time::pause();
    let error = token.await.unwrap().unwrap_err();
    assert!(error.to_string().contains("within 7s"), "{error}");
    reader.join().unwrap();
}

#[tokio::test]
async fn whole_command_line_in_place_of_a_program_is_not_shown() {
    for program in [
        "curl -H 'Authorization: Bearer planted' https://token.example.com/planted",
        "/usr/bin/curl --header planted",
        "planted8Q~secret",
    ] {
        let assertion = CommandAssertion::new(program);
        let shown = format!("{assertion:?}");
        assert!(!shown.contains("planted"), "{shown}");
        let error = failure(assertion).await;
        assert_eq!(error.kind(), ErrorKind::Configuration);
        assert!(
            error.to_string().contains("pass its arguments to .args(..)"),
            "{error}"
        );
    }
}
