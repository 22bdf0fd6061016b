use std::ops::Range;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http::header::{
    AUTHORIZATION, AsHeaderName, CONTENT_TYPE, ETAG, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH,
    IF_UNMODIFIED_SINCE, LAST_MODIFIED, RANGE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use md5::{Digest, Md5};
use url::form_urlencoded;

use super::error_response::ErrorResponse;
use super::header::{self, METADATA_PREFIX};
use crate::permissions::Action;
use crate::time::is_plausible_version;

/// A parsed request.
pub(super) struct BlobRequest<'a> {
    pub(super) method: &'a Method,
    pub(super) headers: &'a HeaderMap,
    pub(super) body: &'a Bytes,
    query: Vec<(String, String)>,
}

impl<'a> BlobRequest<'a> {
    pub(super) fn parse(request: &'a Request<Bytes>) -> Self {
        let query = request.uri().query().unwrap_or_default();
        Self {
            method: request.method(),
            headers: request.headers(),
            body: request.body(),
            query: form_urlencoded::parse(query.as_bytes()).into_owned().collect(),
        }
    }

    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.query
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    pub(super) fn header(&self, name: impl AsHeaderName) -> Option<&'a str> {
        self.headers.get(name)?.to_str().ok()
    }

    pub(super) fn includes(&self, what: &str) -> bool {
        self.parameter("include")
            .is_some_and(|include| include.split(',').any(|it| it == what))
    }

    /// Rejects credentials that the real service takes and this one does not.
    pub(super) fn reject_other_credentials(&self) -> Result<(), ErrorResponse> {
        let scheme = self
            .header(AUTHORIZATION)
            .and_then(|value| value.split(' ').next());
        if self.parameter("sig").is_some() || scheme.is_some_and(|scheme| scheme.starts_with("SharedKey")) {
            return Err(ErrorResponse::other_credentials());
        }
        Ok(())
    }

    /// Checks that the version of the service is a date.
    pub(super) fn check_version(&self) -> Result<(), ErrorResponse> {
        let version = self.header(header::VERSION).unwrap_or_default();
        is_plausible_version(version).then_some(()).ok_or_else(|| {
            ErrorResponse::bad_request(
                "InvalidHeaderValue",
                "The value for one of the HTTP headers is not in the correct format.",
            )
        })
    }

    /// What the request does, for the roles of its caller.
    pub(super) fn action(&self) -> Action {
        let reads = matches!(*self.method, Method::GET | Method::HEAD);
        // All three roles may ask for a key, which carries no permission of its own.
        if reads || self.parameter("comp") == Some("userdelegationkey") {
            Action::ReadBlob
        } else {
            Action::WriteBlob
        }
    }

    /// Returns the URL of the blob that the request copies as a whole.
    pub(super) fn copied_url(&self) -> Option<&'a str> {
        let is_whole = *self.method == Method::PUT && self.parameter("comp").is_none();
        self.header(header::COPY_SOURCE).filter(|_| is_whole)
    }

    pub(super) fn has_content_settings(&self) -> bool {
        CONTENT_SETTINGS
            .iter()
            .any(|(name, _)| self.headers.contains_key(*name))
    }

    /// Returns the access tier of a write.
    pub(super) fn tier(&self) -> Result<Option<&'a str>, ErrorResponse> {
        let tier = self.header(header::ACCESS_TIER);
        if tier.is_some_and(|tier| !["Hot", "Cool", "Cold", "Archive"].contains(&tier)) {
            return Err(ErrorResponse::bad_request(
                "InvalidHeaderValue",
                "The value for one of the HTTP headers is not in the correct format.",
            ));
        }
        Ok(tier)
    }

    /// Rejects headers and parameters that change the meaning of a request and are not supported.
    pub(super) fn reject_unsupported(&self) -> Result<(), ErrorResponse> {
        let header = UNSUPPORTED_HEADERS
            .iter()
            .any(|name| self.headers.contains_key(*name));
        let parameter = UNSUPPORTED_PARAMETERS
            .iter()
            .any(|name| self.parameter(name).is_some());
        // There are no snapshots, and the blob must not be deleted in their place.
        let header = header || self.header("x-ms-delete-snapshots") == Some("only");
        if header || parameter || self.includes("uncommittedblobs") {
            return Err(ErrorResponse::not_implemented());
        }
        Ok(())
    }

    // Names are in lower case: hyper shows their original case to no service.
    pub(super) fn metadata(&self) -> HeaderMap {
        self.headers
            .iter()
            .filter(|(name, _)| name.as_str().starts_with(METADATA_PREFIX))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    }

    /// Returns the metadata and content settings of a new blob.
    ///
    /// * `body_is_content`: whether the standard headers (`Content-Type`) describe the blob too.
    pub(super) fn blob_headers(&self, body_is_content: bool) -> HeaderMap {
        let mut headers = self.metadata();
        for (blob_header, plain) in CONTENT_SETTINGS {
            let own = self.headers.get(*blob_header);
            let value = own.or_else(|| self.headers.get(*plain).filter(|_| body_is_content));
            headers.extend(
                value
                    .cloned()
                    .map(|value| (HeaderName::from_static(plain), value)),
            );
        }
        headers
            .entry(CONTENT_TYPE)
            .or_insert(HeaderValue::from_static("application/octet-stream"));
        headers
    }

    /// Returns the base64 MD5 of the body, after comparing it with the header `name` if present.
    pub(super) fn checked_md5(&self, name: &str) -> Result<String, ErrorResponse> {
        let digest = md5_base64(self.body);
        match self.header(name) {
            None => Ok(digest),
            Some(claimed) if claimed == digest => Ok(digest),
            Some(claimed) if BASE64.decode(claimed).is_ok_and(|it| it.len() == 16) => {
                Err(ErrorResponse::bad_request(
                    "Md5Mismatch",
                    "The MD5 value specified in the request did not match with the MD5 value calculated by the server.",
                ))
            }
            Some(_) => Err(ErrorResponse::bad_request(
                "InvalidMd5",
                "The MD5 value specified in the request is invalid. MD5 value must be 128 bits and base64 encoded.",
            )),
        }
    }

    /// Checks `If-Match`, `If-None-Match` and the date conditions. The error is 304 for reads of an
    /// unchanged blob, and otherwise 412 or 409.
    ///
    /// * `headers`: the headers of the existing blob, if any.
    pub(super) fn check_conditions(&self, headers: Option<&HeaderMap>) -> Result<(), ErrorResponse> {
        let reads = matches!(*self.method, Method::GET | Method::HEAD);
        let own = |name| headers?.get(name)?.to_str().ok();
        let (etag, modified) = (
            own(ETAG),
            own(LAST_MODIFIED).and_then(|it| httpdate::parse_http_date(it).ok()),
        );
        let matches_etag = |condition: &str| {
            etag.is_some_and(|etag| condition == "*" || unquoted(condition) == unquoted(etag))
        };
        let date = |name: HeaderName| {
            self.header(name)
                .and_then(|value| httpdate::parse_http_date(value).ok())
        };
        if self
            .header(IF_MATCH)
            .is_some_and(|condition| !matches_etag(condition))
            || date(IF_UNMODIFIED_SINCE).is_some_and(|date| modified.is_some_and(|modified| modified > date))
        {
            return Err(ErrorResponse::condition_not_met());
        }
        if let Some(condition) = self
            .header(IF_NONE_MATCH)
            .filter(|condition| matches_etag(condition))
        {
            return Err(match condition {
                _ if reads => ErrorResponse::not_modified(),
                "*" => ErrorResponse::blob_already_exists(),
                _ => ErrorResponse::condition_not_met(),
            });
        }
        if date(IF_MODIFIED_SINCE).is_some_and(|date| modified.is_some_and(|modified| modified <= date)) {
            return Err(if reads {
                ErrorResponse::not_modified()
            } else {
                ErrorResponse::condition_not_met()
            });
        }
        Ok(())
    }

    /// Returns the requested range; its end may be past the end of the blob. `x-ms-range` overrides
    /// `Range`. As in HTTP, an invalid or unsupported `Range` is ignored.
    pub(super) fn range(&self) -> Result<Option<Range<usize>>, ErrorResponse> {
        let parse = |text: &str| {
            let (start, end) = text.strip_prefix("bytes=")?.split_once('-')?;
            let start: usize = start.parse().ok()?;
            let end = if end.is_empty() {
                usize::MAX
            } else {
                end.parse::<usize>().ok()?.saturating_add(1)
            };
            (start < end).then_some(start..end)
        };
        match self.header(header::MS_RANGE) {
            None => Ok(self.header(RANGE).and_then(parse)),
            Some(range) => parse(range).map(Some).ok_or_else(|| {
                ErrorResponse::bad_request(
                    "InvalidHeaderValue",
                    "The value for one of the HTTP headers is not in the correct format.",
                )
            }),
        }
    }
}

fn unquoted(etag: &str) -> &str {
    etag.trim_start_matches("W/").trim_matches('"')
}

/// Returns the base64 MD5 of `content`.
pub(super) fn md5_base64(content: &[u8]) -> String {
    BASE64.encode(Md5::digest(content))
}

/// Headers that change the meaning of a request and are not supported.
const UNSUPPORTED_HEADERS: &[&str] = &[
    "x-ms-blob-public-access",
    "x-ms-content-crc64",
    "x-ms-source-if-match",
    "x-ms-source-if-modified-since",
    "x-ms-source-if-none-match",
    "x-ms-source-if-unmodified-since",
    "x-ms-encryption-algorithm",
    "x-ms-encryption-key",
    "x-ms-encryption-scope",
    "x-ms-if-tags",
    "x-ms-immutability-policy-until-date",
    "x-ms-lease-id",
    "x-ms-legal-hold",
    "x-ms-range-get-content-crc64",
    "x-ms-structured-body",
    "x-ms-tags",
];
const UNSUPPORTED_PARAMETERS: &[&str] = &["snapshot", "startFrom", "versionid"];

/// The content settings of a write, and the standard headers that return them in a read.
pub(super) const CONTENT_SETTINGS: &[(&str, &str)] = &[
    ("x-ms-blob-content-type", "content-type"),
    ("x-ms-blob-content-encoding", "content-encoding"),
    ("x-ms-blob-content-language", "content-language"),
    ("x-ms-blob-content-disposition", "content-disposition"),
    ("x-ms-blob-cache-control", "cache-control"),
];
