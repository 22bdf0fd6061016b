//! The strongest complaints of users about the published crates, each shown with the newest stable
//! release and with this crate, against the emulator. `docs/comparison.md` has a row for each test.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "tests"
)]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use azure_core::cloud::CustomConfiguration;
use azure_core::credentials::TokenCredential;
use azure_core::http::ClientOptions;
use azure_identity::{ClientAssertionCredentialOptions, WorkloadIdentityCredentialOptions};
use entra_workload::builder::WorkloadIdentityCredentialBuilder;
use entra_workload::transport::HttpTransport;
use entra_workload::{DefaultAzureCredential, Environment, WorkloadIdentityCredential};
use entra_workload_emulator::{Emulator, Endpoint, Fault, Pod, ServiceAccountToken};
use futures::future::join_all;
use object_store::azure::{AzureConfigKey, AzureCredentialProvider, MicrosoftAzureBuilder};

/// Rank 1: the process fails after a rotation, until it is restarted.
#[tokio::test]
async fn rotated_token_file_is_read_for_the_next_token_request() {
    let place = Place::new().await;
    let upstream = place.upstream().unwrap();
    let ours = place.ours();
    for (credential, reads) in [(upstream as Arc<dyn TokenCredential>, false), (ours as _, true)] {
        credential.get_token(&[BLOB], None).await.unwrap();
        place.pod.rotate().unwrap();
        credential.get_token(&[VAULT], None).await.unwrap();
        let sent = place.assertions();
        let [.., first, second] = &sent[..] else {
            panic!("{} token requests", sent.len())
        };
        assert_eq!(first != second, reads);
    }
}

/// Rank 2: nothing runs both in a pod and on a laptop.
#[tokio::test]
async fn one_credential_works_in_a_pod_and_on_a_laptop() {
    let place = Place::new().await;
    // The only credential of the crate that chooses: of developer tools.
    let upstream = azure_identity::DeveloperToolsCredential::new(None);
    match upstream {
        Err(_) => {}
        Ok(upstream) => assert!(upstream.get_token(&[VAULT], None).await.is_err()),
    }
    let ours = DefaultAzureCredential::builder()
        .environment(place.environment())
        .transport(place.transport())
        .build()
        .unwrap();
    ours.get_token(&[VAULT], None).await.unwrap();
    assert_eq!(ours.selected(), Some("workload identity"));
}

/// Rank 3: the token file appears after the program has started.
#[tokio::test]
async fn token_file_may_appear_after_the_start() {
    let place = Place::new().await;
    let token = std::fs::read(place.pod.token_file()).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    let error = place.upstream_with(&file).unwrap_err();
    assert!(error.to_string().contains("token"), "{error}");

    let ours = place.builder().token_file(&file).build().unwrap();
    ours.token(&[VAULT]).await.unwrap_err();
    std::fs::write(&file, token).unwrap();
    ours.token(&[VAULT]).await.unwrap();
}

/// Rank 4: an error that says what does not match.
#[tokio::test]
async fn error_names_the_subject_that_does_not_match() {
    let place = Place::new().await;
    place
        .pod
        .project(&ServiceAccountToken::new("shop", "order"))
        .unwrap();
    let upstream = place
        .upstream()
        .unwrap()
        .get_token(&[VAULT], None)
        .await
        .unwrap_err();
    let ours = place.ours().token(&[VAULT]).await.unwrap_err().to_string();
    let subject = r#"the token's subject, "system:serviceaccount:shop:order""#;
    assert!(ours.contains(subject) && ours.contains("AADSTS700213"), "{ours}");
    assert!(!upstream.to_string().contains(subject), "{upstream}");
}

/// Rank 5: a new federated credential is not found for a while.
#[tokio::test]
async fn federated_credential_that_is_still_propagating_is_retried() {
    let place = Place::new().await;
    let refusal = || {
        let body = r#"{"error":"invalid_request","error_description":"AADSTS700213: No matching federated identity record found.","error_codes":[700213]}"#;
        Fault::reply(http::Response::builder().status(401).body(body.into()).unwrap())
    };
    place.emulator.inject(Endpoint::Entra, refusal());
    place
        .upstream()
        .unwrap()
        .get_token(&[VAULT], None)
        .await
        .unwrap_err();
    place.emulator.inject(Endpoint::Entra, refusal());
    place.ours().token(&[VAULT]).await.unwrap();
}

/// Rank 6: identity bindings.
#[tokio::test]
async fn pod_with_an_identity_binding_gets_a_token_from_the_default_chain() {
    let place = Place::new().await;
    let bound = Place {
        pod: place.emulator.bound_pod("shop", "orders").unwrap(),
        ..place
    };
    let upstream = bound.upstream().unwrap();
    upstream.get_token(&[VAULT], None).await.unwrap_err();
    assert!(bound.emulator.requests_to(Endpoint::TokenProxy).is_empty());
    let ours = DefaultAzureCredential::builder()
        .environment(bound.environment())
        .build()
        .unwrap();
    ours.get_token(&[VAULT], None).await.unwrap();
}

/// Rank 8: errors hide the cause.
#[tokio::test]
async fn web_page_in_place_of_a_response_keeps_its_status() {
    let place = Place::new().await;
    let page = || {
        let reply = http::Response::builder()
            .status(403)
            .body("<html>\r\nForbidden</html>".into());
        Fault::reply(reply.unwrap())
    };
    place.emulator.inject(Endpoint::Entra, page());
    let upstream = place
        .upstream()
        .unwrap()
        .get_token(&[VAULT], None)
        .await
        .unwrap_err();
    assert!(!upstream.to_string().contains("403"), "{upstream}");
    assert_eq!(upstream.http_status(), None);
    place.emulator.inject(Endpoint::Entra, page());
    let ours = place.ours().token(&[VAULT]).await.unwrap_err();
    assert_eq!(ours.status(), Some(http::StatusCode::FORBIDDEN));
    assert!(ours.to_string().contains("check for a proxy"), "{ours}");
}

/// Rank 10: a slow token request stops callers that have a token.
#[tokio::test]
async fn slow_token_request_for_one_scope_does_not_block_another() {
    let place = Place::new().await;
    let upstream: Arc<dyn TokenCredential> = place.upstream().unwrap();
    let ours: Arc<dyn TokenCredential> = place.ours();
    for (credential, is_blocked) in [(upstream, true), (ours, false)] {
        credential.get_token(&[BLOB], None).await.unwrap();
        place.emulator.inject(Endpoint::Entra, Fault::hang());
        let requests = place.assertions().len();
        let slow = tokio::spawn({
            let credential = Arc::clone(&credential);
            async move { credential.get_token(&[VAULT], None).await.map(drop) }
        });
        place.until_requests(requests + 1).await;
        let cached = tokio::time::timeout(PATIENCE, credential.get_token(&[BLOB], None)).await;
        assert_eq!(cached.is_err(), is_blocked);
        slow.abort();
    }
}

/// Rank 10: many callers repeat a failing token request, one after another.
#[tokio::test]
async fn callers_share_one_failing_token_request() {
    let place = Place::new().await;
    place.emulator.entra().disable_application(place.pod.client_id());
    let upstream: Arc<dyn TokenCredential> = place.upstream().unwrap();
    let ours: Arc<dyn TokenCredential> = place.ours();
    for (credential, requests) in [(upstream, 20), (ours, 1)] {
        let before = place.assertions().len();
        let calls = (0..20).map(|_| credential.get_token(&[VAULT], None));
        assert!(join_all(calls).await.iter().all(Result::is_err));
        assert_eq!(place.assertions().len() - before, requests);
    }
}

/// Rank 10, and "failed refresh": a valid token is withheld because its refresh failed.
#[tokio::test]
async fn valid_token_is_returned_although_its_refresh_fails() {
    let place = Place::new().await;
    // In its last five minutes from the start.
    place
        .emulator
        .entra()
        .set_access_token_lifetime(Duration::from_secs(240));
    let upstream: Arc<dyn TokenCredential> = place.upstream().unwrap();
    let ours: Arc<dyn TokenCredential> = place.ours();
    for (credential, is_served) in [(upstream, false), (ours, true)] {
        credential.get_token(&[VAULT], None).await.unwrap();
        let refused = http::Response::builder()
            .status(400)
            .body(r#"{"error":"invalid_request"}"#.into());
        let fault = Fault::reply(refused.unwrap()).until_cleared();
        place.emulator.inject(Endpoint::Entra, fault);
        let token = credential.get_token(&[VAULT], None).await;
        assert_eq!(token.is_ok(), is_served);
        place.emulator.clear_faults(Endpoint::Entra);
    }
}

/// Rank 17, `object_store`: in the last minutes of a token every caller waits for the network.
#[tokio::test]
async fn object_store_reads_a_valid_token_while_it_is_refreshed() {
    let place = Place::new().await;
    place
        .emulator
        .entra()
        .set_access_token_lifetime(Duration::from_secs(240));
    let upstream = place.object_store();
    upstream.get_credential().await.unwrap();
    let ours = place.ours();
    ours.token(&[BLOB]).await.unwrap();

    place
        .emulator
        .inject(Endpoint::Entra, Fault::hang().until_cleared());
    // For the first 100 ms after a token request it asks for no other.
    while tokio::time::timeout(PATIENCE, upstream.get_credential())
        .await
        .is_ok()
    {
        tokio::task::yield_now().await;
    }
    let token = tokio::time::timeout(PATIENCE, ours.token(&[BLOB])).await;
    token.expect("does not wait").unwrap();
}

/// Rank 18: a token that a service has rejected stays in the cache.
#[tokio::test]
async fn token_that_a_service_rejected_can_be_dropped() {
    let place = Place::new().await;
    // There is no method for it.
    let upstream = place.upstream().unwrap();
    let first = upstream.get_token(&[VAULT], None).await.unwrap();
    let second = upstream.get_token(&[VAULT], None).await.unwrap();
    assert_eq!(first.token.secret(), second.token.secret());

    let ours = place.ours();
    let first = ours.get_token(&[VAULT], None).await.unwrap();
    ours.invalidate_secret(first.token.secret());
    let second = ours.get_token(&[VAULT], None).await.unwrap();
    assert_ne!(first.token.secret(), second.token.secret());
}

#[test]
fn comparison_has_a_row_for_each_test() {
    // OpenDAL needs a newer Rust than this package, and reads the variables of the process.
    let opendal = include_str!("../../../examples/consumers/tests/azdls.rs");
    let names: BTreeSet<&str> = [include_str!("before_and_after.rs"), opendal]
        .into_iter()
        .flat_map(|file| file.split("\nasync fn ").skip(1))
        .filter_map(|rest| rest.split('(').next())
        .filter(|name| *name != "in_a_pod")
        .collect();
    let page = include_str!("../../../docs/comparison.md");
    let rows = page
        .lines()
        .filter(|line| line.starts_with("| ") && line.contains("| `"));
    let named: BTreeSet<&str> = rows
        .filter_map(|row| row.trim_end_matches(" |").rsplit("| ").next())
        .map(|name| name.trim_matches('`'))
        .filter(|name| name.contains('_') && !name.contains(['/', ' ', '.']))
        .collect();
    assert_eq!(names, named);
    assert!(names.len() >= 10);
}

/// A pod, and the credentials of both crates in it.
struct Place {
    emulator: Emulator,
    pod: Pod,
}

impl Place {
    async fn new() -> Self {
        let emulator = Emulator::start().await.unwrap();
        let pod = emulator.pod("shop", "orders").unwrap();
        Self { emulator, pod }
    }

    fn upstream(&self) -> azure_core::Result<Arc<azure_identity::WorkloadIdentityCredential>> {
        self.upstream_with(self.pod.token_file())
    }

    fn upstream_with(
        &self,
        token_file: &std::path::Path,
    ) -> azure_core::Result<Arc<azure_identity::WorkloadIdentityCredential>> {
        let mut cloud = CustomConfiguration::default();
        self.emulator
            .authority_host()
            .clone_into(&mut cloud.authority_host);
        let client_options = ClientOptions {
            transport: Some(self.emulator.sdk_transport().unwrap()),
            cloud: Some(Arc::new(cloud.into())),
            ..ClientOptions::default()
        };
        azure_identity::WorkloadIdentityCredential::new(Some(WorkloadIdentityCredentialOptions {
            credential_options: ClientAssertionCredentialOptions { client_options },
            tenant_id: Some(self.pod.tenant_id().to_owned()),
            client_id: Some(self.pod.client_id().to_owned()),
            token_file_path: Some(token_file.to_owned()),
        }))
    }

    /// The variables of the pod, on a machine without a metadata service.
    fn environment(&self) -> Environment {
        let no_metadata_service = (
            "AZURE_POD_IDENTITY_AUTHORITY_HOST",
            "http://127.0.0.1:9".to_owned(),
        );
        let variables = self.pod.variables().into_iter();
        variables.chain([no_metadata_service]).collect()
    }

    fn transport(&self) -> HttpTransport {
        HttpTransport::with_root_certificates(self.emulator.ca_certificate_pem().as_bytes()).unwrap()
    }

    fn builder(&self) -> WorkloadIdentityCredentialBuilder {
        WorkloadIdentityCredential::builder()
            .environment(Environment::from_iter(self.pod.variables()))
            .transport(self.transport())
    }

    fn ours(&self) -> Arc<WorkloadIdentityCredential> {
        self.builder().build().unwrap()
    }

    fn object_store(&self) -> AzureCredentialProvider {
        let certificate =
            object_store::Certificate::from_pem(self.emulator.ca_certificate_pem().as_bytes()).unwrap();
        let store = MicrosoftAzureBuilder::new()
            .with_account("account")
            .with_container_name("container")
            .with_tenant_id(self.pod.tenant_id())
            .with_client_id(self.pod.client_id())
            .with_config(AzureConfigKey::AuthorityHost, self.emulator.authority_host())
            .with_config(
                AzureConfigKey::FederatedTokenFile,
                self.pod.token_file().display().to_string(),
            )
            .with_client_options(object_store::ClientOptions::new().with_root_certificate(certificate))
            .build()
            .unwrap();
        store.credentials().clone()
    }

    /// The client assertions of all token requests so far.
    fn assertions(&self) -> Vec<String> {
        let requests = self.emulator.requests_to(Endpoint::Entra);
        requests
            .iter()
            .filter_map(|request| request.form("client_assertion"))
            .collect()
    }

    /// Returns when Entra has received this number of token requests.
    async fn until_requests(&self, number: usize) {
        while self.assertions().len() < number {
            tokio::task::yield_now().await;
        }
    }
}

const BLOB: &str = "https://storage.azure.com/.default";
const VAULT: &str = "https://vault.azure.net/.default";

/// How long a call may take that does not wait for a token request that never ends.
const PATIENCE: Duration = Duration::from_secs(2);
