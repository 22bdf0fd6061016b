use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use uuid::Uuid;

use super::copy_source::CopySource;
use super::error_response::ErrorResponse;
use super::header::{self, set};
use super::request::BlobRequest;
use super::response::respond;
use super::state::State;

impl State {
    /// Copies a blob of the same account, at once: Copy Blob, Copy Blob From URL, Put Blob From URL.
    ///
    /// Without metadata in the request, that of the source is copied.
    pub(super) fn copy_blob(
        &mut self,
        container: &str,
        name: String,
        request: &BlobRequest<'_>,
        source: &CopySource,
        now: std::time::SystemTime,
    ) -> Result<Response<Bytes>, ErrorResponse> {
        let mut blob = self.container(&source.container)?.blob(&source.blob)?.clone();
        blob.reject_rehydration(request.tier()?)?;
        if blob.is_archived() {
            return Err(ErrorResponse::archived());
        }
        let old = self.container(container)?.blobs.get(&name);
        request.check_conditions(old.map(|blob| &blob.headers))?;
        let metadata = request.metadata();
        if !metadata.is_empty() {
            blob.replace(header::METADATA_PREFIX, metadata);
        }
        blob.set_tier(request.tier()?);
        let is_put = request.header(header::BLOB_TYPE).is_some();
        if is_put && request.has_content_settings() {
            blob.set_content_settings(request);
        }
        let id = Uuid::new_v4().to_string();
        if !is_put {
            for (name, value) in [
                (header::COPY_ID, id.as_str()),
                (header::COPY_SOURCE, source.url.as_str()),
                (header::COPY_STATUS, "success"),
            ] {
                set(&mut blob.headers, name, value);
            }
        }
        let mut headers: HeaderMap = self.store(container, name, blob, now)?;
        if is_put {
            return Ok(respond(StatusCode::CREATED, headers, Bytes::new()));
        }
        set(&mut headers, header::COPY_ID, id);
        set(&mut headers, header::COPY_STATUS, "success");
        Ok(respond(StatusCode::ACCEPTED, headers, Bytes::new()))
    }
}
