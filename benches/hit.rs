//! The time of a call for a cached token: through `token()` and through the SDK's trait, with 1 and
//! 100 scopes in the cache, from 1 and from 64 tasks. `tests/allocations.rs` counts the
//! allocations.
//!
//! ```text
//! cargo bench --bench hit
//! ```
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a benchmark"
)]

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use azure_core::credentials::{AccessToken, TokenCredential, TokenRequestOptions};
use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use entra_workload::assertion::AssertionRequest;
use entra_workload::transport::Transport;
use entra_workload::{ClientAssertionCredential, Environment, Error, Secret};
use futures::FutureExt;
use futures::future::join_all;
use tokio::runtime::Runtime;

/// A transport that grants tokens as long as those of Entra.
#[derive(Debug)]
struct GrantingTransport;

#[async_trait]
impl Transport for GrantingTransport {
    async fn send(&self, _request: http::Request<Bytes>) -> Result<http::Response<Bytes>, Error> {
        let token = "t".repeat(TOKEN_LENGTH);
        let body = format!(r#"{{"token_type":"Bearer","expires_in":86400,"access_token":"{token}"}}"#);
        Ok(http::Response::new(body.into()))
    }
}

/// The lower bound for every credential: stores one token and clones it.
#[derive(Debug)]
struct CloneCredential(AccessToken);

#[async_trait]
impl TokenCredential for CloneCredential {
    async fn get_token(
        &self,
        _scopes: &[&str],
        _options: Option<TokenRequestOptions<'_>>,
    ) -> azure_core::Result<AccessToken> {
        Ok(self.0.clone())
    }
}

/// Returns a credential with cached tokens for `scopes` scopes and for [`SCOPE`].
fn credential(runtime: &Runtime, scopes: usize) -> Arc<ClientAssertionCredential> {
    let credential = ClientAssertionCredential::builder()
        .environment(Environment::default())
        .tenant_id("tenant")
        .client_id("7a5ff21b-4f5b-4f5b-9e3e-2c0b5a1d9a10")
        .assertion(|_: AssertionRequest| async { Ok(Secret::from("assertion")) })
        .transport(GrantingTransport)
        .build()
        .unwrap();
    runtime.block_on(async {
        for n in 0..scopes {
            let scope = format!("https://resource-{n}.example.com/.default");
            credential.token(&[&scope]).await.unwrap();
        }
        credential.token(&[SCOPE]).await.unwrap();
    });
    credential
}

fn cached(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let mut group = criterion.benchmark_group("cached");
    for scopes in [1, 100] {
        let credential = credential(&runtime, scopes - 1);
        group.bench_function(
            BenchmarkId::new("token()", format!("{scopes} scopes")),
            |bencher| {
                bencher.iter(|| black_box(credential.token(&[SCOPE]).now_or_never().unwrap().unwrap()));
            },
        );
        group.bench_function(
            BenchmarkId::new("TokenCredential", format!("{scopes} scopes")),
            |bencher| {
                bencher.iter(|| {
                    black_box(
                        credential
                            .get_token(&[SCOPE], None)
                            .now_or_never()
                            .unwrap()
                            .unwrap(),
                    )
                });
            },
        );
    }
    let floor = CloneCredential(AccessToken::new(
        "t".repeat(TOKEN_LENGTH),
        SystemTime::now().into(),
    ));
    group.bench_function("floor: a clone through TokenCredential", |bencher| {
        bencher.iter(|| black_box(floor.get_token(&[SCOPE], None).now_or_never().unwrap().unwrap()));
    });
    let shared = Arc::new(());
    group.bench_function("floor: an Arc clone and a reading of the clock", |bencher| {
        bencher.iter(|| black_box((shared.clone(), SystemTime::now())));
    });
    group.finish();
}

fn contended(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let credential = credential(&runtime, 1);
    let mut group = criterion.benchmark_group("tasks");
    for tasks in [1_u32, 64] {
        group.bench_function(BenchmarkId::new("token()", tasks), |bencher| {
            bencher.iter_custom(|calls| runtime.block_on(time_of_calls(&credential, tasks, calls)));
        });
    }
    group.finish();
}

/// Returns the time that `tasks` tasks need for `calls` calls together.
async fn time_of_calls(credential: &Arc<ClientAssertionCredential>, tasks: u32, calls: u64) -> Duration {
    let each = calls.div_ceil(u64::from(tasks));
    let start = Instant::now();
    let running = (0..tasks).map(|_| {
        let credential = credential.clone();
        tokio::spawn(async move {
            for _ in 0..each {
                black_box(credential.token(&[SCOPE]).await.unwrap());
            }
        })
    });
    for task in join_all(running).await {
        task.unwrap();
    }
    start.elapsed()
}

const SCOPE: &str = "https://storage.azure.com/.default";

/// The approximate length of Entra's tokens for workload identities.
const TOKEN_LENGTH: usize = 1800;

criterion_group!(benches, cached, contended);
criterion_main!(benches);
