use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::error_response::ErrorResponse;
use super::federated_credential::FederatedCredential;
use crate::guid::Guid;
use crate::jwt::PublicKey;
use crate::service_account_token::EXCHANGE_AUDIENCE;

/// The applications and resources of the tenant, and the lifetime of its tokens.
pub(super) struct Directory {
    applications: HashMap<String, Application>,
    /// The identifiers, without a trailing slash.
    resources: HashSet<String>,
    pub(super) access_token_lifetime: Duration,
    pub(super) refresh_in: Option<Duration>,
}

impl Directory {
    pub(super) fn new() -> Self {
        Self {
            applications: HashMap::new(),
            resources: RESOURCES.map(str::to_owned).into(),
            access_token_lifetime: ACCESS_TOKEN_LIFETIME,
            refresh_in: None,
        }
    }

    /// Returns the application with this ID. Registers it if needed.
    pub(super) fn application(&mut self, client_id: &str) -> &mut Application {
        self.applications
            .entry(client_id.to_lowercase())
            .or_insert_with(|| Application {
                object_id: Guid::random().to_string(),
                disabled: false,
                federated_credentials: Vec::new(),
                client_secret: None,
                certificates: Vec::new(),
            })
    }

    pub(super) fn enabled_application(
        &self,
        client_id: &str,
        tenant: &str,
    ) -> Result<Application, ErrorResponse> {
        let application = self.applications.get(client_id).cloned();
        let application = application.ok_or_else(|| {
            let text = format!(
                "Application with identifier '{client_id}' was not found in the directory '{tenant}'."
            );
            ErrorResponse::new(700_016, text)
        })?;
        if application.disabled {
            let text = format!("Application '{client_id}' is disabled.");
            return Err(ErrorResponse::new(7_000_112, text));
        }
        Ok(application)
    }

    pub(super) fn register_resource(&mut self, identifier: &str) {
        self.resources.insert(trim_slash(identifier).to_owned());
    }

    pub(super) fn check_resource(&self, resource: &str, tenant: &str) -> Result<(), ErrorResponse> {
        if self.resources.contains(trim_slash(resource)) {
            return Ok(());
        }
        let text =
            format!("The resource principal named {resource} was not found in the tenant named {tenant}.");
        Err(ErrorResponse::new(500_011, text))
    }
}

#[derive(Clone)]
pub(super) struct Application {
    /// The object ID of the service principal: the `oid` and `sub` of its tokens.
    pub(super) object_id: String,
    pub(super) disabled: bool,
    pub(super) federated_credentials: Vec<FederatedCredential>,
    client_secret: Option<ClientSecret>,
    /// The keys of the certificates. Their key ID is the SHA-256 thumbprint.
    pub(super) certificates: Vec<PublicKey>,
}

/// Does not implement `Debug`, so that the secret is never shown.
#[derive(Clone)]
struct ClientSecret {
    value: String,
    expired: bool,
}

impl Application {
    pub(super) fn set_client_secret(&mut self, value: String) {
        self.client_secret = Some(ClientSecret {
            value,
            expired: false,
        });
    }

    pub(super) fn expire_client_secret(&mut self) {
        if let Some(secret) = &mut self.client_secret {
            secret.expired = true;
        }
    }

    pub(super) fn check_secret(&self, presented: &str) -> Result<(), ErrorResponse> {
        match &self.client_secret {
            Some(secret) if secret.value == presented => {
                if secret.expired {
                    let text = "The provided client secret keys for app are expired.";
                    return Err(ErrorResponse::new(7_000_222, text));
                }
                Ok(())
            }
            _ => Err(ErrorResponse::invalid_secret()),
        }
    }
}

fn trim_slash(identifier: &str) -> &str {
    identifier.strip_suffix('/').unwrap_or(identifier)
}

/// The resources that exist in every tenant and that workloads use most.
const RESOURCES: [&str; 6] = [
    EXCHANGE_AUDIENCE,
    "https://vault.azure.net",
    "https://storage.azure.com",
    "https://management.azure.com",
    "https://ossrdbms-aad.database.windows.net",
    "https://redis.azure.com",
];

/// The most common value. The default of Entra is random, 60 to 90 minutes.
const ACCESS_TOKEN_LIFETIME: Duration = Duration::from_secs(3599);
