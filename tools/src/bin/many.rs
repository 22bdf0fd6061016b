//! Ten thousand credentials in one process, as of a service that acts for as many customers: what they take of the memory, how fast
//! they are built and get their first tokens, and how their refreshes spread over an hour.
//!
//! ```console
//! $ cargo run --release -p tools --bin many
//! ```
//!
//! The endpoint is in the same process, and the hour is simulated: each credential is asked once a second.
#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a program that times its steps and talks to its user"
)]

use std::error::Error;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use clap::Parser;
use entra_workload::assertion::AssertionRequest;
use entra_workload::clock::{Clock, Moment, SystemClock};
use entra_workload::transport::Transport;
use entra_workload::{ClientAssertionCredential, Secret};
use futures::{StreamExt, stream};
use quick_cache::sync::Cache;

/// Uses many credentials for a simulated hour.
#[derive(Parser)]
struct Options {
    /// How many.
    #[arg(long, default_value_t = 10_000)]
    credentials: usize,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let Options { credentials } = Options::parse();
    let endpoint = Arc::new(Endpoint::default());
    let clock = SharedClock::new();
    // Twice as many places, since the shards of the cache fill unevenly.
    let by_customer = Cache::<usize, Arc<ClientAssertionCredential>>::new(2 * credentials);
    let credential = |customer: usize| {
        by_customer.get_or_insert_with(&customer, || {
            ClientAssertionCredential::builder()
                .tenant_id("72f988bf-86f1-41af-91ab-2d7cd011db47")
                .client_id(format!("7a5ff21b-4f5b-4f5b-9e3e-{customer:012}"))
                .assertion(|_: AssertionRequest| async { Ok(Secret::from("assertion")) })
                .transport(endpoint.clone())
                .clock(clock.clone())
                .build()
        })
    };
    println!("| figure | measured |\n| --- | --- |");

    let before = memory();
    let start = Instant::now();
    for customer in 0..credentials {
        credential(customer)?;
    }
    let (built, elapsed) = (memory(), start.elapsed());
    println!("| time to build one | {:.1} µs |", micros(elapsed, credentials));
    println!(
        "| memory of one, without a token | {:.2} kB |",
        kilobytes(before, built, credentials)
    );

    let start = Instant::now();
    let results: Vec<_> = stream::iter(0..credentials)
        .map(|customer| {
            let credential = credential(customer);
            async move { credential?.token(&SCOPES).await.map(drop) }
        })
        .buffer_unordered(1000)
        .collect()
        .await;
    for result in results {
        result?;
    }
    let (filled, elapsed) = (memory(), start.elapsed());
    println!(
        "| time per first token, 1,000 at a time | {:.1} µs |",
        micros(elapsed, credentials)
    );
    println!(
        "| memory of one, with a token of 1.5 kB | {:.2} kB |",
        kilobytes(before, filled, credentials)
    );

    let (mut reads, mut reading) = (0_usize, Duration::ZERO);
    let mut by_second = Vec::new();
    for _ in 0..3600 {
        clock.advance(Duration::from_secs(1));
        let requests = endpoint.0.load(Ordering::Relaxed);
        let start = Instant::now();
        for customer in 0..credentials {
            drop(credential(customer)?.token(&SCOPES).await?);
            reads += 1;
        }
        reading += start.elapsed();
        // The refreshes.
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        by_second.push(endpoint.0.load(Ordering::Relaxed) - requests);
    }
    let refreshes: usize = by_second.iter().sum();
    let busiest = by_second.iter().max().copied().unwrap_or_default();
    println!(
        "| time per look-up of the credential and cached token | {:.0} ns |",
        reading.as_secs_f64() * 1e9 / as_f64(reads)
    );
    println!("| refreshes in the hour | {refreshes} |");
    println!(
        "| busiest second: refreshes, of {:.1} on average | {busiest} |",
        as_f64(refreshes) / 3600.0
    );
    println!(
        "| memory of one after the hour | {:.2} kB |",
        kilobytes(before, memory(), credentials)
    );
    Ok(())
}

/// Grants tokens of an hour, and counts them.
#[derive(Debug, Default)]
struct Endpoint(AtomicUsize);

#[async_trait]
impl Transport for Endpoint {
    async fn send(&self, _: http::Request<Bytes>) -> Result<http::Response<Bytes>, entra_workload::Error> {
        let number = self.0.fetch_add(1, Ordering::Relaxed);
        let body = format!(r#"{{"token_type":"Bearer","expires_in":3600,"access_token":"{number:01500}"}}"#);
        Ok(http::Response::new(body.into()))
    }
}

/// Stands still until it is advanced.
#[derive(Clone, Debug)]
struct SharedClock(Arc<Mutex<Moment>>);

impl SharedClock {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(SystemClock::new().now())))
    }

    fn advance(&self, by: Duration) {
        let mut now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *now = *now + by;
    }
}

impl Clock for SharedClock {
    fn now(&self) -> Moment {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The resident memory of this process in bytes; zero where there is no `/proc`.
fn memory() -> usize {
    let statistics = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statistics
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse::<usize>().ok());
    pages.unwrap_or_default() * PAGE
}

fn kilobytes(before: usize, after: usize, credentials: usize) -> f64 {
    as_f64(after.saturating_sub(before)) / as_f64(credentials) / 1000.0
}

fn micros(elapsed: Duration, credentials: usize) -> f64 {
    elapsed.as_secs_f64() * 1e6 / as_f64(credentials)
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn as_f64(number: usize) -> f64 {
    number as f64
}

const SCOPES: [&str; 1] = ["https://vault.azure.net/.default"];

/// Of Linux on x86-64.
const PAGE: usize = 4096;
