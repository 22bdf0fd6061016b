/// Whose tokens an application accepts as its own credentials. Each field is at most 600 characters in Entra, and is
/// compared byte for byte here as there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FederatedCredential {
    /// The `iss`, with its trailing slash if it has one.
    pub issuer: String,
    /// The `sub`, for instance `system:serviceaccount:shop:orders`.
    pub subject: String,
    /// The `aud`, as a rule `api://AzureADTokenExchange`.
    pub audience: String,
}
