//! The credential of a pod.

use std::fmt::Debug;
use std::fs;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use azure_core::credentials::TokenCredential as _;
use azure_core::http::{Body, ClientOptions, Url};
use azure_security_keyvault_secrets::models::SetSecretParameters;
use azure_security_keyvault_secrets::{SecretClient, SecretClientOptions};
use azure_storage_blob::{BlobContainerClient, BlobContainerClientOptions};
use entra_workload::assertion::{AssertionRequest, ClientAssertion as _, ProjectedTokenFile};
use entra_workload::clock::{Clock as _, SystemClock};
use entra_workload::integration::SdkTransport;
use entra_workload::{ClientAssertionCredential, Environment, Secret, TokenRequest};
use entra_workload_emulator::{Endpoint, Fault, ServiceAccountToken};

use crate::leak_check::{KEY_VAULT_SECRET, LeakCheck, TOKEN_FILE_TEXT};
use crate::support::identifiers::VAULT;

#[tokio::test]
async fn nothing_leaks_when_a_key_vault_client_sets_and_reads_a_secret() {
    let check = LeakCheck::start().await;
    let options = SecretClientOptions {
        client_options: client_options(&check),
        // Loopback is not under vault.azure.net.
        verify_challenge_resource: Some(false),
        ..SecretClientOptions::default()
    };
    let url = check.emulator.key_vault_url();
    let client = SecretClient::new(url, check.credential.clone(), Some(options)).unwrap();
    let secret = SetSecretParameters {
        value: Some(KEY_VAULT_SECRET.to_owned()),
        ..SetSecretParameters::default()
    };
    let secret = secret.try_into().unwrap();
    client.set_secret("password", secret, None).await.unwrap();
    let secret = client.get_secret("password", None).await.unwrap();
    assert_eq!(secret.into_model().unwrap().value.unwrap(), KEY_VAULT_SECRET);
    check.finish([
        TOKEN_ACQUIRED,
        "typespec_client_core::",
        "hyper_util::",
        "reqwest::",
    ]);
}

#[tokio::test]
async fn nothing_leaks_when_a_blob_client_uploads_and_downloads() {
    let check = LeakCheck::start().await;
    let options = BlobContainerClientOptions {
        client_options: client_options(&check),
        ..BlobContainerClientOptions::default()
    };
    let url = Url::parse(&format!("{}/orders", check.emulator.blob_account_url())).unwrap();
    let container = BlobContainerClient::new(url, Some(check.credential.clone()), Some(options)).unwrap();
    container.create(None).await.unwrap();
    let blob = container.blob_client("today");
    blob.upload(Body::Bytes("three".into()).into(), None)
        .await
        .unwrap();
    let body = blob.download(None).await.unwrap().body.collect().await;
    assert_eq!(body.unwrap(), "three");
    check.finish([
        TOKEN_ACQUIRED,
        "typespec_client_core::",
        "hyper_util::",
        "reqwest::",
    ]);
}

#[tokio::test]
async fn nothing_leaks_when_a_token_is_refreshed_with_a_rotated_assertion() {
    let check = LeakCheck::start().await;
    let old = check.token().await;
    check.clock.advance(HOUR / 2);
    check.pod.rotate().unwrap();
    check
        .wait_until(async |check| check.token().await.secret() != old.secret())
        .await;
    check.finish([TOKEN_ACQUIRED, "hyper_util::", "reqwest::"]);
}

#[tokio::test]
async fn nothing_leaks_when_refreshes_fail_in_an_outage_and_recover() {
    let check = LeakCheck::start().await;
    let old = check.token().await;
    check
        .emulator
        .inject(Endpoint::Entra, Fault::throttle(MINUTE).until_cleared());
    check.clock.advance(HOUR / 2);
    check.pod.rotate().unwrap();
    let next_refresh = check.clock.now().system_time + MINUTE;
    check
        .wait_until(async |check| {
            let token = check.token().await;
            assert_eq!(token.secret(), old.secret());
            token.refresh_on() == next_refresh
        })
        .await;
    check.emulator.clear_faults(Endpoint::Entra);
    check.clock.advance(MINUTE);
    check
        .wait_until(async |check| check.token().await.secret() != old.secret())
        .await;
    check.finish([
        TOKEN_REQUEST_FAILED,
        "token refresh failed; using cached token",
        "token refresh recovered",
    ]);
}

#[tokio::test]
async fn nothing_leaks_when_the_token_file_disappears() {
    let check = LeakCheck::start().await;
    let token = check.token().await;
    fs::remove_file(check.pod.token_file()).unwrap();
    check.credential.invalidate(&token);
    check.token().await;
    check.finish([
        "service-account token unreadable; using the last one",
        TOKEN_ACQUIRED,
    ]);
}

#[tokio::test]
async fn nothing_leaks_when_the_token_file_holds_no_token() {
    let mut check = LeakCheck::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    let token = fs::read_to_string(check.pod.token_file()).unwrap();
    check.add_secret(&token);
    for content in [
        TOKEN_FILE_TEXT,
        &format!("{token}.{token}"),
        &token.replace('.', ".."),
    ] {
        fs::write(&file, content).unwrap();
        let credential = check.builder().token_file(&file).build().unwrap();
        check.show_failure(&*credential).await;
    }
    check.finish([]);
}

#[tokio::test]
async fn nothing_leaks_when_entra_rejects_the_application() {
    let mut check = LeakCheck::start().await;
    check.emulator.entra().disable_application(check.pod.client_id());
    let credential = check.builder().build().unwrap();
    check.show_failure(&*credential).await;
    check.clock.advance(MINUTE);
    let error = credential.get_token(&[VAULT], None).await.unwrap_err();
    check.show_sources(&error);
    check.finish([TOKEN_REQUEST_FAILED]);
}

#[tokio::test]
async fn nothing_leaks_when_entra_echoes_assertion_and_token() {
    let mut check = LeakCheck::start().await;
    let assertion = fs::read_to_string(check.pod.token_file()).unwrap();
    let token = check.token().await;
    // Half a token is a secret too.
    let cut = |token: &str| token.get(100..400).unwrap().to_owned();
    let (cut_assertion, cut_token) = (cut(&assertion), cut(token.secret()));
    let echoes = [&assertion, &cut_assertion, token.secret(), &cut_token];
    check
        .show_echoes(Endpoint::Entra, &echoes, |check| check.builder().build().unwrap())
        .await;
    check.finish([TOKEN_REQUEST_FAILED]);
}

#[tokio::test]
async fn nothing_leaks_when_entra_sends_no_complete_response() {
    let mut check = LeakCheck::start().await;
    for fault in [Fault::reset(), Fault::truncate(), Fault::hang()] {
        check.emulator.inject(Endpoint::Entra, fault.until_cleared());
        let credential = check
            .builder()
            .timeout(Duration::from_millis(300))
            .build()
            .unwrap();
        check.show_failure(&*credential).await;
        check.emulator.clear_faults(Endpoint::Entra);
    }
    check.finish([TOKEN_REQUEST_FAILED]);
}

#[tokio::test]
async fn nothing_leaks_when_the_public_types_are_shown() {
    let mut check = LeakCheck::start().await;
    // A token file without a credential follows the system's clock.
    let token = ServiceAccountToken::new("shop", "orders")
        .issued_at(SystemClock::new().now().system_time)
        .lifetime(HOUR * 3);
    check.pod.project(&token).unwrap();
    let file = Arc::new(ProjectedTokenFile::new(check.pod.token_file()));
    let request = Arc::new(OnceLock::new());
    let assertion = {
        let (file, request) = (file.clone(), request.clone());
        move |asked: AssertionRequest| {
            request.get_or_init(|| asked.clone());
            let file = file.clone();
            async move { file.assertion(asked).await }
        }
    };
    let transport = check.transport();
    let builder = ClientAssertionCredential::builder()
        .environment(Environment::from_iter(check.pod.variables()))
        .transport(transport.clone())
        .assertion(assertion);
    check.show(&builder);
    let credential = builder.build().unwrap();
    let access_token = credential.token(&[VAULT]).await.unwrap();
    check.add_secret(access_token.secret());
    let reported = credential.get_token(&[VAULT], None).await.unwrap();
    let client = azure_core::http::new_http_client(None);
    let scopes = [VAULT];
    let parts: [&dyn Debug; 17] = [
        &credential,
        &check.credential,
        &access_token,
        &reported,
        &Secret::from(access_token.secret()),
        &TokenRequest::new(&scopes).tenant_id("tenant").claims("{}"),
        &file,
        &request,
        &transport,
        &SdkTransport::new(client),
        &check.clock,
        &check.emulator,
        &check.emulator.entra(),
        &check.emulator.issuer(),
        &check.emulator.requests(),
        &check.pod,
        &token,
    ];
    for text in parts.map(|part| format!("{part:?}")) {
        check.show_text(text);
    }
    check.finish([TOKEN_ACQUIRED]);
}

fn client_options(check: &LeakCheck) -> ClientOptions {
    ClientOptions {
        transport: Some(check.emulator.sdk_transport().unwrap()),
        ..ClientOptions::default()
    }
}

const TOKEN_ACQUIRED: &str = "entra_workload::exchange: token acquired";

const TOKEN_REQUEST_FAILED: &str = "entra_workload::exchange: token request failed";

const HOUR: Duration = Duration::from_secs(3600);

const MINUTE: Duration = Duration::from_secs(60);
