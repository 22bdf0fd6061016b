/// A federated credential of an application: the tokens that it accepts as client assertions.
///
/// All fields are compared byte for byte.
///
/// # Examples
///
/// ```
/// use entra_workload_emulator::{Emulator, FederatedCredential};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> std::io::Result<()> {
/// let emulator = Emulator::start().await?;
/// let credential = FederatedCredential {
///     issuer: emulator.issuer_url().to_owned(),
///     subject: "system:serviceaccount:shop:orders".to_owned(),
///     audience: "api://AzureADTokenExchange".to_owned(),
/// };
/// let client_id = "7a5ff21b-4f5b-4f5b-9e3e-2c0b5a1d9a10";
/// emulator.entra().register_federated_credential(client_id, credential);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FederatedCredential {
    /// The `iss`, including a trailing slash.
    pub issuer: String,
    /// The `sub`, for example `system:serviceaccount:shop:orders`.
    pub subject: String,
    /// The `aud`, usually `api://AzureADTokenExchange`.
    pub audience: String,
}
