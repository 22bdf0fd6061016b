//! Chains: one credential made of several, of which the first available one is used.

mod chained_token;
#[cfg(feature = "default-credential")]
mod default_azure;
#[cfg(feature = "default-credential")]
mod default_azure_link;

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex as StdMutex, MutexGuard, PoisonError};

use tokio::sync::Mutex;

use crate::cache::Key;
use crate::credential::Credential;
use crate::error::{Attempt, Error};
use crate::token::{AccessToken, TokenRequest};

pub use chained_token::{ChainedTokenCredential, ChainedTokenCredentialBuilder};
#[cfg(feature = "default-credential")]
pub use default_azure::{DefaultAzureCredential, DefaultAzureCredentialBuilder};
#[cfg(feature = "default-credential")]
pub use default_azure_link::DefaultAzureLink;

/// The links of a chain, and the one that was selected.
pub(crate) struct Chain {
    links: Vec<Link>,
    /// A problem of the environment to report, whichever link returns a token.
    hint: Option<String>,
    keeps_selection: bool,
    /// The index of the link that returned the last token; past the end while none has.
    selected: AtomicUsize,
    /// The errors of the links before it.
    skipped: StdMutex<Vec<Attempt>>,
    /// The walks in progress while no link is selected.
    walks: StdMutex<HashMap<Key, Arc<Walk>>>,
}

#[derive(Debug)]
struct Link {
    name: Cow<'static, str>,
    /// The credential, or the error of its constructor.
    credential: Result<Arc<dyn Credential>, Error>,
}

/// Held by the one caller that walks the chain for a key. Contains the error of the last walk,
/// which its waiters share.
type Walk = Mutex<Option<Error>>;

impl Chain {
    fn new(links: Vec<Link>, hint: Option<String>, keeps_selection: bool) -> Result<Self, Error> {
        if links.is_empty() {
            return Err(Error::configuration(
                "the chain has no links; add one with .then(..)",
            ));
        }
        Ok(Self {
            links,
            hint,
            keeps_selection,
            selected: AtomicUsize::new(usize::MAX),
            skipped: StdMutex::default(),
            walks: StdMutex::default(),
        })
    }

    /// Returns a token of the selected link, or of the first available one.
    ///
    /// Concurrent callers with the same request walk the chain once and share its error.
    #[inline]
    pub(crate) async fn token<T>(
        &self,
        request: &TokenRequest<'_>,
        read: impl Fn(&AccessToken) -> T,
    ) -> Result<T, Error> {
        match self.cached(request, &read) {
            Some(token) => Ok(token),
            // Boxed, so that the future of a cached read stays small.
            None => Box::pin(self.fetch(request)).await.map(|token| read(&token)),
        }
    }

    #[inline]
    pub(crate) fn cached<T>(
        &self,
        request: &TokenRequest<'_>,
        read: impl FnOnce(&AccessToken) -> T,
    ) -> Option<T> {
        let (mut read, mut token) = (Some(read), None);
        self.selected_credential()?.read_cached(request, &mut |cached| {
            token = read.take().map(|read| read(cached));
        });
        token
    }

    pub(crate) fn invalidate(&self, token: &AccessToken) {
        self.credentials()
            .for_each(|credential| credential.invalidate(token));
    }

    pub(crate) fn clear(&self) {
        self.credentials().for_each(|credential| credential.clear());
    }

    pub(crate) fn client_id(&self) -> Option<&str> {
        self.selected_credential()?.client_id()
    }

    fn selected_name(&self) -> Option<&str> {
        let link = self.links.get(self.selected.load(Ordering::Acquire))?;
        Some(&link.name)
    }

    fn skipped(&self) -> Vec<Attempt> {
        self.skipped
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    async fn fetch(&self, request: &TokenRequest<'_>) -> Result<AccessToken, Error> {
        if let Some(credential) = self.selected_credential() {
            return credential.token_for(request).await;
        }
        if !self.keeps_selection {
            return self.walk(request).await;
        }
        let key = Key::of(request)?;
        let walk = self.walks().entry(key.clone()).or_default().clone();
        let mut failure = walk.lock().await;
        if let Some(credential) = self.selected_credential() {
            drop(failure);
            return credential.token_for(request).await;
        }
        // A waiter shares the error of the walk it waited for and does not repeat the walk.
        if let Some(error) = &*failure {
            return Err(error.clone());
        }
        let result = self.walk(request).await;
        self.walks().remove(&key);
        *failure = result.as_ref().err().cloned();
        result
    }

    async fn walk(&self, request: &TokenRequest<'_>) -> Result<AccessToken, Error> {
        let mut attempts = Vec::new();
        for (index, Link { name, credential }) in self.links.iter().enumerate() {
            let result = match credential {
                Ok(credential) => credential.token_for(request).await,
                Err(error) => Err(error.clone()),
            };
            match result {
                Ok(token) => {
                    self.select(index, attempts);
                    return Ok(token);
                }
                Err(error) => {
                    let is_unavailable = error.is_unavailable();
                    attempts.push(Attempt::new(name.clone(), error));
                    if !is_unavailable {
                        break;
                    }
                }
            }
        }
        let hint = self.hint_beyond(&attempts);
        Err(Error::of_chain(attempts, hint))
    }

    /// Records that a link returned a token. Logs it if another link was selected before.
    fn select(&self, index: usize, skipped: Vec<Attempt>) {
        if self.selected.swap(index, Ordering::AcqRel) == index {
            return;
        }
        if let Some(Link {
            name,
            credential: Ok(credential),
        }) = self.links.get(index)
        {
            let reason = |attempt: &Attempt| format!("{}: {}", attempt.name(), attempt.error());
            let reasons: Vec<String> = skipped.iter().map(reason).collect();
            tracing::info!(
                credential = %name,
                client_id = credential.client_id(),
                skipped = %reasons.join("; "),
                hint = self.hint_beyond(&skipped).map(tracing::field::display),
                "selected credential"
            );
        }
        *self.skipped.lock().unwrap_or_else(PoisonError::into_inner) = skipped;
    }

    /// Returns the hint, unless it is the error of a link.
    fn hint_beyond(&self, attempts: &[Attempt]) -> Option<&str> {
        let hint = self.hint.as_deref()?;
        let is_hint = |attempt: &Attempt| attempt.error().to_string() == hint;
        (!attempts.iter().any(is_hint)).then_some(hint)
    }

    fn selected_credential(&self) -> Option<&Arc<dyn Credential>> {
        let link = self
            .links
            .get(self.selected.load(Ordering::Acquire))
            .filter(|_| self.keeps_selection)?;
        link.credential.as_ref().ok()
    }

    fn credentials(&self) -> impl Iterator<Item = &Arc<dyn Credential>> {
        self.links.iter().filter_map(|link| link.credential.as_ref().ok())
    }

    fn walks(&self) -> MutexGuard<'_, HashMap<Key, Arc<Walk>>> {
        self.walks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The names of the links.
impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.links.iter().map(|link| &link.name))
            .finish()
    }
}

#[cfg(test)]
mod tests;
