//! The client, the tenant, the scopes and the metadata service that the tests use.

pub const CLIENT_ID: &str = "7a5ff21b-4f5b-4f5b-9e3e-2c0b5a1d9a10";
pub const TENANT_ID: &str = "72f988bf-86f1-41af-91ab-2d7cd011db47";
pub const VAULT: &str = "https://vault.azure.net/.default";
pub const BLOB: &str = "https://storage.azure.com/.default";

/// No test may reach the metadata service of the machine that it runs on; nothing listens here.
pub const NO_METADATA_SERVICE: (&str, &str) = ("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://127.0.0.1:9");
