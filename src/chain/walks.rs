use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

use crate::cache::{Key, runtime_with_timer};
use crate::error::Error;

/// The walks in progress, at most one for each request.
#[derive(Default)]
pub(super) struct Walks(Mutex<HashMap<Key, Weak<Walk>>>);

/// Held by the one caller that walks the chain. Contains the error of the walk once it has failed.
type Walk = AsyncMutex<Option<Error>>;

impl Walks {
    /// Joins the walk for a request, or starts one.
    pub(super) fn join(&self, key: Key) -> SharedWalk<'_> {
        self.join_other_than(None, key)
    }

    /// * `lost`: not joined.
    fn join_other_than(&self, lost: Option<&Arc<Walk>>, key: Key) -> SharedWalk<'_> {
        let mut walks = self.lock();
        let is_lost = |walk: &Arc<Walk>| lost.is_some_and(|lost| Arc::ptr_eq(walk, lost));
        let current = walks.get(&key).and_then(Weak::upgrade);
        let walk = current.filter(|walk| !is_lost(walk)).unwrap_or_default();
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

impl<'a> SharedWalk<'a> {
    /// Waits until no other caller walks. Returns the error of the walk, if it has failed
    /// meanwhile, or `None` if the walk seems to be lost: nobody may run the runtime of its caller.
    ///
    /// Waits without a limit where there is no Tokio runtime with a timer.
    pub(super) async fn lock(&self) -> Option<OwnedMutexGuard<Option<Error>>> {
        let walk = self.walk.clone().lock_owned();
        match runtime_with_timer() {
            Ok(_) => tokio::time::timeout(WAIT_LIMIT, walk).await.ok(),
            Err(_) => Some(walk.await),
        }
    }

    /// Joins another walk for the same request in place of this one.
    pub(super) fn replace(self) -> SharedWalk<'a> {
        let Entry { walks, key } = &self.entry;
        walks.join_other_than(Some(&self.walk), key.clone())
    }

    /// Ends the walk: later callers start another.
    pub(super) fn end(&self) {
        let mut walks = self.entry.walks.lock();
        let current = walks.get(&self.entry.key);
        if current.is_some_and(|walk| walk.as_ptr() == Arc::as_ptr(&self.walk)) {
            walks.remove(&self.entry.key);
        }
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

/// As long as a token request by default. A second walk costs no second one: the caches of the links share it.
const WAIT_LIMIT: Duration = Duration::from_secs(20);
