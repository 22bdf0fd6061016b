use std::fmt;
use std::str::FromStr;

/// A server of the emulator. As text, it is in kebab case: `key-vault`.
///
/// # Examples
///
/// ```
/// use entra_workload_emulator::{Emulator, Endpoint, Fault};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> std::io::Result<()> {
/// let emulator = Emulator::start().await?;
/// emulator.inject(Endpoint::KeyVault, Fault::status(500));
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Endpoint {
    /// Microsoft Entra: the token endpoint and the keys that verify access tokens.
    Entra,
    /// The OIDC issuer of the cluster: its discovery document and keys.
    Issuer,
    /// The Key Vault.
    KeyVault,
    /// The Blob account.
    Blob,
    /// The instance metadata service of a virtual machine.
    Imds,
    /// The managed identity endpoints of Azure Arc, Azure ML, Service Fabric and Cloud Shell.
    IdentityHost,
    /// The token proxy of the cluster.
    TokenProxy,
    /// The managed identity endpoint of App Service.
    AppService,
    /// The token service of GitHub Actions.
    GitHubActions,
    /// The token service of Azure Pipelines.
    AzurePipelines,
}

impl Endpoint {
    const ALL: [(Self, &'static str); 10] = [
        (Self::Entra, "entra"),
        (Self::Issuer, "issuer"),
        (Self::KeyVault, "key-vault"),
        (Self::Blob, "blob"),
        (Self::Imds, "imds"),
        (Self::IdentityHost, "identity-host"),
        (Self::TokenProxy, "token-proxy"),
        (Self::AppService, "app-service"),
        (Self::GitHubActions, "github-actions"),
        (Self::AzurePipelines, "azure-pipelines"),
    ];
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::ALL.iter().find(|(endpoint, _)| endpoint == self);
        f.write_str(name.map_or("unknown", |(_, name)| name))
    }
}

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().find(|(_, name)| *name == text);
        found.map(|(endpoint, _)| *endpoint).ok_or_else(|| {
            let names = Self::ALL.map(|(_, name)| name).join(", ");
            format!("the endpoint {text:?} is none of {names}")
        })
    }
}
