//! OpenDAL's `azdls` in a pod with workload identity, before and after. OpenDAL reads the variables of the
//! process, so the test runs itself as a process with those of a pod.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "tests"
)]

use std::time::Duration;

use entra_workload::WorkloadIdentityCredential;
use entra_workload::integration::ReqsignCredential;
use entra_workload::transport::HttpTransport;
use entra_workload_emulator::{Emulator, Endpoint};
use opendal::services::Azdls;
use opendal::{HttpTransporter, OperationContext, Operator};
use opendal_http_transport_reqwest::ReqwestTransport;
use reqsign_core::ProvideCredentialChain;

#[tokio::test]
async fn azdls_has_workload_identity_with_the_adapter_only() {
    let emulator = Emulator::start().await.unwrap();
    let pod = emulator.pod("shop", "orders").unwrap();
    for (adapter, token_requests) in [("no", 0), ("yes", 1)] {
        let child = tokio::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "in_a_pod", "--ignored"])
            .env_clear()
            .envs(pod.variables())
            .env("ACCOUNT_URL", emulator.blob_account_url())
            .env("CA_FILE", emulator.ca_certificate_file())
            .env("WITH_ADAPTER", adapter)
            .output()
            .await
            .unwrap();
        assert!(
            child.status.success(),
            "{}",
            String::from_utf8_lossy(&child.stdout)
        );
        assert_eq!(
            emulator.requests_to(Endpoint::Entra).len(),
            token_requests,
            "{adapter}"
        );
        let requests = emulator.requests_to(Endpoint::Blob);
        let with_token = requests
            .iter()
            .filter(|request| request.header("authorization").is_some());
        assert_eq!(with_token.count() > 0, adapter == "yes");
    }
}

/// Asks for a file. It is not there, and the emulator has no `azdls`: what matters is the token.
#[tokio::test]
#[ignore = "run by azdls_has_workload_identity_with_the_adapter_only"]
async fn in_a_pod() {
    let variable = |name: &str| std::env::var(name).unwrap();
    let ca = std::fs::read(variable("CA_FILE")).unwrap();
    let root = reqwest::Certificate::from_pem(&ca).unwrap();
    let client = reqwest::Client::builder().tls_certs_only([root]).no_proxy();
    let mut service = Azdls::default()
        .endpoint(&variable("ACCOUNT_URL"))
        .filesystem("orders");
    if variable("WITH_ADAPTER") == "yes" {
        let credential = WorkloadIdentityCredential::builder()
            .transport(HttpTransport::with_root_certificates(&ca).unwrap())
            .build()
            .unwrap();
        let provider = ReqsignCredential::new(credential);
        service = service.credential_provider_chain(ProvideCredentialChain::new().push(provider));
    }
    let transport = HttpTransporter::new(ReqwestTransport::new(client.build().unwrap()));
    let operator = Operator::new(service)
        .unwrap()
        .with_context(OperationContext::new().with_http_transport(transport));
    // Without the adapter it asks the metadata service, which may not respond.
    let asked = tokio::time::timeout(Duration::from_secs(10), operator.stat("july/1.csv")).await;
    assert!(!matches!(asked, Ok(Ok(_))));
}
