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

use crate::clock::{Clock, Moment};
use crate::error::Error;
use crate::exchange::TokenSource;
use crate::metrics;
use crate::token::{AccessToken, TokenRequest};
use cached_token::Freshness;
use key::{KeyView, Sorted};
use slot::{Fetcher, Slot};

pub(crate) use key::Key;
pub(crate) use slot::runtime_with_timer;

/// The tokens of one credential.
///
/// Reading a fresh token takes no lock and allocates nothing: the map is replaced as a whole when a key
/// is added, and the token of a slot when a fetch brings a new one.
pub(crate) struct Cache {
    fetcher: Fetcher,
    slots: ArcSwap<HashMap<Key, Arc<Slot>>>,
    max_slots: usize,
    /// Held while the map is replaced, and while a slot is taken for a fetch, so that no slot is evicted
    /// in between.
    growth: Mutex<()>,
}

impl Cache {
    /// * `fetch_timeout`: how long a fetch from `source` may take before it counts as lost, together with
    ///   the runtime that ran it.
    /// * `max_slots`: at least 1.
    pub(crate) fn new(
        source: Arc<dyn TokenSource>,
        clock: Arc<dyn Clock>,
        fetch_timeout: Duration,
        max_slots: usize,
    ) -> Self {
        Self {
            fetcher: Fetcher {
                source,
                clock,
                fetch_timeout,
            },
            slots: ArcSwap::default(),
            max_slots: max_slots.max(1),
            growth: Mutex::new(()),
        }
    }

    /// Reads the token for `request`: the cached one if it is usable, else that of the key's one fetch.
    ///
    /// * `read`: what to do with it; a cached token that it only looks at is not cloned, so that cores do
    ///   not meet in a count of references.
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

    async fn fetch(&self, request: &TokenRequest<'_>) -> Result<AccessToken, Error> {
        let Some(claims) = request.requested_claims() else {
            return self.slot(request)?.token(&self.fetcher, None).await;
        };
        // The service rejected the token without these claims.
        let without = self.slot(&request.without_claims())?;
        if !without.admits(claims, self.fetcher.clock.now()) {
            tracing::debug!(scopes = ?request.scopes(), "too many different claims; using the token without");
            return without.token(&self.fetcher, None).await;
        }
        let slot = self.slot(request)?;
        let token = slot.token(&self.fetcher, Some(&without)).await?;
        without.adopt(&slot);
        Ok(token)
    }

    /// Reads the token for `request` if a usable one is cached, and starts its refresh if that is due.
    #[inline]
    pub(crate) fn cached<T>(
        &self,
        request: &TokenRequest<'_>,
        read: impl FnOnce(&AccessToken) -> T,
    ) -> Option<T> {
        let mut sorted = Sorted::new();
        let view = self.view(request, &mut sorted);
        let slots = self.slots.load();
        let token = slots.get(&view)?.published();
        let token = token.as_ref()?;
        match token.freshness(self.fetcher.clock.now()) {
            Freshness::Fresh => Some(read(token.token())),
            Freshness::Stale => Some(read(&self.slot(request).ok()?.refresh(&self.fetcher)?)),
            Freshness::Expired => None,
        }
    }

    /// Drops the token for `request`, if one is cached.
    #[cfg(feature = "azure-core")]
    pub(crate) fn forget(&self, request: &TokenRequest<'_>) {
        if let Some(token) = self.cached(request, Clone::clone) {
            self.invalidate(&token);
        }
    }

    /// Forgets this token, unless a newer one has replaced it; for each key at most once in 30 seconds.
    pub(crate) fn invalidate(&self, token: &AccessToken) {
        for slot in self.slots.load().values() {
            slot.invalidate(&self.fetcher, |cached| cached.is_same_token(token));
        }
    }

    /// As `invalidate`, for the token with this text.
    pub(crate) fn invalidate_secret(&self, secret: &str) {
        for slot in self.slots.load().values() {
            slot.invalidate(&self.fetcher, |cached| cached.secret() == secret);
        }
    }

    /// Forgets every token.
    pub(crate) fn clear(&self) {
        for slot in self.slots.load().values() {
            slot.clear();
        }
    }

    /// Returns where the tokens come from: a fetch from it is not cached and ends with its future.
    #[cfg(feature = "diagnose")]
    pub(crate) fn source(&self) -> Arc<dyn TokenSource> {
        self.fetcher.source.clone()
    }

    pub(crate) fn client_id(&self) -> Option<&str> {
        self.fetcher.source.client_id()
    }

    #[inline]
    fn view<'a, 'r: 'a>(&'a self, request: &'a TokenRequest<'r>, sorted: &'a mut Sorted<'r>) -> KeyView<'a> {
        KeyView::new(request, sorted).without_own_tenant(|| self.fetcher.source.tenant_id())
    }

    /// Returns the slot of `request` for a fetch; adds it if it is missing.
    fn slot(&self, request: &TokenRequest<'_>) -> Result<Arc<Slot>, Error> {
        let mut sorted = Sorted::new();
        let view = self.view(request, &mut sorted);
        let now = self.fetcher.clock.now();
        let growth = self.growth.lock().unwrap_or_else(PoisonError::into_inner);
        let slots = self.slots.load();
        if let Some(slot) = slots.get(&view) {
            return Ok(slot.clone());
        }
        let key = view.to_key()?;
        self.fetcher.source.check_tenant(request.requested_tenant_id())?;
        // A copy of the map takes microseconds, and the token request that follows takes milliseconds.
        let mut slots = HashMap::clone(&slots);
        let max_slots = if key.has_claims() {
            self.max_slots.min(MAX_SLOTS_WITH_CLAIMS)
        } else {
            self.max_slots
        };
        let evicted = evict(&mut slots, key.has_claims(), max_slots, now);
        let slot = Arc::new(Slot::new(key.clone()));
        let has_claims = key.has_claims();
        slots.insert(key, slot.clone());
        self.slots.store(Arc::new(slots));
        drop(growth);
        if evicted > 0 && !has_claims {
            metrics::evicted(evicted);
            tracing::warn!(
                evicted,
                limit = self.max_slots,
                "evicted usable tokens; consider a higher limit of cached tokens"
            );
        }
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

/// Makes room for one more slot with or without claims, and returns how many usable tokens that removed.
/// Idle slots without a usable token go first, then others at random: choosing the least recently used would
/// evict just the next one of keys that are used in turn. A slot in use stays, since its key must not start a
/// second fetch: whoever waits for a fetch or runs one holds the slot, and not only the present map and the
/// next one, which is `slots`.
///
/// * `max_slots`: of the same kind. Slots with claims never evict those without.
fn evict(slots: &mut HashMap<Key, Arc<Slot>>, has_claims: bool, max_slots: usize, now: Moment) -> usize {
    let is_idle =
        |key: &Key, slot: &Arc<Slot>| key.has_claims() == has_claims && Arc::strong_count(slot) <= 2;
    let count = |slots: &HashMap<Key, Arc<Slot>>| {
        let same_kind = slots.keys().filter(|key| key.has_claims() == has_claims);
        same_kind.count()
    };
    // Few slots need not be counted by kind.
    if slots.len() < max_slots || count(slots) < max_slots {
        return 0;
    }
    slots.retain(|key, slot| !is_idle(key, slot) || slot.has_usable_token(now));
    let left = count(slots);
    if left < max_slots {
        return 0;
    }
    let excess = left + 1 - max_slots + max_slots / EVICTED_SHARE;
    let mut idle: Vec<Key> = slots
        .iter()
        .filter(|(key, slot)| is_idle(key, slot))
        .map(|(key, _)| key.clone())
        .collect();
    fastrand::shuffle(&mut idle);
    idle.truncate(excess);
    for key in &idle {
        slots.remove(key);
    }
    idle.len()
}

/// How many tokens a credential caches by default: enough for a service that acts for thousands of
/// tenants, and a bound for a stream of invented scopes. A token takes about 4 kB, so this is at most
/// 40 MB.
pub(crate) const DEFAULT_MAX_SLOTS: usize = 10_000;

/// A token with claims replaces the one without, so its own slot soon has no use. Services choose the claims,
/// and can choose others in each challenge.
const MAX_SLOTS_WITH_CLAIMS: usize = 64;

/// The share of the slots that one eviction removes, so that the next keys find room without another.
const EVICTED_SHARE: usize = 16;

#[cfg(test)]
mod tests;
