//! The addresses of hosts, from the resolver of the system within a time limit: a DNS server that does not answer
//! must be told apart from a host that does not.

use std::error::Error;
use std::fmt;
use std::net::ToSocketAddrs;
use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::Semaphore;

use crate::blocking;

/// Resolves names with the resolver of the system, a limited number at a time.
#[derive(Clone, Debug)]
pub(super) struct SystemResolver {
    /// Resolved in place of each name.
    host: Option<String>,
    lookups: Lookups,
}

impl SystemResolver {
    /// * `host`: resolved in place of each name.
    pub(super) fn new(host: Option<String>) -> Self {
        Self {
            host,
            lookups: Lookups::default(),
        }
    }
}

impl Resolve for SystemResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let host = self.host.clone().unwrap_or_else(|| name.as_str().to_owned());
        let lookups = self.lookups.clone();
        Box::pin(async move {
            // The port is that of the URL.
            let addresses = lookups
                .run(move || (host.as_str(), 0).to_socket_addrs())
                .await??;
            Ok(Box::new(addresses) as Addrs)
        })
    }
}

/// The lookups in progress. One counts until it ends, also if its caller has gone.
#[derive(Clone, Debug)]
struct Lookups(Arc<Semaphore>);

impl Lookups {
    async fn run<T: Send + 'static>(
        &self,
        look_up: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Box<dyn Error + Send + Sync>> {
        let permit = self.0.clone().acquire_owned().await?;
        let looked_up = blocking::run(move || {
            let result = look_up();
            drop(permit);
            result
        });
        Ok(looked_up.await?)
    }
}

impl Default for Lookups {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_LOOKUPS)))
    }
}

/// Limits the time of another resolver.
pub(super) struct TimeLimited<R> {
    pub(super) resolver: Arc<R>,
    /// Less than the time limit of the connection, which says nothing about the cause.
    pub(super) limit: Duration,
}

impl<R: Resolve + 'static> Resolve for TimeLimited<R> {
    fn resolve(&self, name: Name) -> Resolving {
        let (resolver, limit) = (self.resolver.clone(), self.limit);
        Box::pin(async move {
            tokio::time::timeout(limit, resolver.resolve(name))
                .await
                .unwrap_or_else(|_| Err(ResolverSilent.into()))
        })
    }
}

/// The resolver has not answered in time.
#[derive(Debug)]
pub(super) struct ResolverSilent;

impl fmt::Display for ResolverSilent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no answer of the resolver in time")
    }
}

impl Error for ResolverSilent {}

/// Each has a thread, which a silent DNS server keeps for up to half a minute after its caller has gone.
const MAX_LOOKUPS: usize = 16;

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::mpsc::channel;

    use super::*;

    /// The callers give up after seconds, and the resolver of the system does not.
    #[tokio::test]
    async fn lookups_of_callers_that_gave_up_count_until_they_end() {
        let lookups = Lookups::default();
        let mut hanging = Vec::new();
        for _ in 0..MAX_LOOKUPS {
            let (end, ended) = channel::<()>();
            let mut lookup = Box::pin(lookups.run(move || ended.recv()));
            assert!(futures::poll!(&mut lookup).is_pending());
            hanging.push(end);
        }
        assert_eq!(MAX_LOOKUPS, 16);
        assert_eq!(lookups.0.available_permits(), 0);
        let mut next = pin!(lookups.run(|| "resolved"));
        assert!(futures::poll!(&mut next).is_pending());
        drop(hanging.pop());
        assert_eq!(next.await.unwrap(), "resolved");
        assert_eq!(lookups.0.available_permits(), 1);
    }
}
