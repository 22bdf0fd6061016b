use std::fmt;

use async_trait::async_trait;

use super::jwt::Claims;
use super::{AssertionRequest, AzurePipelines, ClientAssertion, GitHubActions, ProjectedTokenFile};
use crate::clock::{Clock, SystemClock};
use crate::env::{
    ACTIONS_ID_TOKEN_REQUEST_URL, ARM_OIDC_REQUEST_TOKEN, ARM_OIDC_REQUEST_URL, ARM_OIDC_TOKEN,
    ARM_OIDC_TOKEN_FILE_PATH, CLIENT_IDS, Environment, External, Form, OIDC_REQUESTS, OIDC_TOKEN_FILES,
    OIDC_TOKENS, SERVICE_CONNECTION_IDS, TENANT_IDS, Variable,
};
use crate::error::Error;
use crate::token::Secret;
use crate::transport::Transport;

/// A source of client assertions that takes the variables of Terraform's Azure providers, so that a
/// job that runs Terraform needs no others.
///
/// The first of these that is set decides where the assertion comes from:
///
/// | variable | or | meaning |
/// | --- | --- | --- |
/// | `ARM_OIDC_TOKEN` | | the assertion itself, which expires |
/// | `ARM_OIDC_TOKEN_FILE_PATH` | `AZURE_FEDERATED_TOKEN_FILE` | a file with it, read for each token request |
/// | `ARM_OIDC_REQUEST_URL` and `ARM_OIDC_REQUEST_TOKEN` | | the token service of GitHub Actions, or of Azure Pipelines if a service connection is set |
/// | `ACTIONS_ID_TOKEN_REQUEST_URL` and `ACTIONS_ID_TOKEN_REQUEST_TOKEN` | | the token service of GitHub Actions |
/// | `SYSTEM_OIDCREQUESTURI` and `SYSTEM_ACCESSTOKEN` | | the token service of Azure Pipelines |
///
/// A token is never sent to the URL of another line.
///
/// `ARM_CLIENT_ID` and `ARM_TENANT_ID` (or `AZURESUBSCRIPTION_CLIENT_ID` and `AZURESUBSCRIPTION_TENANT_ID`)
/// are the defaults of the credential. The service connection is
/// `ARM_ADO_PIPELINE_SERVICE_CONNECTION_ID`, `ARM_OIDC_AZURE_SERVICE_CONNECTION_ID` or
/// `AZURESUBSCRIPTION_SERVICE_CONNECTION_ID`.
///
/// Source: provider `azurerm`, "Authenticating using a Service Principal with Open ID Connect"; the
/// fallbacks are those of the provider `azapi` too.
///
/// # Errors
///
/// Those of [`ProjectedTokenFile`], [`GitHubActions`] or [`AzurePipelines`], and
/// [`ErrorKind::Assertion`](crate::ErrorKind::Assertion) if `ARM_OIDC_TOKEN` is not a JWT or expired.
///
/// # Examples
///
/// ```no_run
/// # fn f() -> Result<(), entra_workload::Error> {
/// use entra_workload::ClientAssertionCredential;
/// use entra_workload::assertion::TerraformOidc;
///
/// let credential = ClientAssertionCredential::builder()
///     .assertion(TerraformOidc::from_env()?)
///     .build()?;
/// # Ok(()) }
/// ```
#[must_use]
pub struct TerraformOidc {
    source: Source,
    client_id: Option<External>,
    tenant_id: Option<External>,
}

impl TerraformOidc {
    /// Creates a source from the variables of this process. Does no I/O.
    ///
    /// # Errors
    ///
    /// * [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) if none of the variables is set.
    /// * [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) if the URL or the token of the token
    ///   service is set alone, or the URL is invalid.
    pub fn from_env() -> Result<Self, Error> {
        Self::from_environment(&Environment::from_process())
    }

    /// Creates a source from these variables; otherwise like [`from_env`](Self::from_env).
    ///
    /// # Errors
    ///
    /// As [`from_env`](Self::from_env).
    pub fn from_environment(environment: &Environment) -> Result<Self, Error> {
        let value = |names, form| {
            let variable = environment.first(names, form)?;
            Ok::<_, Error>(variable.map(|variable| variable.value))
        };
        Ok(Self {
            source: Source::find(environment)?,
            client_id: value(&CLIENT_IDS, Form::ClientId)?,
            tenant_id: value(&TENANT_IDS, Form::Tenant)?,
        })
    }

    /// Sets the transport of the requests to a token service. Default:
    /// [`HttpTransport`](crate::transport::HttpTransport).
    pub fn transport(mut self, transport: impl Transport) -> Self {
        self.source = match self.source {
            Source::GitHubActions(source) => Source::GitHubActions(source.transport(transport)),
            Source::AzurePipelines(source) => Source::AzurePipelines(source.transport(transport)),
            source => source,
        };
        self
    }
}

#[async_trait]
impl ClientAssertion for TerraformOidc {
    async fn assertion(&self, request: AssertionRequest) -> Result<Secret, Error> {
        match &self.source {
            Source::Token(token) => check(token).map(|()| token.clone()),
            Source::File(file) => file.assertion(request).await,
            Source::GitHubActions(source) => source.assertion(request).await,
            Source::AzurePipelines(source) => source.assertion(request).await,
        }
    }

    fn client_id(&self) -> Option<&str> {
        self.client_id.as_ref().map(External::expose)
    }

    fn tenant_id(&self) -> Option<&str> {
        self.tenant_id.as_ref().map(External::expose)
    }
}

impl fmt::Debug for TerraformOidc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TerraformOidc")
            .field("source", &self.source)
            .field("client_id", &self.client_id)
            .field("tenant_id", &self.tenant_id)
            .finish()
    }
}

/// Where the assertion comes from. `Debug` of a [`Secret`] does not show it.
#[derive(Debug)]
enum Source {
    Token(Secret),
    File(ProjectedTokenFile),
    GitHubActions(GitHubActions),
    AzurePipelines(AzurePipelines),
}

impl Source {
    fn find(environment: &Environment) -> Result<Self, Error> {
        if let Some(token) = environment.first(&OIDC_TOKENS, Form::Hidden)? {
            return Ok(Self::Token(Secret::from(token.value.expose().trim())));
        }
        if let Some(file) = environment.first(&OIDC_TOKEN_FILES, Form::Path)? {
            return Ok(Self::File(ProjectedTokenFile::new(file.value.as_path())));
        }
        // A token is only for the service of its own system, so the variables of two are never mixed.
        for (url, token) in OIDC_REQUESTS {
            let variables = (
                environment.first(&[url], Form::Url)?,
                environment.first(&[token], Form::Hidden)?,
            );
            match variables {
                (Some(url), Some(token)) => return Self::of_service(environment, &url, &token),
                (Some(_), None) => return Err(lonely(url, token)),
                // A token of a CI system alone is no sign of a federation.
                (None, Some(_)) if token == ARM_OIDC_REQUEST_TOKEN => return Err(lonely(token, url)),
                (None, _) => {}
            }
        }
        Err(Error::unavailable(format!(
            "none of {ARM_OIDC_TOKEN}, {ARM_OIDC_TOKEN_FILE_PATH} and {ARM_OIDC_REQUEST_URL} is set"
        )))
    }

    fn of_service(environment: &Environment, url: &Variable, token: &Variable) -> Result<Self, Error> {
        let service_connection = environment.first(&SERVICE_CONNECTION_IDS, Form::ClientId)?;
        match (url.name, service_connection) {
            (ACTIONS_ID_TOKEN_REQUEST_URL, _) | (ARM_OIDC_REQUEST_URL, None) => {
                GitHubActions::new(url, token).map(Self::GitHubActions)
            }
            (_, Some(id)) => {
                let access_token = Secret::from(token.value.expose());
                let source = AzurePipelines::new(url, token.name, access_token, &id.value)?;
                Ok(Self::AzurePipelines(source))
            }
            (_, None) => Err(Error::configuration(format!(
                "{} is not set; set it to the ID in the URL of the service connection",
                SERVICE_CONNECTION_IDS[0]
            ))),
        }
    }
}

fn lonely(set: &str, missing: &str) -> Error {
    Error::configuration(format!("{missing} is not set and {set} is; set both"))
}

fn check(token: &Secret) -> Result<(), Error> {
    let claims = Claims::read(token.expose())
        .map_err(|reason| Error::assertion(format!("{ARM_OIDC_TOKEN} is not a JWT: {reason}")))?;
    let now = SystemClock::new().now().system_time;
    if claims.expires_on.is_some_and(|expires_on| expires_on <= now) {
        return Err(Error::assertion(format!(
            "{ARM_OIDC_TOKEN} has expired; set {ARM_OIDC_TOKEN_FILE_PATH} or {ARM_OIDC_REQUEST_URL} in its place, which \
             get a new one for each token request"
        )));
    }
    Ok(())
}
