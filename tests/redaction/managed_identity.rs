//! Managed identities of a machine and of an App Service app.

use std::sync::Arc;

use entra_workload::ManagedIdentityCredential;
use entra_workload::builder::ManagedIdentityCredentialBuilder;
use entra_workload_emulator::{Endpoint, Fault};
use http::Response;

use crate::leak_check::{CLIENT_SECRET, LeakCheck};
use crate::support::sample::{Sample, example};

#[tokio::test]
async fn nothing_leaks_when_a_machine_has_an_identity_or_none() {
    let mut check = LeakCheck::start().await;
    check.show(&builder(&check));
    let credential = build(&check);
    check.show_failure(&*credential).await;
    check.emulator.assign_system_identity();
    let credential = build(&check);
    check.show_token(&*credential).await;
    check.finish(["azure_identity::", "typespec_client_core::"]);
}

#[tokio::test]
async fn nothing_leaks_when_the_metadata_service_echoes_a_token() {
    let mut check = LeakCheck::start().await;
    check.emulator.assign_system_identity();
    let credential = build(&check);
    let token = check.show_token(&*credential).await;
    let cut = token.secret().get(100..400).unwrap();
    check
        .show_echoes(Endpoint::Imds, &[token.secret(), cut], build)
        .await;
    check.finish(["azure_identity::", "typespec_client_core::"]);
}

/// In a process of its own: the SDK reads the secret header of the host from the environment of the
/// process.
#[tokio::test]
async fn nothing_leaks_when_an_app_service_app_gets_a_token_or_an_echo() {
    let mut check = LeakCheck::start().await;
    check.emulator.assign_system_identity();
    let header = check.emulator.app_service_header().to_owned();
    check.add_secret(&header);
    let folder = tempfile::tempdir().unwrap();
    let sample = Sample::new(
        example("default_credential"),
        check.emulator.ca_certificate_file(),
        folder.path(),
    )
    .variable("RUST_LOG", "trace")
    .variable("IDENTITY_ENDPOINT", check.emulator.app_service_url())
    .variable("IDENTITY_HEADER", &header);
    for code in [0, 1] {
        let output = sample.run([]).await;
        assert_eq!(output.code, Some(code), "{}", output.stderr);
        assert!(output.stderr.contains("TRACE hyper_util::"), "{}", output.stderr);
        check.show_text(String::from_utf8(output.stdout).unwrap());
        check.show_text(output.stderr);
        let refusal = Response::builder().status(403);
        let refusal = refusal.body(format!("no: {header}").into()).unwrap();
        check.emulator.inject(Endpoint::AppService, Fault::reply(refusal));
    }
    check.finish([]);
}

/// The SDK quotes the endpoint that it reads from the environment of the process.
#[tokio::test]
async fn nothing_leaks_when_the_endpoint_of_an_app_service_app_holds_a_secret() {
    let mut check = LeakCheck::start().await;
    let folder = tempfile::tempdir().unwrap();
    for endpoint in [
        CLIENT_SECRET.to_owned(),
        format!("http://user:{CLIENT_SECRET}@127.0.0.1:1/"),
        format!("http://127.0.0.1:1/?secret={CLIENT_SECRET}"),
    ] {
        let example = example("default_credential");
        let sample = Sample::new(example, check.emulator.ca_certificate_file(), folder.path())
            .variable("RUST_LOG", "trace")
            .variable("IDENTITY_ENDPOINT", &endpoint)
            .variable("IDENTITY_HEADER", "header");
        let output = sample.run([]).await;
        assert_eq!(output.code, Some(1), "{}", output.stderr);
        assert!(
            output.stderr.contains("IDENTITY_ENDPOINT is not a URL"),
            "{}",
            output.stderr
        );
        check.show_text(String::from_utf8(output.stdout).unwrap());
        check.show_text(output.stderr);
    }
    check.finish([]);
}

fn builder(check: &LeakCheck) -> ManagedIdentityCredentialBuilder {
    ManagedIdentityCredential::builder()
        .environment(check.machine())
        .clock(check.clock.clone())
}

fn build(check: &LeakCheck) -> Arc<ManagedIdentityCredential> {
    builder(check).build().unwrap()
}
