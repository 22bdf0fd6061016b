//! Applications that sign in with a certificate, or as the environment says, end to end against the emulator.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use entra_workload::builder::ClientCertificateCredentialBuilder;
use entra_workload::transport::HttpTransport;
use entra_workload::{ClientCertificateCredential, EnvironmentCredential, Error, ErrorKind, TokenRequest};
use entra_workload_emulator::{Emulator, Endpoint};
use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256};
use serde_json::Value;

use crate::support::clock::TestClock;
use crate::support::identifiers::{CLIENT_ID, VAULT};
use crate::support::log::{assert_no_secret, watch_for_secrets};

#[tokio::test]
async fn every_form_of_a_certificate_gets_a_token() {
    let emulator = emulator().await;
    let mut names = vec!["chain.pem", "pkcs1.pem"];
    if cfg!(feature = "pkcs12") {
        names.extend(["aes.p12", "legacy.p12"]);
    }
    for name in names {
        let builder = builder(&emulator).certificate_path(fixture(name));
        #[cfg(feature = "pkcs12")]
        let builder = builder.password("planted-password");
        let credential = builder.build().unwrap();
        let token = credential
            .token(&[VAULT])
            .await
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(claims(token.secret())["appid"], CLIENT_ID, "{name}");
        assert!(!format!("{credential:?}").contains("planted"), "{credential:?}");
    }
    for request in emulator.requests_to(Endpoint::Entra) {
        assert_eq!(request.form("client_secret"), None);
        assert_eq!(
            header(&request.form("client_assertion").unwrap())["x5c"],
            Value::Null
        );
    }
}

#[tokio::test]
async fn a_certificate_in_memory_sends_its_chain_if_enabled() {
    let emulator = emulator().await;
    let credential = builder(&emulator)
        .certificate(read(&fixture("chain.pem")))
        .send_certificate_chain()
        .build()
        .unwrap();
    credential.token(&[VAULT]).await.unwrap();
    let sent = emulator.requests_to(Endpoint::Entra)[0]
        .form("client_assertion")
        .unwrap();
    assert_eq!(header(&sent)["x5c"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn an_unregistered_certificate_is_rejected_with_a_hint() {
    let emulator = emulator().await;
    emulator.entra().remove_certificates(CLIENT_ID);
    let credential = builder(&emulator)
        .certificate_path(fixture("chain.pem"))
        .build()
        .unwrap();
    let error = credential.token(&[VAULT]).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.aadsts_codes()),
        (ErrorKind::Rejected, &[700_027][..])
    );
    assert!(
        error.to_string().contains("the certificate is not registered"),
        "{error}"
    );
    assert_no_secret(&error);
}

#[tokio::test]
async fn a_slow_clock_is_named_as_the_cause() {
    let emulator = Emulator::builder()
        .clock(late().wall_time())
        .start()
        .await
        .unwrap();
    register(&emulator, &read(&fixture("pkcs1.pem")));
    let credential = builder(&emulator)
        .certificate_path(fixture("pkcs1.pem"))
        .build()
        .unwrap();
    let error = credential.token(&[VAULT]).await.unwrap_err();
    assert_eq!(error.aadsts_codes(), [700_024]);
    assert!(
        error.to_string().ends_with("check this machine's clock (EW406)"),
        "{error}"
    );
    assert_no_secret(&error);

    let with_clock = builder(&emulator)
        .certificate_path(fixture("pkcs1.pem"))
        .clock(late());
    with_clock.build().unwrap().token(&[VAULT]).await.unwrap();
}

#[tokio::test]
async fn an_unusable_file_is_reported_before_anything_is_sent() {
    let emulator = emulator().await;
    for (name, kind) in [
        ("ec.pem", ErrorKind::Configuration),
        ("encrypted-pkcs8.pem", ErrorKind::Configuration),
        ("aes.p12", ErrorKind::Configuration),
        ("missing.pem", ErrorKind::Assertion),
    ] {
        let credential = builder(&emulator)
            .certificate_path(fixture(name))
            .build()
            .unwrap();
        let error = credential.token(&[VAULT]).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(name), "{error}");
        assert_no_secret(&error);
    }
    assert!(emulator.requests_to(Endpoint::Entra).is_empty());
}

#[tokio::test]
async fn a_renewed_certificate_needs_no_restart() {
    let emulator = emulator().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.pem");
    std::fs::write(&path, read(&fixture("chain.pem"))).unwrap();
    let credential = builder(&emulator).certificate_path(&path).build().unwrap();
    credential.token(&[VAULT]).await.unwrap();

    let key = KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap();
    let renewed = CertificateParams::default().self_signed(&key).unwrap().pem();
    emulator.entra().remove_certificates(CLIENT_ID);
    register(&emulator, renewed.as_bytes());
    std::fs::write(&path, format!("{renewed}{}", key.serialize_pem())).unwrap();
    credential.clear();
    credential.token(&[VAULT]).await.unwrap();
}

#[tokio::test]
async fn the_environment_prefers_a_secret_to_a_certificate() {
    let emulator = emulator().await;
    emulator.entra().set_client_secret(CLIENT_ID, "planted-secret");
    let certificate = fixture(if cfg!(feature = "pkcs12") {
        "aes.p12"
    } else {
        "chain.pem"
    });
    let certificate = [
        ("AZURE_CLIENT_CERTIFICATE_PATH", certificate.to_str().unwrap()),
        ("AZURE_CLIENT_CERTIFICATE_PASSWORD", "planted-password"),
        ("AZURE_CLIENT_SEND_CERTIFICATE_CHAIN", "true"),
    ];
    environment(&emulator, &certificate)
        .unwrap()
        .token(&[VAULT])
        .await
        .unwrap();
    let with_secret = [&certificate[..], &[("AZURE_CLIENT_SECRET", "planted-secret")]].concat();
    environment(&emulator, &with_secret)
        .unwrap()
        .token(&[VAULT])
        .await
        .unwrap();

    let requests = emulator.requests_to(Endpoint::Entra);
    let [by_certificate, by_secret] = requests.as_slice() else {
        panic!("{requests:?}")
    };
    let assertion = by_certificate.form("client_assertion").unwrap();
    assert_eq!(header(&assertion)["x5c"].as_array().unwrap().len(), 3);
    assert_eq!(by_certificate.form("client_secret"), None);
    assert_eq!(by_secret.form("client_secret").as_deref(), Some("planted-secret"));
    assert_eq!(by_secret.form("client_assertion"), None);
}

#[tokio::test]
async fn the_environment_lists_additionally_allowed_tenants() {
    let emulator = emulator().await;
    emulator.entra().set_client_secret(CLIENT_ID, "planted-secret");
    let secret = ("AZURE_CLIENT_SECRET", "planted-secret");
    let scopes = [VAULT];
    let elsewhere = TokenRequest::new(&scopes).tenant_id("contoso.com");

    let error = environment(&emulator, &[secret])
        .unwrap()
        .token_for(&elsewhere)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration, "{error}");
    let allowed = ("AZURE_ADDITIONALLY_ALLOWED_TENANTS", "fabrikam.com; contoso.com");
    let error = environment(&emulator, &[secret, allowed])
        .unwrap()
        .token_for(&elsewhere)
        .await
        .unwrap_err();
    assert_eq!(
        error.aadsts_codes(),
        [90_002],
        "Entra was asked and has no such tenant: {error}"
    );
    assert_no_secret(&error);
}

#[tokio::test]
async fn a_wrong_or_expired_secret_is_reported() {
    let emulator = emulator().await;
    emulator.entra().set_client_secret(CLIENT_ID, "planted-secret");
    let token = async |secret| {
        let variables = [("AZURE_CLIENT_SECRET", secret)];
        environment(&emulator, &variables).unwrap().token(&[VAULT]).await
    };
    let wrong = token("planted-wrong").await.unwrap_err();
    assert_eq!(wrong.aadsts_codes(), [7_000_215], "{wrong}");
    emulator.entra().expire_client_secret(CLIENT_ID);
    let expired = token("planted-secret").await.unwrap_err();
    assert_eq!(expired.aadsts_codes(), [7_000_222], "{expired}");
    for error in [wrong, expired] {
        assert_no_secret(&error);
    }
}

/// An emulator in which the certificate of the fixtures is registered.
async fn emulator() -> Emulator {
    watch_for_secrets();
    let emulator = Emulator::start().await.unwrap();
    register(&emulator, &read(&fixture("pkcs1.pem")));
    emulator
}

fn register(emulator: &Emulator, pem: &[u8]) {
    emulator.entra().register_certificate(CLIENT_ID, pem).unwrap();
}

fn builder(emulator: &Emulator) -> ClientCertificateCredentialBuilder {
    ClientCertificateCredential::builder()
        .environment(entra_workload::Environment::default())
        .authority_host(emulator.authority_host())
        .tenant_id(emulator.entra().tenant_id())
        .client_id(CLIENT_ID)
        .transport(transport(emulator))
}

/// The credential that `more` describes, for the application in the emulator's tenant.
fn environment(emulator: &Emulator, more: &[(&str, &str)]) -> Result<Arc<EnvironmentCredential>, Error> {
    let application = [
        ("AZURE_AUTHORITY_HOST", emulator.authority_host()),
        ("AZURE_TENANT_ID", emulator.entra().tenant_id()),
        ("AZURE_CLIENT_ID", CLIENT_ID),
    ];
    EnvironmentCredential::builder()
        .environment(application.iter().chain(more).copied().collect())
        .transport(transport(emulator))
        .build()
}

/// Two hours from now.
/// A transport that trusts the emulator's certificates, and no others.
fn transport(emulator: &Emulator) -> HttpTransport {
    HttpTransport::with_root_certificates(emulator.ca_certificate_pem().as_bytes()).unwrap()
}

fn late() -> TestClock {
    let clock = TestClock::stopped();
    clock.advance(Duration::from_secs(7200));
    clock
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/certificate")
        .join(name)
}

#[expect(clippy::disallowed_methods, reason = "a small file, in a test")]
fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap()
}

fn header(jwt: &str) -> Value {
    part(jwt, 0)
}

fn claims(jwt: &str) -> Value {
    part(jwt, 1)
}

fn part(jwt: &str, index: usize) -> Value {
    let part = jwt.split('.').nth(index).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}
