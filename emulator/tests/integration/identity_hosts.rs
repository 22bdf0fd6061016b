//! The managed identity endpoints of Azure Arc, Azure ML and Cloud Shell.

use crate::support;
use bytes::Bytes;
use entra_workload_emulator::{Emulator, IdentityHost};

const VAULT: &str = "https://vault.azure.net";
const METADATA: (&str, &str) = ("metadata", "true");

/// Returns an emulator with an identity, and the value of a variable of the host.
async fn start(host: IdentityHost, variable: &str) -> (Emulator, String) {
    let emulator = Emulator::start().await.unwrap();
    emulator.assign_system_identity();
    let value = value(&emulator, host, variable);
    (emulator, value)
}

fn value(emulator: &Emulator, host: IdentityHost, variable: &str) -> String {
    let variables = emulator.host_variables(host);
    let found = variables.into_iter().find(|(name, _)| *name == variable);
    found.unwrap().1
}

async fn send(
    emulator: &Emulator,
    method: &str,
    url: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> http::Response<Bytes> {
    let mut request = http::Request::builder().method(method).uri(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Bytes::from(body.to_owned())).unwrap();
    support::send(emulator, request).await
}

#[tokio::test]
async fn key_of_an_azure_arc_challenge_is_valid_for_one_request() {
    let (emulator, endpoint) = start(IdentityHost::AzureArc, "IDENTITY_ENDPOINT").await;
    let url = format!("{endpoint}?api-version=2020-06-01&resource={VAULT}");
    let challenge = send(&emulator, "GET", &url, &[METADATA], "").await;
    assert_eq!(challenge.status(), 401);
    let challenge = challenge.headers()["www-authenticate"].to_str().unwrap();
    let file = std::path::Path::new(challenge.strip_prefix("Basic realm=").unwrap());
    assert_eq!(file.parent().unwrap(), emulator.arc_key_folder());
    let answer = format!("Basic {}", std::fs::read_to_string(file).unwrap());
    let headers = [METADATA, ("authorization", answer.as_str())];
    assert_eq!(send(&emulator, "GET", &url, &headers, "").await.status(), 200);
    assert_eq!(send(&emulator, "GET", &url, &headers, "").await.status(), 401);
    let guessed = [METADATA, ("authorization", "Basic guessed")];
    assert_eq!(send(&emulator, "GET", &url, &guessed, "").await.status(), 401);
    let files = std::fs::read_dir(emulator.arc_key_folder()).unwrap();
    assert_eq!(
        files.count(),
        1,
        "each challenge replaces the file of the one before"
    );
}

#[tokio::test]
async fn azure_arc_rejects_invalid_requests() {
    let (emulator, endpoint) = start(IdentityHost::AzureArc, "IDENTITY_ENDPOINT").await;
    let valid = format!("{endpoint}?api-version=2020-06-01&resource={VAULT}");
    for (method, url, headers, status) in [
        ("POST", valid.clone(), &[METADATA][..], 405),
        ("GET", valid.clone(), &[], 400),
        ("GET", valid.replace("2020-06-01", "2017-09-01"), &[METADATA], 400),
        (
            "GET",
            format!("{endpoint}?api-version=2020-06-01"),
            &[METADATA],
            400,
        ),
        ("GET", format!("{valid}&client_id=orders"), &[METADATA], 400),
    ] {
        let response = send(&emulator, method, &url, headers, "").await;
        assert_eq!(response.status(), status, "{method} {url}");
    }
}

#[tokio::test]
async fn azure_ml_rejects_invalid_requests() {
    let (emulator, endpoint) = start(IdentityHost::AzureMl, "MSI_ENDPOINT").await;
    let secret = value(&emulator, IdentityHost::AzureMl, "MSI_SECRET");
    let secret = ("secret", secret.as_str());
    let valid = format!("{endpoint}?api-version=2017-09-01&resource={VAULT}");
    for (method, url, headers, status) in [
        ("GET", valid.clone(), &[secret][..], 200),
        ("POST", valid.clone(), &[secret], 405),
        ("GET", valid.clone(), &[], 401),
        ("GET", valid.clone(), &[("secret", "guessed")], 401),
        ("GET", valid.replace("2017-09-01", "2019-08-01"), &[secret], 400),
        (
            "GET",
            format!("{endpoint}?api-version=2017-09-01"),
            &[secret],
            400,
        ),
        ("GET", format!("{valid}&clientid=unknown"), &[secret], 400),
    ] {
        let response = send(&emulator, method, &url, headers, "").await;
        assert_eq!(response.status(), status, "{method} {url}");
    }
}

#[tokio::test]
async fn cloud_shell_rejects_invalid_requests() {
    let (emulator, endpoint) = start(IdentityHost::CloudShell, "MSI_ENDPOINT").await;
    let form = format!("resource={VAULT}");
    for (method, headers, body, status) in [
        ("POST", &[METADATA][..], form.as_str(), 200),
        ("GET", &[METADATA], "", 405),
        ("POST", &[], &form, 400),
        ("POST", &[METADATA], "", 400),
        ("POST", &[METADATA], "resource=", 400),
        ("POST", &[METADATA], "resource=https://unknown", 400),
    ] {
        let response = send(&emulator, method, &endpoint, headers, body).await;
        assert_eq!(response.status(), status, "{method} {body}");
    }
}

#[tokio::test]
async fn outage_of_entra_is_an_error_that_clients_retry() {
    let (emulator, endpoint) = start(IdentityHost::CloudShell, "MSI_ENDPOINT").await;
    emulator.entra().set_available(false);
    let form = format!("resource={VAULT}");
    let response = send(&emulator, "POST", &endpoint, &[METADATA], &form).await;
    assert_eq!(response.status(), 500);
}
