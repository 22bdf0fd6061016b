use std::collections::BTreeMap;
use std::time::SystemTime;

use bytes::{Bytes, BytesMut};
use http::header::{ETAG, LAST_MODIFIED};
use http::{HeaderMap, Method, Response, StatusCode};

use super::block_blob::Blob;
use super::block_list::{BlockSource, block_list};
use super::container::Container;
use super::error_response::ErrorResponse;
use super::header::{self, set};
use super::list::{self, Item, LISTED_CONTAINER_PROPERTIES, Page};
use super::request::{BlobRequest, md5_base64};
use super::response::respond;
use super::xml::element;

#[derive(Default)]
pub(super) struct State {
    containers: BTreeMap<String, Container>,
    /// The number of writes, which makes every `ETag` unique even if the clock stands still.
    writes: u64,
}

impl State {
    pub(super) fn handle_account(
        &self,
        request: &BlobRequest<'_>,
        account: &str,
    ) -> Result<Response<Bytes>, ErrorResponse> {
        match (request.method, request.parameter("comp")) {
            (&Method::GET, Some("list")) => self.list(request, account),
            _ => Err(ErrorResponse::not_implemented()),
        }
    }

    pub(super) fn handle_container(
        &mut self,
        name: String,
        request: &BlobRequest<'_>,
        now: SystemTime,
        account: &str,
    ) -> Result<Response<Bytes>, ErrorResponse> {
        match (request.method, request.parameter("comp")) {
            (&Method::PUT, None) => self.create_container(name, request, now),
            (&Method::DELETE, None) => {
                self.container(&name)?;
                self.containers.remove(&name);
                Ok(respond(StatusCode::ACCEPTED, HeaderMap::new(), Bytes::new()))
            }
            (&Method::GET | &Method::HEAD, None) => {
                let headers = self.container(&name)?.headers.clone();
                Ok(respond(StatusCode::OK, headers, Bytes::new()))
            }
            (&Method::GET, Some("list")) => self.container(&name)?.list(request, account, &name),
            _ => Err(ErrorResponse::not_implemented()),
        }
    }

    pub(super) fn handle_blob(
        &mut self,
        container: &str,
        name: String,
        request: &BlobRequest<'_>,
        now: SystemTime,
    ) -> Result<Response<Bytes>, ErrorResponse> {
        match (request.method, request.parameter("comp")) {
            (&Method::PUT, None) => self.put_blob(container, name, request, now),
            (&Method::PUT, Some("block")) => self.container(container)?.put_block(name, request),
            (&Method::PUT, Some("blocklist")) => self.put_block_list(container, name, request, now),
            (&Method::GET | &Method::HEAD, None) => {
                let blob = self.container(container)?.blob(&name)?;
                request.check_conditions(Some(&blob.headers))?;
                blob.read(request)
            }
            (&Method::DELETE, None) => {
                let container = self.container(container)?;
                request.check_conditions(Some(&container.blob(&name)?.headers))?;
                container.blobs.remove(&name);
                let mut headers = HeaderMap::new();
                // No soft delete. Source: Delete Blob, "Version 2017-07-29 and later".
                header::set(&mut headers, header::DELETE_TYPE_PERMANENT, "true");
                Ok(respond(StatusCode::ACCEPTED, headers, Bytes::new()))
            }
            _ => Err(ErrorResponse::not_implemented()),
        }
    }

    fn container(&mut self, name: &str) -> Result<&mut Container, ErrorResponse> {
        self.containers
            .get_mut(name)
            .ok_or_else(ErrorResponse::container_not_found)
    }

    fn create_container(
        &mut self,
        name: String,
        request: &BlobRequest<'_>,
        now: SystemTime,
    ) -> Result<Response<Bytes>, ErrorResponse> {
        if self.containers.contains_key(&name) {
            return Err(ErrorResponse::container_already_exists());
        }
        let stamp = self.stamp(now);
        let mut headers = request.metadata();
        headers.extend(stamp.clone());
        set(&mut headers, header::LEASE_STATUS, "unlocked");
        set(&mut headers, header::LEASE_STATE, "available");
        let container = Container {
            headers,
            blobs: BTreeMap::new(),
            uncommitted: BTreeMap::new(),
        };
        self.containers.insert(name, container);
        Ok(respond(StatusCode::CREATED, stamp, Bytes::new()))
    }

    fn list(&self, request: &BlobRequest<'_>, account: &str) -> Result<Response<Bytes>, ErrorResponse> {
        let page = Page::select(request, &self.containers)?;
        let containers: String = page
            .items
            .iter()
            .map(|item| match item {
                Item::Prefix(prefix) => element("Name", prefix),
                Item::Entry(name, container) => format!(
                    "<Container>{}<Properties>{}</Properties>{}</Container>",
                    element("Name", name),
                    list::properties(&container.headers, LISTED_CONTAINER_PROPERTIES),
                    list::metadata(request, &container.headers),
                ),
            })
            .collect();
        Ok(page.to_response(request, account, None, "Containers", &containers))
    }

    fn put_blob(
        &mut self,
        container: &str,
        name: String,
        request: &BlobRequest<'_>,
        now: SystemTime,
    ) -> Result<Response<Bytes>, ErrorResponse> {
        match request.header(header::BLOB_TYPE) {
            Some("BlockBlob") => {}
            Some(_) => return Err(ErrorResponse::not_implemented()),
            None => {
                return Err(ErrorResponse::bad_request(
                    "MissingRequiredHeader",
                    "An HTTP header that's mandatory for this request is not specified.",
                ));
            }
        }
        let old = self.container(container)?.blobs.get(&name);
        request.check_conditions(old.map(|blob| &blob.headers))?;
        let md5 = request.checked_md5(header::CONTENT_MD5)?;
        request.checked_md5(header::BLOB_CONTENT_MD5)?;
        let blob = Blob::new(request.body.clone(), Vec::new(), md5, request.blob_headers(true));
        let mut headers = self.store(container, name, blob, now)?;
        // Put Block List omits it: the MD5 of the list could be mistaken for the MD5 of the blob.
        set(&mut headers, header::CONTENT_MD5, md5_base64(request.body));
        Ok(respond(StatusCode::CREATED, headers, Bytes::new()))
    }

    fn put_block_list(
        &mut self,
        container: &str,
        name: String,
        request: &BlobRequest<'_>,
        now: SystemTime,
    ) -> Result<Response<Bytes>, ErrorResponse> {
        request.checked_md5(header::CONTENT_MD5)?;
        let list = block_list(request.body)?;
        let target = self.container(container)?;
        let old = target.blobs.get(&name);
        request.check_conditions(old.map(|blob| &blob.headers))?;
        let staged = target.uncommitted.get(&name);
        let mut content = BytesMut::new();
        let mut blocks = Vec::with_capacity(list.len());
        for (source, id) in list {
            let uncommitted = || staged?.get(&id);
            let committed = || Some(&old?.blocks.iter().find(|(known, _)| *known == id)?.1);
            let block = match source {
                BlockSource::Uncommitted => uncommitted(),
                BlockSource::Committed => committed(),
                BlockSource::Latest => uncommitted().or_else(committed),
            };
            let Some(block) = block.cloned() else {
                return Err(ErrorResponse::bad_request(
                    "InvalidBlockList",
                    "The specified block list is invalid.",
                ));
            };
            content.extend_from_slice(&block);
            blocks.push((id, block));
        }
        let md5 = request
            .header(header::BLOB_CONTENT_MD5)
            .unwrap_or_default()
            .to_owned();
        let blob = Blob::new(content.freeze(), blocks, md5, request.blob_headers(false));
        let headers = self.store(container, name, blob, now)?;
        Ok(respond(StatusCode::CREATED, headers, Bytes::new()))
    }

    /// Stores a blob. Replaces the previous blob and its uncommitted blocks.
    fn store(
        &mut self,
        container: &str,
        name: String,
        mut blob: Blob,
        now: SystemTime,
    ) -> Result<HeaderMap, ErrorResponse> {
        let mut stamp = self.stamp(now);
        blob.headers.extend(stamp.clone());
        let target = self.container(container)?;
        target.uncommitted.remove(&name);
        let old = target.blobs.get(&name);
        let created = old.and_then(|old| old.headers.get(header::CREATION_TIME));
        if let Some(created) = created.or(stamp.get(LAST_MODIFIED)) {
            set(&mut blob.headers, header::CREATION_TIME, created);
        }
        target.blobs.insert(name, blob);
        set(&mut stamp, header::REQUEST_SERVER_ENCRYPTED, "true");
        Ok(stamp)
    }

    /// Returns the `ETag` and `Last-Modified` of a new write.
    fn stamp(&mut self, now: SystemTime) -> HeaderMap {
        self.writes += 1;
        let mut stamp = HeaderMap::new();
        set(&mut stamp, ETAG, format!("\"0x{:X}\"", FIRST_ETAG + self.writes));
        set(&mut stamp, LAST_MODIFIED, httpdate::fmt_http_date(now));
        stamp
    }
}

/// Resembles the `ETag`s of the real service, which count ticks of 100 ns.
const FIRST_ETAG: u64 = 0x08DE_0000_0000_0000;
