//! Two hundred tasks, tokens of 5 s, a service-account token that rotates every 3 s, and an endpoint that fails at random, over
//! real sockets: for how long you like.
//!
//! ```console
//! $ cargo run --release -p tools --bin soak -- --seconds 60
//! ```
//!
//! It exits with 1 if a call failed or waited for an exchange while there was a token that had not expired, if a token was
//! expired when it was handed out, if the memory grew by more than a tenth and 4 MB after the first quarter of the time
//! (`tests/allocations.rs` counts the bytes), or if there was no time for a fault.
#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a program that times its steps, starts tasks and talks to its user"
)]

use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use clap::Parser;
use entra_workload::transport::HttpTransport;
use entra_workload::{Environment, WorkloadIdentityCredential};
use entra_workload_emulator::{Emulator, Endpoint, Fault, Pod};
use fastrand::Rng;

/// Uses a credential for some time against an endpoint that fails at random.
#[derive(Parser)]
struct Options {
    /// How long.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Of the faults; the same seed orders the same ones. By default another each time.
    #[arg(long)]
    seed: Option<u64>,
}

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    let options = Options::parse();
    let seed = options.seed.unwrap_or_else(|| fastrand::u64(..));
    println!("soak: {} s with seed {seed}", options.seconds);

    let emulator = Emulator::builder().access_token_lifetime(LIFE).start().await?;
    let pod = emulator.pod("soak", "soak")?;
    let credential = WorkloadIdentityCredential::builder()
        .environment(Environment::from_iter(pod.variables()))
        .transport(HttpTransport::with_root_certificates(
            emulator.ca_certificate_pem().as_bytes(),
        )?)
        .timeout(TIMEOUT)
        .build()?;
    let ends = Instant::now() + Duration::from_secs(options.seconds);
    let tally = Arc::new(Tally::default());
    let tasks: Vec<_> = (0..TASKS)
        .map(|n| tokio::spawn(call(n, credential.clone(), tally.clone(), ends)))
        .collect();

    let memory_at_start = memory();
    let warm_up = Duration::from_secs(options.seconds / 4);
    let (memory_warmed_up, rotations, faults) = tokio::join!(
        async {
            tokio::time::sleep(warm_up).await;
            memory()
        },
        rotate(&pod, ends),
        disturb(&emulator, Rng::with_seed(seed), ends),
    );
    for task in tasks {
        task.await?;
    }
    let memory_at_end = memory();

    let [calls, failures, broken, late] = [
        &tally.calls,
        &tally.failures,
        &tally.broken_promises,
        &tally.expired,
    ]
    .map(|count| count.load(Ordering::Relaxed));
    println!("calls                                       {calls:>10}");
    println!("  failed, with no token that was good       {failures:>10}");
    println!("  failed or waited, though there was one    {broken:>10}");
    println!("  got a token that had expired              {late:>10}");
    println!(
        "requests to the token endpoint              {:>10}",
        emulator.requests_to(Endpoint::Entra).len()
    );
    println!("  faults ordered                            {faults:>10}");
    println!("rotations of the service-account token      {:>10}", rotations?);
    let mut grew = false;
    match (memory_at_start, memory_warmed_up, memory_at_end) {
        (Some(start), Some(warmed_up), Some(end)) => {
            println!("memory at the start                         {start:>10} kB");
            println!("  after a quarter of the time               {warmed_up:>10} kB");
            println!("  at the end                                {end:>10} kB");
            grew = end > warmed_up + warmed_up / 10 + EMULATORS_LOG;
        }
        _ => println!("memory: only Linux tells"),
    }
    if broken + late > 0 || grew || calls == 0 || faults == 0 {
        println!("soak: failed");
        return Ok(ExitCode::FAILURE);
    }
    println!("soak: ok");
    Ok(ExitCode::SUCCESS)
}

#[derive(Default)]
struct Tally {
    calls: AtomicU64,
    failures: AtomicU64,
    broken_promises: AtomicU64,
    expired: AtomicU64,
    /// For each scope, until when the best token is good that any task has seen, in milliseconds since 1970.
    good_until: [AtomicU64; SCOPES.len()],
}

async fn call(task: usize, credential: Arc<WorkloadIdentityCredential>, tally: Arc<Tally>, ends: Instant) {
    let scopes = SCOPES.iter().zip(&tally.good_until).cycle().skip(task);
    for (scope, good_until) in scopes {
        if Instant::now() >= ends {
            break;
        }
        let began = milliseconds(SystemTime::now());
        let had_a_token = good_until.load(Ordering::Relaxed) > began + CLOSE_CALL;
        // A call that does not wait is over at its first poll.
        let scopes = [*scope];
        let mut call = Box::pin(credential.token(&scopes));
        let at_once = futures::poll!(&mut call);
        let waits = at_once.is_pending();
        let outcome = match at_once {
            std::task::Poll::Ready(outcome) => outcome,
            std::task::Poll::Pending => call.await,
        };
        tally.calls.fetch_add(1, Ordering::Relaxed);
        match &outcome {
            Ok(token) => {
                let expires_on = milliseconds(token.expires_on());
                good_until.fetch_max(expires_on, Ordering::Relaxed);
                if expires_on <= began {
                    tally.expired.fetch_add(1, Ordering::Relaxed);
                }
            }
            Err(_) => _ = tally.failures.fetch_add(1, Ordering::Relaxed),
        }
        if had_a_token && (waits || outcome.is_err()) {
            tally.broken_promises.fetch_add(1, Ordering::Relaxed);
        }
        tokio::time::sleep(Duration::from_millis(fastrand::u64(5..50))).await;
    }
}

async fn rotate(pod: &Pod, ends: Instant) -> std::io::Result<u32> {
    let mut rotations = 0;
    while Instant::now() + ROTATION < ends {
        tokio::time::sleep(ROTATION).await;
        pod.rotate()?;
        rotations += 1;
    }
    Ok(rotations)
}

/// Orders faults; most are over before a token is, one in ten is an outage that outlasts it.
async fn disturb(emulator: &Emulator, mut dice: Rng, ends: Instant) -> u32 {
    let mut faults = 0;
    loop {
        let fault = match dice.u8(..7) {
            0 => Fault::status(503),
            1 => Fault::status(500),
            2 => Fault::throttle(Duration::from_secs(1)),
            3 => Fault::delay(Duration::from_millis(dice.u64(..1500))),
            4 => Fault::hang(),
            5 => Fault::reset(),
            _ => Fault::truncate(),
        };
        let lasts = if dice.u8(..10) == 0 {
            LIFE * 2
        } else {
            Duration::from_millis(dice.u64(..1500))
        };
        let pause = Duration::from_millis(dice.u64(500..3000));
        if Instant::now() + lasts + pause >= ends {
            return faults;
        }
        faults += 1;
        emulator.inject(Endpoint::Entra, fault.until_cleared());
        tokio::time::sleep(lasts).await;
        emulator.clear_faults(Endpoint::Entra);
        tokio::time::sleep(pause).await;
    }
}

fn milliseconds(time: SystemTime) -> u64 {
    let since_1970 = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX)
}

/// What this process has in memory, in kB; `status` says it in kB, `statm` in pages of an unknown size.
fn memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse().ok()
}

const SCOPES: [&str; 3] = [
    "https://vault.azure.net/.default",
    "https://storage.azure.com/.default",
    "https://management.azure.com/.default",
];

const TASKS: usize = 200;

const LIFE: Duration = Duration::from_secs(5);

const ROTATION: Duration = Duration::from_secs(3);

/// Of one exchange: short enough for a second one within a token's life, when the first hangs.
const TIMEOUT: Duration = Duration::from_secs(1);

/// A token that is so close to its expiry, in milliseconds, may have passed it before the credential looks.
const CLOSE_CALL: u64 = 100;

/// In kB. The emulator keeps every request that it saw.
const EMULATORS_LOG: u64 = 4_096;
