use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Method, StatusCode};
use url::Url;

use super::token_service::{Hint, TokenService, parse_url, request};
use super::{AssertionRequest, ClientAssertion};
use crate::env::{ACTIONS_ID_TOKEN_REQUEST_TOKEN, ACTIONS_ID_TOKEN_REQUEST_URL, Environment, Form, Variable};
use crate::error::Error;
use crate::token::Secret;
use crate::transport::{HttpTransport, Transport};

/// A source of client assertions in a job of GitHub Actions: the OIDC token of the job.
///
/// The workflow needs the permission `id-token: write`. The application or user-assigned managed
/// identity needs a federated credential with the issuer `https://token.actions.githubusercontent.com`
/// and the subject of the job, such as `repo:contoso/orders:ref:refs/heads/main`.
///
/// A token of GitHub lives for minutes, so one is fetched for each token request, and none is cached.
///
/// Source: GitHub, "OpenID Connect reference".
///
/// # Errors
///
/// * [`ErrorKind::Transport`](crate::ErrorKind::Transport) if the service does not respond.
/// * [`ErrorKind::Rejected`](crate::ErrorKind::Rejected) if it refuses, with the status.
/// * [`ErrorKind::Protocol`](crate::ErrorKind::Protocol) if its answer contains no token.
///
/// # Examples
///
/// ```no_run
/// # async fn f() -> Result<(), entra_workload::Error> {
/// use entra_workload::ClientAssertionCredential;
/// use entra_workload::assertion::GitHubActions;
///
/// let credential = ClientAssertionCredential::builder()
///     .tenant_id("72f988bf-86f1-41af-91ab-2d7cd011db47")
///     .client_id("7a5ff21b-4f5b-4f5b-9e3e-2c0b5a1d9a10")
///     .assertion(GitHubActions::from_env()?)
///     .build()?;
/// let token = credential.token(&["https://management.azure.com/.default"]).await?;
/// # Ok(()) }
/// ```
#[must_use]
pub struct GitHubActions {
    url: Url,
    request_token: Secret,
    origin: [&'static str; 2],
    audience: Option<String>,
    service: TokenService,
}

impl GitHubActions {
    /// Creates a source from the variables of this job: `ACTIONS_ID_TOKEN_REQUEST_URL` and
    /// `ACTIONS_ID_TOKEN_REQUEST_TOKEN`. Does no I/O.
    ///
    /// # Errors
    ///
    /// * [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) if one of them is not set: this is not a
    ///   job of GitHub Actions, or its workflow has no permission to get tokens.
    /// * [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) if the URL is invalid.
    pub fn from_env() -> Result<Self, Error> {
        Self::from_environment(&Environment::from_process())
    }

    /// Creates a source from these variables; otherwise like [`from_env`](Self::from_env).
    ///
    /// # Errors
    ///
    /// As [`from_env`](Self::from_env).
    pub fn from_environment(environment: &Environment) -> Result<Self, Error> {
        let url = environment.first(&[ACTIONS_ID_TOKEN_REQUEST_URL], Form::Url)?;
        let token = environment.first(&[ACTIONS_ID_TOKEN_REQUEST_TOKEN], Form::Hidden)?;
        match (url, token) {
            (Some(url), Some(token)) => Self::new(&url, &token),
            (url, _) => Err(Error::unavailable(format!(
                "{} is not set: this is not a job of GitHub Actions, or its workflow lacks `permissions: id-token: \
                 write`, which a pull request from a fork never has",
                if url.is_none() {
                    ACTIONS_ID_TOKEN_REQUEST_URL
                } else {
                    ACTIONS_ID_TOKEN_REQUEST_TOKEN
                }
            ))),
        }
    }

    pub(super) fn new(url: &Variable, request_token: &Variable) -> Result<Self, Error> {
        let host = parse_url(url.value.expose(), url.name)?;
        Ok(Self {
            origin: [url.name, request_token.name],
            request_token: Secret::from(request_token.value.expose()),
            audience: None,
            service: TokenService {
                name: format!("the token service {}", host.authority()),
                pointer: "/value",
                hints: hints(),
                transport: Arc::new(HttpTransport::new()),
            },
            url: host,
        })
    }

    /// Sets the audience of the tokens. Default: that of the credential's [cloud](crate::Cloud), which is
    /// `api://AzureADTokenExchange` in the public cloud.
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audience = Some(audience.into());
        self
    }

    /// Sets the transport of the requests to GitHub. Default: [`HttpTransport`].
    pub fn transport(mut self, transport: impl Transport) -> Self {
        self.service.transport = Arc::new(transport);
        self
    }
}

#[async_trait]
impl ClientAssertion for GitHubActions {
    async fn assertion(&self, asked: AssertionRequest) -> Result<Secret, Error> {
        let audience = self.audience.as_deref().unwrap_or(asked.audience());
        let mut url = self.url.clone();
        // The URL has a query of its own.
        url.query_pairs_mut().append_pair("audience", audience);
        let request = request(
            Method::GET,
            &url,
            &self.request_token,
            self.origin,
            "application/json; api-version=2.0",
            Bytes::new(),
        )?;
        self.service.fetch(request).await
    }
}

impl fmt::Debug for GitHubActions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GitHubActions")
            .field("service", &self.service.name)
            .field("audience", &self.audience)
            .finish_non_exhaustive()
    }
}

fn hints() -> Vec<Hint> {
    vec![
        Hint::new(
            &[StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN],
            "the request token is valid only while its job runs; use the variables of the running job",
        ),
        Hint::new(&[], "check the variables of the job and the audience"),
    ]
}
