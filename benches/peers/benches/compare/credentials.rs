//! The three credentials with the same pod and the same endpoint.

use std::sync::Arc;

use azure_core::credentials::TokenCredential;
use azure_core::http::{ClientOptions, Transport};
use azure_identity::{ClientAssertionCredentialOptions, WorkloadIdentityCredentialOptions};
use entra_workload::Environment;
use entra_workload::clock::Clock;
use futures::future::BoxFuture;
use object_store::azure::{AzureConfigKey, AzureCredential, AzureCredentialProvider, MicrosoftAzureBuilder};
use tempfile::TempDir;

use crate::endpoint::Endpoint;

/// A pod with its service-account token.
pub struct Pod(TempDir);

impl Pod {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("token"), SERVICE_ACCOUNT_TOKEN).unwrap();
        Self(folder)
    }

    fn token_file(&self) -> std::path::PathBuf {
        self.0.path().join("token")
    }

    pub fn ours(
        &self,
        endpoint: &Endpoint,
        clock: impl Clock,
    ) -> Arc<entra_workload::WorkloadIdentityCredential> {
        entra_workload::WorkloadIdentityCredential::builder()
            .environment(Environment::default())
            .tenant_id(TENANT_ID)
            .client_id(CLIENT_ID)
            .token_file(self.token_file())
            .transport(endpoint.clone())
            .clock(clock)
            .build()
            .unwrap()
    }

    pub fn azure_identity(&self, endpoint: &Endpoint) -> Arc<azure_identity::WorkloadIdentityCredential> {
        let client_options = ClientOptions {
            transport: Some(Transport::new(Arc::new(endpoint.clone()))),
            ..Default::default()
        };
        azure_identity::WorkloadIdentityCredential::new(Some(WorkloadIdentityCredentialOptions {
            credential_options: ClientAssertionCredentialOptions { client_options },
            tenant_id: Some(TENANT_ID.into()),
            client_id: Some(CLIENT_ID.into()),
            token_file_path: Some(self.token_file()),
        }))
        .unwrap()
    }

    pub fn object_store(&self, endpoint: &Endpoint) -> AzureCredentialProvider {
        let store = MicrosoftAzureBuilder::new()
            .with_account("account")
            .with_container_name("container")
            .with_tenant_id(TENANT_ID)
            .with_client_id(CLIENT_ID)
            .with_config(
                AzureConfigKey::FederatedTokenFile,
                self.token_file().display().to_string(),
            )
            .with_http_connector(endpoint.clone())
            .build()
            .unwrap();
        store.credentials().clone()
    }
}

/// Gets a token for a scope; returns whether it is valid.
pub type Call = Arc<dyn Fn(&'static str) -> BoxFuture<'static, bool> + Send + Sync>;

pub fn native(credential: Arc<entra_workload::WorkloadIdentityCredential>, endpoint: &Endpoint) -> Call {
    let endpoint = endpoint.clone();
    Arc::new(move |scope| {
        let (credential, endpoint) = (credential.clone(), endpoint.clone());
        Box::pin(async move {
            let token = credential.token(&[scope]).await;
            token.is_ok_and(|token| endpoint.is_good(token.secret()))
        })
    })
}

pub fn sdk(credential: Arc<dyn TokenCredential>, endpoint: &Endpoint) -> Call {
    let endpoint = endpoint.clone();
    Arc::new(move |scope| {
        let (credential, endpoint) = (credential.clone(), endpoint.clone());
        Box::pin(async move {
            let token = credential.get_token(&[scope], None).await;
            token.is_ok_and(|token| endpoint.is_good(token.token.secret()))
        })
    })
}

/// Has one scope, that of Blob Storage.
pub fn store(credential: AzureCredentialProvider, endpoint: &Endpoint) -> Call {
    let endpoint = endpoint.clone();
    Arc::new(move |_| {
        let (credential, endpoint) = (credential.clone(), endpoint.clone());
        Box::pin(async move {
            let token = credential.get_credential().await;
            token.is_ok_and(
                |token| matches!(&*token, AzureCredential::BearerToken(token) if endpoint.is_good(token)),
            )
        })
    })
}

const TENANT_ID: &str = "72f988bf-86f1-41af-91ab-2d7cd011db47";

const CLIENT_ID: &str = "7a5ff21b-4f5b-4f5b-9e3e-2c0b5a1d9a10";

/// Has the form of those of Kubernetes, with a signature that is not checked here. Valid until
/// 2100.
const SERVICE_ACCOUNT_TOKEN: &str = "eyJhbGciOiJSUzI1NiJ9.eyJhdWQiOlsiYXBpOi8vQXp1cmVBRFRva2VuRXhjaGFuZ2UiXSwiZXhwIjo0MTAyNDQ0ODAwLCJpYXQiOjE3MDAwMDAwMDAsImlzcyI6Imh0dHBzOi8vaXNzdWVyLyIsInN1YiI6InN5c3RlbTpzZXJ2aWNlYWNjb3VudDpuczphcHAifQ.c2ln";

/// The only scope of `object_store`, so all use it.
pub const BLOB: &str = "https://storage.azure.com/.default";

pub const VAULT: &str = "https://vault.azure.net/.default";
