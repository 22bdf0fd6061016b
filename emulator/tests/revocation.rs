//! Revoked tokens and the claims of token requests.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod support;

use entra_workload_emulator::{Emulator, Pod};

use support::token_request::TokenRequest;

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
async fn revoked_token_is_challenged_for_claims_if_its_client_handles_that() {
    let emulator = Emulator::start().await.unwrap();
    let pod = emulator.pod("shop", "orders").unwrap();
    let plain = token(&emulator, &pod, None).await;
    let capable = token(&emulator, &pod, Some(CP1)).await;
    assert_eq!(support::parts(&capable).1["xms_cc"], serde_json::json!(["cp1"]));
    assert_eq!(read_secret(&emulator, &capable).await.0, 404);

    emulator.entra().revoke_tokens(pod.client_id());
    let (status, challenge) = read_secret(&emulator, &plain).await;
    assert_eq!(status, 401);
    assert!(challenge.contains(r#"error="invalid_token""#), "{challenge}");
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
async fn claims_that_are_no_json_object_are_refused() {
    let emulator = Emulator::start().await.unwrap();
    let pod = emulator.pod("shop", "orders").unwrap();
    for claims in ["[]", "e30=", "{"] {
        let response = TokenRequest::new(&pod)
            .with("claims", claims)
            .send(&emulator)
            .await;
        assert_eq!(response.code(), 90_023, "{claims}");
    }
}
