use std::fmt;

use crate::cache::Cache;
use crate::error::Attempt;

/// The identity of a credential that has a token: the result of `check`, for start-up and readiness
/// probes.
///
/// It contains no token. `Display` is one line for a log or a status page.
///
/// # Examples
///
/// A program that does not start without a token:
///
/// ```no_run
/// # async fn f() -> Result<(), entra_workload::Error> {
/// use entra_workload::WorkloadIdentityCredential;
///
/// let credential = WorkloadIdentityCredential::from_env()?;
/// let identity = credential.check(&["https://vault.azure.net/.default"]).await?;
/// println!("running as {identity}");
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Identity {
    pub(crate) credential: String,
    pub(crate) client_id: Option<String>,
    pub(crate) skipped: Vec<Attempt>,
}

impl Identity {
    /// Creates an identity, for a [`Credential`](crate::Credential) outside this crate that implements
    /// [`check`](crate::Credential::check) itself.
    ///
    /// * `credential`: the name of its type.
    ///
    /// # Examples
    ///
    /// ```
    /// use entra_workload::Identity;
    ///
    /// let identity = Identity::new("VaultCredential", Some("7a5ff21b-4f5b-4f5b-9e3e-2c0b5a1d9a10"));
    /// assert_eq!(
    ///     identity.to_string(),
    ///     "VaultCredential with client ID 7a5ff21b-4f5b-4f5b-9e3e-2c0b5a1d9a10"
    /// );
    /// ```
    pub fn new(credential: impl Into<String>, client_id: Option<&str>) -> Self {
        Self {
            credential: credential.into(),
            client_id: client_id.map(str::to_owned),
            skipped: Vec::new(),
        }
    }

    /// Returns the name of the selected link of a chain, or the type of any other credential.
    pub fn credential(&self) -> &str {
        &self.credential
    }

    /// Returns the client ID that tokens are requested for, if it is known.
    pub fn client_id(&self) -> Option<&str> {
        self.client_id.as_deref()
    }

    /// Returns the errors of the links of a chain before the selected one.
    pub fn skipped(&self) -> &[Attempt] {
        &self.skipped
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.credential)?;
        match &self.client_id {
            Some(client_id) => write!(f, " with client ID {client_id}"),
            None => Ok(()),
        }
    }
}

/// The part of a credential that gets tokens.
pub(crate) trait Identify {
    /// Returns the identity after a token was returned.
    ///
    /// * `credential`: the type of the credential.
    fn identity(&self, credential: &'static str) -> Identity;
}

impl Identify for Cache {
    fn identity(&self, credential: &'static str) -> Identity {
        Identity::new(credential, self.client_id())
    }
}
