//! The addresses of hosts, from the resolver of the system within a time limit: a DNS server that does not answer
//! must be told apart from a host that does not.

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
    lookups: Arc<Semaphore>,
}

impl SystemResolver {
    /// * `host`: resolved in place of each name.
    pub(super) fn new(host: Option<String>) -> Self {
        Self {
            host,
            lookups: Arc::new(Semaphore::new(MAX_LOOKUPS)),
        }
    }
}

impl Resolve for SystemResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let host = self.host.clone().unwrap_or_else(|| name.as_str().to_owned());
        let lookups = self.lookups.clone();
        Box::pin(async move {
            let lookup = lookups.acquire_owned().await?;
            // The port is that of the URL.
            let addresses = blocking::run(move || {
                let addresses = (host.as_str(), 0).to_socket_addrs();
                drop(lookup);
                addresses
            });
            let addresses = addresses.await?;
            Ok(Box::new(addresses) as Addrs)
        })
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

impl std::error::Error for ResolverSilent {}

/// Each has a thread, which a silent DNS server keeps for up to half a minute after its caller has gone.
const MAX_LOOKUPS: usize = 16;
