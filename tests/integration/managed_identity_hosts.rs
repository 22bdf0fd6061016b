//! Managed identities on Azure Arc, Azure ML, Service Fabric and Cloud Shell, against the emulator.

use std::sync::Arc;
use std::time::Duration;

use crate::support::identifiers::{NO_METADATA_SERVICE, VAULT};
use crate::support::log::watch_for_secrets;
use entra_workload::builder::{ManagedIdentityCredentialBuilder, ManagedIdentityId};
use entra_workload::{DefaultAzureCredential, Environment, Error, ErrorKind, ManagedIdentityCredential};
use entra_workload_emulator::{Emulator, Endpoint, Fault, IdentityHost, ManagedIdentity};

const HOSTS: [IdentityHost; 4] = [
    IdentityHost::ServiceFabric,
    IdentityHost::AzureArc,
    IdentityHost::AzureMl,
    IdentityHost::CloudShell,
];

fn builder(emulator: &Emulator, host: IdentityHost) -> ManagedIdentityCredentialBuilder {
    watch_for_secrets();
    ManagedIdentityCredential::builder()
        .environment(environment(emulator, host, []))
        .arc_key_folder(emulator.arc_key_folder())
}

/// The variables of a host, and more.
fn environment<const N: usize>(
    emulator: &Emulator,
    host: IdentityHost,
    more: [(&'static str, String); N],
) -> Environment {
    let (name, value) = NO_METADATA_SERVICE;
    let variables = emulator.host_variables(host).into_iter();
    variables.chain([(name, value.to_owned())]).chain(more).collect()
}

async fn fetch(credential: &Arc<ManagedIdentityCredential>) -> Result<(), Error> {
    credential.clear();
    credential.token(&[VAULT]).await.map(drop)
}

#[tokio::test]
async fn system_assigned_identity_gets_a_token_on_every_host() {
    for host in HOSTS {
        let emulator = Emulator::start().await.unwrap();
        emulator.assign_system_identity();
        let credential = builder(&emulator, host).build().unwrap();
        fetch(&credential).await.unwrap();
        fetch(&credential).await.unwrap();
        let statuses: Vec<Option<u16>> = emulator
            .requests_to(Endpoint::IdentityHost)
            .iter()
            .map(entra_workload_emulator::RecordedRequest::status)
            .collect();
        match host {
            // The agent challenges each request.
            IdentityHost::AzureArc => assert_eq!(statuses, [Some(401), Some(200), Some(401), Some(200)]),
            _ => assert_eq!(statuses, [Some(200); 2], "{host:?}"),
        }
        assert!(emulator.requests_to(Endpoint::Imds).is_empty());
    }
}

#[tokio::test]
async fn azure_ml_finds_a_user_assigned_identity_by_its_client_id() {
    let emulator = Emulator::start().await.unwrap();
    let identity = ManagedIdentity::named("orders");
    emulator.assign_identity(identity.clone());
    let id = ManagedIdentityId::ClientId(identity.client_id.clone());
    fetch(&builder(&emulator, IdentityHost::AzureMl).id(id).build().unwrap())
        .await
        .unwrap();

    let default_id = ("DEFAULT_IDENTITY_CLIENT_ID", identity.client_id);
    let by_default = ManagedIdentityCredential::builder()
        .environment(environment(&emulator, IdentityHost::AzureMl, [default_id]))
        .build()
        .unwrap();
    fetch(&by_default).await.unwrap();

    let unknown = ManagedIdentityId::ClientId("00000000-0000-4000-8000-00000000000f".into());
    let error = fetch(
        &builder(&emulator, IdentityHost::AzureMl)
            .id(unknown)
            .build()
            .unwrap(),
    )
    .await
    .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected);
}

#[tokio::test]
async fn id_that_a_host_does_not_support_is_named_before_a_request() {
    let emulator = Emulator::start().await.unwrap();
    emulator.assign_system_identity();
    for (host, name) in [
        (
            IdentityHost::AzureArc,
            "the agent of Azure Arc has a system-assigned identity only",
        ),
        (
            IdentityHost::ServiceFabric,
            "Service Fabric chooses the identity by the application's manifest",
        ),
        (
            IdentityHost::CloudShell,
            "Cloud Shell has a system-assigned identity only",
        ),
    ] {
        let id = ManagedIdentityId::ClientId("7a5ff21b-4f5b-4f5b-9e3e-2c0b5a1d9a10".into());
        let error = fetch(&builder(&emulator, host).id(id).build().unwrap())
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration);
        assert!(error.to_string().starts_with(name), "{error}");
    }
    assert!(emulator.requests_to(Endpoint::IdentityHost).is_empty());
}

#[tokio::test]
async fn host_that_is_not_ready_is_asked_again() {
    for host in HOSTS {
        let emulator = Emulator::start().await.unwrap();
        emulator.assign_system_identity();
        emulator.inject(Endpoint::IdentityHost, Fault::status(410));
        fetch(&builder(&emulator, host).build().unwrap()).await.unwrap();
    }
}

#[tokio::test]
async fn wrong_resource_is_rejected_with_the_reason() {
    for host in HOSTS {
        let emulator = Emulator::start().await.unwrap();
        emulator.assign_system_identity();
        let credential = builder(&emulator, host).build().unwrap();
        let error = credential
            .token(&["https://valt.azure.net/.default"])
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Rejected);
        assert!(error.to_string().contains("AADSTS500011"), "{error}");
    }
}

#[tokio::test]
async fn challenge_of_azure_arc_for_another_file_is_refused() {
    let emulator = Emulator::start().await.unwrap();
    emulator.assign_system_identity();
    let credential = ManagedIdentityCredential::builder()
        .environment(environment(&emulator, IdentityHost::AzureArc, []))
        .build()
        .unwrap();
    let error = fetch(&credential).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);
    assert!(
        error
            .to_string()
            .contains("names a file that is not one of the agent's"),
        "{error}"
    );
}

#[tokio::test]
async fn certificate_of_service_fabric_that_has_another_thumbprint_is_refused() {
    let emulator = Emulator::start().await.unwrap();
    emulator.assign_system_identity();
    let wrong = ("IDENTITY_SERVER_THUMBPRINT", "00".repeat(20));
    let credential = ManagedIdentityCredential::builder()
        .environment(environment(&emulator, IdentityHost::ServiceFabric, [wrong]))
        .build()
        .unwrap();
    let error = tokio::time::timeout(Duration::from_secs(60), fetch(&credential))
        .await
        .unwrap()
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("is not the one that its host has announced"),
        "{error}"
    );
    assert!(emulator.requests_to(Endpoint::IdentityHost).is_empty());
}

#[tokio::test]
async fn host_of_the_chain_is_used_without_a_probe_and_stops_it_if_it_fails() {
    let emulator = Emulator::start().await.unwrap();
    let chain = DefaultAzureCredential::builder()
        .environment(environment(&emulator, IdentityHost::CloudShell, []))
        .build()
        .unwrap();
    let error = chain.token(&[VAULT]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected, "{error}");
    emulator.assign_system_identity();
    chain.clear();
    let chain = DefaultAzureCredential::builder()
        .environment(environment(&emulator, IdentityHost::CloudShell, []))
        .build()
        .unwrap();
    chain.token(&[VAULT]).await.unwrap();
    assert_eq!(chain.selected(), Some("managed identity"));
}
