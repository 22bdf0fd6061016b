use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};

use super::block_blob::Blob;
use super::error_response::ErrorResponse;
use super::header::{self, set};
use super::list::{self, Item, LISTED_PROPERTIES, Page};
use super::request::BlobRequest;
use super::response::respond;
use super::xml::element;

pub(super) struct Container {
    /// The headers of Get Container Properties, including metadata.
    pub(super) headers: HeaderMap,
    pub(super) blobs: BTreeMap<String, Blob>,
    /// The uncommitted blocks, by blob name and block ID.
    pub(super) uncommitted: BTreeMap<String, BTreeMap<String, Bytes>>,
}

impl Container {
    pub(super) fn blob(&self, name: &str) -> Result<&Blob, ErrorResponse> {
        self.blobs.get(name).ok_or_else(ErrorResponse::blob_not_found)
    }

    pub(super) fn put_block(
        &mut self,
        blob: String,
        request: &BlobRequest<'_>,
    ) -> Result<Response<Bytes>, ErrorResponse> {
        let md5 = request.checked_md5(header::CONTENT_MD5)?;
        let id = request.parameter("blockid").unwrap_or_default();
        if !BASE64
            .decode(id)
            .is_ok_and(|id| (1..=LONGEST_BLOCK_ID).contains(&id.len()))
        {
            return Err(ErrorResponse::bad_query("blockid"));
        }
        let blocks = self.uncommitted.entry(blob).or_default();
        if blocks.keys().any(|known| known.len() != id.len()) {
            return Err(ErrorResponse::bad_request(
                "InvalidBlobOrBlock",
                "The specified blob or block content is invalid.",
            ));
        }
        blocks.insert(id.to_owned(), request.body.clone());
        let mut headers = HeaderMap::new();
        set(&mut headers, header::REQUEST_SERVER_ENCRYPTED, "true");
        set(&mut headers, header::CONTENT_MD5, md5);
        Ok(respond(StatusCode::CREATED, headers, Bytes::new()))
    }

    pub(super) fn list(
        &self,
        request: &BlobRequest<'_>,
        account: &str,
        name: &str,
    ) -> Result<Response<Bytes>, ErrorResponse> {
        let page = Page::select(request, &self.blobs)?;
        let blobs: String = page
            .items
            .iter()
            .map(|item| match item {
                Item::Prefix(prefix) => {
                    format!("<BlobPrefix>{}</BlobPrefix>", list::blob_name(prefix))
                }
                Item::Entry(name, blob) => format!(
                    "<Blob>{}<Properties>{}{}{}<BlobType>BlockBlob</BlobType><AccessTier>Hot</AccessTier>\
                     <AccessTierInferred>true</AccessTierInferred><LeaseStatus>unlocked</LeaseStatus>\
                     <LeaseState>available</LeaseState><ServerEncrypted>true</ServerEncrypted></Properties>\
                     {}</Blob>",
                    list::blob_name(name),
                    list::properties(&blob.headers, LISTED_PROPERTIES),
                    element("Content-Length", &blob.content.len().to_string()),
                    element("Content-MD5", &blob.md5),
                    list::metadata(request, &blob.headers),
                ),
            })
            .collect();
        Ok(page.to_response(request, account, Some(name), "Blobs", &blobs))
    }
}

/// In decoded bytes. Source: Put Block, `blockid`.
const LONGEST_BLOCK_ID: usize = 64;
