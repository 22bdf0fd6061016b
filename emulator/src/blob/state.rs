use std::collections::BTreeMap;
use std::time::SystemTime;

use bytes::{Bytes, BytesMut};
use http::header::{ETAG, LAST_MODIFIED};
use http::{HeaderMap, Method, Response, StatusCode};

use super::block_blob::Blob;
use super::block_list::{Place, block_list};
use super::call::{Call, md5_of};
use super::container::Container;
use super::header::{self, set};
use super::list::{self, Item, LISTED_CONTAINER_PROPERTIES, Page};
use super::refusal::Refusal;
use super::response::respond;
use super::xml::element;

#[derive(Default)]
pub(super) struct State {
    containers: BTreeMap<String, Container>,
    /// Counts every write, so that no two states of anything share an `ETag` even while the clock stands still.
    writes: u64,
}

impl State {
    pub(super) fn answer(&self, call: &Call<'_>, account: &str) -> Result<Response<Bytes>, Refusal> {
        match (call.method, call.parameter("comp")) {
            (&Method::GET, Some("list")) => self.list(call, account),
            _ => Err(Refusal::not_implemented()),
        }
    }

    pub(super) fn answer_container(
        &mut self,
        name: String,
        call: &Call<'_>,
        now: SystemTime,
        account: &str,
    ) -> Result<Response<Bytes>, Refusal> {
        match (call.method, call.parameter("comp")) {
            (&Method::PUT, None) => self.create_container(name, call, now),
            (&Method::DELETE, None) => {
                self.container(&name)?;
                self.containers.remove(&name);
                Ok(respond(StatusCode::ACCEPTED, HeaderMap::new(), Bytes::new()))
            }
            (&Method::GET | &Method::HEAD, None) => {
                let headers = self.container(&name)?.headers.clone();
                Ok(respond(StatusCode::OK, headers, Bytes::new()))
            }
            (&Method::GET, Some("list")) => self.container(&name)?.list(call, account, &name),
            _ => Err(Refusal::not_implemented()),
        }
    }

    pub(super) fn answer_blob(
        &mut self,
        container: &str,
        name: String,
        call: &Call<'_>,
        now: SystemTime,
    ) -> Result<Response<Bytes>, Refusal> {
        match (call.method, call.parameter("comp")) {
            (&Method::PUT, None) => self.put_blob(container, name, call, now),
            (&Method::PUT, Some("block")) => self.container(container)?.put_block(name, call),
            (&Method::PUT, Some("blocklist")) => self.put_block_list(container, name, call, now),
            (&Method::GET | &Method::HEAD, None) => {
                let blob = self.container(container)?.blob(&name)?;
                call.check_conditions(Some(&blob.headers))?;
                blob.read(call)
            }
            (&Method::DELETE, None) => {
                let container = self.container(container)?;
                call.check_conditions(Some(&container.blob(&name)?.headers))?;
                container.blobs.remove(&name);
                let mut headers = HeaderMap::new();
                // There is no soft delete. Source: Delete Blob, "Version 2017-07-29 and later".
                header::set(&mut headers, header::DELETE_TYPE_PERMANENT, "true");
                Ok(respond(StatusCode::ACCEPTED, headers, Bytes::new()))
            }
            _ => Err(Refusal::not_implemented()),
        }
    }

    fn container(&mut self, name: &str) -> Result<&mut Container, Refusal> {
        self.containers
            .get_mut(name)
            .ok_or_else(|| Refusal::not_found("ContainerNotFound", "The specified container does not exist."))
    }

    fn create_container(
        &mut self,
        name: String,
        call: &Call<'_>,
        now: SystemTime,
    ) -> Result<Response<Bytes>, Refusal> {
        if self.containers.contains_key(&name) {
            return Err(Refusal::new(
                StatusCode::CONFLICT,
                "ContainerAlreadyExists",
                "The specified container already exists.",
            ));
        }
        let stamp = self.stamp(now);
        let mut headers = call.metadata();
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

    fn list(&self, call: &Call<'_>, account: &str) -> Result<Response<Bytes>, Refusal> {
        let page = Page::of(call, &self.containers)?;
        let containers: String = page
            .items
            .iter()
            .map(|item| match item {
                Item::Prefix(prefix) => element("Name", prefix),
                Item::Entry(name, container) => format!(
                    "<Container>{}<Properties>{}</Properties>{}</Container>",
                    element("Name", name),
                    list::properties(&container.headers, LISTED_CONTAINER_PROPERTIES),
                    list::metadata(call, &container.headers),
                ),
            })
            .collect();
        Ok(page.to_response(call, account, None, "Containers", &containers))
    }

    fn put_blob(
        &mut self,
        container: &str,
        name: String,
        call: &Call<'_>,
        now: SystemTime,
    ) -> Result<Response<Bytes>, Refusal> {
        match call.header(header::BLOB_TYPE) {
            Some("BlockBlob") => {}
            Some(_) => return Err(Refusal::not_implemented()),
            None => {
                return Err(Refusal::bad_request(
                    "MissingRequiredHeader",
                    "An HTTP header that's mandatory for this request is not specified.",
                ));
            }
        }
        let old = self.container(container)?.blobs.get(&name);
        call.check_conditions(old.map(|blob| &blob.headers))?;
        let md5 = call.checked_md5(header::CONTENT_MD5)?;
        call.checked_md5(header::BLOB_CONTENT_MD5)?;
        let blob = Blob::new(call.body.clone(), Vec::new(), md5, call.blob_headers(true));
        let mut answer = self.store(container, name, blob, now)?;
        // Not for Put Block List: there it would be the digest of the list, which a client could take for the blob's.
        set(&mut answer, header::CONTENT_MD5, md5_of(call.body));
        Ok(respond(StatusCode::CREATED, answer, Bytes::new()))
    }

    fn put_block_list(
        &mut self,
        container: &str,
        name: String,
        call: &Call<'_>,
        now: SystemTime,
    ) -> Result<Response<Bytes>, Refusal> {
        call.checked_md5(header::CONTENT_MD5)?;
        let list = block_list(call.body)?;
        let room = self.container(container)?;
        let old = room.blobs.get(&name);
        call.check_conditions(old.map(|blob| &blob.headers))?;
        let staged = room.uncommitted.get(&name);
        let mut content = BytesMut::new();
        let mut blocks = Vec::with_capacity(list.len());
        for (place, id) in list {
            let uncommitted = || staged?.get(&id);
            let committed = || Some(&old?.blocks.iter().find(|(known, _)| *known == id)?.1);
            let block = match place {
                Place::Uncommitted => uncommitted(),
                Place::Committed => committed(),
                Place::Latest => uncommitted().or_else(committed),
            };
            let Some(block) = block.cloned() else {
                return Err(Refusal::bad_request(
                    "InvalidBlockList",
                    "The specified block list is invalid.",
                ));
            };
            content.extend_from_slice(&block);
            blocks.push((id, block));
        }
        let md5 = call
            .header(header::BLOB_CONTENT_MD5)
            .unwrap_or_default()
            .to_owned();
        let blob = Blob::new(content.freeze(), blocks, md5, call.blob_headers(false));
        let answer = self.store(container, name, blob, now)?;
        Ok(respond(StatusCode::CREATED, answer, Bytes::new()))
    }

    /// Puts a blob in the place of what was there, also of the blocks that wait to be committed.
    fn store(
        &mut self,
        container: &str,
        name: String,
        mut blob: Blob,
        now: SystemTime,
    ) -> Result<HeaderMap, Refusal> {
        let mut stamp = self.stamp(now);
        blob.headers.extend(stamp.clone());
        let room = self.container(container)?;
        room.uncommitted.remove(&name);
        let old = room.blobs.get(&name);
        let created = old.and_then(|old| old.headers.get(header::CREATION_TIME));
        if let Some(created) = created.or(stamp.get(LAST_MODIFIED)) {
            set(&mut blob.headers, header::CREATION_TIME, created);
        }
        room.blobs.insert(name, blob);
        set(&mut stamp, header::REQUEST_SERVER_ENCRYPTED, "true");
        Ok(stamp)
    }

    /// The `ETag` and `Last-Modified` of a new write.
    fn stamp(&mut self, now: SystemTime) -> HeaderMap {
        self.writes += 1;
        let mut stamp = HeaderMap::new();
        set(&mut stamp, ETAG, format!("\"0x{:X}\"", FIRST_ETAG + self.writes));
        set(&mut stamp, LAST_MODIFIED, httpdate::fmt_http_date(now));
        stamp
    }
}

/// Looks like the service's `ETag`s, which count ticks of 100 ns.
const FIRST_ETAG: u64 = 0x08DE_0000_0000_0000;
