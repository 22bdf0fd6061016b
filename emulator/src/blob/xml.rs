use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use quick_xml::escape::escape;

use super::response;

/// Returns `<name>text</name>`, escaped.
pub(super) fn element(name: &str, text: &str) -> String {
    format!("<{name}>{}</{name}>", escape(text))
}

/// Returns an XML response.
pub(super) fn respond(status: StatusCode, mut headers: HeaderMap, root: &str) -> Response<Bytes> {
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    let document = format!(r#"<?xml version="1.0" encoding="utf-8"?>{root}"#);
    response::respond(status, headers, Bytes::from(document))
}
