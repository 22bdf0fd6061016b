use std::sync::Arc;
use std::time::Duration;

use super::client::Client;
#[cfg(feature = "default-credential")]
use crate::authority::TenantId;
use crate::authority::{AllowedTenants, Authority, Cloud};
use crate::cache::{Cache, DEFAULT_MAX_SLOTS};
use crate::clock::{Clock, SystemClock};
use crate::env::{AZURE_CLIENT_ID, AZURE_TENANT_ID, Environment, External, Form};
use crate::error::Error;
use crate::exchange::{ClientAuthentication, Exchange, Route};
use crate::transport::{HttpTransport, TokenProxy, Transport};

/// The options that all builders of credentials share.
#[derive(Clone, Debug, Default)]
pub(crate) struct ClientOptions {
    pub(crate) tenant_id: Option<External>,
    pub(crate) client_id: Option<External>,
    pub(crate) authority_host: Option<External>,
    pub(crate) cloud: Option<Cloud>,
    pub(crate) additionally_allowed_tenants: Vec<External>,
    pub(crate) enable_cae: bool,
    pub(crate) environment: Option<Environment>,
    pub(crate) transport: Option<Arc<dyn Transport>>,
    /// Takes the place of the transport; for workload identity only.
    pub(super) token_proxy: Option<TokenProxy>,
    pub(crate) clock: Option<Arc<dyn Clock>>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) max_cached_tokens: Option<usize>,
}

impl ClientOptions {
    /// Parses the tenant, if one is set.
    #[cfg(feature = "default-credential")]
    pub(super) fn parse_tenant_id(&self) -> Result<Option<TenantId>, Error> {
        let tenant_id = present(self.tenant_id.clone());
        tenant_id
            .map(|tenant_id| TenantId::parse(tenant_id.expose()))
            .transpose()
    }

    /// Takes the environment that options default to; called once, so that all variables are of one
    /// snapshot.
    pub(crate) fn take_environment(&mut self) -> Environment {
        self.environment.take().unwrap_or_else(Environment::from_process)
    }

    pub(crate) fn clock(&self) -> Arc<dyn Clock> {
        self.clock.clone().unwrap_or_else(|| Arc::new(SystemClock::new()))
    }

    /// Returns the time limit for getting a token.
    pub(super) fn timeout_or(&self, default: Duration) -> Duration {
        self.timeout.unwrap_or(default).min(MAX_TIMEOUT)
    }

    /// Sets the IDs that the source of client assertions names, unless they are set.
    pub(super) fn default_ids(&mut self, client_id: Option<&str>, tenant_id: Option<&str>) {
        let default =
            |option, form, id: Option<&str>| present(option).or(id.map(|id| External::new(form, id)));
        self.client_id = default(self.client_id.take(), Form::ClientId, client_id);
        self.tenant_id = default(self.tenant_id.take(), Form::Tenant, tenant_id);
    }

    /// Returns the tenants that requests may name, besides the credential's own.
    pub(super) fn allowed_tenants(&self, environment: &Environment) -> AllowedTenants {
        if environment.disables_multitenant_auth() {
            return AllowedTenants::own_only();
        }
        AllowedTenants::new(self.additionally_allowed_tenants.clone())
    }

    /// Resolves the client and tenant IDs; the error names each missing one.
    pub(super) fn client(&mut self, environment: &Environment) -> Result<Client, Error> {
        let variables = environment.workload_identity()?;
        let client_id = present(self.client_id.take()).or(variables.client_id);
        let tenant_id = present(self.tenant_id.take()).or(variables.tenant_id);
        if let (Some(client_id), Some(tenant_id)) = (&client_id, &tenant_id) {
            return Client::new(client_id, tenant_id);
        }
        let missing = [
            (AZURE_CLIENT_ID, "client_id", client_id),
            (AZURE_TENANT_ID, "tenant_id", tenant_id),
        ];
        let missing: Vec<String> = missing
            .into_iter()
            .filter(|(_, _, value)| value.is_none())
            .map(|(variable, option, _)| format!("{variable} is not set; set it or call .{option}(..)"))
            .collect();
        Err(Error::configuration(missing.join("; ")))
    }

    /// Builds the cache of a client's tokens. Does no I/O.
    pub(super) fn build(
        self,
        client: Client,
        authentication: ClientAuthentication,
        environment: &Environment,
    ) -> Result<Cache, Error> {
        let max_cached_tokens = self.max_cached_tokens.unwrap_or(DEFAULT_MAX_SLOTS);
        let exchange = self.exchange(client, authentication, environment)?;
        let clock = exchange.clock.clone();
        let timeout = exchange.timeout + GRACE_PERIOD;
        Ok(Cache::new(Arc::new(exchange), clock, timeout, max_cached_tokens))
    }

    /// Builds what requests the tokens of a client. Does no I/O.
    pub(super) fn exchange(
        self,
        client: Client,
        authentication: ClientAuthentication,
        environment: &Environment,
    ) -> Result<Exchange, Error> {
        let allowed_tenants = self.allowed_tenants(environment);
        let authority = self.authority(environment)?;
        authority.check_path(&client.tenant_id)?;
        let cloud = self
            .cloud
            .clone()
            .or_else(|| authority.cloud())
            .unwrap_or_default();
        let clock = self.clock();
        let default_timeout = if self.token_proxy.is_some() {
            TOKEN_PROXY_TIMEOUT
        } else {
            TIMEOUT
        };
        let timeout = self.timeout_or(default_timeout);
        let route = match (self.token_proxy, self.transport) {
            (Some(_), Some(_)) => {
                return Err(Error::configuration(
                    "the option .transport(..) is set, and the token requests of this pod go to its token proxy \
                     (AZURE_KUBERNETES_TOKEN_PROXY or .token_proxy(..)); remove .transport(..)",
                ));
            }
            (Some(proxy), None) => Route::through(proxy),
            (None, Some(transport)) => Route::direct(&authority, transport),
            (None, None) => Route::direct(&authority, Arc::new(HttpTransport::new())),
        };
        Ok(Exchange {
            authority,
            tenant_id: client.tenant_id,
            allowed_tenants,
            token_exchange_audience: cloud.token_exchange_audience().to_owned(),
            client_id: client.client_id,
            authentication,
            is_cae_enabled: self.enable_cae,
            route,
            clock,
            timeout,
        })
    }

    /// The host option takes precedence over the cloud option, and both over the variable.
    fn authority(&self, environment: &Environment) -> Result<Authority, Error> {
        let of_cloud = |cloud: &Cloud| External::new(Form::Url, cloud.authority_host());
        let cloud_host = self.cloud.as_ref().map(of_cloud);
        let host = match present(self.authority_host.clone()).or(cloud_host) {
            Some(host) => Some(host),
            None => environment.authority_host()?,
        };
        let default = Cloud::Public.authority_host();
        Authority::parse(host.as_ref().map_or(default, External::expose))
    }
}

/// Treats an empty option as missing, as an empty variable is.
pub(crate) fn present(value: Option<External>) -> Option<External> {
    value.filter(|value| !value.is_empty())
}

/// Two attempts that time out after 10 s each, or four quick ones. Callers on a request path have
/// usually given up by then.
const TIMEOUT: Duration = Duration::from_secs(20);

/// A healthy token proxy, in the same cluster, responds within a second.
const TOKEN_PROXY_TIMEOUT: Duration = Duration::from_secs(5);

/// Longer than any caller waits.
pub(super) const MAX_TIMEOUT: Duration = Duration::from_secs(3600);

/// A fetch reports its own time-out at once; a fetch that takes longer than this belongs to a
/// runtime that no thread runs any more.
pub(super) const GRACE_PERIOD: Duration = Duration::from_secs(5);
