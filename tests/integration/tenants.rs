//! Which tenants of requests share a cached token.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use entra_workload::transport::Transport;
use entra_workload::{ClientSecretCredential, Environment, Error, TokenRequest};
use http::{Request, Response};

const SCOPES: [&str; 1] = ["https://vault.azure.net/.default"];

#[tokio::test]
async fn own_tenant_in_a_request_shares_the_token_of_requests_without_a_tenant() {
    let entra = Entra::default();
    for tenant in ["fabrikam.com", "FABRIKAM.com"] {
        let credential = credential("fabrikam.com", &entra);
        credential.token(&SCOPES).await.unwrap();
        let request = TokenRequest::new(&SCOPES).tenant_id(tenant);
        credential.token_for(&request).await.unwrap();
        assert_eq!(entra.take_requests(), 1, "{tenant}");
    }
}

#[tokio::test]
async fn spellings_of_an_allowed_tenant_share_a_token_of_their_own() {
    let entra = Entra::default();
    let credential = credential("fabrikam.com", &entra);
    credential.token(&SCOPES).await.unwrap();
    for tenant in ["contoso.com", "Contoso.com", "CONTOSO.COM"] {
        let request = TokenRequest::new(&SCOPES).tenant_id(tenant);
        credential.token_for(&request).await.unwrap();
    }
    assert_eq!(entra.take_requests(), 2);
}

fn credential(tenant_id: &str, entra: &Entra) -> Arc<ClientSecretCredential> {
    ClientSecretCredential::builder()
        .environment(Environment::default())
        .tenant_id(tenant_id)
        .client_id("7a5ff21b-4f5b-4f5b-9e3e-2c0b5a1d9a10")
        .client_secret("planted-secret")
        .additionally_allowed_tenants(["contoso.com"])
        .transport(entra.clone())
        .build()
        .unwrap()
}

/// Grants a token to every request.
#[derive(Clone, Debug, Default)]
struct Entra(Arc<AtomicUsize>);

impl Entra {
    fn take_requests(&self) -> usize {
        self.0.swap(0, Ordering::Relaxed)
    }
}

#[async_trait]
impl Transport for Entra {
    async fn send(&self, _request: Request<Bytes>) -> Result<Response<Bytes>, Error> {
        self.0.fetch_add(1, Ordering::Relaxed);
        let body = r#"{"access_token":"planted-token","expires_in":3600,"token_type":"Bearer"}"#;
        Ok(Response::new(Bytes::from_static(body.as_bytes())))
    }
}
