use std::cmp::Reverse;
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
/// holds, if there are any. (The pool looks at all credentials once for a sixteenth of them that it drops.)
/// Whoever holds a credential can use it after that.
///
/// # Examples
///
/// ```
/// use entra_workload::{ClientAssertionCredential, CredentialPool};
/// use entra_workload::assertion::ProjectedTokenFile;
/// use entra_workload::transport::HttpTransport;
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
    /// The next to be dropped, last first, and when each was used; unless it is used again.
    candidates: Vec<(u64, K)>,
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
                candidates: Vec::new(),
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
        let evicted = (entries.by_key.len() >= self.limit).then(|| entries.evict());
        let entry = Entry {
            credential: credential.clone(),
            used_at: now,
        };
        entries.by_key.insert(key.clone(), entry);
        // A credential may use the pool when it is dropped.
        drop(entries);
        drop(evicted);
        Ok(credential)
    }

    /// Drops the credential of `key`, for example because the customer has left.
    pub fn remove(&self, key: &K) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let removed = entries.by_key.remove_entry(key);
        drop(entries);
        drop(removed);
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

impl<K: Eq + Hash + Clone, C: ?Sized> Entries<K, C> {
    /// Removes one entry.
    fn evict(&mut self) -> Option<(K, Entry<C>)> {
        while !self.by_key.is_empty() {
            let Some((used_at, key)) = self.candidates.pop() else {
                self.candidates = self.least_used();
                continue;
            };
            let entry = self.by_key.get(&key);
            if entry.is_some_and(|entry| entry.used_at == used_at) {
                return self.by_key.remove_entry(&key);
            }
        }
        None
    }

    /// Returns a share of the entries, the next to be dropped last.
    fn least_used(&self) -> Vec<(u64, K)> {
        let rank = |entry: &Entry<C>| (Arc::strong_count(&entry.credential) > 1, entry.used_at);
        let mut ranked: Vec<((bool, u64), &K)> = self
            .by_key
            .iter()
            .map(|(key, entry)| (rank(entry), key))
            .collect();
        let share = ranked.len().div_ceil(CANDIDATES_SHARE);
        if share < ranked.len() {
            ranked.select_nth_unstable_by_key(share, |(rank, _)| *rank);
            ranked.truncate(share);
        }
        ranked.sort_unstable_by_key(|(rank, _)| Reverse(*rank));
        ranked
            .into_iter()
            .map(|((_, used_at), key)| (used_at, key.clone()))
            .collect()
    }
}

/// The share of the credentials that one look at all of them finds.
const CANDIDATES_SHARE: usize = 16;

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{OnceLock, Weak};

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

    /// A credential that asks the pool when it is dropped.
    struct AsksPool(Weak<CredentialPool<u32, Self>>);

    impl Drop for AsksPool {
        fn drop(&mut self) {
            let pool = self.0.upgrade();
            assert!(
                pool.is_none_or(|pool| pool.entries.try_lock().is_ok()),
                "the pool is locked"
            );
        }
    }

    #[test]
    fn credential_is_dropped_without_the_lock_of_the_pool() {
        let weak = Arc::new(OnceLock::<Weak<CredentialPool<u32, AsksPool>>>::new());
        let of_build = weak.clone();
        let pool = Arc::new(CredentialPool::new(1, move |_: &u32| {
            Ok(Arc::new(AsksPool(of_build.get().unwrap().clone())))
        }));
        weak.set(Arc::downgrade(&pool)).unwrap();
        pool.get(&1).unwrap();
        pool.get(&2).unwrap();
        pool.remove(&2);
        assert!(pool.is_empty());
    }

    /// A key that counts its copies.
    struct Key(u32, Arc<AtomicUsize>);

    impl Clone for Key {
        fn clone(&self) -> Self {
            self.1.fetch_add(1, Ordering::Relaxed);
            Self(self.0, self.1.clone())
        }
    }

    impl Eq for Key {}

    impl PartialEq for Key {
        fn eq(&self, other: &Self) -> bool {
            self.0 == other.0
        }
    }

    impl Hash for Key {
        fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
            self.0.hash(state);
        }
    }

    #[test]
    fn all_credentials_are_looked_at_once_for_many_evictions() {
        let copies = Arc::new(AtomicUsize::new(0));
        let pool = CredentialPool::new(1600, |_: &Key| Ok(Arc::new(())));
        let key = |number| Key(number, copies.clone());
        let held: Vec<_> = (0..1600).map(|number| pool.get(&key(number)).unwrap()).collect();
        copies.store(0, Ordering::Relaxed);
        for number in 1600..1700 {
            pool.get(&key(number)).unwrap();
            assert_eq!(pool.len(), 1600);
        }
        assert_eq!(
            copies.load(Ordering::Relaxed),
            200,
            "one as a key, one as a candidate"
        );
        drop(held);
    }

    #[test]
    fn candidate_that_is_used_again_stays() {
        let (pool, built) = pool(32);
        for key in 0..33 {
            pool.get(&key).unwrap();
        }
        pool.get(&1).unwrap();
        pool.get(&33).unwrap();
        pool.get(&1).unwrap();
        assert_eq!(built.load(Ordering::Relaxed), 34, "2 was dropped in place of 1");
        pool.get(&2).unwrap();
        assert_eq!(built.load(Ordering::Relaxed), 35);
    }
}
