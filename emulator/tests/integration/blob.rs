//! The Blob account, tested with the client of the Azure SDK and, for invalid requests, with raw
//! HTTP.

use std::collections::HashMap;
use std::time::Duration;

use azure_core::Result;
use azure_core::http::{Body, RequestContent, StatusCode};
use azure_storage_blob::BlobContainerClient;
use azure_storage_blob::models::{
    BlobClientDownloadOptions, BlobClientUploadOptions, BlobContainerClientListBlobsOptions, HttpRange,
};
use bytes::Bytes;
use entra_workload_emulator::{Endpoint, Fault};
use futures::TryStreamExt as _;

use crate::support::azure::{Cloud, STORAGE, VAULT, assert_error, header, text, with_changed_signature};

async fn container(cloud: &Cloud, name: &str) -> BlobContainerClient {
    let container = cloud.container(name);
    container.create(None).await.unwrap();
    container
}

#[tokio::test]
async fn containers_are_created_listed_and_deleted() {
    let cloud = Cloud::start().await;
    let reports = container(&cloud, "reports").await;
    container(&cloud, "photos").await;
    assert!(reports.exists().await.unwrap());
    let again = reports.create(None).await;
    assert_error(again, StatusCode::Conflict, "ContainerAlreadyExists");
    let pager = cloud.account().list_containers(None).unwrap();
    let names: Vec<_> = pager.map_ok(|it| it.name.unwrap()).try_collect().await.unwrap();
    assert_eq!(names, ["photos", "reports"]);
    reports.delete(None).await.unwrap();
    assert!(!reports.exists().await.unwrap());
    let gone = reports.delete(None).await;
    assert_error(gone, StatusCode::NotFound, "ContainerNotFound");
    let invalid_name = cloud.container("Re--ports").create(None).await;
    assert_error(invalid_name, StatusCode::BadRequest, "InvalidResourceName");
}

#[tokio::test]
async fn upload_and_download_round_trip_at_any_size() {
    let cloud = Cloud::start().await;
    let container = container(&cloud, "reports").await;
    // The client uploads up to 4 MiB in one request and larger blobs in blocks. It downloads in
    // parts of the same size.
    for size in [0, 1, 4 << 20, (4 << 20) + 1, 9 << 20] {
        let name = format!("dir/{size} ä+%.bin");
        let blob = container.blob_client(&name);
        blob.upload(content(pattern(size)), None).await.unwrap();
        assert!(
            download(&container, &name).await.unwrap() == pattern(size),
            "{size}"
        );
        let mut buffer = vec![0; size];
        blob.download_into(&mut buffer, None).await.unwrap();
        assert!(buffer == pattern(size), "{size}");
    }
    let blocks = cloud.emulator.requests_to(Endpoint::Blob);
    let blocks = blocks
        .iter()
        .filter(|it| it.query().is_some_and(|it| it.contains("comp=blocklist")));
    assert_eq!(blocks.count(), 2);
}

#[tokio::test]
async fn blob_keeps_its_content_settings_and_metadata() {
    use azure_storage_blob::models::BlobClientGetPropertiesResultHeaders as _;
    let cloud = Cloud::start().await;
    let container = container(&cloud, "reports").await;
    let blob = container.blob_client("july.csv");
    let options = BlobClientUploadOptions {
        blob_content_type: Some("text/csv".to_owned()),
        metadata: Some(HashMap::from([("team".to_owned(), "shop & co".to_owned())])),
        ..Default::default()
    };
    blob.upload(content("a,b"), Some(options)).await.unwrap();
    let properties = blob.get_properties(None).await.unwrap();
    assert_eq!(properties.content_type().unwrap().unwrap(), "text/csv");
    assert_eq!(properties.content_length().unwrap(), Some(3));
    assert_eq!(properties.metadata().unwrap()["team"], "shop & co");
}

#[tokio::test]
async fn blob_list_supports_pages_prefixes_and_special_names() {
    let cloud = Cloud::start().await;
    let container = container(&cloud, "reports").await;
    let names = ["a/1", "a/2", "a/3 <&> \"ä\"", "b/1", "control\u{1}"];
    for name in names {
        container
            .blob_client(name)
            .upload(content("abc"), None)
            .await
            .unwrap();
    }
    let list = async |prefix: &str| {
        let options = BlobContainerClientListBlobsOptions {
            prefix: Some(prefix.to_owned()),
            maxresults: Some(2),
            ..Default::default()
        };
        let mut pages = container.list_blobs(Some(options)).unwrap().into_pages();
        let mut lists = Vec::new();
        while let Some(page) = pages.try_next().await.unwrap() {
            let blobs = page.into_model().unwrap().blob_items;
            lists.push(blobs.into_iter().map(|it| it.name.unwrap()).collect::<Vec<_>>());
        }
        lists
    };
    assert_eq!(list("").await, [&names[0..2], &names[2..4], &names[4..5]]);
    assert_eq!(list("a/").await, [&names[0..2], &names[2..3]]);
    assert_eq!(list("none").await, [&names[0..0]]);
    let mut blobs = container.list_blobs(None).unwrap();
    let first = blobs.try_next().await.unwrap().unwrap().properties.unwrap();
    assert_eq!(first.content_length, Some(3));
    assert!(first.last_modified.is_some() && first.etag.is_some() && first.content_md5.is_some());
}

#[tokio::test]
async fn delimiter_folds_names_into_prefixes() {
    let cloud = Cloud::start().await;
    let container = container(&cloud, "reports").await;
    for name in ["a/1", "a/2", "b"] {
        container
            .blob_client(name)
            .upload(content("abc"), None)
            .await
            .unwrap();
    }
    let url = format!(
        "{}/reports?restype=container&comp=list&delimiter=%2F",
        cloud.emulator.blob_account_url()
    );
    let authorization = format!("Bearer {}", cloud.token(STORAGE).await);
    let headers = [("x-ms-version", "2026-04-06"), ("authorization", &authorization)];
    let response = cloud.send("GET", &url, &headers).await;
    let body = text(&response);
    assert_eq!(
        body.matches("<BlobPrefix><Name>a/</Name></BlobPrefix>").count(),
        1,
        "{body}"
    );
    assert_eq!(body.matches("<Blob>").count(), 1, "{body}");
}

#[tokio::test]
async fn range_returns_a_part_and_is_an_error_past_the_end() {
    let cloud = Cloud::start().await;
    let container = container(&cloud, "reports").await;
    let blob = container.blob_client("july.csv");
    blob.upload(content("0123456789"), None).await.unwrap();
    let part = async |range| {
        let options = BlobClientDownloadOptions {
            range: Some(range),
            ..Default::default()
        };
        let result = blob.download(Some(options)).await?;
        let place = result.headers.get_optional_string(&"content-range".into());
        Ok((place.unwrap(), result.body.collect().await?))
    };
    let (place, bytes) = part(HttpRange::new(2, 3)).await.unwrap();
    assert_eq!((place.as_str(), &bytes[..]), ("bytes 2-4/10", &b"234"[..]));
    let (place, bytes) = part(HttpRange::from_offset(8)).await.unwrap();
    assert_eq!((place.as_str(), &bytes[..]), ("bytes 8-9/10", &b"89"[..]));
    let error: Result<_> = part(HttpRange::from_offset(10)).await;
    assert_error(error, StatusCode::RequestedRangeNotSatisfiable, "InvalidRange");
}

#[tokio::test]
async fn etag_conditions_guard_reads_and_writes() {
    let cloud = Cloud::start().await;
    let container = container(&cloud, "reports").await;
    let blob = container.blob_client("july.csv");
    let create_only = || BlobClientUploadOptions {
        if_none_match: Some("*".into()),
        ..Default::default()
    };
    let first = blob
        .upload(content("one"), Some(create_only()))
        .await
        .unwrap()
        .etag
        .unwrap();
    let exists = blob.upload(content("two"), Some(create_only())).await;
    assert_error(exists, StatusCode::Conflict, "BlobAlreadyExists");
    let update = || BlobClientUploadOptions {
        if_match: Some(first.clone()),
        ..Default::default()
    };
    blob.upload(content("two"), Some(update())).await.unwrap();
    let changed = blob.upload(content("three"), Some(update())).await;
    assert_error(changed, StatusCode::PreconditionFailed, "ConditionNotMet");
    let options = BlobClientDownloadOptions {
        if_match: Some(first),
        ..Default::default()
    };
    let changed = blob.download(Some(options)).await;
    assert_error(changed, StatusCode::PreconditionFailed, "ConditionNotMet");
    assert_eq!(download(&container, "july.csv").await.unwrap(), "two");
}

#[tokio::test]
async fn unchanged_blob_returns_304_for_if_none_match() {
    let cloud = Cloud::start().await;
    let container = container(&cloud, "reports").await;
    let blob = container.blob_client("july.csv");
    let etag = blob
        .upload(content("one"), None)
        .await
        .unwrap()
        .etag
        .unwrap()
        .to_string();
    let authorization = format!("Bearer {}", cloud.token(STORAGE).await);
    let url = format!("{}/reports/july.csv", cloud.emulator.blob_account_url());
    let headers = [
        ("x-ms-version", "2026-04-06"),
        ("authorization", &authorization),
        ("if-none-match", &etag),
    ];
    let response = cloud.send("GET", &url, &headers).await;
    assert_eq!((response.status().as_u16(), response.body().len()), (304, 0));
}

#[tokio::test]
async fn upload_with_a_wrong_md5_is_rejected() {
    let cloud = Cloud::start().await;
    container(&cloud, "reports").await;
    let authorization = format!("Bearer {}", cloud.token(STORAGE).await);
    let url = format!("{}/reports/july.csv", cloud.emulator.blob_account_url());
    // MD5 of "abc", RFC 1321.
    for (md5, status, code) in [
        ("kAFQmDzST7DWlj99KOF/cg==", 201, ""),
        ("AAAAAAAAAAAAAAAAAAAAAA==", 400, "Md5Mismatch"),
        ("abc", 400, "InvalidMd5"),
    ] {
        let headers = [
            ("x-ms-version", "2026-04-06"),
            ("x-ms-blob-type", "BlockBlob"),
            ("authorization", &authorization),
            ("content-md5", md5),
        ];
        let response = cloud.send_with_body("PUT", &url, &headers, "abc").await;
        assert_eq!(response.status(), status, "{}", text(&response));
        assert_eq!(header(&response, "x-ms-error-code"), code);
    }
}

#[tokio::test]
async fn block_list_accepts_only_staged_and_committed_blocks() {
    use azure_storage_blob::models::BlockLookupList;
    let cloud = Cloud::start().await;
    let container = container(&cloud, "reports").await;
    let blob = container.blob_client("july.csv").block_blob_client();
    let stage = async |id: &str, text: &'static str| {
        blob.stage_block(id.as_bytes(), text.len() as u64, content(text), None)
            .await
    };
    let commit = async |ids: &[&str]| {
        let list = BlockLookupList {
            latest: Some(ids.iter().map(|id| id.as_bytes().to_vec()).collect()),
            ..Default::default()
        };
        blob.commit_block_list(list.try_into()?, None).await
    };
    stage("1", "one").await.unwrap();
    stage("2", "two").await.unwrap();
    assert_error(
        download(&container, "july.csv").await,
        StatusCode::NotFound,
        "BlobNotFound",
    );
    commit(&["2", "1"]).await.unwrap();
    assert_eq!(download(&container, "july.csv").await.unwrap(), "twoone");
    stage("3", "three").await.unwrap();
    commit(&["1", "3"]).await.unwrap();
    assert_eq!(download(&container, "july.csv").await.unwrap(), "onethree");
    assert_error(commit(&["2"]).await, StatusCode::BadRequest, "InvalidBlockList");
    stage("4", "four").await.unwrap();
    assert_error(
        stage("five", "five").await,
        StatusCode::BadRequest,
        "InvalidBlobOrBlock",
    );
}

#[tokio::test]
async fn missing_container_or_blob_returns_its_error_code() {
    let cloud = Cloud::start().await;
    let nowhere = cloud.container("nowhere");
    let upload = nowhere.blob_client("a").upload(content("a"), None).await;
    assert_error(upload, StatusCode::NotFound, "ContainerNotFound");
    let container = container(&cloud, "reports").await;
    assert_error(
        download(&container, "a").await,
        StatusCode::NotFound,
        "BlobNotFound",
    );
    let delete = container.blob_client("a").delete(None).await;
    assert_error(delete, StatusCode::NotFound, "BlobNotFound");
    assert!(!container.blob_client("a").exists().await.unwrap());
    container
        .blob_client("a")
        .upload(content("a"), None)
        .await
        .unwrap();
    let deleted = container.blob_client("a").delete(None).await.unwrap();
    let permanent = "x-ms-delete-type-permanent".into();
    assert_eq!(deleted.headers().get_optional_str(&permanent), Some("true"));
    assert!(!container.blob_client("a").exists().await.unwrap());
    let lease = container.acquire_lease(-1, None).await;
    assert_error(lease, StatusCode::NotImplemented, "NotImplemented");
}

#[tokio::test]
async fn sdk_client_returns_the_error_code_of_an_injected_status() {
    let cloud = Cloud::start().await;
    let container = container(&cloud, "reports").await;
    for (status, expected, code) in [
        (403, StatusCode::Forbidden, "AuthorizationPermissionMismatch"),
        (404, StatusCode::NotFound, "BlobNotFound"),
        (409, StatusCode::Conflict, "ContainerBeingDeleted"),
        (412, StatusCode::PreconditionFailed, "ConditionNotMet"),
    ] {
        cloud.emulator.inject(Endpoint::Blob, Fault::status(status));
        assert_error(download(&container, "july.csv").await, expected, code);
    }
}

#[tokio::test]
async fn injected_status_has_the_error_body_of_blob_storage() {
    let cloud = Cloud::start().await;
    let authorization = format!("Bearer {}", cloud.token(STORAGE).await);
    let headers = [
        ("authorization", authorization.as_str()),
        ("x-ms-version", "2026-04-06"),
    ];
    for (status, method, path, code) in [
        (400, "GET", "/box/july", "InvalidInput"),
        (401, "GET", "/box/july", "InvalidAuthenticationInfo"),
        (403, "GET", "/box/july", "AuthorizationPermissionMismatch"),
        (404, "GET", "", "ResourceNotFound"),
        (404, "GET", "/box", "ContainerNotFound"),
        (404, "GET", "/box/july", "BlobNotFound"),
        (404, "PUT", "/box/july", "ContainerNotFound"),
        (405, "GET", "/box/july", "UnsupportedHttpVerb"),
        (409, "PUT", "/box", "ContainerAlreadyExists"),
        (409, "PUT", "/box/july/csv", "BlobAlreadyExists"),
        (409, "DELETE", "/box", "ContainerBeingDeleted"),
        (412, "PUT", "/box/july", "ConditionNotMet"),
        (413, "PUT", "/box/july", "RequestBodyTooLarge"),
        (416, "GET", "/box/july", "InvalidRange"),
        (429, "GET", "/box/july", "ServerBusy"),
        (500, "GET", "/box/july", "InternalError"),
        (502, "GET", "/box/july", "InternalError"),
        (503, "GET", "/box/july", "ServerBusy"),
    ] {
        cloud.emulator.inject(Endpoint::Blob, Fault::status(status));
        let url = format!("{}{path}", cloud.emulator.blob_account_url());
        let response = cloud.send(method, &url, &headers).await;
        let actual = (response.status().as_u16(), header(&response, "x-ms-error-code"));
        assert_eq!(actual, (status, code), "{method} {path}");
        let body = text(&response);
        assert!(body.contains(&format!("<Code>{code}</Code>")), "{body}");
        let challenge = header(&response, "www-authenticate");
        assert_eq!(challenge.starts_with("Bearer "), status == 401, "{challenge}");
    }
}

#[tokio::test]
async fn fault_is_kept_for_a_request_with_a_valid_token() {
    let cloud = Cloud::start().await;
    cloud.emulator.inject(Endpoint::Blob, Fault::status(503));
    let valid = format!("Bearer {}", cloud.token(STORAGE).await);
    let another_resource = format!("Bearer {}", cloud.token(VAULT).await);
    for (authorization, expected) in [
        (None, 401),
        (Some(&another_resource), 401),
        (Some(&valid), 503),
        (Some(&valid), 404),
    ] {
        let response = cloud.get_blob_with(authorization.map(String::as_str)).await;
        assert_eq!(response.status(), expected);
    }
}

#[tokio::test]
async fn invalid_token_returns_a_challenge_with_the_reason() {
    let cloud = Cloud::start().await;
    let response = cloud.get_blob_with(None).await;
    assert_eq!(response.status(), 401);
    assert_eq!(
        header(&response, "x-ms-error-code"),
        "NoAuthenticationInformation"
    );
    let authority = cloud.emulator.authority_host();
    let tenant = cloud.emulator.entra().tenant_id();
    let challenge = format!(
        "Bearer authorization_uri={authority}{tenant}/oauth2/authorize resource_id=https://storage.azure.com"
    );
    assert_eq!(header(&response, "www-authenticate"), challenge);

    let valid = cloud.token(STORAGE).await;
    assert_eq!(
        cloud
            .get_blob_with(Some(&format!("Bearer {valid}")))
            .await
            .status(),
        404
    );
    let faults = [
        ("garbage".to_owned(), "not well formed"),
        (with_changed_signature(&valid), "Signature validation failed"),
        (cloud.token(VAULT).await, "Audience validation failed"),
    ];
    for (token, detail) in faults {
        let response = cloud.get_blob_with(Some(&format!("Bearer {token}"))).await;
        assert_eq!(response.status(), 401, "{detail}");
        assert_eq!(header(&response, "x-ms-error-code"), "InvalidAuthenticationInfo");
        assert_eq!(header(&response, "www-authenticate"), challenge);
        assert!(text(&response).contains(detail), "{}", text(&response));
    }
    cloud.clock.advance(Duration::from_secs(7200));
    let response = cloud.get_blob_with(Some(&format!("Bearer {valid}"))).await;
    assert_eq!(response.status(), 401);
    assert!(
        text(&response).contains("The token is expired"),
        "{}",
        text(&response)
    );
}

#[tokio::test]
async fn token_is_rejected_below_the_first_service_version_with_tokens() {
    let cloud = Cloud::start().await;
    let authorization = format!("Bearer {}", cloud.token(STORAGE).await);
    let url = format!("{}/box/none", cloud.emulator.blob_account_url());
    for version in [None, Some(("x-ms-version", "2017-04-17"))] {
        let mut headers = vec![("authorization", authorization.as_str())];
        headers.extend(version);
        let response = cloud.send("GET", &url, &headers).await;
        assert_eq!(response.status(), 403);
        assert_eq!(header(&response, "x-ms-error-code"), "AuthenticationFailed");
    }
}

async fn download(container: &BlobContainerClient, name: &str) -> Result<Bytes> {
    container
        .blob_client(name)
        .download(None)
        .await?
        .body
        .collect()
        .await
}

fn content(bytes: impl Into<Bytes>) -> RequestContent<Bytes, azure_core::http::NoFormat> {
    Body::Bytes(bytes.into()).into()
}

/// Returns bytes without repeating parts.
fn pattern(length: usize) -> Bytes {
    (0..length)
        .map(|i| ((i / 251 + i) % 256).try_into().unwrap_or(0))
        .collect()
}
