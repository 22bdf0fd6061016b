use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use percent_encoding::percent_decode_str;

use super::error_response::ErrorResponse;
use super::header::{self, set};
use super::request::BlobRequest;
use super::response::respond;
use super::state::State;
use crate::guid::Guid;
use crate::public_host::PublicHost;

impl State {
    /// Copies a blob of the same account, at once: Copy Blob, Copy Blob From URL, Put Blob From URL.
    ///
    /// Without metadata in the request, that of the source is copied.
    pub(super) fn copy_blob(
        &mut self,
        container: &str,
        name: String,
        request: &BlobRequest<'_>,
        account: &str,
        now: std::time::SystemTime,
    ) -> Result<Response<Bytes>, ErrorResponse> {
        let url = request.header(header::COPY_SOURCE).unwrap_or_default();
        let source = source_in(url, account).ok_or_else(ErrorResponse::other_account)?;
        let mut blob = self.container(&source.0)?.blob(&source.1)?.clone();
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
        let id = Guid::random().to_string();
        if !is_put {
            for (name, value) in [
                (header::COPY_ID, id.as_str()),
                (header::COPY_SOURCE, url),
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

/// Returns container and name of a blob, if it is in the account.
fn source_in(url: &str, account: &str) -> Option<(String, String)> {
    let url = url::Url::parse(url).ok()?;
    let path = url.path().trim_start_matches('/');
    let path = match PublicHost::parse(url.host_str()?) {
        Some(PublicHost::BlobAccount(name)) => Some(path).filter(|_| name == account),
        Some(_) => None,
        None => path.strip_prefix(account)?.strip_prefix('/'),
    }?;
    let (container, name) = path.split_once('/')?;
    let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    Some((decode(container), decode(name)))
}
