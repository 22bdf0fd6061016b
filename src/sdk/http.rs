//! Requests to an HTTP client of the SDK, and its responses.

use std::str::FromStr;

use azure_core::http::{AsyncRawResponse, Method, Request, Url};
use bytes::{Bytes, BytesMut};
use futures_util::TryStreamExt;

use crate::error::Error;
use crate::transport::MAX_BODY;

pub(crate) fn to_sdk_request(request: http::Request<Bytes>) -> Result<Request, Error> {
    let unsupported =
        |what: &str| Error::configuration(format!("unsupported {what} for the SDK's HTTP client"));
    let (head, body) = request.into_parts();
    let url = Url::parse(&head.uri.to_string()).map_err(|error| unsupported("URL").with_source(error))?;
    let method =
        Method::from_str(head.method.as_str()).map_err(|error| unsupported("method").with_source(error))?;
    let mut sdk = Request::new(url, method);
    for (name, value) in &head.headers {
        let value = value
            .to_str()
            .map_err(|error| unsupported("header").with_source(error))?;
        sdk.insert_header(name.as_str().to_owned(), value.to_owned());
    }
    sdk.set_body(body);
    Ok(sdk)
}

/// Reads a response to its end.
///
/// * `host`: for messages.
pub(crate) async fn from_sdk_response(
    response: AsyncRawResponse,
    host: &str,
) -> Result<http::Response<Bytes>, Error> {
    let (status, headers, mut body) = response.deconstruct();
    let invalid = |error: http::Error| {
        Error::protocol(format!("{host} returned an invalid HTTP response")).with_source(error)
    };
    let status = http::StatusCode::from_u16(status.into()).map_err(|error| invalid(error.into()))?;
    let mut response = http::Response::builder().status(status);
    for (name, value) in headers.iter() {
        response = response.header(name.as_str(), value.as_str());
    }
    let mut bytes = BytesMut::new();
    while let Some(chunk) = body.try_next().await.map_err(|error| incomplete(host, error))? {
        if bytes.len() + chunk.len() > MAX_BODY {
            let too_long = Error::protocol(format!("{host} returned more than 256 KiB"));
            return Err(too_long.with_status(status));
        }
        bytes.extend_from_slice(&chunk);
    }
    response.body(bytes.freeze()).map_err(invalid)
}

/// The error of an HTTP client of the SDK that received no complete response.
pub(crate) fn incomplete(host: &str, error: azure_core::Error) -> Error {
    Error::transport(format!(
        "the SDK's HTTP client received no complete response from {host}"
    ))
    .with_source(error)
}
