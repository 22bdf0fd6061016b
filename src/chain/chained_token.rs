use std::borrow::Cow;
use std::sync::Arc;

use super::{Chain, Link};
use crate::credential::{Credential, credential};
use crate::error::Error;

/// Tries several credentials in order and continues only past unavailable ones.
///
/// A credential that is set up and fails stops the chain, because the next link could have an
/// identity that nobody chose. The first link that returns a token is selected: all later calls use
/// it alone, and one log event at `info` names it. While no link is selected, concurrent callers
/// with the same request walk the chain once and share its error, which begins with the link that
/// decided it; see [`Error::attempts`] for the others.
///
/// # Examples
///
/// ```
/// use entra_workload::{
///     ChainedTokenCredential, ClientSecretCredential, Environment, WorkloadIdentityCredential,
/// };
///
/// # let environment = Environment::from_iter([
/// #     ("AZURE_TENANT_ID", "72f988bf-86f1-41af-91ab-2d7cd011db47"),
/// #     ("AZURE_CLIENT_ID", "7a5ff21b-4f5b-4f5b-9e3e-2c0b5a1d9a10"),
/// #     ("AZURE_FEDERATED_TOKEN_FILE", "/var/run/secrets/azure/wi/token/azure-identity-token"),
/// # ]);
/// let pod = WorkloadIdentityCredential::builder().environment(environment.clone()).build()?;
/// let ci = ClientSecretCredential::builder()
///     .environment(environment)
///     .client_secret("...")
///     .build()?;
/// let credential = ChainedTokenCredential::builder()
///     .then("workload identity", pod)
///     .then("secret", ci)
///     .build()?;
/// assert_eq!(
///     format!("{credential:?}"),
///     r#"ChainedTokenCredential(["workload identity", "secret"])"#
/// );
/// # Ok::<(), entra_workload::Error>(())
/// ```
#[derive(Debug)]
pub struct ChainedTokenCredential(Chain);

impl ChainedTokenCredential {
    /// Returns a builder without links.
    pub fn builder() -> ChainedTokenCredentialBuilder {
        ChainedTokenCredentialBuilder {
            links: Vec::new(),
            keeps_selection: true,
        }
    }

    /// Returns the name of the selected link: the one that returned the last token, if one has.
    /// [`check`](Self::check) also returns why the links before it were skipped.
    pub fn selected(&self) -> Option<&str> {
        self.0.selected_name()
    }
}

credential!(ChainedTokenCredential);

/// Builds a [`ChainedTokenCredential`].
///
/// # Examples
///
/// A chain that works without workload identity too:
///
/// ```
/// use entra_workload::{
///     ChainedTokenCredential, ClientSecretCredential, Environment, WorkloadIdentityCredential,
/// };
///
/// let mut builder = ChainedTokenCredential::builder();
/// let outside_a_pod = Environment::default();
/// builder = match WorkloadIdentityCredential::builder().environment(outside_a_pod).build() {
///     Ok(credential) => builder.then("workload identity", credential),
///     Err(error) => builder.then_error("workload identity", error),
/// };
/// let secret = ClientSecretCredential::builder()
///     .tenant_id("72f988bf-86f1-41af-91ab-2d7cd011db47")
///     .client_id("7a5ff21b-4f5b-4f5b-9e3e-2c0b5a1d9a10")
///     .client_secret("...")
///     .build()?;
/// let credential = builder.then("secret", secret).build()?;
/// # drop(credential);
/// # Ok::<(), entra_workload::Error>(())
/// ```
#[derive(Debug)]
pub struct ChainedTokenCredentialBuilder {
    links: Vec<Link>,
    keeps_selection: bool,
}

impl ChainedTokenCredentialBuilder {
    /// Adds a link.
    ///
    /// * `name`: its name in errors and in the log.
    /// * `credential`: any credential of this crate, or one of the SDK wrapped in
    ///   [`SdkCredential`](crate::integration::SdkCredential).
    #[must_use]
    pub fn then(mut self, name: impl Into<Cow<'static, str>>, credential: Arc<dyn Credential>) -> Self {
        self.links.push(Link::new(name, Ok(credential)));
        self
    }

    /// Adds a link whose credential could not be built. It fails with `error`, so the chain
    /// continues past it only if the kind is
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable).
    #[must_use]
    pub fn then_error(mut self, name: impl Into<Cow<'static, str>>, error: Error) -> Self {
        self.links.push(Link::new(name, Err(error)));
        self
    }

    /// Walks the chain at every call instead of selecting a link, so that an identity that is set
    /// up later takes precedence. Each caller walks by itself, and a log event names every change
    /// of the link.
    #[must_use]
    pub fn walk_every_time(mut self) -> Self {
        self.keeps_selection = false;
        self
    }

    /// Builds the credential. Does no I/O.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) if the chain has no links.
    pub fn build(self) -> Result<Arc<ChainedTokenCredential>, Error> {
        let chain = Chain::new(self.links, None, self.keeps_selection)?;
        Ok(Arc::new(ChainedTokenCredential(chain)))
    }
}
