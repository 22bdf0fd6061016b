//! Removing tokens from the cache of a credential, of a chain, and of `dyn Credential`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use entra_workload::transport::Transport;
use entra_workload::{ChainedTokenCredential, ClientSecretCredential, Credential, Environment, Error};
use http::{Request, Response};

const SCOPES: [&str; 1] = ["https://vault.azure.net/.default"];

#[tokio::test]
async fn invalidate_secret_removes_the_token_with_this_text_only() {
    for credential in credentials() {
        let first = credential.token(&SCOPES).await.unwrap();
        for other in ["", "planted", "planted-token-"] {
            credential.invalidate_secret(other);
        }
        assert_eq!(credential.token(&SCOPES).await.unwrap().secret(), first.secret());
        credential.invalidate_secret(first.secret());
        let second = credential.token(&SCOPES).await.unwrap();
        assert_ne!(second.secret(), first.secret());
        credential.invalidate_secret(first.secret());
        assert_eq!(credential.token(&SCOPES).await.unwrap().secret(), second.secret());
    }
}

#[tokio::test]
async fn invalidate_secret_and_clear_need_no_import_of_the_trait() {
    let credential = secret_credential();
    let first = credential.token(&SCOPES).await.unwrap();
    ClientSecretCredential::invalidate_secret(&credential, first.secret());
    let second = credential.token(&SCOPES).await.unwrap();
    ClientSecretCredential::clear(&credential);
    let third = credential.token(&SCOPES).await.unwrap();
    assert_ne!(first.secret(), second.secret());
    assert_ne!(second.secret(), third.secret());
}

#[tokio::test]
async fn clear_removes_the_tokens_of_all_scopes() {
    for credential in credentials() {
        let mut tokens = Vec::new();
        for _ in 0..2 {
            for scopes in [SCOPES, ["https://storage.azure.com/.default"]] {
                tokens.push(credential.token(&scopes).await.unwrap().secret().to_owned());
            }
            credential.clear();
        }
        tokens.sort();
        tokens.dedup();
        assert_eq!(tokens.len(), 4);
    }
}

fn credentials() -> [Arc<dyn Credential>; 2] {
    let chain = ChainedTokenCredential::builder().then("secret", secret_credential());
    [secret_credential(), chain.build().unwrap()]
}

fn secret_credential() -> Arc<ClientSecretCredential> {
    ClientSecretCredential::builder()
        .environment(Environment::default())
        .tenant_id("72f988bf-86f1-41af-91ab-2d7cd011db47")
        .client_id("7a5ff21b-4f5b-4f5b-9e3e-2c0b5a1d9a10")
        .client_secret("planted-secret")
        .transport(Entra::default())
        .build()
        .unwrap()
}

/// Grants another token to every request.
#[derive(Debug, Default)]
struct Entra(AtomicUsize);

#[async_trait]
impl Transport for Entra {
    async fn send(&self, _request: Request<Bytes>) -> Result<Response<Bytes>, Error> {
        let number = self.0.fetch_add(1, Ordering::Relaxed);
        let body =
            format!(r#"{{"access_token":"planted-token-{number}","expires_in":3600,"token_type":"Bearer"}}"#);
        Ok(Response::new(body.into()))
    }
}
