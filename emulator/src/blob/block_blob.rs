use bytes::Bytes;
use http::header::{ACCEPT_RANGES, CONTENT_RANGE};
use http::{HeaderMap, Method, Response, StatusCode};

use super::error_response::ErrorResponse;
use super::header::{self, set};
use super::request::{BlobRequest, md5_base64};
use super::response::respond;

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
        Self {
            content,
            blocks,
            md5,
            headers,
        }
    }

    /// Returns the blob (200) or the requested range (206).
    pub(super) fn read(&self, request: &BlobRequest<'_>) -> Result<Response<Bytes>, ErrorResponse> {
        let mut headers = self.headers.clone();
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
