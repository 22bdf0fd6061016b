//! The memory of credentials: a cached token is read without an allocation, fetches leave nothing
//! behind, and an endless response takes a limited amount. In a binary of its own, since it
//! replaces the allocator with one that counts.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod support;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use allocation_counter::measure;
use bytes::Bytes;
use entra_workload::assertion::AssertionRequest;
use entra_workload::transport::{HttpTransport, Transport};
use entra_workload::{ClientAssertionCredential, Secret, TokenRequest, WorkloadIdentityCredential};
use futures::FutureExt;
use http::Request;
use support::clock::TestClock;
use support::identifiers::{BLOB, CLIENT_ID, TENANT_ID, VAULT};
use support::pod::PodDirectory;
use support::runtime::current_thread;
use support::transport::{FakeEndpoint, fake_endpoint};

#[tokio::test]
async fn cached_token_is_read_without_an_allocation() {
    let pod = PodDirectory::new();
    let (transport, mut endpoint) = fake_endpoint();
    let credential = WorkloadIdentityCredential::builder()
        .environment(pod.environment())
        .transport(transport)
        .build()
        .unwrap();
    let scopes = [VAULT, BLOB];
    let claims = TokenRequest::new(&scopes).claims("{}");
    // One scope and a list of it are the same key.
    let one = [TokenRequest::new(&[VAULT]), TokenRequest::from(VAULT)];
    for requests in [&one[..], &[claims]] {
        let serve = async { endpoint.request().await.grant("planted-token", 3600) };
        let (token, ()) = futures::join!(credential.token_for(&requests[0]), serve);
        token.unwrap();

        for request in requests {
            let allocations = measure(|| {
                for _ in 0..10 {
                    drop(credential.token_for(request).now_or_never().unwrap().unwrap());
                }
            });
            assert_eq!(allocations.count_total, 0, "{request:?}");
        }
    }
}

#[test]
fn repeated_fetches_do_not_increase_memory() {
    let runtime = current_thread();
    let (transport, mut endpoint) = fake_endpoint();
    let clock = TestClock::stopped();
    let credential = ClientAssertionCredential::builder()
        .tenant_id(TENANT_ID)
        .client_id(CLIENT_ID)
        .assertion(async |_: AssertionRequest| Ok(Secret::from("planted-assertion")))
        .transport(transport)
        .clock(clock.clone())
        .build()
        .unwrap();
    let mut rounds = |n: usize| {
        for _ in 0..n {
            runtime.block_on(round(&credential, &mut endpoint, &clock));
        }
    };
    rounds(10);
    // Each round fetches three tokens with secrets of 1,800 bytes.
    let memory = measure(|| rounds(1000));
    assert!(memory.bytes_current < 16_000, "{memory:?}");
}

/// A cold fetch that fails and one that succeeds, a refresh that fails and one that succeeds, and a
/// fetch after an invalidation.
async fn round(credential: &Arc<ClientAssertionCredential>, endpoint: &mut FakeEndpoint, clock: &TestClock) {
    let secret = "t".repeat(1800);
    let call = || async { credential.token(&[VAULT]).await };
    let (outcome, ()) = futures::join!(call(), async {
        endpoint.request().await.refuse(401, "invalid_client", 7_000_215);
    });
    outcome.unwrap_err();
    clock.advance(Duration::from_secs(60));
    let (outcome, ()) = futures::join!(call(), async {
        endpoint.request().await.grant(&secret, 3600);
    });
    outcome.unwrap();
    clock.advance(Duration::from_secs(1800));
    call().await.unwrap();
    endpoint.request().await.reply(503, &[], "");
    endpoint.assert_no_request().await;
    clock.advance(Duration::from_secs(60));
    call().await.unwrap();
    endpoint.request().await.grant(&secret, 3600);
    endpoint.assert_no_request().await;
    credential.invalidate(&call().await.unwrap());
    let (outcome, ()) = futures::join!(call(), async {
        endpoint.request().await.grant(&secret, 60);
    });
    outcome.unwrap();
    clock.advance(Duration::from_secs(60));
}

#[test]
fn endless_response_takes_a_limited_amount_of_memory() {
    for (start, chunk) in [
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "8\r\nplanted \r\n",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
            "planted ",
        ),
        ("HTTP/1.1 200 OK\r\n\r\n", "planted "),
        ("HTTP/1.1 200 OK\r\nX-Planted: ", "planted "),
        ("HTTP/1.1 200 OK\r\n", "X-Planted: planted\r\n"),
    ] {
        let url = endless_server(start, chunk);
        let runtime = current_thread();
        let memory = measure(|| {
            let request = Request::post(&url).body(Bytes::new()).unwrap();
            runtime.block_on(HttpTransport::new().send(request)).unwrap_err();
        });
        assert!(memory.bytes_max < 2_000_000, "{start:?} {memory:?}");
    }
}

/// Starts a server that never ends its response to one request; returns its URL.
fn endless_server(start: &'static str, chunk: &'static str) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _request = stream.read(&mut [0; 4096]).unwrap();
        stream.write_all(start.as_bytes()).unwrap();
        let chunks = chunk.repeat(1000);
        while stream.write_all(chunks.as_bytes()).is_ok() {}
    });
    url
}
