/// A server of the emulator.
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
