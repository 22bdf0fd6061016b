//! Applications that sign in with a client secret or a certificate.

use entra_workload::builder::{ClientCertificateCredentialBuilder, ClientSecretCredentialBuilder};
use entra_workload::{ClientCertificateCredential, ClientSecretCredential};
use entra_workload_emulator::Endpoint;
use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256};

use crate::leak_check::{CERTIFICATE_PASSWORD, CLIENT_SECRET, LeakCheck, WRONG_CLIENT_SECRET};
use crate::support::identifiers::CLIENT_ID;

#[tokio::test]
async fn nothing_leaks_when_a_client_secret_is_accepted_or_rejected() {
    let mut check = LeakCheck::start().await;
    check.emulator.entra().set_client_secret(CLIENT_ID, CLIENT_SECRET);
    check.show(&with_client_secret(&check, CLIENT_SECRET));
    let credential = with_client_secret(&check, CLIENT_SECRET).build().unwrap();
    check.show_token(&*credential).await;
    let credential = with_client_secret(&check, WRONG_CLIENT_SECRET).build().unwrap();
    check.show_failure(&*credential).await;
    check.finish([
        "entra_workload::exchange: token acquired",
        "entra_workload::exchange: token request failed",
    ]);
}

#[tokio::test]
async fn nothing_leaks_when_entra_echoes_a_client_secret() {
    let mut check = LeakCheck::start().await;
    check.emulator.entra().set_client_secret(CLIENT_ID, CLIENT_SECRET);
    let credential = with_client_secret(&check, CLIENT_SECRET).build().unwrap();
    check.show_token(&*credential).await;
    check
        .show_echoes(Endpoint::Entra, &[CLIENT_SECRET], |check| {
            with_client_secret(check, CLIENT_SECRET).build().unwrap()
        })
        .await;
    check.finish(["entra_workload::exchange: token request failed"]);
}

#[tokio::test]
async fn nothing_leaks_when_a_certificate_is_accepted_or_rejected() {
    let mut check = LeakCheck::start().await;
    let (certificate, key) = register_certificate(&check);
    let pem = format!("{certificate}{key}");
    check.show(&with_certificate(&check, &pem));
    #[cfg(feature = "pkcs12")]
    check.show(&with_certificate(&check, &pem).password(CERTIFICATE_PASSWORD));
    let credential = with_certificate(&check, &pem).build().unwrap();
    check.show_token(&*credential).await;
    check.emulator.entra().remove_certificates(CLIENT_ID);
    let credential = with_certificate(&check, &pem).build().unwrap();
    check.show_failure(&*credential).await;
    check.finish([
        "entra_workload::exchange: token acquired",
        "entra_workload::exchange: token request failed",
    ]);
}

#[tokio::test]
async fn nothing_leaks_when_a_certificate_or_its_key_is_unusable() {
    let mut check = LeakCheck::start().await;
    let (certificate, key) = register_certificate(&check);
    let with = |key: String| format!("{certificate}{key}");
    for pem in [
        &with(key.get(..1000).unwrap().to_owned()),
        &with(key.replace("\nMIIE", "\n")),
        &with(key.replace("\nM", "\n!")),
        &key,
    ] {
        let credential = with_certificate(&check, pem).build().unwrap();
        check.show_failure(&*credential).await;
    }
    let other_password = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/certificate/aes.p12");
    let credential = with_certificate(&check, &with(key))
        .certificate_path(other_password)
        .build()
        .unwrap();
    check.show_failure(&*credential).await;
    check.finish([]);
}

#[tokio::test]
async fn nothing_leaks_when_entra_echoes_a_signed_assertion() {
    let mut check = LeakCheck::start().await;
    let (certificate, key) = register_certificate(&check);
    let pem = format!("{certificate}{key}");
    let credential = with_certificate(&check, &pem).build().unwrap();
    check.show_token(&*credential).await;
    let sent = check.emulator.requests_to(Endpoint::Entra);
    let assertion = sent.last().and_then(|request| request.form("client_assertion"));
    check
        .show_echoes(Endpoint::Entra, &[&assertion.unwrap()], |check| {
            with_certificate(check, &pem).build().unwrap()
        })
        .await;
    check.finish(["entra_workload::exchange: token request failed"]);
}

fn with_client_secret(check: &LeakCheck, secret: &str) -> ClientSecretCredentialBuilder {
    ClientSecretCredential::builder()
        .environment(check.application(&[]))
        .client_secret(secret)
        .transport(check.transport())
        .clock(check.clock.clone())
}

fn with_certificate(check: &LeakCheck, pem: &str) -> ClientCertificateCredentialBuilder {
    let password = ("AZURE_CLIENT_CERTIFICATE_PASSWORD", CERTIFICATE_PASSWORD);
    ClientCertificateCredential::builder()
        .environment(check.application(&[password]))
        .certificate(pem)
        .transport(check.transport())
        .clock(check.clock.clone())
}

/// Registers a new certificate; returns it and its key. The key is a secret, as text and as the
/// bytes that `Debug` shows.
fn register_certificate(check: &LeakCheck) -> (String, String) {
    let key = KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap();
    let certificate = CertificateParams::default().self_signed(&key).unwrap().pem();
    let entra = check.emulator.entra();
    entra.register_certificate(CLIENT_ID, &certificate).unwrap();
    let key = key.serialize_pem();
    for line in key.lines().filter(|line| !line.starts_with("-----")) {
        check.add_secret(line);
        check.add_secret(format!("{:?}", line.as_bytes()).trim_matches(['[', ']']));
    }
    (certificate, key)
}
