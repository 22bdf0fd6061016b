//! Revoked tokens and the claims of token requests.

use crate::support;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use entra_workload_emulator::{Emulator, Pod};

use crate::support::token_request::TokenRequest;

const CP1: &str = r#"{"access_token":{"xms_cc":{"values":["CP1"]}}}"#;

/// Returns the status and the challenge of a request to the vault.
async fn read_secret(emulator: &Emulator, token: &str) -> (u16, String) {
    let request = http::Request::get(format!("{}/secrets/a?api-version=7.4", emulator.key_vault_url()))
        .header("authorization", format!("Bearer {token}"))
        .body(bytes::Bytes::new())
        .unwrap();
    let response = support::send(emulator, request).await;
    let challenge = response.headers().get("www-authenticate");
    let challenge = challenge.map(|value| value.to_str().unwrap().to_owned());
    (response.status().as_u16(), challenge.unwrap_or_default())
}

async fn token(emulator: &Emulator, pod: &Pod, claims: Option<&str>) -> String {
    let request = TokenRequest::new(pod);
    let request = match claims {
        Some(claims) => request.with("claims", claims),
        None => request,
    };
    request.send(emulator).await.text("access_token").to_owned()
}

#[tokio::test]
async fn revoked_token_is_challenged_if_its_client_declares_cp1_and_works_otherwise() {
    let emulator = Emulator::start().await.unwrap();
    let pod = emulator.pod("shop", "orders").unwrap();
    let plain = token(&emulator, &pod, None).await;
    let capable = token(&emulator, &pod, Some(CP1)).await;
    assert_eq!(support::parts(&capable).1["xms_cc"], serde_json::json!(["cp1"]));
    assert_eq!(read_secret(&emulator, &capable).await.0, 404);

    emulator.entra().revoke_tokens(pod.client_id());
    assert_eq!(read_secret(&emulator, &plain).await.0, 404);
    let (status, challenge) = read_secret(&emulator, &capable).await;
    assert_eq!(status, 401);
    assert!(
        challenge.contains(r#"error="insufficient_claims", claims=""#),
        "{challenge}"
    );

    let new = token(&emulator, &pod, Some(CP1)).await;
    assert_eq!(read_secret(&emulator, &new).await.0, 404);
}

#[tokio::test]
async fn tokens_of_another_client_are_not_revoked() {
    let emulator = Emulator::start().await.unwrap();
    let pod = emulator.pod("shop", "orders").unwrap();
    let other = emulator.pod("shop", "invoices").unwrap();
    let token = token(&emulator, &pod, Some(CP1)).await;
    emulator.entra().revoke_tokens(other.client_id());
    assert_eq!(read_secret(&emulator, &token).await.0, 404);
}

#[tokio::test]
async fn blob_challenges_a_revoked_token_as_key_vault_does() {
    let emulator = Emulator::start().await.unwrap();
    let pod = emulator.pod("shop", "orders").unwrap();
    let storage = TokenRequest::new(&pod).with("scope", "https://storage.azure.com/.default");
    let plain = storage.send(&emulator).await.text("access_token").to_owned();
    let capable = storage.with("claims", CP1).send(&emulator).await;
    let capable = capable.text("access_token").to_owned();
    emulator.entra().revoke_tokens(pod.client_id());
    for (token, status, code) in [
        (plain, 404, "ContainerNotFound"),
        (capable, 401, "InvalidAuthenticationInfo"),
    ] {
        let request = http::Request::get(format!("{}/box/none", emulator.blob_account_url()))
            .header("authorization", format!("Bearer {token}"))
            .header("x-ms-version", "2026-04-06")
            .body(bytes::Bytes::new())
            .unwrap();
        let response = support::send(&emulator, request).await;
        assert_eq!(response.status(), status);
        assert_eq!(response.headers()["x-ms-error-code"], code);
        let challenge = response.headers().get("www-authenticate");
        let is_challenged =
            challenge.is_some_and(|value| value.to_str().unwrap().contains("insufficient_claims"));
        assert_eq!(is_challenged, status == 401, "{challenge:?}");
    }
}

#[tokio::test]
async fn claims_of_a_challenge_lead_to_a_token_that_is_accepted() {
    let emulator = Emulator::start().await.unwrap();
    let pod = emulator.pod("shop", "orders").unwrap();
    let revoked = token(&emulator, &pod, Some(CP1)).await;
    emulator.entra().revoke_tokens(pod.client_id());
    let (_, challenge) = read_secret(&emulator, &revoked).await;
    let claims = challenge
        .split(r#"claims=""#)
        .nth(1)
        .unwrap()
        .trim_end_matches('"');
    let claims = String::from_utf8(STANDARD.decode(claims).unwrap()).unwrap();
    let new = token(&emulator, &pod, Some(&claims)).await;
    assert_eq!(read_secret(&emulator, &new).await.0, 404);
}

#[tokio::test]
async fn malformed_claims_are_refused() {
    let emulator = Emulator::start().await.unwrap();
    let pod = emulator.pod("shop", "orders").unwrap();
    let future = r#"{"access_token":{"nbf":{"essential":true,"value":"99999999999"}}}"#;
    for claims in [
        "[]",
        "[null]",
        "e30=",
        "{",
        r#"{"access_token":1}"#,
        r#"{"access_token":{"xms_cc":["CP1"]}}"#,
        r#"{"access_token":{"xms_cc":{"values":"CP1"}}}"#,
        r#"{"access_token":{"nbf":{"essential":true,"value":"soon"}}}"#,
        future,
    ] {
        let response = TokenRequest::new(&pod)
            .with("claims", claims)
            .send(&emulator)
            .await;
        assert_eq!(response.code(), 90_023, "{claims}");
    }
}
