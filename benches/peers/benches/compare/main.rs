//! Compares this crate with `azure_identity` and `object_store` in one run: same pod, same endpoint
//! in the same process, same responses with tokens of 1,800 bytes. Short measurements alternate;
//! the figures are medians.
//!
//! ```text
//! cargo bench -p peers --bench compare              # the figures, in six minutes
//! cargo bench -p peers --bench compare -- --quick   # in a minute, with the peers' longest waits cut short; writes nothing
//! cargo bench -p peers --bench compare -- --hour    # the hour with the outage, in real time; draws benches/outage.svg
//! ```
//!
//! The first and the last replace their section of `benches/README.md`. After the table of the figures and
//! their targets, one line per figure follows for scripts: `figure NAME NUMBER`.
#![allow(
    clippy::disallowed_methods,
    reason = "a benchmark reads the clock, starts tasks, and makes its own HTTP client"
)]

#[path = "../../../../tests/support/clock.rs"]
#[allow(dead_code, reason = "tests use it too")]
mod clock;
mod cold_start;
mod credentials;
mod endpoint;
mod herd;
mod hits;
mod outage;
mod page;
mod picture;
mod refresh;
mod report;
mod sdk;
mod statistics;

use std::time::Duration;

use entra_workload::clock::SystemClock;
use tokio::runtime::Runtime;

use clock::TestClock;
use credentials::Pod;
use endpoint::{Behaviour, Endpoint};
use herd::Herd;
use outage::{
    Contender, DUE_IN_THE_OUTAGE, HOUR, LAST_MINUTES, LAST_MINUTES_CUT_SHORT, SERVICE_UNAVAILABLE, Summary,
    Timetable,
};
use picture::Panel;
use report::Report;
use report::Wanted::{AtLeast, AtMost, NoMoreThan};
use statistics::{median, p999};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [cold_start::ARGUMENT, credential] = arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        return cold_start::child(credential);
    }
    let given = |option| arguments.iter().any(|argument| argument == option);
    let pod = Pod::new();
    if given("--hour") {
        hour(&pod);
    } else {
        figures(&pod, if given("--quick") { &QUICK } else { &FULL });
    }
}

fn figures(pod: &Pod, effort: &Effort) {
    let mut report = Report::new();
    progress("cached calls");
    cached(&mut report, pod, effort);
    let runtime = Runtime::new().unwrap();
    progress("calls during an exchange");
    runtime.block_on(during_exchanges(&mut report, pod, effort));
    progress("herds");
    runtime.block_on(herds(&mut report, pod));
    progress("the simulated hour with the outage");
    simulated_outage(&mut report, pod);
    progress("cold starts");
    runtime.block_on(cold_starts(&mut report, effort));
    progress("what takes its time: failures, and the last minutes of a token in real time");
    let (contenders, ()) = runtime.block_on(async {
        tokio::join!(
            outage::in_real_time(pod, &effort.last_minutes),
            failures(&mut report, pod, effort)
        )
    });

    let last_minutes = format!(
        "The last minutes of a token, in real time. {}.\n\n{}",
        described(&effort.last_minutes),
        outage::table(&contenders)
    );
    println!("\n{}\n{last_minutes}\n{}", report.table(), report.lines());
    if effort.writes {
        page::replace("figures", "", report.comparison());
    }
    let broken = report.broken_promises();
    assert!(broken.is_empty(), "more than promised: {broken:?}");
}

/// The hour with the outage, in real time.
fn hour(pod: &Pod) {
    progress("an hour");
    let contenders = Runtime::new().unwrap().block_on(outage::in_real_time(pod, &HOUR));
    let text = format!(
        "{}, in real time.\n\n{}",
        described(&HOUR),
        outage::table(&contenders)
    );
    println!("\n{text}");
    page::replace("outage", " -- --hour", &text);
    let panels = ["entra-workload", "azure_identity"].map(|who| {
        let contender: &Contender = contenders.iter().find(|contender| contender.who == who).unwrap();
        Panel {
            title: who,
            records: &contender.records,
        }
    });
    picture::draw(&page::folder().join("outage.svg"), &panels).unwrap();
}

/// Describes the timetable.
fn described(timetable: &Timetable) -> String {
    let minute = |time: Duration| format!("{}:{:02}", time.as_secs() / 60, time.as_secs() % 60);
    let Timetable {
        begin,
        expiry,
        down,
        up,
        end,
    } = *timetable;
    format!(
        "The first token came at {} and expires at {}; the endpoint answers 503 from {} to {}; ten calls per second until {}",
        minute(begin),
        minute(expiry),
        minute(down),
        minute(up),
        minute(end)
    )
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
        NoMoreThan(0),
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
            hits.many_tasks.azure_identity / hits.one_task.azure_identity,
        ),
    );
    report.add(
        "contention_sdk_core",
        "core time per call through `TokenCredential` with all cores busy / with one busy core",
        hits.many_tasks.sdk / hits.one_task.sdk * cores() as f64,
        AtMost(1.15),
        format!(
            "{:.0} ns / {:.0} ns; azure_identity {:.2}",
            hits.many_tasks.sdk * cores() as f64,
            hits.one_task.sdk,
            hits.many_tasks.azure_identity / hits.one_task.azure_identity * cores() as f64
        ),
    );
    report.add(
        "contention_core",
        "core time per call of `token()` with all cores busy / with one busy core",
        hits.many_tasks.native / hits.one_task.native * cores() as f64,
        AtMost(1.15),
        format!(
            "{:.0} ns / {:.0} ns",
            hits.many_tasks.native * cores() as f64,
            hits.one_task.native
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
    let cell = |time: f64, allocations| format!("{time:.0} ns, {allocations} allocations");
    report.compare(
        "cached token, `token()`",
        cell(native, hits.native_allocations),
        NOT_AVAILABLE.to_owned(),
        format!("{:.0} ns", hits.object_store),
    );
    report.compare(
        "cached token through `TokenCredential`",
        cell(sdk, hits.sdk_allocations),
        cell(azure_identity, hits.azure_identity_allocations),
        NOT_AVAILABLE.to_owned(),
    );
    let core_time = |many: f64, one: f64| format!("{:.2}", many / one * cores() as f64);
    report.compare(
        "core time of that call, all cores busy / one core busy",
        core_time(hits.many_tasks.sdk, hits.one_task.sdk),
        core_time(hits.many_tasks.azure_identity, hits.one_task.azure_identity),
        NOT_AVAILABLE.to_owned(),
    );
}

async fn during_exchanges(report: &mut Report, pod: &Pod, effort: &Effort) {
    let mut refresh: [Vec<Duration>; 3] = Default::default();
    for _ in 0..effort.refreshes {
        let (endpoint, clock) = (Endpoint::granting(), TestClock::new());
        let ours = credentials::native(pod.ours(&endpoint, clock.clone()), &endpoint);
        let due = async || clock.advance(PAST_HALF_THE_LIFE);
        refresh[0].extend(refresh::during_refresh(&ours, &endpoint, due).await);
        let endpoint = Endpoint::new(DUE);
        let azure = credentials::sdk(pod.azure_identity(&endpoint), &endpoint);
        refresh[1].extend(refresh::during_refresh(&azure, &endpoint, async || {}).await);
        let endpoint = Endpoint::new(DUE);
        let store = credentials::store(pod.object_store(&endpoint), &endpoint);
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
    report.compare(
        "call during a refresh that takes 300 ms, p99.9",
        readable(ours),
        readable(azure),
        readable(store),
    );

    let endpoint = Endpoint::granting();
    let ours = credentials::native(pod.ours(&endpoint, SystemClock::new()), &endpoint);
    let ours = microseconds(refresh::during_another_scopes_exchange(&ours, &endpoint).await);
    let endpoint = Endpoint::granting();
    let azure = credentials::sdk(pod.azure_identity(&endpoint), &endpoint);
    let azure = microseconds(refresh::during_another_scopes_exchange(&azure, &endpoint).await);
    report.add(
        "other_scope_us",
        "longest cached call in µs while a fetch for another scope takes 3 s",
        ours,
        AtMost(500.0),
        format!("azure_identity {azure:.0}; object_store has one scope"),
    );
    report.compare(
        "cached call during a fetch of 3 s for another scope, longest",
        readable(ours),
        readable(azure),
        "one scope only".to_owned(),
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
            0 => credentials::native(pod.ours(&endpoint, SystemClock::new()), &endpoint),
            1 => credentials::sdk(pod.azure_identity(&endpoint), &endpoint),
            _ => credentials::store(pod.object_store(&endpoint), &endpoint),
        };
        let herd = herd::call_concurrently(&call, 10_000, Duration::from_secs(60)).await;
        assert_eq!(herd.served, 10_000);
        results.push((endpoint.requests(), herd.after));
    }
    report.add(
        "herd_exchanges",
        "token requests for 10,000 concurrent callers without a token",
        results[0].0 as f64,
        NoMoreThan(1),
        format!(
            "all served after {:.0} ms; azure_identity {}, {:.0} ms; object_store {}, {:.0} ms",
            milliseconds(results[0].1),
            results[1].0,
            milliseconds(results[1].1),
            results[2].0,
            milliseconds(results[2].1)
        ),
    );
    let cell =
        |(requests, after): &(usize, Duration)| format!("{requests}, after {:.0} ms", milliseconds(*after));
    report.compare(
        "10,000 callers without a token: token requests, and when all have one",
        cell(&results[0]),
        cell(&results[1]),
        cell(&results[2]),
    );
}

/// Adds the results of four hours: with a token as old as the hour, with one whose refresh is due
/// during the outage, and both with an endpoint that does not respond at all.
fn simulated_outage(report: &mut Report, pod: &Pod) {
    let mut hours = Vec::new();
    for outage in [SERVICE_UNAVAILABLE, Behaviour::NoResponse] {
        for timetable in [HOUR, DUE_IN_THE_OUTAGE] {
            let (hour, tries) = outage::simulated(pod, &timetable, outage);
            // Otherwise no refresh was due in the outage.
            assert!(tries > 0 || timetable.begin.is_zero());
            hours.push(hour);
        }
    }
    let summaries: Vec<Summary> = hours.iter().map(|hour| Summary::of(hour)).collect();
    let calls: usize = summaries.iter().map(|hour| hour.calls).sum();
    report.add(
        "outage_failures",
        "failed calls in a simulated hour with the endpoint down from minute 31 to minute 59",
        summaries.iter().map(|hour| hour.failures).sum::<usize>() as f64,
        NoMoreThan(0),
        format!("{calls} calls in four such hours, simulated with a `Clock`; the peers in real time below"),
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
}

async fn cold_starts(report: &mut Report, effort: &Effort) {
    let times = cold_start::measure(effort.cold_starts).await;
    let [ours, azure] = times.map(|times| median(&times));
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
    report.compare(
        "first token of a process, over TLS on loopback",
        format!("{ours:.0} ms"),
        format!("{azure:.0} ms"),
        NOT_MEASURED.to_owned(),
    );
}

async fn failures(report: &mut Report, pod: &Pod, effort: &Effort) {
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
    let ours_failing = failing();
    let azure_failing = failing();
    let ours = |endpoint: &Endpoint| credentials::native(pod.ours(endpoint, SystemClock::new()), endpoint);
    let azure = |endpoint: &Endpoint| credentials::sdk(pod.azure_identity(endpoint), endpoint);
    let (ours_down, azure_down) = (ours(&down()), azure(&down()));
    let (ours_herd, azure_herd) = (ours(&ours_failing), azure(&azure_failing));
    let azure_refused = azure(&refusing);
    let (cold, azure_cold, herd, azure_herd, azure_refused) = tokio::join!(
        herd::call_concurrently(&ours_down, 1, effort.time_limit),
        herd::call_concurrently(&azure_down, 1, effort.time_limit),
        herd::call_concurrently(&ours_herd, 20, effort.time_limit),
        herd::call_concurrently(&azure_herd, 20, effort.time_limit),
        herd::call_concurrently(&azure_refused, 20, effort.time_limit),
    );
    let time_limit = effort.time_limit.as_secs();
    let waited = |herd: &Herd| match herd {
        Herd {
            served: 0,
            refused: 0,
            ..
        } => format!("no answer in {time_limit} s"),
        Herd { after, .. } => format!("{:.1} s", after.as_secs_f64()),
    };
    assert_eq!((cold.refused, herd.refused), (1, 20), "every caller is told");
    report.add(
        "cold_failure_s",
        "no token, endpoint always answers 503: seconds until the caller has an error",
        cold.after.as_secs_f64(),
        AtMost(20.0),
        format!("azure_identity {}", waited(&azure_cold)),
    );
    report.add(
        "failed_herd_exchanges",
        "no token, 20 concurrent callers, endpoint fails after 500 ms: HTTP requests in total",
        ours_failing.requests() as f64,
        NoMoreThan(4),
        format!(
            "with 503, {} of 20 answered after {}; azure_identity {} requests in {time_limit} s, {} of 20 answered; with 401 azure_identity {} requests, {} of 20 answered after {}",
            herd.refused,
            waited(&herd),
            azure_failing.requests(),
            azure_herd.refused,
            refusing.requests(),
            azure_refused.refused,
            waited(&azure_refused)
        ),
    );
    report.compare(
        "no token, the endpoint answers 503: time until the error",
        waited(&cold),
        waited(&azure_cold),
        NOT_MEASURED.to_owned(),
    );
    let cell = |endpoint: &Endpoint, herd: &Herd| {
        let (requests, refused) = (endpoint.requests(), herd.refused);
        format!("{requests}; {refused} of 20 in {:.1} s", herd.after.as_secs_f64())
    };
    report.compare(
        "20 callers without a token, 503 after 500 ms: token requests; callers with an error",
        cell(&ours_failing, &herd),
        cell(&azure_failing, &azure_herd),
        NOT_MEASURED.to_owned(),
    );
}

fn cores() -> usize {
    std::thread::available_parallelism().unwrap().get()
}

fn progress(what: &str) {
    eprintln!("measuring: {what}");
}

fn readable(microseconds: f64) -> String {
    if microseconds < 1e3 {
        format!("{microseconds:.0} µs")
    } else {
        format!("{:.0} ms", microseconds / 1e3)
    }
}

fn microseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// The number of repetitions.
struct Effort {
    rounds: usize,
    refreshes: usize,
    cold_starts: usize,
    /// The longest wait for a caller that gets no result.
    time_limit: Duration,
    last_minutes: Timetable,
    writes: bool,
}

const FULL: Effort = Effort {
    rounds: 400,
    refreshes: 5,
    cold_starts: 41,
    time_limit: Duration::from_secs(120),
    last_minutes: LAST_MINUTES,
    writes: true,
};

const QUICK: Effort = Effort {
    rounds: 100,
    refreshes: 2,
    cold_starts: 15,
    time_limit: Duration::from_secs(20),
    last_minutes: LAST_MINUTES_CUT_SHORT,
    writes: false,
};

/// This crate refreshes at half the lifetime at the latest.
const PAST_HALF_THE_LIFE: Duration = Duration::from_secs(1900);

/// A token within the 300 s in which the peers refresh.
const DUE: Behaviour = Behaviour::Grants {
    expires_in: 299,
    delay: Duration::ZERO,
};

const NOT_AVAILABLE: &str = "not available";

const NOT_MEASURED: &str = "not measured";
