/// Implements the methods and traits of a credential that wraps a `Cache` or a `Chain` in a tuple
/// struct.
macro_rules! credential {
    ($credential:ident) => {
        impl $credential {
            /// Returns a token for `scopes`.
            ///
            /// * `scopes`: one or more of `{resource}/.default`, all of one resource.
            /// * A cached token that has not expired is returned at once, without a lock or an
            ///   allocation; if its refresh is due, it is refreshed in the background. Otherwise
            ///   the caller waits for the one token request in flight for these scopes, which
            ///   starts if there is none.
            ///
            /// # Errors
            ///
            /// Only when no cached token is usable. Any [`ErrorKind`](crate::ErrorKind):
            /// `Configuration` for an invalid scope, before anything is sent; `Assertion`,
            /// `Transport`, `Rejected` or `Protocol` from the token request; `Unavailable` if the
            /// credential turns out not to be set up here. All waiters get the same error. After a
            /// failure there is a cooldown, in which the same error is returned: for 1 s, growing
            /// to 30 s with each further failure, or for as long as the server requested.
            ///
            /// # Cancel safety
            ///
            /// Dropping the future does not cancel the token request: it continues in a task of its
            /// own, and its token is cached for the next caller.
            #[doc(alias = "get_token")]
            pub async fn token(&self, scopes: &[&str]) -> Result<$crate::AccessToken, $crate::Error> {
                self.0
                    .token(&$crate::TokenRequest::new(scopes), Clone::clone)
                    .await
            }

            /// Returns a token for a request with a tenant or claims of its own; otherwise like
            /// [`token`](Self::token).
            ///
            /// # Errors
            ///
            /// As [`token`](Self::token); also `Configuration` if the tenant is not allowed.
            ///
            /// # Cancel safety
            ///
            /// As [`token`](Self::token).
            pub async fn token_for(
                &self,
                request: &$crate::TokenRequest<'_>,
            ) -> Result<$crate::AccessToken, $crate::Error> {
                self.0.token(request, Clone::clone).await
            }

            /// Gets a token for `scopes` and returns the identity it is for: for start-up and
            /// readiness probes. A cached token counts, so a probe costs a cached read, and
            /// succeeds during an outage of Entra as long as the token is usable.
            ///
            /// See [`Identity`](crate::Identity) for an example.
            ///
            /// # Errors
            ///
            /// As [`token`](Self::token).
            ///
            /// # Cancel safety
            ///
            /// As [`token`](Self::token).
            pub async fn check(&self, scopes: &[&str]) -> Result<$crate::Identity, $crate::Error> {
                self.0
                    .token(&$crate::TokenRequest::new(scopes), |_| ())
                    .await?;
                Ok($crate::credential::Identify::identity(
                    &self.0,
                    stringify!($credential),
                ))
            }

            /// Removes this token from the cache, for example because a service rejected it; the
            /// next call gets another. Does nothing if a newer token has replaced it, so many
            /// callers may report the same token. For the same scopes it takes effect at most once
            /// in 30 s, since a service can reject a token for reasons that no new token changes.
            pub fn invalidate(&self, token: &$crate::AccessToken) {
                self.0.invalidate(token);
            }

            /// Removes the token with this text from the cache; otherwise like
            /// [`invalidate`](Self::invalidate). For users of an SDK, which passes on the text of a
            /// token only. The text is not logged.
            pub fn invalidate_secret(&self, secret: &str) {
                self.0.invalidate_secret(secret);
            }

            /// Removes all tokens from the cache, for example because the permissions of the
            /// identity have changed. A token request in flight continues.
            pub fn clear(&self) {
                self.0.clear();
            }
        }

        #[async_trait::async_trait]
        impl $crate::Credential for $credential {
            async fn token_for(
                &self,
                request: &$crate::TokenRequest<'_>,
            ) -> Result<$crate::AccessToken, $crate::Error> {
                self.0.token(request, Clone::clone).await
            }

            async fn check(&self, scopes: &[&str]) -> Result<$crate::Identity, $crate::Error> {
                $credential::check(self, scopes).await
            }

            fn cached(&self, request: &$crate::TokenRequest<'_>) -> Option<$crate::AccessToken> {
                self.0.cached(request, Clone::clone)
            }

            fn read_cached(
                &self,
                request: &$crate::TokenRequest<'_>,
                read: &mut dyn FnMut(&$crate::AccessToken),
            ) {
                self.0.cached(request, read);
            }

            fn invalidate(&self, token: &$crate::AccessToken) {
                self.0.invalidate(token);
            }

            fn invalidate_secret(&self, secret: &str) {
                self.0.invalidate_secret(secret);
            }

            fn clear(&self) {
                self.0.clear();
            }

            fn client_id(&self) -> Option<&str> {
                self.0.client_id()
            }
        }

        /// SDK clients keep a token until 5 minutes before its reported expiry. The reported expiry
        /// is therefore at most 5 minutes after the next refresh is due, so that the clients
        /// request the refreshed token in time.
        ///
        /// The [`TokenClaims`](crate::integration::TokenClaims), [`TokenTenantId`](crate::integration::TokenTenantId) and
        /// [`ForceTokenRefresh`](crate::integration::ForceTokenRefresh) in the context of the options change the
        /// token request.
        #[cfg(feature = "azure-core")]
        impl azure_core::credentials::TokenCredential for $credential {
            // Written by hand as `async_trait` writes it, because a cached token needs no state machine.
            fn get_token<'this, 'scopes, 'scope, 'options, 'future>(
                &'this self,
                scopes: &'scopes [&'scope str],
                options: Option<azure_core::credentials::TokenRequestOptions<'options>>,
            ) -> $crate::sdk::TokenFuture<'future>
            where
                'this: 'future,
                'scopes: 'future,
                'scope: 'future,
                'options: 'future,
                Self: 'future,
            {
                let parameters = $crate::sdk::Parameters::of(options.as_ref());
                if !parameters.force_refresh {
                    let request = parameters.add_to($crate::TokenRequest::new(scopes));
                    if let Some(token) = self.0.cached(&request, $crate::sdk::token::to_sdk) {
                        return Box::pin(std::future::ready(Ok(token)));
                    }
                }
                Box::pin(async move {
                    let parameters = $crate::sdk::Parameters::of(options.as_ref());
                    let request = parameters.add_to($crate::TokenRequest::new(scopes));
                    if parameters.force_refresh {
                        self.0.forget(&request);
                    }
                    let token = match self.0.token(&request, Clone::clone).await {
                        Err(refusal) => {
                            $crate::credential::own_tenant_token(self, &request, &parameters, refusal).await
                        }
                        token => token,
                    };
                    token
                        .map(|token| $crate::sdk::token::to_sdk(&token))
                        .map_err($crate::sdk::error::to_sdk)
                })
            }
        }

        /// Clients of `azure_core` 0.21 call the credential for every request, so they use a
        /// refreshed token at once; the reported expiry is the true one.
        ///
        /// `azure_core` 0.21 logs whole requests, including the token, at `DEBUG` and `TRACE`: set
        /// the log target `azure_core` to `INFO`.
        #[cfg(feature = "azure-core-021")]
        #[async_trait::async_trait]
        impl azure_core_021::auth::TokenCredential for $credential {
            async fn get_token(
                &self,
                scopes: &[&str],
            ) -> azure_core_021::Result<azure_core_021::auth::AccessToken> {
                let request = $crate::TokenRequest::new(scopes);
                self.0
                    .token(&request, $crate::sdk::azure_core_021::to_sdk_token)
                    .await
                    .map_err($crate::sdk::azure_core_021::to_sdk_error)
            }

            async fn clear_cache(&self) -> azure_core_021::Result<()> {
                self.0.clear();
                Ok(())
            }
        }
    };
}

/// Implements the options of a builder that stores them in a field `options: ClientOptions`.
/// `client_id` adds that option; `developer_tool` is for those that apply to a tool.
macro_rules! client_options {
    ($builder:ident, client_id) => {
        client_options!($builder);

        impl $builder {
            /// Sets the client ID of the application or of the user-assigned managed identity: a
            /// GUID, or an application ID URI such as `api://orders`. Default: `AZURE_CLIENT_ID`.
            #[must_use]
            pub fn client_id(mut self, client_id: impl Into<String>) -> Self {
                let client_id = $crate::env::External::new($crate::env::Form::ClientId, client_id.into());
                self.options.client_id = Some(client_id);
                self
            }
        }
    };
    ($builder:ident, developer_tool) => {
        client_options!($builder, shared);

        impl $builder {
            /// Sets the tenant: a GUID or a domain name. Default: the tenant of the tool's login.
            #[must_use]
            pub fn tenant_id(mut self, tenant_id: impl Into<String>) -> Self {
                let tenant_id = $crate::env::External::new($crate::env::Form::Tenant, tenant_id.into());
                self.options.tenant_id = Some(tenant_id);
                self
            }

            /// Sets the time limit of the tool. Default: 30 s; at most one hour.
            ///
            /// # Examples
            ///
            /// ```
            /// use std::time::Duration;
            ///
            /// # fn f() -> Result<(), entra_workload::Error> {
            /// let credential = entra_workload::AzureCliCredential::builder()
            ///     .timeout(Duration::from_secs(60))
            ///     .build()?;
            /// # Ok(()) }
            /// # f().unwrap();
            /// ```
            #[must_use]
            pub fn timeout(mut self, timeout: std::time::Duration) -> Self {
                self.options.timeout = Some(timeout);
                self
            }

            /// Sets the environment that `PATH` is read from. Default: that of the process at the
            /// time [`build`](Self::build) is called.
            #[must_use]
            pub fn environment(mut self, environment: $crate::Environment) -> Self {
                self.options.environment = Some(environment);
                self
            }
        }
    };
    ($builder:ident, shared) => {
        impl $builder {
            /// Sets the other tenants that a [`TokenRequest`](crate::TokenRequest) may name; `"*"`
            /// allows all. Default: none.
            #[must_use]
            pub fn additionally_allowed_tenants(
                mut self,
                tenants: impl IntoIterator<Item = impl Into<String>>,
            ) -> Self {
                let tenants = tenants.into_iter().map(Into::<String>::into);
                let tenant = |tenant| $crate::env::External::new($crate::env::Form::Tenant, tenant);
                self.options.additionally_allowed_tenants = tenants.map(tenant).collect();
                self
            }

            /// Sets the clock that decides whether a token is expired or due for refresh. Default:
            /// [`SystemClock`](crate::clock::SystemClock).
            #[cfg(feature = "test-util")]
            #[must_use]
            pub fn clock(mut self, clock: impl $crate::clock::Clock) -> Self {
                self.options.clock = Some(std::sync::Arc::new(clock));
                self
            }
        }
    };
    ($builder:ident) => {
        client_options!($builder, shared);

        impl $builder {
            /// Sets the tenant: a GUID or a domain name. Default: `AZURE_TENANT_ID`.
            #[must_use]
            pub fn tenant_id(mut self, tenant_id: impl Into<String>) -> Self {
                let tenant_id = $crate::env::External::new($crate::env::Form::Tenant, tenant_id.into());
                self.options.tenant_id = Some(tenant_id);
                self
            }

            /// Sets the login host: `https://host[:port][/prefix]`; `http` for loopback hosts only.
            /// Default: that of [`cloud`](Self::cloud) if it is set, then `AZURE_AUTHORITY_HOST`, then
            /// the public cloud's `https://login.microsoftonline.com`.
            #[must_use]
            pub fn authority_host(mut self, authority_host: impl Into<String>) -> Self {
                let authority_host =
                    $crate::env::External::new($crate::env::Form::Url, authority_host.into());
                self.options.authority_host = Some(authority_host);
                self
            }

            /// Sets the cloud: its login host, unless [`authority_host`](Self::authority_host) is set
            /// too, and the audience of client assertions. `AZURE_AUTHORITY_HOST` does not matter then.
            /// Default: the cloud of the login host; the public cloud if that is unknown.
            #[must_use]
            pub fn cloud(mut self, cloud: $crate::Cloud) -> Self {
                self.options.cloud = Some(cloud);
                self
            }

            /// Requests tokens for continuous access evaluation: services may then reject a token
            /// before it expires, for example because the identity was disabled, and demand another
            /// with a claims challenge. In return, tokens live up to 28 hours.
            ///
            /// Enable it only if the program handles these challenges: SDK clients with
            /// `ClaimsChallengePolicy`, others with [`BearerChallenge`](crate::integration::BearerChallenge).
            /// Default: off.
            #[must_use]
            pub fn enable_cae(mut self) -> Self {
                self.options.enable_cae = true;
                self
            }

            /// Sets the environment variables that options default to. Default: those of the
            /// process at the time [`build`](Self::build) is called.
            #[must_use]
            pub fn environment(mut self, environment: $crate::Environment) -> Self {
                self.options.environment = Some(environment);
                self
            }

            /// Sets the transport that sends the token requests. Default:
            /// [`HttpTransport`](crate::transport::HttpTransport).
            #[must_use]
            pub fn transport(mut self, transport: impl $crate::transport::Transport) -> Self {
                self.options.transport = Some(std::sync::Arc::new(transport));
                self
            }

            /// Sets the time limit for getting a token: reading the assertion, up to four attempts,
            /// and the pauses between them. Default: 20 s; at most one hour.
            ///
            /// Only callers without a usable token wait for it, in practice at the start of a process. 20 s
            /// allow two attempts at an endpoint that does not respond. A caller with less time limits its
            /// own call; the token request continues in the background and serves the next call:
            ///
            /// ```no_run
            /// # async fn f(credential: entra_workload::WorkloadIdentityCredential) -> Result<(), Box<dyn std::error::Error>> {
            /// use std::time::Duration;
            ///
            /// let scopes = ["https://vault.azure.net/.default"];
            /// let token = tokio::time::timeout(Duration::from_secs(2), credential.token(&scopes)).await??;
            /// # drop(token);
            /// # Ok(()) }
            /// ```
            #[must_use]
            pub fn timeout(mut self, timeout: std::time::Duration) -> Self {
                self.options.timeout = Some(timeout);
                self
            }

            /// Sets how many tokens are cached, one per combination of tenant, scopes and claims.
            /// Default: 10,000. A token takes about 4 kB. At the limit expired tokens are evicted
            /// first, then others at random, with a log line at `warn`. Zero counts as one.
            #[must_use]
            pub fn max_cached_tokens(mut self, max_cached_tokens: usize) -> Self {
                self.options.max_cached_tokens = Some(max_cached_tokens);
                self
            }
        }
    };
}

/// Implements the way past the cache of a credential, for a diagnosis.
#[cfg(feature = "client-certificate")]
macro_rules! source {
    ($credential:ident) => {
        #[cfg(feature = "diagnose")]
        impl $credential {
            pub(crate) fn source(&self) -> std::sync::Arc<dyn $crate::exchange::TokenSource> {
                self.0.source()
            }
        }
    };
}

#[cfg(feature = "client-certificate")]
pub(crate) use source;
pub(crate) use {client_options, credential};
