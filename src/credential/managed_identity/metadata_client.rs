use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use azure_core::error::ErrorKind as SdkErrorKind;
use azure_core::http::headers::HeaderName;
use azure_core::http::{AsyncRawResponse, HttpClient, Request, Url};
use bytes::Bytes;

use super::bad_request::BadRequest;
use crate::env::AZURE_POD_IDENTITY_AUTHORITY_HOST;
use crate::error::Error;
use crate::exchange::ServerText;
use crate::sdk::http_client::{from_sdk_request, to_sdk_response};
use crate::token::Secret;
use crate::transport::Transport;

/// The HTTP client of the SDK's managed identity credential. Sends through a [`Transport`], and
/// replaces the host of the metadata service if another one is configured.
pub(super) struct MetadataClient {
    pub(super) transport: Arc<dyn Transport>,
    pub(super) metadata_host: Option<Url>,
}

impl MetadataClient {
    pub(super) async fn send(
        &self,
        mut request: http::Request<Bytes>,
    ) -> Result<http::Response<Bytes>, Error> {
        if let Some(host) = &self.metadata_host
            && request.uri().host() == Some(METADATA_HOST)
        {
            let path = request
                .uri()
                .path_and_query()
                .map_or("/", http::uri::PathAndQuery::as_str);
            let uri = format!("{}{path}", host.as_str().trim_end_matches('/'));
            *request.uri_mut() = uri.parse().map_err(|error: http::uri::InvalidUri| {
                Error::configuration(format!(
                    "{AZURE_POD_IDENTITY_AUTHORITY_HOST} is not a URL; it looks like http://host"
                ))
                .with_source(error)
            })?;
        }
        self.transport.send(request).await
    }
}

#[async_trait]
impl HttpClient for MetadataClient {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        let mut response = tokio::time::timeout(ATTEMPT_TIMEOUT, self.send(from_sdk_request(request)?))
            .await
            .unwrap_or_else(|_| {
                Err(Error::transport(format!(
                    "no response within {ATTEMPT_TIMEOUT:?}"
                )))
            })
            .map_err(|error| azure_core::Error::new(SdkErrorKind::Io, error))?;
        // The SDK logs headers, and uses only the number of seconds or milliseconds to wait.
        let names: Vec<_> = response.headers().keys().cloned().collect();
        for name in names {
            let is_number =
                |value: &http::HeaderValue| value.to_str().is_ok_and(|value| value.parse::<u32>().is_ok());
            if !response.headers().get(&name).is_some_and(is_number) {
                response.headers_mut().remove(&name);
            }
        }
        let secret = request.headers().get_optional_str(&IDENTITY_HEADER);
        let secret = Secret::from(secret.unwrap_or_default());
        // The SDK takes every 400 for a missing identity and hides the reason.
        if response.status() == http::StatusCode::BAD_REQUEST {
            let reason = BadRequest::read(response.body(), &secret);
            return Err(azure_core::Error::new(SdkErrorKind::Credential, reason));
        }
        // The SDK quotes the body in its error.
        if !response.status().is_success() {
            let text = ServerText::new(&String::from_utf8_lossy(response.body()), &secret);
            *response.body_mut() = text.map(|text| text.to_string().into()).unwrap_or_default();
        }
        Ok(to_sdk_response(response))
    }
}

impl fmt::Debug for MetadataClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetadataClient")
            .field("transport", &self.transport)
            .finish_non_exhaustive()
    }
}

/// The link-local address of Azure's metadata service. Source: Microsoft, "How to use managed
/// identities for Azure resources on an Azure VM to acquire an access token".
const METADATA_HOST: &str = "169.254.169.254";

/// Carries the secret of App Service, Functions and Container Apps.
const IDENTITY_HEADER: HeaderName = HeaderName::from_static("x-identity-header");

/// The limit of one attempt, after which the SDK retries. Source: `DEFAULT_READ_TIMEOUT` of the default client
/// of `azure_core` 1.1, and `TryTimeout` of the Azure SDK for Go, `managed_identity_client.go`.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(60);
