//! What a reset takes back, and what it keeps.

use crate::support;
use std::sync::Arc;

use bytes::Bytes;
use entra_workload_emulator::{Admin, Emulator, Pod, Seed};
use serde_json::{Value, json};

use crate::support::token_request::TokenRequest;

#[tokio::test]
async fn identity_that_is_seeded_later_keeps_its_roles_over_a_reset() {
    let (emulator, _admin) = start().await;
    let client_id = "7a5ff21b-4f5b-4f5b-9e3e-2c0b5a1d9a10";
    let later = json!({ "pods": [{
        "namespace": "shop", "serviceAccount": "reader", "clientId": client_id, "roles": [],
    }] });
    let pod = seed(&emulator, later).remove(0);
    assert_eq!(read_secret(&emulator, &pod).await, 403);
    emulator.reset().unwrap();
    assert_eq!(read_secret(&emulator, &pod).await, 403);

    let role = json!([{ "role": "Key Vault Secrets User" }]);
    let same = json!({ "pods": [{
        "namespace": "shop", "serviceAccount": "reader", "clientId": client_id, "roles": role,
    }] });
    seed(&emulator, same);
    assert_eq!(read_secret(&emulator, &pod).await, 404);
    emulator.reset().unwrap();
    assert_eq!(
        read_secret(&emulator, &pod).await,
        403,
        "its roles are those of its first seed"
    );
}

#[tokio::test]
async fn states_of_later_applications_end_with_a_reset() {
    let (emulator, _admin) = start().await;
    let pod = emulator.pod("shop", "orders").unwrap();
    let client_id = pod.client_id();
    let entra = emulator.entra();
    entra.set_client_secret(client_id, "planted");
    entra.expire_client_secret(client_id);
    entra.revoke_sign_ins(client_id);
    let before = TokenRequest::new(&pod);
    let with_secret = before
        .without("client_assertion")
        .with("client_secret", "planted");
    assert_eq!(with_secret.send(&emulator).await.code(), 7_000_222);
    assert_eq!(before.send(&emulator).await.code(), 50_173);
    emulator.reset().unwrap();
    assert_eq!(with_secret.send(&emulator).await.status, 200);
    assert_eq!(before.send(&emulator).await.status, 200);
}

#[tokio::test]
async fn later_application_is_as_it_was_seeded_after_a_reset() {
    let (emulator, _admin) = start().await;
    let client_id = "44444444-4444-4444-8444-444444444444";
    seed(
        &emulator,
        json!({ "applications": [{ "clientId": client_id, "disabled": true }] }),
    );
    emulator.entra().register_application(client_id);
    emulator.reset().unwrap();
    let pod = emulator.pod("shop", "orders").unwrap();
    let request = TokenRequest::new(&pod).with("client_id", client_id);
    assert_eq!(request.send(&emulator).await.code(), 7_000_112);
}

#[tokio::test]
async fn stopped_issuer_and_rotated_keys_are_refused_again_after_a_reset() {
    let (emulator, _admin) = start().await;
    let pod = emulator.pod("shop", "orders").unwrap();
    for _ in 0..2 {
        assert_eq!(TokenRequest::new(&pod).send(&emulator).await.status, 200);
        emulator.issuer().stop();
        assert_eq!(TokenRequest::new(&pod).send(&emulator).await.status, 200);
        emulator.reset().unwrap();
        emulator.issuer().stop();
        assert_eq!(TokenRequest::new(&pod).send(&emulator).await.code(), 50_166);
        emulator.issuer().start();
        assert_eq!(TokenRequest::new(&pod).send(&emulator).await.status, 200);
        emulator.reset().unwrap();
        // The previous key stays published.
        emulator.issuer().rotate_keys().unwrap();
        emulator.issuer().rotate_keys().unwrap();
        assert_eq!(TokenRequest::new(&pod).send(&emulator).await.code(), 7_000_272);
        emulator.reset().unwrap();
    }
}

async fn start() -> (Arc<Emulator>, Admin) {
    let emulator = Arc::new(Emulator::builder().known_keys().start().await.unwrap());
    let admin = Admin::start(Arc::clone(&emulator), None, Seed::default());
    let admin = admin.await.unwrap();
    (emulator, admin)
}

fn seed(emulator: &Emulator, seed: Value) -> Vec<Pod> {
    let seed: Seed = serde_json::from_value(seed).unwrap();
    emulator.seed(&seed).unwrap()
}

/// Reads a secret that is not there: 404 says that it could be read.
async fn read_secret(emulator: &Emulator, pod: &Pod) -> u16 {
    let response = TokenRequest::new(pod).send(emulator).await;
    let request = http::Request::get(format!(
        "{}/secrets/none?api-version=7.6",
        emulator.key_vault_url()
    ))
    .header(
        "authorization",
        format!("Bearer {}", response.text("access_token")),
    )
    .body(Bytes::new())
    .unwrap();
    support::send(emulator, request).await.status().as_u16()
}
