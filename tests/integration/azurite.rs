//! Azurite, the emulator of Azure Storage by Microsoft, with tokens of the Entra emulator.
//!
//! `scripts/azurite` installs it and runs these tests with `AZURITE_BLOB` set to its entry script.

use std::sync::Arc;

use azure_core::error::ErrorKind;
use azure_core::http::{Body, StatusCode, Url};
use azure_storage_blob::{BlobContainerClient, BlobContainerClientOptions};
use bytes::Bytes;
use entra_workload::transport::HttpTransport;
use entra_workload::{Environment, WorkloadIdentityCredential};
use entra_workload_emulator::{Emulator, Pod};
use futures::TryStreamExt as _;
use tokio::fs;

use crate::support::azurite::Azurite;
use crate::support::sample::{Sample, example};
use crate::support::sdk::client_options;

/// Azurite, the emulator that issues its tokens, and a pod.
struct Cluster {
    azurite: Azurite,
    emulator: Emulator,
    pod: Pod,
}

impl Cluster {
    async fn start() -> Self {
        let azurite = tokio::task::spawn_blocking(|| Azurite::start(&[])).await.unwrap();
        let emulator = Emulator::start().await.unwrap();
        Self {
            azurite,
            pod: emulator.pod("shop", "orders").unwrap(),
            emulator,
        }
    }

    /// Returns a credential of the pod.
    fn credential(&self) -> Arc<WorkloadIdentityCredential> {
        let roots = self.emulator.ca_certificate_pem().as_bytes();
        WorkloadIdentityCredential::builder()
            .environment(Environment::from_iter(self.pod.variables()))
            .transport(HttpTransport::with_root_certificates(roots).unwrap())
            .build()
            .unwrap()
    }

    fn container(&self, name: &str) -> BlobContainerClient {
        let options = BlobContainerClientOptions {
            client_options: client_options(&self.azurite.ca_certificate),
            ..Default::default()
        };
        let url = Url::parse(&format!("{}/{name}", self.azurite.account_url)).unwrap();
        BlobContainerClient::new(url, Some(self.credential()), Some(options)).unwrap()
    }
}

fn pattern(length: u32) -> Vec<u8> {
    (0..length)
        .map(|i| i.to_le_bytes()[1] ^ i.to_le_bytes()[2])
        .collect()
}

#[tokio::test]
#[ignore = "needs Azurite: run scripts/azurite"]
async fn sdk_client_uploads_lists_downloads_and_deletes() {
    let cluster = Cluster::start().await;
    let container = cluster.container("reports");
    container.create(None).await.unwrap();
    for size in [0, 3, 9 << 20] {
        let content = pattern(size);
        let name = format!("{size}.bin");
        let blob = container.blob_client(&name);
        blob.upload(Body::Bytes(content.clone().into()).into(), None)
            .await
            .unwrap();
        let downloaded: Bytes = blob.download(None).await.unwrap().body.collect().await.unwrap();
        assert!(downloaded == content, "{size}");
    }
    let listed = container.list_blobs(None).unwrap();
    let names: Vec<_> = listed
        .map_ok(|blob| blob.name.unwrap())
        .try_collect()
        .await
        .unwrap();
    assert_eq!(names, ["0.bin", "3.bin", "9437184.bin"]);
    container.blob_client("3.bin").delete(None).await.unwrap();
    assert!(!container.blob_client("3.bin").exists().await.unwrap());
}

#[tokio::test]
#[ignore = "needs Azurite: run scripts/azurite"]
async fn token_for_another_resource_is_rejected() {
    let cluster = Cluster::start().await;
    let token = cluster
        .credential()
        .token(&["https://vault.azure.net/.default"])
        .await
        .unwrap();
    let root = reqwest::Certificate::from_pem(cluster.azurite.ca_certificate.as_bytes()).unwrap();
    let client = reqwest::Client::builder()
        .tls_certs_only([root])
        .no_proxy()
        .build()
        .unwrap();
    let response = client
        .get(format!("{}?comp=list", cluster.azurite.account_url))
        .header("x-ms-version", "2026-04-06")
        .bearer_auth(token.secret())
        .send()
        .await
        .unwrap();
    assert!(
        [401, 403].contains(&response.status().as_u16()),
        "{}",
        response.status()
    );
}

#[tokio::test]
#[ignore = "needs Azurite: run scripts/azurite"]
async fn missing_resources_have_the_same_errors_as_in_the_emulator() {
    let cluster = Cluster::start().await;
    let container = cluster.container("reports");
    let code = async |result: azure_core::Result<_>| match result.expect_err("a refusal").kind() {
        ErrorKind::HttpResponse {
            status, error_code, ..
        } => (*status, error_code.clone().unwrap_or_default()),
        other => panic!("{other:?}"),
    };
    let download = async || container.blob_client("a").download(None).await.map(drop);
    let missing = code(download().await).await;
    assert_eq!(missing, (StatusCode::NotFound, "ContainerNotFound".to_owned()));
    container.create(None).await.unwrap();
    let exists = code(container.create(None).await.map(drop)).await;
    assert_eq!(
        exists,
        (StatusCode::Conflict, "ContainerAlreadyExists".to_owned())
    );
    let missing = code(download().await).await;
    assert_eq!(missing, (StatusCode::NotFound, "BlobNotFound".to_owned()));
}

#[tokio::test]
#[ignore = "needs Azurite: run scripts/azurite"]
async fn blob_sample_works_with_azurite() {
    let cluster = Cluster::start().await;
    cluster.container("reports").create(None).await.unwrap();
    let directory = cluster.azurite.directory.path();
    let roots = directory.join("roots.pem");
    let both = [
        cluster.emulator.ca_certificate_pem(),
        &cluster.azurite.ca_certificate,
    ]
    .concat();
    fs::write(&roots, both).await.unwrap();
    let content = pattern(9 << 20);
    fs::write(directory.join("july.bin"), &content).await.unwrap();
    let blob = Sample::new(example("blob"), &roots, directory)
        .variables(cluster.pod.variables())
        .variable("AZURE_STORAGE_ACCOUNT_URL", &cluster.azurite.account_url)
        .variable("AZURE_STORAGE_CONTAINER", "reports");
    let uploaded = blob.run(["upload", "july.bin"]).await;
    assert!(uploaded.printed().ends_with("/reports/july.bin\n"));
    assert!(blob.run(["list"]).await.printed().ends_with(" july.bin\n"));
    blob.run(["download", "july.bin", "--output", "copy.bin"])
        .await
        .printed();
    #[expect(clippy::disallowed_methods, reason = "a file that the sample wrote")]
    let copy = std::fs::read(directory.join("copy.bin")).unwrap();
    assert!(copy == content);
    blob.run(["delete", "july.bin"]).await.printed();
    let output = blob.run(["download", "july.bin"]).await;
    assert!(output.failure().contains("BlobNotFound"), "{}", output.stderr);
}
