/// One of the emulator's servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Endpoint {
    /// The login host: tokens, and the keys that sign them.
    Entra,
    /// The cluster's OIDC issuer: its discovery document and keys.
    Issuer,
    /// The Key Vault.
    KeyVault,
    /// The Blob account.
    Blob,
    /// The metadata endpoint of a virtual machine, which gives its managed identities tokens.
    Imds,
    /// What gives an app on App Service the tokens of its managed identities.
    AppService,
}
