//! The emulated Key Vault and Blob account, through Azure's own clients and, where those are too polite, by hand.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::string_slice,
    unreachable_pub,
    reason = "a test that fails may panic, and a test's module is nobody's API"
)]

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use azure_core::Result;
use azure_core::error::ErrorKind;
use azure_core::http::{Body, RequestContent, StatusCode, Url};
use azure_security_keyvault_secrets::models::{
    SecretAttributes, SecretClientGetSecretOptions, SecretClientListSecretPropertiesOptions,
    SetSecretParameters, UpdateSecretPropertiesParameters,
};
use azure_security_keyvault_secrets::{ResourceExt as _, SecretClient, SecretClientOptions};
use azure_storage_blob::models::{
    BlobClientDownloadOptions, BlobClientUploadOptions, BlobContainerClientListBlobsOptions, HttpRange,
};
use azure_storage_blob::{
    BlobContainerClient, BlobContainerClientOptions, BlobServiceClient, BlobServiceClientOptions,
};
use bytes::Bytes;
use entra_workload::{Clock as _, HttpTransport, SystemClock, Transport as _, WorkloadIdentityCredential};
use entra_workload_emulator::{Emulator, Endpoint, Fault};
use futures::TryStreamExt as _;
use serde_json::Value;

const VAULT: &str = "https://vault.azure.net/.default";
const STORAGE: &str = "https://storage.azure.com/.default";

/// An emulator with one pod, and the time on a clock that the test moves.
struct Cloud {
    emulator: Emulator,
    credential: Arc<WorkloadIdentityCredential>,
    clock: HandClock,
}

impl Cloud {
    async fn start() -> Self {
        let clock = HandClock(Arc::new(Mutex::new(SystemClock::new().now().system_time)));
        let emulator = Emulator::builder().clock(clock.source()).start().await.unwrap();
        let pod = emulator.pod("shop", "orders").unwrap();
        Self {
            credential: sdk::credential(&emulator, &pod),
            emulator,
            clock,
        }
    }

    fn secrets(&self) -> SecretClient {
        let options = SecretClientOptions {
            client_options: sdk::client_options(self.emulator.ca_certificate_pem()),
            // Loopback is not under vault.azure.net.
            verify_challenge_resource: Some(false),
            ..Default::default()
        };
        SecretClient::new(
            self.emulator.key_vault_url(),
            self.credential.clone(),
            Some(options),
        )
        .unwrap()
    }

    fn container(&self, name: &str) -> BlobContainerClient {
        let options = BlobContainerClientOptions {
            client_options: sdk::client_options(self.emulator.ca_certificate_pem()),
            ..Default::default()
        };
        let url = Url::parse(&format!("{}/{name}", self.emulator.blob_account_url())).unwrap();
        BlobContainerClient::new(url, Some(self.credential.clone()), Some(options)).unwrap()
    }

    fn account(&self) -> BlobServiceClient {
        let options = BlobServiceClientOptions {
            client_options: sdk::client_options(self.emulator.ca_certificate_pem()),
            ..Default::default()
        };
        let url = Url::parse(self.emulator.blob_account_url()).unwrap();
        BlobServiceClient::new(url, Some(self.credential.clone()), Some(options)).unwrap()
    }

    async fn token(&self, scope: &str) -> String {
        self.credential.token(&[scope]).await.unwrap().secret().to_owned()
    }

    /// One request by hand, with the headers given and no others.
    async fn send(&self, method: &str, url: &str, headers: &[(&str, &str)]) -> http::Response<Bytes> {
        self.send_with_body(method, url, headers, "").await
    }

    async fn send_with_body(
        &self,
        method: &str,
        url: &str,
        headers: &[(&str, &str)],
        body: &'static str,
    ) -> http::Response<Bytes> {
        let mut request = http::Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Bytes::from_static(body.as_bytes())).unwrap();
        let roots = self.emulator.ca_certificate_pem().as_bytes();
        let transport = HttpTransport::with_root_certificates(roots).unwrap();
        transport.send(request).await.unwrap()
    }

    async fn get_secret_with(&self, authorization: Option<&str>) -> http::Response<Bytes> {
        let url = format!(
            "{}/secrets/none?api-version=2025-07-01",
            self.emulator.key_vault_url()
        );
        let headers: Vec<_> = authorization
            .map(|it| ("authorization", it))
            .into_iter()
            .collect();
        self.send("GET", &url, &headers).await
    }

    async fn get_blob_with(&self, authorization: Option<&str>) -> http::Response<Bytes> {
        let url = format!("{}/box/none", self.emulator.blob_account_url());
        let mut headers = vec![("x-ms-version", "2026-04-06")];
        headers.extend(authorization.map(|it| ("authorization", it)));
        self.send("GET", &url, &headers).await
    }
}

#[derive(Clone, Debug)]
struct HandClock(Arc<Mutex<SystemTime>>);

impl HandClock {
    fn advance(&self, by: Duration) {
        *self.0.lock().unwrap() += by;
    }

    fn source(&self) -> impl Fn() -> SystemTime + Send + Sync + 'static {
        let clock = self.clone();
        move || *clock.0.lock().unwrap()
    }
}

fn json(response: &http::Response<Bytes>) -> Value {
    serde_json::from_slice(response.body()).unwrap()
}

fn text(response: &http::Response<Bytes>) -> &str {
    std::str::from_utf8(response.body()).unwrap()
}

fn header<'a>(response: &'a http::Response<Bytes>, name: &str) -> &'a str {
    response
        .headers()
        .get(name)
        .map_or("", |value| value.to_str().unwrap())
}

#[track_caller]
fn assert_refused<T>(result: Result<T>, status: StatusCode, code: &str) {
    let error = result.err().expect("a refusal");
    let ErrorKind::HttpResponse {
        status: actual,
        error_code,
        ..
    } = error.kind()
    else {
        panic!("{error:?}");
    };
    assert_eq!((*actual, error_code.as_deref()), (status, Some(code)), "{error}");
}

/// A token with another last character of its signature.
fn forged(token: &str) -> String {
    let (rest, signature) = token.rsplit_once('.').unwrap();
    let flipped = if signature.starts_with('A') { 'B' } else { 'A' };
    format!("{rest}.{flipped}{}", &signature[1..])
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

/// Bytes of which no two parts are alike.
fn pattern(length: usize) -> Bytes {
    (0..length)
        .map(|i| ((i / 251 + i) % 256).try_into().unwrap_or(0))
        .collect()
}

mod key_vault {
    use super::*;

    #[tokio::test]
    async fn every_version_of_a_secret_can_be_got() {
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
    async fn the_first_request_meets_the_challenge_and_carries_no_value() {
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
    async fn a_list_comes_in_pages() {
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
    async fn a_deleted_secret_can_be_recovered_or_purged_and_its_name_is_taken_meanwhile() {
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
        assert_refused(not_found, StatusCode::NotFound, "SecretNotFound");
        let parameters = SetSecretParameters {
            value: Some("two".to_owned()),
            ..Default::default()
        };
        let conflict = client
            .set_secret("password", parameters.try_into().unwrap(), None)
            .await;
        assert_refused(conflict, StatusCode::Conflict, "Conflict");

        client.recover_deleted_secret("password", None).await.unwrap();
        assert_eq!(get(&client, "password", None).await.unwrap(), "one");
        let not_deleted = client.get_deleted_secret("password", None).await;
        assert_refused(not_deleted, StatusCode::NotFound, "SecretNotFound");

        client.delete_secret("password", None).await.unwrap();
        let pager = client.list_deleted_secret_properties(None).unwrap();
        let deleted: Vec<_> = pager.try_collect().await.unwrap();
        assert_eq!(deleted.len(), 1);
        client.purge_deleted_secret("password", None).await.unwrap();
        set(&client, "password", "three").await;
        assert_eq!(get(&client, "password", None).await.unwrap(), "three");
    }

    #[tokio::test]
    async fn a_disabled_secret_is_forbidden() {
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
        assert_refused(forbidden, StatusCode::Forbidden, "Forbidden");
    }

    #[tokio::test]
    async fn a_bad_name_a_missing_version_and_a_missing_secret_have_their_own_errors() {
        let cloud = Cloud::start().await;
        let client = cloud.secrets();
        let bad_name = get(&client, "under_score", None).await;
        assert_refused(bad_name, StatusCode::BadRequest, "BadParameter");
        let missing = get(&client, "missing", None).await;
        assert_refused(missing, StatusCode::NotFound, "SecretNotFound");
        set(&client, "password", "one").await;
        let missing = get(&client, "password", Some("00000000000000000000000000000000")).await;
        assert_refused(missing, StatusCode::NotFound, "SecretNotFound");
    }

    #[tokio::test]
    async fn requests_without_api_version_or_with_a_wrong_body_are_bad() {
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
    async fn a_missing_token_is_answered_with_the_bare_challenge() {
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
    async fn every_fault_of_a_token_is_named_in_the_challenge() {
        let cloud = Cloud::start().await;
        let good = cloud.token(VAULT).await;
        assert_eq!(
            cloud
                .get_secret_with(Some(&format!("Bearer {good}")))
                .await
                .status(),
            404
        );
        let faults = [
            ("garbage".to_owned(), "IDX12741"),
            (forged(&good), "AKV10046"),
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
        let response = cloud.get_secret_with(Some(&format!("Bearer {good}"))).await;
        assert_eq!(response.status(), 401);
        assert!(header(&response, "www-authenticate").contains("IDX10223"));
    }
}

mod blob {
    use super::*;

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
        assert_refused(again, StatusCode::Conflict, "ContainerAlreadyExists");
        let pager = cloud.account().list_containers(None).unwrap();
        let names: Vec<_> = pager.map_ok(|it| it.name.unwrap()).try_collect().await.unwrap();
        assert_eq!(names, ["photos", "reports"]);
        reports.delete(None).await.unwrap();
        assert!(!reports.exists().await.unwrap());
        let gone = reports.delete(None).await;
        assert_refused(gone, StatusCode::NotFound, "ContainerNotFound");
        let misnamed = cloud.container("Re--ports").create(None).await;
        assert_refused(misnamed, StatusCode::BadRequest, "InvalidResourceName");
    }

    #[tokio::test]
    async fn what_is_uploaded_is_downloaded_at_any_size() {
        let cloud = Cloud::start().await;
        let container = container(&cloud, "reports").await;
        // Up to 4 MiB the client sends one request, above that blocks; it downloads in parts of that size too.
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
    async fn a_blob_keeps_its_settings_and_metadata() {
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
    async fn a_list_has_pages_prefixes_and_names_of_all_kinds() {
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
    async fn a_delimiter_folds_names() {
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
    async fn a_range_is_a_part_and_a_range_past_the_end_is_refused() {
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
        let refused: Result<_> = part(HttpRange::from_offset(10)).await;
        assert_refused(refused, StatusCode::RequestedRangeNotSatisfiable, "InvalidRange");
    }

    #[tokio::test]
    async fn conditions_guard_reads_and_writes() {
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
        assert_refused(exists, StatusCode::Conflict, "BlobAlreadyExists");
        let update = || BlobClientUploadOptions {
            if_match: Some(first.clone()),
            ..Default::default()
        };
        blob.upload(content("two"), Some(update())).await.unwrap();
        let changed = blob.upload(content("three"), Some(update())).await;
        assert_refused(changed, StatusCode::PreconditionFailed, "ConditionNotMet");
        let options = BlobClientDownloadOptions {
            if_match: Some(first),
            ..Default::default()
        };
        let changed = blob.download(Some(options)).await;
        assert_refused(changed, StatusCode::PreconditionFailed, "ConditionNotMet");
        assert_eq!(download(&container, "july.csv").await.unwrap(), "two");
    }

    #[tokio::test]
    async fn an_unchanged_blob_is_not_sent_again() {
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
    async fn content_that_does_not_match_its_digest_is_refused() {
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
    async fn a_block_list_takes_staged_and_committed_blocks_and_no_others() {
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
        assert_refused(
            download(&container, "july.csv").await,
            StatusCode::NotFound,
            "BlobNotFound",
        );
        commit(&["2", "1"]).await.unwrap();
        assert_eq!(download(&container, "july.csv").await.unwrap(), "twoone");
        stage("3", "three").await.unwrap();
        commit(&["1", "3"]).await.unwrap();
        assert_eq!(download(&container, "july.csv").await.unwrap(), "onethree");
        assert_refused(commit(&["2"]).await, StatusCode::BadRequest, "InvalidBlockList");
        stage("4", "four").await.unwrap();
        assert_refused(
            stage("five", "five").await,
            StatusCode::BadRequest,
            "InvalidBlobOrBlock",
        );
    }

    #[tokio::test]
    async fn what_is_missing_has_its_own_error() {
        let cloud = Cloud::start().await;
        let nowhere = cloud.container("nowhere");
        let upload = nowhere.blob_client("a").upload(content("a"), None).await;
        assert_refused(upload, StatusCode::NotFound, "ContainerNotFound");
        let container = container(&cloud, "reports").await;
        assert_refused(
            download(&container, "a").await,
            StatusCode::NotFound,
            "BlobNotFound",
        );
        let delete = container.blob_client("a").delete(None).await;
        assert_refused(delete, StatusCode::NotFound, "BlobNotFound");
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
        assert_refused(lease, StatusCode::NotImplemented, "NotImplemented");
    }

    #[tokio::test]
    async fn a_failure_to_order_looks_like_one_of_the_service() {
        let cloud = Cloud::start().await;
        cloud.emulator.inject(Endpoint::Blob, Fault::status(503));
        let response = cloud.get_blob_with(None).await;
        assert_eq!(response.status(), 503);
        assert_eq!(header(&response, "x-ms-error-code"), "ServerBusy");
        assert!(
            text(&response).contains("<Code>ServerBusy</Code>"),
            "{}",
            text(&response)
        );
    }

    #[tokio::test]
    async fn every_fault_of_a_token_is_named() {
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

        let good = cloud.token(STORAGE).await;
        assert_eq!(
            cloud
                .get_blob_with(Some(&format!("Bearer {good}")))
                .await
                .status(),
            404
        );
        let faults = [
            ("garbage".to_owned(), "not well formed"),
            (forged(&good), "Signature validation failed"),
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
        let response = cloud.get_blob_with(Some(&format!("Bearer {good}"))).await;
        assert_eq!(response.status(), 401);
        assert!(
            text(&response).contains("The token is expired"),
            "{}",
            text(&response)
        );
    }

    #[tokio::test]
    async fn a_token_needs_a_version_of_the_service_that_knows_tokens() {
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
}

/// Azure's own clients, made to talk to an emulator.
mod sdk {
    use std::sync::Arc;

    use azure_core::http::{ClientOptions, Transport};
    use entra_workload::{Environment, HttpTransport, WorkloadIdentityCredential};
    use entra_workload_emulator::{Emulator, Pod};

    /// Client options with a transport that trusts only `ca_certificate`.
    pub(super) fn client_options(ca_certificate: &str) -> ClientOptions {
        let root = reqwest::Certificate::from_pem(ca_certificate.as_bytes()).unwrap();
        let client = reqwest::Client::builder()
            .tls_certs_only([root])
            .no_proxy()
            .build()
            .unwrap();
        ClientOptions {
            transport: Some(Transport::new(Arc::new(client))),
            ..Default::default()
        }
    }

    /// The credential that the SDK's clients would make from the pod's environment.
    pub(super) fn credential(emulator: &Emulator, pod: &Pod) -> Arc<WorkloadIdentityCredential> {
        let roots = emulator.ca_certificate_pem().as_bytes();
        WorkloadIdentityCredential::builder()
            .environment(Environment::from_iter(pod.variables()))
            .transport(HttpTransport::with_root_certificates(roots).unwrap())
            .build()
            .unwrap()
    }
}
