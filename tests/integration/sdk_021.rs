//! Credentials as `TokenCredential`s of the older SDK, `azure_core` 0.21.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use azure_core_021::auth::TokenCredential;
use azure_core_021::error::ErrorKind as SdkErrorKind;
use entra_workload::assertion::AssertionRequest;
use entra_workload::clock::Clock as _;
use entra_workload::{
    ChainedTokenCredential, ClientAssertionCredential, ClientSecretCredential, Credential, Environment,
    Error, ErrorKind, Secret, WorkloadIdentityCredential,
};

use crate::support::clock::TestClock;
use crate::support::identifiers::{BLOB, CLIENT_ID, TENANT_ID, VAULT};
use crate::support::log::assert_no_secret;
use crate::support::runtime::settle;
use crate::support::transport::{FakeEndpoint, fake_endpoint};

#[tokio::test(start_paused = true)]
async fn client_that_gets_a_token_for_each_request_causes_one_fetch() {
    let mut subject = Subject::new();
    let expires_on = subject.clock.now().system_time + Duration::from_secs(3600);
    assert_eq!(
        subject.first_token("planted-1", BLOB).await,
        ("planted-1".to_owned(), expires_on)
    );
    assert_eq!(subject.token(BLOB).await, ("planted-1".to_owned(), expires_on));
    subject.endpoint.assert_no_request().await;
    assert_eq!(subject.first_token("planted-2", VAULT).await.0, "planted-2");
    assert_eq!(subject.token(BLOB).await.0, "planted-1");
}

#[tokio::test(start_paused = true)]
async fn next_request_of_a_client_gets_the_refreshed_token() {
    let mut subject = Subject::new();
    subject.first_token("planted-1", BLOB).await;
    subject.clock.advance(Duration::from_secs(50 * 60));
    assert_eq!(
        subject.token(BLOB).await.0,
        "planted-1",
        "the call does not wait for the refresh"
    );
    subject
        .endpoint
        .request()
        .await
        .grant("planted-2", LIFETIME.as_secs());
    settle().await;
    assert_eq!(subject.token(BLOB).await.0, "planted-2");
    subject.endpoint.assert_no_request().await;
}

#[tokio::test(start_paused = true)]
async fn clear_cache_drops_the_token() {
    let mut subject = Subject::new();
    subject.first_token("planted-1", BLOB).await;
    subject.credential.clear_cache().await.unwrap();
    assert_eq!(subject.first_token("planted-2", BLOB).await.0, "planted-2");
}

#[tokio::test(start_paused = true)]
async fn sdk_error_contains_the_error_of_the_crate() {
    let mut subject = Subject::new();
    let call = subject.call(BLOB);
    let request = subject.endpoint.request().await;
    request.refuse(400, "unauthorized_client", 700_016);
    let error = call.await.unwrap().unwrap_err();
    assert_no_secret(&error);
    assert_eq!(error.kind(), &SdkErrorKind::Credential);
    let ours = Error::find_in(&error).unwrap();
    assert_eq!(error.to_string(), ours.to_string());
    assert_eq!(
        (ours.kind(), ours.status().unwrap().as_u16(), ours.aadsts_codes()),
        (ErrorKind::Rejected, 400, &[700_016][..])
    );
}

#[test]
fn credentials_implement_the_token_credential_of_the_older_sdk() {
    fn check<T: TokenCredential + Credential>() {}
    check::<ChainedTokenCredential>();
    check::<ClientAssertionCredential>();
    check::<ClientSecretCredential>();
    check::<WorkloadIdentityCredential>();
    #[cfg(feature = "azure-core")]
    check::<entra_workload::integration::SdkCredential>();
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
    subject.endpoint.assert_no_request().await;
}

/// A credential and its endpoint.
struct Subject {
    credential: Arc<ClientAssertionCredential>,
    endpoint: FakeEndpoint,
    clock: TestClock,
}

impl Subject {
    fn new() -> Self {
        let (transport, endpoint) = fake_endpoint();
        let clock = TestClock::stopped();
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

    /// Returns the token and the expiry that the SDK sees.
    async fn token(&self, scope: &'static str) -> (String, SystemTime) {
        self.call(scope).await.unwrap().unwrap()
    }

    /// The same with a token request.
    async fn first_token(&mut self, secret: &str, scope: &'static str) -> (String, SystemTime) {
        let call = self.call(scope);
        let request = self.endpoint.request().await;
        assert_eq!(request.form["scope"], scope);
        request.grant(secret, LIFETIME.as_secs());
        call.await.unwrap().unwrap()
    }
}

const LIFETIME: Duration = Duration::from_secs(3600);
