//! What a program can learn at start-up: `check` of a credential, and the log of a chain that
//! cannot work.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::log::Log;
use async_trait::async_trait;
use bytes::Bytes;
use entra_workload::transport::Transport;
use entra_workload::{
    AccessToken, Attempt, ChainedTokenCredential, ClientSecretCredential, Credential, DefaultAzureCredential,
    Environment, Error, ErrorKind, TokenRequest,
};
use http::{Request, Response};

const SCOPES: [&str; 1] = ["https://vault.azure.net/.default"];
const CLIENT_ID: (&str, &str) = ("AZURE_CLIENT_ID", "7a5ff21b-4f5b-4f5b-9e3e-2c0b5a1d9a10");
const TENANT_ID: (&str, &str) = ("AZURE_TENANT_ID", "72f988bf-86f1-41af-91ab-2d7cd011db47");
const SECRET: (&str, &str) = ("AZURE_CLIENT_SECRET", "planted-secret");
const NO_METADATA_SERVICE: (&str, &str) = ("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://127.0.0.1:9");
const TOKEN_FILE: (&str, &str) = ("AZURE_FEDERATED_TOKEN_FILE", "/nowhere/token");

#[tokio::test]
async fn check_returns_the_client_id_of_a_credential_and_uses_its_cache() {
    let entra = Entra::default();
    let credential = secret_credential(&entra);
    for _ in 0..2 {
        let identity = credential.check(&SCOPES).await.unwrap();
        assert_eq!(identity.credential(), "ClientSecretCredential");
        assert_eq!(identity.client_id(), Some(CLIENT_ID.1));
        assert!(identity.skipped().is_empty());
        let text = format!("{identity} {identity:?}");
        assert!(text.contains(CLIENT_ID.1) && !text.contains("planted"), "{text}");
    }
    assert_eq!(entra.requests(), 1);
}

#[tokio::test]
async fn check_returns_the_selected_link_of_a_chain_and_the_skipped_ones() {
    let entra = Entra::default();
    let builder = || {
        ChainedTokenCredential::builder()
            .then_error("absent", Error::new(ErrorKind::Unavailable, "no variables"))
            .then("secret", secret_credential(&entra))
    };
    for chain in [builder().build(), builder().walk_every_time().build()] {
        let identity = chain.unwrap().check(&SCOPES).await.unwrap();
        assert_eq!(identity.credential(), "secret");
        assert_eq!(identity.client_id(), Some(CLIENT_ID.1));
        let skipped: Vec<&str> = identity.skipped().iter().map(Attempt::name).collect();
        assert_eq!(skipped, ["absent"]);
    }
}

#[tokio::test]
async fn check_fails_like_token_if_there_is_no_token() {
    let environment = Environment::from_iter([NO_METADATA_SERVICE, TOKEN_FILE, CLIENT_ID, TENANT_ID]);
    let credential = DefaultAzureCredential::builder()
        .environment(environment)
        .build()
        .unwrap();
    let error = credential.check(&SCOPES).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Assertion);
}

#[tokio::test]
async fn check_of_a_trait_object_returns_what_that_of_its_type_returns() {
    let entra = Entra::default();
    let secret = secret_credential(&entra);
    let chain = ChainedTokenCredential::builder()
        .then_error("absent", Error::new(ErrorKind::Unavailable, "no variables"))
        .then("secret", secret.clone())
        .build()
        .unwrap();
    let credentials: [Arc<dyn Credential>; 2] = [secret.clone(), chain.clone()];
    let same = [secret.check(&SCOPES).await, chain.check(&SCOPES).await];
    for (credential, same) in credentials.into_iter().zip(same) {
        let identity = credential.check(&SCOPES).await.unwrap();
        assert_eq!(format!("{identity:?}"), format!("{:?}", same.unwrap()));
    }
    assert_eq!(entra.requests(), 1);
}

#[tokio::test]
async fn check_of_a_foreign_credential_returns_its_type_and_client_id() {
    let foreign: Arc<dyn Credential> = Arc::new(Vault(std::marker::PhantomData::<Entra>));
    let identity = foreign.check(&SCOPES).await.unwrap();
    assert_eq!(
        identity.to_string(),
        format!("Vault with client ID {}", CLIENT_ID.1)
    );
    let error = foreign.check(&["refused"]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected);
}

/// A credential outside the crate.
#[derive(Debug)]
struct Vault<T>(std::marker::PhantomData<T>);

#[async_trait]
impl<T: std::fmt::Debug + Send + Sync + 'static> Credential for Vault<T> {
    async fn token_for(&self, request: &TokenRequest<'_>) -> Result<AccessToken, Error> {
        if request.scopes() == ["refused"] {
            return Err(Error::new(ErrorKind::Rejected, "the vault refused the request"));
        }
        Ok(AccessToken::new("planted-token", std::time::SystemTime::now()))
    }

    fn client_id(&self) -> Option<&str> {
        Some(CLIENT_ID.1)
    }
}

#[test]
fn build_warns_once_about_a_link_that_is_set_up_and_cannot_work() {
    for (variables, expected) in [
        (&[TOKEN_FILE, TENANT_ID][..], &["workload identity"][..]),
        (&[SECRET, TOKEN_FILE], &["environment"]),
        (&[TOKEN_FILE, CLIENT_ID, TENANT_ID], &[]),
        (&[("KUBERNETES_SERVICE_HOST", "10.0.0.1")], &[]),
        (&[], &[]),
    ] {
        let log = Log::default();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(log.clone())
            .with_ansi(false)
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            let environment = variables.iter().chain([&NO_METADATA_SERVICE]).copied().collect();
            DefaultAzureCredential::builder()
                .environment(environment)
                .build()
                .unwrap();
        });
        let log = log.text();
        let lines: Vec<&str> = log.lines().collect();
        assert_eq!(lines.len(), expected.len(), "{log}");
        for (line, link) in lines.iter().zip(expected) {
            assert!(line.contains(" WARN ") && line.contains(link), "{line}");
            assert!(line.contains("AZURE_CLIENT_ID is not set"), "{line}");
            assert!(!line.contains("planted"), "{line}");
        }
    }
}

fn secret_credential(entra: &Entra) -> Arc<ClientSecretCredential> {
    ClientSecretCredential::builder()
        .environment(Environment::from_iter([CLIENT_ID, TENANT_ID, SECRET]))
        .transport(entra.clone())
        .build()
        .unwrap()
}

/// Grants a token to every request.
#[derive(Clone, Debug, Default)]
struct Entra(Arc<AtomicUsize>);

impl Entra {
    fn requests(&self) -> usize {
        self.0.load(Ordering::Relaxed)
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
