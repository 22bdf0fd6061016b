//! Role assignments: who may read and write what, and from when.

use std::time::Duration;

use entra_workload_emulator::{Role, RoleScope};
use serde_json::Value;

use crate::support::azure::{Cloud, STORAGE, VAULT, header, text};

#[tokio::test]
async fn pod_has_all_roles_until_the_first_decision() {
    let cloud = Cloud::start().await;
    assert_eq!(blob(&cloud, "PUT", "").await, 201);
    assert_eq!(secret(&cloud, "PUT").await, 200);
    cloud.emulator.remove_roles(&cloud.client_id);
    assert_eq!(blob(&cloud, "GET", "").await, 403);
    assert_eq!(secret(&cloud, "GET").await, 403);
}

#[tokio::test]
async fn each_role_allows_what_it_allows_in_azure() {
    let rows = [
        (Role::StorageBlobDataReader, [200, 403, 403, 403]),
        (Role::StorageBlobDataContributor, [200, 201, 403, 403]),
        (Role::StorageBlobDataOwner, [200, 201, 403, 403]),
        (Role::KeyVaultSecretsUser, [403, 403, 200, 403]),
        (Role::KeyVaultSecretsOfficer, [403, 403, 200, 200]),
    ];
    for (role, expected) in rows {
        let cloud = Cloud::start().await;
        cloud.emulator.put_blob(None, "box", "blob", "content");
        cloud.emulator.set_secret(None, "password", "planted");
        cloud
            .emulator
            .assign_role(&cloud.client_id, role, RoleScope::Everything);
        let actual = [
            blob(&cloud, "GET", "").await,
            blob(&cloud, "PUT", "").await,
            secret(&cloud, "GET").await,
            secret(&cloud, "PUT").await,
        ];
        assert_eq!(actual, expected, "{role}");
        assert_eq!(role.to_string().parse::<Role>().unwrap(), role);
    }
    "Reader".parse::<Role>().unwrap_err();
}

#[tokio::test]
async fn role_on_a_container_or_a_vault_does_not_reach_others() {
    let cloud = Cloud::start().await;
    cloud.emulator.put_blob(None, "box", "blob", "content");
    cloud.emulator.create_container(None, "other");
    cloud.emulator.set_secret(None, "password", "planted");
    let client_id = &cloud.client_id;
    let assign = |role, scope| cloud.emulator.assign_role(client_id, role, scope);
    assign(
        Role::StorageBlobDataReader,
        RoleScope::Container("box".to_owned()),
    );
    assign(Role::KeyVaultSecretsUser, RoleScope::Vault("another".to_owned()));
    assert_eq!(blob(&cloud, "GET", "").await, 200);
    assert_eq!(list(&cloud, "box").await, 200);
    assert_eq!(list(&cloud, "other").await, 403);
    let elsewhere = RoleScope::ContainerOf("another".to_owned(), "other".to_owned());
    assign(Role::StorageBlobDataReader, elsewhere);
    assert_eq!(list(&cloud, "other").await, 403);
    assert_eq!(secret(&cloud, "GET").await, 403);
    assign(Role::KeyVaultSecretsUser, RoleScope::Vault("Emulator".to_owned()));
    assert_eq!(secret(&cloud, "GET").await, 200);
    assign(
        Role::StorageBlobDataReader,
        RoleScope::Account("devaccount".to_owned()),
    );
    assert_eq!(list(&cloud, "other").await, 200);
}

#[tokio::test]
async fn copy_needs_a_role_that_reads_its_source() {
    let cloud = Cloud::start().await;
    cloud.emulator.put_blob(None, "private", "a", "content");
    cloud.emulator.create_container(None, "box");
    let assign = |name: &str| {
        let scope = RoleScope::Container(name.to_owned());
        let role = Role::StorageBlobDataContributor;
        cloud.emulator.assign_role(&cloud.client_id, role, scope);
    };
    let account = cloud.emulator.blob_account_url();
    let (url, source) = (format!("{account}/box/blob"), format!("{account}/private/a"));
    let authorization = format!("Bearer {}", cloud.token(STORAGE).await);
    let headers = [
        ("x-ms-version", "2026-04-06"),
        ("x-ms-copy-source", source.as_str()),
        ("authorization", &authorization),
    ];
    assign("box");
    let refused = cloud.send("PUT", &url, &headers).await;
    assert_eq!(refused.status(), 403);
    assert_eq!(
        header(&refused, "x-ms-error-code"),
        "AuthorizationPermissionMismatch"
    );
    assign("private");
    assert_eq!(cloud.send("PUT", &url, &headers).await.status(), 202);
}

#[tokio::test]
async fn new_assignment_works_after_its_delay() {
    let cloud = Cloud::start().await;
    cloud.emulator.put_blob(None, "box", "blob", "content");
    let delay = Duration::from_secs(300);
    let role = Role::StorageBlobDataReader;
    cloud
        .emulator
        .assign_role_after(&cloud.client_id, role, RoleScope::Everything, delay);
    assert_eq!(blob(&cloud, "GET", "").await, 403);
    cloud.clock.advance(delay);
    assert_eq!(blob(&cloud, "GET", "").await, 200);
}

#[tokio::test]
async fn refusals_have_the_bodies_of_azure() {
    let cloud = Cloud::start().await;
    cloud.emulator.remove_roles(&cloud.client_id);
    let response = send_blob(&cloud, "GET", "").await;
    assert_eq!(
        header(&response, "x-ms-error-code"),
        "AuthorizationPermissionMismatch"
    );
    assert!(text(&response).contains("not authorized to perform this operation using this permission"));

    let response = send_secret(&cloud, "GET").await;
    let body: Value = serde_json::from_slice(response.body()).unwrap();
    assert_eq!(body["error"]["code"], "Forbidden");
    assert_eq!(body["error"]["innererror"]["code"], "ForbiddenByRbac");
    let message = body["error"]["message"].as_str().unwrap();
    for part in [
        "Caller is not authorized to perform action on resource.",
        &format!("appid={}", cloud.client_id),
        "Action: 'Microsoft.KeyVault/vaults/secrets/getSecret/action'",
        "/providers/microsoft.keyvault/vaults/emulator/secrets/password'",
        "Assignment: (not found)",
    ] {
        assert!(message.contains(part), "{message}");
    }
}

async fn blob(cloud: &Cloud, method: &str, query: &str) -> u16 {
    if method == "PUT" {
        cloud.emulator.create_container(None, "box");
    }
    send_blob(cloud, method, query).await.status().as_u16()
}

async fn send_blob(cloud: &Cloud, method: &str, query: &str) -> http::Response<bytes::Bytes> {
    let url = format!("{}/box/blob{query}", cloud.emulator.blob_account_url());
    let authorization = format!("Bearer {}", cloud.token(STORAGE).await);
    let headers = [
        ("x-ms-version", "2026-04-06"),
        ("x-ms-blob-type", "BlockBlob"),
        ("authorization", &authorization),
    ];
    cloud.send_with_body(method, &url, &headers, "content").await
}

async fn list(cloud: &Cloud, container: &str) -> u16 {
    let url = format!(
        "{}/{container}?restype=container&comp=list",
        cloud.emulator.blob_account_url()
    );
    let authorization = format!("Bearer {}", cloud.token(STORAGE).await);
    let headers = [("x-ms-version", "2026-04-06"), ("authorization", &authorization)];
    cloud.send("GET", &url, &headers).await.status().as_u16()
}

async fn secret(cloud: &Cloud, method: &str) -> u16 {
    send_secret(cloud, method).await.status().as_u16()
}

async fn send_secret(cloud: &Cloud, method: &str) -> http::Response<bytes::Bytes> {
    let url = format!(
        "{}/secrets/password?api-version=7.6",
        cloud.emulator.key_vault_url()
    );
    let authorization = format!("Bearer {}", cloud.token(VAULT).await);
    let headers = [("authorization", authorization.as_str())];
    cloud
        .send_with_body(method, &url, &headers, r#"{"value":"planted"}"#)
        .await
}
