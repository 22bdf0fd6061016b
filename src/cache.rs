//! Tokens, kept and kept fresh: one slot a key, one exchange at a time in each slot, and nobody waits who need not.

mod key;
mod policy;
mod slot;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use hashbrown::HashMap;

use crate::clock::Clock;
use crate::error::Error;
use crate::exchange::TokenSource;
use crate::token::{AccessToken, TokenRequest};
use key::{KeyView, Sorted};
use slot::{Age, Slot};

pub(crate) use key::Key;

/// The tokens of one credential.
///
/// A read of a fresh token takes no lock and allocates nothing: the map is replaced as a whole when a key joins it, and each
/// slot's token when an exchange brings a new one.
pub(crate) struct Cache {
    exchange: slot::Refresher,
    slots: ArcSwap<HashMap<Key, Arc<Slot>>>,
    /// Held while the map is replaced, and while a slot is taken out for an exchange: it must not be dropped just then.
    growth: Mutex<()>,
}

impl Cache {
    /// * `patience`: how long an exchange by `source` may take before it counts as lost, with the runtime that ran it.
    pub(crate) fn new(source: Arc<dyn TokenSource>, clock: Arc<dyn Clock>, patience: Duration) -> Self {
        Self {
            exchange: slot::Refresher {
                source,
                clock,
                patience,
            },
            slots: ArcSwap::default(),
            growth: Mutex::new(()),
        }
    }

    /// The token for `request`: at once if there is one that has not expired, else from the one exchange of its key.
    pub(crate) async fn token(&self, request: &TokenRequest<'_>) -> Result<AccessToken, Error> {
        match self.cached(request) {
            Some(token) => Ok(token),
            None => Box::pin(self.exchanged(request)).await,
        }
    }

    /// Forgets this token, unless a newer one has taken its place.
    pub(crate) fn invalidate(&self, token: &AccessToken) {
        for slot in self.slots.load().values() {
            slot.forget(|held| held.is(token));
        }
    }

    /// Forgets every token.
    pub(crate) fn clear(&self) {
        for slot in self.slots.load().values() {
            slot.forget(|_| true);
        }
    }

    /// The token for `request`, if there is one that has not expired.
    pub(crate) fn cached(&self, request: &TokenRequest<'_>) -> Option<AccessToken> {
        let mut sorted = Sorted::new();
        let view = KeyView::new(request, &mut sorted);
        let slots = self.slots.load();
        let slot = slots.get(&view)?;
        let held = slot.held();
        let held = held.as_ref()?;
        match held.age(self.exchange.clock.now()) {
            Age::Fresh => Some(held.token()),
            Age::Stale => {
                self.slot(request).ok()?.refresh(&self.exchange);
                // The same token, but its next refresh is now to come, and no longer past.
                slot.held().as_ref().map(|held| held.token())
            }
            Age::Expired => None,
        }
    }

    async fn exchanged(&self, request: &TokenRequest<'_>) -> Result<AccessToken, Error> {
        self.slot(request)?.exchanged(&self.exchange).await
    }

    /// The slot of `request`, for an exchange; made if need be.
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
            make_room(&mut slots);
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
            .field("source", &self.exchange.source)
            .field("slots", &self.slots.load().len())
            .finish_non_exhaustive()
    }
}

/// Drops slots until there is room for one more: those whose tokens expire first, which nobody has used for longest, since use
/// is what refreshes tokens. A slot that is being used stays, since its key must not start a second exchange: whoever waits
/// for an exchange, or runs it, holds the slot too, and not just the present map and the next one, which is `slots`.
fn make_room(slots: &mut HashMap<Key, Arc<Slot>>) {
    let mut idle: Vec<_> = slots
        .iter()
        .filter(|(_, slot)| Arc::strong_count(slot) <= 2)
        .map(|(key, slot)| (slot.held().as_ref().map(|held| held.expires_on()), key.clone()))
        .collect();
    idle.sort_unstable_by_key(|(expires_on, _)| *expires_on);
    let excess = (slots.len() + 1).saturating_sub(MAX_SLOTS);
    for (_, key) in idle.iter().take(excess) {
        slots.remove(key);
    }
}

/// A program asks for a handful of resources; one that serves many tenants, for a few each. Beyond this many a stream of
/// made-up scopes would fill the memory: 1,000 tokens are about 3 MB.
const MAX_SLOTS: usize = 1000;

#[cfg(test)]
mod tests;
