use std::collections::{HashMap, HashSet};
use std::time::Duration;

use uuid::Uuid;

use super::error_response::ErrorResponse;
use super::federated_credential::FederatedCredential;
use super::resources::is_known;
use crate::jwt::PublicKey;

/// The applications and resources of the tenant, and the lifetime of its tokens.
pub(super) struct Directory {
    pub(super) applications: HashMap<String, Application>,
    /// Whether the token endpoint answers that it cannot.
    pub(super) unavailable: bool,
    pub(super) limit: Option<Limit>,
    /// The identifiers of those that are not [known](is_known), without a trailing slash.
    resources: HashSet<String>,
    pub(super) access_token_lifetime: Duration,
    pub(super) refresh_in: Option<Duration>,
}

impl Directory {
    pub(super) fn new() -> Self {
        Self {
            applications: HashMap::new(),
            unavailable: false,
            limit: None,
            resources: HashSet::new(),
            access_token_lifetime: ACCESS_TOKEN_LIFETIME,
            refresh_in: None,
        }
    }

    /// Returns the application with this ID. Registers it if needed.
    pub(super) fn application(&mut self, client_id: &str) -> &mut Application {
        self.applications
            .entry(client_id.to_lowercase())
            .or_insert_with(|| Application {
                object_id: Uuid::new_v4().to_string(),
                disabled: false,
                blocked: false,
                sign_ins_from: 0,
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
        application.check_enabled(client_id)?;
        Ok(application)
    }

    /// Goes back to the applications of the baseline. Those that are not in it lose the states that tests order.
    pub(super) fn reset(&mut self, baseline: &HashMap<String, Application>) {
        self.resources.clear();
        self.unavailable = false;
        self.limit = None;
        for application in self.applications.values_mut() {
            application.disabled = false;
            application.blocked = false;
            application.sign_ins_from = 0;
            if let Some(secret) = &mut application.client_secret {
                secret.expired = false;
            }
        }
        self.applications.extend(baseline.clone());
    }

    /// Checks the states that tests order, and the resource.
    pub(super) fn check_managed_identity(
        &self,
        client_id: &str,
        resource: &str,
        tenant: &str,
    ) -> Result<(), ErrorResponse> {
        if self.unavailable {
            return Err(ErrorResponse::unavailable());
        }
        if let Some(application) = self.applications.get(&client_id.to_lowercase()) {
            application.check_enabled(client_id)?;
            application.check_policy(client_id)?;
        }
        self.check_resource(resource, tenant)
    }

    /// Counts a token request, and refuses it in an outage or above the limit.
    ///
    /// * `now`: in seconds since the Unix epoch.
    pub(super) fn admit(&mut self, now: u64) -> Result<(), ErrorResponse> {
        if self.unavailable {
            return Err(ErrorResponse::unavailable());
        }
        self.limit.as_mut().map_or(Ok(()), |limit| limit.admit(now))
    }

    pub(super) fn register_resource(&mut self, identifier: &str) {
        self.resources.insert(trim_slash(identifier).to_owned());
    }

    pub(super) fn check_resource(&self, resource: &str, tenant: &str) -> Result<(), ErrorResponse> {
        let resource = trim_slash(resource);
        let application = resource.strip_prefix("api://").unwrap_or(resource).to_lowercase();
        if is_known(resource)
            || self.resources.contains(resource)
            || self.applications.contains_key(&application)
        {
            return Ok(());
        }
        let text =
            format!("The resource principal named {resource} was not found in the tenant named {tenant}.");
        Err(ErrorResponse::new(500_011, text))
    }
}

/// The token requests that are allowed in a minute, and those of the current one.
pub(super) struct Limit {
    per_minute: u32,
    minute: u64,
    count: u32,
}

impl Limit {
    pub(super) fn new(per_minute: u32) -> Self {
        Self {
            per_minute,
            minute: 0,
            count: 0,
        }
    }

    fn admit(&mut self, now: u64) -> Result<(), ErrorResponse> {
        let minute = now / 60;
        if minute != self.minute {
            (self.minute, self.count) = (minute, 0);
        }
        if self.count >= self.per_minute {
            return Err(ErrorResponse::throttled().after(60 - now % 60));
        }
        self.count += 1;
        Ok(())
    }
}

#[derive(Clone)]
pub(super) struct Application {
    /// The object ID of the service principal: the `oid` and `sub` of its tokens.
    pub(super) object_id: String,
    pub(super) disabled: bool,
    /// Assertions from before this time are refused, in seconds since the Unix epoch.
    pub(super) sign_ins_from: u64,
    /// By a policy of conditional access.
    pub(super) blocked: bool,
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

    fn check_enabled(&self, client_id: &str) -> Result<(), ErrorResponse> {
        if self.disabled {
            let text = format!("Application '{client_id}' is disabled.");
            return Err(ErrorResponse::new(7_000_112, text));
        }
        Ok(())
    }

    /// Refuses an application that a policy blocks. The claims name the policy, as an authentication context.
    pub(super) fn check_policy(&self, client_id: &str) -> Result<(), ErrorResponse> {
        if !self.blocked {
            return Ok(());
        }
        let text = format!(
            "Access has been blocked by Conditional Access policies. The access policy does not allow token issuance \
             for the application '{client_id}'."
        );
        let claims = r#"{"access_token":{"capolids":{"essential":true,"values":["00000000-0000-4000-8000-0000000000ca"]}}}"#;
        Err(ErrorResponse::new(53_003, text).with_claims(claims.to_owned()))
    }

    /// Refuses an assertion from before the sign-ins were revoked.
    ///
    /// * `issued_at`: in seconds since the Unix epoch.
    pub(super) fn check_sign_in(&self, issued_at: u64) -> Result<(), ErrorResponse> {
        if issued_at >= self.sign_ins_from {
            return Ok(());
        }
        let text = "The provided grant has expired due to it being revoked, a fresh auth token is needed.";
        Err(ErrorResponse::new(50_173, text))
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

/// The most common value. The default of Entra is random, 60 to 90 minutes.
const ACCESS_TOKEN_LIFETIME: Duration = Duration::from_secs(3599);
