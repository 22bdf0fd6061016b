//! A chain on a machine with a managed identity, with the emulator as its metadata service.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use async_trait::async_trait;
use bytes::Bytes;
use entra_workload::transport::Transport;
use entra_workload::{DefaultAzureCredential, Environment, Error, ErrorKind, TokenRequest};
use entra_workload_emulator::Emulator;

/// Returns a folder with an Azure CLI that is logged in.
fn folder_with_az() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let az = folder.path().join("az");
    let token = r#"{"accessToken":"another-identity","expires_on":4102444800,"tokenType":"Bearer"}"#;
    fs::write(&az, format!("#!/bin/sh\necho '{token}'\n")).unwrap();
    fs::set_permissions(&az, fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

#[tokio::test]
async fn chain_stops_at_the_managed_identity_when_the_resource_is_misspelt() {
    let emulator = Emulator::start().await.unwrap();
    emulator.assign_system_identity();
    let folder = folder_with_az();
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
    assert_eq!(credential.selected(), None);

    let token = credential
        .token(&["https://vault.azure.net/.default"])
        .await
        .unwrap();
    assert_ne!(token.secret(), "another-identity");
    assert_eq!(credential.selected(), Some("managed identity"));
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

#[tokio::test]
async fn request_with_a_tenant_gets_a_token_of_az_without_a_metadata_service() {
    let folder = folder_with_az();
    let builder = || {
        DefaultAzureCredential::builder()
            .environment(Environment::from_iter([
                ("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://127.0.0.1:9".as_ref()),
                ("PATH", folder.path()),
            ]))
            .transport(NoTransport)
    };
    for builder in [
        builder().additionally_allowed_tenants(["contoso.com"]),
        builder().tenant_id("contoso.com"),
    ] {
        let credential = builder.build().unwrap();
        let request = TokenRequest::new(&["https://vault.azure.net/.default"]).tenant_id("contoso.com");
        let token = credential.token_for(&request).await.unwrap();
        assert_eq!(token.secret(), "another-identity");
        assert_eq!(credential.selected(), Some("azure cli"));
    }
}

#[tokio::test]
async fn managed_identity_accepts_a_tenant_that_is_its_own_or_ignored() {
    let emulator = Emulator::start().await.unwrap();
    emulator.assign_system_identity();
    for (own, disables_multitenant_auth, tenant, is_accepted) in [
        (Some("contoso.com"), "", "CONTOSO.com", true),
        (Some("contoso.com"), "", "fabrikam.com", false),
        (None, "", "contoso.com", false),
        (None, "1", "contoso.com", true),
        (Some("contoso.com"), "1", "fabrikam.com", true),
    ] {
        let mut builder = DefaultAzureCredential::builder()
            .environment(Environment::from_iter([
                ("AZURE_POD_IDENTITY_AUTHORITY_HOST", emulator.imds_url()),
                (
                    "AZURE_IDENTITY_DISABLE_MULTITENANTAUTH",
                    disables_multitenant_auth,
                ),
            ]))
            .additionally_allowed_tenants(["*"]);
        if let Some(own) = own {
            builder = builder.tenant_id(own);
        }
        let credential = builder.build().unwrap();
        let request = TokenRequest::new(&["https://vault.azure.net/.default"]).tenant_id(tenant);
        let kind = credential
            .token_for(&request)
            .await
            .map_err(|error| error.kind())
            .err();
        let expected = (!is_accepted).then_some(ErrorKind::Configuration);
        assert_eq!(kind, expected, "{own:?} {disables_multitenant_auth:?} {tenant}");
    }
}
