use super::TenantId;
use crate::env::External;
use crate::error::Error;

/// The tenants, apart from its own, that a credential may request tokens in. `"*"` stands for all.
#[derive(Clone, Debug, Default)]
pub(crate) struct AllowedTenants {
    others: Vec<External>,
    /// Whether the tenant of a request is ignored.
    own_only: bool,
}

impl AllowedTenants {
    pub(crate) fn new(tenants: Vec<External>) -> Self {
        Self {
            others: tenants,
            own_only: false,
        }
    }

    /// Tokens are always requested in the tenant of the credential, whatever a request names.
    pub(crate) fn own_only() -> Self {
        Self {
            others: Vec::new(),
            own_only: true,
        }
    }

    /// Returns the tenant of a request that names one; `None` stands for a tenant of the credential that
    /// it does not know.
    ///
    /// * `own`: the tenant of the credential, which is always allowed.
    ///
    /// # Errors
    ///
    /// `Configuration` if `requested` is not a tenant ID, or not allowed.
    pub(crate) fn check(&self, requested: &str, own: Option<&TenantId>) -> Result<Option<TenantId>, Error> {
        if self.own_only {
            return Ok(own.cloned());
        }
        if let Some(own) = own.filter(|own| own.as_str().eq_ignore_ascii_case(requested)) {
            return Ok(Some(own.clone()));
        }
        let tenant = TenantId::parse(requested)?;
        let is_allowed = |allowed: &str| allowed == "*" || allowed.eq_ignore_ascii_case(requested);
        if self.others.iter().map(External::expose).any(is_allowed) {
            return Ok(Some(tenant));
        }
        Err(Error::configuration(format!(
            "tenant {requested} is not allowed for this credential; add it, or \"*\", to additionally_allowed_tenants"
        )))
    }
}
