//! The programs on the older SDK as a pod would run them, over TLS: against the emulator, and against Azurite.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    unreachable_pub,
    reason = "a test that fails may panic, and a test's module is nobody's API"
)]

#[path = "../../../tests/support/azurite.rs"]
mod azurite;
#[path = "../../../tests/support/sample.rs"]
#[allow(dead_code, reason = "the other samples are examples of the crate")]
mod sample;

use std::path::{Path, PathBuf};

use bytes::Bytes;
use entra_workload::transport::{HttpTransport, Transport as _};
use entra_workload::{Environment, WorkloadIdentityCredential};
use entra_workload_emulator::{Emulator, Pod};
use tempfile::TempDir;
use tokio::fs;

use self::azurite::Azurite;
use self::sample::Sample;

/// An emulator, a pod in it, and a directory to work in.
struct Cluster {
    emulator: Emulator,
    pod: Pod,
    directory: TempDir,
}

impl Cluster {
    async fn start() -> Self {
        let emulator = Emulator::start().await.unwrap();
        Self {
            pod: emulator.pod("shop", "orders").unwrap(),
            emulator,
            directory: TempDir::new().unwrap(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The Key Vault program with the vault in its environment.
    fn keyvault(&self) -> Sample {
        let program = env!("CARGO_BIN_EXE_legacy_keyvault").into();
        let roots = self.emulator.ca_certificate_file();
        Sample::new(program, roots, self.directory.path())
            .variables(self.pod.variables())
            .variable("AZURE_KEYVAULT_URL", self.emulator.key_vault_url())
    }

    /// The Blob program for the emulator, with account and container in its environment.
    fn blob(&self) -> Sample {
        self.blob_of(
            self.emulator.blob_account_url(),
            self.emulator.ca_certificate_file(),
        )
    }

    /// The same for another account.
    fn blob_of(&self, account_url: &str, roots: &Path) -> Sample {
        let program = env!("CARGO_BIN_EXE_legacy_blob").into();
        Sample::new(program, roots, self.directory.path())
            .variables(self.pod.variables())
            .variable("AZURE_STORAGE_ACCOUNT_URL", account_url)
            .variable("AZURE_STORAGE_CONTAINER", "reports")
    }

    /// A transport that trusts the emulator's certificates, and no others.
    fn transport(&self) -> HttpTransport {
        HttpTransport::with_root_certificates(self.emulator.ca_certificate_pem().as_bytes()).unwrap()
    }

    /// Sends a request as the pod, and answers with the body.
    async fn send(&self, transport: HttpTransport, request: http::request::Builder, scope: &str) -> String {
        let credential = WorkloadIdentityCredential::builder()
            .environment(Environment::from_iter(self.pod.variables()))
            .transport(self.transport())
            .build()
            .unwrap();
        let token = credential.token(&[scope]).await.unwrap();
        let request = request.header("authorization", format!("Bearer {}", token.secret()));
        let response = transport.send(request.body(Bytes::new()).unwrap()).await.unwrap();
        assert!(response.status().is_success(), "{}", response.status());
        String::from_utf8(response.into_body().to_vec()).unwrap()
    }

    /// Creates the container, as the owner of the account would do beforehand.
    async fn create_container(&self, account_url: &str, transport: HttpTransport) {
        let request = http::Request::put(format!("{account_url}/reports?restype=container"))
            .header("x-ms-version", "2022-11-02");
        self.send(transport, request, "https://storage.azure.com/.default")
            .await;
    }

    /// A cluster whose account in the emulator has the container.
    async fn with_container() -> Self {
        let cluster = Self::start().await;
        let transport = cluster.transport();
        cluster
            .create_container(cluster.emulator.blob_account_url(), transport)
            .await;
        cluster
    }

    /// Files of no, one and more than one part go up, are listed, come down and are deleted.
    async fn blobs_come_and_go(&self, blob: &Sample, account_url: &str) {
        for size in [0, 3, 17 << 20] {
            let content: Vec<u8> = (0..size)
                .map(|i: u32| i.to_le_bytes()[1] ^ i.to_le_bytes()[2])
                .collect();
            fs::write(self.path("july.bin"), &content).await.unwrap();
            let uploaded = blob.run(["upload", "july.bin", "--name", "2026/july.bin"]).await;
            assert_eq!(
                uploaded.printed(),
                format!("{account_url}/reports/2026/july.bin\n")
            );
            let listed = blob.run(["list", "--prefix", "2026/"]).await;
            let fields: Vec<_> = listed.printed().split_whitespace().collect();
            assert_eq!((fields[0], fields[2]), (&*size.to_string(), "2026/july.bin"));

            fs::remove_file(self.path("july.bin")).await.unwrap();
            assert_eq!(blob.run(["download", "2026/july.bin"]).await.printed(), "");
            assert!(
                fs::read(self.path("july.bin")).await.unwrap() == content,
                "{size}"
            );
            let streamed = blob.run(["download", "2026/july.bin", "--output", "-"]).await;
            assert!(streamed.stdout == content && streamed.code == Some(0) && streamed.stderr.is_empty());

            assert_eq!(blob.run(["delete", "2026/july.bin"]).await.printed(), "");
            assert_eq!(blob.run(["list"]).await.printed(), "");
            fs::remove_file(self.path("july.bin")).await.unwrap();
        }
        let missing = blob.run(["download", "2026/july.bin"]).await;
        assert_eq!(missing.failure(), "error: 404: BlobNotFound");
        assert!(!self.path("july.bin.partial").exists());
    }
}

/// Nothing that is or begins like a token.
#[track_caller]
fn assert_no_token(text: &str) {
    assert!(!text.contains("eyJ"), "{text}");
}

mod blob {
    use super::*;

    // Against Azurite only: the old client asks for a checksum of each range (CRC64) that the emulator does not have.
    #[tokio::test]
    #[ignore = "needs Azurite: run scripts/azurite"]
    async fn blobs_come_and_go_in_azurite() {
        // The old client asks for a checksum of each range (CRC64), which Azurite passes over only when it is told to.
        let azurite = tokio::task::spawn_blocking(|| Azurite::start(&["--loose"]))
            .await
            .unwrap();
        let cluster = Cluster::start().await;
        let both = [cluster.emulator.ca_certificate_pem(), &azurite.ca_certificate].concat();
        let transport = HttpTransport::with_root_certificates(both.as_bytes()).unwrap();
        cluster.create_container(&azurite.account_url, transport).await;
        let roots = azurite.directory.path().join("roots.pem");
        fs::write(&roots, both).await.unwrap();
        // The SDK warns of each header that Azurite does not send.
        let blob = cluster
            .blob_of(&azurite.account_url, &roots)
            .variable("RUST_LOG", "error");
        cluster.blobs_come_and_go(&blob, &azurite.account_url).await;
    }

    #[tokio::test]
    async fn a_wrong_call_prints_the_usage_and_exits_with_2() {
        let cluster = Cluster::start().await;
        let nowhere = ["list", "--account-url", "nowhere"];
        for output in [
            cluster.blob().run(["upload"]).await,
            cluster.blob().run(nowhere).await,
        ] {
            assert_eq!((output.code, output.stdout.as_slice()), (Some(2), &b""[..]));
            assert!(output.stderr.contains("Usage: legacy_blob"), "{}", output.stderr);
        }
    }

    #[tokio::test]
    async fn a_failure_is_told_with_all_its_causes() {
        let cluster = Cluster::start().await;
        let output = cluster.blob().run(["list"]).await;
        assert!(
            output
                .failure()
                .starts_with("error: 404: ContainerNotFound: The specified"),
            "{}",
            output.stderr
        );
        cluster
            .emulator
            .entra()
            .disable_application(cluster.pod.client_id());
        let output = cluster.blob().run(["list"]).await;
        assert!(output.failure().contains("AADSTS7000112"), "{}", output.stderr);
        assert_no_token(&output.stderr);
    }

    #[tokio::test]
    async fn no_token_shows_even_in_the_most_talkative_log() {
        let cluster = Cluster::with_container().await;
        for filter in ["trace", "azure_core=trace,azure_core::policies::transport=trace"] {
            let output = cluster.blob().variable("RUST_LOG", filter).run(["list"]).await;
            assert_eq!(output.code, Some(0));
            assert_no_token(&output.stderr);
            assert_eq!(output.stderr.contains("DEBUG entra_workload"), filter == "trace");
        }
    }
}

mod keyvault {
    use super::*;

    const SCOPE: &str = "--scope=https://vault.azure.net/.default";

    #[tokio::test]
    async fn a_secret_is_set_got_listed_and_deleted() {
        let cluster = Cluster::start().await;
        let keyvault = cluster.keyvault();
        let set = keyvault.run_with(["set", "password", SCOPE], "hunter2\n").await;
        assert_eq!(set.printed(), "");
        assert_eq!(
            keyvault.run([SCOPE, "get", "password"]).await.printed(),
            "hunter2\n"
        );
        assert_eq!(keyvault.run([SCOPE, "list"]).await.printed(), "password\n");
        assert_eq!(keyvault.run([SCOPE, "delete", "password"]).await.printed(), "");
        assert_eq!(keyvault.run([SCOPE, "list"]).await.printed(), "");
    }

    #[tokio::test]
    async fn a_version_can_be_chosen() {
        let cluster = Cluster::start().await;
        let keyvault = cluster.keyvault();
        keyvault
            .run_with(["set", "key", SCOPE], " old\n\n")
            .await
            .printed();
        let vault = cluster.emulator.key_vault_url();
        let request = http::Request::get(format!("{vault}/secrets/key?api-version=7.4"));
        let transport = cluster.transport();
        let answer = cluster
            .send(transport, request, "https://vault.azure.net/.default")
            .await;
        let (_, id) = answer.split_once("/secrets/key/").unwrap();
        let (version, _) = id.split_once('"').unwrap();

        keyvault.run_with(["set", "key", SCOPE], "new").await.printed();
        assert_eq!(keyvault.run([SCOPE, "get", "key"]).await.printed(), "new\n");
        let old = keyvault.run([SCOPE, "get", "key", "--version", version]).await;
        assert_eq!(old.printed(), " old\n\n");
    }

    #[tokio::test]
    async fn a_wrong_call_prints_the_usage_and_exits_with_2() {
        let cluster = Cluster::start().await;
        let nowhere = ["list", "--vault-url", "nowhere"];
        for output in [
            cluster.keyvault().run(["set"]).await,
            cluster.keyvault().run(nowhere).await,
        ] {
            assert_eq!((output.code, output.stdout.as_slice()), (Some(2), &b""[..]));
            assert!(
                output.stderr.contains("Usage: legacy_keyvault"),
                "{}",
                output.stderr
            );
        }
    }

    #[tokio::test]
    async fn without_a_scope_the_host_decides_what_the_token_is_for() {
        let cluster = Cluster::start().await;
        let output = cluster.keyvault().run(["list"]).await;
        assert!(output.failure().contains("https://0.0.1"), "{}", output.stderr);
    }

    #[tokio::test]
    async fn a_failure_is_told_and_shows_no_secret() {
        let cluster = Cluster::start().await;
        let keyvault = cluster.keyvault();
        let output = keyvault.run_with([SCOPE, "set", "under_score"], "hunter2").await;
        assert!(
            output.failure().contains("invalid name: under_score"),
            "{}",
            output.stderr
        );
        assert!(!output.stderr.contains("hunter2"));
        fs::remove_file(cluster.pod.token_file()).await.unwrap();
        let output = keyvault.run([SCOPE, "get", "missing"]).await;
        let file = cluster.pod.token_file().to_str().unwrap();
        assert!(output.failure().contains(file), "{}", output.stderr);
    }

    #[tokio::test]
    async fn neither_secret_nor_token_shows_even_in_the_most_talkative_log() {
        let cluster = Cluster::start().await;
        let keyvault = cluster.keyvault().variable("RUST_LOG", "trace");
        let set = keyvault.run_with([SCOPE, "set", "password"], "hunter2").await;
        let get = keyvault.run([SCOPE, "get", "password"]).await;
        assert_eq!((set.code, get.stdout.as_slice()), (Some(0), &b"hunter2\n"[..]));
        for output in [set, get] {
            assert!(
                output.stderr.contains("DEBUG entra_workload") && !output.stderr.contains("hunter2"),
                "{}",
                output.stderr
            );
            assert_no_token(&output.stderr);
        }
    }
}
