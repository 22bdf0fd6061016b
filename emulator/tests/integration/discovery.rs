//! The keys of the cluster issuer: published by the issuer and fetched by Entra.

use std::collections::BTreeSet;

use entra_workload_emulator::{Emulator, Endpoint, Fault};
use serde_json::{Value, json};

use crate::support::token_request::TokenRequest;
use crate::support::{parts, valid_token};

#[tokio::test]
async fn signed_token_has_the_claims_of_a_real_cluster() {
    let emulator = Emulator::start().await.unwrap();
    let names = |value: &Value| {
        value
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect::<BTreeSet<_>>()
    };
    let (real_header, mut real) = parts(include_str!("../fixtures/kubernetes-1.20/token.jwt").trim());
    let (header, claims) = parts(&emulator.issuer().sign(&valid_token()));
    assert_eq!(names(&header), names(&real_header));
    // Claims added after Kubernetes 1.20.
    real["jti"] = json!("");
    real["kubernetes.io"]["node"] = json!({ "name": "", "uid": "" });
    assert_eq!(names(&claims), names(&real));
    let (kubernetes, real) = (&claims["kubernetes.io"], &real["kubernetes.io"]);
    assert_eq!(names(kubernetes), names(real));
    for bound in ["node", "pod", "serviceaccount"] {
        assert_eq!(names(&kubernetes[bound]), names(&real[bound]), "{bound}");
    }
    assert_eq!(claims["aud"], json!(["api://AzureADTokenExchange"]));
    assert_eq!(claims["sub"], "system:serviceaccount:shop:orders");
    assert_eq!(claims["iss"], emulator.issuer_url());
    assert_eq!(
        claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(),
        3600
    );
}

#[tokio::test]
async fn issuer_keys_are_fetched_once_and_again_for_an_unknown_key_id() {
    let emulator = Emulator::start().await.unwrap();
    let pod = emulator.pod("shop", "orders").unwrap();
    let fetches = || emulator.requests_to(Endpoint::Issuer).len();
    let first = TokenRequest::new(&pod);
    for _ in 0..2 {
        assert_eq!(first.send(&emulator).await.status, 200);
        assert_eq!(fetches(), 2, "one discovery document and one key set");
    }
    emulator.issuer().rotate_keys().unwrap();
    pod.rotate().unwrap();
    assert_eq!(TokenRequest::new(&pod).send(&emulator).await.status, 200);
    assert_eq!(fetches(), 4, "fetched again for the new key");
    assert_eq!(
        first.send(&emulator).await.status,
        200,
        "the previous key stays published"
    );

    emulator.issuer().rotate_keys().unwrap();
    pod.rotate().unwrap();
    assert_eq!(TokenRequest::new(&pod).send(&emulator).await.status, 200);
    assert_eq!(
        first.send(&emulator).await.code(),
        7_000_272,
        "older keys are removed"
    );
}

#[tokio::test]
async fn failing_issuer_is_an_error_unless_its_keys_are_cached() {
    let emulator = Emulator::start().await.unwrap();
    let pod = emulator.pod("shop", "orders").unwrap();
    emulator.issuer().stop();
    assert_eq!(
        TokenRequest::new(&pod).send(&emulator).await.error(),
        (400, "invalid_request", 50_166)
    );
    emulator.issuer().start();
    emulator.inject(Endpoint::Issuer, Fault::reset());
    assert_eq!(
        TokenRequest::new(&pod).send(&emulator).await.error(),
        (400, "invalid_request", 90_061)
    );
    assert_eq!(TokenRequest::new(&pod).send(&emulator).await.status, 200);
    emulator.issuer().stop();
    assert_eq!(TokenRequest::new(&pod).send(&emulator).await.status, 200);
}

#[tokio::test]
async fn start_fails_for_an_invalid_jwk_set_or_certificate() {
    let error = Emulator::builder()
        .trust_issuer("https://a/", "{}")
        .start()
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "the keys of the issuer are not a JWK set");
    let broken = "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n";
    Emulator::builder()
        .trust_issuer_ca(broken)
        .start()
        .await
        .unwrap_err();
}
