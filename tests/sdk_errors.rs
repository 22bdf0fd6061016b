//! Errors and secrets of this crate in code that is written against the types of `azure_core`.
#![cfg(feature = "azure-core")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "tests"
)]

mod support;

use azure_core::credentials::Secret as SdkSecret;
use azure_core::error::ErrorKind as SdkErrorKind;
use entra_workload::{ClientSecretCredential, Environment, WorkloadIdentityCredential};

use support::{CLIENT_ID, TENANT_ID, VAULT, pair};

#[test]
fn question_mark_converts_an_error_to_that_of_azure_core() {
    fn ported() -> azure_core::Result<()> {
        WorkloadIdentityCredential::builder()
            .environment(Environment::default())
            .build()?;
        Ok(())
    }
    let error = ported().unwrap_err();
    assert!(matches!(error.kind(), SdkErrorKind::Credential));
    assert!(
        error.to_string().contains("AZURE_FEDERATED_TOKEN_FILE"),
        "{error}"
    );
}

#[tokio::test]
async fn client_secret_accepts_the_secret_of_azure_core() {
    let (transport, mut endpoint) = pair();
    let credential = ClientSecretCredential::builder()
        .environment(Environment::default())
        .tenant_id(TENANT_ID)
        .client_id(CLIENT_ID)
        .client_secret(SdkSecret::new("planted-secret"))
        .transport(transport)
        .build()
        .unwrap();
    let call = tokio::spawn(async move { credential.token(&[VAULT]).await });
    let request = endpoint.request().await;
    assert_eq!(request.form["client_secret"], "planted-secret");
    request.grant("planted-token", 3600);
    call.await.unwrap().unwrap();
}
