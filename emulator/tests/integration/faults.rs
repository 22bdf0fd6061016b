//! Injected faults.

use std::time::Duration;

use bytes::Bytes;
use entra_workload_emulator::{Emulator, Endpoint, Fault};
use tokio::task::JoinSet;

use crate::support::token_request::TokenRequest;
use crate::support::{client, get, seconds, send};

#[tokio::test]
async fn injected_status_has_the_error_body_of_entra() {
    let emulator = Emulator::start().await.unwrap();
    let pod = emulator.pod("shop", "orders").unwrap();
    emulator.inject(Endpoint::Entra, Fault::status(503).times(2));
    emulator.inject(Endpoint::Entra, Fault::status(400));
    for expected in [
        (503, "temporarily_unavailable", 90_033),
        (503, "temporarily_unavailable", 90_033),
        (400, "invalid_request", 90_023),
    ] {
        assert_eq!(TokenRequest::new(&pod).send(&emulator).await.error(), expected);
    }
    assert_eq!(
        TokenRequest::new(&pod).send(&emulator).await.status,
        200,
        "all faults have been applied"
    );
}

#[tokio::test]
async fn injected_401_has_the_error_of_the_credential_in_the_request() {
    let emulator = Emulator::start().await.unwrap();
    let pod = emulator.pod("shop", "orders").unwrap();
    let with_assertion = TokenRequest::new(&pod);
    let with_secret = with_assertion
        .without("client_assertion")
        .with("client_secret", "secret");
    for (request, code) in [(with_assertion, 70_025), (with_secret, 7_000_215)] {
        emulator.inject(Endpoint::Entra, Fault::status(401));
        let response = request.send(&emulator).await;
        assert_eq!(response.error(), (401, "invalid_client", code));
    }
}

#[tokio::test]
async fn injected_500_and_429_have_the_error_and_headers_of_entra() {
    let emulator = Emulator::start().await.unwrap();
    let pod = emulator.pod("shop", "orders").unwrap();
    for (status, error, code, retry_after) in [
        (500, "server_error", 90_036, None),
        (502, "temporarily_unavailable", 90_033, None),
        (429, "temporarily_unavailable", 90_055, Some("60")),
    ] {
        emulator.inject(Endpoint::Entra, Fault::status(status));
        let response = TokenRequest::new(&pod).send(&emulator).await;
        assert_eq!(response.error(), (status, error, code));
        let actual = response.headers.get("retry-after");
        assert_eq!(actual.map(|value| value.to_str().unwrap()), retry_after);
    }
}

#[tokio::test]
async fn injected_status_has_the_error_body_of_a_kubernetes_issuer() {
    let emulator = Emulator::start().await.unwrap();
    for (status, reason, retry_after) in [
        (401, "Unauthorized", None),
        (403, "Forbidden", None),
        (404, "NotFound", None),
        (429, "TooManyRequests", Some("1")),
        (500, "InternalError", None),
        (503, "ServiceUnavailable", None),
        (504, "Timeout", None),
    ] {
        emulator.inject(Endpoint::Issuer, Fault::status(status));
        let url = format!("{}openid/v1/jwks", emulator.issuer().url());
        let response = get(&emulator, &url).await;
        assert_eq!(response.status, status);
        assert_eq!(response.text("kind"), "Status");
        assert_eq!(response.text("reason"), reason);
        assert_eq!(response.body["code"], status);
        let actual = response.headers.get("retry-after");
        assert_eq!(actual.map(|value| value.to_str().unwrap()), retry_after);
    }
}

#[tokio::test]
async fn fault_until_cleared_applies_until_it_is_cleared() {
    let emulator = Emulator::start().await.unwrap();
    let pod = emulator.pod("shop", "orders").unwrap();
    emulator.inject(Endpoint::Entra, Fault::status(500).until_cleared());
    for _ in 0..5 {
        assert_eq!(TokenRequest::new(&pod).send(&emulator).await.status, 500);
    }
    emulator.clear_faults(Endpoint::Entra);
    assert_eq!(TokenRequest::new(&pod).send(&emulator).await.status, 200);
}

#[tokio::test]
async fn throttle_returns_429_with_retry_after() {
    let emulator = Emulator::start().await.unwrap();
    let pod = emulator.pod("shop", "orders").unwrap();
    emulator.inject(Endpoint::Entra, Fault::throttle(seconds(17)));
    let response = TokenRequest::new(&pod).send(&emulator).await;
    assert_eq!(response.error(), (429, "temporarily_unavailable", 90_055));
    assert_eq!(response.headers["retry-after"], "17");
}

#[tokio::test]
async fn custom_reply_is_sent_unchanged() {
    let emulator = Emulator::start().await.unwrap();
    let pod = emulator.pod("shop", "orders").unwrap();
    let html = http::Response::builder()
        .status(502)
        .header("content-type", "text/html")
        .body(Bytes::from_static(b"<html>bad gateway</html>"))
        .unwrap();
    emulator.inject(Endpoint::Entra, Fault::reply(html));
    let response = send(&emulator, TokenRequest::new(&pod).build(&emulator)).await;
    assert_eq!(
        (response.status().as_u16(), &response.body()[..]),
        (502, &b"<html>bad gateway</html>"[..])
    );
    assert_eq!(response.headers()["content-type"], "text/html");
}

#[tokio::test]
async fn delayed_request_succeeds() {
    let emulator = Emulator::start().await.unwrap();
    let pod = emulator.pod("shop", "orders").unwrap();
    emulator.inject(Endpoint::Entra, Fault::delay(Duration::from_millis(1)));
    assert_eq!(TokenRequest::new(&pod).send(&emulator).await.status, 200);
}

#[tokio::test]
async fn reset_sends_no_response_and_truncate_sends_half_of_the_body() {
    let emulator = Emulator::start().await.unwrap();
    let pod = emulator.pod("shop", "orders").unwrap();
    let request = || TokenRequest::new(&pod).build(&emulator).try_into().unwrap();
    let recorded_status = || emulator.requests_to(Endpoint::Entra).last().unwrap().status();

    emulator.inject(Endpoint::Entra, Fault::reset());
    let error = client(&emulator).execute(request()).await.unwrap_err();
    assert!(error.is_request(), "{error:?}");
    assert_eq!(recorded_status(), None);

    emulator.inject(Endpoint::Entra, Fault::truncate());
    let mut response = client(&emulator).execute(request()).await.unwrap();
    assert_eq!(response.status(), 200);
    let length = response.content_length().unwrap();
    let mut received = 0;
    let error = loop {
        match response.chunk().await {
            Ok(chunk) => received += chunk.unwrap().len() as u64,
            Err(error) => break error,
        }
    };
    assert!(error.is_decode() || error.is_body(), "{error:?}");
    assert_eq!(received, length / 2);
    assert_eq!(recorded_status(), Some(200));
}

#[tokio::test]
async fn hanging_request_is_recorded_without_a_status() {
    let emulator = Emulator::start().await.unwrap();
    let pod = emulator.pod("shop", "orders").unwrap();
    emulator.inject(Endpoint::Entra, Fault::hang());
    let request = TokenRequest::new(&pod).build(&emulator).try_into().unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(client(&emulator).execute(request));
    let recorded = loop {
        if let Some(recorded) = emulator.requests_to(Endpoint::Entra).pop() {
            break recorded;
        }
        tokio::task::yield_now().await;
    };
    // Other requests get responses in the meantime.
    assert_eq!(TokenRequest::new(&pod).send(&emulator).await.status, 200);
    assert_eq!(recorded.status(), None);
    assert!(tasks.try_join_next().is_none());
}
