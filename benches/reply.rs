//! The time of a token request without the network: a granted token, a refusal, and a page of a
//! proxy.
//!
//! ```text
//! cargo bench --bench reply
//! ```
//!
//! The parser is not public, so the figures include the task, the form and the IDs of the request,
//! which are the same in all three.
#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a benchmark"
)]

#[path = "../tests/support/clock.rs"]
mod clock;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use entra_workload::assertion::AssertionRequest;
use entra_workload::transport::Transport;
use entra_workload::{ClientAssertionCredential, Environment, Error, Secret};
use tokio::runtime::Runtime;

use clock::TestClock;

/// A transport whose response is always the same.
#[derive(Clone, Debug)]
struct FixedTransport {
    status: u16,
    body: Bytes,
}

#[async_trait]
impl Transport for FixedTransport {
    async fn send(&self, _request: http::Request<Bytes>) -> Result<http::Response<Bytes>, Error> {
        let mut response = http::Response::new(self.body.clone());
        *response.status_mut() = http::StatusCode::from_u16(self.status).unwrap();
        Ok(response)
    }
}

fn credential(status: u16, body: String, clock: TestClock) -> Arc<ClientAssertionCredential> {
    ClientAssertionCredential::builder()
        .environment(Environment::default())
        .tenant_id("tenant")
        .client_id("7a5ff21b-4f5b-4f5b-9e3e-2c0b5a1d9a10")
        .assertion(|_: AssertionRequest| async { Ok(Secret::from(ASSERTION)) })
        .transport(FixedTransport {
            status,
            body: body.into(),
        })
        .clock(clock)
        .build()
        .unwrap()
}

fn reply(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let mut group = criterion.benchmark_group("token request");
    let token = "t".repeat(1800);
    let success = format!(
        r#"{{"token_type":"Bearer","expires_in":3599,"ext_expires_in":3599,"access_token":"{token}"}}"#
    );
    for (name, status, body) in [
        ("token of 1,800 bytes", 200, success),
        ("refusal", 401, REFUSAL.to_owned()),
        (
            "page of a proxy",
            403,
            "<html><body>Sign in</body></html>".repeat(100),
        ),
    ] {
        let clock = TestClock::stopped();
        let credential = credential(status, body, clock.clone());
        group.bench_function(name, |bencher| {
            bencher.to_async(&runtime).iter(async || {
                // Expires the token or the cooldown of the previous iteration.
                clock.advance(Duration::from_secs(7200));
                let outcome = credential.token(&[SCOPE]).await;
                assert_eq!(outcome.is_ok(), status == 200);
            });
        });
    }
    group.finish();
}

const SCOPE: &str = "https://storage.azure.com/.default";

/// Has the form of a service-account token: the error of a refusal contains its issuer, subject and
/// audience.
const ASSERTION: &str = "eyJhbGciOiJSUzI1NiJ9.eyJhdWQiOlsiYXBpOi8vQXp1cmVBRFRva2VuRXhjaGFuZ2UiXSwiZXhwIjo0MTAyNDQ0ODAwLCJpYXQiOjE3MDAwMDAwMDAsImlzcyI6Imh0dHBzOi8vaXNzdWVyLyIsInN1YiI6InN5c3RlbTpzZXJ2aWNlYWNjb3VudDpuczphcHAifQ.c2ln";

/// As long as the errors of Entra, with their line breaks.
const REFUSAL: &str = r#"{"error":"invalid_client","error_description":"AADSTS700016: Application with identifier 'client' was not found in the directory 'tenant'. This can happen if the application has not been installed by the administrator of the tenant or consented to by any user in the tenant.\r\nTrace ID: 0b1d5a2e-1111-2222-3333-444455556666\r\nCorrelation ID: 8c1d5a2e-1111-2222-3333-444455556666\r\nTimestamp: 2026-01-01 00:00:00Z","error_codes":[700016],"timestamp":"2026-01-01 00:00:00Z","trace_id":"0b1d5a2e-1111-2222-3333-444455556666","correlation_id":"8c1d5a2e-1111-2222-3333-444455556666","error_uri":"https://login.microsoftonline.com/error?code=700016"}"#;

criterion_group!(benches, reply);
criterion_main!(benches);
