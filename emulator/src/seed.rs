mod check;

use std::io;
use std::time::Duration;

use serde::{Deserialize, Deserializer};

use crate::emulator::Emulator;
use crate::entra::FederatedCredential;
use crate::jwt::parse_key_set;
use crate::managed_identity::ManagedIdentity;
use crate::permissions::Role;
use crate::pod::Pod;
use crate::service_account_token::EXCHANGE_AUDIENCE;

/// What an emulator has at the start of a test: identities, their roles, and data.
///
/// In YAML or JSON its fields are in camel case. All are optional; unknown ones are an error.
///
/// # Examples
///
/// ```
/// use entra_workload_emulator::{Emulator, Seed};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let seed: Seed = serde_json::from_str(
///     r#"{
///       "pods": [{
///         "namespace": "shop",
///         "serviceAccount": "orders",
///         "roles": [{ "role": "Storage Blob Data Reader", "container": "invoices" }]
///       }],
///       "secrets": [{ "name": "db-password", "value": "correct horse" }],
///       "containers": [{ "name": "invoices", "blobs": [{ "name": "1.txt", "content": "42" }] }]
///     }"#,
/// )?;
/// let emulator = Emulator::start().await?;
/// let pods = emulator.seed(&seed)?;
/// assert_eq!(pods.len(), 1);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
#[non_exhaustive]
pub struct Seed {
    /// Pods, each with an application, its federated credential and a token file.
    pub pods: Vec<PodSeed>,
    /// Applications without a pod.
    pub applications: Vec<ApplicationSeed>,
    /// User-assigned managed identities of the machine and the app.
    pub managed_identities: Vec<ManagedIdentitySeed>,
    /// Secrets of vaults.
    pub secrets: Vec<SecretSeed>,
    /// Containers and blobs.
    pub containers: Vec<ContainerSeed>,
    /// Resources that tokens can be requested for, besides those of Azure.
    pub resources: Vec<String>,
    /// Issuers whose keys are given, so that Entra does not fetch them.
    pub trusted_issuers: Vec<TrustedIssuerSeed>,
}

/// An issuer of a [`Seed`], such as a cluster that the emulator cannot reach.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct TrustedIssuerSeed {
    /// The exact `iss` of its tokens.
    pub issuer: String,
    /// Its JWK set.
    pub jwks: serde_json::Value,
}

/// A pod of a [`Seed`].
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[non_exhaustive]
pub struct PodSeed {
    /// The namespace.
    pub namespace: String,
    /// The service account.
    pub service_account: String,
    /// The client ID of its application; the default is a random one.
    #[serde(default)]
    pub client_id: Option<String>,
    /// Whether it has an AKS identity binding, and gets its tokens from the token proxy.
    #[serde(default)]
    pub identity_binding: bool,
    /// Its roles; the default is all.
    #[serde(default)]
    pub roles: Option<Vec<RoleSeed>>,
}

impl PodSeed {
    /// A pod with all roles.
    pub fn new(namespace: impl Into<String>, service_account: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            service_account: service_account.into(),
            client_id: None,
            identity_binding: false,
            roles: None,
        }
    }
}

/// An application of a [`Seed`].
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[non_exhaustive]
pub struct ApplicationSeed {
    /// The client ID.
    pub client_id: String,
    /// Its client secret.
    #[serde(default)]
    pub secret: Option<SecretText>,
    /// Whether the secret is expired: AADSTS7000222.
    #[serde(default)]
    pub secret_expired: bool,
    /// Its federated credentials.
    #[serde(default)]
    pub federated_credentials: Vec<FederatedCredentialSeed>,
    /// Its roles; the default is all.
    #[serde(default)]
    pub roles: Option<Vec<RoleSeed>>,
    /// Whether it is disabled.
    #[serde(default)]
    pub disabled: bool,
}

/// A federated credential of a [`Seed`].
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct FederatedCredentialSeed {
    /// The `iss`; the default is the cluster of the emulator.
    #[serde(default)]
    pub issuer: Option<String>,
    /// The `sub`.
    pub subject: String,
    /// The `aud`; the default is `api://AzureADTokenExchange`.
    #[serde(default)]
    pub audience: Option<String>,
}

/// A managed identity of a [`Seed`].
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[non_exhaustive]
pub struct ManagedIdentitySeed {
    /// The name in its resource ID.
    pub name: String,
    /// The client ID; the default is a random one.
    #[serde(default)]
    pub client_id: Option<String>,
    /// The object ID; the default is a random one.
    #[serde(default)]
    pub object_id: Option<String>,
    /// Its roles; the default is all.
    #[serde(default)]
    pub roles: Option<Vec<RoleSeed>>,
}

/// A role assignment of a [`Seed`]. Without account, container and vault, it applies everywhere.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[non_exhaustive]
pub struct RoleSeed {
    /// The name of the role, such as `Key Vault Secrets User`.
    #[serde(deserialize_with = "role")]
    pub role: Role,
    /// A storage account.
    #[serde(default)]
    pub account: Option<String>,
    /// A container.
    #[serde(default)]
    pub container: Option<String>,
    /// A vault.
    #[serde(default)]
    pub vault: Option<String>,
    /// After how many seconds it works, on the clock of the emulator. In Azure that is up to ten minutes.
    #[serde(default)]
    pub delay_seconds: u64,
}

/// A secret of a [`Seed`].
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct SecretSeed {
    /// The vault; the default is that of `Emulator::key_vault_url`.
    #[serde(default)]
    pub vault: Option<String>,
    /// The name.
    pub name: String,
    /// The value.
    pub value: SecretText,
}

/// A container of a [`Seed`].
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ContainerSeed {
    /// The account; the default is that of `Emulator::blob_account_url`.
    #[serde(default)]
    pub account: Option<String>,
    /// The name.
    pub name: String,
    /// Its blobs.
    #[serde(default)]
    pub blobs: Vec<BlobSeed>,
}

/// A blob of a [`Seed`].
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct BlobSeed {
    /// The name.
    pub name: String,
    /// The content.
    #[serde(default)]
    pub content: String,
}

/// A text that neither `Debug` nor an error shows. YAML reads `0123` as a number and `True` as a truth value, whose
/// text is another one: these are refused.
#[derive(Clone)]
pub struct SecretText(String);

impl<'de> Deserialize<'de> for SecretText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match serde_json::Value::deserialize(deserializer)? {
            serde_json::Value::String(text) => Ok(Self(text)),
            _ => Err(serde::de::Error::custom(
                "a secret must be a text; put it in quotes",
            )),
        }
    }
}

impl std::fmt::Debug for SecretText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[redacted]")
    }
}

impl From<String> for SecretText {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl Emulator {
    /// Adds what a seed has, and returns its pods in their order. What is already there is kept; a pod with
    /// the same service account and client ID is not created again.
    ///
    /// # Errors
    ///
    /// Returns an error if a token file cannot be written, or if a name, an ID, a role's scope or a JWK set is invalid.
    pub fn seed(&self, seed: &Seed) -> io::Result<Vec<Pod>> {
        seed.check()?;
        let entra = self.entra();
        let known = self.client_ids();
        let mut pods = Vec::new();
        for it in &seed.pods {
            let client_id = it.client_id.as_deref();
            let pod = self.pod_with(&it.namespace, &it.service_account, client_id, it.identity_binding)?;
            self.seed_roles(pod.client_id(), it.roles.as_deref())?;
            pods.push(pod);
        }
        for it in &seed.applications {
            entra.register_application(&it.client_id);
            if let Some(SecretText(secret)) = &it.secret {
                entra.set_client_secret(&it.client_id, secret);
            }
            if it.secret_expired {
                entra.expire_client_secret(&it.client_id);
            }
            for it_credential in &it.federated_credentials {
                let issuer = it_credential.issuer.as_deref().unwrap_or(self.issuer_url());
                let audience = it_credential.audience.as_deref().unwrap_or(EXCHANGE_AUDIENCE);
                let credential = FederatedCredential {
                    issuer: issuer.to_owned(),
                    subject: it_credential.subject.clone(),
                    audience: audience.to_owned(),
                };
                entra.register_federated_credential(&it.client_id, credential);
            }
            self.seed_roles(&it.client_id, it.roles.as_deref())?;
            if it.disabled {
                entra.disable_application(&it.client_id);
            }
        }
        for it in &seed.managed_identities {
            let mut identity = ManagedIdentity::named(&it.name);
            if let Some(client_id) = &it.client_id {
                identity.client_id.clone_from(client_id);
            }
            if let Some(object_id) = &it.object_id {
                identity.object_id.clone_from(object_id);
            }
            // One that is there already is not assigned again.
            let identity = self.assign_named_identity(&it.name, identity);
            self.seed_roles(&identity.client_id, it.roles.as_deref())?;
        }
        for SecretSeed { vault, name, value } in &seed.secrets {
            self.set_secret(vault.as_deref(), name, &value.0);
        }
        for ContainerSeed { account, name, blobs } in &seed.containers {
            self.create_container(account.as_deref(), name);
            for blob in blobs {
                self.put_blob(account.as_deref(), name, &blob.name, blob.content.as_str());
            }
        }
        for TrustedIssuerSeed { issuer, jwks } in &seed.trusted_issuers {
            let keys = parse_key_set(jwks.to_string().as_bytes()).ok_or_else(|| {
                let text = format!("the keys of {issuer:?} are not a JWK set");
                io::Error::new(io::ErrorKind::InvalidInput, text)
            })?;
            entra.trust_issuer(issuer, keys);
        }
        for resource in &seed.resources {
            entra.register_resource(resource);
        }
        self.add_to_baseline(&known);
        Ok(pods)
    }

    fn seed_roles(&self, client_id: &str, roles: Option<&[RoleSeed]>) -> io::Result<()> {
        let Some(roles) = roles else {
            return Ok(());
        };
        self.remove_roles(client_id);
        roles.iter().try_for_each(|role| self.seed_role(client_id, role))
    }

    /// Assigns one role.
    pub(crate) fn seed_role(&self, client_id: &str, role: &RoleSeed) -> io::Result<()> {
        let delay = Duration::from_secs(role.delay_seconds);
        self.assign_role_after(client_id, role.role, role.scope()?, delay);
        Ok(())
    }
}

fn role<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Role, D::Error> {
    let name = String::deserialize(deserializer)?;
    name.parse().map_err(serde::de::Error::custom)
}
