//! The real `object_store` and OpenDAL with tokens of the emulator: against the emulator, and against
//! Azurite, which `scripts/azurite` installs.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    unreachable_pub,
    reason = "tests"
)]

#[path = "../../../tests/support/azurite.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod azurite;

use std::sync::Arc;

use entra_workload::integration::{ObjectStoreCredential, ReqsignCredential};
use entra_workload::transport::HttpTransport;
use entra_workload::{Environment, WorkloadIdentityCredential};
use entra_workload_emulator::{Emulator, Endpoint, Pod};
use futures::TryStreamExt as _;
use object_store::azure::{MicrosoftAzure, MicrosoftAzureBuilder};
use object_store::path::Path;
use object_store::{Certificate, ClientOptions, ObjectStore as _, ObjectStoreExt as _};
use opendal::services::Azblob;
use opendal::{HttpTransporter, OperationContext, Operator};
use opendal_http_transport_reqwest::ReqwestTransport;
use reqsign_core::{Context, ProvideCredential as _, ProvideCredentialChain};

use azurite::Azurite;

fn credential(emulator: &Emulator, pod: &Pod) -> Arc<WorkloadIdentityCredential> {
    let roots = emulator.ca_certificate_pem().as_bytes();
    WorkloadIdentityCredential::builder()
        .environment(Environment::from_iter(pod.variables()))
        .transport(HttpTransport::with_root_certificates(roots).unwrap())
        .build()
        .unwrap()
}

fn client(ca_certificate: &str) -> reqwest::Client {
    let root = reqwest::Certificate::from_pem(ca_certificate.as_bytes()).unwrap();
    reqwest::Client::builder()
        .tls_certs_only([root])
        .no_proxy()
        .build()
        .unwrap()
}

/// Creates the container `orders`.
async fn create_container(account_url: &str, ca_certificate: &str, credential: &WorkloadIdentityCredential) {
    let token = credential
        .token(&["https://storage.azure.com/.default"])
        .await
        .unwrap();
    let response = client(ca_certificate)
        .put(format!("{account_url}/orders?restype=container"))
        .header("x-ms-version", "2023-11-03")
        .header("content-length", "0")
        .bearer_auth(token.secret())
        .send()
        .await
        .unwrap();
    assert_eq!(response.status().as_u16(), 201);
}

fn store(
    account_url: &str,
    ca_certificate: &str,
    credential: Arc<WorkloadIdentityCredential>,
) -> MicrosoftAzure {
    let root = Certificate::from_pem(ca_certificate.as_bytes()).unwrap();
    MicrosoftAzureBuilder::new()
        .with_account(account_url.rsplit('/').next().unwrap())
        .with_endpoint(account_url.to_owned())
        .with_container_name("orders")
        .with_client_options(ClientOptions::new().with_root_certificate(root))
        .with_credentials(Arc::new(ObjectStoreCredential::new(credential)))
        .build()
        .unwrap()
}

async fn exercise_store(store: &MicrosoftAzure) {
    let path = Path::from("july/1.csv");
    store.put(&path, "1,2,3".into()).await.unwrap();
    let content = store.get(&path).await.unwrap().bytes().await.unwrap();
    assert_eq!(content, "1,2,3");
    let listed: Vec<_> = store.list(None).try_collect().await.unwrap();
    assert_eq!(listed.len(), 1);
}

fn operator(
    account_url: &str,
    ca_certificate: &str,
    credential: Arc<WorkloadIdentityCredential>,
) -> Operator {
    let provider = ReqsignCredential::new(credential);
    let service = Azblob::default()
        .endpoint(account_url)
        .container("orders")
        .credential_provider_chain(ProvideCredentialChain::new().push(provider));
    let transport = HttpTransporter::new(ReqwestTransport::new(client(ca_certificate)));
    Operator::new(service)
        .unwrap()
        .with_context(OperationContext::new().with_http_transport(transport))
}

async fn exercise_operator(operator: &Operator) {
    operator.write("july/1.csv", "1,2,3").await.unwrap();
    assert_eq!(operator.read("july/1.csv").await.unwrap().to_vec(), b"1,2,3");
    assert_eq!(operator.list("july/").await.unwrap().len(), 1);
    operator.delete("july/1.csv").await.unwrap();
}

#[tokio::test]
async fn object_store_works_with_the_emulator_and_one_token_request() {
    let emulator = Emulator::start().await.unwrap();
    let pod = emulator.pod("shop", "orders").unwrap();
    let (url, ca) = (emulator.blob_account_url(), emulator.ca_certificate_pem());
    let credential = credential(&emulator, &pod);
    create_container(url, ca, &credential).await;
    exercise_store(&store(url, ca, credential)).await;
    let posts = emulator.requests_to(Endpoint::Entra).len();
    assert_eq!(posts, 1);
}

#[tokio::test]
async fn errors_of_the_adapters_have_the_error_of_the_credential() {
    let emulator = Emulator::start().await.unwrap();
    let pod = emulator.pod("shop", "orders").unwrap();
    emulator.entra().disable_application(pod.client_id());
    let (url, ca) = (emulator.blob_account_url(), emulator.ca_certificate_pem());
    let credential = credential(&emulator, &pod);
    let store = store(url, ca, credential.clone());
    let error = store.get(&Path::from("a")).await.err().unwrap();
    let found = entra_workload::Error::find_in(&error).unwrap();
    assert_eq!(found.aadsts_codes(), [7_000_112]);
    let signer = ReqsignCredential::new(credential.clone());
    let error = signer.provide_credential(&Context::new()).await.err().unwrap();
    let found = entra_workload::Error::find_in(&error).unwrap();
    assert_eq!(found.aadsts_codes(), [7_000_112]);
    assert_eq!(error.to_string(), found.to_string());
    // The chain of reqsign drops the error; docs/integrations.md says so.
    let error = operator(url, ca, credential).read("a").await.err().unwrap();
    assert!(
        format!("{error:?}").contains("failed to load signing credential"),
        "{error:?}"
    );
}

#[tokio::test]
#[ignore = "needs Azurite: run scripts/azurite"]
async fn object_store_works_with_azurite() {
    let azurite = tokio::task::spawn_blocking(|| Azurite::start(&[])).await.unwrap();
    let emulator = Emulator::start().await.unwrap();
    let pod = emulator.pod("shop", "orders").unwrap();
    let credential = credential(&emulator, &pod);
    create_container(&azurite.account_url, &azurite.ca_certificate, &credential).await;
    let store = store(&azurite.account_url, &azurite.ca_certificate, credential);
    exercise_store(&store).await;
    // A batch request, which the emulator does not implement.
    store.delete(&Path::from("july/1.csv")).await.unwrap();
}

#[tokio::test]
#[ignore = "needs Azurite: run scripts/azurite"]
async fn opendal_works_with_azurite() {
    let azurite = tokio::task::spawn_blocking(|| Azurite::start(&[])).await.unwrap();
    let emulator = Emulator::start().await.unwrap();
    let pod = emulator.pod("shop", "orders").unwrap();
    let credential = credential(&emulator, &pod);
    create_container(&azurite.account_url, &azurite.ca_certificate, &credential).await;
    exercise_operator(&operator(
        &azurite.account_url,
        &azurite.ca_certificate,
        credential,
    ))
    .await;
}
