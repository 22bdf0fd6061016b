//! The middleware for `reqwest`, against the emulator's Key Vault.

use bytes::Bytes;
use entra_workload::integration::BearerTokenMiddleware;
use entra_workload::transport::HttpTransport;
use entra_workload::{Environment, Error, ErrorKind, WorkloadIdentityCredential};
use entra_workload_emulator::{Emulator, Endpoint, Fault, Pod};
use reqwest::StatusCode;
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware};
use std::sync::Arc;

use crate::support::log::{assert_no_secret, watch_for_secrets};

#[tokio::test]
async fn token_is_added_for_the_given_hosts_only() {
    let cloud = Cloud::start(true).await;
    assert_eq!(
        cloud
            .client(["127.0.0.1"])
            .get(cloud.secret_url())
            .send()
            .await
            .unwrap()
            .status(),
        404
    );
    assert_eq!(cloud.statuses(), [404]);
    let other = cloud.client(["localhost", "*.0.0.1x"]);
    assert_eq!(other.get(cloud.secret_url()).send().await.unwrap().status(), 401);
    assert!(!cloud.has_token(1));

    let all = BearerTokenMiddleware::for_all_https_hosts(cloud.credential.clone(), VAULT);
    let all = cloud.client_with(all);
    assert_eq!(all.get(cloud.secret_url()).send().await.unwrap().status(), 404);
    let own_header = all.get(cloud.secret_url()).header("authorization", "Bearer own");
    assert_eq!(own_header.send().await.unwrap().status(), 401);
}

#[tokio::test]
async fn claims_challenge_leads_to_one_retry_with_the_same_body() {
    let cloud = Cloud::start(true).await;
    let client = cloud.client(["127.0.0.1"]);
    let body = r#"{"value":"planted-value"}"#;
    for revoke in [false, true] {
        if revoke {
            cloud.revoke();
        }
        let put = client
            .put(cloud.secret_url())
            .header("content-type", "application/json")
            .body(body);
        let response = put.send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert!(response.text().await.unwrap().contains("planted-value"));
    }
    assert_eq!(cloud.statuses(), [200, 401, 200]);
    assert_eq!(cloud.token_requests(), 2);
}

#[tokio::test]
async fn other_401_leads_to_a_retry_if_there_is_another_token() {
    let cloud = Cloud::start(false).await;
    let client = cloud.client(["127.0.0.1"]);
    client.get(cloud.secret_url()).send().await.unwrap();
    // It has no claims challenge.
    cloud.emulator.inject(Endpoint::KeyVault, Fault::status(401));
    assert_eq!(client.get(cloud.secret_url()).send().await.unwrap().status(), 404);
    assert_eq!(cloud.statuses(), [404, 401, 404]);

    // The rejected token stays, since one was removed less than 30 s ago.
    cloud
        .emulator
        .inject(Endpoint::KeyVault, Fault::status(401).until_cleared());
    for _ in 0..3 {
        assert_eq!(client.get(cloud.secret_url()).send().await.unwrap().status(), 401);
    }
    assert_eq!(cloud.statuses().len(), 6);
    assert_eq!(cloud.token_requests(), 2);
}

#[tokio::test]
async fn service_that_keeps_refusing_gets_at_most_one_retry_per_request() {
    let cloud = Cloud::start(true).await;
    let client = cloud.client(["127.0.0.1"]);
    let challenge = r#"Bearer error="insufficient_claims", claims="eyJhY2Nlc3NfdG9rZW4iOnt9fQ==""#;
    cloud.refuse(challenge);
    // In the third one, both tokens have been replaced less than 30 s ago.
    for requests in [2, 4, 5, 6] {
        let response = client.get(cloud.secret_url()).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(cloud.statuses().len(), requests);
    }
    assert_eq!(cloud.token_requests(), 3);
}

#[tokio::test]
async fn challenge_of_another_host_after_a_redirect_is_ignored() {
    let cloud = Cloud::start(true).await;
    let client = cloud.client(["127.0.0.1"]);
    // Another port is another origin, to which `reqwest` sends no token.
    let reply = http::Response::builder()
        .status(302)
        .header("location", format!("{}/", cloud.emulator.blob_account_url()));
    let redirect = Fault::reply(reply.body(Bytes::new()).unwrap());
    cloud.emulator.inject(Endpoint::KeyVault, redirect);
    assert_eq!(client.get(cloud.secret_url()).send().await.unwrap().status(), 401);
    assert_eq!(client.get(cloud.secret_url()).send().await.unwrap().status(), 404);
    assert_eq!(cloud.token_requests(), 1);
}

#[tokio::test]
async fn malformed_challenge_is_returned_as_it_came() {
    let cloud = Cloud::start(true).await;
    let challenge = r#"Bearer error="insufficient_claims", claims="%""#;
    cloud.refuse(challenge);
    let client = cloud.client(["127.0.0.1"]);
    let response = client.get(cloud.secret_url()).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(response.headers()["www-authenticate"], challenge);
    assert_eq!(cloud.statuses(), [401]);
    let challenge = entra_workload::integration::BearerChallenge::from_headers(response.headers()).unwrap();
    assert_eq!(challenge.claims().unwrap_err().kind(), ErrorKind::Protocol);
}

#[tokio::test]
async fn plain_http_to_another_machine_is_not_sent() {
    let cloud = Cloud::start(true).await;
    let client = cloud.client(["orders.example.com"]);
    let error = client.get("http://orders.example.com/").send().await.unwrap_err();
    let cause = Error::find_in(&error).expect("an error of this crate");
    assert_eq!(cause.kind(), ErrorKind::Configuration);
    assert!(error.to_string().contains("plain http"), "{error}");
    assert_eq!(cloud.token_requests(), 0);
}

#[tokio::test]
async fn error_of_the_token_request_is_found_in_the_error() {
    let cloud = Cloud::start(true).await;
    cloud.emulator.entra().disable_application(cloud.pod.client_id());
    let client = cloud.client(["127.0.0.1"]);
    let error = client.get(cloud.secret_url()).send().await.unwrap_err();
    assert_no_secret(&error);
    let cause = Error::find_in(&error).expect("an error of this crate");
    assert_eq!(cause.aadsts_codes(), [7_000_112]);
}

struct Cloud {
    emulator: Emulator,
    pod: Pod,
    credential: Arc<WorkloadIdentityCredential>,
}

impl Cloud {
    async fn start(enable_cae: bool) -> Self {
        watch_for_secrets();
        let emulator = Emulator::start().await.unwrap();
        let pod = emulator.pod("shop", "orders").unwrap();
        let ca = emulator.ca_certificate_pem().as_bytes();
        let mut builder = WorkloadIdentityCredential::builder()
            .environment(Environment::from_iter(pod.variables()))
            .transport(HttpTransport::with_root_certificates(ca).unwrap());
        if enable_cae {
            builder = builder.enable_cae();
        }
        Self {
            credential: builder.build().unwrap(),
            emulator,
            pod,
        }
    }

    fn client<const N: usize>(&self, hosts: [&str; N]) -> ClientWithMiddleware {
        self.client_with(BearerTokenMiddleware::new(self.credential.clone(), VAULT, hosts))
    }

    fn client_with(&self, middleware: BearerTokenMiddleware) -> ClientWithMiddleware {
        let ca = reqwest::Certificate::from_pem(self.emulator.ca_certificate_pem().as_bytes()).unwrap();
        let client = reqwest::Client::builder().tls_certs_only([ca]).no_proxy();
        ClientBuilder::new(client.build().unwrap())
            .with(middleware)
            .build()
    }

    fn secret_url(&self) -> String {
        format!(
            "{}/secrets/orders?api-version=2025-07-01",
            self.emulator.key_vault_url()
        )
    }

    fn revoke(&self) {
        self.emulator.entra().revoke_tokens(self.pod.client_id());
    }

    fn refuse(&self, challenge: &str) {
        let reply = http::Response::builder()
            .status(401)
            .header("www-authenticate", challenge)
            .body(Bytes::new())
            .unwrap();
        self.emulator
            .inject(Endpoint::KeyVault, Fault::reply(reply).until_cleared());
    }

    fn statuses(&self) -> Vec<u16> {
        let requests = self.emulator.requests_to(Endpoint::KeyVault);
        requests.iter().map(|request| request.status().unwrap()).collect()
    }

    fn has_token(&self, number: usize) -> bool {
        let requests = self.emulator.requests_to(Endpoint::KeyVault);
        requests.get(number).unwrap().header("authorization").is_some()
    }

    fn token_requests(&self) -> usize {
        self.emulator.requests_to(Endpoint::Entra).len()
    }
}

const VAULT: &str = "https://vault.azure.net/.default";
