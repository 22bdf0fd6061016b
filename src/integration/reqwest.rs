use std::fmt;
use std::sync::Arc;

use ::reqwest::header::{AUTHORIZATION, HeaderValue};
use ::reqwest::{Request, Response, StatusCode};
use async_trait::async_trait;
use http::Extensions;
use reqwest_middleware::{Middleware, Next, Result};
use url::{Host, Url};
use zeroize::Zeroizing;

use crate::challenge::BearerChallenge;
use crate::credential::Credential;
use crate::error::{Error, Wrapped};
use crate::token::{AccessToken, TokenRequest};

/// Adds tokens to the requests of a `reqwest` client, and handles 401 responses.
///
/// * It adds `Authorization: Bearer` to requests to the given hosts. Other requests, and those that
///   have the header already, are sent unchanged.
/// * A 401 with a claims challenge (continuous access evaluation): the rejected token is removed from
///   the credential's cache, and the request is repeated once with a token that has the claims.
/// * Any other 401: the rejected token is removed, and the request is repeated once with another one.
/// * A token is removed at most once in 30 s for the same claims. Until then there is no other token,
///   and a 401 is returned without a repetition.
/// * A request whose body is a stream cannot be repeated: its 401 is returned. So is that of a
///   challenge with malformed claims, of which [`BearerChallenge::claims`] tells the reason.
///
/// A 401 of another host, after a redirect, is returned as it is.
///
/// A token is only sent over `https`, and over plain `http` to loopback addresses. Redirects are
/// followed below this middleware, by `reqwest`, which removes the header if the host changes.
///
/// # Errors
///
/// A request fails without being sent if there is no token for it, or if it is plain `http` to one of
/// the given hosts. [`Error::find_in`](crate::Error::find_in) finds the reason in the error.
///
/// # Examples
///
/// ```
/// use entra_workload::WorkloadIdentityCredential;
/// use entra_workload::integration::BearerTokenMiddleware;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let environment = entra_workload::Environment::from_iter([
/// #     ("AZURE_TENANT_ID", "72f988bf-86f1-41af-91ab-2d7cd011db47"),
/// #     ("AZURE_CLIENT_ID", "7a5ff21b-4f5b-4f5b-9e3e-2c0b5a1d9a10"),
/// #     ("AZURE_FEDERATED_TOKEN_FILE", "/var/run/secrets/azure/wi/token/azure-identity-token"),
/// # ]);
/// let credential = WorkloadIdentityCredential::builder()
///     .enable_cae()
/// #   .environment(environment)
///     .build()?;
/// let tokens = BearerTokenMiddleware::new(credential, "api://orders/.default", ["orders.example.com"]);
/// let client = reqwest_middleware::ClientBuilder::new(reqwest::Client::new()).with(tokens).build();
/// # drop(client);
/// # Ok(()) }
/// ```
pub struct BearerTokenMiddleware {
    credential: Arc<dyn Credential>,
    scope: String,
    hosts: Hosts,
}

impl BearerTokenMiddleware {
    /// Creates a middleware for the requests to some hosts.
    ///
    /// * `scope`: `{resource}/.default`.
    /// * `hosts`: names or IP addresses (of IPv6 with or without brackets), without a port;
    ///   `*.example.com` stands for all hosts below `example.com`.
    pub fn new(
        credential: Arc<dyn Credential>,
        scope: impl Into<String>,
        hosts: impl IntoIterator<Item = impl Into<String>>,
    ) -> Self {
        let hosts = hosts.into_iter().map(Into::into).collect();
        Self {
            credential,
            scope: scope.into(),
            hosts: Hosts::These(hosts),
        }
    }

    /// Creates a middleware that adds the token to every `https` request of the client, whatever its
    /// host: for a client that sends requests to one service only. Requests by plain `http` are sent
    /// without a token.
    ///
    /// * `scope`: `{resource}/.default`.
    pub fn for_all_https_hosts(credential: Arc<dyn Credential>, scope: impl Into<String>) -> Self {
        Self {
            credential,
            scope: scope.into(),
            hosts: Hosts::AllHttps,
        }
    }

    async fn token(&self, claims: Option<&str>) -> Result<AccessToken> {
        let scopes = [self.scope.as_str()];
        let mut request = TokenRequest::new(&scopes);
        if let Some(claims) = claims {
            request = request.claims(claims);
        }
        match self.credential.cached(&request) {
            Some(token) => Ok(token),
            None => self.credential.token_for(&request).await.map_err(no_token),
        }
    }

    /// Returns the token for the repetition of a rejected request, if there is a reason to repeat it.
    async fn token_after(&self, response: &Response, rejected: &AccessToken) -> Result<Option<AccessToken>> {
        let challenge = BearerChallenge::from_headers(response.headers());
        let claims = match challenge.map_or(Ok(None), |challenge| challenge.claims()) {
            Ok(claims) => claims,
            Err(error) => {
                tracing::warn!(host = response.url().host_str(), %error, "claims challenge ignored");
                return Ok(None);
            }
        };
        let token = self.token(claims.as_deref()).await?;
        Ok(Some(token).filter(|token| token.secret() != rejected.secret()))
    }
}

impl fmt::Debug for BearerTokenMiddleware {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BearerTokenMiddleware")
            .field("credential", &self.credential)
            .field("scope", &self.scope)
            .field("hosts", &self.hosts)
            .finish()
    }
}

#[async_trait]
impl Middleware for BearerTokenMiddleware {
    async fn handle(
        &self,
        mut request: Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> Result<Response> {
        if request.headers().contains_key(AUTHORIZATION) || !self.hosts.contain(request.url()) {
            return next.run(request, extensions).await;
        }
        if !is_confidential(request.url()) {
            return Err(no_token(Error::configuration(format!(
                "a token for {} would be sent over plain http; use https",
                request.url().host_str().unwrap_or_default()
            ))));
        }
        let token = self.token(None).await?;
        authorize(&mut request, &token)?;
        let url = request.url().clone();
        let repetition = request.try_clone();
        let response = next.clone().run(request, extensions).await?;
        // After a redirect to another host, that host answers, which never had the token.
        let is_from_its_host = response.url().origin() == url.origin();
        if response.status() != StatusCode::UNAUTHORIZED || !is_from_its_host {
            return Ok(response);
        }
        self.credential.invalidate(&token);
        let Some(mut repetition) = repetition else {
            return Ok(response);
        };
        let Some(token) = self.token_after(&response, &token).await? else {
            return Ok(response);
        };
        // Frees its connection.
        drop(response);
        authorize(&mut repetition, &token)?;
        next.run(repetition, extensions).await
    }
}

/// The hosts that get a token.
#[derive(Debug)]
enum Hosts {
    These(Vec<String>),
    AllHttps,
}

impl Hosts {
    fn contain(&self, url: &Url) -> bool {
        let Some(host) = url.host_str() else {
            return false;
        };
        let address = match url.host() {
            Some(Host::Ipv6(address)) => Some(address),
            _ => None,
        };
        let is_host = |allowed: &String| match allowed.strip_prefix('*') {
            // The rest begins with a dot.
            Some(suffix) => {
                let start = host.len().checked_sub(suffix.len()).filter(|start| *start > 0);
                let end = start.and_then(|start| host.get(start..));
                suffix.starts_with('.') && end.is_some_and(|end| end.eq_ignore_ascii_case(suffix))
            }
            // The same address has many forms.
            None if address.is_some() => allowed.trim_matches(['[', ']']).parse().ok() == address,
            None => host.eq_ignore_ascii_case(allowed),
        };
        match self {
            Self::These(hosts) => hosts.iter().any(is_host),
            Self::AllHttps => url.scheme() == "https",
        }
    }
}

/// Whether nobody on the network can read what is sent to `url`.
fn is_confidential(url: &Url) -> bool {
    url.scheme() == "https"
        || match url.host() {
            Some(Host::Domain(name)) => name == "localhost",
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        }
}

fn authorize(request: &mut Request, token: &AccessToken) -> Result<()> {
    let value = Zeroizing::new(format!("Bearer {}", token.secret()));
    let mut value = HeaderValue::from_str(&value)
        .map_err(|_| no_token(Error::protocol("the token is not a valid header value")))?;
    value.set_sensitive(true);
    request.headers_mut().insert(AUTHORIZATION, value);
    Ok(())
}

fn no_token(error: Error) -> reqwest_middleware::Error {
    reqwest_middleware::Error::middleware(NoToken {
        message: error.to_string(),
        cause: Wrapped(error),
    })
}

/// `reqwest_middleware` shows this error as its own, so the one of this crate is its source.
#[derive(Debug)]
struct NoToken {
    message: String,
    cause: Wrapped,
}

impl fmt::Display for NoToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for NoToken {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.cause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_match_names_without_case_and_everything_below_a_star() {
        let hosts = Hosts::These(vec![
            "Orders.example.com".to_owned(),
            "*.vault.azure.net".to_owned(),
            "127.0.0.1".to_owned(),
            "::1".to_owned(),
            "[2001:db8:0:0:0:0:0:1]".to_owned(),
            "*evil.com".to_owned(),
        ]);
        for (url, expected) in [
            ("https://orders.EXAMPLE.com:8443/a", true),
            ("https://a.vault.azure.net/", true),
            ("https://a.b.vault.azure.net/", true),
            ("http://127.0.0.1:1/", true),
            ("http://[::1]:1/", true),
            ("https://[2001:DB8::1]/", true),
            ("https://[2001:db8::2]/", false),
            ("https://vault.azure.net/", false),
            ("https://.vault.azure.net/", false),
            ("https://xvault.azure.net/", false),
            ("https://orders.example.com.contoso.com/", false),
            ("https://not-evil.com/", false),
            ("data:text/plain,x", false),
        ] {
            assert_eq!(hosts.contain(&Url::parse(url).unwrap()), expected, "{url}");
        }
    }

    #[test]
    fn plain_http_is_confidential_on_loopback_only() {
        for (url, expected) in [
            ("https://example.com", true),
            ("http://localhost", true),
            ("http://127.1.2.3", true),
            ("http://[::1]", true),
            ("http://example.com", false),
            ("http://localhost.example.com", false),
            ("http://10.0.0.1", false),
        ] {
            assert_eq!(is_confidential(&Url::parse(url).unwrap()), expected, "{url}");
        }
    }
}
