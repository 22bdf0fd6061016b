//! The official Azure SDK, `azure_core` 1.x: every credential is a `TokenCredential`, a `TokenCredential` of others can be a
//! link of a chain, and an SDK `HttpClient` can be a transport.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use azure_core::credentials::{AccessToken as SdkToken, TokenCredential, TokenRequestOptions};
use azure_core::error::ErrorKind as SdkErrorKind;
use azure_core::http::{HttpClient, Method, Request, Url};
use azure_core::time::OffsetDateTime;
use bytes::{Bytes, BytesMut};
use futures_util::TryStreamExt;

use crate::cache::Cache;
use crate::clock::{Clock, SystemClock};
use crate::credential::{Credential, official, token_methods};
use crate::error::{Error, ErrorKind};
use crate::exchange::{Grant, TokenSource, Urgency};
use crate::token::{AccessToken, TokenRequest};
use crate::transport::Transport;

macro_rules! token_credential {
    ($($(#[$condition:meta])* $credential:ty),* $(,)?) => {$(
        $(#[$condition])*
        /// The token's expiry is reported as at most 5 minutes after its next refresh is due: SDK clients keep a token of their own
        /// and come back 5 minutes before the reported expiry, just when the refresh can begin, and long before the old token
        /// is of no use.
        #[async_trait]
        impl TokenCredential for $credential {
            async fn get_token(
                &self,
                scopes: &[&str],
                _options: Option<TokenRequestOptions<'_>>,
            ) -> azure_core::Result<SdkToken> {
                let request = TokenRequest::new(scopes);
                let token = match Credential::cached(self, &request) {
                    Some(token) => token,
                    None => Credential::token_for(self, &request)
                        .await
                        .map_err(|error| azure_core::Error::new(SdkErrorKind::Credential, error))?,
                };
                Ok(reported(&token))
            }
        }
    )*};
}

super::for_all_credentials!(token_credential);

#[inline(always)]
#[expect(
    clippy::inline_always,
    reason = "a call copies its result once more, a tenth of a cached get_token"
)]
fn reported(token: &AccessToken) -> SdkToken {
    let (expires_on, refresh_on) = token.since_1970();
    let expires_on = expires_on.min(refresh_on.saturating_add(SDK_REFRESH_WINDOW));
    SdkToken::new(
        token.secret().to_owned(),
        date(expires_on).unwrap_or(OffsetDateTime::UNIX_EPOCH),
    )
}

/// Much cheaper than the conversion from a `SystemTime`, which calculates with two time spans.
fn date(since_1970: Duration) -> Option<OffsetDateTime> {
    let seconds = i64::try_from(since_1970.as_secs()).ok()?;
    let date = OffsetDateTime::from_unix_timestamp(seconds).ok()?;
    date.replace_nanosecond(since_1970.subsec_nanos()).ok()
}

/// A credential of the SDK, or of another crate that implements the SDK's trait, as a link of a chain or as a credential of
/// this crate: with its cache, which refreshes behind its callers.
///
/// The SDK's errors do not tell "not set up here" from "failed", so every one of them stops a chain, as
/// [`ErrorKind::Rejected`]; only an [`Error`] of this crate among the causes keeps its kind.
///
/// # Examples
///
/// ```no_run
/// use entra_workload::{ChainedTokenCredential, SdkCredential, WorkloadIdentityCredential};
///
/// # fn f() -> Result<(), Box<dyn std::error::Error>> {
/// let developer = azure_identity::DeveloperToolsCredential::new(None)?;
/// let credential = ChainedTokenCredential::builder()
///     .then("workload identity", WorkloadIdentityCredential::from_env()?)
///     .then("developer tools", SdkCredential::new(developer))
///     .build()?;
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct SdkCredential {
    cache: Cache,
}

impl SdkCredential {
    /// Wraps a credential.
    pub fn new(credential: Arc<dyn TokenCredential>) -> Arc<Self> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let source = SdkSource {
            credential,
            clock: clock.clone(),
        };
        Arc::new(Self {
            cache: Cache::new(Arc::new(source), clock, official::PATIENCE),
        })
    }
}

token_methods!(SdkCredential, |_| None);

#[derive(Debug)]
struct SdkSource {
    credential: Arc<dyn TokenCredential>,
    clock: Arc<dyn Clock>,
}

#[async_trait]
impl TokenSource for SdkSource {
    async fn fetch(&self, request: &TokenRequest<'_>, _: Urgency) -> Result<Grant, Error> {
        if request.requested_tenant_id().is_some() || request.requested_claims().is_some() {
            return Err(Error::configuration(
                "a credential of the SDK takes no tenant and no claims",
            ));
        }
        let requested_at = self.clock.now();
        let token = self
            .credential
            .get_token(request.scopes(), None)
            .await
            .map_err(from_sdk)?;
        Ok(official::grant(&token, requested_at))
    }
}

fn from_sdk(error: azure_core::Error) -> Error {
    let ours = official::causes(&error)
        .find_map(|cause| cause.downcast_ref::<Error>())
        .cloned();
    ours.unwrap_or_else(|| {
        Error::new(ErrorKind::Rejected, "the SDK's credential gave no token").with_source(error)
    })
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
        let no_answer = |error: azure_core::Error| {
            Error::transport(format!("{host} gave no whole answer to the SDK's HTTP client"))
                .with_source(error)
        };
        let response = self.0.execute_request(&request).await.map_err(no_answer)?;
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
        while let Some(chunk) = body.try_next().await.map_err(no_answer)? {
            if bytes.len() + chunk.len() > MAX_BODY {
                let too_long = Error::protocol(format!("{host} answered with more than 256 KiB"));
                return Err(too_long.with_status(status));
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
