use super::TenantId;
use crate::error::Error;

/// The tenants, apart from its own, that a credential may request tokens in. `"*"` stands for all.
#[derive(Clone, Debug, Default)]
pub(crate) struct AllowedTenants(Vec<String>);

impl AllowedTenants {
    pub(crate) fn new(tenants: Vec<String>) -> Self {
        Self(tenants)
    }

    /// Returns the tenant of a request.
    ///
    /// * `own`: the tenant of the credential, which is always allowed.
    ///
    /// # Errors
    ///
    /// `Configuration` if `requested` is not a tenant ID, or not allowed.
    pub(crate) fn check(&self, requested: &str, own: Option<&TenantId>) -> Result<TenantId, Error> {
        if let Some(own) = own.filter(|own| own.as_str().eq_ignore_ascii_case(requested)) {
            return Ok(own.clone());
        }
        let tenant = TenantId::parse(requested)?;
        let is_allowed = |allowed: &String| allowed == "*" || allowed.eq_ignore_ascii_case(requested);
        if self.0.iter().any(is_allowed) {
            return Ok(tenant);
        }
        Err(Error::configuration(format!(
            "tenant {requested} is not allowed for this credential; add it, or \"*\", to additionally_allowed_tenants"
        )))
    }
}
