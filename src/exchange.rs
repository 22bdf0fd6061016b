//! Token requests: the form that is sent, the reply that is parsed, and the loop that retries a failed
//! attempt.

mod aadsts;
mod backoff;
mod claims;
#[cfg(fuzzing)]
pub(crate) mod fuzz;
mod refusal;
mod reply;
mod server_text;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderValue, USER_AGENT};
use http::{Method, Request, Uri};
use tokio::time::Instant;
use url::form_urlencoded;

use crate::assertion::{AssertionRequest, ClientAssertion, jwt};
use crate::authority::{AllowedTenants, Authority, TenantId};
use crate::clock::{Clock, Moment};
use crate::code::Code;
use crate::error::{Error, ErrorKind};
use crate::guid;
use crate::token::{AccessToken, Secret, TokenRequest};
use crate::transport::{ATTEMPT_TIMEOUT, TokenProxy, Transport};

pub(crate) use backoff::Urgency;
#[cfg(feature = "default-credential")]
pub(crate) use server_text::ServerText;

/// Where the cache gets tokens from. It stores nothing: each call is one fetch.
#[async_trait]
pub(crate) trait TokenSource: fmt::Debug + Send + Sync + 'static {
    /// Gets one token within the source's own time limit.
    async fn fetch(&self, request: &TokenRequest<'_>, urgency: Urgency) -> Result<Grant, Error>;

    /// Whether a fetch that callers wait for makes more attempts than one in the background.
    fn retries_when_awaited(&self) -> bool {
        false
    }

    /// The tenant of requests that name none, if it is known.
    fn tenant_id(&self) -> Option<&str> {
        None
    }

    /// Returns an error if tokens may not be requested in the tenant that a request names. Sends nothing: a
    /// request that is refused here takes no place in the cache.
    fn check_tenant(&self, requested: Option<&str>) -> Result<(), Error> {
        let _ = requested;
        Ok(())
    }

    /// The client ID that tokens are requested for, if it is known.
    fn client_id(&self) -> Option<&str> {
        None
    }
}

/// A token and its lifetime.
#[derive(Debug)]
pub(crate) struct Grant {
    pub(crate) token: AccessToken,
    /// When its token request was sent; the lifetime counts from here.
    pub(crate) requested_at: Moment,
    pub(crate) lifetime: Duration,
    /// After how long the server wants it refreshed, if the server says so; less than `lifetime`.
    pub(crate) refresh_in: Option<Duration>,
}

impl Grant {
    /// * `lifetime`: from the request; a longer one than [`MAX_LIFETIME`] counts as that.
    pub(crate) fn new(secret: impl Into<Secret>, requested_at: Moment, lifetime: Duration) -> Self {
        let lifetime = lifetime.min(MAX_LIFETIME);
        let sent_at = requested_at.system_time;
        Self {
            token: AccessToken::new(secret, sent_at.checked_add(lifetime).unwrap_or(sent_at)),
            requested_at,
            lifetime,
            refresh_in: None,
        }
    }
}

/// How the client authenticates.
#[derive(Clone)]
pub(crate) enum ClientAuthentication {
    Assertion(Arc<dyn ClientAssertion>),
    Secret(Secret),
}

/// How token requests reach the authority.
pub(crate) struct Route {
    transport: Arc<dyn Transport>,
    /// Who responds, for messages.
    responder: String,
    has_token_proxy: bool,
}

impl Route {
    pub(crate) fn direct(authority: &Authority, transport: Arc<dyn Transport>) -> Self {
        Self {
            transport,
            responder: authority.host().to_owned(),
            has_token_proxy: false,
        }
    }

    /// Through the token proxy of an AKS cluster.
    pub(crate) fn through(token_proxy: TokenProxy) -> Self {
        Self {
            responder: token_proxy.name().to_owned(),
            transport: Arc::new(token_proxy),
            has_token_proxy: true,
        }
    }
}

/// Requests access tokens at a tenant's token endpoint, with client assertions or a client secret.
pub(crate) struct Exchange {
    pub(crate) authority: Authority,
    pub(crate) tenant_id: TenantId,
    pub(crate) allowed_tenants: AllowedTenants,
    /// The audience that a source of client assertions requests.
    pub(crate) token_exchange_audience: String,
    pub(crate) client_id: String,
    pub(crate) authentication: ClientAuthentication,
    /// Whether tokens are requested for continuous access evaluation.
    pub(crate) is_cae_enabled: bool,
    pub(crate) route: Route,
    pub(crate) clock: Arc<dyn Clock>,
    /// Covers reading the assertion, all attempts, and the pauses between them.
    pub(crate) timeout: Duration,
}

#[async_trait]
impl TokenSource for Exchange {
    async fn fetch(&self, request: &TokenRequest<'_>, urgency: Urgency) -> Result<Grant, Error> {
        let tenant = self.tenant(request.requested_tenant_id())?;
        let call = TokenCall {
            exchange: self,
            request,
            endpoint: self.authority.token_url(&tenant)?,
            tenant,
            deadline: Instant::now() + self.timeout,
        };
        let mut attempts = 0;
        let mut secret = call.first_secret(urgency, &mut attempts).await?;
        let mut has_reread_assertion = false;
        let mut earlier = None;
        loop {
            attempts += 1;
            let error = match call.attempt(&secret, attempts).await {
                Ok(grant) => return Ok(grant),
                // The last complete attempt says more than the one that the deadline cut off.
                Err(error) if call.is_cut_off(&error) => return Err(earlier.unwrap_or(error)),
                Err(error) => error,
            };
            // Without a pause, even in the background: the assertion was rejected, Entra is
            // healthy.
            if !has_reread_assertion
                && attempts < Urgency::Awaited.attempts()
                && aadsts::is_outdated_assertion(error.aadsts_codes())
            {
                has_reread_assertion = true;
                match call.secret().await {
                    Ok(fresh) if fresh != secret => secret = fresh,
                    _ => return Err(error),
                }
                earlier = Some(error);
                continue;
            }
            if !self.is_retryable(&error, &secret) {
                return Err(error);
            }
            let remaining = call.deadline.saturating_duration_since(Instant::now());
            let Some(pause) = backoff::pause(urgency, attempts, error.retry_after(), remaining) else {
                return Err(error);
            };
            tokio::time::sleep(pause).await;
            // The kubelet may have replaced the token file. If it cannot be read now, the error of
            // the last attempt says more.
            match call.secret().await {
                Ok(fresh) => secret = fresh,
                Err(_) => return Err(error),
            }
            earlier = Some(error);
        }
    }

    fn retries_when_awaited(&self) -> bool {
        true
    }

    fn tenant_id(&self) -> Option<&str> {
        Some(self.tenant_id.as_str())
    }

    fn check_tenant(&self, requested: Option<&str>) -> Result<(), Error> {
        self.tenant(requested).map(drop)
    }

    fn client_id(&self) -> Option<&str> {
        Some(&self.client_id)
    }
}

impl Exchange {
    /// Returns who responds to the token requests, for messages.
    #[cfg(feature = "diagnose")]
    pub(crate) fn responder(&self) -> &str {
        &self.route.responder
    }

    fn tenant(&self, requested: Option<&str>) -> Result<TenantId, Error> {
        let own = &self.tenant_id;
        let requested = requested.map(|requested| self.allowed_tenants.check(requested, Some(own)));
        Ok(requested.transpose()?.flatten().unwrap_or_else(|| own.clone()))
    }

    /// Whether another attempt may succeed without a change by a human.
    ///
    /// * `secret`: the client assertion that was sent. One for an AKS identity binding has an audience that
    ///   Entra itself never accepts.
    fn is_retryable(&self, error: &Error, secret: &Secret) -> bool {
        error.is_transient()
            || error.kind() == ErrorKind::Rejected
                && aadsts::is_retryable(error.aadsts_codes())
                && (self.route.has_token_proxy || !aadsts::is_for_identity_binding(secret))
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange")
            .field("authority", &self.authority.host())
            .field("tenant_id", &self.tenant_id.as_str())
            .field("client_id", &self.client_id)
            .finish_non_exhaustive()
    }
}

/// What all attempts of one fetch have in common.
struct TokenCall<'a> {
    exchange: &'a Exchange,
    request: &'a TokenRequest<'a>,
    tenant: TenantId,
    endpoint: Uri,
    deadline: Instant,
}

impl TokenCall<'_> {
    /// Returns the client secret or a client assertion for the first attempt. While the service that issues
    /// assertions is unavailable, it is asked again, which counts as an attempt.
    async fn first_secret(&self, urgency: Urgency, attempts: &mut u32) -> Result<Secret, Error> {
        let mut earlier = None;
        loop {
            let error = match self.secret().await {
                Ok(secret) => return Ok(secret),
                Err(error) if self.is_cut_off(&error) => return Err(earlier.unwrap_or(error)),
                Err(error) if error.is_transient() => error,
                Err(error) => return Err(error),
            };
            *attempts += 1;
            let remaining = self.deadline.saturating_duration_since(Instant::now());
            let Some(pause) = backoff::pause(urgency, *attempts, error.retry_after(), remaining) else {
                return Err(error);
            };
            earlier = Some(error);
            tokio::time::sleep(pause).await;
        }
    }

    /// Returns the client secret, or a client assertion. The assertion source is called for each
    /// attempt.
    async fn secret(&self) -> Result<Secret, Error> {
        let source = match &self.exchange.authentication {
            ClientAuthentication::Secret(secret) => {
                let refusal = "the client secret is a token for the API server of a cluster, so it is not sent; use the secret \
                               of the application";
                return not_for_api_server(secret.clone(), refusal);
            }
            ClientAuthentication::Assertion(source) => source,
        };
        let request = AssertionRequest::new(
            &self.exchange.client_id,
            &self.endpoint,
            &self.exchange.token_exchange_audience,
        );
        let assertion = tokio::time::timeout_at(self.deadline, source.assertion(request))
            .await
            .unwrap_or_else(|_| {
                Err(Error::transport(format!(
                    "the source of client assertions did not respond within {:?}",
                    self.exchange.timeout
                )))
            })?;
        let refusal = "the client assertion is a token for the API server of a cluster, so it is not sent; use the token file \
                       that the webhook mounts, or a token with the audience of the federated credential";
        not_for_api_server(assertion, refusal)
    }

    /// Whether `error` is that of an attempt that the deadline of the fetch cut off.
    fn is_cut_off(&self, error: &Error) -> bool {
        error.kind() == ErrorKind::Transport && Instant::now() >= self.deadline
    }

    /// Sends one token request.
    ///
    /// * `number`: the number of this attempt, from 1, for the log.
    async fn attempt(&self, secret: &Secret, number: u32) -> Result<Grant, Error> {
        let request_id = guid::random();
        let requested_at = self.exchange.clock.now();
        let sent_at = Instant::now();
        let time_limit = self.deadline.min(sent_at + ATTEMPT_TIMEOUT);
        let sent = self
            .exchange
            .route
            .transport
            .send(self.form(secret, &request_id)?);
        let reply = tokio::time::timeout_at(time_limit, sent)
            .await
            .unwrap_or_else(|_| {
                Err(Error::transport(format!(
                    "{} did not respond in time",
                    self.exchange.route.responder
                ))
                .with_code(Code::NO_RESPONSE))
            });
        let result = match reply {
            Ok(reply) => reply::grant(reply, requested_at).map_err(|refusal| {
                let presented = aadsts::Presented {
                    host: &self.exchange.route.responder,
                    has_token_proxy: self.exchange.route.has_token_proxy,
                    tenant_id: self.tenant.as_str(),
                    client_id: &self.exchange.client_id,
                    secret,
                };
                refusal.into_error(&presented, &request_id)
            }),
            Err(error) => Err(error.with_correlation_id(&request_id)),
        };
        match &result {
            Ok(grant) => tracing::debug!(
                scopes = ?self.request.scopes(),
                lifetime = ?grant.lifetime,
                attempts = number,
                elapsed = ?sent_at.elapsed(),
                request_id,
                "token acquired"
            ),
            Err(error) => tracing::debug!(
                scopes = ?self.request.scopes(),
                attempts = number,
                status = error.status().map(|status| status.as_u16()),
                aadsts = ?error.aadsts_codes(),
                request_id,
                %error,
                "token request failed"
            ),
        }
        result
    }

    /// Builds the request of the client credentials flow. Parameters and their order are those of
    /// the official SDK. Source: Microsoft identity platform, "OAuth 2.0 client credentials flow",
    /// first and third case.
    fn form(&self, secret: &Secret, request_id: &str) -> Result<Request<Bytes>, Error> {
        let mut form = form_urlencoded::Serializer::new(String::with_capacity(secret.expose().len() + 512));
        match &self.exchange.authentication {
            ClientAuthentication::Assertion(_) => form
                .append_pair("client_assertion", secret.expose())
                .append_pair("client_assertion_type", CLIENT_ASSERTION_TYPE),
            ClientAuthentication::Secret(_) => form.append_pair("client_secret", secret.expose()),
        };
        form.append_pair("client_id", &self.exchange.client_id)
            .append_pair("grant_type", "client_credentials")
            .append_pair("scope", &self.request.scopes().join(" "));
        if let Some(claims) = claims::merged(self.request.requested_claims(), self.exchange.is_cae_enabled)? {
            form.append_pair("claims", &claims);
        }
        Request::builder()
            .method(Method::POST)
            .uri(self.endpoint.clone())
            .header(ACCEPT, HeaderValue::from_static("application/json"))
            .header(
                CONTENT_TYPE,
                HeaderValue::from_static("application/x-www-form-urlencoded"),
            )
            .header(
                USER_AGENT,
                HeaderValue::from_static(concat!("entra-workload/", env!("CARGO_PKG_VERSION"))),
            )
            .header("client-request-id", request_id)
            .header("return-client-request-id", HeaderValue::from_static("true"))
            .body(Bytes::from(form.finish()))
            .map_err(|error| Error::configuration("the token request cannot be built").with_source(error))
    }
}

/// Returns what a request is to contain, unless whoever receives it could act in a cluster.
///
/// * `refusal`: the message in that case.
fn not_for_api_server(secret: Secret, refusal: &str) -> Result<Secret, Error> {
    if jwt::is_for_api_server(secret.expose()) {
        return Err(Error::assertion(refusal).with_code(Code::TOKEN_OF_THE_API_SERVER));
    }
    Ok(secret)
}

/// The longest lifetimes are 28 hours (continuous access evaluation) and 24 hours (managed identities). A
/// longer one counts as two days, so that an invalid number neither overflows nor keeps a token forever.
pub(crate) const MAX_LIFETIME: Duration = Duration::from_secs(48 * 3600);

/// RFC 7523, section 2.2.
const CLIENT_ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// A server may send any members beside a token, or in place of one.
        #[test]
        fn error_never_contains_the_token_or_the_assertion_for_any_reply(
            status in 200u16..600,
            members in proptest::collection::btree_map(
                proptest::sample::select(vec![
                    "error", "error_description", "error_codes", "trace_id", "correlation_id",
                    "token_type", "expires_in", "x",
                ]),
                proptest::sample::select(vec![
                    r#""""#, r#""a b""#, "7", "[7]", "null", "{}", r#""ASSERTION""#, r#"["ASSERTION"]"#,
                ]),
                0..8,
            ),
            request_id in "[ -~]{0,30}",
        ) {
            let assertion = format!("eyJhbGciOiJSUzI1NiJ9.e30.{}", "planted0".repeat(40));
            let mut body = vec![r#"{"access_token":"planted token""#.to_owned()];
            body.extend(
                members
                    .iter()
                    .map(|(name, value)| format!(r#""{name}":{}"#, value.replace("ASSERTION", &assertion))),
            );
            let body = body.join(",") + "}";
            let reply = http::Response::builder()
                .status(status)
                .header("x-ms-request-id", request_id)
                .body(Bytes::from(body))
                .unwrap();
            let refusal = reply::grant(reply, crate::clock::SystemClock::new().now()).unwrap_err();
            let presented = aadsts::Presented {
                host: "host",
                has_token_proxy: false,
                tenant_id: "tenant",
                client_id: "client",
                secret: &Secret::from(assertion.as_str()),
            };
            let error = refusal.into_error(&presented, "id");
            let source = std::error::Error::source(&error).map(|source| format!("{source} {source:?}"));
            let printed = format!("{error} {error:?} {source:?}");
            prop_assert!(!printed.contains("planted"), "{}", printed);
        }
    }
}
