//! The addresses of hosts, from the resolver of the system within a time limit: a DNS server that does not answer
//! must be told apart from a host that does not.

use std::fmt;
use std::net::ToSocketAddrs;
use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::blocking;

/// Resolves names with the resolver of the system.
#[derive(Clone, Debug, Default)]
pub(super) struct SystemResolver {
    /// Resolved in place of each name.
    pub(super) host: Option<String>,
}

impl Resolve for SystemResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let host = self.host.clone().unwrap_or_else(|| name.as_str().to_owned());
        Box::pin(async move {
            // The port is that of the URL.
            let addresses = blocking::run(move || (host.as_str(), 0).to_socket_addrs()).await?;
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
