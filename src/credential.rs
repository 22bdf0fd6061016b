//! The credentials: each turns settings into an exchange with a cache in front of it.

mod client_assertion;
#[cfg(feature = "client-certificate")]
mod client_certificate;
mod client_secret;
#[cfg(feature = "default-credential")]
mod developer_tools;
#[cfg(feature = "client-certificate")]
mod environment;
#[cfg(feature = "default-credential")]
mod managed_identity;
#[cfg(feature = "azure-core")]
pub(crate) mod official;
mod workload_identity;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::authority::{Authority, TenantId};
use crate::cache::Cache;
use crate::clock::{Clock, SystemClock};
use crate::env::{AZURE_CLIENT_ID, AZURE_TENANT_ID, Environment};
use crate::error::Error;
use crate::exchange::{ClientAuthentication, Exchange};
use crate::token::{AccessToken, TokenRequest};
use crate::transport::{HttpTransport, Transport};

pub use client_assertion::{ClientAssertionCredential, ClientAssertionCredentialBuilder};
#[cfg(feature = "client-certificate")]
pub use client_certificate::{ClientCertificateCredential, ClientCertificateCredentialBuilder};
pub use client_secret::{ClientSecretCredential, ClientSecretCredentialBuilder};
#[cfg(feature = "default-credential")]
pub use developer_tools::{AzureCliCredential, AzureDeveloperCliCredential};
#[cfg(feature = "client-certificate")]
pub use environment::{EnvironmentCredential, EnvironmentCredentialBuilder};
#[cfg(feature = "default-credential")]
pub use managed_identity::{ManagedIdentityCredential, ManagedIdentityCredentialBuilder, ManagedIdentityId};
#[cfg(feature = "default-credential")]
pub(crate) use workload_identity::no_workload_identity;
pub use workload_identity::{WorkloadIdentityCredential, WorkloadIdentityCredentialBuilder};

/// What gives tokens: every credential of this crate, and whatever else implements it; a link of a chain.
///
/// The credentials have methods of their own of the same names, so that this trait need not be imported to use them.
#[async_trait]
pub trait Credential: fmt::Debug + Send + Sync + 'static {
    /// A token for `request`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) if this credential is not set up here, so that a chain goes on;
    /// any other kind if it is, and fails.
    async fn token_for(&self, request: &TokenRequest<'_>) -> Result<AccessToken, Error>;

    /// The token for `request` if it can be had at once, without an allocation; else nothing, and
    /// [`token_for`](Self::token_for) is asked.
    fn cached(&self, request: &TokenRequest<'_>) -> Option<AccessToken> {
        let _ = request;
        None
    }

    /// Forgets this token, because a service refused it, unless a newer one has taken its place.
    fn invalidate(&self, token: &AccessToken) {
        let _ = token;
    }

    /// Forgets every token.
    fn clear(&self) {}

    /// The client id that it asks with, if it is known: for a line in the log.
    fn client_id(&self) -> Option<&str> {
        None
    }
}

/// What the builders of all credentials take.
#[derive(Clone, Debug, Default)]
pub(crate) struct ClientOptions {
    pub(crate) tenant_id: Option<String>,
    pub(crate) client_id: Option<String>,
    pub(crate) authority_host: Option<String>,
    pub(crate) additionally_allowed_tenants: Vec<String>,
    pub(crate) environment: Option<Environment>,
    pub(crate) transport: Option<Arc<dyn Transport>>,
    pub(crate) clock: Option<Arc<dyn Clock>>,
    pub(crate) timeout: Option<Duration>,
}

impl ClientOptions {
    /// The variables to fall back on; taken once, so that all of them are of one moment.
    pub(crate) fn take_environment(&mut self) -> Environment {
        self.environment.take().unwrap_or_else(Environment::from_process)
    }

    pub(crate) fn clock(&self) -> Arc<dyn Clock> {
        self.clock.clone().unwrap_or_else(|| Arc::new(SystemClock::new()))
    }

    /// Whom tokens are for; what is missing is named.
    fn client(&mut self, environment: &Environment) -> Result<Client, Error> {
        let variables = environment.workload_identity()?;
        let client_id = present(self.client_id.take()).or(variables.client_id);
        let tenant_id = present(self.tenant_id.take()).or(variables.tenant_id);
        if let (Some(client_id), Some(tenant_id)) = (&client_id, &tenant_id) {
            return Client::new(client_id.clone(), tenant_id);
        }
        let missing = [
            (AZURE_CLIENT_ID, "client_id", client_id),
            (AZURE_TENANT_ID, "tenant_id", tenant_id),
        ];
        let missing: Vec<String> = missing
            .into_iter()
            .filter(|(_, _, value)| value.is_none())
            .map(|(variable, option, _)| format!("{variable} is not set; set it, or give .{option}(..)"))
            .collect();
        Err(Error::configuration(missing.join("; ")))
    }

    /// Puts a cache in front of an exchange. Does no I/O.
    fn build(
        self,
        client: Client,
        authentication: ClientAuthentication,
        environment: &Environment,
    ) -> Result<Cache, Error> {
        let authority = match present(self.authority_host.clone()).or(environment.authority_host()?) {
            Some(host) => Authority::parse(&host)?,
            None => Authority::public_cloud()?,
        };
        let clock = self.clock();
        let timeout = self.timeout.unwrap_or(TIMEOUT).min(LONGEST_TIMEOUT);
        let exchange = Exchange {
            authority,
            tenant_id: client.tenant_id,
            additionally_allowed_tenants: self.additionally_allowed_tenants,
            client_id: client.client_id,
            authentication,
            transport: self.transport.unwrap_or_else(|| Arc::new(HttpTransport::new())),
            clock: clock.clone(),
            timeout,
        };
        Ok(Cache::new(Arc::new(exchange), clock, timeout + GRACE))
    }
}

/// An application in its tenant.
struct Client {
    client_id: String,
    tenant_id: TenantId,
}

impl Client {
    fn new(client_id: String, tenant_id: &str) -> Result<Self, Error> {
        if client_id.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(Error::configuration(format!(
                "{client_id:?} is not a client id: it holds white space; is there a line break at the end of the value?"
            )));
        }
        Ok(Self {
            client_id,
            tenant_id: TenantId::parse(tenant_id)?,
        })
    }
}

/// Set but empty is the same as missing, for options as for variables.
fn present(value: Option<String>) -> Option<String> {
    value.filter(|value| !value.is_empty())
}

/// The methods that every credential has.
macro_rules! token_methods {
    ($credential:ident) => {
        token_methods!($credential, |credential| Some(&credential.client_id));
    };
    ($credential:ident, $client_id:expr) => {
        impl $credential {
            /// A token for `scopes`.
            ///
            /// * `scopes`: one or more of `{resource}/.default`, all of one resource.
            /// * A token that has not expired comes at once, without a lock and without an allocation; when its refresh is due, that
            ///   begins in the background. Only without such a token does the caller wait, together with all others that ask for
            ///   the same, for one exchange.
            ///
            /// # Errors
            ///
            /// Only when there is no token that has not expired. Any [`ErrorKind`](crate::ErrorKind): `Configuration` for a scope
            /// that cannot be right, before anything is sent; `Assertion`, `Transport`, `Rejected`, `Protocol` from the exchange. All
            /// who waited for it get the same error. After an error from a server the same error is given again for 1 s, growing to
            /// 30 s with each further failure, or for as long as the server asked; then the next call tries again.
            ///
            /// # Cancel safety
            ///
            /// Dropping the future stops nothing: the exchange goes on in a task of its own, and its token serves the next caller.
            #[doc(alias = "get_token")]
            pub async fn token(&self, scopes: &[&str]) -> Result<crate::AccessToken, crate::Error> {
                self.cache.token(&crate::TokenRequest::new(scopes)).await
            }

            /// A token for a request with a tenant or claims of its own; otherwise as [`token`](Self::token).
            ///
            /// # Errors
            ///
            /// As [`token`](Self::token); also `Configuration` if the request's tenant is not allowed.
            ///
            /// # Cancel safety
            ///
            /// As [`token`](Self::token).
            pub async fn token_for(
                &self,
                request: &crate::TokenRequest<'_>,
            ) -> Result<crate::AccessToken, crate::Error> {
                self.cache.token(request).await
            }

            /// Forgets this token, for instance because a service refused it. The next call gets another. Nothing happens if a newer
            /// token has taken its place, so that many callers may report the same token.
            pub fn invalidate(&self, token: &crate::AccessToken) {
                self.cache.invalidate(token);
            }
        }

        #[async_trait::async_trait]
        impl crate::Credential for $credential {
            async fn token_for(
                &self,
                request: &crate::TokenRequest<'_>,
            ) -> Result<crate::AccessToken, crate::Error> {
                self.cache.token(request).await
            }

            fn cached(&self, request: &crate::TokenRequest<'_>) -> Option<crate::AccessToken> {
                self.cache.cached(request)
            }

            fn invalidate(&self, token: &crate::AccessToken) {
                self.cache.invalidate(token);
            }

            fn clear(&self) {
                self.cache.clear();
            }

            fn client_id(&self) -> Option<&str> {
                let client_id: fn(&Self) -> Option<&str> = $client_id;
                client_id(self)
            }
        }
    };
}

/// The options that every builder has.
macro_rules! client_options {
    ($builder:ident) => {
        impl $builder {
            /// The tenant: a GUID or a domain name. Default: `AZURE_TENANT_ID`.
            #[must_use]
            pub fn tenant_id(mut self, tenant_id: impl Into<String>) -> Self {
                self.options.tenant_id = Some(tenant_id.into());
                self
            }

            /// The login host: `https://host[:port][/prefix]`; `http` for loopback hosts only. Default: `AZURE_AUTHORITY_HOST`, or
            /// the public cloud's `https://login.microsoftonline.com`.
            #[must_use]
            pub fn authority_host(mut self, authority_host: impl Into<String>) -> Self {
                self.options.authority_host = Some(authority_host.into());
                self
            }

            /// Other tenants that a [`TokenRequest`](crate::TokenRequest) may name; `"*"` allows all. Default: none.
            #[must_use]
            pub fn additionally_allowed_tenants(
                mut self,
                tenants: impl IntoIterator<Item = impl Into<String>>,
            ) -> Self {
                self.options.additionally_allowed_tenants = tenants.into_iter().map(Into::into).collect();
                self
            }

            /// The variables to take the rest from. Default: those of the process, when [`build`](Self::build) is called.
            #[must_use]
            pub fn environment(mut self, environment: crate::Environment) -> Self {
                self.options.environment = Some(environment);
                self
            }

            /// What sends the token requests. Default: [`HttpTransport`](crate::HttpTransport).
            #[must_use]
            pub fn transport(mut self, transport: impl crate::Transport) -> Self {
                self.options.transport = Some(std::sync::Arc::new(transport));
                self
            }

            /// The clock that tokens age by. Default: [`SystemClock`](crate::SystemClock).
            #[must_use]
            pub fn clock(mut self, clock: impl crate::Clock) -> Self {
                self.options.clock = Some(std::sync::Arc::new(clock));
                self
            }

            /// How long an exchange may take in all: reading the assertion, up to four attempts, and the pauses between them. Default:
            /// 20 s; at most one hour.
            #[must_use]
            pub fn timeout(mut self, timeout: std::time::Duration) -> Self {
                self.options.timeout = Some(timeout);
                self
            }
        }
    };
}

/// The client id, for builders of credentials of one client.
macro_rules! client_id_option {
    ($builder:ident) => {
        impl $builder {
            /// The client id of the application or of the user-assigned managed identity. Default: `AZURE_CLIENT_ID`.
            #[must_use]
            pub fn client_id(mut self, client_id: impl Into<String>) -> Self {
                self.options.client_id = Some(client_id.into());
                self
            }
        }
    };
}

pub(crate) use {client_id_option, client_options, token_methods};

/// Two whole attempts of 10 s, or four quick ones. `design`: a request that waits longer has been given up by its own caller.
const TIMEOUT: Duration = Duration::from_secs(20);

const LONGEST_TIMEOUT: Duration = Duration::from_secs(3600);

/// Beyond its own time-out an exchange needs next to no time to say so; if it stays silent, its runtime stands still.
const GRACE: Duration = Duration::from_secs(5);
