//! A cached token costs no allocation. In a binary of its own, since it counts what the whole process allocates.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use entra_workload::{TokenRequest, WorkloadIdentityCredential};
use futures::FutureExt;
use support::{BLOB, Pod, VAULT, pair};

#[tokio::test]
async fn a_cached_token_is_read_without_an_allocation() {
    let pod = Pod::new();
    let (transport, mut endpoint) = pair();
    let credential = WorkloadIdentityCredential::builder()
        .environment(pod.environment())
        .transport(transport)
        .build()
        .unwrap();
    let scopes = [VAULT, BLOB];
    let claims = TokenRequest::new(&scopes).claims("{}");
    for request in [TokenRequest::new(&[VAULT]), claims] {
        let serve = async { endpoint.request().await.grant("planted-token", 3600) };
        let (token, ()) = futures::join!(credential.token_for(&request), serve);
        token.unwrap();

        let allocations = allocation_counter::measure(|| {
            for _ in 0..10 {
                drop(credential.token_for(&request).now_or_never().unwrap().unwrap());
            }
        });
        assert_eq!(allocations.count_total, 0, "{request:?}");
    }
}
