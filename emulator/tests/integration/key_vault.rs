//! The Key Vault, tested with the client of the Azure SDK and, for invalid requests, with raw HTTP.

use std::collections::HashMap;
use std::time::Duration;

use azure_core::Result;
use azure_core::error::ErrorKind;
use azure_core::http::StatusCode;
use azure_security_keyvault_secrets::models::{
    SecretAttributes, SecretClientGetSecretOptions, SecretClientListSecretPropertiesOptions,
    SetSecretParameters, UpdateSecretPropertiesParameters,
};
use azure_security_keyvault_secrets::{ResourceExt as _, SecretClient};
use bytes::Bytes;
use entra_workload_emulator::{Endpoint, Fault};
use futures::TryStreamExt as _;
use serde_json::Value;

use crate::support::azure::{Cloud, STORAGE, VAULT, assert_error, header, text, with_changed_signature};

#[tokio::test]
async fn every_version_of_a_secret_is_readable() {
    let cloud = Cloud::start().await;
    let client = cloud.secrets();
    let first = set(&client, "password", "one").await;
    let second = set(&client, "password", "two").await;
    assert_eq!(get(&client, "password", None).await.unwrap(), "two");
    assert_eq!(get(&client, "password", Some(&first)).await.unwrap(), "one");
    let versions = client.list_secret_properties_versions("password", None).unwrap();
    let mut versions: Vec<_> = versions
        .map_ok(|secret| secret.resource_id().unwrap().version.unwrap())
        .try_collect()
        .await
        .unwrap();
    let mut expected = vec![first, second];
    expected.sort();
    versions.sort();
    assert_eq!(versions, expected);
}

#[tokio::test]
async fn sdk_client_sends_the_token_after_the_challenge() {
    let cloud = Cloud::start().await;
    set(&cloud.secrets(), "password", "one").await;
    let statuses: Vec<_> = cloud
        .emulator
        .requests_to(Endpoint::KeyVault)
        .iter()
        .map(|request| (request.status(), request.header("authorization").is_some()))
        .collect();
    assert_eq!(statuses, [(Some(401), false), (Some(200), true)]);
}

#[tokio::test]
async fn secrets_are_listed_in_pages() {
    let cloud = Cloud::start().await;
    let client = cloud.secrets();
    for i in 0..5 {
        set(&client, &format!("s{i}"), "x").await;
    }
    let options = SecretClientListSecretPropertiesOptions {
        maxresults: Some(2),
        ..Default::default()
    };
    let mut pages = client.list_secret_properties(Some(options)).unwrap().into_pages();
    let mut names = Vec::new();
    while let Some(page) = pages.try_next().await.unwrap() {
        let page = page.into_model().unwrap().value;
        names.push(
            page.iter()
                .map(|it| it.resource_id().unwrap().name)
                .collect::<Vec<_>>(),
        );
    }
    assert_eq!(names, [vec!["s0", "s1"], vec!["s2", "s3"], vec!["s4"]]);
}

#[tokio::test]
async fn deleted_secret_keeps_its_name_until_recovered_or_purged() {
    let cloud = Cloud::start().await;
    let client = cloud.secrets();
    set(&client, "password", "one").await;
    let deleted = client
        .delete_secret("password", None)
        .await
        .unwrap()
        .into_model()
        .unwrap();
    assert!(deleted.value.is_none());
    assert_eq!(
        deleted.scheduled_purge_date.unwrap() - deleted.deleted_date.unwrap(),
        Duration::from_secs(90 * 86_400)
    );
    let not_found = get(&client, "password", None).await;
    assert_error(not_found, StatusCode::NotFound, "SecretNotFound");
    let parameters = SetSecretParameters {
        value: Some("two".to_owned()),
        ..Default::default()
    };
    let conflict = client
        .set_secret("password", parameters.try_into().unwrap(), None)
        .await;
    assert_error(conflict, StatusCode::Conflict, "Conflict");

    client.recover_deleted_secret("password", None).await.unwrap();
    assert_eq!(get(&client, "password", None).await.unwrap(), "one");
    let not_deleted = client.get_deleted_secret("password", None).await;
    assert_error(not_deleted, StatusCode::NotFound, "SecretNotFound");

    client.delete_secret("password", None).await.unwrap();
    let pager = client.list_deleted_secret_properties(None).unwrap();
    let deleted: Vec<_> = pager.try_collect().await.unwrap();
    assert_eq!(deleted.len(), 1);
    client.purge_deleted_secret("password", None).await.unwrap();
    set(&client, "password", "three").await;
    assert_eq!(get(&client, "password", None).await.unwrap(), "three");
}

#[tokio::test]
async fn reading_a_disabled_secret_is_forbidden() {
    let cloud = Cloud::start().await;
    let client = cloud.secrets();
    set(&client, "password", "one").await;
    let parameters = UpdateSecretPropertiesParameters {
        secret_attributes: Some(SecretAttributes {
            enabled: Some(false),
            ..Default::default()
        }),
        tags: Some(HashMap::from([("team".to_owned(), "shop".to_owned())])),
        ..Default::default()
    };
    let updated = client
        .update_secret_properties("password", parameters.try_into().unwrap(), None)
        .await;
    let updated = updated.unwrap().into_model().unwrap();
    assert_eq!(updated.tags.unwrap()["team"], "shop");
    let forbidden = get(&client, "password", None).await;
    assert_error(forbidden, StatusCode::Forbidden, "Forbidden");
}

#[tokio::test]
async fn secret_with_more_than_15_tags_is_a_bad_parameter() {
    let cloud = Cloud::start().await;
    let client = cloud.secrets();
    let set = async |tags: u8| {
        let parameters = SetSecretParameters {
            value: Some("planted".to_owned()),
            tags: Some((0..tags).map(|tag| (tag.to_string(), String::new())).collect()),
            ..Default::default()
        };
        let parameters = parameters.try_into().unwrap();
        client.set_secret("password", parameters, None).await.map(drop)
    };
    set(15).await.unwrap();
    assert_error(set(16).await, StatusCode::BadRequest, "BadParameter");
    let update = UpdateSecretPropertiesParameters {
        tags: Some((0..16).map(|tag| (tag.to_string(), String::new())).collect()),
        ..Default::default()
    };
    let updated = client
        .update_secret_properties("password", update.try_into().unwrap(), None)
        .await;
    assert_error(updated, StatusCode::BadRequest, "BadParameter");
}

#[tokio::test]
async fn invalid_name_and_missing_secret_or_version_return_their_error_codes() {
    let cloud = Cloud::start().await;
    let client = cloud.secrets();
    let bad_name = get(&client, "under_score", None).await;
    assert_error(bad_name, StatusCode::BadRequest, "BadParameter");
    let missing = get(&client, "missing", None).await;
    assert_error(missing, StatusCode::NotFound, "SecretNotFound");
    set(&client, "password", "one").await;
    let missing = get(&client, "password", Some("00000000000000000000000000000000")).await;
    assert_error(missing, StatusCode::NotFound, "SecretNotFound");
}

#[tokio::test]
async fn missing_api_version_and_invalid_body_are_bad_requests() {
    let cloud = Cloud::start().await;
    let authorization = format!("Bearer {}", cloud.token(VAULT).await);
    let headers = [("authorization", authorization.as_str())];
    let vault = cloud.emulator.key_vault_url();
    let response = cloud.send("GET", &format!("{vault}/secrets/a"), &headers).await;
    assert_eq!(response.status(), 400);
    assert_eq!(
        json(&response)["error"]["message"],
        "api-version must be specified"
    );
    let url = format!("{vault}/secrets/a?api-version=7.4");
    let response = cloud
        .send_with_body("PUT", &url, &headers, r#"{"value": 1, "s3cret": "#)
        .await;
    assert_eq!(response.status(), 400);
    assert_eq!(json(&response)["error"]["code"], "BadParameter");
    assert!(!text(&response).contains("s3cret"), "{}", text(&response));
    let response = cloud.send("POST", &url, &headers).await;
    assert_eq!(response.status(), 405);
    let url = format!("{vault}/secrets?api-version=7.4&maxresults=26");
    assert_eq!(cloud.send("GET", &url, &headers).await.status(), 400);
}

#[tokio::test]
async fn missing_token_returns_a_challenge_without_an_error() {
    let cloud = Cloud::start().await;
    let response = cloud.get_secret_with(None).await;
    assert_eq!(response.status(), 401);
    let authority = cloud.emulator.authority_host();
    let tenant = cloud.emulator.entra().tenant_id();
    assert_eq!(
        header(&response, "www-authenticate"),
        format!(r#"Bearer authorization="{authority}{tenant}", resource="https://vault.azure.net""#)
    );
    assert_eq!(json(&response)["error"]["code"], "Unauthorized");
}

#[tokio::test]
async fn invalid_token_is_explained_in_the_challenge() {
    let cloud = Cloud::start().await;
    let valid = cloud.token(VAULT).await;
    assert_eq!(
        cloud
            .get_secret_with(Some(&format!("Bearer {valid}")))
            .await
            .status(),
        404
    );
    let faults = [
        ("garbage".to_owned(), "IDX12741"),
        (with_changed_signature(&valid), "AKV10046"),
        (cloud.token(STORAGE).await, "AKV10022"),
    ];
    for (token, message) in faults {
        let response = cloud.get_secret_with(Some(&format!("Bearer {token}"))).await;
        assert_eq!(response.status(), 401, "{message}");
        let challenge = header(&response, "www-authenticate");
        assert!(challenge.contains(r#"error="invalid_token""#), "{challenge}");
        assert!(challenge.contains(message), "{challenge}");
    }
    cloud.clock.advance(Duration::from_secs(7200));
    let response = cloud.get_secret_with(Some(&format!("Bearer {valid}"))).await;
    assert_eq!(response.status(), 401);
    assert!(header(&response, "www-authenticate").contains("IDX10223"));
}

#[tokio::test]
async fn injected_status_applies_to_the_request_with_the_token() {
    let cloud = Cloud::start().await;
    cloud.emulator.inject(Endpoint::KeyVault, Fault::status(403));
    let error = get(&cloud.secrets(), "password", None).await.unwrap_err();
    let ErrorKind::HttpResponse {
        status: StatusCode::Forbidden,
        raw_response: Some(response),
        ..
    } = error.kind()
    else {
        panic!("{error:?}");
    };
    let body: Value = serde_json::from_slice(response.body()).unwrap();
    assert_eq!(body["error"]["code"], "Forbidden");
    assert_eq!(body["error"]["innererror"]["code"], "ForbiddenByRbac");
    let requests: Vec<_> = cloud
        .emulator
        .requests_to(Endpoint::KeyVault)
        .iter()
        .map(|request| (request.status(), request.header("authorization").is_some()))
        .collect();
    assert_eq!(requests, [(Some(401), false), (Some(403), true)]);
}

#[tokio::test]
async fn fault_including_unauthenticated_replaces_the_challenge() {
    let cloud = Cloud::start().await;
    let fault = Fault::status(503).including_unauthenticated();
    cloud.emulator.inject(Endpoint::KeyVault, fault);
    assert_eq!(cloud.get_secret_with(None).await.status(), 503);
    assert_eq!(cloud.get_secret_with(None).await.status(), 401);
}

#[tokio::test]
async fn injected_status_has_the_error_body_of_key_vault() {
    let cloud = Cloud::start().await;
    let authorization = format!("Bearer {}", cloud.token(VAULT).await);
    let headers = [("authorization", authorization.as_str())];
    for (status, path, code, inner_code) in [
        (400, "/secrets/password", "BadParameter", None),
        (401, "/secrets/password", "Unauthorized", None),
        (403, "/secrets/password", "Forbidden", Some("ForbiddenByRbac")),
        (404, "/secrets/password", "SecretNotFound", None),
        (404, "/deletedsecrets/password", "SecretNotFound", None),
        (405, "/secrets/password", "MethodNotAllowed", None),
        (
            409,
            "/secrets/password",
            "Conflict",
            Some("ObjectIsDeletedButRecoverable"),
        ),
        (429, "/secrets/password", "Throttled", None),
        (500, "/secrets", "InternalServerError", None),
        (503, "/secrets", "ServiceUnavailable", None),
    ] {
        cloud.emulator.inject(Endpoint::KeyVault, Fault::status(status));
        let url = format!("{}{path}?api-version=7.4", cloud.emulator.key_vault_url());
        let response = cloud.send("GET", &url, &headers).await;
        let body = json(&response);
        let actual = (response.status().as_u16(), body["error"]["code"].as_str());
        assert_eq!(actual, (status, Some(code)), "{body}");
        assert_eq!(body["error"]["innererror"]["code"].as_str(), inner_code, "{body}");
        let message = body["error"]["message"].as_str().unwrap();
        assert_eq!(
            message.contains("password"),
            [403, 404, 409].contains(&status),
            "{message}"
        );
        let challenge = header(&response, "www-authenticate");
        assert_eq!(
            challenge.contains(r#"error="invalid_token""#),
            status == 401,
            "{challenge}"
        );
        assert_ne!(header(&response, "x-ms-request-id"), "");
    }
}

async fn set(client: &SecretClient, name: &str, value: &str) -> String {
    let parameters = SetSecretParameters {
        value: Some(value.to_owned()),
        ..Default::default()
    };
    let secret = client
        .set_secret(name, parameters.try_into().unwrap(), None)
        .await
        .unwrap();
    secret
        .into_model()
        .unwrap()
        .resource_id()
        .unwrap()
        .version
        .unwrap()
}

async fn get(client: &SecretClient, name: &str, version: Option<&str>) -> Result<String> {
    let options = SecretClientGetSecretOptions {
        secret_version: version.map(str::to_owned),
        ..Default::default()
    };
    let secret = client.get_secret(name, Some(options)).await?.into_model()?;
    Ok(secret.value.unwrap())
}

fn json(response: &http::Response<Bytes>) -> Value {
    serde_json::from_slice(response.body()).unwrap()
}
