//! The allocations of a call for a cached token: of this crate through `token()` and through the
//! SDK's trait, and of `azure_identity`. A program of its own, since counting would slow the
//! contenders in the other benchmarks differently.
#![allow(
    dead_code,
    clippy::disallowed_methods,
    reason = "parts of a benchmark, which makes its own HTTP client"
)]

#[path = "../../benches/compare/credentials.rs"]
mod credentials;
#[path = "../../benches/compare/endpoint.rs"]
mod endpoint;

use std::sync::Arc;

use azure_core::credentials::TokenCredential;
use entra_workload::clock::SystemClock;
use futures::executor::block_on;
use tokio::runtime::Runtime;

use credentials::{BLOB, Pod};
use endpoint::Endpoint;

fn main() {
    let runtime = Runtime::new().unwrap();
    let _in_runtime = runtime.enter();
    let (pod, endpoint) = (Pod::new(), Endpoint::granting());
    let native = pod.ours(&endpoint, SystemClock::new());
    let sdk: Arc<dyn TokenCredential> = native.clone();
    let azure_identity = pod.azure_identity(&endpoint);
    runtime.block_on(async {
        native.token(&[BLOB]).await.unwrap();
        azure_identity.get_token(&[BLOB], None).await.unwrap();
    });
    println!(
        "{} {} {}",
        allocations(|| drop(block_on(native.token(&[BLOB])))),
        allocations(|| drop(block_on(sdk.get_token(&[BLOB], None)))),
        allocations(|| drop(block_on(azure_identity.get_token(&[BLOB], None)))),
    );
}

fn allocations(mut call: impl FnMut()) -> u64 {
    call();
    allocation_counter::measure(call).count_total
}
