//! Token requests: what is sent, what is retried, and when a fetch fails. Paused clock, in-process
//! transport.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::support::clock::TestClock;
use crate::support::identifiers::{CLIENT_ID, TENANT_ID, VAULT};
use crate::support::log::assert_no_secret;
use crate::support::pod::{PodDirectory, service_account_token};
use crate::support::transport::{FakeEndpoint, SentRequest, fake_endpoint};
use entra_workload::assertion::AssertionRequest;
use entra_workload::{
    ClientAssertionCredential, Error, ErrorKind, Secret, TokenRequest, WorkloadIdentityCredential,
};
use tokio::task::JoinHandle;
use tokio::time::Instant;

fn credential(pod: &PodDirectory) -> (Arc<WorkloadIdentityCredential>, FakeEndpoint) {
    let (transport, endpoint) = fake_endpoint();
    let credential = WorkloadIdentityCredential::builder()
        .environment(pod.environment())
        .transport(transport)
        .clock(TestClock::new())
        .build()
        .unwrap();
    (credential, endpoint)
}

fn call(credential: &Arc<WorkloadIdentityCredential>) -> JoinHandle<Result<String, Error>> {
    let credential = credential.clone();
    tokio::task::spawn(async move {
        credential
            .token(&[VAULT])
            .await
            .map(|token| token.secret().to_owned())
    })
}

#[tokio::test(start_paused = true)]
async fn token_request_is_the_form_of_the_client_credentials_flow() {
    let pod = PodDirectory::new();
    pod.project(format!(
        "\u{feff}{}\n",
        service_account_token("first", Duration::from_secs(3600))
    ));
    let (credential, mut endpoint) = credential(&pod);
    let call = call(&credential);
    let request = endpoint.request().await;

    assert_eq!(request.method, "POST");
    assert_eq!(
        request.uri,
        format!("https://login.microsoftonline.com/{TENANT_ID}/oauth2/v2.0/token")
    );
    assert_eq!(
        request.header("content-type"),
        "application/x-www-form-urlencoded"
    );
    assert_eq!(
        request.header("user-agent"),
        concat!("entra-workload/", env!("CARGO_PKG_VERSION"))
    );
    let id = request.header("client-request-id");
    assert_eq!(
        (id.len(), id.as_bytes()[14]),
        (36, b'4'),
        "{id} is a version 4 UUID"
    );
    let assertion = service_account_token("first", Duration::from_secs(3600));
    let expected = [
        ("client_assertion", assertion.as_str()),
        (
            "client_assertion_type",
            "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        ),
        ("client_id", CLIENT_ID),
        ("grant_type", "client_credentials"),
        ("scope", VAULT),
    ];
    assert!(
        request
            .form
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .eq(expected)
    );

    request.grant("planted-token", 3600);
    assert_eq!(call.await.unwrap().unwrap(), "planted-token");
}

#[tokio::test(start_paused = true)]
async fn tenant_claims_and_sorted_scopes_are_sent_in_the_token_request() {
    let pod = PodDirectory::new();
    let (transport, mut endpoint) = fake_endpoint();
    let credential = WorkloadIdentityCredential::builder()
        .environment(pod.environment())
        .additionally_allowed_tenants(["other.example.com"])
        .transport(transport)
        .build()
        .unwrap();
    let caller = tokio::task::spawn({
        let credential = credential.clone();
        async move {
            let scopes = ["b//.default", "a", "b//.default"];
            let request = TokenRequest::new(&scopes)
                .tenant_id("other.example.com")
                .claims(r#"{"access_token":{}}"#);
            credential.token_for(&request).await.map(|_| ())
        }
    });
    let request = endpoint.request().await;
    assert_eq!(
        request.uri,
        "https://login.microsoftonline.com/other.example.com/oauth2/v2.0/token"
    );
    assert_eq!(request.form["scope"], "a b//.default");
    assert_eq!(request.form["claims"], r#"{"access_token":{}}"#);
    request.grant("planted-token", 3600);
    caller.await.unwrap().unwrap();

    let elsewhere = TokenRequest::new(&[VAULT]).tenant_id("evil.example.com");
    let error = credential.token_for(&elsewhere).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert!(error.to_string().contains("evil.example.com"), "{error}");
    endpoint.assert_no_request().await;
}

/// Status, OAuth error, AADSTS code and whether it is retried, for every code in the documentation.
const REFUSALS: [(u16, &str, u32, bool); 58] = [
    (400, "invalid_request", 70_021, true),
    (401, "invalid_client", 700_211, true),
    (401, "invalid_client", 700_212, true),
    (401, "invalid_client", 700_213, true),
    (401, "invalid_client", 700_027, true),
    (400, "invalid_request", 90_061, true),
    (400, "invalid_request", 50_166, true),
    (400, "invalid_request", 90_033, true),
    (400, "temporarily_unavailable", 90_012, true),
    (429, "invalid_request", 90_055, true),
    (503, "temporarily_unavailable", 90_006, true),
    (500, "server_error", 90_024, true),
    (504, "server_error", 90_090, true),
    (408, "invalid_request", 50_033, true),
    (400, "invalid_request", 90_006, true),
    (400, "invalid_request", 90_012, true),
    (400, "invalid_request", 90_024, true),
    (400, "invalid_request", 90_090, true),
    (400, "invalid_request", 50_033, true),
    (400, "invalid_request", 90_055, false),
    (401, "invalid_client", 7_002_131, true),
    (401, "invalid_client", 7_002_111, true),
    (401, "invalid_client", 7_002_121, true),
    (401, "invalid_client", 7_002_137, true),
    (401, "invalid_client", 7_002_138, false),
    (401, "invalid_client", 7_000_272, false),
    (401, "invalid_client", 7_000_274, false),
    (401, "invalid_client", 7_000_214, false),
    (401, "invalid_client", 1_000_502, false),
    (401, "unauthorized_client", 7_000_229, false),
    (400, "invalid_request", 900_382, false),
    (400, "invalid_grant", 501_051, false),
    (401, "invalid_client", 700_239, false),
    (401, "invalid_client", 700_222, false),
    (401, "invalid_client", 700_223, false),
    (401, "invalid_client", 700_238, false),
    (401, "invalid_client", 7_002_381, false),
    (401, "invalid_client", 70_025, false),
    (401, "invalid_client", 700_025, false),
    (400, "unauthorized_client", 700_016, false),
    (401, "invalid_client", 700_226, false),
    (401, "invalid_client", 700_227, false),
    (401, "invalid_client", 700_229, false),
    (401, "invalid_client", 700_236, false),
    (401, "invalid_client", 700_231, false),
    (400, "invalid_request", 90_002, false),
    (400, "invalid_request", 900_023, false),
    (400, "invalid_resource", 500_011, false),
    (400, "invalid_scope", 70_011, false),
    (400, "invalid_scope", 1_002_012, false),
    (401, "invalid_client", 7_000_215, false),
    (401, "invalid_client", 7_000_222, false),
    (401, "invalid_client", 7_000_218, false),
    (400, "unauthorized_client", 7_000_112, false),
    (400, "invalid_grant", 53_003, false),
    (400, "invalid_grant", 50_105, false),
    (400, "invalid_grant", 50_196, false),
    (400, "invalid_request", 100_007, false),
];

#[tokio::test(start_paused = true)]
async fn refusal_keeps_its_codes_and_is_retried_only_if_retryable() {
    for (status, oauth_error, code, is_retried) in REFUSALS {
        let pod = PodDirectory::new();
        let (credential, mut endpoint) = credential(&pod);
        let call = call(&credential);
        let attempts = if is_retried { 4 } else { 1 };
        for _ in 0..attempts {
            endpoint.request().await.refuse(status, oauth_error, code);
        }
        let error = call.await.unwrap().unwrap_err();
        endpoint.assert_no_request().await;
        assert_eq!(error.kind(), ErrorKind::Rejected, "{code}");
        assert_eq!(error.status().unwrap(), status, "{code}");
        assert_eq!(error.oauth_error(), Some(oauth_error), "{code}");
        assert_eq!(error.aadsts_codes(), [code]);
        assert_eq!(error.correlation_id(), Some("correlation"));
        assert_eq!(error.trace_id(), Some("trace"));
        assert!(error.to_string().contains(&format!("AADSTS{code}")), "{error}");
        assert_no_secret(&error);
    }
}

#[tokio::test(start_paused = true)]
async fn assertion_for_an_identity_binding_is_refused_without_a_retry() {
    let pod = PodDirectory::new();
    // {"alg":"RS256"} . {"aud":"api://AKSIdentityBinding"} . a signature
    pod.project("eyJhbGciOiJSUzI1NiJ9.eyJhdWQiOiJhcGk6Ly9BS1NJZGVudGl0eUJpbmRpbmcifQ.c2lnbmF0dXJl");
    let (credential, mut endpoint) = credential(&pod);
    let call = call(&credential);
    endpoint.request().await.refuse(401, "invalid_client", 700_212);
    let error = call.await.unwrap().unwrap_err();
    endpoint.assert_no_request().await;
    assert!(error.to_string().contains("identity binding"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn token_is_returned_after_three_failed_attempts() {
    let pod = PodDirectory::new();
    let (credential, mut endpoint) = credential(&pod);
    let call = call(&credential);
    endpoint
        .request()
        .await
        .fail(Error::new(ErrorKind::Transport, "reset"));
    endpoint.request().await.reply(503, &[], "<html>");
    let third = endpoint.request().await;
    let id = third.header("client-request-id").to_owned();
    third.refuse(401, "invalid_client", 700_213);
    let fourth = endpoint.request().await;
    assert_ne!(
        fourth.header("client-request-id"),
        id,
        "each request has its own ID"
    );
    fourth.grant("planted-token", 3600);
    assert_eq!(call.await.unwrap().unwrap(), "planted-token");
}

#[tokio::test(start_paused = true)]
async fn call_fails_within_20_s_if_the_endpoint_never_responds() {
    let pod = PodDirectory::new();
    let (credential, mut endpoint) = credential(&pod);
    let start = Instant::now();
    let call = call(&credential);
    let _unanswered = [endpoint.request().await, endpoint.request().await];
    let error = call.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Transport);
    assert!(error.is_transient());
    assert!(
        start.elapsed() <= Duration::from_secs(20),
        "{:?}",
        start.elapsed()
    );
    assert!(error.correlation_id().is_some());
}

/// Answers each request after a while, until the call ends; returns its error.
async fn error_at_the_deadline(delay: Duration, answer: impl Fn(SentRequest)) -> Error {
    let pod = PodDirectory::new();
    let (credential, mut endpoint) = credential(&pod);
    let start = Instant::now();
    let mut call = call(&credential);
    let mut in_flight = None;
    let result = loop {
        tokio::select! {
            result = &mut call => break result,
            request = endpoint.request(), if in_flight.is_none() => in_flight = Some(request),
            () = tokio::time::sleep(delay), if in_flight.is_some() => answer(in_flight.take().unwrap()),
        }
    };
    assert_eq!(start.elapsed().as_secs(), 20);
    assert!(in_flight.is_some(), "the deadline cuts off an attempt");
    result.unwrap().unwrap_err()
}

#[tokio::test(start_paused = true)]
async fn deadline_of_the_fetch_keeps_the_error_of_the_last_complete_attempt() {
    let throttled = |request: SentRequest| request.reply(503, &[("retry-after", "1")], "");
    let error = error_at_the_deadline(Duration::from_secs(8), throttled).await;
    assert_eq!(error.status().unwrap(), 503);
    assert_eq!(error.retry_after(), Some(Duration::from_secs(1)));

    let unreachable = |request: SentRequest| request.fail(Error::new(ErrorKind::Transport, "unreachable"));
    let error = error_at_the_deadline(Duration::from_secs(5), unreachable).await;
    assert_eq!(error.to_string(), "unreachable");
}

#[tokio::test(start_paused = true)]
async fn deadline_of_the_fetch_keeps_the_refusal_of_an_expired_assertion() {
    let pod = PodDirectory::new();
    let (transport, mut endpoint) = fake_endpoint();
    let credential = WorkloadIdentityCredential::builder()
        .environment(pod.environment())
        .transport(transport)
        .timeout(Duration::from_secs(3))
        .build()
        .unwrap();
    let call = call(&credential);
    let first = endpoint.request().await;
    pod.project(service_account_token("second", Duration::from_secs(3600)));
    first.refuse(401, "invalid_client", 700_024);
    let _unanswered = endpoint.request().await;
    assert_eq!(call.await.unwrap().unwrap_err().aadsts_codes(), [700_024]);
}

#[tokio::test(start_paused = true)]
async fn timeout_option_limits_the_fetch() {
    let pod = PodDirectory::new();
    let (transport, mut endpoint) = fake_endpoint();
    let builder = WorkloadIdentityCredential::builder()
        .environment(pod.environment())
        .transport(transport);
    let credential = builder
        .clock(TestClock::new())
        .timeout(Duration::from_secs(3))
        .build()
        .unwrap();
    let start = Instant::now();
    let call = call(&credential);
    let _unanswered = endpoint.request().await;
    call.await.unwrap().unwrap_err();
    assert_eq!(start.elapsed().as_secs(), 3);
}

#[tokio::test(start_paused = true)]
async fn retry_after_delays_the_next_attempt() {
    let pod = PodDirectory::new();
    let (credential, mut endpoint) = credential(&pod);
    let call = call(&credential);
    let first = endpoint.request().await;
    let sent = first.at;
    first.reply(429, &[("retry-after", "7")], "");
    let second = endpoint.request().await;
    let pause = second.at - sent;
    assert!(
        pause >= Duration::from_secs(7) && pause < Duration::from_secs(8),
        "{pause:?}"
    );
    second.grant("planted-token", 3600);
    call.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn retry_after_beyond_the_deadline_fails_at_once_and_delays_the_next_fetch() {
    let pod = PodDirectory::new();
    let (credential, mut endpoint) = credential(&pod);
    let start = Instant::now();
    let caller = call(&credential);
    endpoint.request().await.reply(429, &[("retry-after", "40")], "");
    let error = caller.await.unwrap().unwrap_err();
    assert_eq!(error.retry_after(), Some(Duration::from_secs(40)));
    assert_eq!(start.elapsed().as_secs(), 0);

    tokio::time::advance(Duration::from_secs(39)).await;
    assert_eq!(
        call(&credential).await.unwrap().unwrap_err().status().unwrap(),
        429
    );
    endpoint.assert_no_request().await;
    tokio::time::advance(Duration::from_secs(2)).await;
    let caller = call(&credential);
    endpoint.request().await.grant("planted-token", 3600);
    caller.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn expired_assertion_is_replaced_once_if_the_file_has_changed() {
    let pod = PodDirectory::new();
    let (credential, mut endpoint) = credential(&pod);
    let caller = call(&credential);
    let first = endpoint.request().await;
    let rotated = service_account_token("second", Duration::from_secs(3600));
    pod.project(&rotated);
    let sent = first.at;
    first.refuse(401, "invalid_client", 700_024);
    let second = endpoint.request().await;
    assert_eq!(second.form["client_assertion"], rotated);
    assert_eq!(second.at, sent, "without a pause");
    pod.project(service_account_token("third", Duration::from_secs(3600)));
    second.refuse(401, "invalid_client", 700_024);
    let error = caller.await.unwrap().unwrap_err();
    assert_eq!(error.aadsts_codes(), [700_024]);
    endpoint.assert_no_request().await;
}

#[tokio::test(start_paused = true)]
async fn background_refresh_replaces_an_expired_assertion_without_a_pause() {
    let pod = PodDirectory::new();
    let (credential, mut endpoint) = credential(&pod);
    let caller = call(&credential);
    endpoint.request().await.grant("planted-token", 3600);
    caller.await.unwrap().unwrap();
    tokio::time::advance(Duration::from_secs(1800)).await;
    credential.token(&[VAULT]).await.unwrap();
    let first = endpoint.request().await;
    let sent = first.at;
    let rotated = service_account_token("second", Duration::from_secs(7200));
    pod.project(&rotated);
    first.refuse(401, "invalid_client", 700_024);
    let second = endpoint.request().await;
    assert_eq!(second.form["client_assertion"], rotated);
    assert_eq!(second.at, sent, "without a pause");
    second.reply(503, &[], "");
    endpoint.assert_no_request().await;
}

#[tokio::test(start_paused = true)]
async fn refusal_is_returned_if_the_file_disappears_after_the_request() {
    let pod = PodDirectory::new();
    let (credential, mut endpoint) = credential(&pod);
    let call = call(&credential);
    let request = endpoint.request().await;
    std::fs::remove_file(pod.token_file()).unwrap();
    request.refuse(401, "invalid_client", 700_024);
    assert_eq!(call.await.unwrap().unwrap_err().aadsts_codes(), [700_024]);
}

#[tokio::test(start_paused = true)]
async fn expired_assertion_is_not_sent_again_if_the_file_is_unchanged() {
    let pod = PodDirectory::new();
    let (credential, mut endpoint) = credential(&pod);
    let call = call(&credential);
    endpoint.request().await.refuse(401, "invalid_client", 700_024);
    assert_eq!(call.await.unwrap().unwrap_err().aadsts_codes(), [700_024]);
    endpoint.assert_no_request().await;
}

#[tokio::test(start_paused = true)]
async fn expired_assertion_is_not_replaced_after_the_last_attempt() {
    let pod = PodDirectory::new();
    let (credential, mut endpoint) = credential(&pod);
    let call = call(&credential);
    for _ in 0..3 {
        endpoint.request().await.reply(503, &[], "");
    }
    let last = endpoint.request().await;
    pod.project(service_account_token("second", Duration::from_secs(3600)));
    last.refuse(401, "invalid_client", 700_024);
    assert_eq!(call.await.unwrap().unwrap_err().aadsts_codes(), [700_024]);
    endpoint.assert_no_request().await;
}

#[tokio::test(start_paused = true)]
async fn each_attempt_sends_the_current_content_of_the_file() {
    let pod = PodDirectory::new();
    let (credential, mut endpoint) = credential(&pod);
    let call = call(&credential);
    let first = endpoint.request().await;
    let rotated = service_account_token("second", Duration::from_secs(3600));
    pod.project(&rotated);
    first.reply(503, &[], "");
    let second = endpoint.request().await;
    assert_eq!(second.form["client_assertion"], rotated);
    second.grant("planted-token", 3600);
    call.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn next_call_reads_a_file_that_was_missing() {
    let pod = PodDirectory::new();
    std::fs::remove_file(pod.token_file()).unwrap();
    let (credential, mut endpoint) = credential(&pod);
    for _ in 0..3 {
        let error = call(&credential).await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Assertion);
        assert!(
            error.to_string().contains(pod.token_file().to_str().unwrap()),
            "{error}"
        );
    }
    endpoint.assert_no_request().await;
    pod.project(service_account_token("first", Duration::from_secs(3600)));
    let caller = call(&credential);
    endpoint.request().await.grant("planted-token", 3600);
    caller.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn silent_assertion_source_is_a_transport_error_with_a_cooldown() {
    let (transport, mut endpoint) = fake_endpoint();
    let credential = ClientAssertionCredential::builder()
        .environment(PodDirectory::new().environment())
        .assertion(|_: AssertionRequest| std::future::pending::<Result<Secret, Error>>())
        .transport(transport)
        .clock(TestClock::new())
        .build()
        .unwrap();
    let start = Instant::now();
    let error = credential.token(&[VAULT]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Transport);
    assert_eq!(start.elapsed().as_secs(), 20);
    credential.token(&[VAULT]).await.unwrap_err();
    assert_eq!(start.elapsed().as_secs(), 20, "the second call does not wait");
    endpoint.assert_no_request().await;
}

#[tokio::test(start_paused = true)]
async fn silent_assertion_source_keeps_the_error_of_its_earlier_attempt() {
    let is_first = AtomicBool::new(true);
    let credential = ClientAssertionCredential::builder()
        .environment(PodDirectory::new().environment())
        .assertion(move |_: AssertionRequest| {
            let is_first = is_first.swap(false, Ordering::Relaxed);
            async move {
                if !is_first {
                    std::future::pending::<()>().await;
                }
                Err::<Secret, _>(Error::new(ErrorKind::Transport, "the agent is starting"))
            }
        })
        .build()
        .unwrap();
    let error = credential.token(&[VAULT]).await.unwrap_err();
    assert_eq!(error.to_string(), "the agent is starting");
}

#[tokio::test(start_paused = true)]
async fn assertion_callback_gets_the_client_id_and_the_token_endpoint() {
    let (transport, mut endpoint) = fake_endpoint();
    let credential = ClientAssertionCredential::builder()
        .environment(PodDirectory::new().environment())
        .authority_host("https://login.microsoftonline.us/prefix/")
        .assertion(|request: AssertionRequest| async move {
            Ok(Secret::from(format!(
                "{} {}",
                request.client_id(),
                request.token_endpoint()
            )))
        })
        .transport(transport)
        .build()
        .unwrap();
    let caller = tokio::task::spawn(async move { credential.token(&[VAULT]).await.map(|_| ()) });
    let request = endpoint.request().await;
    let url = format!("https://login.microsoftonline.us/prefix/{TENANT_ID}/oauth2/v2.0/token");
    assert_eq!(request.uri, url);
    assert_eq!(request.form["client_assertion"], format!("{CLIENT_ID} {url}"));
    request.grant("planted-token", 3600);
    caller.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn redirect_is_not_followed() {
    let pod = PodDirectory::new();
    let (credential, mut endpoint) = credential(&pod);
    let call = call(&credential);
    endpoint
        .request()
        .await
        .reply(307, &[("location", "https://evil.example.com/")], "");
    let error = call.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);
    assert_eq!(error.status().unwrap(), 307);
    endpoint.assert_no_request().await;
}

#[tokio::test(start_paused = true)]
async fn failed_fetch_without_a_token_is_logged_once_per_cooldown() {
    let log = tempfile::NamedTempFile::new().unwrap();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(Arc::new(log.reopen().unwrap()))
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let lines = || {
        let text = std::fs::read_to_string(log.path()).unwrap();
        text.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let pod = PodDirectory::new();
    let (credential, mut endpoint) = credential(&pod);

    let caller = call(&credential);
    endpoint.request().await.refuse(401, "invalid_client", 7_000_222);
    caller.await.unwrap().unwrap_err();
    call(&credential).await.unwrap().unwrap_err();
    let first = lines();
    assert_eq!(first.len(), 1, "{first:?}");
    for part in [
        "WARN entra_workload::cache::slot: token request failed",
        r#"scopes=["https://vault.azure.net/.default"]"#,
        "error=login.microsoftonline.com refused client",
        r#"correlation_id="correlation""#,
    ] {
        assert!(first[0].contains(part), "{part}: {first:?}");
    }

    tokio::time::advance(Duration::from_secs(1)).await;
    let caller = call(&credential);
    endpoint.request().await.refuse(401, "invalid_client", 7_000_222);
    caller.await.unwrap().unwrap_err();
    assert_eq!(lines().len(), 2);

    // Failures on this machine start no cooldown; the first is logged.
    let pod = PodDirectory::new();
    std::fs::remove_file(pod.token_file()).unwrap();
    let (credential, _endpoint) = self::credential(&pod);
    for _ in 0..3 {
        call(&credential).await.unwrap().unwrap_err();
    }
    assert_eq!(lines().len(), 3, "{:#?}", lines());
    assert!(!lines()[2].contains("correlation_id"), "{:?}", lines());
}
