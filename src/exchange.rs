//! One token request: form out, reply in, and the only retry loop of the crate.

mod backoff;
mod refusal;
mod reply;
mod retry_after;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderValue, USER_AGENT};
use http::{Method, Request, Uri};
use tokio::time::Instant;
use url::form_urlencoded;

use crate::assertion::{AssertionRequest, ClientAssertion};
use crate::authority::{Authority, TenantId};
use crate::clock::{Clock, Moment};
use crate::error::{Error, ErrorKind};
use crate::token::{AccessToken, Secret, TokenRequest};
use crate::transport::Transport;
use crate::uuid;

pub(crate) use backoff::Urgency;
#[cfg(feature = "default-credential")]
pub(crate) use refusal::ServerText;

/// What the cache asks for tokens. It keeps nothing: each call is one exchange.
#[async_trait]
pub(crate) trait TokenSource: fmt::Debug + Send + Sync + 'static {
    /// Gets one token, or says why there is none, within the source's own time limit.
    async fn fetch(&self, request: &TokenRequest<'_>, urgency: Urgency) -> Result<Grant, Error>;

    /// Whether a fetch that callers wait for makes more attempts than one in the background.
    fn tries_harder_for_callers(&self) -> bool {
        false
    }
}

/// A token, and how long it is good.
#[derive(Debug)]
pub(crate) struct Grant {
    pub(crate) token: AccessToken,
    /// When the request that brought it left: its life counts from here.
    pub(crate) requested_at: Moment,
    pub(crate) lifetime: Duration,
    /// When the server wants it refreshed, if it said so; less than `lifetime`.
    pub(crate) refresh_in: Option<Duration>,
}

/// How the client proves who it is.
#[derive(Clone)]
pub(crate) enum ClientAuthentication {
    Assertion(Arc<dyn ClientAssertion>),
    Secret(Secret),
}

/// Trades client assertions, or a client secret, for access tokens at one tenant's token endpoint.
pub(crate) struct Exchange {
    pub(crate) authority: Authority,
    pub(crate) tenant_id: TenantId,
    pub(crate) additionally_allowed_tenants: Vec<String>,
    pub(crate) client_id: String,
    pub(crate) authentication: ClientAuthentication,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) clock: Arc<dyn Clock>,
    /// For the whole of it: reading the assertion, all attempts, and the pauses between them.
    pub(crate) timeout: Duration,
}

#[async_trait]
impl TokenSource for Exchange {
    async fn fetch(&self, request: &TokenRequest<'_>, urgency: Urgency) -> Result<Grant, Error> {
        let tenant = self.tenant(request.requested_tenant_id())?;
        let attempts = Attempts {
            exchange: self,
            request,
            urgency,
            endpoint: self.authority.token_url(&tenant)?,
            tenant,
            deadline: Instant::now() + self.timeout,
        };
        attempts.run().await
    }

    fn tries_harder_for_callers(&self) -> bool {
        true
    }
}

impl Exchange {
    fn tenant(&self, requested: Option<&str>) -> Result<TenantId, Error> {
        let Some(requested) =
            requested.filter(|requested| !requested.eq_ignore_ascii_case(self.tenant_id.as_str()))
        else {
            return Ok(self.tenant_id.clone());
        };
        let tenant = TenantId::parse(requested)?;
        let allowed = |allowed: &String| allowed == "*" || allowed.eq_ignore_ascii_case(requested);
        if self.additionally_allowed_tenants.iter().any(allowed) {
            return Ok(tenant);
        }
        Err(Error::configuration(format!(
            "this credential may not get tokens in tenant {requested}; add it, or \"*\", to additionally_allowed_tenants"
        )))
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

/// The attempts of one exchange, up to its deadline.
struct Attempts<'a> {
    exchange: &'a Exchange,
    request: &'a TokenRequest<'a>,
    urgency: Urgency,
    tenant: TenantId,
    endpoint: Uri,
    deadline: Instant,
}

impl Attempts<'_> {
    async fn run(&self) -> Result<Grant, Error> {
        let mut tried = 0;
        let mut proof = self.proof().await?;
        let mut read_again = false;
        loop {
            tried += 1;
            let request_id = uuid::random();
            let sent_at = Instant::now();
            let error = match self.attempt(&proof, &request_id).await {
                Ok(grant) => {
                    tracing::debug!(
                        scopes = ?self.request.scopes(),
                        lifetime = ?grant.lifetime,
                        attempts = tried,
                        elapsed = ?sent_at.elapsed(),
                        request_id,
                        "got a token"
                    );
                    return Ok(grant);
                }
                Err(error) => error,
            };
            tracing::debug!(
                scopes = ?self.request.scopes(),
                attempts = tried,
                status = error.status().map(|status| status.as_u16()),
                aadsts = ?error.aadsts_codes(),
                request_id,
                %error,
                "got no token"
            );
            // At once, even if nobody waits: it is Entra's answer to the assertion, and no sign of an outage.
            if !read_again
                && tried < Urgency::Awaited.attempts()
                && error.aadsts_codes().contains(&ASSERTION_OUTSIDE_ITS_TIME)
            {
                read_again = true;
                match self.proof().await {
                    Ok(fresh) if fresh != proof => proof = fresh,
                    _ => return Err(error),
                }
                continue;
            }
            if !heals_by_itself(&error) {
                return Err(error);
            }
            let remaining = self.deadline.saturating_duration_since(Instant::now());
            let Some(pause) = backoff::pause(self.urgency, tried, error.retry_after(), remaining) else {
                return Err(error);
            };
            tokio::time::sleep(pause).await;
            // The kubelet may have replaced it meanwhile. If it cannot be had now, the error of the attempt that was
            // made says more.
            proof = self.proof().await.map_err(|_| error)?;
        }
    }

    /// The assertion, anew for each attempt, or the client secret.
    async fn proof(&self) -> Result<Secret, Error> {
        let source = match &self.exchange.authentication {
            ClientAuthentication::Secret(secret) => return Ok(secret.clone()),
            ClientAuthentication::Assertion(source) => source,
        };
        let request = AssertionRequest::new(&self.exchange.client_id, &self.endpoint);
        tokio::time::timeout_at(self.deadline, source.assertion(request))
            .await
            .unwrap_or_else(|_| {
                Err(Error::assertion(format!(
                    "the source of client assertions did not answer within {:?}",
                    self.exchange.timeout
                )))
            })
    }

    async fn attempt(&self, proof: &Secret, request_id: &str) -> Result<Grant, Error> {
        let requested_at = self.exchange.clock.now();
        let limit = self.deadline.min(Instant::now() + ATTEMPT_TIMEOUT);
        let sent = self.exchange.transport.send(self.form(proof, request_id)?);
        let reply = tokio::time::timeout_at(limit, sent).await.unwrap_or_else(|_| {
            Err(Error::transport(format!(
                "{} did not answer in time",
                self.exchange.authority.host()
            )))
        });
        match reply {
            Ok(reply) => reply::grant(reply, requested_at).map_err(|refusal| {
                let presented = refusal::Presented {
                    host: self.exchange.authority.host(),
                    tenant_id: self.tenant.as_str(),
                    client_id: &self.exchange.client_id,
                    proof,
                };
                refusal.into_error(&presented, request_id)
            }),
            Err(error) => Err(error.with_request_ids(request_id.to_owned(), None)),
        }
    }

    /// The request of the client credentials flow; the parameters and their order are those of the official SDK. Source:
    /// Microsoft identity platform, "OAuth 2.0 client credentials flow", first and third case.
    fn form(&self, proof: &Secret, request_id: &str) -> Result<Request<Bytes>, Error> {
        let mut form = form_urlencoded::Serializer::new(String::with_capacity(proof.expose().len() + 512));
        match &self.exchange.authentication {
            ClientAuthentication::Assertion(_) => form
                .append_pair("client_assertion", proof.expose())
                .append_pair("client_assertion_type", CLIENT_ASSERTION_TYPE),
            ClientAuthentication::Secret(_) => form.append_pair("client_secret", proof.expose()),
        };
        form.append_pair("client_id", &self.exchange.client_id)
            .append_pair("grant_type", "client_credentials")
            .append_pair("scope", &self.request.scopes().join(" "));
        if let Some(claims) = self.request.requested_claims() {
            form.append_pair("claims", claims);
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

/// What a reply comes to, for `fuzz`: the token's life, or the error that a caller sees.
#[cfg(fuzzing)]
pub(crate) fn fuzz_reply(reply: http::Response<Bytes>, assertion: &str) -> Result<Duration, Error> {
    let presented = refusal::Presented {
        host: "host",
        tenant_id: "tenant",
        client_id: "client",
        proof: &Secret::from(assertion),
    };
    reply::grant(reply, crate::clock::SystemClock::new().now())
        .map(|grant| grant.lifetime)
        .map_err(|refusal| refusal.into_error(&presented, &crate::uuid::random()))
}

/// The pause that headers ask for, for `fuzz`.
#[cfg(fuzzing)]
pub(crate) fn fuzz_retry_after(headers: &http::HeaderMap) -> Option<Duration> {
    retry_after::parse(headers, crate::clock::SystemClock::new().now().system_time)
}

/// Whether another attempt may succeed although nobody changes anything.
fn heals_by_itself(error: &Error) -> bool {
    error.is_transient()
        || error.kind() == ErrorKind::Rejected
            && error
                .aadsts_codes()
                .iter()
                .any(|code| SELF_HEALING_CODES.contains(code))
}

/// RFC 7523, section 2.2.
const CLIENT_ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Entra answers within a second; after ten the connection is dead, and half of the default total is left.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);

/// AADSTS700024: the assertion has expired, or is not yet valid. The file may hold a newer one by now.
const ASSERTION_OUTSIDE_ITS_TIME: u32 = 700_024;

/// Refusals that have been seen to heal: 90033 (a part of Entra is unavailable), 50166 and 90061 (the issuer's keys could not
/// be fetched), and the look-ups of a federated credential that is still spreading through Entra: 70021, 700211, 700212,
/// 700213, 700027. Source: Microsoft's list of AADSTS error codes, and "Workload identity federation considerations",
/// section "Propagation delay". The numbers may change, so all they do is add a bounded retry.
const SELF_HEALING_CODES: [u32; 8] = [90_033, 50_166, 90_061, 70_021, 700_211, 700_212, 700_213, 700_027];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever a server sends along with a token or instead of one, none of it is a secret in an error.
        #[test]
        fn no_reply_brings_the_token_or_the_assertion_into_an_error(
            status in 200u16..600,
            members in proptest::collection::btree_map(
                proptest::sample::select(vec![
                    "error", "error_description", "error_codes", "trace_id", "correlation_id", "token_type", "expires_in", "x",
                ]),
                proptest::sample::select(vec!["\"\"", "\"a b\"", "7", "[7]", "null", "{}", "\"ASSERTION\"", "[\"ASSERTION\"]"]),
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
            let presented = refusal::Presented {
                host: "host",
                tenant_id: "tenant",
                client_id: "client",
                proof: &Secret::from(assertion.as_str()),
            };
            let error = refusal.into_error(&presented, "id");
            let source = std::error::Error::source(&error).map(|source| format!("{source} {source:?}"));
            let shown = format!("{error} {error:?} {source:?}");
            prop_assert!(!shown.contains("planted"), "{}", shown);
        }
    }
}
