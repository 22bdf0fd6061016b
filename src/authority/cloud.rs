use super::Authority;

use crate::env::{External, Form};

/// A cloud of Microsoft: its login host, the audience of its token exchange, and the scopes of its
/// services.
///
/// The option `cloud` of a credential sets the login host, unless `authority_host` is set too, and
/// the audience that [sources of client assertions](crate::assertion::ClientAssertion) request.
///
/// | cloud | login host | token exchange |
/// | --- | --- | --- |
/// | `Public` | `https://login.microsoftonline.com` | `api://AzureADTokenExchange` |
/// | `UsGovernment` | `https://login.microsoftonline.us` | `api://AzureADTokenExchangeUSGov` |
/// | `China` | `https://login.chinacloudapi.cn` | `api://AzureADTokenExchangeChina` |
/// | `France` | `https://login.sovcloud-identity.fr` | `api://AzureADTokenExchangeFrance` |
/// | `Germany` | `https://login.sovcloud-identity.de` | `api://AzureADTokenExchangeGermany` |
/// | `Singapore` | `https://login.sovcloud-identity.sg` | `api://AzureADTokenExchangeGovSG` |
/// | `UsNat` | `https://login.microsoftonline.eaglex.ic.gov` | `api://AzureADTokenExchangeUSNat` |
/// | `UsSec` | `https://login.microsoftonline.microsoft.scloud` | `api://AzureADTokenExchangeUSSec` |
///
/// Microsoft has not published every scope of the newer clouds; the methods return `None` for the missing
/// ones.
///
/// Sources: Microsoft identity platform, "National clouds", and "Workload identity federation"; MSAL.NET,
/// `KnownCloudConfiguration`; Azure SDK for JavaScript and for Java, the audience of
/// `GitHubActionsCredential` (Singapore). The login hosts of `UsNat` and `UsSec`: Microsoft Authentication
/// Library for Android, and the Azure CLI extension `connectedk8s`.
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
/// assert_eq!(cloud.key_vault_scope(), Some("https://vault.usgovcloudapi.net/.default"));
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
    /// The sovereign cloud of France, operated by Bleu.
    France,
    /// The sovereign cloud of Germany, operated by Delos; not the former Microsoft Cloud Germany.
    Germany,
    /// The cloud of the government of Singapore.
    Singapore,
    /// Azure Government Top Secret.
    UsNat,
    /// Azure Government Secret.
    UsSec,
    /// Another cloud, such as an air-gapped one.
    Custom(CustomCloud),
}

impl Cloud {
    /// Returns the cloud whose login host is that of a URL, such as a value of `AZURE_AUTHORITY_HOST`;
    /// `None` if no cloud of Microsoft has this host, as for a proxy, an emulator or an AD FS server.
    ///
    /// # Examples
    ///
    /// ```
    /// use entra_workload::Cloud;
    ///
    /// assert_eq!(Cloud::of_authority_host("https://login.windows.net/"), Some(Cloud::Public));
    /// assert_eq!(Cloud::of_authority_host("https://login.microsoftonline.com.example.com"), None);
    /// ```
    pub fn of_authority_host(url: &str) -> Option<Self> {
        Authority::parse(url).ok()?.cloud()
    }

    /// Returns the login host, `https://host`; for a custom cloud, what it was created with.
    pub fn authority_host(&self) -> &str {
        match self {
            Self::Public => "https://login.microsoftonline.com",
            Self::UsGovernment => "https://login.microsoftonline.us",
            Self::China => "https://login.chinacloudapi.cn",
            Self::France => "https://login.sovcloud-identity.fr",
            Self::Germany => "https://login.sovcloud-identity.de",
            Self::Singapore => "https://login.sovcloud-identity.sg",
            Self::UsNat => "https://login.microsoftonline.eaglex.ic.gov",
            Self::UsSec => "https://login.microsoftonline.microsoft.scloud",
            Self::Custom(custom) => custom.authority_host.expose(),
        }
    }

    /// Returns the audience of federated credentials and of the client assertions for them.
    pub fn token_exchange_audience(&self) -> &str {
        match self {
            Self::Public => TOKEN_EXCHANGE_AUDIENCE,
            Self::UsGovernment => "api://AzureADTokenExchangeUSGov",
            Self::China => "api://AzureADTokenExchangeChina",
            Self::France => "api://AzureADTokenExchangeFrance",
            Self::Germany => "api://AzureADTokenExchangeGermany",
            Self::Singapore => "api://AzureADTokenExchangeGovSG",
            Self::UsNat => "api://AzureADTokenExchangeUSNat",
            Self::UsSec => "api://AzureADTokenExchangeUSSec",
            Self::Custom(custom) => &custom.token_exchange_audience,
        }
    }

    /// Returns the scope of Azure Storage; `None` if it is not published.
    pub fn storage_scope(&self) -> Option<&str> {
        match self {
            Self::Public | Self::UsGovernment | Self::China => Some(STORAGE_SCOPE),
            Self::France | Self::Germany | Self::Singapore | Self::UsNat | Self::UsSec => None,
            Self::Custom(custom) => Some(&custom.storage_scope),
        }
    }

    /// Returns the scope of Azure Key Vault; `None` if it is not published.
    pub fn key_vault_scope(&self) -> Option<&str> {
        Some(match self {
            Self::Public => KEY_VAULT_SCOPE,
            Self::UsGovernment => "https://vault.usgovcloudapi.net/.default",
            Self::China => "https://vault.azure.cn/.default",
            Self::France => "https://vault.sovcloud-api.fr/.default",
            Self::Germany => "https://vault.sovcloud-api.de/.default",
            Self::UsNat => "https://vault.cloudapi.eaglex.ic.gov/.default",
            Self::UsSec => "https://vault.cloudapi.microsoft.scloud/.default",
            Self::Singapore => return None,
            Self::Custom(custom) => &custom.key_vault_scope,
        })
    }

    /// Returns the scope of Azure Resource Manager; `None` if it is not published.
    pub fn resource_manager_scope(&self) -> Option<&str> {
        Some(match self {
            Self::Public => RESOURCE_MANAGER_SCOPE,
            Self::UsGovernment => "https://management.usgovcloudapi.net/.default",
            Self::China => "https://management.chinacloudapi.cn/.default",
            Self::France => "https://management.core.sovcloud-api.fr/.default",
            Self::Germany => "https://management.core.sovcloud-api.de/.default",
            Self::UsNat => "https://management.azure.eaglex.ic.gov/.default",
            Self::UsSec => "https://management.azure.microsoft.scloud/.default",
            Self::Singapore => return None,
            Self::Custom(custom) => &custom.resource_manager_scope,
        })
    }

    /// Returns the cloud with this login host.
    pub(super) fn of_login_host(host: &str) -> Option<Self> {
        Some(match host {
            "login.microsoftonline.com" | "login.windows.net" | "login.microsoft.com" | "sts.windows.net" => {
                Self::Public
            }
            "login.microsoftonline.us" | "login.usgovcloudapi.net" => Self::UsGovernment,
            "login.chinacloudapi.cn" | "login.partner.microsoftonline.cn" => Self::China,
            "login.sovcloud-identity.fr" => Self::France,
            "login.sovcloud-identity.de" => Self::Germany,
            "login.sovcloud-identity.sg" => Self::Singapore,
            "login.microsoftonline.eaglex.ic.gov" => Self::UsNat,
            "login.microsoftonline.microsoft.scloud" => Self::UsSec,
            _ => return None,
        })
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
/// assert_eq!(cloud.storage_scope(), Some("https://storage.azure.com/.default"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct CustomCloud {
    authority_host: External,
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
            authority_host: External::new(Form::Url, authority_host.into()),
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

// Sources of the scopes: azure-rest-api-specs and go-autorest, `autorest/azure/environments.go`; Azure Functions
// Core Tools (France, Germany); Azure Data Studio, extension `azurecore`, and the Azure CLI (UsNat, UsSec).
const TOKEN_EXCHANGE_AUDIENCE: &str = "api://AzureADTokenExchange";
const STORAGE_SCOPE: &str = "https://storage.azure.com/.default";
const KEY_VAULT_SCOPE: &str = "https://vault.azure.net/.default";
const RESOURCE_MANAGER_SCOPE: &str = "https://management.azure.com/.default";

#[cfg(test)]
mod tests {
    use super::*;

    const CLOUDS: [Cloud; 8] = [
        Cloud::Public,
        Cloud::UsGovernment,
        Cloud::China,
        Cloud::France,
        Cloud::Germany,
        Cloud::Singapore,
        Cloud::UsNat,
        Cloud::UsSec,
    ];

    #[test]
    fn cloud_is_recognized_by_its_login_host_and_aliases() {
        for (host, cloud) in [
            ("https://login.microsoftonline.com/", Some(Cloud::Public)),
            ("https://login.windows.net", Some(Cloud::Public)),
            ("https://login.microsoft.com", Some(Cloud::Public)),
            ("https://sts.windows.net/", Some(Cloud::Public)),
            ("https://LOGIN.microsoftonline.US", Some(Cloud::UsGovernment)),
            ("https://login.usgovcloudapi.net", Some(Cloud::UsGovernment)),
            ("https://login.chinacloudapi.cn/", Some(Cloud::China)),
            ("https://login.partner.microsoftonline.cn", Some(Cloud::China)),
            ("https://login.sovcloud-identity.fr/", Some(Cloud::France)),
            ("https://login.sovcloud-identity.de/", Some(Cloud::Germany)),
            ("https://login.sovcloud-identity.sg/", Some(Cloud::Singapore)),
            ("https://proxy.contoso.com/entra", None),
            ("https://login.microsoftonline.us.contoso.com", None),
            ("https://login.microsoftonline.com.evil.test", None),
            ("https://evil-login.microsoftonline.com", None),
            ("https://login.microsoftonline.com@evil.test", None),
            ("https://20.190.160.1", None),
            ("http://127.0.0.1:8080", None),
            ("login.microsoftonline.com", None),
        ] {
            assert_eq!(Cloud::of_authority_host(host), cloud, "{host}");
        }
        for cloud in CLOUDS {
            assert_eq!(Cloud::of_authority_host(cloud.authority_host()), Some(cloud));
        }
    }

    #[test]
    fn every_scope_ends_with_default_and_every_audience_is_distinct() {
        let custom = Cloud::Custom(CustomCloud::new("https://login.example"));
        for cloud in CLOUDS.iter().chain([&custom]) {
            let scopes = [
                cloud.storage_scope(),
                cloud.key_vault_scope(),
                cloud.resource_manager_scope(),
            ];
            for scope in scopes.into_iter().flatten() {
                assert!(
                    scope.starts_with("https://") && scope.ends_with("/.default"),
                    "{scope}"
                );
            }
        }
        let mut audiences = CLOUDS.map(|cloud| cloud.token_exchange_audience().to_owned());
        audiences.sort();
        assert!(
            audiences.windows(2).all(|pair| pair[0] != pair[1]),
            "{audiences:?}"
        );
    }
}
