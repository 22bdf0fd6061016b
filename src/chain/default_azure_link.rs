use crate::env::{AZURE_TOKEN_CREDENTIALS, External};
use crate::error::Error;

/// A link of [`DefaultAzureCredential`](crate::DefaultAzureCredential), in the order of the chain.
///
/// # Examples
///
/// A chain that ignores a client secret or certificate in the environment:
///
/// ```no_run
/// use entra_workload::DefaultAzureCredential;
/// use entra_workload::builder::DefaultAzureLink;
///
/// let credential = DefaultAzureCredential::builder()
///     .without(DefaultAzureLink::Environment)
///     .build()?;
/// # Ok::<(), entra_workload::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DefaultAzureLink {
    /// [`EnvironmentCredential`](crate::EnvironmentCredential)
    Environment,
    /// [`WorkloadIdentityCredential`](crate::WorkloadIdentityCredential)
    WorkloadIdentity,
    /// [`ManagedIdentityCredential`](crate::ManagedIdentityCredential)
    ManagedIdentity,
    /// [`AzureCliCredential`](crate::AzureCliCredential)
    AzureCli,
    /// [`AzureDeveloperCliCredential`](crate::AzureDeveloperCliCredential)
    AzureDeveloperCli,
}

impl DefaultAzureLink {
    /// Returns the links that `AZURE_TOKEN_CREDENTIALS` selects; all of them if it is not set.
    pub(crate) fn selected_by(variable: Option<&External>) -> Result<&'static [Self], Error> {
        let Some(shown) = variable else {
            return Ok(&LINKS);
        };
        let variable = shown.expose();
        let (production, development) = LINKS.split_at(PRODUCTION);
        if variable.eq_ignore_ascii_case("prod") {
            return Ok(production);
        }
        if variable.eq_ignore_ascii_case("dev") {
            return Ok(development);
        }
        let named = LINKS.chunks(1).find(|link| {
            link.iter()
                .all(|link| link.credential_name().eq_ignore_ascii_case(variable))
        });
        named.ok_or_else(|| {
            Error::configuration(format!(
                "{AZURE_TOKEN_CREDENTIALS} is {shown}; it must be {}",
                Self::variable_values()
            ))
        })
    }

    /// Lists the values of `AZURE_TOKEN_CREDENTIALS`.
    pub(super) fn variable_values() -> String {
        let names = LINKS.map(Self::credential_name);
        format!("prod, dev, or one of {}", names.join(", "))
    }

    /// Returns its name in errors and in the log.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Environment => "environment",
            Self::WorkloadIdentity => "workload identity",
            Self::ManagedIdentity => "managed identity",
            Self::AzureCli => "azure cli",
            Self::AzureDeveloperCli => "azure developer cli",
        }
    }

    /// Returns its name in `AZURE_TOKEN_CREDENTIALS`.
    pub(crate) fn credential_name(self) -> &'static str {
        match self {
            Self::Environment => "EnvironmentCredential",
            Self::WorkloadIdentity => "WorkloadIdentityCredential",
            Self::ManagedIdentity => "ManagedIdentityCredential",
            Self::AzureCli => "AzureCliCredential",
            Self::AzureDeveloperCli => "AzureDeveloperCliCredential",
        }
    }
}

/// The order in which the SDKs for Go, Python, .NET and JavaScript agree.
const LINKS: [DefaultAzureLink; 5] = [
    DefaultAzureLink::Environment,
    DefaultAzureLink::WorkloadIdentity,
    DefaultAzureLink::ManagedIdentity,
    DefaultAzureLink::AzureCli,
    DefaultAzureLink::AzureDeveloperCli,
];

/// The number of links that `prod` selects; `dev` selects the others.
const PRODUCTION: usize = 3;
