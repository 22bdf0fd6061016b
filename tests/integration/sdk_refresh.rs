//! Credentials and transport for the official SDK: the expiry that its clients see, and the
//! requests that its HTTP client sends.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use azure_core::credentials::TokenCredential;
use azure_core::error::ErrorKind as SdkErrorKind;
use azure_core::http::AsyncRawResponse;
use azure_core::http::headers::Headers;
use azure_core::http::response::PinnedStream;
use bytes::Bytes;
use entra_workload::assertion::AssertionRequest;
use entra_workload::clock::Clock as _;
use entra_workload::integration::SdkTransport;
use entra_workload::transport::Transport;
use entra_workload::{ClientAssertionCredential, Environment, Error, ErrorKind, Secret};
use futures::{StreamExt as _, stream};
use http::{Request, Response};

use crate::support::clock::TestClock;
use crate::support::identifiers::{CLIENT_ID, TENANT_ID, VAULT};
use crate::support::log::assert_no_secret;
use crate::support::runtime::settle;
use crate::support::sdk::FakeSdkClient;
use crate::support::transport::fake_endpoint;

#[tokio::test]
async fn client_that_trusts_the_reported_expiry_starts_each_refresh_on_time() {
    for (expires_in, refresh_in) in [(3600, None), (86_400, Some(43_200)), (700, Some(10))] {
        let subject = Subject::new();
        subject.client.queue_grant("planted-1", expires_in, refresh_in);
        let (_, reported) = subject.token().await;
        assert!(
            reported < subject.now() + seconds(expires_in),
            "the true expiry is reported"
        );

        let due = reported - WINDOW;
        subject.move_to(due - Duration::from_nanos(1));
        assert_eq!(subject.token().await, ("planted-1".to_owned(), reported));
        assert_eq!(subject.requests().await, 1, "{expires_in}: no refresh is due yet");

        subject.move_to(due);
        subject.client.queue_grant("planted-2", expires_in, refresh_in);
        assert_eq!(subject.token().await.0, "planted-1", "{expires_in}");
        assert_eq!(subject.requests().await, 2, "{expires_in}");
        assert_eq!(subject.token().await.0, "planted-2", "{expires_in}");
    }
}

#[tokio::test]
async fn reported_expiry_is_not_later_than_the_true_one() {
    // Whatever the jitter, the refresh of these is due in the SDK's last five minutes.
    for expires_in in [60, 300, 440] {
        let subject = Subject::new();
        subject.client.queue_grant("planted-1", expires_in, None);
        let (_, reported) = subject.token().await;
        assert_eq!(reported, subject.now() + seconds(expires_in));
    }
}

#[tokio::test]
async fn reported_expiry_is_in_the_future_if_the_refresh_is_overdue() {
    let subject = Subject::new();
    subject.client.queue_grant("planted-1", 3600, None);
    subject.token().await;
    // No call was made since the refresh was due, 20 to 30 minutes after the start.
    subject.move_to(subject.now() + seconds(50 * 60));
    subject.client.queue_grant("planted-2", 3600, None);
    let (secret, reported) = subject.token().await;
    assert_eq!(
        (secret.as_str(), reported),
        ("planted-1", subject.now() + RETRY + WINDOW)
    );
    assert_eq!(subject.requests().await, 2);
}

#[tokio::test]
async fn reported_expiry_allows_the_next_refresh_after_a_failed_one() {
    let subject = Subject::new();
    subject.client.queue_grant("planted-1", 3600, None);
    let (_, reported) = subject.token().await;
    subject.move_to(reported - WINDOW);
    subject.client.queue_reply(400, r#"{"error":"invalid_request"}"#);
    subject.token().await;
    assert_eq!(subject.requests().await, 2);

    let (_, reported) = subject.token().await;
    assert_eq!(reported, subject.now() + RETRY + WINDOW);
    subject.move_to(reported - WINDOW);
    subject.client.queue_grant("planted-2", 3600, None);
    subject.token().await;
    assert_eq!(subject.requests().await, 3);
}

#[tokio::test]
async fn sdk_error_contains_the_error_of_the_crate() {
    let subject = Subject::new();
    let body = r#"{"error":"unauthorized_client","error_codes":[700016],"trace_id":"trace"}"#;
    subject.client.queue_reply(400, body);
    let error = subject.credential.get_token(&[VAULT], None).await.unwrap_err();
    assert_no_secret(&error);
    assert!(matches!(error.kind(), SdkErrorKind::Credential), "{error:?}");
    let ours = Error::find_in(&error).unwrap();
    assert_eq!(error.to_string(), ours.to_string());
    assert_eq!(
        (ours.kind(), ours.status().unwrap().as_u16()),
        (ErrorKind::Rejected, 400)
    );
    assert_eq!(
        (ours.aadsts_codes(), ours.trace_id()),
        (&[700_016][..], Some("trace"))
    );
}

#[tokio::test]
async fn sdk_transport_sends_the_token_request_unchanged() {
    let subject = Subject::new();
    subject.client.queue_grant("planted-1", 3600, None);
    subject.token().await;
    let through_the_sdk = subject.client.requests().remove(0);

    let (transport, mut endpoint) = fake_endpoint();
    let credential = credential(transport, &subject.clock);
    let call = tokio::spawn(async move { credential.token(&[VAULT]).await });
    let request = endpoint.request().await;
    assert_eq!(through_the_sdk.method, request.method);
    assert_eq!(through_the_sdk.url, request.uri);
    assert_eq!(
        through_the_sdk.form().into_iter().collect::<BTreeMap<_, _>>(),
        request.form
    );
    let own_id = |name: &str, value: &str| {
        let value = if name == "client-request-id" { "" } else { value };
        (name.to_owned(), value.to_owned())
    };
    let headers = through_the_sdk
        .headers
        .iter()
        .map(|(name, value)| own_id(name, value));
    let wanted = request
        .headers
        .iter()
        .map(|(name, value)| own_id(name.as_str(), value.to_str().unwrap()));
    assert_eq!(
        headers.collect::<BTreeMap<_, _>>(),
        wanted.collect::<BTreeMap<_, _>>()
    );
    assert_eq!(request.headers.len(), 5);
    request.grant("planted-2", 3600);
    call.await.unwrap().unwrap();
}

#[tokio::test]
async fn sdk_transport_returns_the_response_unchanged() {
    let mut headers = Headers::new();
    headers.insert("retry-after", "7");
    headers.insert("x-ms-request-id", "trace");
    let chunks = [b"one, ", &b""[..], b"two"].map(|chunk| Ok(Bytes::from_static(chunk)));
    let response = AsyncRawResponse::new(429.into(), headers, Box::pin(stream::iter(chunks)));
    let response = send(Ok(response)).await.unwrap();
    assert_eq!(response.status(), 429);
    assert_eq!(response.body(), "one, two");
    assert_eq!(response.headers().len(), 2);
    assert_eq!(response.headers()["retry-after"], "7");
    assert_eq!(response.headers()["x-ms-request-id"], "trace");
}

#[tokio::test]
async fn response_longer_than_256_kib_is_not_read_to_its_end() {
    let response = |body| AsyncRawResponse::new(503.into(), Headers::new(), body);
    let kib = |count| stream::repeat_with(|| Ok(Bytes::from_static(&[b'x'; 1024]))).take(count);
    let longest = send(Ok(response(Box::pin(kib(256))))).await.unwrap();
    assert_eq!(longest.body().len(), 256 * 1024);

    let longer = kib(256).chain(stream::iter([Ok(Bytes::from_static(b"x"))]));
    let broken = stream::iter([Err(azure_core::Error::with_message(
        SdkErrorKind::Io,
        "read too far",
    ))]);
    let not_read = kib(257).chain(broken);
    for body in [Box::pin(longer) as PinnedStream, Box::pin(not_read)] {
        let error = send(Ok(response(body))).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol, "{error:?}");
        assert_eq!(error.status().unwrap(), 503);
        assert!(error.is_transient());
    }
}

#[tokio::test]
async fn incomplete_response_is_a_transport_error() {
    let broken = || azure_core::Error::with_message(SdkErrorKind::Io, "cable cut");
    let half = stream::iter([Ok(Bytes::from_static(b"planted")), Err(broken())]);
    let half = AsyncRawResponse::new(200.into(), Headers::new(), Box::pin(half));
    for response in [Err(broken()), Ok(half)] {
        let error = send(response).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.status()),
            (ErrorKind::Transport, None),
            "{error:?}"
        );
        assert!(error.is_transient());
        assert_eq!(error.source().unwrap().to_string(), "cable cut");
        assert!(error.to_string().contains("login.example.com"), "{error}");
        assert_no_secret(&error);
    }
}

#[tokio::test]
async fn response_that_is_invalid_http_is_a_protocol_error() {
    let mut headers = Headers::new();
    headers.insert("x", "a\nb");
    for (status, headers) in [(200, headers), (1000, Headers::new()), (99, Headers::new())] {
        let error = send(Ok(AsyncRawResponse::from_bytes(
            status.into(),
            headers,
            "planted",
        )))
        .await;
        let error = error.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol, "{status}: {error:?}");
        assert_no_secret(&error);
    }
}

/// Returns what the transport makes of a response.
async fn send(response: azure_core::Result<AsyncRawResponse>) -> Result<Response<Bytes>, Error> {
    let client = FakeSdkClient::new();
    client.queue(response);
    let request = Request::post("https://login.example.com/token")
        .body(Bytes::new())
        .unwrap();
    SdkTransport::new(client).send(request).await
}

/// A credential whose token requests go through the SDK's HTTP client.
struct Subject {
    credential: Arc<ClientAssertionCredential>,
    client: Arc<FakeSdkClient>,
    clock: TestClock,
}

impl Subject {
    fn new() -> Self {
        let (client, clock) = (FakeSdkClient::new(), TestClock::stopped());
        Self {
            credential: credential(SdkTransport::new(client.clone()), &clock),
            client,
            clock,
        }
    }

    fn now(&self) -> SystemTime {
        self.clock.now().system_time
    }

    fn move_to(&self, time: SystemTime) {
        self.clock.advance(time.duration_since(self.now()).unwrap());
    }

    /// Returns the token and the expiry that the SDK sees.
    async fn token(&self) -> (String, SystemTime) {
        let token = self.credential.get_token(&[VAULT], None).await.unwrap();
        (token.token.secret().to_owned(), token.expires_on.into())
    }

    /// Returns the number of requests once all tasks wait.
    async fn requests(&self) -> usize {
        settle().await;
        self.client.requests().len()
    }
}

/// The assertion is in memory: a file would be read on another thread, for which `settle` does not
/// wait.
fn credential(transport: impl Transport, clock: &TestClock) -> Arc<ClientAssertionCredential> {
    ClientAssertionCredential::builder()
        .environment(Environment::default())
        .tenant_id(TENANT_ID)
        .client_id(CLIENT_ID)
        .assertion(|_: AssertionRequest| async { Ok(Secret::from("planted-assertion")) })
        .transport(transport)
        .clock(clock.clone())
        .build()
        .unwrap()
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// How long before the reported expiry an SDK client gets a new token.
const WINDOW: Duration = Duration::from_secs(300);

/// The shortest time between the starts of two refreshes.
const RETRY: Duration = Duration::from_secs(30);
