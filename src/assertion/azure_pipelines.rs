use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use http::{Method, StatusCode};
use url::Url;

use super::token_service::{Hint, TokenService, parse_url, request};
use super::{AssertionRequest, ClientAssertion};
use crate::env::{
    AZURESUBSCRIPTION_CLIENT_ID, AZURESUBSCRIPTION_SERVICE_CONNECTION_ID, AZURESUBSCRIPTION_TENANT_ID,
    Environment, External, Form, SYSTEM_ACCESSTOKEN, SYSTEM_OIDCREQUESTURI, Variable,
};
use crate::error::Error;
use crate::guid::is_guid;
use crate::token::Secret;
use crate::transport::{HttpTransport, Transport};

/// A source of client assertions in a job of Azure Pipelines: the OIDC token of a service connection
/// with workload identity federation.
///
/// | variable | set by | meaning |
/// | --- | --- | --- |
/// | `SYSTEM_OIDCREQUESTURI` | the agent | URL of the token service |
/// | `SYSTEM_ACCESSTOKEN` | the step, with `env: {SYSTEM_ACCESSTOKEN: $(System.AccessToken)}` | authorizes the request |
/// | `AZURESUBSCRIPTION_SERVICE_CONNECTION_ID` | the tasks `AzureCLI@2`, `AzurePowerShell@5` | the service connection |
/// | `AZURESUBSCRIPTION_CLIENT_ID`, `AZURESUBSCRIPTION_TENANT_ID` | the same | the client and the tenant of the service connection |
///
/// One token is fetched for each token request, and none is cached. The audience of the tokens is that
/// of the service connection.
///
/// [`AzurePipelinesCredential`](crate::AzurePipelinesCredential) is a credential with this source.
///
/// # Errors
///
/// * [`ErrorKind::Transport`](crate::ErrorKind::Transport) if the service does not respond.
/// * [`ErrorKind::Rejected`](crate::ErrorKind::Rejected) if it refuses, with the status.
/// * [`ErrorKind::Protocol`](crate::ErrorKind::Protocol) if it redirects to its sign-in page or returns
///   that page, which is its answer to an invalid token, or if its answer contains no token.
///
/// # Examples
///
/// ```no_run
/// # fn f() -> Result<(), entra_workload::Error> {
/// use entra_workload::ClientAssertionCredential;
/// use entra_workload::assertion::AzurePipelines;
///
/// // The client and the tenant are those of the service connection.
/// let credential = ClientAssertionCredential::builder()
///     .assertion(AzurePipelines::from_env()?)
///     .build()?;
/// # Ok(()) }
/// ```
#[must_use]
pub struct AzurePipelines {
    url: Url,
    access_token: Secret,
    origin: [&'static str; 2],
    client_id: Option<External>,
    tenant_id: Option<External>,
    service: TokenService,
}

impl AzurePipelines {
    /// Creates a source from the variables of this job. Does no I/O.
    ///
    /// # Errors
    ///
    /// * [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) if `SYSTEM_OIDCREQUESTURI` is not set:
    ///   this is not a job of Azure Pipelines.
    /// * [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) if it is set, and it is invalid or
    ///   the access token or the service connection is missing.
    pub fn from_env() -> Result<Self, Error> {
        Self::from_environment(&Environment::from_process())
    }

    /// Creates a source from these variables; otherwise like [`from_env`](Self::from_env).
    ///
    /// # Errors
    ///
    /// As [`from_env`](Self::from_env).
    pub fn from_environment(environment: &Environment) -> Result<Self, Error> {
        Self::with_options(environment, None, None)
    }

    /// * `service_connection_id`, `access_token`: override their variables.
    pub(crate) fn with_options(
        environment: &Environment,
        service_connection_id: Option<External>,
        access_token: Option<Secret>,
    ) -> Result<Self, Error> {
        let value = |name, form| {
            let variable = environment.first(&[name], form)?;
            Ok::<_, Error>(variable.map(|variable| variable.value))
        };
        let url = environment
            .first(&[SYSTEM_OIDCREQUESTURI], Form::Url)?
            .ok_or_else(|| {
                Error::unavailable(format!(
                    "{SYSTEM_OIDCREQUESTURI} is not set: this is not a job of Azure Pipelines"
                ))
            })?;
        let access_token = match access_token {
            Some(token) => Some(token),
            None => value(SYSTEM_ACCESSTOKEN, Form::Hidden)?.map(|token| Secret::from(token.expose())),
        };
        let access_token = access_token.ok_or_else(|| {
            Error::configuration(format!(
                "{SYSTEM_ACCESSTOKEN} is not set; map it in the step with `env: {{{SYSTEM_ACCESSTOKEN}: \
                 $(System.AccessToken)}}`"
            ))
        })?;
        let service_connection_id = match service_connection_id.filter(|id| !id.is_empty()) {
            Some(id) => Some(id),
            None => value(AZURESUBSCRIPTION_SERVICE_CONNECTION_ID, Form::ClientId)?,
        };
        let service_connection_id = service_connection_id.ok_or_else(|| {
            Error::configuration(format!(
                "{AZURESUBSCRIPTION_SERVICE_CONNECTION_ID} is not set; run in a step of AzureCLI@2 or \
                 AzurePowerShell@5, or set it to the ID in the URL of the service connection"
            ))
        })?;
        let mut source = Self::new(&url, SYSTEM_ACCESSTOKEN, access_token, &service_connection_id)?;
        source.client_id = value(AZURESUBSCRIPTION_CLIENT_ID, Form::ClientId)?;
        source.tenant_id = value(AZURESUBSCRIPTION_TENANT_ID, Form::Tenant)?;
        Ok(source)
    }

    /// * `token_origin`: what the access token comes from, for messages.
    pub(super) fn new(
        url: &Variable,
        token_origin: &'static str,
        access_token: Secret,
        service_connection_id: &External,
    ) -> Result<Self, Error> {
        let mut parsed = parse_url(url.value.expose(), url.name)?;
        // It is sent in the URL.
        let service_connection_id = service_connection_id.expose();
        if !is_guid(service_connection_id) {
            return Err(Error::configuration(
                "the ID of the service connection is not a GUID; set it to the ID in the URL of the service connection",
            ));
        }
        parsed
            .query_pairs_mut()
            .append_pair("api-version", API_VERSION)
            .append_pair("serviceConnectionId", service_connection_id);
        Ok(Self {
            access_token,
            origin: [url.name, token_origin],
            client_id: None,
            tenant_id: None,
            service: TokenService {
                name: format!("the token service {}", parsed.authority()),
                pointer: "/oidcToken",
                hints: hints(),
                transport: Arc::new(HttpTransport::new()),
            },
            url: parsed,
        })
    }

    /// Sets the transport of the requests to Azure Pipelines. Default:
    /// [`HttpTransport`].
    pub fn transport(mut self, transport: impl Transport) -> Self {
        self.service.transport = Arc::new(transport);
        self
    }

    pub(crate) fn shared_transport(mut self, transport: Arc<dyn Transport>) -> Self {
        self.service.transport = transport;
        self
    }
}

#[async_trait]
impl ClientAssertion for AzurePipelines {
    async fn assertion(&self, _request: AssertionRequest) -> Result<Secret, Error> {
        let mut request = request(
            Method::POST,
            &self.url,
            &self.access_token,
            self.origin,
            "application/json",
            // The claims to add, as `azure-pipelines-task-lib` sends them: none.
            Bytes::from_static(b"{}"),
        )?;
        // Without it, an invalid token leads to a redirect to the sign-in page.
        request.headers_mut().insert(
            HeaderName::from_static("x-tfs-fedauthredirect"),
            HeaderValue::from_static("Suppress"),
        );
        self.service.fetch(request).await
    }

    fn client_id(&self) -> Option<&str> {
        self.client_id.as_ref().map(External::expose)
    }

    fn tenant_id(&self) -> Option<&str> {
        self.tenant_id.as_ref().map(External::expose)
    }
}

impl fmt::Debug for AzurePipelines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AzurePipelines")
            .field("service", &self.service.name)
            .field("client_id", &self.client_id)
            .field("tenant_id", &self.tenant_id)
            .finish_non_exhaustive()
    }
}

fn hints() -> Vec<Hint> {
    vec![
        Hint::new(
            &[StatusCode::NOT_FOUND, StatusCode::BAD_REQUEST],
            "check the ID of the service connection, and that this pipeline may use it",
        ),
        Hint::new(
            &[],
            "the access token is not valid here; map it in the step with `env: {SYSTEM_ACCESSTOKEN: \
             $(System.AccessToken)}`, and do not use one of another job",
        ),
    ]
}

/// Source: Azure DevOps REST API, "Oidctoken - Create".
const API_VERSION: &str = "7.1";
