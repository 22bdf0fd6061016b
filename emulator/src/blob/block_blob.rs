use bytes::Bytes;
use http::header::{ACCEPT_RANGES, CONTENT_RANGE};
use http::{HeaderMap, Method, Response, StatusCode};

use super::error_response::ErrorResponse;
use super::header::{self, set};
use super::request::{BlobRequest, CONTENT_SETTINGS, md5_base64};
use super::response::respond;

#[derive(Clone)]
pub(super) struct Blob {
    pub(super) content: Bytes,
    /// The committed blocks and their IDs, in order. Empty after Put Blob.
    pub(super) blocks: Vec<(String, Bytes)>,
    /// The base64 MD5 of the content; empty if unknown.
    pub(super) md5: String,
    /// The headers of every read: times, `ETag`, content settings, metadata.
    pub(super) headers: HeaderMap,
}

impl Blob {
    pub(super) fn new(
        content: Bytes,
        blocks: Vec<(String, Bytes)>,
        md5: String,
        mut headers: HeaderMap,
    ) -> Self {
        set(&mut headers, ACCEPT_RANGES, "bytes");
        set(&mut headers, header::BLOB_TYPE, "BlockBlob");
        set(&mut headers, header::LEASE_STATUS, "unlocked");
        set(&mut headers, header::LEASE_STATE, "available");
        set(&mut headers, header::SERVER_ENCRYPTED, "true");
        let mut blob = Self {
            content,
            blocks,
            md5,
            headers,
        };
        blob.set_tier(None);
        blob
    }

    pub(super) fn replace(&mut self, prefix: &str, headers: HeaderMap) {
        header::replace(&mut self.headers, prefix, headers);
    }

    /// Sets the properties of Set Blob Properties: one of them clears the others, and none changes nothing.
    pub(super) fn set_properties(&mut self, request: &BlobRequest<'_>) {
        if request.has_content_settings() || request.header(header::BLOB_CONTENT_MD5).is_some() {
            self.md5.clear();
            self.set_content_settings(request);
        }
    }

    /// Sets all content settings; those that the request does not have are removed.
    pub(super) fn set_content_settings(&mut self, request: &BlobRequest<'_>) {
        for (_, plain) in CONTENT_SETTINGS {
            self.headers.remove(*plain);
        }
        let mut headers = request.blob_headers(false);
        header::replace(&mut headers, header::METADATA_PREFIX, HeaderMap::new());
        self.headers.extend(headers);
        if let Some(md5) = request.header(header::BLOB_CONTENT_MD5) {
            md5.clone_into(&mut self.md5);
        }
    }

    pub(super) fn is_archived(&self) -> bool {
        let tier = self.headers.get(header::ACCESS_TIER);
        tier.is_some_and(|tier| tier == ARCHIVE)
    }

    /// Refuses to move an archived blob to another tier: in Azure, it cannot be read for hours.
    pub(super) fn reject_rehydration(&self, tier: Option<&str>) -> Result<(), ErrorResponse> {
        if self.is_archived() && tier.is_some_and(|tier| tier != ARCHIVE) {
            return Err(ErrorResponse::rehydration());
        }
        Ok(())
    }

    /// * `tier`: `None` for that of the account.
    pub(super) fn set_tier(&mut self, tier: Option<&str>) {
        set(&mut self.headers, header::ACCESS_TIER, tier.unwrap_or("Hot"));
        match tier {
            None => set(&mut self.headers, header::ACCESS_TIER_INFERRED, "true"),
            Some(_) => drop(self.headers.remove(header::ACCESS_TIER_INFERRED)),
        }
    }

    /// Returns the blob (200) or the requested range (206).
    pub(super) fn read(&self, request: &BlobRequest<'_>) -> Result<Response<Bytes>, ErrorResponse> {
        let mut headers = self.headers.clone();
        if self.is_archived() && request.method == Method::GET {
            return Err(ErrorResponse::archived());
        }
        let range = if request.method == Method::HEAD {
            None
        } else {
            request.range()?
        };
        let Some(range) = range else {
            if !self.md5.is_empty() {
                set(&mut headers, header::CONTENT_MD5, &self.md5);
            }
            return Ok(respond(StatusCode::OK, headers, self.content.clone()));
        };
        let total = self.content.len();
        if range.start >= total {
            return Err(ErrorResponse {
                header: Some((CONTENT_RANGE, format!("bytes */{total}"))),
                ..ErrorResponse::invalid_range()
            });
        }
        let range = range.start..range.end.min(total);
        let content_range = format!("bytes {}-{}/{total}", range.start, range.end.saturating_sub(1));
        set(&mut headers, CONTENT_RANGE, content_range);
        if !self.md5.is_empty() {
            set(&mut headers, header::BLOB_CONTENT_MD5, &self.md5);
        }
        let part = self.content.slice(range);
        if request.header(header::RANGE_GET_CONTENT_MD5) == Some("true") {
            set(&mut headers, header::CONTENT_MD5, md5_base64(&part));
        }
        Ok(respond(StatusCode::PARTIAL_CONTENT, headers, part))
    }
}

const ARCHIVE: &str = "Archive";
