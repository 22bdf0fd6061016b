use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use azure_core::error::ErrorKind as SdkErrorKind;
use azure_core::http::headers::HeaderName;
use azure_core::http::{AsyncRawResponse, HttpClient, Request, Url};
use bytes::Bytes;
use http::StatusCode;
use serde::de::IgnoredAny;

use super::reason::Reason;
use crate::clock::Clock;
use crate::env::AZURE_POD_IDENTITY_AUTHORITY_HOST;
use crate::error::{Error, ErrorKind};
use crate::sdk;
use crate::sdk::http_client::{from_sdk_request, to_sdk_response};
use crate::token::Secret;
use crate::transport::{Transport, retry_after};

/// The HTTP client of the SDK's managed identity credential. Sends through a [`Transport`], and
/// replaces the host of the metadata service if another one is configured.
///
/// Its errors are of kinds that the SDK does not retry, so that this crate obeys the pause that the service
/// asks for.
pub(super) struct MetadataClient {
    pub(super) transport: Arc<dyn Transport>,
    pub(super) metadata_host: Option<Url>,
    pub(super) clock: Arc<dyn Clock>,
}

/// A response without a token. The SDK logs its text.
#[derive(Debug, thiserror::Error)]
#[error("the managed identity endpoint responded with status {}", status.as_u16())]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) retry_after: Option<Duration>,
    pub(super) reason: Reason,
    /// Whether another cloud's metadata service, a proxy or a captive portal has responded.
    pub(super) is_foreign: bool,
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
        let sent = tokio::time::timeout(ATTEMPT_TIMEOUT, self.send(from_sdk_request(request)?));
        let response = sent.await.unwrap_or_else(|_| {
            Err(Error::transport(format!(
                "no response within {ATTEMPT_TIMEOUT:?}"
            )))
        });
        let mut response = response.map_err(|error| match error.kind() {
            ErrorKind::Transport if error.status().is_none() => sdk::error::to_sdk(
                Error::transport("the managed identity endpoint did not respond")
                    .with_retry_after(error.retry_after())
                    .with_source(error),
            ),
            _ => sdk::error::to_sdk(error),
        })?;
        if response.status().is_success() {
            // The SDK logs them.
            response.headers_mut().clear();
            return Ok(to_sdk_response(response));
        }
        let secret = request.headers().get_optional_str(&IDENTITY_HEADER);
        let secret = Secret::from(secret.unwrap_or_default());
        let now = self.clock.now().system_time;
        // The SDK takes every 400 for a missing identity and hides the reason; in other errors, it quotes the body.
        let refusal = Refusal {
            status: response.status(),
            retry_after: retry_after::parse(response.headers(), now),
            reason: Reason::read(response.body(), &secret),
            is_foreign: is_foreign(response.status(), response.body()),
        };
        Err(azure_core::Error::new(SdkErrorKind::Credential, refusal))
    }
}

impl fmt::Debug for MetadataClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetadataClient")
            .field("transport", &self.transport)
            .finish_non_exhaustive()
    }
}

/// The errors of Azure's metadata service are JSON. Those that may be temporary can come from something in
/// front of it, and be empty.
fn is_foreign(status: StatusCode, body: &[u8]) -> bool {
    let is_temporary = status.is_server_error()
        || matches!(
            status,
            StatusCode::REQUEST_TIMEOUT | StatusCode::GONE | StatusCode::TOO_MANY_REQUESTS
        );
    let is_json = || serde_json::from_slice::<IgnoredAny>(body).is_ok();
    status.is_redirection() || !(is_temporary || body.is_empty() || is_json())
}

/// The link-local address of Azure's metadata service. Source: Microsoft, "How to use managed
/// identities for Azure resources on an Azure VM to acquire an access token".
const METADATA_HOST: &str = "169.254.169.254";

/// Carries the secret of App Service, Functions and Container Apps.
const IDENTITY_HEADER: HeaderName = HeaderName::from_static("x-identity-header");

/// The limit of one attempt. Source: `DEFAULT_READ_TIMEOUT` of the default client
/// of `azure_core` 1.1, and `TryTimeout` of the Azure SDK for Go, `managed_identity_client.go`.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(60);
