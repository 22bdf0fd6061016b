//! The time of a call for a cached token.

use std::hint::black_box;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use azure_core::credentials::{AccessToken, TokenCredential, TokenRequestOptions};
use entra_workload::WorkloadIdentityCredential;
use entra_workload::clock::SystemClock;
use futures::executor::block_on;
use futures::future::join_all;
use tokio::runtime::Runtime;

use crate::credentials::{BLOB, Pod};
use crate::endpoint::{Endpoint, TOKEN_LENGTH};
use crate::statistics::median;

/// Nanoseconds per call, except for the allocations.
pub struct Hits {
    pub native: f64,
    pub native_floor: f64,
    pub native_100_scopes: f64,
    pub sdk: f64,
    pub sdk_floor: f64,
    pub azure_identity: f64,
    pub azure_identity_100_scopes: f64,
    pub object_store: f64,
    pub one_task: Tasks,
    pub many_tasks: Tasks,
    pub native_allocations: u64,
    pub sdk_allocations: u64,
    pub azure_identity_allocations: u64,
}

/// The wall time of all calls divided by their number.
pub struct Tasks {
    pub native: f64,
    pub sdk: f64,
    pub azure_identity: f64,
}

pub fn measure(pod: &Pod, rounds: usize) -> Hits {
    let runtime = Runtime::new().unwrap();
    let _in_runtime = runtime.enter();
    let endpoint = Endpoint::granting();
    let ours = ours(pod, &endpoint, 1);
    let ours_100 = self::ours(pod, &endpoint, 100);
    let azure = azure_identity(pod, &endpoint, 1);
    let azure_100 = azure_identity(pod, &endpoint, 100);
    let store = pod.object_store(&endpoint);
    let sdk: Arc<dyn TokenCredential> = ours.clone();
    let clones: Arc<dyn TokenCredential> = Arc::new(Clones(AccessToken::new(
        "t".repeat(TOKEN_LENGTH),
        SystemTime::now().into(),
    )));
    let shared = Arc::new(());

    let mut contenders: [Box<dyn FnMut() -> f64>; 14] = [
        Box::new(|| native(&ours)),
        Box::new(|| each(|| async { (shared.clone(), SystemTime::now()) })),
        Box::new(|| native(&ours_100)),
        Box::new(|| through_the_sdk(&sdk)),
        Box::new(|| through_the_sdk(&clones)),
        Box::new(|| through_the_sdk(&azure)),
        Box::new(|| through_the_sdk(&azure_100)),
        Box::new(|| each(|| store.get_credential())),
        Box::new(|| runtime.block_on(native_tasks(&ours, 1))),
        Box::new(|| runtime.block_on(native_tasks(&ours, TASKS))),
        Box::new(|| runtime.block_on(sdk_tasks(&sdk, 1))),
        Box::new(|| runtime.block_on(sdk_tasks(&sdk, TASKS))),
        Box::new(|| runtime.block_on(sdk_tasks(&azure, 1))),
        Box::new(|| runtime.block_on(sdk_tasks(&azure, TASKS))),
    ];
    // The first round warms up.
    let mut times: [Vec<f64>; 14] = Default::default();
    for round in 0..=rounds {
        for (n, (contender, times)) in contenders.iter_mut().zip(&mut times).enumerate() {
            if n >= 8 && round % 10 != 0 {
                continue;
            }
            let time = contender();
            if round > 0 {
                times.push(time);
            }
        }
    }
    drop(contenders);
    let [
        native,
        native_floor,
        native_100_scopes,
        sdk_ns,
        sdk_floor,
        azure_ns,
        azure_100_ns,
        store_ns,
        one,
        many,
        sdk_one,
        sdk_many,
        azure_one,
        azure_many,
    ] = times.map(|times| median(&times));
    let [native_allocations, sdk_allocations, azure_identity_allocations] = allocations();
    Hits {
        native,
        native_floor,
        native_100_scopes,
        sdk: sdk_ns,
        sdk_floor,
        azure_identity: azure_ns,
        azure_identity_100_scopes: azure_100_ns,
        object_store: store_ns,
        one_task: Tasks {
            native: one,
            sdk: sdk_one,
            azure_identity: azure_one,
        },
        many_tasks: Tasks {
            native: many,
            sdk: sdk_many,
            azure_identity: azure_many,
        },
        native_allocations,
        sdk_allocations,
        azure_identity_allocations,
    }
}

fn native(credential: &WorkloadIdentityCredential) -> f64 {
    each(|| credential.token(&[BLOB]))
}

fn through_the_sdk(credential: &Arc<dyn TokenCredential>) -> f64 {
    each(|| credential.get_token(&[BLOB], None))
}

/// The time per call of a single caller.
fn each<F: Future>(call: impl Fn() -> F) -> f64 {
    block_on(async {
        let start = Instant::now();
        for _ in 0..CALLS {
            black_box(call().await);
        }
        nanoseconds(start.elapsed(), CALLS)
    })
}

async fn native_tasks(credential: &Arc<WorkloadIdentityCredential>, tasks: u32) -> f64 {
    let start = Instant::now();
    join_all((0..tasks).map(|_| {
        let credential = credential.clone();
        tokio::spawn(async move {
            for _ in 0..TASKS_CALLS / tasks {
                black_box(credential.token(&[BLOB]).await.unwrap());
            }
        })
    }))
    .await;
    nanoseconds(start.elapsed(), TASKS_CALLS)
}

async fn sdk_tasks(credential: &Arc<dyn TokenCredential>, tasks: u32) -> f64 {
    let start = Instant::now();
    join_all((0..tasks).map(|_| {
        let credential = credential.clone();
        tokio::spawn(async move {
            for _ in 0..TASKS_CALLS / tasks {
                black_box(credential.get_token(&[BLOB], None).await.unwrap());
            }
        })
    }))
    .await;
    nanoseconds(start.elapsed(), TASKS_CALLS)
}

fn nanoseconds(elapsed: Duration, calls: u32) -> f64 {
    elapsed.as_secs_f64() * 1e9 / f64::from(calls)
}

/// See `src/bin/allocations.rs`.
fn allocations() -> [u64; 3] {
    let output = Command::new(env!("CARGO_BIN_EXE_allocations")).output().unwrap();
    let counts = String::from_utf8(output.stdout).unwrap();
    let counts: Vec<u64> = counts
        .split_whitespace()
        .map(|count| count.parse().unwrap())
        .collect();
    counts.try_into().unwrap()
}

fn ours(pod: &Pod, endpoint: &Endpoint, scopes: usize) -> Arc<WorkloadIdentityCredential> {
    let credential = pod.ours(endpoint, SystemClock::new());
    Runtime::new().unwrap().block_on(async {
        for scope in self::scopes(scopes) {
            credential.token(&[&scope]).await.unwrap();
        }
    });
    credential
}

fn azure_identity(pod: &Pod, endpoint: &Endpoint, scopes: usize) -> Arc<dyn TokenCredential> {
    let credential = pod.azure_identity(endpoint);
    Runtime::new().unwrap().block_on(async {
        for scope in self::scopes(scopes) {
            credential.get_token(&[&scope], None).await.unwrap();
        }
    });
    credential
}

fn scopes(count: usize) -> impl Iterator<Item = String> {
    let others = (1..count).map(|n| format!("https://resource-{n}.example.com/.default"));
    others.chain([BLOB.to_owned()])
}

/// The lower bound for every credential of the SDK: stores one token and clones it.
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

/// Calls per round and contender: less than a millisecond, so that other processes disturb few
/// rounds.
const CALLS: u32 = 4_000;

/// Enough that the start of the tasks does not matter.
const TASKS_CALLS: u32 = 64_000;

pub const TASKS: u32 = 64;
