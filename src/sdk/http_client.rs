//! Requests of the SDK to an HTTP client of this crate, and the responses to them.

use azure_core::error::ErrorKind as SdkErrorKind;
use azure_core::http::headers::Headers;
use azure_core::http::{AsyncRawResponse, Body, Request};
use bytes::Bytes;

/// All headers are marked sensitive: one of them may be the secret of a managed identity's host.
pub(crate) fn from_sdk_request(request: &Request) -> azure_core::Result<http::Request<Bytes>> {
    let unsupported = |error: http::Error| azure_core::Error::new(SdkErrorKind::Other, error);
    let mut head = http::Request::builder()
        .method(request.method().as_ref())
        .uri(request.url().as_str());
    for (name, value) in request.headers().iter() {
        let mut value =
            http::HeaderValue::from_str(value.as_str()).map_err(|error| unsupported(error.into()))?;
        value.set_sensitive(true);
        head = head.header(name.as_str(), value);
    }
    let body = match request.body() {
        Body::Bytes(body) => body.clone(),
        Body::SeekableStream(_) => Bytes::new(),
    };
    head.body(body).map_err(unsupported)
}

/// Headers that are not text are left out.
pub(crate) fn to_sdk_response(response: http::Response<Bytes>) -> AsyncRawResponse {
    let (head, body) = response.into_parts();
    let mut headers = Headers::new();
    for (name, value) in &head.headers {
        if let Ok(value) = value.to_str() {
            headers.insert(name.as_str().to_owned(), value.to_owned());
        }
    }
    AsyncRawResponse::from_bytes(head.status.as_u16().into(), headers, body)
}
