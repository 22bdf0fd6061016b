//! A controller that gets the tokens of other service accounts from the API server, which is the
//! emulator's issuer over TLS.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::support::log::{assert_no_secret, watch_for_secrets};
use entra_workload::assertion::KubernetesTokenRequest;
use entra_workload::builder::ClientAssertionCredentialBuilder;
use entra_workload::transport::HttpTransport;
use entra_workload::{ClientAssertionCredential, Environment, Error, ErrorKind};
use entra_workload_emulator::{Emulator, Endpoint, Pod, ServiceAccountToken};
use tempfile::TempDir;

const SCOPES: [&str; 1] = ["https://vault.azure.net/.default"];
const CONTROLLER: [&str; 2] = ["platform", "controller"];

/// The pod of a controller, and an application with a federated credential for another service account.
struct Cluster {
    emulator: Emulator,
    app: Pod,
    folder: TempDir,
}

impl Cluster {
    async fn start() -> Self {
        watch_for_secrets();
        let cluster = Self::without_role().await;
        cluster
            .emulator
            .issuer()
            .allow_token_requests(CONTROLLER, "tenant-a", "app");
        cluster
    }

    async fn without_role() -> Self {
        let emulator = Emulator::start().await.unwrap();
        emulator.issuer().create_service_account("tenant-a", "app");
        let app = emulator.pod("tenant-a", "app").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let cluster = Self {
            emulator,
            app,
            folder,
        };
        fs::write(cluster.ca_file(), cluster.emulator.ca_certificate_pem()).unwrap();
        cluster.write_token("https://kubernetes.default.svc.cluster.local");
        cluster
    }

    /// Writes the controller's own token.
    fn write_token(&self, audience: &str) {
        let [namespace, name] = CONTROLLER;
        let token = ServiceAccountToken::new(namespace, name).audience(audience);
        fs::write(self.token_file(), self.emulator.issuer().sign(&token)).unwrap();
    }

    fn token_file(&self) -> PathBuf {
        self.folder.path().join("token")
    }

    fn ca_file(&self) -> PathBuf {
        self.folder.path().join("ca.crt")
    }

    fn source(&self, name: &str) -> KubernetesTokenRequest {
        let url = url::Url::parse(self.emulator.issuer_url()).unwrap();
        let environment = Environment::from_iter([
            ("KUBERNETES_SERVICE_HOST", url.host_str().unwrap().to_owned()),
            ("KUBERNETES_SERVICE_PORT", url.port().unwrap().to_string()),
        ]);
        KubernetesTokenRequest::from_environment(&environment, "tenant-a", name)
            .unwrap()
            .token_file(self.token_file())
            .ca_file(self.ca_file())
    }

    fn builder(&self) -> ClientAssertionCredentialBuilder {
        let ca = self.emulator.ca_certificate_pem();
        ClientAssertionCredential::builder()
            .tenant_id(self.app.tenant_id())
            .client_id(self.app.client_id())
            .authority_host(self.emulator.authority_host())
            .transport(HttpTransport::with_root_certificates(ca.as_bytes()).unwrap())
    }

    async fn failure(&self, source: KubernetesTokenRequest) -> Error {
        let credential = self.builder().assertion(source).build().unwrap();
        let error = credential.token(&SCOPES).await.unwrap_err();
        assert_no_secret(&error);
        assert!(self.emulator.requests_to(Endpoint::Entra).is_empty());
        error
    }
}

#[tokio::test]
async fn controller_gets_a_token_for_another_service_account() {
    let cluster = Cluster::start().await;
    let credential = cluster
        .builder()
        .assertion(cluster.source("app"))
        .build()
        .unwrap();
    credential.token(&SCOPES).await.unwrap();
    let requests = cluster.emulator.requests_to(Endpoint::Issuer);
    assert_eq!(
        (requests[0].method(), requests[0].path()),
        ("POST", "/api/v1/namespaces/tenant-a/serviceaccounts/app/token")
    );
}

#[tokio::test]
async fn missing_rbac_rule_is_in_the_error() {
    let cluster = Cluster::without_role().await;
    let error = cluster.failure(cluster.source("app")).await;
    assert_eq!(error.kind(), ErrorKind::Rejected);
    assert_eq!(error.status().unwrap(), 403);
    let text = error.to_string();
    assert!(
        text.ends_with(
            "refused the request (status 403); bind to this pod's service account a Role in namespace tenant-a with the rule \
             {apiGroups: [\"\"], resources: [serviceaccounts/token], resourceNames: [app], verbs: [create]}"
        ),
        "{text}"
    );
}

#[tokio::test]
async fn each_refusal_of_the_api_server_has_its_own_hint() {
    let cluster = Cluster::start().await;
    let issuer = cluster.emulator.issuer();
    issuer.allow_token_requests(CONTROLLER, "tenant-a", "missing");
    let error = cluster.failure(cluster.source("missing")).await;
    assert_eq!(error.status().unwrap(), 404);
    assert!(
        error
            .to_string()
            .contains("no service account missing in namespace tenant-a"),
        "{error}"
    );

    let short = cluster.source("app").lifetime(Duration::from_secs(599));
    let error = cluster.failure(short).await;
    assert_eq!(error.status().unwrap(), 422);
    assert!(error.to_string().contains("at least ten minutes"), "{error}");

    cluster.write_token("api://AzureADTokenExchange");
    let error = cluster.failure(cluster.source("app")).await;
    assert_eq!(error.status().unwrap(), 401);
    assert!(error.to_string().contains("this pod's own token"), "{error}");
}

#[tokio::test]
async fn own_token_and_ca_are_read_again_for_each_request() {
    let cluster = Cluster::start().await;
    let credential = cluster
        .builder()
        .assertion(cluster.source("app"))
        .build()
        .unwrap();
    let pem = fs::read(cluster.ca_file()).unwrap();

    // Another CA is trusted, so the API server is not.
    let other = Emulator::start().await.unwrap();
    fs::write(cluster.ca_file(), other.ca_certificate_pem()).unwrap();
    let error = credential.token(&SCOPES).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Transport, "{error}");

    fs::write(cluster.ca_file(), pem).unwrap();
    cluster.write_token("api://AzureADTokenExchange");
    let scopes = ["https://storage.azure.com/.default"];
    let error = credential.token(&scopes).await.unwrap_err();
    assert_eq!(error.status().unwrap(), 401, "{error}");

    cluster.write_token("https://kubernetes.default.svc.cluster.local");
    let scopes = ["https://management.azure.com/.default"];
    credential.token(&scopes).await.unwrap();
    // An empty file is a bundle in mid-rotation: the last one is used.
    fs::write(cluster.ca_file(), "").unwrap();
    credential.clear();
    credential.token(&scopes).await.unwrap();
}

#[tokio::test]
async fn transport_beside_a_ca_file_is_an_error() {
    let cluster = Cluster::start().await;
    let source = cluster.source("app").transport(HttpTransport::new());
    let error = cluster.failure(source).await;
    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert!(
        error.to_string().contains(".ca_file(..) and .transport(..)"),
        "{error}"
    );
}

#[tokio::test]
async fn missing_files_of_the_pod_are_named() {
    let cluster = Cluster::start().await;
    let missing = Path::new("/nowhere/file");
    let error = cluster.failure(cluster.source("app").token_file(missing)).await;
    assert_eq!(error.kind(), ErrorKind::Assertion);
    assert!(error.to_string().contains("/nowhere/file"), "{error}");
    let error = cluster.failure(cluster.source("app").ca_file(missing)).await;
    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert!(
        error
            .to_string()
            .contains("the CA file /nowhere/file cannot be read"),
        "{error}"
    );
}

/// The proxy is read from the environment of the process, so the test runs itself with one that is a
/// closed port.
#[tokio::test]
async fn api_server_is_reached_past_the_proxy_of_the_environment() {
    const CHILD: &str = "ENTRA_WORKLOAD_TEST_CHILD";
    if std::env::var_os(CHILD).is_some() {
        let cluster = Cluster::start().await;
        let credential = cluster
            .builder()
            .assertion(cluster.source("app"))
            .build()
            .unwrap();
        let error = credential.token(&SCOPES).await.unwrap_err();
        // Entra is behind the proxy, the API server is not.
        assert!(
            error.to_string().contains("through the proxy in HTTPS_PROXY"),
            "{error}"
        );
        assert!(!cluster.emulator.requests_to(Endpoint::Issuer).is_empty());
    } else {
        let free = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let child = tokio::process::Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "token_request::api_server_is_reached_past_the_proxy_of_the_environment",
            ])
            .env(CHILD, "1")
            .env("HTTPS_PROXY", format!("http://{free}"))
            .env_remove("NO_PROXY")
            .output()
            .await
            .unwrap();
        assert!(
            child.status.success(),
            "{}",
            String::from_utf8_lossy(&child.stdout)
        );
    }
}
