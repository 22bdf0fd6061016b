//! Errors and secrets of this crate in code that is written against the types of `azure_core`.

use azure_core::credentials::Secret as SdkSecret;
use azure_core::error::ErrorKind as SdkErrorKind;
use azure_core::http::Url;
use azure_storage_blob::BlobContainerClient;
use entra_workload::integration::SdkCredential;
use entra_workload::{ClientSecretCredential, Environment, Error, ErrorKind, WorkloadIdentityCredential};

use crate::support::identifiers::{CLIENT_ID, TENANT_ID, VAULT};
use crate::support::log::assert_no_secret;
use crate::support::transport::fake_endpoint;

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
async fn find_in_returns_the_error_behind_that_of_an_sdk_client() {
    let error = sdk_client_error().await;
    let ours = Error::find_in(&error).unwrap();
    assert_eq!(
        (ours.kind(), ours.aadsts_codes()),
        (ErrorKind::Rejected, &[7_000_222][..])
    );
    assert_eq!(Error::find_in(ours).unwrap().to_string(), ours.to_string());
    assert!(Error::find_in(&std::io::Error::other("no SDK error")).is_none());
}

#[tokio::test]
async fn sources_of_an_sdk_client_error_contain_message_and_ids_once() {
    let error = sdk_client_error().await;
    assert_no_secret(&error);
    let texts: Vec<_> = std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source())
        .map(ToString::to_string)
        .collect();
    let [_, message, facts, server_text] = &texts[..] else {
        panic!("{texts:?}");
    };
    assert_eq!(*message, Error::find_in(&error).unwrap().to_string());
    assert_eq!(facts, "Rejected (correlation ID correlation, trace ID trace)");
    assert_eq!(server_text, "AADSTS7000222: no.");
}

#[tokio::test]
async fn error_keeps_its_kind_through_a_wrapped_sdk_credential() {
    let inner = WorkloadIdentityCredential::builder()
        .environment(Environment::from_iter([
            ("AZURE_CLIENT_ID", CLIENT_ID),
            ("AZURE_TENANT_ID", TENANT_ID),
            ("AZURE_FEDERATED_TOKEN_FILE", "/missing"),
        ]))
        .build()
        .unwrap();
    let direct = inner.token(&[VAULT]).await.unwrap_err();
    let wrapped = SdkCredential::new(inner).token(&[VAULT]).await.unwrap_err();
    assert_eq!(wrapped.kind(), ErrorKind::Assertion);
    assert_eq!(format!("{wrapped:?}"), format!("{direct:?}"));
}

/// Returns the error of a Blob client whose credential has an expired client secret.
async fn sdk_client_error() -> azure_core::Error {
    let (transport, mut endpoint) = fake_endpoint();
    let credential = ClientSecretCredential::builder()
        .environment(Environment::default())
        .tenant_id(TENANT_ID)
        .client_id(CLIENT_ID)
        .client_secret("planted-secret")
        .transport(transport)
        .build()
        .unwrap();
    let url = Url::parse("https://account.blob.core.windows.net/reports").unwrap();
    let container = BlobContainerClient::new(url, Some(credential), None).unwrap();
    let call = tokio::spawn(async move { container.get_properties(None).await.map(drop) });
    endpoint.request().await.refuse(401, "invalid_client", 7_000_222);
    call.await.unwrap().unwrap_err()
}

#[tokio::test]
async fn client_secret_accepts_the_secret_of_azure_core() {
    let (transport, mut endpoint) = fake_endpoint();
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
