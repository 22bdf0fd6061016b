//! Managed identities as federated credentials of an application.

use bytes::Bytes;
use entra_workload_emulator::{Emulator, FederatedCredential, ManagedIdentity, Pod};
use serde_json::Value;

use crate::support::token_request::{TokenRequest, TokenResponse};
use crate::support::{SettableClock, emulator_at, now, parts, seconds, send};

const EXCHANGE: &str = "api://AzureADTokenExchange";

/// Adds the federated credential for a principal to the application of `pod`.
fn trust(emulator: &Emulator, pod: &Pod, object_id: &str) {
    let credential = FederatedCredential {
        issuer: format!("https://login.microsoftonline.com/{}/v2.0", pod.tenant_id()),
        subject: object_id.to_owned(),
        audience: EXCHANGE.to_owned(),
    };
    emulator
        .entra()
        .register_federated_credential(pod.client_id(), credential);
}

/// Returns the token of the only identity of the machine.
async fn identity_token(emulator: &Emulator, resource: &str) -> String {
    let url = format!(
        "{}/metadata/identity/oauth2/token?api-version=2018-02-01&resource={resource}",
        emulator.imds_url()
    );
    let request = http::Request::get(url).header("metadata", "true");
    let response = send(emulator, request.body(Bytes::new()).unwrap()).await;
    let body: Value = serde_json::from_slice(response.body()).unwrap();
    body["access_token"].as_str().unwrap().to_owned()
}

async fn exchange(emulator: &Emulator, pod: &Pod, assertion: &str) -> TokenResponse {
    let request = TokenRequest::new(pod).with("client_assertion", assertion);
    request.send(emulator).await
}

#[tokio::test]
async fn token_of_a_managed_identity_is_accepted_for_the_application() {
    let emulator = Emulator::start().await.unwrap();
    let identity = ManagedIdentity::named("orders");
    emulator.assign_identity(identity.clone());
    let pod = emulator.pod("shop", "orders").unwrap();
    let token = identity_token(&emulator, EXCHANGE).await;
    assert_eq!(exchange(&emulator, &pod, &token).await.code(), 700_211);
    trust(&emulator, &pod, "another-principal");
    assert_eq!(exchange(&emulator, &pod, &token).await.code(), 700_213);
    trust(&emulator, &pod, &identity.object_id);
    let response = exchange(&emulator, &pod, &token).await;
    assert_eq!(response.status, 200, "{}", response.body);
    assert_eq!(parts(response.text("access_token")).1["appid"], pod.client_id());
}

#[tokio::test]
async fn identity_token_for_another_resource_is_not_an_assertion() {
    let emulator = Emulator::start().await.unwrap();
    let identity = ManagedIdentity::named("orders");
    emulator.assign_identity(identity.clone());
    let pod = emulator.pod("shop", "orders").unwrap();
    trust(&emulator, &pod, &identity.object_id);
    let token = identity_token(&emulator, "https://vault.azure.net").await;
    assert_eq!(exchange(&emulator, &pod, &token).await.code(), 700_222);
}

#[tokio::test]
async fn forged_or_expired_identity_token_is_refused() {
    let clock = SettableClock::at(now());
    let emulator = emulator_at(&clock).await;
    let identity = ManagedIdentity::named("orders");
    emulator.assign_identity(identity.clone());
    let pod = emulator.pod("shop", "orders").unwrap();
    trust(&emulator, &pod, &identity.object_id);
    let token = identity_token(&emulator, EXCHANGE).await;
    let (message, _) = token.rsplit_once('.').unwrap();
    let other = identity_token(&emulator, EXCHANGE).await;
    let (_, signature) = other.rsplit_once('.').unwrap();
    let forged = exchange(&emulator, &pod, &format!("{message}.{signature}")).await;
    assert_eq!(forged.code(), 700_027);
    clock.advance(seconds(4000));
    assert_eq!(exchange(&emulator, &pod, &token).await.code(), 700_024);
}

#[tokio::test]
async fn chain_of_federated_credentials_is_refused() {
    let emulator = Emulator::start().await.unwrap();
    let first = emulator.pod("shop", "first").unwrap();
    let second = emulator.pod("shop", "second").unwrap();
    let scope = format!("{EXCHANGE}/.default");
    let token = TokenRequest::new(&first)
        .with("scope", &scope)
        .send(&emulator)
        .await;
    let token = token.text("access_token");
    trust(&emulator, &second, parts(token).1["oid"].as_str().unwrap());
    assert_eq!(
        exchange(&emulator, &second, token).await.error(),
        (401, "invalid_client", 700_231)
    );
}

#[tokio::test]
async fn token_of_an_application_with_a_secret_is_refused() {
    let emulator = Emulator::start().await.unwrap();
    let first = emulator.pod("shop", "first").unwrap();
    let second = emulator.pod("shop", "second").unwrap();
    emulator.entra().set_client_secret(first.client_id(), "secret");
    let scope = format!("{EXCHANGE}/.default");
    let request = TokenRequest::new(&first).without("client_assertion");
    let request = request.with("client_secret", "secret").with("scope", &scope);
    let token = request.send(&emulator).await;
    let token = token.text("access_token");
    trust(&emulator, &second, parts(token).1["oid"].as_str().unwrap());
    assert_eq!(
        exchange(&emulator, &second, token).await.error(),
        (401, "invalid_client", 700_226)
    );
}
