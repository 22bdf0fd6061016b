use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::Mutex as AsyncMutex;

use crate::cache::Key;
use crate::error::Error;

/// The walks in progress, at most one for each request.
#[derive(Default)]
pub(super) struct Walks(Mutex<HashMap<Key, Weak<Walk>>>);

/// Held by the one caller that walks the chain. Contains the error of the walk once it has failed.
type Walk = AsyncMutex<Option<Error>>;

impl Walks {
    /// Joins the walk for a request, or starts one.
    pub(super) fn join(&self, key: Key) -> SharedWalk<'_> {
        let mut walks = self.lock();
        let walk = walks.get(&key).and_then(Weak::upgrade).unwrap_or_default();
        walks.insert(key.clone(), Arc::downgrade(&walk));
        SharedWalk {
            walk,
            entry: Entry { walks: self, key },
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Weak<Walk>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }
}

/// The share of one caller in a walk.
pub(super) struct SharedWalk<'a> {
    // Dropped before the entry, which is removed with the last share.
    walk: Arc<Walk>,
    entry: Entry<'a>,
}

impl SharedWalk<'_> {
    /// Waits until no other caller walks. Returns the error of the walk, if it has failed
    /// meanwhile.
    pub(super) async fn lock(&self) -> tokio::sync::MutexGuard<'_, Option<Error>> {
        self.walk.lock().await
    }

    /// Ends the walk: later callers start another.
    pub(super) fn end(&self) {
        self.entry.walks.lock().remove(&self.entry.key);
    }
}

struct Entry<'a> {
    walks: &'a Walks,
    key: Key,
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        let mut walks = self.walks.lock();
        if walks.get(&self.key).is_some_and(|walk| walk.strong_count() == 0) {
            walks.remove(&self.key);
        }
    }
}
