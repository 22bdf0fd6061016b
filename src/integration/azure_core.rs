use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use azure_core::error::{Error as SdkError, ErrorKind as SdkErrorKind};
use azure_core::http::headers::{AUTHORIZATION, Headers, WWW_AUTHENTICATE};
use azure_core::http::policies::{Policy, PolicyResult};
use azure_core::http::{AsyncRawResponse, Context, Request, StatusCode, Url};

use crate::assertion::jwt;
use crate::challenge::BearerChallenge;
use crate::credential::Credential;
use crate::error::{Error, Wrapped};
use crate::sdk::{DiscoveredTenant, TokenClaims};
use crate::token::Secret;

/// Handles a 401 of a service, for any client of the Azure SDK: add it to
/// `ClientOptions::per_call_policies`, with the credential of the client.
///
/// * A claims challenge (continuous access evaluation): the credential drops the rejected token, gets one
///   with these claims, and the request is sent once more, with its body from the start.
/// * After any other 401, the credential drops the rejected token, at most once in 30 s. The 401 is
///   returned, and the next request of the client gets a new token.
/// * With [`discover_tenant`](Self::discover_tenant), tokens are for the tenant that the service names.
///
/// Without it, a client presents a rejected token until it expires. Combine it with `enable_cae()` of the
/// credential's builder.
///
/// # Errors
///
/// Those of the client, and those of the credential if there is no new token. If the claims of a challenge
/// are malformed, the error has the status and the response of the 401, and
/// [`Error::find_in`](crate::Error::find_in) finds the reason.
///
/// # Examples
///
/// ```no_run
/// use std::sync::Arc;
///
/// use azure_core::http::{ClientOptions, Url};
/// use azure_storage_blob::{BlobServiceClient, BlobServiceClientOptions};
/// use entra_workload::WorkloadIdentityCredential;
/// use entra_workload::integration::ClaimsChallengePolicy;
///
/// # fn f(account: Url) -> Result<(), Box<dyn std::error::Error>> {
/// let credential = WorkloadIdentityCredential::builder().enable_cae().build()?;
/// let client_options = ClientOptions {
///     per_call_policies: vec![Arc::new(ClaimsChallengePolicy::new(credential.clone()))],
///     ..ClientOptions::default()
/// };
/// let options = BlobServiceClientOptions { client_options, ..Default::default() };
/// let client = BlobServiceClient::new(account, Some(credential), Some(options))?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct ClaimsChallengePolicy {
    credential: Arc<dyn Credential>,
    /// By host. Absent unless tenants are discovered.
    tenants: Option<Arc<Mutex<HashMap<String, String>>>>,
    verifies_resource: bool,
}

impl ClaimsChallengePolicy {
    /// * `credential`: that of the client.
    pub fn new(credential: Arc<dyn Credential>) -> Self {
        Self {
            credential,
            tenants: None,
            verifies_resource: true,
        }
    }

    /// Requests tokens for the tenant that the service names in its challenge, for a vault or an account of
    /// another tenant. The credential must allow it (`additionally_allowed_tenants`) and support tenants: a
    /// managed identity does not. Its own tenant needs neither.
    ///
    /// The host of the request must belong to the resource of the challenge, as
    /// `orders.vault.azure.net` belongs to `https://vault.azure.net`, and
    /// `orders.blob.core.windows.net` to `https://storage.azure.com`; otherwise the tenant is ignored.
    /// It is remembered for the host once a request with it has succeeded.
    #[must_use]
    pub fn discover_tenant(mut self) -> Self {
        self.tenants = Some(Arc::default());
        self
    }

    /// As [`discover_tenant`](Self::discover_tenant), also from hosts that do not belong to the resource:
    /// for emulators, and for private names. Only send requests to hosts that you know.
    #[must_use]
    pub fn discover_tenant_from_any_host(mut self) -> Self {
        self.verifies_resource = false;
        self.discover_tenant()
    }

    fn remembered(&self, host: &str) -> Option<String> {
        let tenants = self.tenants.as_ref()?;
        let tenants = tenants.lock().unwrap_or_else(PoisonError::into_inner);
        tenants.get(host).cloned()
    }

    /// Returns the tenant of a challenge, if it may be used.
    fn tenant(&self, host: &str, challenge: &BearerChallenge) -> Option<String> {
        self.tenants.as_ref()?;
        let tenant_id = challenge.tenant_id()?;
        if self.verifies_resource && !belongs(host, &challenge.scope()?) {
            tracing::debug!(
                host,
                "tenant of a challenge ignored: the host is not part of its resource"
            );
            return None;
        }
        Some(tenant_id)
    }

    /// Remembers the tenant that a request succeeded with. Before that it proves nothing: a tenant that the
    /// credential refuses would stop all later requests to this host.
    fn remember(&self, host: &str, tenant: &DiscoveredTenant) {
        let (Some(tenants), Some(tenant_id)) = (&self.tenants, tenant.get()) else {
            return;
        };
        let mut tenants = tenants.lock().unwrap_or_else(PoisonError::into_inner);
        if tenants.get(host) != Some(&tenant_id) {
            if tenants.len() >= MAX_HOSTS {
                tenants.clear();
            }
            tenants.insert(host.to_owned(), tenant_id);
        }
    }
}

#[async_trait]
impl Policy for ClaimsChallengePolicy {
    async fn send(&self, ctx: &Context, request: &mut Request, next: &[Arc<dyn Policy>]) -> PolicyResult {
        let host = request.url().host_str().unwrap_or_default().to_owned();
        let tenant = DiscoveredTenant::default();
        tenant.set(self.remembered(&host));
        let observer = Arc::new(Observer {
            policy: self.clone(),
            host: host.clone(),
            tenant: tenant.clone(),
            challenge: Mutex::default(),
            rejected: Mutex::default(),
            has_held_back: AtomicBool::new(false),
        });
        // The policies of the client handle a 401 themselves, so it must be seen before they see it: right
        // above the transport, which is the last policy.
        let mut chain = next.to_vec();
        chain.insert(chain.len().saturating_sub(1), observer.clone());
        let [first, rest @ ..] = &chain[..] else {
            return Err(SdkError::with_message(
                SdkErrorKind::Other,
                "the pipeline has no transport",
            ));
        };
        let mut ctx = ctx.to_borrowed();
        if self.tenants.is_some() {
            ctx.insert(tenant.clone());
        }
        let response = first.send(&ctx, request, rest).await?;
        if response.status() != StatusCode::Unauthorized {
            // If there was a challenge, the client has another token already.
            self.remember(&host, &tenant);
            return Ok(response);
        }
        let Some(Challenge {
            claims,
            header,
            spared,
        }) = observer.take()
        else {
            return Ok(response);
        };
        let claims = match claims {
            Ok(claims) => claims,
            Err(error) => return Err(malformed(error, with_challenge(response, Some(header))).await),
        };
        if let Some(claims) = claims {
            ctx.insert(TokenClaims::new(claims));
        }
        let result = observer.repeat(&ctx, request, first, rest).await;
        let is_accepted = |response: &AsyncRawResponse| response.status() != StatusCode::Unauthorized;
        if result.as_ref().is_ok_and(is_accepted) {
            self.remember(&host, &tenant);
            return result;
        }
        let last = observer.take();
        // No token of another tenant was accepted, so the tenant is not why these were rejected.
        let last_spared = last.as_ref().and_then(|challenge| challenge.spared.as_ref());
        for rejected in spared.iter().chain(last_spared) {
            self.credential.invalidate_secret(rejected.expose());
        }
        let response = result?;
        // The last challenge says why; it is in the response unless it was held back.
        let is_held_back = response.headers().get_optional_str(&WWW_AUTHENTICATE).is_none();
        let header = last.map_or(header, |challenge| challenge.header);
        Ok(if is_held_back {
            with_challenge(response, Some(header))
        } else {
            response
        })
    }
}

impl fmt::Debug for ClaimsChallengePolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClaimsChallengePolicy")
            .field("credential", &self.credential)
            .field("discovers_tenant", &self.tenants.is_some())
            .field("verifies_resource", &self.verifies_resource)
            .finish()
    }
}

/// Sees each response of one request.
#[derive(Debug)]
struct Observer {
    policy: ClaimsChallengePolicy,
    host: String,
    tenant: DiscoveredTenant,
    challenge: Mutex<Option<Challenge>>,
    /// The token that was challenged. It is not sent again.
    rejected: Mutex<Option<Secret>>,
    has_held_back: AtomicBool,
}

/// Why the request is worth another attempt.
#[derive(Debug)]
struct Challenge {
    claims: Result<Option<String>, Error>,
    header: String,
    /// The rejected token, if another tenant may be the reason: it is dropped only if a token of that tenant
    /// is not accepted either.
    spared: Option<Secret>,
}

impl Observer {
    fn take(&self) -> Option<Challenge> {
        self.challenge
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    fn has_held_back(&self) -> bool {
        self.has_held_back.load(Ordering::Relaxed)
    }

    fn is_rejected(&self, token: &str) -> bool {
        let rejected = self.rejected.lock().unwrap_or_else(PoisonError::into_inner);
        rejected
            .as_ref()
            .is_some_and(|rejected| rejected.expose() == token)
    }

    /// Returns the challenge if another token may be accepted, or if its claims are malformed.
    fn judge(&self, header: &str, rejected: Option<&str>) -> Option<Challenge> {
        let challenge = BearerChallenge::from_values([header])?;
        let claims = challenge.claims();
        let before = self.tenant.get();
        let tenant_id = self
            .policy
            .tenant(&self.host, &challenge)
            // The GUID of a tenant that the credential knows by its domain name is no other tenant.
            .filter(|tenant_id| !rejected.is_some_and(|token| jwt::is_of_tenant(token, tenant_id)))
            .or_else(|| before.clone());
        let is_other_tenant = rejected.is_some() && tenant_id != before;
        self.tenant.set(tenant_id);
        let concerns_claims = !matches!(claims, Ok(None));
        let spared = rejected.filter(|_| is_other_tenant && claims.is_ok());
        (concerns_claims || is_other_tenant).then(|| Challenge {
            spared: spared.map(Secret::from),
            claims,
            header: header.to_owned(),
        })
    }

    /// Sends the request again, with another token.
    async fn repeat(
        &self,
        ctx: &Context<'_>,
        request: &mut Request,
        first: &Arc<dyn Policy>,
        rest: &[Arc<dyn Policy>],
    ) -> PolicyResult {
        request.body_mut().reset().await?;
        let response = first.send(ctx, request, rest).await?;
        if !self.has_held_back() {
            return Ok(response);
        }
        // The client still had its copy of the rejected token. It has dropped it by now.
        request.body_mut().reset().await?;
        first.send(ctx, request, rest).await
    }
}

#[async_trait]
impl Policy for Observer {
    async fn send(&self, ctx: &Context, request: &mut Request, next: &[Arc<dyn Policy>]) -> PolicyResult {
        let [transport, rest @ ..] = next else {
            return Err(SdkError::with_message(
                SdkErrorKind::Other,
                "the pipeline has no transport",
            ));
        };
        if bearer(request).is_some_and(|token| self.is_rejected(token)) {
            self.has_held_back.store(true, Ordering::Relaxed);
            return Ok(AsyncRawResponse::from_bytes(
                StatusCode::Unauthorized,
                Headers::new(),
                "",
            ));
        }
        let response = transport.send(ctx, request, rest).await?;
        if response.status() != StatusCode::Unauthorized {
            return Ok(response);
        }
        let rejected = bearer(request);
        let header = response.headers().get_optional_str(&WWW_AUTHENTICATE);
        let challenge = header.and_then(|header| self.judge(header, rejected));
        // A token for the wrong tenant may not be a bad one. Any other is dropped before the client asks for
        // the next one: the claims can be the same as last time, and other calls must not get it meanwhile.
        let is_spared = challenge
            .as_ref()
            .is_some_and(|challenge| challenge.spared.is_some());
        if let Some(rejected) = rejected.filter(|_| !is_spared) {
            self.policy.credential.invalidate_secret(rejected);
        }
        let Some(challenge) = challenge else {
            return Ok(response);
        };
        *self.challenge.lock().unwrap_or_else(PoisonError::into_inner) = Some(challenge);
        *self.rejected.lock().unwrap_or_else(PoisonError::into_inner) = rejected.map(Secret::from);
        // Without a challenge, the policies of the client drop their copy of the token and do nothing else.
        Ok(with_challenge(response, None))
    }
}

/// Returns an error with the reason and with the response.
async fn malformed(error: Error, response: AsyncRawResponse) -> SdkError {
    let status = response.status();
    let message = error.to_string();
    let raw_response = response.try_into_raw_response().await.ok().map(Box::new);
    let kind = SdkErrorKind::HttpResponse {
        status,
        error_code: None,
        raw_response,
    };
    SdkError::with_error(kind, Wrapped(error), message)
}

fn bearer(request: &Request) -> Option<&str> {
    let value = request.headers().get_optional_str(&AUTHORIZATION)?;
    value.strip_prefix("Bearer ")
}

fn with_challenge(response: AsyncRawResponse, header: Option<String>) -> AsyncRawResponse {
    let (status, mut headers, body) = response.deconstruct();
    headers.remove(WWW_AUTHENTICATE);
    if let Some(header) = header {
        headers.insert(WWW_AUTHENTICATE, header);
    }
    AsyncRawResponse::new(status, headers, Box::pin(body))
}

/// Whether `host` is a subdomain of the resource's host, or an account of Storage.
fn belongs(host: &str, scope: &str) -> bool {
    let is_below = |domain: &str| {
        host.strip_suffix(domain)
            .is_some_and(|subdomain| subdomain.ends_with('.'))
    };
    let Ok(resource) = Url::parse(scope) else {
        return false;
    };
    let resource = resource.host_str().unwrap_or_default();
    let is_account = resource == STORAGE && STORAGE_DOMAINS.iter().any(|domain| is_below(domain));
    is_account || !resource.is_empty() && is_below(resource)
}

/// The resource of Storage, in every cloud.
const STORAGE: &str = "storage.azure.com";

/// The domains of its accounts. Source: "Storage account endpoints", and "Azure Government endpoint
/// mapping" and "Azure in China" for their clouds.
const STORAGE_DOMAINS: [&str; 4] = [
    "core.windows.net",
    "storage.azure.net",
    "core.usgovcloudapi.net",
    "core.chinacloudapi.cn",
];

/// One client talks to a few hosts.
const MAX_HOSTS: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credential::ClientSecretCredential;
    use crate::env::Environment;

    #[test]
    fn tenant_is_remembered_only_after_a_request_with_it_has_succeeded() {
        let credential = ClientSecretCredential::builder()
            .environment(Environment::default())
            .tenant_id("contoso.com")
            .client_id("7a5ff21b-4f5b-4f5b-9e3e-2c0b5a1d9a10")
            .client_secret("planted")
            .build()
            .unwrap();
        let policy = ClaimsChallengePolicy::new(credential).discover_tenant();
        let challenge = BearerChallenge::from_values([
            r#"Bearer authorization="https://login.microsoftonline.com/fabrikam.com", resource="https://vault.azure.net""#,
        ]);
        let host = "orders.vault.azure.net";
        let tenant = DiscoveredTenant::default();
        tenant.set(policy.tenant(host, &challenge.unwrap()));
        assert_eq!(tenant.get().as_deref(), Some("fabrikam.com"));
        assert_eq!(policy.remembered(host), None);
        policy.remember(host, &tenant);
        assert_eq!(policy.remembered(host), tenant.get());
        for n in 0..2 * MAX_HOSTS {
            policy.remember(&n.to_string(), &tenant);
        }
        assert!(policy.tenants.unwrap().lock().unwrap().len() <= MAX_HOSTS);
    }

    #[test]
    fn host_belongs_to_a_resource_as_its_subdomain_only() {
        for (host, scope, is_subdomain) in [
            ("orders.vault.azure.net", "https://vault.azure.net/.default", true),
            ("a.b.vault.azure.net", "https://vault.azure.net/.default", true),
            ("vault.azure.net", "https://vault.azure.net/.default", false),
            ("evilvault.azure.net", "https://vault.azure.net/.default", false),
            (
                "orders.blob.core.windows.net",
                "https://storage.azure.com/.default",
                true,
            ),
            (
                "orders.dfs.core.chinacloudapi.cn",
                "https://storage.azure.com/.default",
                true,
            ),
            (
                "orders.blob.core.windows.net",
                "https://vault.azure.net/.default",
                false,
            ),
            (
                "evilcore.windows.net",
                "https://storage.azure.com/.default",
                false,
            ),
            (
                "orders.vault.azure.net.evil.example",
                "https://vault.azure.net/.default",
                false,
            ),
            ("orders.vault.azure.net", "vault.azure.net/.default", false),
            ("orders.vault.azure.net", "https:///.default", false),
        ] {
            assert_eq!(belongs(host, scope), is_subdomain, "{host} {scope}");
        }
    }
}
