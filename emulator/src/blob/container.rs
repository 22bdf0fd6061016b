use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http::header::{ETAG, LAST_MODIFIED};
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

    pub(super) fn blob_mut(&mut self, name: &str) -> Result<&mut Blob, ErrorResponse> {
        self.blobs.get_mut(name).ok_or_else(ErrorResponse::blob_not_found)
    }

    /// Returns the blocks of a blob; by default the committed ones.
    pub(super) fn block_list(
        &self,
        name: &str,
        request: &BlobRequest<'_>,
    ) -> Result<Response<Bytes>, ErrorResponse> {
        let (blob, staged) = (self.blobs.get(name), self.uncommitted.get(name));
        if blob.is_none() && staged.is_none() {
            return Err(ErrorResponse::blob_not_found());
        }
        let of = |(id, content): (&String, &Bytes)| {
            let size = element("Size", &content.len().to_string());
            format!("<Block>{}{size}</Block>", element("Name", id))
        };
        let committed = blob.map(|blob| blob.blocks.iter().map(|(id, content)| of((id, content))));
        let committed: String = committed.into_iter().flatten().collect();
        let uncommitted: String = staged.into_iter().flatten().map(of).collect();
        let body = match request.parameter("blocklisttype") {
            None | Some("committed") => format!("<CommittedBlocks>{committed}</CommittedBlocks>"),
            Some("uncommitted") => format!("<UncommittedBlocks>{uncommitted}</UncommittedBlocks>"),
            Some(_) => format!(
                "<CommittedBlocks>{committed}</CommittedBlocks><UncommittedBlocks>{uncommitted}</UncommittedBlocks>"
            ),
        };
        let mut headers = HeaderMap::new();
        for name in [ETAG, LAST_MODIFIED] {
            let value = blob.and_then(|blob| blob.headers.get(&name)).cloned();
            headers.extend(value.map(|value| (name, value)));
        }
        let length = blob.map_or(0, |blob| blob.content.len());
        set(&mut headers, "x-ms-blob-content-length", length);
        Ok(super::xml::respond(
            StatusCode::OK,
            headers,
            &format!("<BlockList>{body}</BlockList>"),
        ))
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
                    "<Blob>{}<Properties>{}{}{}<BlobType>BlockBlob</BlobType>{}<LeaseStatus>unlocked</LeaseStatus>\
                     <LeaseState>available</LeaseState><ServerEncrypted>true</ServerEncrypted></Properties>\
                     {}</Blob>",
                    list::blob_name(name),
                    list::properties(&blob.headers, LISTED_PROPERTIES),
                    element("Content-Length", &blob.content.len().to_string()),
                    element("Content-MD5", &blob.md5),
                    tier(&blob.headers),
                    list::metadata(request, &blob.headers),
                ),
            })
            .collect();
        Ok(page.to_response(request, account, Some(name), "Blobs", &blobs))
    }
}

fn tier(headers: &HeaderMap) -> String {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let tier = element("AccessTier", text(header::ACCESS_TIER).unwrap_or_default());
    let inferred = text(header::ACCESS_TIER_INFERRED).map(|value| element("AccessTierInferred", value));
    tier + &inferred.unwrap_or_default()
}

/// In decoded bytes. Source: Put Block, `blockid`.
const LONGEST_BLOCK_ID: usize = 64;
