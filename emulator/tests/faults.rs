//! Faults do what they say.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod support;

use std::time::Duration;

use bytes::Bytes;
use entra_workload::{ErrorKind, Transport as _};
use entra_workload_emulator::{Emulator, Endpoint, Fault};
use tokio::task::JoinSet;

use support::token_request::TokenRequest;
use support::{seconds, transport};

#[tokio::test]
async fn an_injected_status_comes_with_entras_own_body() {
    let emulator = Emulator::start().await.unwrap();
    let pod = emulator.pod("shop", "orders").unwrap();
    emulator.inject(Endpoint::Entra, Fault::status(503).times(2));
    emulator.inject(Endpoint::Entra, Fault::status(400));
    for expected in [
        (503, "temporarily_unavailable", 90_033),
        (503, "temporarily_unavailable", 90_033),
        (400, "invalid_request", 90_023),
    ] {
        assert_eq!(TokenRequest::of(&pod).send(&emulator).await.refusal(), expected);
    }
    assert_eq!(
        TokenRequest::of(&pod).send(&emulator).await.status,
        200,
        "the faults are used up"
    );
}

#[tokio::test]
async fn a_fault_until_cleared_strikes_until_it_is_cleared() {
    let emulator = Emulator::start().await.unwrap();
    let pod = emulator.pod("shop", "orders").unwrap();
    emulator.inject(Endpoint::Entra, Fault::status(500).until_cleared());
    for _ in 0..5 {
        assert_eq!(TokenRequest::of(&pod).send(&emulator).await.status, 500);
    }
    emulator.clear_faults(Endpoint::Entra);
    assert_eq!(TokenRequest::of(&pod).send(&emulator).await.status, 200);
}

#[tokio::test]
async fn a_throttle_says_when_to_come_back() {
    let emulator = Emulator::start().await.unwrap();
    let pod = emulator.pod("shop", "orders").unwrap();
    emulator.inject(Endpoint::Entra, Fault::throttle(seconds(17)));
    let reply = TokenRequest::of(&pod).send(&emulator).await;
    assert_eq!(reply.refusal(), (429, "temporarily_unavailable", 90_055));
    assert_eq!(reply.headers["retry-after"], "17");
}

#[tokio::test]
async fn a_reply_is_sent_as_given() {
    let emulator = Emulator::start().await.unwrap();
    let pod = emulator.pod("shop", "orders").unwrap();
    let html = http::Response::builder()
        .status(502)
        .header("content-type", "text/html")
        .body(Bytes::from_static(b"<html>bad gateway</html>"))
        .unwrap();
    emulator.inject(Endpoint::Entra, Fault::reply(html));
    let answer = transport(&emulator)
        .send(TokenRequest::of(&pod).build(&emulator))
        .await
        .unwrap();
    assert_eq!(
        (answer.status().as_u16(), &answer.body()[..]),
        (502, &b"<html>bad gateway</html>"[..])
    );
    assert_eq!(answer.headers()["content-type"], "text/html");
}

#[tokio::test]
async fn a_delayed_request_is_answered_as_usual() {
    let emulator = Emulator::start().await.unwrap();
    let pod = emulator.pod("shop", "orders").unwrap();
    emulator.inject(Endpoint::Entra, Fault::delay(Duration::from_millis(1)));
    assert_eq!(TokenRequest::of(&pod).send(&emulator).await.status, 200);
}

#[tokio::test]
async fn a_broken_connection_is_a_transport_error() {
    let emulator = Emulator::start().await.unwrap();
    let pod = emulator.pod("shop", "orders").unwrap();
    let rows = [
        (
            "reset",
            Fault::reset(),
            "127.0.0.1 closed the connection without an answer",
            None,
        ),
        (
            "truncate",
            Fault::truncate(),
            "127.0.0.1 broke off in the middle of its answer",
            Some(200),
        ),
    ];
    for (name, fault, message, status) in rows {
        emulator.inject(Endpoint::Entra, fault);
        let error = transport(&emulator)
            .send(TokenRequest::of(&pod).build(&emulator))
            .await
            .unwrap_err();
        assert_eq!(
            (error.kind(), error.to_string().as_str()),
            (ErrorKind::Transport, message),
            "{name}"
        );
        assert_eq!(
            emulator.requests_to(Endpoint::Entra).last().unwrap().status(),
            status,
            "{name}"
        );
    }
}

#[tokio::test]
async fn a_hanging_request_is_recorded_and_never_answered() {
    let emulator = Emulator::start().await.unwrap();
    let pod = emulator.pod("shop", "orders").unwrap();
    emulator.inject(Endpoint::Entra, Fault::hang());
    let transport = transport(&emulator);
    let request = TokenRequest::of(&pod).build(&emulator);
    let mut client = JoinSet::new();
    client.spawn(async move { transport.send(request).await });
    let recorded = loop {
        if let Some(recorded) = emulator.requests_to(Endpoint::Entra).pop() {
            break recorded;
        }
        tokio::task::yield_now().await;
    };
    // Another request is answered in the meantime.
    assert_eq!(TokenRequest::of(&pod).send(&emulator).await.status, 200);
    assert_eq!(recorded.status(), None);
    assert!(client.try_join_next().is_none());
}
