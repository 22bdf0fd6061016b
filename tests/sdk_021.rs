//! The bridge to the older SDK, `azure_core` 0.21.
#![cfg(feature = "azure-core-021")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "tests"
)]

mod support;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use azure_core_021::auth::TokenCredential;
use azure_core_021::error::ErrorKind as SdkErrorKind;
use entra_workload::{
    AssertionRequest, ChainedTokenCredential, ClientAssertionCredential, ClientSecretCredential, Clock as _,
    Credential, Environment, Error, ErrorKind, Secret, WorkloadIdentityCredential,
};

use support::{BLOB, CLIENT_ID, Endpoint, MovableClock, TENANT_ID, VAULT, is_safe, pair};

#[tokio::test(start_paused = true)]
async fn a_client_that_asks_for_every_request_makes_one_exchange() {
    let mut subject = Subject::new();
    let expires_on = subject.clock.now().system_time + Duration::from_secs(3600);
    assert_eq!(
        subject.first_token("planted-1", BLOB).await,
        ("planted-1".to_owned(), expires_on)
    );
    assert_eq!(subject.token(BLOB).await, ("planted-1".to_owned(), expires_on));
    subject.endpoint.is_idle().await;
    assert_eq!(subject.first_token("planted-2", VAULT).await.0, "planted-2");
    assert_eq!(subject.token(BLOB).await.0, "planted-1");
}

#[tokio::test(start_paused = true)]
async fn a_refreshed_token_reaches_a_client_with_its_next_request() {
    let mut subject = Subject::new();
    subject.first_token("planted-1", BLOB).await;
    subject.clock.advance(Duration::from_secs(50 * 60));
    assert_eq!(subject.token(BLOB).await.0, "planted-1", "it waits for nobody");
    subject
        .endpoint
        .request()
        .await
        .grant("planted-2", LIFE.as_secs());
    subject.settle().await;
    assert_eq!(subject.token(BLOB).await.0, "planted-2");
    subject.endpoint.is_idle().await;
}

#[tokio::test(start_paused = true)]
async fn a_cleared_cache_is_empty() {
    let mut subject = Subject::new();
    subject.first_token("planted-1", BLOB).await;
    subject.credential.clear_cache().await.unwrap();
    assert_eq!(subject.first_token("planted-2", BLOB).await.0, "planted-2");
}

#[tokio::test(start_paused = true)]
async fn the_sdk_is_told_all_that_an_error_says() {
    let mut subject = Subject::new();
    let call = subject.call(BLOB);
    let request = subject.endpoint.request().await;
    request.refuse(400, "unauthorized_client", 700_016);
    let error = call.await.unwrap().unwrap_err();
    is_safe(&error);
    assert_eq!(error.kind(), &SdkErrorKind::Credential);
    let ours = Error::find_in(&error).unwrap();
    assert_eq!(error.to_string(), ours.to_string());
    assert_eq!(
        (ours.kind(), ours.status().unwrap().as_u16(), ours.aadsts_codes()),
        (ErrorKind::Rejected, 400, &[700_016][..])
    );
}

#[test]
fn every_credential_is_one_of_the_older_sdk() {
    fn is_one<T: TokenCredential + Credential>() {}
    is_one::<ChainedTokenCredential>();
    is_one::<ClientAssertionCredential>();
    is_one::<ClientSecretCredential>();
    is_one::<WorkloadIdentityCredential>();
    #[cfg(feature = "azure-core")]
    is_one::<entra_workload::SdkCredential>();
}

#[cfg(feature = "azure-core")]
#[tokio::test(start_paused = true)]
async fn both_sdks_share_one_cache() {
    use azure_core::credentials::TokenCredential as NewTokenCredential;

    let mut subject = Subject::new();
    subject.first_token("planted-1", BLOB).await;
    let new: Arc<dyn NewTokenCredential> = subject.credential.clone();
    let token = new.get_token(&[BLOB], None).await.unwrap();
    assert_eq!(token.token.secret(), "planted-1");
    subject.endpoint.is_idle().await;
}

/// A credential, as the older SDK sees it but for its type.
struct Subject {
    credential: Arc<ClientAssertionCredential>,
    endpoint: Endpoint,
    clock: MovableClock,
}

impl Subject {
    fn new() -> Self {
        let (transport, endpoint) = pair();
        let clock = MovableClock::new();
        let credential = ClientAssertionCredential::builder()
            .environment(Environment::default())
            .tenant_id(TENANT_ID)
            .client_id(CLIENT_ID)
            .assertion(|_: AssertionRequest| async { Ok(Secret::from("planted-assertion")) })
            .transport(transport)
            .clock(clock.clone())
            .build()
            .unwrap();
        Self {
            credential,
            endpoint,
            clock,
        }
    }

    fn call(
        &self,
        scope: &'static str,
    ) -> tokio::task::JoinHandle<azure_core_021::Result<(String, SystemTime)>> {
        let credential: Arc<dyn TokenCredential> = self.credential.clone();
        tokio::spawn(async move {
            let token = credential.get_token(&[scope]).await?;
            Ok((token.token.secret().to_owned(), token.expires_on.into()))
        })
    }

    /// The token, and when the SDK is told that it expires.
    async fn token(&self, scope: &'static str) -> (String, SystemTime) {
        self.call(scope).await.unwrap().unwrap()
    }

    /// The same, with the exchange that it needs.
    async fn first_token(&mut self, secret: &str, scope: &'static str) -> (String, SystemTime) {
        let call = self.call(scope);
        let request = self.endpoint.request().await;
        assert_eq!(request.form["scope"], scope);
        request.grant(secret, LIFE.as_secs());
        call.await.unwrap().unwrap()
    }

    /// Lets all tasks come to rest.
    async fn settle(&self) {
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }
}

const LIFE: Duration = Duration::from_secs(3600);
