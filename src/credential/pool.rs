use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::Error;

/// One credential for each tenant or customer of a service, built at its first use; a bounded number
/// of them.
///
/// For services that act for thousands of identities. If only the tenant differs, one credential with
/// [`TokenRequest::tenant_id`](crate::TokenRequest::tenant_id) is enough. A pool belongs to its owner:
/// there is no global state, and its credentials share only what the closure gives to all of them, such
/// as a transport.
///
/// At the limit, the credential that was not asked for longest is dropped; among those that nobody else
/// holds, if there are any. Whoever holds a credential can use it after that.
///
/// # Examples
///
/// ```
/// use entra_workload::{ClientAssertionCredential, CredentialPool, HttpTransport, ProjectedTokenFile};
///
/// let transport = HttpTransport::new();
/// let pool = CredentialPool::new(10_000, move |client_id: &String| {
///     ClientAssertionCredential::builder()
///         .tenant_id("72f988bf-86f1-41af-91ab-2d7cd011db47")
///         .client_id(client_id)
///         .assertion(ProjectedTokenFile::new("/var/run/secrets/tokens/azure"))
///         .transport(transport.clone())
///         .max_cached_tokens(4)
///         .build()
/// });
/// let credential = pool.get(&"7a5ff21b-4f5b-4f5b-9e3e-2c0b5a1d9a10".to_owned())?;
/// # drop(credential);
/// # Ok::<(), entra_workload::Error>(())
/// ```
pub struct CredentialPool<K, C: ?Sized> {
    build: Box<Build<K, C>>,
    limit: usize,
    entries: Mutex<Entries<K, C>>,
}

type Build<K, C> = dyn Fn(&K) -> Result<Arc<C>, Error> + Send + Sync;

struct Entries<K, C: ?Sized> {
    by_key: HashMap<K, Entry<C>>,
    /// Counts the calls.
    now: u64,
}

struct Entry<C: ?Sized> {
    credential: Arc<C>,
    /// The number of the last call for it.
    used_at: u64,
}

impl<K: Eq + Hash + Clone, C: ?Sized> CredentialPool<K, C> {
    /// Creates an empty pool.
    ///
    /// * `limit`: how many credentials it keeps; zero counts as one. A credential with one token takes
    ///   about 6 kB.
    /// * `build`: creates the credential of a key. Must do no I/O and not use the pool: its
    ///   lock is held meanwhile.
    pub fn new(limit: usize, build: impl Fn(&K) -> Result<Arc<C>, Error> + Send + Sync + 'static) -> Self {
        Self {
            build: Box::new(build),
            limit: limit.max(1),
            entries: Mutex::new(Entries {
                by_key: HashMap::new(),
                now: 0,
            }),
        }
    }

    /// Returns the credential of `key`.
    ///
    /// # Errors
    ///
    /// That of the closure; nothing is kept, so the next call builds again.
    pub fn get(&self, key: &K) -> Result<Arc<C>, Error> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.now += 1;
        let now = entries.now;
        if let Some(entry) = entries.by_key.get_mut(key) {
            entry.used_at = now;
            return Ok(entry.credential.clone());
        }
        let credential = (self.build)(key)?;
        if entries.by_key.len() >= self.limit {
            evict(&mut entries.by_key, self.limit);
        }
        let entry = Entry {
            credential: credential.clone(),
            used_at: now,
        };
        entries.by_key.insert(key.clone(), entry);
        Ok(credential)
    }

    /// Drops the credential of `key`, for example because the customer has left.
    pub fn remove(&self, key: &K) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.by_key.remove(key);
    }

    /// Returns how many credentials there are.
    pub fn len(&self) -> usize {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.by_key.len()
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<K, C: ?Sized> fmt::Debug for CredentialPool<K, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CredentialPool")
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

/// Makes room for one more entry, and for some of the next.
fn evict<K: Eq + Hash + Clone, C: ?Sized>(by_key: &mut HashMap<K, Entry<C>>, limit: usize) {
    let mut order: Vec<(bool, u64, K)> = by_key
        .iter()
        .map(|(key, entry)| {
            (
                Arc::strong_count(&entry.credential) > 1,
                entry.used_at,
                key.clone(),
            )
        })
        .collect();
    order.sort_unstable_by_key(|(is_held, used_at, _)| (*is_held, *used_at));
    let share = (limit / EVICTED_SHARE).max(1);
    // More than one only among those that nobody holds.
    for (_, _, key) in order
        .iter()
        .enumerate()
        .take_while(|(index, (is_held, ..))| *index == 0 || *index < share && !is_held)
        .map(|(_, entry)| entry)
    {
        by_key.remove(key);
    }
}

/// The share of the credentials that one eviction drops, because it looks at all of them.
const EVICTED_SHARE: usize = 16;

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::error::ErrorKind;

    fn pool(limit: usize) -> (CredentialPool<u32, u32>, Arc<AtomicUsize>) {
        let built = Arc::new(AtomicUsize::new(0));
        let counter = built.clone();
        let pool = CredentialPool::new(limit, move |key: &u32| {
            counter.fetch_add(1, Ordering::Relaxed);
            Ok(Arc::new(*key))
        });
        (pool, built)
    }

    #[test]
    fn credential_is_built_once_and_shared() {
        let (pool, built) = pool(2);
        let first = pool.get(&1).unwrap();
        assert!(Arc::ptr_eq(&first, &pool.get(&1).unwrap()));
        assert_eq!((*first, built.load(Ordering::Relaxed), pool.len()), (1, 1, 1));
        pool.remove(&1);
        assert!(pool.is_empty());
    }

    #[test]
    fn limit_holds_and_the_least_recently_used_credential_goes_first() {
        let (pool, built) = pool(3);
        for key in [1, 2, 3, 1, 4] {
            pool.get(&key).unwrap();
        }
        assert_eq!(pool.len(), 3);
        for key in [1, 3, 4] {
            pool.get(&key).unwrap();
        }
        assert_eq!(built.load(Ordering::Relaxed), 4, "2 was dropped");
        for key in 0..1000 {
            pool.get(&key).unwrap();
            assert!(pool.len() <= 3);
        }
    }

    #[test]
    fn credential_that_somebody_holds_goes_last_and_stays_valid() {
        let (pool, built) = pool(2);
        let held = pool.get(&1).unwrap();
        pool.get(&2).unwrap();
        pool.get(&3).unwrap();
        assert!(Arc::ptr_eq(&held, &pool.get(&1).unwrap()));
        let other = pool.get(&3).unwrap();
        pool.get(&4).unwrap();
        assert_eq!((pool.len(), *held, *other), (2, 1, 3));
        assert_eq!(built.load(Ordering::Relaxed), 4);
    }

    #[test]
    fn error_of_the_closure_is_returned_and_the_next_call_builds_again() {
        let fails = AtomicUsize::new(1);
        let pool = CredentialPool::new(1, move |_: &u32| {
            if fails.swap(0, Ordering::Relaxed) == 1 {
                return Err(Error::configuration("no client ID"));
            }
            Ok(Arc::new(()))
        });
        assert_eq!(pool.get(&1).unwrap_err().kind(), ErrorKind::Configuration);
        assert!(pool.is_empty());
        pool.get(&1).unwrap();
    }
}
