//! The client, the tenant and the scopes that the tests use.

pub const CLIENT_ID: &str = "7a5ff21b-4f5b-4f5b-9e3e-2c0b5a1d9a10";
pub const TENANT_ID: &str = "72f988bf-86f1-41af-91ab-2d7cd011db47";
pub const VAULT: &str = "https://vault.azure.net/.default";
pub const BLOB: &str = "https://storage.azure.com/.default";
