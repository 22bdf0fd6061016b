#![doc = include_str!("../README.md")]

mod access_key;
mod admin;
mod app_service;
mod azure_pipelines;
mod bearer;
mod blob;
mod certificate_authority;
mod ci_job;
mod ci_systems;
mod clock;
mod connect_proxy;
mod crypto;
mod directory;
mod emulator;
mod endpoint;
mod entra;
mod fault;
mod github_actions;
mod guid;
mod http_client;
mod identity_host;
mod identity_query;
mod imds;
mod issuer;
mod jwt;
mod key_vault;
mod managed_identity;
mod permissions;
mod pod;
mod public_host;
mod refusal;
mod request_log;
mod revocations;
mod rsa_key;
#[cfg(feature = "azure-core")]
mod sdk_transport;
mod seed;
mod server;
mod service_account_token;
mod time;
mod token_proxy;
mod token_verifier;

pub use admin::Admin;
pub use ci_job::CiJob;
pub use emulator::{Emulator, EmulatorBuilder};
pub use endpoint::Endpoint;
pub use entra::{Entra, FederatedCredential};
pub use fault::Fault;
pub use identity_host::IdentityHost;
pub use issuer::ClusterIssuer;
pub use managed_identity::ManagedIdentity;
pub use permissions::{Role, RoleScope};
pub use pod::Pod;
pub use request_log::RecordedRequest;
pub use seed::{
    ApplicationSeed, BlobSeed, ContainerSeed, FederatedCredentialSeed, ManagedIdentitySeed, PodSeed,
    RoleSeed, SecretSeed, SecretText, Seed, TrustedIssuerSeed,
};
pub use service_account_token::ServiceAccountToken;
pub use token_proxy::TokenProxy;
pub use token_verifier::{TokenCaller, TokenRejection, TokenVerifier};
