//! A chain on a machine with a managed identity, with the emulator as its metadata service.
#![cfg(all(unix, feature = "default-credential"))]
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

use std::fs;
use std::os::unix::fs::PermissionsExt;

use async_trait::async_trait;
use bytes::Bytes;
use entra_workload::{DefaultAzureCredential, Environment, Error, ErrorKind, Transport};
use entra_workload_emulator::Emulator;

#[tokio::test]
async fn chain_stops_at_the_managed_identity_when_the_resource_is_misspelt() {
    let emulator = Emulator::start().await.unwrap();
    emulator.assign_system_identity();
    let folder = tempfile::tempdir().unwrap();
    let az = folder.path().join("az");
    let token = r#"{"accessToken":"another-identity","expires_on":4102444800,"tokenType":"Bearer"}"#;
    fs::write(&az, format!("#!/bin/sh\necho '{token}'\n")).unwrap();
    fs::set_permissions(&az, fs::Permissions::from_mode(0o755)).unwrap();
    let credential = DefaultAzureCredential::builder()
        .environment(Environment::from_iter([
            ("AZURE_POD_IDENTITY_AUTHORITY_HOST", emulator.imds_url().as_ref()),
            ("PATH", folder.path().as_os_str()),
        ]))
        .build()
        .unwrap();

    let error = credential
        .token(&["https://vualt.azure.net/.default"])
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected, "{error}");
    assert_eq!(error.oauth_error(), Some("invalid_resource"), "{error}");
    assert_eq!(error.aadsts_codes(), [500_011]);
    assert_eq!(credential.answered_by(), None);

    let token = credential
        .token(&["https://vault.azure.net/.default"])
        .await
        .unwrap();
    assert_ne!(token.secret(), "another-identity");
    assert_eq!(credential.answered_by(), Some("managed identity"));
}

/// Refuses to send.
#[derive(Debug)]
struct NoTransport;

#[async_trait]
impl Transport for NoTransport {
    async fn send(&self, _request: http::Request<Bytes>) -> Result<http::Response<Bytes>, Error> {
        Err(Error::new(ErrorKind::Transport, "not sent"))
    }
}

#[tokio::test]
async fn transport_of_the_chain_is_that_of_the_managed_identity() {
    let emulator = Emulator::start().await.unwrap();
    emulator.assign_system_identity();
    let credential = DefaultAzureCredential::builder()
        .environment(Environment::from_iter([(
            "AZURE_POD_IDENTITY_AUTHORITY_HOST",
            emulator.imds_url(),
        )]))
        .transport(NoTransport)
        .build()
        .unwrap();
    let error = credential
        .token(&["https://vault.azure.net/.default"])
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(
        error.to_string().contains("there is no metadata service"),
        "{error}"
    );
    assert!(emulator.requests().is_empty());
}
