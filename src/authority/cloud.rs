use url::Url;

/// A cloud of Microsoft: its login host, the audience of its token exchange, and the scopes of its
/// services.
///
/// The option `cloud` of a credential sets the login host, unless `authority_host` is set too, and
/// the audience that [sources of client assertions](crate::ClientAssertion) request.
///
/// | cloud | login host | token exchange |
/// | --- | --- | --- |
/// | `Public` | `https://login.microsoftonline.com` | `api://AzureADTokenExchange` |
/// | `UsGovernment` | `https://login.microsoftonline.us` | `api://AzureADTokenExchangeUSGov` |
/// | `China` | `https://login.chinacloudapi.cn` | `api://AzureADTokenExchangeChina` |
///
/// Source: Microsoft identity platform, "National clouds", and "Workload identity federation".
///
/// # Examples
///
/// ```
/// use entra_workload::{ClientSecretCredential, Cloud};
///
/// let cloud = Cloud::UsGovernment;
/// let credential = ClientSecretCredential::builder()
///     .cloud(cloud.clone())
///     .tenant_id("72f988bf-86f1-41af-91ab-2d7cd011db47")
///     .client_id("7a5ff21b-4f5b-4f5b-9e3e-2c0b5a1d9a10")
///     .client_secret("a-secret")
///     .build()?;
/// assert_eq!(cloud.key_vault_scope(), "https://vault.usgovcloudapi.net/.default");
/// # drop(credential);
/// # Ok::<(), entra_workload::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cloud {
    /// The public cloud, the default.
    #[default]
    Public,
    /// Azure Government.
    UsGovernment,
    /// Azure operated by 21Vianet.
    China,
    /// Another cloud, such as an air-gapped one.
    Custom(CustomCloud),
}

impl Cloud {
    /// Returns the login host, `https://host`; for a custom cloud, what it was created with.
    pub fn authority_host(&self) -> &str {
        match self {
            Self::Public => "https://login.microsoftonline.com",
            Self::UsGovernment => "https://login.microsoftonline.us",
            Self::China => "https://login.chinacloudapi.cn",
            Self::Custom(custom) => &custom.authority_host,
        }
    }

    /// Returns the audience of federated credentials and of the client assertions for them.
    pub fn token_exchange_audience(&self) -> &str {
        match self {
            Self::Public => TOKEN_EXCHANGE_AUDIENCE,
            Self::UsGovernment => "api://AzureADTokenExchangeUSGov",
            Self::China => "api://AzureADTokenExchangeChina",
            Self::Custom(custom) => &custom.token_exchange_audience,
        }
    }

    /// Returns the scope of Azure Storage, which is the same in every cloud of Microsoft.
    pub fn storage_scope(&self) -> &str {
        match self {
            Self::Public | Self::UsGovernment | Self::China => STORAGE_SCOPE,
            Self::Custom(custom) => &custom.storage_scope,
        }
    }

    /// Returns the scope of Azure Key Vault.
    pub fn key_vault_scope(&self) -> &str {
        match self {
            Self::Public => KEY_VAULT_SCOPE,
            Self::UsGovernment => "https://vault.usgovcloudapi.net/.default",
            Self::China => "https://vault.azure.cn/.default",
            Self::Custom(custom) => &custom.key_vault_scope,
        }
    }

    /// Returns the scope of Azure Resource Manager.
    pub fn resource_manager_scope(&self) -> &str {
        match self {
            Self::Public => RESOURCE_MANAGER_SCOPE,
            Self::UsGovernment => "https://management.usgovcloudapi.net/.default",
            Self::China => "https://management.chinacloudapi.cn/.default",
            Self::Custom(custom) => &custom.resource_manager_scope,
        }
    }

    /// Returns the cloud with this login host; the public cloud for every other host, such as a
    /// proxy.
    pub(crate) fn of_authority(authority: &Url) -> Self {
        match authority.host_str() {
            Some("login.microsoftonline.us") => Self::UsGovernment,
            Some("login.chinacloudapi.cn" | "login.partner.microsoftonline.cn") => Self::China,
            _ => Self::Public,
        }
    }
}

/// A [`Cloud`] that is none of the well-known ones.
///
/// # Examples
///
/// ```
/// use entra_workload::{Cloud, CustomCloud};
///
/// let cloud = Cloud::Custom(
///     CustomCloud::new("https://login.microsoftonline.example")
///         .token_exchange_audience("api://AzureADTokenExchangeExample")
///         .key_vault_scope("https://vault.example/.default"),
/// );
/// assert_eq!(cloud.authority_host(), "https://login.microsoftonline.example");
/// assert_eq!(cloud.storage_scope(), "https://storage.azure.com/.default");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct CustomCloud {
    authority_host: String,
    token_exchange_audience: String,
    storage_scope: String,
    key_vault_scope: String,
    resource_manager_scope: String,
}

impl CustomCloud {
    /// Creates a cloud that differs from the public one in its login host only.
    ///
    /// * `authority_host`: `https://host[:port][/prefix]`; `http` for loopback hosts only. It is checked when
    ///   a credential is built.
    pub fn new(authority_host: impl Into<String>) -> Self {
        Self {
            authority_host: authority_host.into(),
            token_exchange_audience: TOKEN_EXCHANGE_AUDIENCE.to_owned(),
            storage_scope: STORAGE_SCOPE.to_owned(),
            key_vault_scope: KEY_VAULT_SCOPE.to_owned(),
            resource_manager_scope: RESOURCE_MANAGER_SCOPE.to_owned(),
        }
    }

    /// Sets the audience of federated credentials. Default: `api://AzureADTokenExchange`.
    pub fn token_exchange_audience(mut self, audience: impl Into<String>) -> Self {
        self.token_exchange_audience = audience.into();
        self
    }

    /// Sets the scope of Azure Storage. Default: `https://storage.azure.com/.default`.
    pub fn storage_scope(mut self, scope: impl Into<String>) -> Self {
        self.storage_scope = scope.into();
        self
    }

    /// Sets the scope of Azure Key Vault. Default: `https://vault.azure.net/.default`.
    pub fn key_vault_scope(mut self, scope: impl Into<String>) -> Self {
        self.key_vault_scope = scope.into();
        self
    }

    /// Sets the scope of Azure Resource Manager. Default: `https://management.azure.com/.default`.
    pub fn resource_manager_scope(mut self, scope: impl Into<String>) -> Self {
        self.resource_manager_scope = scope.into();
        self
    }
}

// Source of the scopes: azure-rest-api-specs and go-autorest, `autorest/azure/environments.go`.
const TOKEN_EXCHANGE_AUDIENCE: &str = "api://AzureADTokenExchange";
const STORAGE_SCOPE: &str = "https://storage.azure.com/.default";
const KEY_VAULT_SCOPE: &str = "https://vault.azure.net/.default";
const RESOURCE_MANAGER_SCOPE: &str = "https://management.azure.com/.default";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cloud_is_recognized_by_its_login_host() {
        for (host, cloud) in [
            ("https://login.microsoftonline.com/", Cloud::Public),
            ("https://LOGIN.microsoftonline.US", Cloud::UsGovernment),
            ("https://login.chinacloudapi.cn/", Cloud::China),
            ("https://login.partner.microsoftonline.cn", Cloud::China),
            ("https://proxy.contoso.com/entra", Cloud::Public),
            ("https://login.microsoftonline.us.contoso.com", Cloud::Public),
        ] {
            assert_eq!(Cloud::of_authority(&Url::parse(host).unwrap()), cloud, "{host}");
        }
        for cloud in [Cloud::Public, Cloud::UsGovernment, Cloud::China] {
            let host = Url::parse(cloud.authority_host()).unwrap();
            assert_eq!(Cloud::of_authority(&host), cloud);
        }
    }

    #[test]
    fn every_scope_ends_with_default_and_every_audience_is_distinct() {
        let clouds = [Cloud::Public, Cloud::UsGovernment, Cloud::China];
        let custom = Cloud::Custom(CustomCloud::new("https://login.example"));
        for cloud in clouds.iter().chain([&custom]) {
            for scope in [
                cloud.storage_scope(),
                cloud.key_vault_scope(),
                cloud.resource_manager_scope(),
            ] {
                assert!(
                    scope.starts_with("https://") && scope.ends_with("/.default"),
                    "{scope}"
                );
            }
        }
        let mut audiences = clouds.map(|cloud| cloud.token_exchange_audience().to_owned());
        audiences.sort();
        assert!(
            audiences.windows(2).all(|pair| pair[0] != pair[1]),
            "{audiences:?}"
        );
    }
}
