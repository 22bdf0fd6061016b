//! Client assertions: the signed statements of an identity that Entra exchanges for access tokens.

mod azure_pipelines;
#[cfg(feature = "client-certificate")]
mod certificate;
#[cfg(feature = "command")]
mod command;
mod github_actions;
pub(crate) mod jwt;
mod projected_file;
#[cfg(feature = "spiffe")]
mod spiffe;
mod terraform;
mod token_request;
mod token_service;

use std::future::Future;

use async_trait::async_trait;

use crate::error::Error;
use crate::token::Secret;

pub use crate::credential::CredentialAssertion;
pub use azure_pipelines::AzurePipelines;
#[cfg(feature = "client-certificate")]
pub(crate) use certificate::{CertificateOrigin, ClientCertificate};
#[cfg(feature = "command")]
pub use command::CommandAssertion;
pub use github_actions::GitHubActions;
pub use projected_file::ProjectedTokenFile;
#[cfg(feature = "spiffe")]
pub use spiffe::SpiffeJwtSvid;
pub use terraform::TerraformOidc;
pub use token_request::KubernetesTokenRequest;

/// A source of client assertions (RFC 7523).
///
/// The credential calls it for each token request, retries included, so an implementation that
/// keeps an assertion must replace it before it expires. An asynchronous function from
/// [`AssertionRequest`] to `Result<Secret, Error>` is a source too.
///
/// # Errors
///
/// The credential returns the error of its source unchanged. Use
/// [`ErrorKind::Assertion`](crate::ErrorKind::Assertion) if there is no assertion, and
/// [`ErrorKind::Transport`](crate::ErrorKind::Transport) if the service that issues it did not
/// respond: then the source is called again, as often as a token request is repeated, and the key cools
/// down before the next call. If the service throttles or is unavailable, add its status and the pause that it
/// asks for ([`Error::with_status`], [`Error::with_retry_after`]): the source is not called before the pause
/// ends. The message must not contain the assertion.
///
/// # Cancel safety
///
/// The future is dropped when the credential's time limit ends, which counts as a `Transport` error; the
/// next call after the cooldown starts a new one.
///
/// # Examples
///
/// ```
/// use entra_workload::{ClientAssertionCredential, Error, ErrorKind, Secret};
/// use entra_workload::assertion::AssertionRequest;
///
/// # fn main() -> Result<(), Error> {
/// async fn from_spiffe(request: AssertionRequest) -> Result<Secret, Error> {
///     # let fetch = |_: &str| Err::<String, _>("no agent");
///     fetch(request.client_id()).map(Secret::from).map_err(|error| {
///         Error::new(ErrorKind::Assertion, "the SPIFFE agent has no JWT-SVID").with_source(error)
///     })
/// }
///
/// let credential = ClientAssertionCredential::builder()
///     .tenant_id("72f988bf-86f1-41af-91ab-2d7cd011db47")
///     .client_id("7a5ff21b-4f5b-4f5b-9e3e-2c0b5a1d9a10")
///     .assertion(from_spiffe)
///     .build()?;
/// # Ok(()) }
/// ```
#[async_trait]
pub trait ClientAssertion: Send + Sync + 'static {
    /// Returns an assertion for `request`.
    ///
    /// # Errors
    ///
    /// As described at [`ClientAssertion`].
    async fn assertion(&self, request: AssertionRequest) -> Result<Secret, Error>;

    /// Returns the client ID that the source's environment names, which is the default of the
    /// credential's option `client_id` before `AZURE_CLIENT_ID`.
    fn client_id(&self) -> Option<&str> {
        None
    }

    /// Returns the tenant that the source's environment names, which is the default of the
    /// credential's option `tenant_id` before `AZURE_TENANT_ID`.
    fn tenant_id(&self) -> Option<&str> {
        None
    }
}

#[async_trait]
impl<F, R> ClientAssertion for F
where
    F: Fn(AssertionRequest) -> R + Send + Sync + 'static,
    R: Future<Output = Result<Secret, Error>> + Send,
{
    async fn assertion(&self, request: AssertionRequest) -> Result<Secret, Error> {
        self(request).await
    }
}

/// The client and the token endpoint that an assertion is for.
///
/// # Examples
///
/// The claims of an assertion that the application signs itself:
///
/// ```
/// use entra_workload::assertion::AssertionRequest;
///
/// fn claims(request: &AssertionRequest, expires_on: u64) -> serde_json::Value {
///     serde_json::json!({
///         "iss": request.client_id(),
///         "sub": request.client_id(),
///         "aud": request.token_endpoint(),
///         "exp": expires_on,
///     })
/// }
/// ```
#[derive(Clone, Debug)]
pub struct AssertionRequest {
    client_id: String,
    token_endpoint: String,
    audience: String,
}

impl AssertionRequest {
    pub(crate) fn new(client_id: &str, token_endpoint: &http::Uri, audience: &str) -> Self {
        Self {
            client_id: client_id.to_owned(),
            token_endpoint: token_endpoint.to_string(),
            audience: audience.to_owned(),
        }
    }

    /// Returns the client ID of the application: `iss` and `sub` of an assertion that it signs
    /// itself.
    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    /// Returns the absolute URL of the token endpoint: `aud` of an assertion that the application
    /// signs itself.
    pub fn token_endpoint(&self) -> &str {
        &self.token_endpoint
    }

    /// Returns the audience of the token exchange in the credential's [cloud](crate::Cloud), such as
    /// `api://AzureADTokenExchange`: `aud` of an assertion that another issuer signs.
    pub fn audience(&self) -> &str {
        &self.audience
    }
}
