//! Comparison with `azure_identity` 1.0: the same settings, file and responses lead to the same
//! request and the same token. Where this crate differs on purpose, a test shows how and says why.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use azure_core::cloud::CustomConfiguration;
use azure_core::credentials::{AccessToken, TokenCredential};
use azure_core::http::{ClientMethodOptions, ClientOptions, Transport};
use azure_identity as theirs;
use entra_workload::assertion::AssertionRequest;
use entra_workload::clock::{Clock as _, SystemClock};
use entra_workload::integration::SdkTransport;
use entra_workload::{self as ours, Environment, ErrorKind, Secret};

use crate::support::identifiers::{BLOB, CLIENT_ID, TENANT_ID, VAULT};
use crate::support::log::assert_no_secret;
use crate::support::pod::{PodDirectory, service_account_token};
use crate::support::sdk::{FakeSdkClient, SentSdkRequest};

#[tokio::test]
async fn same_settings_send_the_same_request() {
    for (authority_host, tenant_id, client_id, scopes) in [
        (LOGIN, TENANT_ID, CLIENT_ID, &[VAULT][..]),
        ("https://login.microsoftonline.com", TENANT_ID, CLIENT_ID, &[BLOB]),
        (
            "https://LOGIN.microsoftonline.US:443/",
            "Contoso.example.com",
            CLIENT_ID,
            &[VAULT],
        ),
        (
            "https://login.partner.microsoftonline.cn:8443",
            "contoso",
            "api://contoso/+&=%41é",
            &[VAULT],
        ),
        (
            LOGIN,
            TENANT_ID,
            CLIENT_ID,
            &["https://storage.azure.com//.default"],
        ),
        (
            LOGIN,
            TENANT_ID,
            CLIENT_ID,
            &["api://app/one", "api://app/two+three"],
        ),
    ] {
        let settings = Settings {
            authority_host,
            tenant_id,
            client_id,
            ..Settings::new()
        };
        for (theirs, ours) in [
            (settings.theirs(), settings.ours()),
            (
                settings.their_client_assertion("any + text/="),
                settings.our_client_assertion("any + text/="),
            ),
        ] {
            let (theirs, ours) = (theirs.sent_request(scopes).await, ours.sent_request(scopes).await);
            assert_eq!(ours.method, theirs.method);
            assert_eq!(ours.url, theirs.url);
            assert_eq!(ours.headers["content-type"], theirs.headers["content-type"]);
            assert_eq!(ours.form(), theirs.form());
            assert_eq!(ours.body, theirs.body, "the encoding differs");
        }
    }
}

#[tokio::test]
async fn same_response_gives_the_same_token_and_expiry() {
    let settings = Settings::new();
    // Short enough that both report the true expiry, long enough that neither refreshes the token
    // at once.
    let lifetime = Duration::from_secs(400);
    for side in [settings.theirs(), settings.ours()] {
        side.client.queue_grant("planted-token", lifetime.as_secs(), None);
        let (before, _) = now_by_both_clocks();
        let token = side.token(&[VAULT]).await.unwrap();
        let (_, after) = now_by_both_clocks();
        assert_eq!(token.token.secret(), "planted-token");
        let expires_on = SystemTime::from(token.expires_on);
        assert!((before + lifetime..=after + lifetime).contains(&expires_on));

        let again = side.token(&[VAULT]).await.unwrap();
        assert_eq!(SystemTime::from(again.expires_on), expires_on);
        assert_eq!(side.client.requests().len(), 1);
    }
}

#[tokio::test]
async fn same_refusal_gives_the_same_status_and_code() {
    let settings = Settings::new();
    let body =
        r#"{"error":"unauthorized_client","error_description":"AADSTS700016: no","error_codes":[700016]}"#;
    let theirs = settings.theirs();
    theirs.client.queue_reply(400, body);
    let error = theirs.token(&[VAULT]).await.unwrap_err();
    let azure_core::error::ErrorKind::HttpResponse {
        status, error_code, ..
    } = their_cause(&error)
    else {
        panic!("{error:?}");
    };
    let ours = settings.ours();
    ours.client.queue_reply(400, body);
    let error = ours.token(&[VAULT]).await.unwrap_err();
    let error = ours::Error::find_in(&error).unwrap();
    assert_eq!(error.status().unwrap().as_u16(), u16::from(*status));
    assert_eq!(error.aadsts_codes()[0].to_string(), *error_code.as_ref().unwrap());
}

/// Entra takes a line feed as a part of the assertion, and rejects it.
#[tokio::test]
async fn trailing_newline_of_the_token_file_is_not_sent() {
    let settings = Settings::new();
    let token = service_account_token("first", HOUR);
    settings.pod.project(format!("{token}\n"));
    let (theirs, ours) = (
        settings.theirs().sent_request(&[VAULT]).await,
        settings.ours().sent_request(&[VAULT]).await,
    );
    assert!(theirs.body.starts_with(&format!("client_assertion={token}%0A&")));
    assert!(ours.body.starts_with(&format!("client_assertion={token}&")));
}

/// Entra rejects a request without an assertion, with an error that does not name the cause.
#[tokio::test]
async fn empty_token_file_is_an_error_and_no_request() {
    let settings = Settings::new();
    settings.pod.project("");
    let (theirs, ours) = (settings.theirs().sent_request(&[VAULT]).await, settings.ours());
    assert!(theirs.body.starts_with("client_assertion=&"));
    let error = ours.token(&[VAULT]).await.unwrap_err();
    let error = ours::Error::find_in(&error).unwrap();
    assert_eq!(error.kind(), ErrorKind::Assertion);
    assert!(ours.client.requests().is_empty());
}

/// A container may start before its volumes are filled.
#[tokio::test]
async fn credential_is_built_before_the_token_file_exists() {
    let settings = Settings::new();
    fs::remove_file(settings.pod.token_file()).unwrap();
    assert!(
        theirs::WorkloadIdentityCredential::new(Some(settings.their_options(FakeSdkClient::new()))).is_err()
    );
    let ours = settings.ours();
    ours.token(&[VAULT]).await.unwrap_err();
    settings.pod.project(service_account_token("first", HOUR));
    ours.sent_request(&[VAULT]).await;
}

/// Theirs caches the file for ten minutes, in which the old token may expire.
#[tokio::test]
async fn replaced_assertion_is_not_sent_again() {
    let settings = Settings::new();
    let [first, second] = ["first", "second"].map(|id| service_account_token(id, HOUR));
    settings.pod.project(&first);
    let (theirs, ours) = (settings.theirs(), settings.ours());
    theirs.sent_request(&[VAULT]).await;
    ours.sent_request(&[VAULT]).await;
    settings.pod.project(&second);
    assert_eq!(theirs.sent_request(&[BLOB]).await.form()[0].1, first);
    assert_eq!(ours.sent_request(&[BLOB]).await.form()[0].1, second);
}

/// The authority may be a proxy or AD FS: without its path prefix the request reaches another
/// service.
#[tokio::test]
async fn path_prefix_of_the_authority_is_kept() {
    let settings = Settings {
        authority_host: "https://proxy.example.com/entra/",
        ..Settings::new()
    };
    let (theirs, ours) = (
        settings.theirs().sent_request(&[VAULT]).await,
        settings.ours().sent_request(&[VAULT]).await,
    );
    let path = format!("{TENANT_ID}/oauth2/v2.0/token");
    assert_eq!(theirs.url, format!("https://proxy.example.com/{path}"));
    assert_eq!(ours.url, format!("https://proxy.example.com/entra/{path}"));
}

/// The order of scopes has no meaning (RFC 6749, section 3.3), so both orders share one token.
#[tokio::test]
async fn scopes_in_another_order_hit_the_cache() {
    let settings = Settings::new();
    let (one_way, other_way) = (
        ["api://a/b", "api://a/c"],
        ["api://a/c", "api://a/b", "api://a/c"],
    );
    let (theirs, ours) = (settings.theirs(), settings.ours());
    assert_eq!(
        theirs.sent_request(&one_way).await.form()[4].1,
        "api://a/b api://a/c"
    );
    assert_eq!(
        theirs.sent_request(&other_way).await.form()[4].1,
        "api://a/c api://a/b api://a/c"
    );
    assert_eq!(theirs.client.requests().len(), 2);

    assert_eq!(
        ours.sent_request(&other_way).await.form()[4].1,
        "api://a/b api://a/c"
    );
    ours.token(&one_way).await.unwrap();
    assert_eq!(ours.client.requests().len(), 1);
}

/// Theirs borrows the description from the response, which fails if it contains an escape sequence.
/// Entra's descriptions have a line break before the trace ID.
#[tokio::test]
async fn refusal_with_escape_sequences_keeps_its_status_and_code() {
    let body = r#"{"error":"invalid_client","error_description":"AADSTS700016: no\r\nTrace ID: 1","error_codes":[700016]}"#;
    assert_only_theirs_loses_the_status(401, body, ErrorKind::Rejected, &[700_016]).await;
}

/// Theirs reports only "expected value at line 1 column 1" for the response of a proxy.
#[tokio::test]
async fn html_response_keeps_its_status() {
    assert_only_theirs_loses_the_status(403, "<html>planted</html>", ErrorKind::Protocol, &[]).await;
    assert_only_theirs_loses_the_status(403, "", ErrorKind::Protocol, &[]).await;
}

/// Theirs takes the missing token as an empty one, which every service rejects.
#[tokio::test]
async fn error_response_with_status_200_is_an_error() {
    let settings = Settings::new();
    let body = r#"{"error":"invalid_client","error_description":"no"}"#;
    let (theirs, ours) = (settings.theirs(), settings.ours());
    theirs.client.queue_reply(200, body);
    assert_eq!(theirs.token(&[VAULT]).await.unwrap().token.secret(), "");
    ours.client.queue_reply(200, body);
    let error = ours.token(&[VAULT]).await.unwrap_err();
    assert_eq!(ours::Error::find_in(&error).unwrap().kind(), ErrorKind::Rejected);
}

/// Entra's version 1 endpoint sends a string.
#[tokio::test]
async fn lifetime_in_a_string_is_accepted() {
    let settings = Settings::new();
    let body = r#"{"token_type":"Bearer","expires_in":"3600","access_token":"planted-token"}"#;
    let (theirs, ours) = (settings.theirs(), settings.ours());
    theirs.client.queue_reply(200, body);
    theirs.token(&[VAULT]).await.unwrap_err();
    ours.client.queue_reply(200, body);
    assert_eq!(
        ours.token(&[VAULT]).await.unwrap().token.secret(),
        "planted-token"
    );
}

/// SDK clients keep a token until five minutes before its reported expiry. Ours is refreshed at
/// half its lifetime, and the expiry is reported so that clients return for the refresh. `token()`
/// has the true expiry.
#[tokio::test]
async fn expiry_reported_to_the_sdk_is_earlier_than_the_true_one() {
    let settings = Settings::new();
    let (before, _) = now_by_both_clocks();
    let (theirs, client) = (settings.theirs(), FakeSdkClient::new());
    let ours = settings.our_credential(client.clone());
    theirs.client.queue_grant("planted-token", 3600, None);
    assert!(SystemTime::from(theirs.token(&[VAULT]).await.unwrap().expires_on) >= before + HOUR);

    client.queue_grant("planted-token", 3600, None);
    assert!(ours.token(&[VAULT]).await.unwrap().expires_on() >= before + HOUR);
    let reported = ours.get_token(&[VAULT], None).await.unwrap().expires_on;
    let (half, window) = (HOUR / 2, Duration::from_secs(300));
    assert!(SystemTime::from(reported) <= now_by_both_clocks().1 + half + window);
    assert_eq!(client.requests().len(), 1);
}

async fn assert_only_theirs_loses_the_status(status: u16, body: &str, kind: ErrorKind, aadsts_codes: &[u32]) {
    let settings = Settings::new();
    let (theirs, ours) = (settings.theirs(), settings.ours());
    theirs.client.queue_reply(status, body);
    let error = theirs.token(&[VAULT]).await.unwrap_err();
    let cause = their_cause(&error);
    assert!(
        !matches!(cause, azure_core::error::ErrorKind::HttpResponse { .. }),
        "{cause:?}"
    );
    ours.client.queue_reply(status, body);
    let error = ours.token(&[VAULT]).await.unwrap_err();
    let error = ours::Error::find_in(&error).unwrap();
    assert_eq!((error.kind(), error.status().unwrap().as_u16()), (kind, status));
    assert_eq!(error.aadsts_codes(), aadsts_codes);
    assert_no_secret(error);
}

/// Returns the earlier and the later reading of two clocks: the system's, and `SystemClock`, which
/// is less precise by up to a tick of the kernel.
fn now_by_both_clocks() -> (SystemTime, SystemTime) {
    let clocks = (SystemTime::now(), SystemClock::new().now().system_time);
    (clocks.0.min(clocks.1), clocks.0.max(clocks.1))
}

/// Returns the cause of "`WorkloadIdentityCredential` authentication failed".
fn their_cause(error: &azure_core::Error) -> &azure_core::error::ErrorKind {
    error.downcast_ref::<azure_core::Error>().unwrap().kind()
}

/// The settings of both sides, and the pod with the token file.
struct Settings {
    authority_host: &'static str,
    tenant_id: &'static str,
    client_id: &'static str,
    pod: PodDirectory,
}

impl Settings {
    fn new() -> Self {
        Self {
            authority_host: LOGIN,
            tenant_id: TENANT_ID,
            client_id: CLIENT_ID,
            pod: PodDirectory::new(),
        }
    }

    fn theirs(&self) -> Side {
        Side::new(|client| theirs::WorkloadIdentityCredential::new(Some(self.their_options(client))).unwrap())
    }

    fn ours(&self) -> Side {
        Side::new(|client| self.our_credential(client))
    }

    fn their_client_assertion(&self, assertion: &'static str) -> Side {
        let (tenant_id, client_id) = (self.tenant_id.to_owned(), self.client_id.to_owned());
        Side::new(|client| {
            let options = Some(self.their_client_options(client));
            theirs::ClientAssertionCredential::new(tenant_id, client_id, FixedAssertion(assertion), options)
                .unwrap()
        })
    }

    fn our_client_assertion(&self, assertion: &'static str) -> Side {
        Side::new(|client| {
            ours::ClientAssertionCredential::builder()
                .environment(self.environment())
                .assertion(move |_: AssertionRequest| async move { Ok(Secret::from(assertion)) })
                .transport(SdkTransport::new(client))
                .build()
                .unwrap()
        })
    }

    fn their_options(&self, client: Arc<FakeSdkClient>) -> theirs::WorkloadIdentityCredentialOptions {
        theirs::WorkloadIdentityCredentialOptions {
            credential_options: self.their_client_options(client),
            client_id: Some(self.client_id.to_owned()),
            tenant_id: Some(self.tenant_id.to_owned()),
            token_file_path: Some(self.pod.token_file()),
        }
    }

    fn their_client_options(&self, client: Arc<FakeSdkClient>) -> theirs::ClientAssertionCredentialOptions {
        let mut cloud = CustomConfiguration::default();
        cloud.authority_host = self.authority_host.into();
        theirs::ClientAssertionCredentialOptions {
            client_options: ClientOptions {
                transport: Some(Transport::new(client)),
                cloud: Some(Arc::new(cloud.into())),
                ..ClientOptions::default()
            },
        }
    }

    fn our_credential(&self, client: Arc<FakeSdkClient>) -> Arc<ours::WorkloadIdentityCredential> {
        ours::WorkloadIdentityCredential::builder()
            .environment(self.environment())
            .transport(SdkTransport::new(client))
            .build()
            .unwrap()
    }

    fn environment(&self) -> Environment {
        let file = self.pod.token_file();
        Environment::from_iter([
            ("AZURE_AUTHORITY_HOST", self.authority_host),
            ("AZURE_TENANT_ID", self.tenant_id),
            ("AZURE_CLIENT_ID", self.client_id),
            ("AZURE_FEDERATED_TOKEN_FILE", file.to_str().unwrap()),
        ])
    }
}

/// A credential of one of the two implementations, and its HTTP client.
struct Side {
    credential: Arc<dyn TokenCredential>,
    client: Arc<FakeSdkClient>,
}

impl Side {
    fn new<C: TokenCredential + 'static>(credential: impl FnOnce(Arc<FakeSdkClient>) -> Arc<C>) -> Self {
        let client = FakeSdkClient::new();
        Self {
            credential: credential(client.clone()),
            client,
        }
    }

    async fn token(&self, scopes: &[&str]) -> azure_core::Result<AccessToken> {
        self.credential.get_token(scopes, None).await
    }

    /// Gets a token and returns the request that was sent for it.
    async fn sent_request(&self, scopes: &[&str]) -> SentSdkRequest {
        let before = self.client.requests().len();
        self.client.queue_grant("planted-token", 3600, None);
        assert_eq!(self.token(scopes).await.unwrap().token.secret(), "planted-token");
        let mut requests = self.client.requests().split_off(before);
        assert_eq!(requests.len(), 1);
        requests.remove(0)
    }
}

#[derive(Debug)]
struct FixedAssertion(&'static str);

#[async_trait]
impl theirs::ClientAssertion for FixedAssertion {
    async fn secret(&self, _: Option<ClientMethodOptions<'_>>) -> azure_core::Result<String> {
        Ok(self.0.to_owned())
    }
}

const LOGIN: &str = "https://login.microsoftonline.com/";

const HOUR: Duration = Duration::from_secs(3600);
