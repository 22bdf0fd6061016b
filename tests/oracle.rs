//! Against `azure_identity` 1.0: the same settings, file and replies lead to the same request on the wire and to the same
//! token; where this crate differs on purpose, a test shows how, and says why.
#![cfg(feature = "azure-core")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "tests"
)]

mod support;

use std::fs;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use azure_core::cloud::CustomConfiguration;
use azure_core::credentials::{AccessToken, TokenCredential};
use azure_core::http::{ClientMethodOptions, ClientOptions, Transport};
use azure_identity as theirs;
use entra_workload::{
    self as ours, AssertionRequest, Clock as _, Environment, ErrorKind, SdkTransport, Secret, SystemClock,
};

use support::sdk::{SdkClient, Sent};
use support::{BLOB, CLIENT_ID, TENANT_ID, VAULT, is_safe, service_account_token};

#[tokio::test]
async fn the_same_settings_send_the_same_request() {
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
            "+&=%41é",
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
        let pod = Pod {
            authority_host,
            tenant_id,
            client_id,
            ..Pod::new()
        };
        for (theirs, ours) in [
            (pod.theirs(), pod.ours()),
            (
                pod.their_client_assertion("any + text/="),
                pod.our_client_assertion("any + text/="),
            ),
        ] {
            let (theirs, ours) = (theirs.sends(scopes).await, ours.sends(scopes).await);
            assert_eq!(ours.method, theirs.method);
            assert_eq!(ours.url, theirs.url);
            assert_eq!(ours.headers["content-type"], theirs.headers["content-type"]);
            assert_eq!(ours.form(), theirs.form());
            assert_eq!(ours.body, theirs.body, "in its encoding too");
        }
    }
}

#[tokio::test]
async fn the_same_reply_brings_the_same_token_and_expiry() {
    let pod = Pod::new();
    // Neither side refreshes such a token at once, nor has reason to report less than its whole life.
    let lifetime = Duration::from_secs(400);
    for side in [pod.theirs(), pod.ours()] {
        side.client.will_grant("planted-token", lifetime.as_secs(), None);
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
async fn the_same_refusal_keeps_its_status_and_code() {
    let pod = Pod::new();
    let body =
        r#"{"error":"unauthorized_client","error_description":"AADSTS700016: no","error_codes":[700016]}"#;
    let theirs = pod.theirs();
    theirs.client.will_reply(400, body);
    let error = theirs.token(&[VAULT]).await.unwrap_err();
    let azure_core::error::ErrorKind::HttpResponse {
        status, error_code, ..
    } = their_cause(&error)
    else {
        panic!("{error:?}");
    };
    let ours = pod.ours();
    ours.client.will_reply(400, body);
    let error = ours.token(&[VAULT]).await.unwrap_err();
    let error = ours::Error::find_in(&error).unwrap();
    assert_eq!(error.status().unwrap().as_u16(), u16::from(*status));
    assert_eq!(error.aadsts_codes()[0].to_string(), *error_code.as_ref().unwrap());
}

/// Entra takes a line feed for a part of the assertion, and refuses it.
#[tokio::test]
async fn a_newline_at_the_end_of_the_file_is_not_sent() {
    let pod = Pod::new();
    let token = service_account_token("first", HOUR);
    pod.volume.project(format!("{token}\n"));
    let (theirs, ours) = (
        pod.theirs().sends(&[VAULT]).await,
        pod.ours().sends(&[VAULT]).await,
    );
    assert!(theirs.body.starts_with(&format!("client_assertion={token}%0A&")));
    assert!(ours.body.starts_with(&format!("client_assertion={token}&")));
}

/// A request without an assertion can only be refused, with an error that points at the wrong thing.
#[tokio::test]
async fn an_empty_file_is_an_error_and_no_request() {
    let pod = Pod::new();
    pod.volume.project("");
    let (theirs, ours) = (pod.theirs().sends(&[VAULT]).await, pod.ours());
    assert!(theirs.body.starts_with("client_assertion=&"));
    let error = ours.token(&[VAULT]).await.unwrap_err();
    let error = ours::Error::find_in(&error).unwrap();
    assert_eq!(error.kind(), ErrorKind::Assertion);
    assert!(ours.client.requests().is_empty());
}

/// A pod's main container may be up before its volumes are filled.
#[tokio::test]
async fn a_file_that_is_not_there_yet_is_no_reason_to_build_nothing() {
    let pod = Pod::new();
    fs::remove_file(pod.volume.token_file()).unwrap();
    assert!(theirs::WorkloadIdentityCredential::new(Some(pod.their_options(SdkClient::new()))).is_err());
    let ours = pod.ours();
    ours.token(&[VAULT]).await.unwrap_err();
    pod.volume.project(service_account_token("first", HOUR));
    ours.sends(&[VAULT]).await;
}

/// Theirs reads the file anew after ten minutes; by then the old token may have expired.
#[tokio::test]
async fn a_token_that_was_replaced_is_not_sent_again() {
    let pod = Pod::new();
    let [first, second] = ["first", "second"].map(|id| service_account_token(id, HOUR));
    pod.volume.project(&first);
    let (theirs, ours) = (pod.theirs(), pod.ours());
    theirs.sends(&[VAULT]).await;
    ours.sends(&[VAULT]).await;
    pod.volume.project(&second);
    assert_eq!(theirs.sends(&[BLOB]).await.form()[0].1, first);
    assert_eq!(ours.sends(&[BLOB]).await.form()[0].1, second);
}

/// Such an authority is a proxy, or AD FS: without its prefix the request reaches something else.
#[tokio::test]
async fn a_path_prefix_of_the_authority_is_kept() {
    let pod = Pod {
        authority_host: "https://proxy.example.com/entra/",
        ..Pod::new()
    };
    let (theirs, ours) = (
        pod.theirs().sends(&[VAULT]).await,
        pod.ours().sends(&[VAULT]).await,
    );
    let path = format!("{TENANT_ID}/oauth2/v2.0/token");
    assert_eq!(theirs.url, format!("https://proxy.example.com/{path}"));
    assert_eq!(ours.url, format!("https://proxy.example.com/entra/{path}"));
}

/// The order of scopes means nothing (RFC 6749, section 3.3), so it makes no second token.
#[tokio::test]
async fn scopes_in_another_order_are_the_same_request() {
    let pod = Pod::new();
    let (one_way, other_way) = (
        ["api://a/b", "api://a/c"],
        ["api://a/c", "api://a/b", "api://a/c"],
    );
    let (theirs, ours) = (pod.theirs(), pod.ours());
    assert_eq!(theirs.sends(&one_way).await.form()[4].1, "api://a/b api://a/c");
    assert_eq!(
        theirs.sends(&other_way).await.form()[4].1,
        "api://a/c api://a/b api://a/c"
    );
    assert_eq!(theirs.client.requests().len(), 2);

    assert_eq!(ours.sends(&other_way).await.form()[4].1, "api://a/b api://a/c");
    ours.token(&one_way).await.unwrap();
    assert_eq!(ours.client.requests().len(), 1);
}

/// Theirs borrows the description from the reply, which cannot be done with an escape in it; and Entra's own have a
/// line break before the trace id.
#[tokio::test]
async fn a_refusal_with_escapes_keeps_its_status_and_code() {
    let body = r#"{"error":"invalid_client","error_description":"AADSTS700016: no\r\nTrace ID: 1","error_codes":[700016]}"#;
    status_is_lost_by_theirs_only(401, body, ErrorKind::Rejected, &[700_016]).await;
}

/// Theirs says only "expected value at line 1 column 1" when a proxy answers.
#[tokio::test]
async fn a_reply_in_html_keeps_its_status() {
    status_is_lost_by_theirs_only(403, "<html>planted</html>", ErrorKind::Protocol, &[]).await;
    status_is_lost_by_theirs_only(403, "", ErrorKind::Protocol, &[]).await;
}

/// Theirs takes the missing token for an empty one, which every service then refuses.
#[tokio::test]
async fn an_error_with_status_200_is_an_error() {
    let pod = Pod::new();
    let body = r#"{"error":"invalid_client","error_description":"no"}"#;
    let (theirs, ours) = (pod.theirs(), pod.ours());
    theirs.client.will_reply(200, body);
    assert_eq!(theirs.token(&[VAULT]).await.unwrap().token.secret(), "");
    ours.client.will_reply(200, body);
    let error = ours.token(&[VAULT]).await.unwrap_err();
    assert_eq!(ours::Error::find_in(&error).unwrap().kind(), ErrorKind::Rejected);
}

/// Entra's version 1 endpoint writes it so.
#[tokio::test]
async fn a_lifetime_in_a_string_is_understood() {
    let pod = Pod::new();
    let body = r#"{"token_type":"Bearer","expires_in":"3600","access_token":"planted-token"}"#;
    let (theirs, ours) = (pod.theirs(), pod.ours());
    theirs.client.will_reply(200, body);
    theirs.token(&[VAULT]).await.unwrap_err();
    ours.client.will_reply(200, body);
    assert_eq!(
        ours.token(&[VAULT]).await.unwrap().token.secret(),
        "planted-token"
    );
}

/// SDK clients keep a token until five minutes before its reported expiry. Ours is refreshed at half its life, and is
/// reported so that they come back for that; the true expiry is in `token()`.
#[tokio::test]
async fn the_reported_expiry_is_earlier_than_the_true_one() {
    let pod = Pod::new();
    let (before, _) = now_by_both_clocks();
    let (theirs, client) = (pod.theirs(), SdkClient::new());
    let ours = pod.our_credential(client.clone());
    theirs.client.will_grant("planted-token", 3600, None);
    assert!(SystemTime::from(theirs.token(&[VAULT]).await.unwrap().expires_on) >= before + HOUR);

    client.will_grant("planted-token", 3600, None);
    assert!(ours.token(&[VAULT]).await.unwrap().expires_on() >= before + HOUR);
    let reported = ours.get_token(&[VAULT], None).await.unwrap().expires_on;
    let (half, window) = (HOUR / 2, Duration::from_secs(300));
    assert!(SystemTime::from(reported) <= now_by_both_clocks().1 + half + window);
    assert_eq!(client.requests().len(), 1);
}

async fn status_is_lost_by_theirs_only(status: u16, body: &str, kind: ErrorKind, aadsts_codes: &[u32]) {
    let pod = Pod::new();
    let (theirs, ours) = (pod.theirs(), pod.ours());
    theirs.client.will_reply(status, body);
    let error = theirs.token(&[VAULT]).await.unwrap_err();
    let cause = their_cause(&error);
    assert!(
        !matches!(cause, azure_core::error::ErrorKind::HttpResponse { .. }),
        "{cause:?}"
    );
    ours.client.will_reply(status, body);
    let error = ours.token(&[VAULT]).await.unwrap_err();
    let error = ours::Error::find_in(&error).unwrap();
    assert_eq!((error.kind(), error.status().unwrap().as_u16()), (kind, status));
    assert_eq!(error.aadsts_codes(), aadsts_codes);
    is_safe(error);
}

/// The earlier and the later of two readings: theirs, and ours, which is less exact by up to a tick of the kernel.
fn now_by_both_clocks() -> (SystemTime, SystemTime) {
    let clocks = (SystemTime::now(), SystemClock::new().now().system_time);
    (clocks.0.min(clocks.1), clocks.0.max(clocks.1))
}

/// What lies under "`WorkloadIdentityCredential` authentication failed".
fn their_cause(error: &azure_core::Error) -> &azure_core::error::ErrorKind {
    error.downcast_ref::<azure_core::Error>().unwrap().kind()
}

/// The settings that both sides get, and the token's file.
struct Pod {
    authority_host: &'static str,
    tenant_id: &'static str,
    client_id: &'static str,
    volume: support::Pod,
}

impl Pod {
    fn new() -> Self {
        Self {
            authority_host: LOGIN,
            tenant_id: TENANT_ID,
            client_id: CLIENT_ID,
            volume: support::Pod::new(),
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
            theirs::ClientAssertionCredential::new(tenant_id, client_id, Fixed(assertion), options).unwrap()
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

    fn their_options(&self, client: Arc<SdkClient>) -> theirs::WorkloadIdentityCredentialOptions {
        theirs::WorkloadIdentityCredentialOptions {
            credential_options: self.their_client_options(client),
            client_id: Some(self.client_id.to_owned()),
            tenant_id: Some(self.tenant_id.to_owned()),
            token_file_path: Some(self.volume.token_file()),
        }
    }

    fn their_client_options(&self, client: Arc<SdkClient>) -> theirs::ClientAssertionCredentialOptions {
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

    fn our_credential(&self, client: Arc<SdkClient>) -> Arc<ours::WorkloadIdentityCredential> {
        ours::WorkloadIdentityCredential::builder()
            .environment(self.environment())
            .transport(SdkTransport::new(client))
            .build()
            .unwrap()
    }

    fn environment(&self) -> Environment {
        let file = self.volume.token_file();
        Environment::from_iter([
            ("AZURE_AUTHORITY_HOST", self.authority_host),
            ("AZURE_TENANT_ID", self.tenant_id),
            ("AZURE_CLIENT_ID", self.client_id),
            ("AZURE_FEDERATED_TOKEN_FILE", file.to_str().unwrap()),
        ])
    }
}

/// One of the two implementations, as the SDK's clients see it.
struct Side {
    credential: Arc<dyn TokenCredential>,
    client: Arc<SdkClient>,
}

impl Side {
    fn new<C: TokenCredential + 'static>(credential: impl FnOnce(Arc<SdkClient>) -> Arc<C>) -> Self {
        let client = SdkClient::new();
        Self {
            credential: credential(client.clone()),
            client,
        }
    }

    async fn token(&self, scopes: &[&str]) -> azure_core::Result<AccessToken> {
        self.credential.get_token(scopes, None).await
    }

    /// The one request that the next call leads to.
    async fn sends(&self, scopes: &[&str]) -> Sent {
        let before = self.client.requests().len();
        self.client.will_grant("planted-token", 3600, None);
        assert_eq!(self.token(scopes).await.unwrap().token.secret(), "planted-token");
        let mut requests = self.client.requests().split_off(before);
        assert_eq!(requests.len(), 1);
        requests.remove(0)
    }
}

#[derive(Debug)]
struct Fixed(&'static str);

#[async_trait]
impl theirs::ClientAssertion for Fixed {
    async fn secret(&self, _: Option<ClientMethodOptions<'_>>) -> azure_core::Result<String> {
        Ok(self.0.to_owned())
    }
}

const LOGIN: &str = "https://login.microsoftonline.com/";

const HOUR: Duration = Duration::from_secs(3600);
