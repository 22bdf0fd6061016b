//! The official Azure SDK, `azure_core` 1.x: every credential is a `TokenCredential`, and an SDK `HttpClient` can be a transport.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use azure_core::credentials::{AccessToken, TokenCredential, TokenRequestOptions};
use azure_core::http::{HttpClient, Method, Request, Url};
use azure_core::time::OffsetDateTime;
use bytes::{Bytes, BytesMut};
use futures_util::TryStreamExt;

use crate::cache::Cache;
use crate::credential::{ClientAssertionCredential, WorkloadIdentityCredential};
use crate::error::Error;
use crate::token::TokenRequest;
use crate::transport::Transport;

macro_rules! token_credential {
    ($($credential:ident),*) => {$(
        /// The token's expiry is reported as at most 5 minutes after its next refresh is due: SDK clients keep a token of their own
        /// and come back 5 minutes before the reported expiry, just when the refresh can begin, and long before the old token
        /// is of no use.
        #[async_trait]
        impl TokenCredential for $credential {
            async fn get_token(
                &self,
                scopes: &[&str],
                _options: Option<TokenRequestOptions<'_>>,
            ) -> azure_core::Result<AccessToken> {
                get_token(&self.cache, scopes).await
            }
        }
    )*};
}

token_credential!(ClientAssertionCredential, WorkloadIdentityCredential);

async fn get_token(cache: &Cache, scopes: &[&str]) -> azure_core::Result<AccessToken> {
    match cache.token(&TokenRequest::new(scopes)).await {
        Ok(token) => Ok(reported(&token)),
        Err(error) => Err(azure_core::Error::new(
            azure_core::error::ErrorKind::Credential,
            error,
        )),
    }
}

fn reported(token: &crate::AccessToken) -> AccessToken {
    let come_back = token
        .refresh_on()
        .checked_add(SDK_REFRESH_WINDOW)
        .unwrap_or(token.refresh_on());
    AccessToken::new(
        token.secret().to_owned(),
        offset(token.expires_on().min(come_back)),
    )
}

fn offset(time: SystemTime) -> OffsetDateTime {
    time.into()
}

/// Lets the SDK's own [`HttpClient`] send the token requests, so that a program needs only one HTTP client.
///
/// The client must not follow redirects; those that `azure_core` makes do not.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
///
/// use azure_core::http::HttpClient;
/// use entra_workload::{SdkTransport, WorkloadIdentityCredential};
///
/// fn build(client: Arc<dyn HttpClient>) -> Result<Arc<WorkloadIdentityCredential>, entra_workload::Error> {
///     WorkloadIdentityCredential::builder().transport(SdkTransport::new(client)).build()
/// }
/// ```
pub struct SdkTransport(Arc<dyn HttpClient>);

impl SdkTransport {
    /// Sends by `client`.
    pub fn new(client: Arc<dyn HttpClient>) -> Self {
        Self(client)
    }
}

#[async_trait]
impl Transport for SdkTransport {
    async fn send(&self, request: http::Request<Bytes>) -> Result<http::Response<Bytes>, Error> {
        let host = request.uri().host().unwrap_or_default().to_owned();
        let request = sdk_request(request)?;
        let no_answer = || format!("{host} gave no whole answer to the SDK's HTTP client");
        let response = self
            .0
            .execute_request(&request)
            .await
            .map_err(|error| Error::transport(no_answer()).with_source(error))?;
        let (status, headers, mut body) = response.deconstruct();
        let no_http = |error: http::Error| {
            Error::protocol(format!("{host} answered with what is no HTTP")).with_source(error)
        };
        let status = http::StatusCode::from_u16(status.into()).map_err(|error| no_http(error.into()))?;
        let mut answer = http::Response::builder().status(status);
        for (name, value) in headers.iter() {
            answer = answer.header(name.as_str(), value.as_str());
        }
        let mut bytes = BytesMut::new();
        while let Some(chunk) = body
            .try_next()
            .await
            .map_err(|error| Error::transport(no_answer()).with_source(error))?
        {
            if bytes.len() + chunk.len() > MAX_BODY {
                return Err(
                    Error::protocol(format!("{host} answered with more than 256 KiB")).with_status(status)
                );
            }
            bytes.extend_from_slice(&chunk);
        }
        answer.body(bytes.freeze()).map_err(no_http)
    }
}

impl fmt::Debug for SdkTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SdkTransport").field(&self.0).finish()
    }
}

fn sdk_request(request: http::Request<Bytes>) -> Result<Request, Error> {
    let refuse = |what: &str| Error::configuration(format!("the SDK's HTTP client takes no such {what}"));
    let (head, body) = request.into_parts();
    let url = Url::parse(&head.uri.to_string()).map_err(|error| refuse("URL").with_source(error))?;
    let method =
        Method::from_str(head.method.as_str()).map_err(|error| refuse("method").with_source(error))?;
    let mut sdk = Request::new(url, method);
    for (name, value) in &head.headers {
        let value = value
            .to_str()
            .map_err(|error| refuse("header").with_source(error))?;
        sdk.insert_header(name.as_str().to_owned(), value.to_owned());
    }
    sdk.set_body(body);
    Ok(sdk)
}

/// SDK clients ask their credential again 5 minutes before the reported expiry. Source: `azure_core` 1.1,
/// `BearerTokenAuthorizationPolicy`.
const SDK_REFRESH_WINDOW: Duration = Duration::from_secs(300);

/// As in [`HttpTransport`](crate::HttpTransport).
const MAX_BODY: usize = 256 * 1024;
