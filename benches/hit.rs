//! The price of a cached token: through `token()` and through the SDK's trait, with 1 and 100 scopes in the cache, from 1 and
//! 64 tasks. (`tests/allocations.rs` counts allocations.)
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
use entra_workload::{AssertionRequest, ClientAssertionCredential, Environment, Error, Secret, Transport};
use futures::FutureExt;
use futures::future::join_all;
use tokio::runtime::Runtime;

/// An Entra in the same process, with tokens as long as real ones.
#[derive(Debug)]
struct Entra;

#[async_trait]
impl Transport for Entra {
    async fn send(&self, _request: http::Request<Bytes>) -> Result<http::Response<Bytes>, Error> {
        let token = "t".repeat(TOKEN_LENGTH);
        let body = format!(r#"{{"token_type":"Bearer","expires_in":86400,"access_token":"{token}"}}"#);
        Ok(http::Response::new(body.into()))
    }
}

/// What no credential can do better: it stores one token and clones it.
#[derive(Debug)]
struct Clones(AccessToken);

#[async_trait]
impl TokenCredential for Clones {
    async fn get_token(
        &self,
        _scopes: &[&str],
        _options: Option<TokenRequestOptions<'_>>,
    ) -> azure_core::Result<AccessToken> {
        Ok(self.0.clone())
    }
}

/// A credential that holds tokens for `scopes` scopes.
fn credential(runtime: &Runtime, scopes: usize) -> Arc<ClientAssertionCredential> {
    let credential = ClientAssertionCredential::builder()
        .environment(Environment::default())
        .tenant_id("tenant")
        .client_id("7a5ff21b-4f5b-4f5b-9e3e-2c0b5a1d9a10")
        .assertion(|_: AssertionRequest| async { Ok(Secret::from("assertion")) })
        .transport(Entra)
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
    let floor = Clones(AccessToken::new(
        "t".repeat(TOKEN_LENGTH),
        SystemTime::now().into(),
    ));
    group.bench_function("floor: a clone through TokenCredential", |bencher| {
        bencher.iter(|| black_box(floor.get_token(&[SCOPE], None).now_or_never().unwrap().unwrap()));
    });
    let shared = Arc::new(());
    group.bench_function("floor: an Arc clone and a look at the clock", |bencher| {
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
            bencher.iter_custom(|calls| runtime.block_on(hammer(&credential, tasks, calls)));
        });
    }
    group.finish();
}

/// How long `calls` calls take when `tasks` tasks share them.
async fn hammer(credential: &Arc<ClientAssertionCredential>, tasks: u32, calls: u64) -> Duration {
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

/// Entra's tokens for workload identities are about this long.
const TOKEN_LENGTH: usize = 1800;

criterion_group!(benches, cached, contended);
criterion_main!(benches);
