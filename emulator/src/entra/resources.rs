use crate::service_account_token::EXCHANGE_AUDIENCE;

/// Whether every tenant of the public cloud has a resource: a service of Azure, or one account of it. Those of sovereign
/// clouds, such as `https://vault.azure.cn`, are unknown there, as in Azure.
///
/// * `identifier`: without a trailing slash.
pub(super) fn is_known(identifier: &str) -> bool {
    let one_of = identifier.strip_prefix("https://").is_some_and(|host| {
        ACCOUNTS.iter().any(|suffix| {
            let name = host.strip_suffix(suffix);
            name.is_some_and(|name| !name.is_empty() && !name.contains(['.', '/']))
        })
    });
    one_of || SERVICES.contains(&identifier)
}

/// The services that workloads ask tokens for. Source: the "Entra" or "managed identity" page of each.
const SERVICES: &[&str] = &[
    EXCHANGE_AUDIENCE,
    // Azure Resource Manager.
    "https://management.azure.com",
    "https://management.core.windows.net",
    // Microsoft Graph.
    "https://graph.microsoft.com",
    "00000003-0000-0000-c000-000000000000",
    "https://storage.azure.com",
    "https://vault.azure.net",
    "https://managedhsm.azure.net",
    "https://servicebus.azure.net",
    "https://eventhubs.azure.net",
    "https://eventgrid.azure.net",
    "https://cosmos.azure.com",
    // Azure SQL.
    "https://database.windows.net",
    // Azure Database for PostgreSQL and MySQL.
    "https://ossrdbms-aad.database.windows.net",
    "https://redis.azure.com",
    // App Configuration.
    "https://azconfig.io",
    "https://appconfig.azure.com",
    // Azure Container Registry.
    "https://containerregistry.azure.net",
    "https://monitor.azure.com",
    "https://metrics.monitor.azure.com",
    "https://api.loganalytics.io",
    "https://cognitiveservices.azure.com",
    // Azure AI Foundry.
    "https://ai.azure.com",
    "https://search.azure.com",
    "https://batch.core.windows.net",
    // Azure DevOps.
    "499b84ac-1321-427f-aa17-267ca6975798",
    // The API server of AKS.
    "6dae42f8-4368-4678-94ff-3960e28e3630",
];

/// The accounts, namespaces and stores whose own URL is a resource, too.
const ACCOUNTS: &[&str] = &[
    ".blob.core.windows.net",
    ".dfs.core.windows.net",
    ".file.core.windows.net",
    ".queue.core.windows.net",
    ".table.core.windows.net",
    ".servicebus.windows.net",
    ".documents.azure.com",
    ".azconfig.io",
    ".azurecr.io",
];
