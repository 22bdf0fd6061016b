//! Recorded requests, and secrets in `Debug` output.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod support;

use bytes::Bytes;
use entra_workload_emulator::{Emulator, Endpoint, Fault, RecordedRequest};

use support::projected_token;
use support::token_request::TokenRequest;

#[tokio::test]
async fn requests_are_recorded_in_order_with_headers_and_form() {
    let emulator = Emulator::start().await.unwrap();
    let pod = emulator.pod("shop", "orders").unwrap();
    let request = TokenRequest::new(&pod);
    request.header("user-agent", "orders/1.0").send(&emulator).await;
    let endpoints: Vec<_> = emulator
        .requests()
        .iter()
        .map(RecordedRequest::endpoint)
        .collect();
    assert_eq!(endpoints, [Endpoint::Entra, Endpoint::Issuer, Endpoint::Issuer]);

    let [recorded] = &emulator.requests_to(Endpoint::Entra)[..] else {
        panic!("expected one request")
    };
    assert_eq!(recorded.method(), "POST");
    assert_eq!(recorded.path(), format!("/{}/oauth2/v2.0/token", pod.tenant_id()));
    assert_eq!(recorded.query(), None);
    assert_eq!(recorded.header("User-Agent"), Some("orders/1.0"));
    assert_eq!(recorded.form("client_id").as_deref(), Some(pod.client_id()));
    assert_eq!(
        recorded.form("client_assertion").as_deref(),
        Some(request.field("client_assertion"))
    );
    assert_eq!(recorded.form("resource"), None);
    assert_eq!(recorded.status(), Some(200));
}

#[tokio::test]
async fn debug_output_contains_no_secret() {
    let emulator = Emulator::start().await.unwrap();
    let pod = emulator.pod("shop", "orders").unwrap();
    let request = TokenRequest::new(&pod).header("authorization", "Bearer planted-bearer");
    let access_token = request.send(&emulator).await.text("access_token").to_owned();
    request
        .without("client_assertion")
        .with("client_secret", "planted-secret")
        .send(&emulator)
        .await;
    let planted = http::Response::new(Bytes::from_static(b"planted-reply"));
    let printed = format!(
        "{emulator:?} {pod:?} {:?} {:?} {:?} {:?}",
        emulator.requests(),
        emulator.issuer(),
        emulator.entra(),
        Fault::reply(planted)
    );
    let assertion = projected_token(&pod);
    for secret in ["planted", signature(&assertion), signature(&access_token)] {
        assert!(!printed.contains(secret), "{secret} in {printed}");
    }
    assert!(
        printed.contains("client_credentials"),
        "public fields are shown: {printed}"
    );
}

fn signature(jwt: &str) -> &str {
    jwt.rsplit_once('.').unwrap().1
}
