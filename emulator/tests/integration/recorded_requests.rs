//! Recorded requests, and secrets in `Debug` output.

use crate::support;
use std::io::{Read as _, Write as _};

use bytes::Bytes;
use entra_workload_emulator::{Emulator, Endpoint, Fault, RecordedRequest};

use crate::support::projected_token;
use crate::support::token_request::TokenRequest;

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

/// Azure ML and Service Fabric have a secret in a header of that name; a SAS is in the query.
#[tokio::test]
async fn debug_output_contains_no_secret_of_other_headers_and_of_the_query() {
    let emulator = Emulator::start().await.unwrap();
    let uri = format!("{}/a?sig=planted&resource=shown", emulator.imds_url());
    let mut request = http::Request::get(uri).body(Bytes::new()).unwrap();
    for name in ["secret", "x-identity-header", "cookie", "x-functions-key"] {
        request.headers_mut().insert(name, "planted".parse().unwrap());
    }
    support::send(&emulator, request).await;
    let [recorded] = &emulator.requests()[..] else {
        panic!("expected one request")
    };
    assert_eq!(recorded.header("secret"), Some("planted"));
    let printed = format!("{recorded:?}");
    assert!(!printed.contains("planted"), "{printed}");
    assert!(
        printed.contains("shown") && printed.contains("cookie"),
        "{printed}"
    );
}

/// A client chooses its ID and the path: both reach the terminal of `entra-workload emulator run`.
#[tokio::test]
async fn control_characters_of_a_request_are_escaped_in_its_refusal() {
    let emulator = Emulator::start().await.unwrap();
    let pod = emulator.pod("shop", "orders").unwrap();
    let planted = "a\u{1b}]52;c;\u{7}\r\u{9b}\u{202e}\u{200b}b";
    let request = TokenRequest::new(&pod);
    request.with("client_id", planted).send(&emulator).await;
    let long = "x".repeat(100_000);
    request.with("client_id", &long).send(&emulator).await;

    let address = emulator.imds_url().trim_start_matches("http://");
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    let path = "GET /\u{9b}31m\u{202e} HTTP/1.1\r\nhost: a\r\nmetadata: true\r\nconnection: close\r\n\r\n";
    stream.write_all(path.as_bytes()).unwrap();
    tokio::task::spawn_blocking(move || stream.read_to_end(&mut Vec::new()).unwrap())
        .await
        .unwrap();

    let requests = emulator.requests();
    let printed = format!("{requests:?}");
    assert!(!printed.contains(['\u{9b}', '\u{202e}', '\u{1b}']), "{printed:?}");
    let refusals = emulator.refusals();
    let lines = refusals.iter().map(|(line, _)| line.as_str());
    let lines: Vec<_> = lines
        .chain(requests.iter().filter_map(RecordedRequest::refusal))
        .collect();
    for line in &lines {
        let is_shown = |c: char| c.is_ascii_graphic() || c == ' ';
        assert!(line.chars().all(is_shown) && line.len() < 10_000, "{line:?}");
    }
    for shown in [
        r"'a\u{1b}]52;c;\u{7}\r\u{9b}\u{202e}\u{200b}b'",
        r"imds GET /\u{9b}31m\u{202e}: 404",
    ] {
        assert!(
            lines.iter().any(|line| line.contains(shown)),
            "{shown}: {lines:?}"
        );
    }
}

/// Forms are kept, and anybody on the machine can send some.
#[tokio::test]
async fn large_form_is_refused_and_not_recorded() {
    let emulator = Emulator::start().await.unwrap();
    let pod = emulator.pod("shop", "orders").unwrap();
    let request = TokenRequest::new(&pod).with("client_id", &"x".repeat(1 << 20));
    let response = support::send(&emulator, request.build(&emulator)).await;
    assert_eq!(response.status().as_u16(), 413);
    assert!(emulator.requests().is_empty());
}

#[tokio::test]
async fn recorded_forms_are_limited_in_their_total_length() {
    let emulator = Emulator::start().await.unwrap();
    let pod = emulator.pod("shop", "orders").unwrap();
    let long = TokenRequest::new(&pod).with("client_id", &"x".repeat(1_000_000));
    for _ in 0..40 {
        long.send(&emulator).await;
    }
    TokenRequest::new(&pod).send(&emulator).await;
    let requests = emulator.requests();
    let is_long = |request: &&RecordedRequest| request.client_id().is_some_and(|id| id.len() == 1_000_000);
    let kept = requests.iter().filter(is_long).count();
    assert!((30..34).contains(&kept), "{kept}");
    assert_eq!(requests.last().unwrap().status(), Some(200));
}

fn signature(jwt: &str) -> &str {
    jwt.rsplit_once('.').unwrap().1
}
