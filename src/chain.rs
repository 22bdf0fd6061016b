//! One credential made of several: the first that is set up here answers.

#[cfg(feature = "default-credential")]
mod default_azure;

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex as StdMutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tokio::sync::Mutex;

use crate::cache::Key;
use crate::credential::Credential;
use crate::error::{Attempt, Error};
use crate::token::{AccessToken, TokenRequest};

#[cfg(feature = "default-credential")]
pub use default_azure::{DefaultAzureCredential, DefaultAzureCredentialBuilder, DefaultAzureLink};

/// Asks several credentials in turn, and goes on only past those that are not set up here.
///
/// A credential that is set up and fails stops the chain: to go on would answer with an identity that nobody chose. The link
/// that first gave a token is kept, and from then on asked alone. One line in the log, at `info`, says which it was.
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
pub struct ChainedTokenCredential {
    links: Vec<Link>,
    hint: Option<String>,
    keeps_link: bool,
    /// The index of the link that answered last; beyond the last one while none has.
    answered: AtomicUsize,
    /// What the links before it said.
    passed: StdMutex<Vec<Attempt>>,
    /// The walks under way while no link is kept.
    walks: StdMutex<HashMap<Key, Arc<Walk>>>,
}

impl ChainedTokenCredential {
    /// A builder, without links yet.
    pub fn builder() -> ChainedTokenCredentialBuilder {
        ChainedTokenCredentialBuilder {
            links: Vec::new(),
            hint: None,
            keeps_link: true,
        }
    }

    /// A token for `scopes`: as
    /// [`WorkloadIdentityCredential::token`](crate::WorkloadIdentityCredential::token), from the link that is kept, or the first
    /// that is set up here.
    ///
    /// # Errors
    ///
    /// While no link is kept: [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) if none is set up here, else the error of
    /// the link that stopped the chain; both with a line for each link, and with [`Error::attempts`]. Concurrent callers with
    /// the same request walk the chain once, and share its error. Afterwards: the errors of the link.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing: another caller walks on, and exchanges that have begun serve the next call.
    #[doc(alias = "get_token")]
    pub async fn token(&self, scopes: &[&str]) -> Result<AccessToken, Error> {
        self.token_for(&TokenRequest::new(scopes)).await
    }

    /// A token for a request with a tenant or claims of its own; otherwise as [`token`](Self::token).
    ///
    /// # Errors
    ///
    /// As [`token`](Self::token).
    pub async fn token_for(&self, request: &TokenRequest<'_>) -> Result<AccessToken, Error> {
        match self.cached(request) {
            Some(token) => Ok(token),
            None => Box::pin(self.asked(request)).await,
        }
    }

    /// Forgets this token, whichever link gave it.
    pub fn invalidate(&self, token: &AccessToken) {
        self.credentials()
            .for_each(|credential| credential.invalidate(token));
    }

    /// The name of the link that gave the last token; none while no link has.
    pub fn answered_by(&self) -> Option<&str> {
        let link = self.links.get(self.answered.load(Ordering::Acquire))?;
        Some(&link.name)
    }

    /// What the links before [`answered_by`](Self::answered_by) said when the chain passed them over.
    pub fn passed_over(&self) -> Vec<Attempt> {
        self.passed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn cached(&self, request: &TokenRequest<'_>) -> Option<AccessToken> {
        self.kept()?.cached(request)
    }

    async fn asked(&self, request: &TokenRequest<'_>) -> Result<AccessToken, Error> {
        if let Some(credential) = self.kept() {
            return credential.token_for(request).await;
        }
        if !self.keeps_link {
            return self.walked(request).await;
        }
        let key = Key::of(request)?;
        let walk = self.walks().entry(key.clone()).or_default().clone();
        let mut failure = walk.lock().await;
        if let Some(credential) = self.kept() {
            drop(failure);
            return credential.token_for(request).await;
        }
        // Whoever waited for this walk shares its failure, and does not repeat it.
        if let Some(error) = &*failure {
            return Err(error.clone());
        }
        let outcome = self.walked(request).await;
        self.walks().remove(&key);
        *failure = outcome.as_ref().err().cloned();
        outcome
    }

    fn walks(&self) -> MutexGuard<'_, HashMap<Key, Arc<Walk>>> {
        self.walks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn walked(&self, request: &TokenRequest<'_>) -> Result<AccessToken, Error> {
        let mut attempts = Vec::new();
        for (index, Link { name, credential }) in self.links.iter().enumerate() {
            let outcome = match credential {
                Ok(credential) => credential.token_for(request).await,
                Err(error) => Err(error.clone()),
            };
            match outcome {
                Ok(token) => {
                    self.answers(index, attempts);
                    return Ok(token);
                }
                Err(error) => {
                    let goes_on = error.is_unavailable();
                    attempts.push(Attempt::new(name.clone(), error));
                    if !goes_on {
                        break;
                    }
                }
            }
        }
        let hint = self.hint_besides(&attempts);
        Err(Error::of_chain(attempts, hint))
    }

    /// Notes that a link answers, and says so once.
    fn answers(&self, index: usize, passed: Vec<Attempt>) {
        if self.answered.swap(index, Ordering::AcqRel) == index {
            return;
        }
        if let Some(Link {
            name,
            credential: Ok(credential),
        }) = self.links.get(index)
        {
            let reason = |attempt: &Attempt| format!("{}: {}", attempt.name(), attempt.error());
            let reasons: Vec<String> = passed.iter().map(reason).collect();
            tracing::info!(
                credential = %name,
                client_id = credential.client_id(),
                passed_over = %reasons.join("; "),
                hint = self.hint_besides(&passed).map(tracing::field::display),
                "this credential answers"
            );
        }
        *self.passed.lock().unwrap_or_else(PoisonError::into_inner) = passed;
    }

    /// The hint, unless a link has said the same.
    fn hint_besides(&self, attempts: &[Attempt]) -> Option<&str> {
        let hint = self.hint.as_deref()?;
        let said = |attempt: &Attempt| attempt.error().to_string() == hint;
        (!attempts.iter().any(said)).then_some(hint)
    }

    fn kept(&self) -> Option<&Arc<dyn Credential>> {
        let link = self
            .links
            .get(self.answered.load(Ordering::Acquire))
            .filter(|_| self.keeps_link)?;
        link.credential.as_ref().ok()
    }

    fn credentials(&self) -> impl Iterator<Item = &Arc<dyn Credential>> {
        self.links.iter().filter_map(|link| link.credential.as_ref().ok())
    }
}

#[async_trait]
impl Credential for ChainedTokenCredential {
    async fn token_for(&self, request: &TokenRequest<'_>) -> Result<AccessToken, Error> {
        self.asked(request).await
    }

    fn cached(&self, request: &TokenRequest<'_>) -> Option<AccessToken> {
        self.cached(request)
    }

    fn invalidate(&self, token: &AccessToken) {
        self.invalidate(token);
    }

    fn clear(&self) {
        self.credentials().for_each(|credential| credential.clear());
    }

    fn client_id(&self) -> Option<&str> {
        self.kept()?.client_id()
    }
}

impl fmt::Debug for ChainedTokenCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.links.iter().map(|link| link.name.as_ref()).collect();
        f.debug_tuple("ChainedTokenCredential").field(&names).finish()
    }
}

/// Makes a [`ChainedTokenCredential`].
#[derive(Debug)]
pub struct ChainedTokenCredentialBuilder {
    links: Vec<Link>,
    /// What is wrong with this place, whichever link answers.
    hint: Option<String>,
    keeps_link: bool,
}

impl ChainedTokenCredentialBuilder {
    /// Adds a link.
    ///
    /// * `name`: stands in errors and in the log.
    /// * `credential`: any of this crate, or of the SDK through [`SdkCredential`](crate::SdkCredential).
    #[must_use]
    pub fn then(mut self, name: impl Into<Cow<'static, str>>, credential: Arc<dyn Credential>) -> Self {
        self.links.push(Link {
            name: name.into(),
            credential: Ok(credential),
        });
        self
    }

    /// Adds a link that could not be built. It answers with `error`: the chain goes on past it only if that is
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable).
    #[must_use]
    pub fn then_error(mut self, name: impl Into<Cow<'static, str>>, error: Error) -> Self {
        self.links.push(Link {
            name: name.into(),
            credential: Err(error),
        });
        self
    }

    /// Walks the chain at every call (each caller by itself, with a line in the log whenever another link answers), in place of keeping the link that first gave a token: an identity that is set up later can
    /// then go before the one that answered so far.
    #[must_use]
    pub fn walk_every_time(mut self) -> Self {
        self.keeps_link = false;
        self
    }

    /// Makes the credential. Does no I/O.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) if there is no link.
    pub fn build(self) -> Result<Arc<ChainedTokenCredential>, Error> {
        if self.links.is_empty() {
            return Err(Error::configuration(
                "the chain has no links; add one with .then(..)",
            ));
        }
        Ok(Arc::new(ChainedTokenCredential {
            links: self.links,
            hint: self.hint,
            keeps_link: self.keeps_link,
            answered: AtomicUsize::new(usize::MAX),
            passed: StdMutex::default(),
            walks: StdMutex::default(),
        }))
    }
}

#[derive(Debug)]
struct Link {
    name: Cow<'static, str>,
    /// Or why it could not be built.
    credential: Result<Arc<dyn Credential>, Error>,
}

/// Held by the one caller who walks the chain for a key; its error is for those who wait meanwhile.
type Walk = Mutex<Option<Error>>;

#[cfg(test)]
mod tests;
