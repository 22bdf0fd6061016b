//! Where client assertions come from: the signed statement "I am this workload" that Entra trades for a token.

mod bounded_file;
#[cfg(feature = "client-certificate")]
mod certificate;
pub(crate) mod jwt;
mod projected_file;

use std::future::Future;

use async_trait::async_trait;

use crate::error::Error;
use crate::token::Secret;

#[cfg(feature = "client-certificate")]
pub(crate) use certificate::{CertificateOrigin, ClientCertificate};
pub use projected_file::ProjectedTokenFile;

/// A source of client assertions (RFC 7523).
///
/// It is asked once for every request to the token endpoint, retries included, so it must not keep an assertion longer
/// than that assertion is good. Asynchronous closures from [`AssertionRequest`] to `Result<Secret, Error>` are sources too.
///
/// # Errors
///
/// Whatever the source returns reaches the caller as it is. Use [`ErrorKind::Assertion`](crate::ErrorKind::Assertion)
/// for "there is none", and [`ErrorKind::Transport`](crate::ErrorKind::Transport) for "the service that makes them did
/// not answer": the latter lets the cache pause before it asks again. The message must not hold the assertion.
///
/// # Cancel safety
///
/// The future is dropped when the credential's time-out is over; a later call asks again.
///
/// # Examples
///
/// ```
/// use entra_workload::{AssertionRequest, ClientAssertionCredential, Error, ErrorKind, Secret};
///
/// # fn main() -> Result<(), Error> {
/// async fn from_spiffe(request: AssertionRequest) -> Result<Secret, Error> {
///     # let fetch = |_: &str| Err::<String, _>("no agent");
///     fetch(request.client_id())
///         .map(Secret::from)
///         .map_err(|error| Error::new(ErrorKind::Assertion, "the SPIFFE agent has no JWT-SVID").with_source(error))
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
    /// An assertion for `request`.
    async fn assertion(&self, request: AssertionRequest) -> Result<Secret, Error>;
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

/// Whom an assertion is for.
#[derive(Clone, Debug)]
pub struct AssertionRequest {
    client_id: String,
    token_endpoint: String,
}

impl AssertionRequest {
    pub(crate) fn new(client_id: &str, token_endpoint: &http::Uri) -> Self {
        Self {
            client_id: client_id.to_owned(),
            token_endpoint: token_endpoint.to_string(),
        }
    }

    /// The client id of the application: `iss` and `sub` of an assertion that the application signs itself.
    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    /// The absolute URL of the token endpoint: `aud` of an assertion that the application signs itself.
    pub fn token_endpoint(&self) -> &str {
        &self.token_endpoint
    }
}
