//! This crate beside `azure_identity` and `object_store`, in one run: same pod, same endpoint in the same process, same
//! replies with tokens of 1,800 bytes; what is short alternates, and medians of several rounds count.
//!
//! ```text
//! cargo bench -p peers --bench compare              # all of it, in five minutes; writes docs/figures.md and docs/outage.svg
//! cargo bench -p peers --bench compare -- --quick   # in less than a minute, with the peers' longest waits cut short
//! ```
//!
//! After the table it prints one line a figure, for scripts: `figure NAME NUMBER`.
#![allow(
    clippy::disallowed_methods,
    reason = "a benchmark reads the clock, starts tasks, and makes its own HTTP client"
)]

mod clocks;
mod cold_start;
mod credentials;
mod endpoint;
mod herd;
mod hits;
mod outage;
mod picture;
mod refresh;
mod report;
mod sdk;
mod statistics;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use azure_core::time::OffsetDateTime;
use entra_workload::SystemClock;
use tokio::runtime::Runtime;

use clocks::Ahead;
use credentials::{Call, Pod};
use endpoint::{Behaviour, Endpoint};
use outage::{Record, SERVICE_UNAVAILABLE, Summary, last_minutes, simulated_hour};
use picture::Panel;
use report::Report;
use report::Wanted::{AtLeast, AtMost};
use statistics::p999;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [cold_start::ARGUMENT, credential] = arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        return cold_start::child(credential);
    }
    let effort = if arguments.iter().any(|argument| argument == "--quick") {
        QUICK
    } else {
        FULL
    };
    let pod = Pod::new();
    let mut report = Report::new();

    progress("cached calls");
    cached(&mut report, &pod, &effort);
    let runtime = Runtime::new().unwrap();
    progress("calls during an exchange");
    runtime.block_on(during_exchanges(&mut report, &pod, &effort));
    progress("herds");
    runtime.block_on(herds(&mut report, &pod));
    progress("the simulated hour with the outage");
    let hour = simulated_outage(&mut report, &pod);
    progress("cold starts");
    runtime.block_on(cold_starts(&mut report, &effort));
    progress("what takes its time: failures, and the last minutes of a token in real time");
    let peers = runtime.block_on(in_real_time(&mut report, &pod, &effort));

    println!("\n{}", report.table());
    println!("{}", peers.table());
    println!("{}", report.lines());
    if effort.writes {
        write(&report, &peers, &hour);
    }
}

fn cached(report: &mut Report, pod: &Pod, effort: &Effort) {
    let hits = hits::measure(pod, effort.rounds);
    let hits::Hits {
        native,
        sdk,
        azure_identity,
        ..
    } = hits;
    report.add(
        "hit_sdk_ratio",
        "cached token through `TokenCredential`: azure_identity's time / ours",
        azure_identity / sdk,
        AtLeast(2.5),
        format!("{azure_identity:.0} ns / {sdk:.0} ns"),
    );
    report.add(
        "hit_sdk_floor",
        "ours / a credential that only clones a stored `AccessToken`",
        sdk / hits.sdk_floor,
        AtMost(1.6),
        format!(
            "{sdk:.0} ns / {:.0} ns; azure_identity {:.2}",
            hits.sdk_floor,
            azure_identity / hits.sdk_floor
        ),
    );
    report.add(
        "hit_native_ratio",
        "azure_identity's time / our `token()`",
        azure_identity / native,
        AtLeast(4.0),
        format!(
            "{azure_identity:.0} ns / {native:.0} ns; object_store {:.0} ns",
            hits.object_store
        ),
    );
    report.add(
        "hit_native_floor",
        "our `token()` / (one `Arc` clone + one `SystemTime::now()`)",
        native / hits.native_floor,
        AtMost(2.0),
        format!(
            "{native:.0} ns / {:.0} ns; object_store {:.2}",
            hits.native_floor,
            hits.object_store / hits.native_floor
        ),
    );
    report.add(
        "hit_native_allocs",
        "heap allocations per cached `token()`",
        hits.native_allocations as f64,
        AtMost(0.0),
        format!(
            "through `TokenCredential` {}; azure_identity {}",
            hits.sdk_allocations, hits.azure_identity_allocations
        ),
    );
    report.add(
        "contention",
        "wall time per call with 64 tasks on all cores / with one task",
        hits.many_tasks.native / hits.one_task.native,
        AtMost(1.2),
        format!(
            "{:.0} ns / {:.0} ns; azure_identity {:.2}; 1 / cores would be perfect scaling",
            hits.many_tasks.native,
            hits.one_task.native,
            hits.many_tasks.azure_identity / hits.one_task.azure_identity
        ),
    );
    report.add(
        "scopes_100",
        "cached hit with 100 scopes in the cache / with one",
        hits.native_100_scopes / native,
        AtMost(1.5),
        format!(
            "azure_identity {:.2}",
            hits.azure_identity_100_scopes / azure_identity
        ),
    );
}

async fn during_exchanges(report: &mut Report, pod: &Pod, effort: &Effort) {
    let mut refresh: [Vec<Duration>; 3] = Default::default();
    for _ in 0..effort.refreshes {
        let (endpoint, clock) = (Endpoint::granting(), Ahead::default());
        let ours = credentials::native(pod.ours(&endpoint, clock.clone()));
        let due = async || clock.advance(PAST_HALF_THE_LIFE);
        refresh[0].extend(refresh::during_refresh(&ours, &endpoint, due).await);
        let endpoint = Endpoint::new(DUE);
        let azure = credentials::sdk(pod.azure_identity(&endpoint));
        refresh[1].extend(refresh::during_refresh(&azure, &endpoint, async || {}).await);
        let endpoint = Endpoint::new(DUE);
        let store = credentials::store(pod.object_store(&endpoint));
        let back_off = async || tokio::time::sleep(Duration::from_millis(150)).await;
        refresh[2].extend(refresh::during_refresh(&store, &endpoint, back_off).await);
    }
    let [ours, azure, store] = refresh.map(|latencies| microseconds(p999(&latencies)));
    report.add(
        "refresh_p999_us",
        "p99.9 of a call in µs while a refresh with a 300 ms endpoint runs",
        ours,
        AtMost(500.0),
        format!("azure_identity {azure:.0}; object_store {store:.0}"),
    );

    let endpoint = Endpoint::granting();
    let ours = credentials::native(pod.ours(&endpoint, SystemClock::new()));
    let ours = microseconds(refresh::during_another_scopes_exchange(&ours, &endpoint).await);
    let endpoint = Endpoint::granting();
    let azure = credentials::sdk(pod.azure_identity(&endpoint));
    let azure = microseconds(refresh::during_another_scopes_exchange(&azure, &endpoint).await);
    report.add(
        "other_scope_us",
        "longest cached call in µs while another scope's exchange takes 3 s",
        ours,
        AtMost(500.0),
        format!("azure_identity {azure:.0}; object_store has one scope"),
    );
}

async fn herds(report: &mut Report, pod: &Pod) {
    let mut results = Vec::new();
    for kind in 0..3 {
        let endpoint = Endpoint::new(Behaviour::Grants {
            expires_in: 3600,
            delay: Duration::from_millis(50),
        });
        let call = match kind {
            0 => credentials::native(pod.ours(&endpoint, SystemClock::new())),
            1 => credentials::sdk(pod.azure_identity(&endpoint)),
            _ => credentials::store(pod.object_store(&endpoint)),
        };
        let (_, elapsed) = herd::rush(&call, 10_000, Duration::from_secs(60)).await;
        results.push((endpoint.requests(), elapsed));
    }
    report.add(
        "herd_exchanges",
        "exchanges for 10,000 cold concurrent callers",
        results[0].0 as f64,
        AtMost(1.0),
        format!(
            "all served after {:.0} ms; azure_identity {}, {:.0} ms; object_store {}, {:.0} ms",
            milliseconds(results[0].1),
            results[1].0,
            milliseconds(results[1].1),
            results[2].0,
            milliseconds(results[2].1)
        ),
    );
}

/// The hour that the picture shows: its token is as old as the hour. The figures are the worst of that one, of one whose token
/// is due in the middle of the outage, and of both with an endpoint that does not answer at all.
fn simulated_outage(report: &mut Report, pod: &Pod) -> Vec<Record> {
    let due_in_the_outage = Duration::from_secs(7 * 60);
    let mut hours = Vec::new();
    for outage in [SERVICE_UNAVAILABLE, Behaviour::StaysSilent] {
        // A token that was got in minute 7 is one that was got 53 minutes before the next hour, refreshed since.
        for head_start in [Duration::ZERO, Duration::from_secs(3600) - due_in_the_outage] {
            hours.push(simulated_hour(pod, head_start, outage));
        }
    }
    let summaries: Vec<Summary> = hours.iter().map(|hour| Summary::of(hour)).collect();
    let calls: usize = summaries.iter().map(|hour| hour.calls).sum();
    report.add(
        "outage_failures",
        "failed calls in a simulated hour with the endpoint down from minute 31 to minute 59",
        summaries.iter().map(|hour| hour.failures).sum::<usize>() as f64,
        AtMost(0.0),
        format!("{calls} calls in four such hours, by our `Clock`; the peers in real time below"),
    );
    let p999 = summaries.iter().map(|hour| hour.p999).max().unwrap_or_default();
    let longest = summaries
        .iter()
        .map(|hour| hour.longest)
        .max()
        .unwrap_or_default();
    report.add(
        "outage_p999_us",
        "p99.9 of a call in µs in that hour",
        microseconds(p999),
        AtMost(500.0),
        format!("longest {:.0} µs", microseconds(longest)),
    );
    hours.swap_remove(0)
}

async fn cold_starts(report: &mut Report, effort: &Effort) {
    let (ours, azure) = cold_start::measure(effort.cold_starts).await;
    report.add(
        "cold_start_ratio",
        "first token over TLS on loopback, new process: ours / azure_identity's",
        ours / azure,
        AtMost(1.0),
        format!(
            "{ours:.1} ms / {azure:.1} ms, {} processes each",
            effort.cold_starts
        ),
    );
}

/// What the peers did in the last minutes of a token.
struct Peers {
    azure: Vec<Record>,
    rows: Vec<(&'static str, Summary)>,
    minutes: String,
}

impl Peers {
    fn table(&self) -> String {
        let mut table = format!(
            "Real time, from minute 54:57 of a 60-minute token to {}; the endpoint answers 503 until minute 59; ten calls a second, each at its \
             time, whether or not those before it are answered:\n\n| who | calls | failed | unanswered | longer than 1 s | p99.9 | longest |\n\
             | --- | --- | --- | --- | --- | --- | --- |\n",
            self.minutes
        );
        for (who, summary) in &self.rows {
            table += &format!(
                "| {who} | {} | {} | {} | {} | {:.1} ms | {:.1} ms |\n",
                summary.calls,
                summary.failures,
                summary.unanswered,
                summary.slow,
                milliseconds(summary.p999),
                milliseconds(summary.longest)
            );
        }
        table
    }
}

async fn in_real_time(report: &mut Report, pod: &Pod, effort: &Effort) -> Peers {
    let down = || {
        Endpoint::new(Behaviour::Answers503 {
            delay: Duration::ZERO,
        })
    };
    let failing = || {
        Endpoint::new(Behaviour::Answers503 {
            delay: Duration::from_millis(500),
        })
    };
    let refusing = Endpoint::new(Behaviour::Refuses {
        delay: Duration::from_millis(500),
    });
    let minutes = |make: &dyn Fn(&Endpoint) -> Call| {
        let endpoint = Endpoint::granting();
        last_minutes(
            make(&endpoint),
            endpoint,
            effort.outage,
            effort.outage + effort.recovery,
        )
    };
    let ours_failing = failing();
    let azure_failing = failing();
    let ours_down = credentials::native(pod.ours(&down(), SystemClock::new()));
    let azure_down = credentials::sdk(pod.azure_identity(&down()));
    let ours_herd = credentials::native(pod.ours(&ours_failing, SystemClock::new()));
    let azure_herd = credentials::sdk(pod.azure_identity(&azure_failing));
    let azure_refused = credentials::sdk(pod.azure_identity(&refusing));
    let (azure, store, ours, sdk_ours, sdk_azure, cold, azure_cold, herd, azure_herd, azure_refused) = tokio::join!(
        minutes(&|endpoint| credentials::sdk(pod.azure_identity(endpoint))),
        minutes(&|endpoint| credentials::store(pod.object_store(endpoint))),
        minutes(&|endpoint| credentials::native(pod.ours(endpoint, SystemClock::new()))),
        minutes(&|endpoint| sdk::request(pod.ours(endpoint, SystemClock::new()))),
        minutes(&|endpoint| sdk::request(pod.azure_identity(endpoint))),
        herd::rush(&ours_down, 1, effort.patience),
        herd::rush(&azure_down, 1, effort.patience),
        herd::rush(&ours_herd, 20, effort.patience),
        herd::rush(&azure_herd, 20, effort.patience),
        herd::rush(&azure_refused, 20, effort.patience),
    );
    let patience = effort.patience.as_secs();
    let waited = |(answered, after): (usize, Duration)| match answered {
        0 => format!("no answer in {patience} s"),
        _ => format!("{:.1} s", after.as_secs_f64()),
    };
    report.add(
        "cold_failure_s",
        "cold, endpoint answers 503 for ever: seconds until the caller has an error",
        cold.1.as_secs_f64(),
        AtMost(20.0),
        format!("azure_identity {}", waited(azure_cold)),
    );
    report.add(
        "failed_herd_exchanges",
        "cold, 20 concurrent callers, endpoint fails after 500 ms: HTTP requests in all",
        ours_failing.requests() as f64,
        AtMost(4.0),
        format!(
            "with 503, {} of 20 told after {}; azure_identity {} requests in {patience} s, {} of 20 told; with 401 azure_identity {} requests, {} of 20 told after {}",
            herd.0,
            waited(herd),
            azure_failing.requests(),
            azure_herd.0,
            refusing.requests(),
            azure_refused.0,
            waited(azure_refused)
        ),
    );
    let rows = vec![
        ("this crate, given such a token", Summary::of(&ours)),
        ("azure_identity", Summary::of(&azure)),
        ("object_store", Summary::of(&store)),
        ("`BlobServiceClient` with this crate", Summary::of(&sdk_ours)),
        ("`BlobServiceClient` with azure_identity", Summary::of(&sdk_azure)),
    ];
    Peers {
        azure,
        rows,
        minutes: effort.until.to_owned(),
    }
}

fn write(report: &Report, peers: &Peers, hour: &[Record]) {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    std::fs::create_dir_all(&docs).unwrap();
    let panels = [
        Panel {
            title: "entra-workload: a simulated hour",
            records: hour,
            not_measured: None,
        },
        Panel {
            title: "azure_identity: the last minutes of its token, in real time",
            records: &peers.azure,
            not_measured: Some("its cached token serves; not measured"),
        },
    ];
    picture::draw(&docs.join("outage.svg"), &panels).unwrap();
    let rustc = Command::new("rustc").arg("--version").output().unwrap();
    let cores = std::thread::available_parallelism().unwrap();
    let text = format!(
        "# Figures\n\nMade by `cargo bench -p peers --bench compare` on {}, on a shared machine with {cores} cores; {}.\n{}.\n\n{}\n{}\n{NOT_SHOWN}",
        OffsetDateTime::now_utc().date(),
        String::from_utf8_lossy(&rustc.stdout).trim(),
        versions(),
        report.table(),
        peers.table(),
    );
    std::fs::write(docs.join("figures.md"), text).unwrap();
}

fn versions() -> String {
    let lock =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../Cargo.lock")).unwrap();
    let version = |name: &str| {
        let entry = lock
            .split("[[package]]")
            .find(|entry| entry.contains(&format!("name = \"{name}\"\n")));
        let version = entry.and_then(|entry| entry.split("version = \"").nth(1)?.split('"').next());
        format!("{name} {}", version.unwrap_or("?"))
    };
    [
        "entra-workload",
        "azure_identity",
        "azure_core",
        "azure_storage_blob",
        "object_store",
    ]
    .map(version)
    .join(", ")
}

fn progress(what: &str) {
    eprintln!("measuring: {what}");
}

fn microseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// How much of it all.
struct Effort {
    rounds: usize,
    refreshes: usize,
    cold_starts: usize,
    /// How long a caller is waited for who gets no answer.
    patience: Duration,
    /// From the begin of the last minutes to the endpoint's recovery.
    outage: Duration,
    recovery: Duration,
    until: &'static str,
    writes: bool,
}

const FULL: Effort = Effort {
    rounds: 400,
    refreshes: 5,
    cold_starts: 21,
    patience: Duration::from_secs(120),
    outage: outage::UNTIL_RECOVERY,
    recovery: Duration::from_secs(40),
    until: "minute 59:40",
    writes: true,
};

const QUICK: Effort = Effort {
    rounds: 100,
    refreshes: 2,
    cold_starts: 7,
    patience: Duration::from_secs(20),
    outage: Duration::from_secs(15),
    recovery: Duration::from_secs(5),
    until: "minute 55:17, with the recovery brought forward to minute 55:12",
    writes: false,
};

/// Ours refresh at half the life at the latest.
const PAST_HALF_THE_LIFE: Duration = Duration::from_secs(1900);

/// A token within the 300 s in which the peers refresh.
const DUE: Behaviour = Behaviour::Grants {
    expires_in: 299,
    delay: Duration::ZERO,
};

const NOT_SHOWN: &str = "\
## What they do not show

* Absolute times: the machine is shared and virtual. Within one run the contenders alternate, so ratios hold better.
* The network, and the real Entra: the endpoint is in the same process, but for the cold starts, which go to an emulator on loopback.
* azure_identity's whole hour: it reads the system's clock, so only the last minutes of a token were run, in real time. Until then its cached
  token serves. This crate's hour is simulated by its clock; in real time it was given a token that nobody had refreshed before.
* More cores than these: a shared count of references costs more on many.
* What a service answers to a token that was revoked.
";
