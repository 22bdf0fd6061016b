use std::fmt;

use async_trait::async_trait;
use spiffe::transport::{Endpoint, TransportError};
use spiffe::{SpiffeId, WorkloadApiClient, WorkloadApiError};

use super::jwt::{Claims, algorithm};
use super::{AssertionRequest, ClientAssertion};
use crate::env::{Environment, External, Form, SPIFFE_ENDPOINT_SOCKET};
use crate::error::{Error, ErrorKind};
use crate::token::Secret;

/// A source of client assertions that gets a JWT-SVID of this workload from the SPIFFE Workload API, such
/// as that of a SPIRE agent.
///
/// The application or user-assigned managed identity needs a federated credential with the issuer of the
/// trust domain's OIDC discovery provider and the SPIFFE ID as subject. Entra accepts RS256 only, whereas
/// SPIRE signs with ES256 by default: set `jwt_key_type = "rsa-2048"` and `jwt_issuer` in the configuration
/// of the SPIRE server.
///
/// A JWT-SVID is fetched for each token request, over a new connection, and none is cached: the agent
/// caches them.
///
/// Source: SPIFFE, "The SPIFFE Workload API" and "The SPIFFE Workload Endpoint".
///
/// # Errors
///
/// * [`ErrorKind::Transport`] if the agent does not respond.
/// * [`ErrorKind::Rejected`] if it issues no identity to this workload.
/// * [`ErrorKind::Protocol`] if its answer contains no JWT.
/// * [`ErrorKind::Assertion`] if the JWT-SVID has another algorithm than RS256.
///
/// # Examples
///
/// ```no_run
/// # async fn f() -> Result<(), entra_workload::Error> {
/// use entra_workload::ClientAssertionCredential;
/// use entra_workload::assertion::SpiffeJwtSvid;
///
/// let credential = ClientAssertionCredential::builder()
///     .tenant_id("72f988bf-86f1-41af-91ab-2d7cd011db47")
///     .client_id("7a5ff21b-4f5b-4f5b-9e3e-2c0b5a1d9a10")
///     .assertion(SpiffeJwtSvid::from_env()?)
///     .build()?;
/// let token = credential.token(&["https://vault.azure.net/.default"]).await?;
/// # Ok(()) }
/// ```
#[must_use]
pub struct SpiffeJwtSvid {
    endpoint: Endpoint,
    socket: External,
    audience: Option<String>,
    spiffe_id: Option<String>,
}

impl SpiffeJwtSvid {
    /// Creates a source for the agent at `SPIFFE_ENDPOINT_SOCKET`: `unix:///path` or `tcp://address:port`.
    /// Does no I/O.
    ///
    /// # Errors
    ///
    /// * [`ErrorKind::Unavailable`] if the variable is not set.
    /// * [`ErrorKind::Configuration`] if it is invalid.
    pub fn from_env() -> Result<Self, Error> {
        Self::from_environment(&Environment::from_process())
    }

    /// Creates a source from these variables; otherwise like [`from_env`](Self::from_env).
    ///
    /// # Errors
    ///
    /// As [`from_env`](Self::from_env).
    pub fn from_environment(environment: &Environment) -> Result<Self, Error> {
        let socket = environment
            .first(&[SPIFFE_ENDPOINT_SOCKET], Form::Socket)?
            .ok_or_else(|| {
                Error::unavailable(format!(
                    "{SPIFFE_ENDPOINT_SOCKET} is not set: this workload has no SPIFFE agent"
                ))
            })?;
        let endpoint = Endpoint::parse(socket.value.expose()).map_err(|error| {
            Error::configuration(format!(
                "{SPIFFE_ENDPOINT_SOCKET} is not the address of a SPIFFE agent; an example is \
                 unix:///run/spire/sockets/agent.sock"
            ))
            .with_source(error)
        })?;
        Ok(Self {
            endpoint,
            socket: socket.value,
            audience: None,
            spiffe_id: None,
        })
    }

    /// Sets the audience of the JWT-SVIDs. Default: that of the credential's [cloud](crate::Cloud), which is
    /// `api://AzureADTokenExchange` in the public cloud.
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audience = Some(audience.into());
        self
    }

    /// Sets the SPIFFE ID, for a workload that has several: `spiffe://trust-domain/path`. Default: the first
    /// one that the agent returns.
    pub fn spiffe_id(mut self, spiffe_id: impl Into<String>) -> Self {
        self.spiffe_id = Some(spiffe_id.into());
        self
    }

    fn convert_error(&self, error: WorkloadApiError) -> Error {
        let socket = &self.socket;
        match error {
            WorkloadApiError::Transport(TransportError::Connect(_)) => Error::transport(format!(
                "the SPIFFE agent at {socket} does not respond; check {SPIFFE_ENDPOINT_SOCKET}, and that the socket is \
                 mounted into this container"
            ))
            .with_source(error),
            WorkloadApiError::NoIdentityIssued | WorkloadApiError::PermissionDenied(_) => Error::new(
                ErrorKind::Rejected,
                format!(
                    "the SPIFFE agent at {socket} issues no identity to this workload; check the selectors and the SPIFFE ID \
                     of its registration entry"
                ),
            ),
            // Without its text, which is that of the agent.
            WorkloadApiError::Transport(TransportError::Status(status)) => {
                let code = status.code();
                let text = format!("the SPIFFE agent at {socket} failed ({code:?})");
                match code {
                    spiffe::transport::GrpcStatusCode::Unavailable => Error::transport(text),
                    _ => Error::new(ErrorKind::Rejected, text),
                }
            }
            _ => Error::protocol(format!("the SPIFFE agent at {socket} returned no JWT-SVID")),
        }
    }
}

#[async_trait]
impl ClientAssertion for SpiffeJwtSvid {
    async fn assertion(&self, asked: AssertionRequest) -> Result<Secret, Error> {
        let audience = self.audience.as_deref().unwrap_or(asked.audience());
        let spiffe_id = self.spiffe_id.as_deref().map(SpiffeId::new).transpose();
        let spiffe_id = spiffe_id.map_err(|error| {
            Error::configuration("invalid SPIFFE ID; an example is spiffe://contoso.com/orders")
                .with_source(error)
        })?;
        // A connection ends with the runtime that opened it, so none is kept.
        let client = WorkloadApiClient::connect(self.endpoint.clone())
            .await
            .map_err(|error| self.convert_error(error))?;
        let svid = client
            .fetch_jwt_token([audience], spiffe_id.as_ref())
            .await
            .map_err(|error| self.convert_error(error))?;
        let svid = zeroize::Zeroizing::new(svid);
        Claims::read(&svid).map_err(|reason| {
            Error::protocol(format!("the JWT-SVID of the SPIFFE agent is not a JWT: {reason}"))
        })?;
        match algorithm(&svid).as_deref() {
            Some(RS256) => Ok(Secret::from(svid.as_str())),
            other => Err(Error::assertion(format!(
                "the JWT-SVID is signed with {}, and Entra accepts {RS256} only; set jwt_key_type = \"rsa-2048\" in the \
                 configuration of the SPIRE server",
                other.unwrap_or("an unknown algorithm")
            ))),
        }
    }
}

impl fmt::Debug for SpiffeJwtSvid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpiffeJwtSvid")
            .field("socket", &self.socket)
            .field("audience", &self.audience)
            .field("spiffe_id", &self.spiffe_id)
            .finish_non_exhaustive()
    }
}

/// Source: Microsoft identity platform, "Workload identity federation", section "Supported scenarios".
const RS256: &str = "RS256";
