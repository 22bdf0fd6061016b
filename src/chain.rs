//! Chains: one credential made of several, of which the first available one is used.

mod chained_token;
#[cfg(feature = "default-credential")]
mod default_azure;
#[cfg(feature = "default-credential")]
mod default_azure_link;
mod walks;

use std::borrow::Cow;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::cache::Key;
use crate::credential::{Credential, Identify, Identity};
use crate::error::{Attempt, Error};
use crate::metrics;
use crate::token::{AccessToken, TokenRequest};
use walks::Walks;

pub use chained_token::{ChainedTokenCredential, ChainedTokenCredentialBuilder};
#[cfg(feature = "default-credential")]
pub use default_azure::{DefaultAzureCredential, DefaultAzureCredentialBuilder};
#[cfg(feature = "default-credential")]
pub use default_azure_link::DefaultAzureLink;

/// The links of a chain, and the one that was selected.
pub(crate) struct Chain {
    links: Vec<Link>,
    /// A problem of the environment to report, whichever link returns a token.
    hint: Option<Error>,
    keeps_selection: bool,
    /// The index of the selected link. It changes under the lock of `skipped`.
    selected: AtomicUsize,
    /// The errors of the links before the selected one.
    skipped: Mutex<Vec<Attempt>>,
    walks: Walks,
}

#[derive(Debug)]
struct Link {
    name: Cow<'static, str>,
    /// The credential, or the error of its constructor.
    credential: Result<Arc<dyn Credential>, Error>,
    /// The options of the chain that are set and that this link does not have.
    unused_options: Vec<&'static str>,
}

impl Link {
    fn new(name: impl Into<Cow<'static, str>>, credential: Result<Arc<dyn Credential>, Error>) -> Self {
        Self {
            name: name.into(),
            credential,
            unused_options: Vec::new(),
        }
    }
}

impl Chain {
    fn new(links: Vec<Link>, hint: Option<Error>, keeps_selection: bool) -> Result<Self, Error> {
        if links.is_empty() {
            return Err(Error::configuration(
                "the chain has no links; add one with .then(..)",
            ));
        }
        Ok(Self {
            links,
            hint,
            keeps_selection,
            selected: AtomicUsize::new(NONE_SELECTED),
            skipped: Mutex::default(),
            walks: Walks::default(),
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

    /// Drops the token for `request`, if one is cached, in the links that can answer.
    #[cfg(feature = "azure-core")]
    pub(crate) fn forget(&self, request: &TokenRequest<'_>) {
        let selected = self.selected_credential();
        let answering = self.credentials().filter(|_| selected.is_none()).chain(selected);
        for credential in answering {
            if let Some(token) = credential.cached(request) {
                credential.invalidate(&token);
            }
        }
    }

    pub(crate) fn invalidate(&self, token: &AccessToken) {
        self.credentials()
            .for_each(|credential| credential.invalidate(token));
    }

    pub(crate) fn invalidate_secret(&self, secret: &str) {
        self.credentials()
            .for_each(|credential| credential.invalidate_secret(secret));
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
        let mut walk = self.walks.join(Key::of(request)?);
        let mut failure = loop {
            match walk.lock().await {
                Some(failure) => break failure,
                None => walk = walk.replace(),
            }
        };
        if let Some(credential) = self.selected_credential() {
            drop(failure);
            return credential.token_for(request).await;
        }
        // A waiter shares the error of the walk it waited for and does not repeat the walk.
        if let Some(error) = &*failure {
            return Err(error.clone());
        }
        let result = self.walk(request).await;
        walk.end();
        *failure = result.as_ref().err().cloned();
        result
    }

    /// Calls the links in order and selects the first that returns a token. If another walk selects
    /// a link meanwhile, that link decides the result: a process must not change its identity.
    async fn walk(&self, request: &TokenRequest<'_>) -> Result<AccessToken, Error> {
        let mut attempts = Vec::new();
        for (index, link) in self.links.iter().enumerate() {
            if self.selected_credential().is_some() {
                break;
            }
            let result = match &link.credential {
                Ok(credential) => credential.token_for(request).await,
                Err(error) => Err(error.clone()),
            };
            match result {
                Ok(token) if self.select(index, &attempts) => return Ok(token),
                // Another walk has selected a link meanwhile.
                Ok(_) => {}
                Err(error) => {
                    let is_unavailable = error.is_unavailable();
                    attempts.push(Attempt::new(link.name.clone(), error));
                    if !is_unavailable {
                        break;
                    }
                }
            }
        }
        if let Some(credential) = self.selected_credential() {
            return credential.token_for(request).await;
        }
        Err(Error::of_chain(attempts, self.hint.as_ref()))
    }

    /// Selects a link that returned a token and logs it if it was not selected before. Returns
    /// false if another link is selected and kept.
    fn select(&self, index: usize, attempts: &[Attempt]) -> bool {
        let mut skipped = self.skipped.lock().unwrap_or_else(PoisonError::into_inner);
        let selected = self.selected.load(Ordering::Acquire);
        if selected == index {
            return true;
        }
        if self.keeps_selection && selected != NONE_SELECTED {
            return false;
        }
        self.selected.store(index, Ordering::Release);
        *skipped = attempts.to_vec();
        drop(skipped);
        let name = |index: usize| self.links.get(index).map(|link| &*link.name);
        metrics::selected(name(index).unwrap_or_default(), name(selected));
        self.log_selected(index, attempts);
        true
    }

    fn log_selected(&self, index: usize, attempts: &[Attempt]) {
        let Some(Link {
            name,
            credential: Ok(credential),
            unused_options,
        }) = self.links.get(index)
        else {
            return;
        };
        let reason = |attempt: &Attempt| format!("{}: {}", attempt.name(), attempt.error());
        let reasons: Vec<String> = attempts.iter().map(reason).collect();
        tracing::info!(
            credential = %name,
            client_id = credential.client_id(),
            skipped = %reasons.join("; "),
            unused_options = (!unused_options.is_empty()).then(|| unused_options.join(", ")),
            hint = self.hint_beyond(attempts).map(tracing::field::display),
            "selected credential"
        );
    }

    /// Returns the hint, unless it is the error of a link.
    fn hint_beyond(&self, attempts: &[Attempt]) -> Option<&Error> {
        let hint = self.hint.as_ref()?;
        let is_hint = |attempt: &Attempt| attempt.error().is_same_problem(hint);
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
}

impl Identify for Chain {
    fn identity(&self, credential: &'static str) -> Identity {
        let link = self.links.get(self.selected.load(Ordering::Acquire));
        let client_id = link.and_then(|link| link.credential.as_ref().ok()?.client_id());
        Identity {
            credential: link.map_or(credential, |link| &*link.name).to_owned(),
            client_id: client_id.map(str::to_owned),
            skipped: self.skipped(),
        }
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

/// Past the end of any chain.
const NONE_SELECTED: usize = usize::MAX;

#[cfg(test)]
mod tests;
