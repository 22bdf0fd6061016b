use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http::header::HOST;
use http::{HeaderMap, Response, StatusCode};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use quick_xml::escape::escape;

use super::error_response::ErrorResponse;
use super::header::METADATA_PREFIX;
use super::request::BlobRequest;
use super::xml::{self, element};
use crate::public_host::PublicHost;

/// A page of a list. The marker, opaque to clients, is the base64 of the first name of the next
/// page.
pub(super) struct Page<'i, T> {
    pub(super) items: Vec<Item<'i, T>>,
    next_marker: String,
}

pub(super) enum Item<'i, T> {
    Entry(&'i str, &'i T),
    Prefix(String),
}

impl<'i, T> Page<'i, T> {
    /// Selects a page of `items` by the parameters `marker`, `maxresults`, `prefix` and
    /// `delimiter`.
    pub(super) fn select(
        request: &BlobRequest<'_>,
        items: &'i BTreeMap<String, T>,
    ) -> Result<Self, ErrorResponse> {
        let size = match request.parameter("maxresults").map(str::parse::<usize>) {
            None => LARGEST_PAGE,
            Some(Ok(size)) if size > 0 => size.min(LARGEST_PAGE),
            Some(_) => return Err(ErrorResponse::bad_query("maxresults")),
        };
        let start = match request.parameter("marker").filter(|marker| !marker.is_empty()) {
            None => String::new(),
            Some(marker) => BASE64
                .decode(marker)
                .ok()
                .and_then(|name| String::from_utf8(name).ok())
                .ok_or_else(|| ErrorResponse::bad_query("marker"))?,
        };
        let prefix = request.parameter("prefix").unwrap_or_default();
        let delimiter = request
            .parameter("delimiter")
            .filter(|delimiter| !delimiter.is_empty());
        let mut page = Page {
            items: Vec::new(),
            next_marker: String::new(),
        };
        for (name, value) in items.range(start..) {
            let Some(rest) = name.strip_prefix(prefix) else {
                continue;
            };
            let group = delimiter.and_then(|it| Some(format!("{prefix}{}{it}", rest.split_once(it)?.0)));
            if let (Some(group), Some(Item::Prefix(last))) = (&group, page.items.last())
                && group == last
            {
                continue;
            }
            if page.items.len() == size {
                page.next_marker = BASE64.encode(name);
                break;
            }
            page.items
                .push(group.map_or(Item::Entry(name, value), Item::Prefix));
        }
        Ok(page)
    }

    /// Returns the response.
    ///
    /// * `container`: the container of the blobs; `None` for a list of containers.
    /// * `list`: the name of the element around `items`.
    /// * `items`: XML elements.
    pub(super) fn to_response(
        &self,
        request: &BlobRequest<'_>,
        account: &str,
        container: Option<&str>,
        list: &str,
        items: &str,
    ) -> Response<Bytes> {
        let host = request.header(HOST).unwrap_or("localhost");
        let echoed: String = [
            ("prefix", "Prefix"),
            ("marker", "Marker"),
            ("maxresults", "MaxResults"),
            ("delimiter", "Delimiter"),
        ]
        .into_iter()
        .filter_map(|(parameter, name)| Some(element(name, request.parameter(parameter)?)))
        .collect();
        let container = container.map(|name| format!(" ContainerName=\"{}\"", escape(name)));
        // Behind a host name, the URL has no account.
        let is_public = PublicHost::parse(host).is_some();
        let account = if is_public {
            String::new()
        } else {
            format!("{account}/")
        };
        let root = format!(
            "<EnumerationResults ServiceEndpoint=\"https://{}/{account}\"{}>{echoed}<{list}>{items}</{list}>{}\
             </EnumerationResults>",
            escape(host),
            container.unwrap_or_default(),
            element("NextMarker", &self.next_marker),
        );
        xml::respond(StatusCode::OK, HeaderMap::new(), &root)
    }
}

/// Returns the name of a blob as an element. A name with characters that are invalid in XML is
/// percent-encoded and marked as encoded.
pub(super) fn blob_name(name: &str) -> String {
    if name
        .chars()
        .any(|c| matches!(c, '\0'..'\u{20}' | '\u{fffe}' | '\u{ffff}'))
    {
        return format!(
            "<Name Encoded=\"true\">{}</Name>",
            utf8_percent_encode(name, NON_ALPHANUMERIC)
        );
    }
    element("Name", name)
}

/// Returns the `listed` headers as elements.
pub(super) fn properties(headers: &HeaderMap, listed: &[(&str, &str)]) -> String {
    listed
        .iter()
        .filter_map(|(header, name)| {
            Some(element(
                name,
                headers.get(*header)?.to_str().ok()?.trim_matches('"'),
            ))
        })
        .collect()
}

/// Returns the metadata headers as one element, if `request` includes metadata.
pub(super) fn metadata(request: &BlobRequest<'_>, headers: &HeaderMap) -> String {
    if !request.includes("metadata") {
        return String::new();
    }
    let pairs: String = headers
        .iter()
        .filter_map(|(name, value)| {
            Some(element(
                name.as_str().strip_prefix(METADATA_PREFIX)?,
                value.to_str().ok()?,
            ))
        })
        .collect();
    format!("<Metadata>{pairs}</Metadata>")
}

/// Source: List Blobs and List Containers, `maxresults`: "The server will return up to 5,000
/// items."
const LARGEST_PAGE: usize = 5000;

/// The headers in the properties of a list, and the names of their elements.
pub(super) const LISTED_PROPERTIES: &[(&str, &str)] = &[
    ("x-ms-creation-time", "Creation-Time"),
    ("last-modified", "Last-Modified"),
    ("etag", "Etag"),
    ("content-type", "Content-Type"),
    ("content-encoding", "Content-Encoding"),
    ("content-language", "Content-Language"),
    ("cache-control", "Cache-Control"),
    ("content-disposition", "Content-Disposition"),
];
pub(super) const LISTED_CONTAINER_PROPERTIES: &[(&str, &str)] = &[
    ("last-modified", "Last-Modified"),
    ("etag", "Etag"),
    ("x-ms-lease-status", "LeaseStatus"),
    ("x-ms-lease-state", "LeaseState"),
];
