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
}
