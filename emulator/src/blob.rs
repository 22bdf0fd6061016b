mod block_list;
mod call;
mod header;
mod list;
mod refusal;
mod response;
mod xml;

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::{Bytes, BytesMut};
use http::header::{
    ACCEPT_RANGES, AUTHORIZATION, CONTENT_LENGTH, CONTENT_RANGE, ETAG, LAST_MODIFIED, WWW_AUTHENTICATE,
};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use percent_encoding::percent_decode_str;

use self::block_list::{Place, block_list};
use self::call::{Call, md5_of};
use self::header::set;
use self::list::{Item, LISTED_CONTAINER_PROPERTIES, LISTED_PROPERTIES, Page};
use self::refusal::Refusal;
use self::response::respond;
use self::xml::element;
use super::bearer::{BearerError, BearerVerifier};
use super::clock::Clock;
use super::guid::Guid;
use super::server::Service;

/// A storage account's containers and block blobs, in memory, at `/{account}` (path style, as Azurite).
///
/// It does what the official client does to upload, download, list and delete: whole blobs and block lists, ranges,
/// `ETag` and date conditions, MD5 checks, pages of containers and blobs. What it does not do (leases, snapshots,
/// tags, customer keys, page and append blobs, ..) it refuses with 501 instead of passing over it in silence.
/// Permissions are not modelled: whoever brings a valid token may do everything. The names of metadata come back in
/// lower case.
///
/// Source: Blob service REST reference, versions 2017-11-09 (the first with bearer tokens) to 2026-04-06.
pub(super) struct BlobAccount {
    verifier: BearerVerifier,
    clock: Clock,
    name: String,
    state: Mutex<State>,
}

impl BlobAccount {
    /// An empty account that takes the tokens that `verifier` finds right.
    pub(super) fn new(verifier: BearerVerifier, clock: Clock, account: &str) -> Self {
        Self {
            verifier,
            clock,
            name: account.to_owned(),
            state: Mutex::default(),
        }
    }

    /// The answer to one request: the token is looked at before anything else, as by the real service.
    fn answer(&self, request: &Request<Bytes>) -> Result<Response<Bytes>, Refusal> {
        self.authenticate(request.headers())?;
        let call = Call::of(request);
        call.refuse_what_is_missing_here()?;
        let mut path = request.uri().path().trim_start_matches('/').splitn(3, '/');
        if path.next() != Some(&self.name) {
            return Err(Refusal::not_found(
                "ResourceNotFound",
                "The specified resource does not exist.",
            ));
        }
        let mut names = path.map(|part| percent_decode_str(part).decode_utf8_lossy().into_owned());
        let container = names.next().filter(|name| !name.is_empty());
        let blob = names.next().filter(|name| !name.is_empty());

        let now = self.clock.now();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let on_container = call.parameter("restype") == Some("container");
        match (container, blob) {
            (None, _) => state.answer(&call, &self.name),
            (Some(container), _) if !is_container_name(&container) => Err(Refusal::bad_request(
                "InvalidResourceName",
                "The specified resource name contains invalid characters.",
            )),
            (Some(container), None) if on_container => {
                state.answer_container(container, &call, now, &self.name)
            }
            (Some(container), Some(blob)) => state.answer_blob(&container, blob, &call, now),
            _ => Err(Refusal::not_implemented()),
        }
    }

    /// Whether the request brings a right token. Storage reads one only from a request that names a version of the
    /// service that knows bearer tokens.
    fn authenticate(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let version = headers
            .get(header::VERSION)
            .map_or(&[][..], HeaderValue::as_bytes);
        if headers.contains_key(AUTHORIZATION) && version < FIRST_VERSION_WITH_BEARER {
            return Err(Refusal {
                detail: Some("Authentication scheme Bearer is not supported in this version."),
                ..Refusal::new(
                    StatusCode::FORBIDDEN,
                    "AuthenticationFailed",
                    "Server failed to authenticate the request. Make sure the value of Authorization header is \
                     formed correctly including the signature.",
                )
            });
        }
        let own_audience = format!("https://{}.blob.core.windows.net", self.name);
        self.verifier
            .verify(headers, &[RESOURCE, &own_audience])
            .map_err(|error| self.challenge(error))
    }

    /// The 401 that tells a client whom to ask for a token, and for what.
    fn challenge(&self, error: BearerError) -> Refusal {
        let detail = match error {
            BearerError::Missing => None,
            BearerError::Malformed => Some("The token is not well formed."),
            BearerError::Signature => Some("Signature validation failed."),
            BearerError::Issuer => Some("Issuer validation failed. Issuer did not match."),
            BearerError::Audience => Some("Audience validation failed. Audience did not match."),
            BearerError::NotYetValid => Some("Lifetime validation failed. The token is not yet valid."),
            BearerError::Expired => Some("Lifetime validation failed. The token is expired."),
        };
        let code = match error {
            BearerError::Missing => "NoAuthenticationInformation",
            _ => "InvalidAuthenticationInfo",
        };
        let uri = self.verifier.authorization_uri();
        let challenge = format!("Bearer authorization_uri={uri}/oauth2/authorize resource_id={RESOURCE}");
        Refusal {
            detail,
            header: Some((WWW_AUTHENTICATE, challenge)),
            ..Refusal::new(
                StatusCode::UNAUTHORIZED,
                code,
                "Server failed to authenticate the request. Please refer to the information in the www-authenticate \
                 header.",
            )
        }
    }

    /// Writes what every answer carries, and takes the body from one to `HEAD`.
    fn finish(&self, request: &Request<Bytes>, answer: Result<Response<Bytes>, Refusal>) -> Response<Bytes> {
        let request_id = Guid::random().to_string();
        let time = httpdate::fmt_http_date(self.clock.now());
        let mut response = answer.unwrap_or_else(|refusal| refusal.into_response(&request_id, &time));
        if request.method() == Method::HEAD {
            let length = response.body().len();
            set(response.headers_mut(), CONTENT_LENGTH, length);
            *response.body_mut() = Bytes::new();
        }
        let headers = response.headers_mut();
        set(headers, header::REQUEST_ID, request_id);
        for echoed in [header::CLIENT_REQUEST_ID, header::VERSION] {
            if let Some(value) = request.headers().get(echoed) {
                set(headers, echoed, value);
            }
        }
        response
    }
}

#[async_trait]
impl Service for BlobAccount {
    async fn handle(&self, request: Request<Bytes>) -> Response<Bytes> {
        self.finish(&request, self.answer(&request))
    }

    fn failure(&self, status: StatusCode, request: &Request<Bytes>) -> Response<Bytes> {
        let (code, message) = match status {
            StatusCode::SERVICE_UNAVAILABLE => (
                "ServerBusy",
                "The server is currently unable to receive requests.",
            ),
            StatusCode::FORBIDDEN => (
                "AuthorizationPermissionMismatch",
                "This request is not authorized to perform this operation using this permission.",
            ),
            _ => (
                "InternalError",
                "The server encountered an internal error. Please retry the request.",
            ),
        };
        self.finish(request, Err(Refusal::new(status, code, message)))
    }
}

#[derive(Default)]
struct State {
    containers: BTreeMap<String, Container>,
    /// Counts every write, so that no two states of anything share an `ETag` even while the clock stands still.
    writes: u64,
}

impl State {
    fn answer(&self, call: &Call<'_>, account: &str) -> Result<Response<Bytes>, Refusal> {
        match (call.method, call.parameter("comp")) {
            (&Method::GET, Some("list")) => self.list(call, account),
            _ => Err(Refusal::not_implemented()),
        }
    }

    fn answer_container(
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

    fn answer_blob(
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

struct Container {
    /// What a `GET` of its properties answers, metadata and all.
    headers: HeaderMap,
    blobs: BTreeMap<String, Blob>,
    /// Blob name to block id to content.
    uncommitted: BTreeMap<String, BTreeMap<String, Bytes>>,
}

impl Container {
    fn blob(&self, name: &str) -> Result<&Blob, Refusal> {
        self.blobs
            .get(name)
            .ok_or_else(|| Refusal::not_found("BlobNotFound", "The specified blob does not exist."))
    }

    fn put_block(&mut self, blob: String, call: &Call<'_>) -> Result<Response<Bytes>, Refusal> {
        let md5 = call.checked_md5(header::CONTENT_MD5)?;
        let id = call.parameter("blockid").unwrap_or_default();
        if !BASE64
            .decode(id)
            .is_ok_and(|id| (1..=LONGEST_BLOCK_ID).contains(&id.len()))
        {
            return Err(Refusal::bad_query("blockid"));
        }
        let blocks = self.uncommitted.entry(blob).or_default();
        if blocks.keys().any(|known| known.len() != id.len()) {
            return Err(Refusal::bad_request(
                "InvalidBlobOrBlock",
                "The specified blob or block content is invalid.",
            ));
        }
        blocks.insert(id.to_owned(), call.body.clone());
        let mut answer = HeaderMap::new();
        set(&mut answer, header::REQUEST_SERVER_ENCRYPTED, "true");
        set(&mut answer, header::CONTENT_MD5, md5);
        Ok(respond(StatusCode::CREATED, answer, Bytes::new()))
    }

    fn list(&self, call: &Call<'_>, account: &str, name: &str) -> Result<Response<Bytes>, Refusal> {
        let page = Page::of(call, &self.blobs)?;
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
                    list::metadata(call, &blob.headers),
                ),
            })
            .collect();
        Ok(page.to_response(call, account, Some(name), "Blobs", &blobs))
    }
}

struct Blob {
    content: Bytes,
    /// The committed blocks in order, by id; none after a Put Blob.
    blocks: Vec<(String, Bytes)>,
    /// Base64 of the digest of the content; empty if nobody said it.
    md5: String,
    /// What every read of it answers: times, `ETag`, content settings, metadata.
    headers: HeaderMap,
}

impl Blob {
    fn new(content: Bytes, blocks: Vec<(String, Bytes)>, md5: String, mut headers: HeaderMap) -> Self {
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

    /// The whole blob (200), or the range that was asked for (206).
    fn read(&self, call: &Call<'_>) -> Result<Response<Bytes>, Refusal> {
        let mut headers = self.headers.clone();
        let range = if call.method == Method::HEAD {
            None
        } else {
            call.range()?
        };
        let Some(range) = range else {
            if !self.md5.is_empty() {
                set(&mut headers, header::CONTENT_MD5, &self.md5);
            }
            return Ok(respond(StatusCode::OK, headers, self.content.clone()));
        };
        let total = self.content.len();
        if range.start >= total {
            return Err(Refusal {
                header: Some((CONTENT_RANGE, format!("bytes */{total}"))),
                ..Refusal::new(
                    StatusCode::RANGE_NOT_SATISFIABLE,
                    "InvalidRange",
                    "The range specified is invalid for the current size of the resource.",
                )
            });
        }
        let range = range.start..range.end.min(total);
        let place = format!("bytes {}-{}/{total}", range.start, range.end.saturating_sub(1));
        set(&mut headers, CONTENT_RANGE, place);
        if !self.md5.is_empty() {
            set(&mut headers, header::BLOB_CONTENT_MD5, &self.md5);
        }
        let part = self.content.slice(range);
        if call.header(header::RANGE_GET_CONTENT_MD5) == Some("true") {
            set(&mut headers, header::CONTENT_MD5, md5_of(&part));
        }
        Ok(respond(StatusCode::PARTIAL_CONTENT, headers, part))
    }
}

/// Three to 63 lower-case letters, digits and single hyphens, none of these at an end; or one of the special ones.
fn is_container_name(name: &str) -> bool {
    let plain = (3..=63).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-')
        && !name.contains("--");
    plain || name == "$web" || name == "$root"
}

/// What a token must be for; the service also takes its own account's URL.
const RESOURCE: &str = "https://storage.azure.com";

/// Source: "Authorize with Microsoft Entra ID", "requests must use version 2017-11-09 or later".
const FIRST_VERSION_WITH_BEARER: &[u8] = b"2017-11-09";

/// Looks like the service's `ETag`s, which count ticks of 100 ns.
const FIRST_ETAG: u64 = 0x08DE_0000_0000_0000;

/// Bytes, decoded. Source: Put Block, `blockid`.
const LONGEST_BLOCK_ID: usize = 64;
