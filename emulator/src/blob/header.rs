//! Headers of the Blob service.

use http::header::IntoHeaderName;
use http::{HeaderMap, HeaderValue};

/// Sets a header. Ignores values that are invalid in a header.
pub(super) fn set(headers: &mut HeaderMap, name: impl IntoHeaderName, value: impl TryInto<HeaderValue>) {
    if let Ok(value) = value.try_into() {
        headers.insert(name, value);
    }
}

/// Replaces all headers with a prefix.
pub(super) fn replace(headers: &mut HeaderMap, prefix: &str, new: HeaderMap) {
    let old: Vec<_> = headers
        .keys()
        .filter(|name| name.as_str().starts_with(prefix))
        .cloned()
        .collect();
    for name in old {
        headers.remove(name);
    }
    headers.extend(new);
}

pub(super) const BLOB_CONTENT_MD5: &str = "x-ms-blob-content-md5";
pub(super) const BLOB_TYPE: &str = "x-ms-blob-type";
pub(super) const CLIENT_REQUEST_ID: &str = "x-ms-client-request-id";
pub(super) const CONTENT_MD5: &str = "content-md5";
pub(super) const ACCESS_TIER: &str = "x-ms-access-tier";
pub(super) const ACCESS_TIER_INFERRED: &str = "x-ms-access-tier-inferred";
pub(super) const COPY_ID: &str = "x-ms-copy-id";
pub(super) const COPY_SOURCE: &str = "x-ms-copy-source";
pub(super) const COPY_STATUS: &str = "x-ms-copy-status";
pub(super) const CREATION_TIME: &str = "x-ms-creation-time";
pub(super) const DELETE_TYPE_PERMANENT: &str = "x-ms-delete-type-permanent";
pub(super) const ERROR_CODE: &str = "x-ms-error-code";
pub(super) const LEASE_STATE: &str = "x-ms-lease-state";
pub(super) const LEASE_STATUS: &str = "x-ms-lease-status";
pub(super) const MS_RANGE: &str = "x-ms-range";
pub(super) const RANGE_GET_CONTENT_MD5: &str = "x-ms-range-get-content-md5";
pub(super) const REQUEST_ID: &str = "x-ms-request-id";
pub(super) const REQUEST_SERVER_ENCRYPTED: &str = "x-ms-request-server-encrypted";
pub(super) const SERVER_ENCRYPTED: &str = "x-ms-server-encrypted";
pub(super) const VERSION: &str = "x-ms-version";
pub(super) const METADATA_PREFIX: &str = "x-ms-meta-";
