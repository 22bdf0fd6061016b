use std::collections::BTreeMap;
use std::time::SystemTime;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_TYPE, ETAG, LAST_MODIFIED};
use http::{HeaderMap, Method, Response, StatusCode};

use super::block_blob::Blob;
use super::block_list::{BlockSource, block_list};
use super::container::Container;
use super::copy_source::CopySource;
use super::error_response::ErrorResponse;
use super::header::{self, METADATA_PREFIX, set};
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
    /// Creates a container if needed, and a blob in it.
    pub(super) fn put(&mut self, container: &str, blob: Option<(&str, Bytes)>, now: SystemTime) {
        if !self.containers.contains_key(container) {
            self.insert_container(container.to_owned(), HeaderMap::new(), now);
        }
        if let Some((name, content)) = blob {
            let md5 = md5_base64(&content);
            let mut headers = HeaderMap::new();
            set(&mut headers, CONTENT_TYPE, "application/octet-stream");
            // The container is there.
            let _ = self.store(
                container,
                name.to_owned(),
                Blob::new(content, Vec::new(), md5, headers),
                now,
            );
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
                request.check_conditions(Some(&self.container(&name)?.headers))?;
                self.containers.remove(&name);
                Ok(respond(StatusCode::ACCEPTED, HeaderMap::new(), Bytes::new()))
            }
            (&Method::GET | &Method::HEAD, None) => {
                let headers = self.container(&name)?.headers.clone();
                Ok(respond(StatusCode::OK, headers, Bytes::new()))
            }
            (&Method::GET, Some("list")) => self.container(&name)?.list(request, account, &name),
            (&Method::PUT, Some("metadata")) => {
                let stamp = self.stamp(now);
                let headers = &mut self.container(&name)?.headers;
                request.check_conditions(Some(headers))?;
                header::replace(headers, METADATA_PREFIX, request.metadata());
                headers.extend(stamp.clone());
                Ok(respond(StatusCode::OK, stamp, Bytes::new()))
            }
            _ => Err(ErrorResponse::not_implemented()),
        }
    }

    pub(super) fn handle_blob(
        &mut self,
        container: &str,
        name: String,
        request: &BlobRequest<'_>,
        now: SystemTime,
        source: Option<&CopySource>,
    ) -> Result<Response<Bytes>, ErrorResponse> {
        match (request.method, request.parameter("comp")) {
            (_, Some("block")) if request.header(header::COPY_SOURCE).is_some() => {
                Err(ErrorResponse::not_implemented())
            }
            (&Method::PUT, None) => match source {
                Some(source) => self.copy_blob(container, name, request, source, now),
                None => self.put_blob(container, name, request, now),
            },
            (&Method::PUT, Some("block")) => self.container(container)?.put_block(name, request),
            (&Method::PUT, Some("blocklist")) => self.put_block_list(container, name, request, now),
            (&Method::GET, Some("blocklist")) => self.container(container)?.block_list(&name, request),
            (&Method::PUT, Some("metadata")) => self.change(container, &name, request, now, |blob| {
                blob.replace(METADATA_PREFIX, request.metadata());
            }),
            (&Method::PUT, Some("properties")) => self.change(container, &name, request, now, |blob| {
                blob.set_properties(request);
            }),
            (&Method::PUT, Some("tier")) => {
                let tier = request.tier()?.ok_or_else(|| {
                    ErrorResponse::bad_request(
                        "MissingRequiredHeader",
                        "An HTTP header that's mandatory for this request is not specified.",
                    )
                })?;
                let blob = self.container(container)?.blob_mut(&name)?;
                blob.reject_rehydration(Some(tier))?;
                blob.set_tier(Some(tier));
                Ok(respond(StatusCode::OK, HeaderMap::new(), Bytes::new()))
            }
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

    /// Changes the headers of a blob. The response has its new times.
    fn change(
        &mut self,
        container: &str,
        name: &str,
        request: &BlobRequest<'_>,
        now: SystemTime,
        change: impl FnOnce(&mut Blob),
    ) -> Result<Response<Bytes>, ErrorResponse> {
        let stamp = self.stamp(now);
        let blob = self.container(container)?.blob_mut(name)?;
        request.check_conditions(Some(&blob.headers))?;
        change(blob);
        blob.headers.extend(stamp.clone());
        Ok(respond(StatusCode::OK, stamp, Bytes::new()))
    }

    pub(super) fn container(&mut self, name: &str) -> Result<&mut Container, ErrorResponse> {
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
        let stamp = self.insert_container(name, request.metadata(), now);
        Ok(respond(StatusCode::CREATED, stamp, Bytes::new()))
    }

    /// Returns its times.
    fn insert_container(&mut self, name: String, mut headers: HeaderMap, now: SystemTime) -> HeaderMap {
        let stamp = self.stamp(now);
        headers.extend(stamp.clone());
        set(&mut headers, header::LEASE_STATUS, "unlocked");
        set(&mut headers, header::LEASE_STATE, "available");
        let container = Container {
            headers,
            blobs: BTreeMap::new(),
            uncommitted: BTreeMap::new(),
        };
        self.containers.insert(name, container);
        stamp
    }

    pub(super) fn list(
        &self,
        request: &BlobRequest<'_>,
        account: &str,
    ) -> Result<Response<Bytes>, ErrorResponse> {
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
        let mut blob = Blob::new(request.body.clone(), Vec::new(), md5, request.blob_headers(true));
        blob.set_tier(request.tier()?);
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
        let mut blob = Blob::new(content.freeze(), blocks, md5, request.blob_headers(false));
        blob.set_tier(request.tier()?);
        let headers = self.store(container, name, blob, now)?;
        Ok(respond(StatusCode::CREATED, headers, Bytes::new()))
    }

    /// Stores a blob. Replaces the previous blob and its uncommitted blocks.
    pub(super) fn store(
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
