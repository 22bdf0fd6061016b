//! Client assertions: service-account tokens, tokens of a real cluster, and assertions signed with
//! a certificate.

use std::time::UNIX_EPOCH;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use entra_workload_emulator::{Emulator, FederatedCredential, Pod};
use serde_json::{Value, json};

use crate::support::token_request::TokenRequest;
use crate::support::{SettableClock, emulator_at, now, parts, read, seconds, valid_token};

#[tokio::test]
async fn assertion_is_accepted_within_five_minutes_of_clock_skew() {
    let emulator = emulator_at(&SettableClock::at(now())).await;
    let pod = emulator.pod("shop", "orders").unwrap();
    let rows = [
        (
            "expired one second before the end of the skew",
            valid_token()
                .issued_at(now() - seconds(899))
                .lifetime(seconds(600)),
        ),
        (
            "valid at the end of the skew",
            valid_token().not_before(now() + seconds(300)),
        ),
    ];
    for (name, token) in rows {
        let response = TokenRequest::new(&pod)
            .assertion(&emulator, &token)
            .send(&emulator)
            .await;
        assert_eq!(response.status, 200, "{name}: {}", response.body);
    }
}

#[tokio::test]
async fn aadsts70023_assertion_that_lives_longer_than_a_day_and_an_hour_is_refused() {
    let emulator = emulator_at(&SettableClock::at(now())).await;
    let pod = emulator.pod("shop", "orders").unwrap();
    for (lifetime, status) in [(90_000, 200), (90_001, 401)] {
        let token = valid_token().lifetime(seconds(lifetime));
        let response = TokenRequest::new(&pod)
            .assertion(&emulator, &token)
            .send(&emulator)
            .await;
        assert_eq!(response.status, status, "{lifetime}: {}", response.body);
        if status != 200 {
            assert_eq!(response.body["error_codes"], json!([70_023]));
        }
    }
}

#[tokio::test]
async fn token_of_a_real_cluster_is_accepted_until_it_expires() {
    let token = include_str!("../fixtures/kubernetes-1.20/token.jwt").trim();
    let (_, claims) = parts(token);
    let expiry = UNIX_EPOCH + seconds(claims["exp"].as_u64().unwrap());
    let clock = SettableClock::at(expiry - seconds(60));
    let emulator = Emulator::builder()
        .clock(clock.source())
        .trust_issuer(
            "https://127.0.0.1:16443",
            include_str!("../fixtures/kubernetes-1.20/jwks.json"),
        )
        .start()
        .await
        .unwrap();
    let pod = emulator.pod("shop", "orders").unwrap();
    emulator.entra().register_federated_credential(
        pod.client_id(),
        FederatedCredential {
            issuer: "https://127.0.0.1:16443".to_owned(),
            subject: "system:serviceaccount:saman:saman-identity-poc".to_owned(),
            audience: "api://AzureADTokenExchange".to_owned(),
        },
    );
    let request = TokenRequest::new(&pod).with("client_assertion", token);
    assert_eq!(request.send(&emulator).await.status, 200);
    clock.advance(seconds(60 + 300));
    assert_eq!(request.send(&emulator).await.code(), 700_024);
}

/// Edits the header and the claims of a valid assertion.
type AssertionEdit = fn(&mut Value, &mut Value);

#[tokio::test]
async fn invalid_certificate_assertion_returns_the_code_of_the_failed_check() {
    let rows: [(&str, AssertionEdit, u64); 10] = [
        ("algorithm", |header, _| header["alg"] = json!("HS256"), 5_002_738),
        (
            "algorithm other than that of the signature",
            |header, _| header["alg"] = json!("RS256"),
            700_027,
        ),
        (
            "no thumbprint",
            |header, _| header["x5t#S256"] = json!(""),
            700_027,
        ),
        (
            "another thumbprint",
            |header, _| header["x5t#S256"] = json!("AAAA"),
            700_027,
        ),
        ("subject", |_, claims| claims["sub"] = json!("another"), 700_021),
        (
            "audience",
            |_, claims| claims["aud"] = json!("api://AzureADTokenExchange"),
            700_023,
        ),
        (
            "two audiences",
            |_, claims| claims["aud"] = json!([claims["aud"].clone(), "https://a"]),
            700_023,
        ),
        ("expired", |_, claims| claims["exp"] = json!(0), 700_024),
        (
            "not yet valid",
            |_, claims| claims["nbf"] = json!(u64::MAX),
            700_024,
        ),
        (
            "another issuer",
            |_, claims| claims["iss"] = json!("https://a/"),
            700_211,
        ),
    ];
    let emulator = Emulator::start().await.unwrap();
    let pod = emulator.pod("shop", "orders").unwrap();
    let unregistered = certificate_assertion(&emulator, &pod, |_, _| {});
    let request = TokenRequest::new(&pod).with("client_assertion", &unregistered);
    assert_eq!(
        request.send(&emulator).await.error(),
        (401, "invalid_client", 700_027)
    );

    emulator
        .entra()
        .register_certificate(pod.client_id(), read(&certificate("pkcs1.pem")))
        .unwrap();
    let response = request.send(&emulator).await;
    assert_eq!(response.status, 200, "{}", response.body);
    assert_eq!(parts(response.text("access_token")).1["appidacr"], "2");
    for (name, change, code) in rows {
        let assertion = certificate_assertion(&emulator, &pod, change);
        let request = TokenRequest::new(&pod).with("client_assertion", &assertion);
        assert_eq!(
            request.send(&emulator).await.error(),
            (401, "invalid_client", code),
            "{name}"
        );
    }
    emulator.entra().remove_certificates(pod.client_id());
    assert_eq!(request.send(&emulator).await.code(), 700_027);
    emulator
        .entra()
        .register_certificate(pod.client_id(), "no PEM")
        .unwrap_err();
}

/// Returns an assertion signed with a certificate and PS256, after `edit`.
fn certificate_assertion(emulator: &Emulator, pod: &Pod, edit: AssertionEdit) -> String {
    use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;
    use jsonwebtoken::{Algorithm, EncodingKey};

    let now = now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let thumbprint = String::from_utf8(read(&certificate("leaf.sha256"))).unwrap();
    let mut header = json!({ "alg": "PS256", "typ": "JWT", "x5t#S256": thumbprint });
    let mut claims = json!({
        "aud": format!("{}{}/oauth2/v2.0/token", emulator.authority_host(), pod.tenant_id()),
        "exp": now + 600,
        "iss": pod.client_id(),
        "nbf": now,
        "sub": pod.client_id(),
    });
    edit(&mut header, &mut claims);
    let encoded = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", encoded(header), encoded(claims));
    let pem = String::from_utf8(read(&certificate("pkcs1.pem"))).unwrap();
    let (key, _) = pem.split_once("-----BEGIN CERTIFICATE-----").unwrap();
    let key = EncodingKey::from_rsa_pem(key.as_bytes()).unwrap();
    let signer = (DEFAULT_PROVIDER.signer_factory)(&Algorithm::PS256, &key).unwrap();
    let signature = signer.try_sign(message.as_bytes()).unwrap();
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// Returns the path of a file in `tests/fixtures/certificate`.
fn certificate(name: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/fixtures/certificate")
        .join(name)
}
