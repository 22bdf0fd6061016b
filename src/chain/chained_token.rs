use std::borrow::Cow;
use std::sync::Arc;

use super::{Chain, Link};
use crate::credential::{Credential, credential};
use crate::error::{Attempt, Error};

/// Tries several credentials in order, and continues only past those that are not set up here.
///
/// A credential that is set up and fails stops the chain: to continue would answer with an identity that
/// nobody chose. The link that first returns a token is kept, and from then on used alone; one log line
/// at `info` names it. While no link is selected, concurrent callers with the same request walk the chain
/// once and share its error, which has a line for each link; see [`Error::attempts`].
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
///
/// use entra_workload::{ChainedTokenCredential, ClientSecretCredential, Environment, Error, WorkloadIdentityCredential};
///
/// # fn main() -> Result<(), Error> {
/// # let environment = Environment::from_iter([("AZURE_FEDERATED_TOKEN_FILE", "/t"), ("AZURE_CLIENT_ID", "c"), ("AZURE_TENANT_ID", "t")]);
/// let pod = WorkloadIdentityCredential::builder().environment(environment.clone()).build()?;
/// let ci = ClientSecretCredential::builder().environment(environment).client_secret("...").build()?;
/// let credential = ChainedTokenCredential::builder().then("workload identity", pod).then("secret", ci).build()?;
/// assert_eq!(format!("{credential:?}"), r#"ChainedTokenCredential(["workload identity", "secret"])"#);
/// # Ok(()) }
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

    /// Returns the name of the link that returned the last token, if one has.
    pub fn answered_by(&self) -> Option<&str> {
        self.0.selected_name()
    }

    /// Returns the errors of the links before [`answered_by`](Self::answered_by).
    pub fn passed_over(&self) -> Vec<Attempt> {
        self.0.skipped()
    }
}

credential!(ChainedTokenCredential);

/// Builds a [`ChainedTokenCredential`].
#[derive(Debug)]
pub struct ChainedTokenCredentialBuilder {
    links: Vec<Link>,
    keeps_selection: bool,
}

impl ChainedTokenCredentialBuilder {
    /// Adds a link.
    ///
    /// * `name`: for errors and the log.
    /// * `credential`: any of this crate, or of the SDK through [`SdkCredential`](crate::SdkCredential).
    #[must_use]
    pub fn then(mut self, name: impl Into<Cow<'static, str>>, credential: Arc<dyn Credential>) -> Self {
        self.links.push(Link {
            name: name.into(),
            credential: Ok(credential),
        });
        self
    }

    /// Adds a link that could not be built. It fails with `error`: the chain continues past it only if
    /// that is [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable).
    #[must_use]
    pub fn then_error(mut self, name: impl Into<Cow<'static, str>>, error: Error) -> Self {
        self.links.push(Link {
            name: name.into(),
            credential: Err(error),
        });
        self
    }

    /// Walks the chain at every call instead of keeping the link that first returned a token, so that an
    /// identity that is set up later can take precedence. Each caller walks by itself, and a log line
    /// names every change of the link.
    #[must_use]
    pub fn walk_every_time(mut self) -> Self {
        self.keeps_selection = false;
        self
    }

    /// Builds the credential. Does no I/O.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) if there is no link.
    pub fn build(self) -> Result<Arc<ChainedTokenCredential>, Error> {
        let chain = Chain::new(self.links, None, self.keeps_selection)?;
        Ok(Arc::new(ChainedTokenCredential(chain)))
    }
}
