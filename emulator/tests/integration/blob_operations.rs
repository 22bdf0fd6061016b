//! The operations on blobs beyond put, get, list and delete, and what is refused.

use crate::support;
use bytes::Bytes;

use crate::support::azure::{Cloud, STORAGE, header, text};

#[tokio::test]
async fn metadata_and_content_settings_are_replaced() {
    let account = Account::start().await;
    account
        .put(
            "box/blob",
            &[("x-ms-meta-a", "1"), ("content-type", "text/plain")],
        )
        .await;
    let response = account
        .call("PUT", "box/blob?comp=metadata", &[("x-ms-meta-b", "2")])
        .await;
    assert_eq!(response.status(), 200);
    let response = account
        .call(
            "PUT",
            "box/blob?comp=properties",
            &[("x-ms-blob-cache-control", "no-store")],
        )
        .await;
    assert_eq!(response.status(), 200);
    let blob = account.call("HEAD", "box/blob", &[]).await;
    assert_eq!(header(&blob, "x-ms-meta-a"), "");
    assert_eq!(header(&blob, "x-ms-meta-b"), "2");
    assert_eq!(header(&blob, "cache-control"), "no-store");
    assert_eq!(header(&blob, "etag"), header(&response, "etag"));

    let response = account
        .call(
            "PUT",
            "box?restype=container&comp=metadata",
            &[("x-ms-meta-c", "3")],
        )
        .await;
    assert_eq!(response.status(), 200);
    let container = account.call("GET", "box?restype=container", &[]).await;
    assert_eq!(header(&container, "x-ms-meta-c"), "3");
}

#[tokio::test]
async fn one_property_clears_the_others_and_none_changes_nothing() {
    let account = Account::start().await;
    let settings = [
        ("content-type", "text/plain"),
        ("x-ms-blob-cache-control", "no-store"),
    ];
    account.put("box/blob", &settings).await;
    let properties = async || {
        let blob = account.call("HEAD", "box/blob", &[]).await;
        ["content-type", "cache-control", "content-md5"].map(|name| header(&blob, name).to_owned())
    };
    let [_, _, md5] = properties().await;
    let set = async |headers: &[(&str, &str)]| {
        let path = "box/blob?comp=properties";
        assert_eq!(account.call("PUT", path, headers).await.status(), 200);
    };
    set(&[]).await;
    assert_eq!(properties().await, ["text/plain", "no-store", &md5]);
    set(&[("x-ms-blob-content-md5", &md5)]).await;
    assert_eq!(properties().await, ["application/octet-stream", "", &md5]);
    set(&[("x-ms-blob-cache-control", "no-cache")]).await;
    assert_eq!(properties().await, ["application/octet-stream", "no-cache", ""]);
}

#[tokio::test]
async fn metadata_with_an_invalid_name_or_size_is_refused() {
    let account = Account::start().await;
    account.put("box/blob", &[]).await;
    let (whole, half) = ("a".repeat(8 * 1024 - 1), "a".repeat(4 * 1024));
    for (metadata, status, code) in [
        (&[("x-ms-meta-a", whole.as_str())][..], 200, ""),
        (&[("x-ms-meta-ab", &whole)], 400, "MetadataTooLarge"),
        (
            &[("x-ms-meta-a", &half), ("x-ms-meta-b", &half)],
            400,
            "MetadataTooLarge",
        ),
        (&[("x-ms-meta-_a1", "1")], 200, ""),
        (&[("x-ms-meta-a-b", "1")], 400, "InvalidMetadata"),
        (&[("x-ms-meta-1a", "1")], 400, "InvalidMetadata"),
        (
            &[("x-ms-meta-a", "1"), ("x-ms-meta-a", "2")],
            400,
            "InvalidMetadata",
        ),
        (&[("x-ms-meta-", "1")], 400, "EmptyMetadataKey"),
    ] {
        let response = account.call("PUT", "box/blob?comp=metadata", metadata).await;
        let shown = (response.status().as_u16(), header(&response, "x-ms-error-code"));
        assert_eq!(shown, (status, code), "{}", metadata[0].0);
    }
}

#[tokio::test]
async fn access_tier_is_kept_and_returned() {
    let account = Account::start().await;
    account.put("box/blob", &[]).await;
    let blob = account.call("HEAD", "box/blob", &[]).await;
    assert_eq!(header(&blob, "x-ms-access-tier"), "Hot");
    assert_eq!(header(&blob, "x-ms-access-tier-inferred"), "true");
    account.put("box/cold", &[("x-ms-access-tier", "Cold")]).await;
    let blob = account.call("HEAD", "box/cold", &[]).await;
    assert_eq!(header(&blob, "x-ms-access-tier"), "Cold");
    assert_eq!(header(&blob, "x-ms-access-tier-inferred"), "");
    let tier = [("x-ms-access-tier", "Cool")];
    assert_eq!(
        account.call("PUT", "box/blob?comp=tier", &tier).await.status(),
        200
    );
    let list = account.call("GET", "box?restype=container&comp=list", &[]).await;
    assert!(
        text(&list).contains("<AccessTier>Cool</AccessTier>"),
        "{}",
        text(&list)
    );
    let tier = [("x-ms-access-tier", "Lukewarm")];
    assert_eq!(
        account.call("PUT", "box/blob?comp=tier", &tier).await.status(),
        400
    );
}

#[tokio::test]
async fn blob_is_copied_within_the_account_with_its_metadata() {
    let account = Account::start().await;
    account.put("box/a b", &[("x-ms-meta-a", "1")]).await;
    let source = format!("{}/box/a%20b", account.cloud.emulator.blob_account_url());
    let copied = account
        .call("PUT", "box/copy", &[("x-ms-copy-source", &source)])
        .await;
    assert_eq!(copied.status(), 202);
    assert_eq!(header(&copied, "x-ms-copy-status"), "success");
    let blob = account.call("GET", "box/copy", &[]).await;
    assert_eq!((text(&blob), header(&blob, "x-ms-meta-a")), ("content", "1"));
    assert_eq!(header(&blob, "x-ms-copy-id"), header(&copied, "x-ms-copy-id"));

    let public = [(
        "x-ms-copy-source",
        "https://devaccount.blob.core.windows.net/box/copy",
    )];
    assert_eq!(account.call("PUT", "box/again", &public).await.status(), 202);
    let missing = [(
        "x-ms-copy-source",
        "https://devaccount.blob.core.windows.net/box/none",
    )];
    assert_eq!(account.call("PUT", "box/again", &missing).await.status(), 404);
    for other in [
        "https://other.blob.core.windows.net/box/copy",
        "https://example.com/a",
        "https://example.com/devaccount/box/copy",
        "https://127.0.0.1:1/devaccount/box/copy",
        "a",
    ] {
        let response = account
            .call("PUT", "box/again", &[("x-ms-copy-source", other)])
            .await;
        assert_eq!(response.status(), 501, "{other}");
        assert!(text(&response).contains("Use Azurite"), "{}", text(&response));
    }
}

#[tokio::test]
async fn copy_of_a_source_with_a_sas_or_of_a_snapshot_is_refused_by_name() {
    let account = Account::start().await;
    account.put("box/a", &[]).await;
    let source = format!("{}/box/a", account.cloud.emulator.blob_account_url());
    for (query, part) in [
        ("sv=2026-04-06&sr=b&sig=c2ln", "no shared key and no SAS"),
        (
            "snapshot=2026-11-25T00:00:00.0000000Z",
            "does not have this operation",
        ),
        (
            "versionid=2026-11-25T00:00:00.0000000Z",
            "does not have this operation",
        ),
    ] {
        let source = format!("{source}?{query}");
        let copy = account
            .call("PUT", "box/b", &[("x-ms-copy-source", &source)])
            .await;
        assert_eq!(copy.status(), 501, "{query}");
        assert!(text(&copy).contains(part), "{}", text(&copy));
    }
}

#[tokio::test]
async fn copy_takes_tier_and_content_settings_and_refuses_conditions_on_its_source() {
    let account = Account::start().await;
    account.put("box/a", &[]).await;
    let source = format!("{}/box/a", account.cloud.emulator.blob_account_url());
    let source = ("x-ms-copy-source", source.as_str());
    let copy = [source, ("x-ms-access-tier", "Cool")];
    assert_eq!(account.call("PUT", "box/b", &copy).await.status(), 202);
    let put = [
        source,
        ("x-ms-blob-type", "BlockBlob"),
        ("x-ms-access-tier", "Cold"),
        ("x-ms-blob-content-type", "text/x"),
    ];
    assert_eq!(account.call("PUT", "box/c", &put).await.status(), 201);
    for (path, tier, content_type) in [
        ("box/b", "Cool", "application/octet-stream"),
        ("box/c", "Cold", "text/x"),
    ] {
        let blob = account.call("HEAD", path, &[]).await;
        assert_eq!(header(&blob, "x-ms-access-tier"), tier);
        assert_eq!(header(&blob, "content-type"), content_type);
    }
    let conditional = [source, ("x-ms-source-if-match", "*")];
    assert_eq!(account.call("PUT", "box/d", &conditional).await.status(), 501);
}

#[tokio::test]
async fn archived_blob_cannot_be_read_copied_or_rehydrated() {
    let account = Account::start().await;
    account.put("box/a", &[("x-ms-access-tier", "Archive")]).await;
    let read = account.call("GET", "box/a", &[]).await;
    assert_eq!(header(&read, "x-ms-error-code"), "BlobArchived");
    let source = format!("{}/box/a", account.cloud.emulator.blob_account_url());
    let source = ("x-ms-copy-source", source.as_str());
    let copy = account.call("PUT", "box/b", &[source]).await;
    assert_eq!(header(&copy, "x-ms-error-code"), "BlobArchived");
    let hot = ("x-ms-access-tier", "Hot");
    for (path, headers) in [("box/a?comp=tier", &[hot][..]), ("box/b", &[source, hot])] {
        let rehydrated = account.call("PUT", path, headers).await;
        assert_eq!(rehydrated.status(), 501, "{path}");
        assert!(
            text(&rehydrated).contains("no rehydration"),
            "{}",
            text(&rehydrated)
        );
    }
    let again = [("x-ms-access-tier", "Archive")];
    assert_eq!(account.call("PUT", "box/a?comp=tier", &again).await.status(), 200);
}

#[tokio::test]
async fn blob_is_not_deleted_in_place_of_its_snapshots() {
    let account = Account::start().await;
    account.put("box/a", &[]).await;
    let snapshots = [("x-ms-delete-snapshots", "only")];
    assert_eq!(account.call("DELETE", "box/a", &snapshots).await.status(), 501);
    assert_eq!(account.call("HEAD", "box/a", &[]).await.status(), 200);
}

#[tokio::test]
async fn container_is_deleted_and_changed_only_under_its_date_conditions() {
    let account = Account::start().await;
    account.put("box/a", &[]).await;
    let (past, future) = ("Wed, 01 Jan 2020 00:00:00 GMT", "Fri, 01 Jan 2100 00:00:00 GMT");
    let (metadata, container) = ("box?restype=container&comp=metadata", "box?restype=container");
    for (method, path, header_name, date, status) in [
        ("PUT", metadata, "if-modified-since", future, 412),
        ("PUT", metadata, "if-modified-since", past, 200),
        ("DELETE", container, "if-modified-since", future, 412),
        ("DELETE", container, "if-unmodified-since", past, 412),
        ("DELETE", container, "if-unmodified-since", future, 202),
    ] {
        let response = account.call(method, path, &[(header_name, date)]).await;
        assert_eq!(response.status(), status, "{method} {header_name}: {date}");
    }
}

#[tokio::test]
async fn block_list_has_committed_and_uncommitted_blocks() {
    let account = Account::start().await;
    account.cloud.emulator.create_container(None, "box");
    account
        .call("PUT", "box/blob?comp=block&blockid=QQ%3D%3D", &[])
        .await;
    let uncommitted = account
        .call("GET", "box/blob?comp=blocklist&blocklisttype=all", &[])
        .await;
    assert_eq!(
        text(&uncommitted).split_once("<BlockList>").unwrap().1,
        "<CommittedBlocks></CommittedBlocks><UncommittedBlocks><Block><Name>QQ==</Name><Size>7</Size></Block>\
         </UncommittedBlocks></BlockList>"
    );
    let missing = account.call("GET", "box/none?comp=blocklist", &[]).await;
    assert_eq!(missing.status(), 404);
}

#[tokio::test]
async fn user_delegation_key_names_its_owner() {
    let account = Account::start().await;
    let authorization = account.authorization().await;
    let url = format!(
        "{}/?restype=service&comp=userdelegationkey",
        account.cloud.emulator.blob_account_url()
    );
    let body = "<KeyInfo><Start>2026-11-25T00:00:00Z</Start><Expiry>2026-11-26T00:00:00Z</Expiry></KeyInfo>";
    let headers = [("x-ms-version", "2026-04-06"), ("authorization", &authorization)];
    let key = account.cloud.send_with_body("POST", &url, &headers, body).await;
    assert_eq!(key.status(), 200);
    let tenant = account.cloud.emulator.entra().tenant_id();
    for part in [
        format!("<SignedTid>{tenant}</SignedTid>"),
        "<SignedExpiry>2026-11-26T00:00:00Z</SignedExpiry>".to_owned(),
        "<SignedService>b</SignedService>".to_owned(),
    ] {
        assert!(text(&key).contains(&part), "{}", text(&key));
    }
    let invalid = account
        .cloud
        .send_with_body("POST", &url, &headers, "<KeyInfo/>")
        .await;
    assert_eq!(invalid.status(), 400);
}

#[tokio::test]
async fn shared_key_and_sas_are_refused_by_name() {
    let account = Account::start().await;
    let base = account.cloud.emulator.blob_account_url().to_owned();
    let headers = [
        ("x-ms-version", "2026-04-06"),
        ("authorization", "SharedKey devaccount:c2ln"),
    ];
    let shared_key = account
        .cloud
        .send("GET", &format!("{base}/box/blob"), &headers)
        .await;
    let sas = format!("{base}/box/blob?sv=2026-04-06&sr=b&sig=c2ln");
    let sas = account
        .cloud
        .send("GET", &sas, &[("x-ms-version", "2026-04-06")])
        .await;
    for response in [shared_key, sas] {
        assert_eq!(response.status(), 501);
        assert!(
            text(&response).contains("no shared key and no SAS"),
            "{}",
            text(&response)
        );
    }
}

#[tokio::test]
async fn version_that_is_no_date_is_an_invalid_header() {
    let account = Account::start().await;
    let authorization = account.authorization().await;
    let url = format!("{}/box/blob", account.cloud.emulator.blob_account_url());
    for version in ["2999", "latest!!!!", "zzzz-zz-zz", "2099-01-01", "2024-13-01"] {
        let headers = [("x-ms-version", version), ("authorization", &authorization)];
        let response = account.cloud.send("GET", &url, &headers).await;
        assert_eq!(
            header(&response, "x-ms-error-code"),
            "InvalidHeaderValue",
            "{version}"
        );
    }
    let vault = format!(
        "{}/secrets/a?api-version=8.0",
        account.cloud.emulator.key_vault_url()
    );
    let authorization = format!("Bearer {}", account.cloud.token(support::azure::VAULT).await);
    let response = account
        .cloud
        .send("GET", &vault, &[("authorization", &authorization)])
        .await;
    assert_eq!(response.status(), 400);
    assert!(
        text(&response).contains("(8.0) is not recognized"),
        "{}",
        text(&response)
    );
}

struct Account {
    cloud: Cloud,
}

impl Account {
    async fn start() -> Self {
        Self {
            cloud: Cloud::start().await,
        }
    }

    async fn authorization(&self) -> String {
        format!("Bearer {}", self.cloud.token(STORAGE).await)
    }

    async fn put(&self, path: &str, headers: &[(&str, &str)]) {
        self.cloud.emulator.create_container(None, "box");
        let mut all = vec![("x-ms-blob-type", "BlockBlob")];
        all.extend(headers);
        let path = path.replace(' ', "%20");
        assert_eq!(self.call("PUT", &path, &all).await.status(), 201);
    }

    async fn call(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> http::Response<Bytes> {
        let authorization = self.authorization().await;
        let mut all = vec![("x-ms-version", "2026-04-06"), ("authorization", &authorization)];
        all.extend(headers);
        let url = format!("{}/{path}", self.cloud.emulator.blob_account_url());
        self.cloud.send_with_body(method, &url, &all, "content").await
    }
}
