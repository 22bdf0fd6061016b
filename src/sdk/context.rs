use std::sync::{Arc, Mutex, PoisonError};

use azure_core::credentials::TokenRequestOptions;

use crate::token::TokenRequest;

/// The claims of a claims challenge, for the `Context` of a call of the SDK: every credential of this crate
/// requests its token with them.
///
/// [`ClaimsChallengePolicy`](crate::integration::ClaimsChallengePolicy) sets it. A client of the SDK keeps its token, so
/// the value has an effect when the client asks its credential.
///
/// # Examples
///
/// ```
/// use azure_core::http::Context;
/// use entra_workload::integration::TokenClaims;
///
/// let context = Context::new().with_value(TokenClaims::new(r#"{"access_token":{}}"#));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenClaims(String);

impl TokenClaims {
    /// * `claims`: the JSON text, decoded from base64.
    pub fn new(claims: impl Into<String>) -> Self {
        Self(claims.into())
    }
}

/// The tenant of the token, for the `Context` of a call of the SDK: the credential's own, or one of its
/// additionally allowed tenants.
///
/// A client of the SDK keeps one token for its scope, whatever its tenant: use one client for each tenant.
///
/// # Examples
///
/// ```
/// use azure_core::http::Context;
/// use entra_workload::integration::TokenTenantId;
///
/// let context = Context::new().with_value(TokenTenantId::new("72f988bf-86f1-41af-91ab-2d7cd011db47"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenTenantId(String);

impl TokenTenantId {
    /// * `tenant_id`: a GUID or a domain name.
    pub fn new(tenant_id: impl Into<String>) -> Self {
        Self(tenant_id.into())
    }
}

/// Makes a credential request another token than the cached one, at most once in 30 s: for the `Context` of
/// a call of the SDK.
///
/// # Examples
///
/// ```
/// use azure_core::http::Context;
/// use entra_workload::integration::ForceTokenRefresh;
///
/// let context = Context::new().with_value(ForceTokenRefresh);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForceTokenRefresh;

/// The tenant that a service named in its challenge while its request was under way.
#[derive(Clone, Debug, Default)]
pub(crate) struct DiscoveredTenant(Arc<Mutex<Option<String>>>);

impl DiscoveredTenant {
    pub(crate) fn get(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set(&self, tenant_id: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = tenant_id;
    }
}

/// What the context of a call says about its token.
#[derive(Default)]
pub(crate) struct Parameters<'a> {
    claims: Option<&'a str>,
    tenant_id: Option<String>,
    /// Whether a service named `tenant_id`.
    pub(crate) is_tenant_discovered: bool,
    pub(crate) force_refresh: bool,
}

impl<'a> Parameters<'a> {
    pub(crate) fn of(options: Option<&'a TokenRequestOptions<'_>>) -> Self {
        let Some(options) = options else {
            return Self::default();
        };
        let context = &options.method_options.context;
        let named = context
            .value::<TokenTenantId>()
            .map(|tenant_id| tenant_id.0.clone());
        let is_tenant_discovered = named.is_none();
        let discovered = || context.value().and_then(DiscoveredTenant::get);
        Self {
            claims: context.value::<TokenClaims>().map(|claims| claims.0.as_str()),
            tenant_id: named.or_else(discovered),
            is_tenant_discovered,
            force_refresh: context.value::<ForceTokenRefresh>().is_some(),
        }
    }

    pub(crate) fn add_to<'r>(&'r self, mut request: TokenRequest<'r>) -> TokenRequest<'r> {
        if let Some(claims) = self.claims {
            request = request.claims(claims);
        }
        if let Some(tenant_id) = &self.tenant_id {
            request = request.tenant_id(tenant_id);
        }
        request
    }
}
