//! Seeds: what is refused, and that nothing of a refused one is applied.

use entra_workload_emulator::{Emulator, Seed};
use serde_json::json;

#[tokio::test]
async fn urls_and_other_texts_in_place_of_names_and_ids_are_refused_with_their_field() {
    let emulator = Emulator::builder().known_keys().start().await.unwrap();
    let pod = |more| {
        let mut pod = json!({ "namespace": "shop", "serviceAccount": "orders" });
        pod.as_object_mut().unwrap().extend(more);
        json!({ "pods": [pod] })
    };
    let pod = |field: &str, value: serde_json::Value| pod([(field.to_owned(), value)]);
    let role = |role: &str, field: &str, value: &str| pod("roles", json!([{ "role": role, field: value }]));
    let (reader, user) = ("Storage Blob Data Reader", "Key Vault Secrets User");
    let secret = |vault: &str| json!({ "secrets": [{ "vault": vault, "name": "a", "value": "planted" }] });
    for (seed, expected) in [
        (
            secret("shop.vault.azure.net"),
            "secrets.vault: \"shop.vault.azure.net\" is not the name of a vault without its domain",
        ),
        (secret("https://shop.vault.azure.net/"), "secrets.vault: "),
        (role(user, "vault", "https://shop"), "roles.vault: "),
        (
            role(reader, "account", "https://shop.blob.core.windows.net"),
            "roles.account: ",
        ),
        (
            role(reader, "container", "Bad/Name"),
            "roles.container: \"Bad/Name\" is not the name of a container",
        ),
        (
            json!({ "containers": [{ "account": "https://shop", "name": "box" }] }),
            "containers.account: \"https://shop\" is not the name of a storage account",
        ),
        (
            pod("clientId", json!("not-a-guid")),
            "pods.clientId: \"not-a-guid\" is not a GUID",
        ),
        (pod("serviceAccount", json!("a/b")), "pods.serviceAccount: "),
        (
            json!({ "applications": [{ "clientId": "44444444-4444-4444-8444-44444444444g" }] }),
            "applications.clientId: ",
        ),
        (
            json!({ "managedIdentities": [{ "name": "orders", "objectId": "orders" }] }),
            "managedIdentities.objectId: ",
        ),
    ] {
        let seed: Seed = serde_json::from_value(seed).unwrap();
        let error = emulator.seed(&seed).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }
}

#[tokio::test]
async fn nothing_of_an_invalid_seed_is_applied() {
    let emulator = Emulator::builder().known_keys().start().await.unwrap();
    let client_id = "44444444-4444-4444-8444-444444444444";
    let seed = json!({
        "applications": [{ "clientId": client_id }],
        "containers": [{ "name": "UPPER" }],
    });
    let seed: Seed = serde_json::from_value(seed).unwrap();
    emulator.seed(&seed).unwrap_err();
    let url = format!(
        "{}{}/oauth2/v2.0/token",
        emulator.authority_host(),
        emulator.entra().tenant_id()
    );
    let root = reqwest::Certificate::from_pem(emulator.ca_certificate_pem().as_bytes()).unwrap();
    let client = reqwest::Client::builder().tls_certs_only([root]).no_proxy();
    let form = format!("grant_type=client_credentials&client_id={client_id}");
    let response = client.build().unwrap().post(url).body(form).send().await.unwrap();
    let body: serde_json::Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
    assert_eq!(body["error_codes"], json!([700_016]));
}
