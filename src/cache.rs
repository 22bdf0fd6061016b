//! The cached tokens of one credential: one slot per key and at most one fetch in flight per slot. A
//! stale token is served while it is refreshed.

mod cached_token;
mod key;
mod policy;
mod slot;
mod state;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use hashbrown::HashMap;

use crate::clock::Clock;
use crate::error::Error;
use crate::exchange::TokenSource;
use crate::token::{AccessToken, TokenRequest};
use cached_token::Freshness;
use key::{KeyView, Sorted};
use slot::{Fetcher, Slot};

pub(crate) use key::Key;

/// The tokens of one credential.
///
/// Reading a fresh token takes no lock and allocates nothing: the map is replaced as a whole when a key
/// is added, and the token of a slot when a fetch brings a new one.
pub(crate) struct Cache {
    fetcher: Fetcher,
    slots: ArcSwap<HashMap<Key, Arc<Slot>>>,
    /// Held while the map is replaced, and while a slot is taken for a fetch, so that no slot is evicted
    /// in between.
    growth: Mutex<()>,
}

impl Cache {
    /// * `fetch_timeout`: how long a fetch from `source` may take before it counts as lost, together with
    ///   the runtime that ran it.
    pub(crate) fn new(source: Arc<dyn TokenSource>, clock: Arc<dyn Clock>, fetch_timeout: Duration) -> Self {
        Self {
            fetcher: Fetcher {
                source,
                clock,
                fetch_timeout,
            },
            slots: ArcSwap::default(),
            growth: Mutex::new(()),
        }
    }

    /// Returns the token for `request`: the cached one if it is usable, else that of the key's one fetch.
    #[inline]
    pub(crate) async fn token(&self, request: &TokenRequest<'_>) -> Result<AccessToken, Error> {
        match self.cached(request) {
            Some(token) => Ok(token),
            // Boxed, so that the future of a cached read stays small.
            None => Box::pin(async { self.slot(request)?.token(&self.fetcher).await }).await,
        }
    }

    /// Returns the token for `request` if a usable one is cached, and starts its refresh if that is due.
    pub(crate) fn cached(&self, request: &TokenRequest<'_>) -> Option<AccessToken> {
        let mut sorted = Sorted::new();
        let view = KeyView::new(request, &mut sorted);
        let slots = self.slots.load();
        let token = slots.get(&view)?.published();
        let token = token.as_ref()?;
        match token.freshness(self.fetcher.clock.now()) {
            Freshness::Fresh => Some(token.token().clone()),
            Freshness::Stale => self.slot(request).ok()?.refresh(&self.fetcher),
            Freshness::Expired => None,
        }
    }

    /// Forgets this token, unless a newer one has replaced it.
    pub(crate) fn invalidate(&self, token: &AccessToken) {
        for slot in self.slots.load().values() {
            slot.forget(|cached| cached.is_same_token(token));
        }
    }

    /// Forgets every token.
    pub(crate) fn clear(&self) {
        for slot in self.slots.load().values() {
            slot.forget(|_| true);
        }
    }

    pub(crate) fn client_id(&self) -> Option<&str> {
        self.fetcher.source.client_id()
    }

    /// Returns the slot of `request` for a fetch; adds it if it is missing.
    fn slot(&self, request: &TokenRequest<'_>) -> Result<Arc<Slot>, Error> {
        let mut sorted = Sorted::new();
        let view = KeyView::new(request, &mut sorted);
        let _growth = self.growth.lock().unwrap_or_else(PoisonError::into_inner);
        let slots = self.slots.load();
        if let Some(slot) = slots.get(&view) {
            return Ok(slot.clone());
        }
        let key = view.to_key()?;
        let mut slots = HashMap::clone(&slots);
        if slots.len() >= MAX_SLOTS {
            evict(&mut slots);
        }
        let slot = Arc::new(Slot::new(key.clone()));
        slots.insert(key, slot.clone());
        self.slots.store(Arc::new(slots));
        Ok(slot)
    }
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache")
            .field("source", &self.fetcher.source)
            .field("slots", &self.slots.load().len())
            .finish_non_exhaustive()
    }
}

/// Evicts slots until one more fits: those whose tokens expire first. Use is what refreshes a token, so
/// these were not used for longest. A slot in use stays, since its key must not start a second fetch:
/// whoever waits for a fetch or runs one holds the slot, and not only the present map and the next one,
/// which is `slots`.
fn evict(slots: &mut HashMap<Key, Arc<Slot>>) {
    let mut idle: Vec<_> = slots
        .iter()
        .filter(|(_, slot)| Arc::strong_count(slot) <= 2)
        .map(|(key, slot)| {
            let expires_on = slot.published().as_ref().map(|token| token.expires_on());
            (expires_on, key.clone())
        })
        .collect();
    idle.sort_unstable_by_key(|(expires_on, _)| *expires_on);
    let excess = (slots.len() + 1).saturating_sub(MAX_SLOTS);
    for (_, key) in idle.iter().take(excess) {
        slots.remove(key);
    }
}

/// A program asks for a handful of resources; one that serves many tenants, for a few in each. Without
/// a bound, a stream of invented scopes would fill the memory: 1,000 tokens take about 3 MB.
const MAX_SLOTS: usize = 1000;

#[cfg(test)]
mod tests;
