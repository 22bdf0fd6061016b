//! A day of 100,000 pods at one token endpoint, by simulation: how much they ask when it has been down, and for how long any
//! of them is without a token. This crate's policy and that of `azure_identity` 1.0 live through the same day.
//!
//! ```console
//! $ cargo run --release -p tools --bin fleet -- --svg benches/fleet.svg
//! $ cargo run -p tools --bin fleet -- --quick     # a fifth of the pods, and seconds five times as long
//! ```
//!
//! This crate's numbers come from the functions that the cache and the exchange use themselves. Their two files are compiled
//! into this program, so that they can stay private in the crate.
//!
//! It exits with 1 if an outage shorter than 25 minutes leaves a pod of this crate without a token, throttled or not, or if more than
//! three times as many ask in any second after it as would if all asked evenly. (The latter only of a fleet that has mixed since it started: one that is
//! all due at once does not ask evenly, outage or not.)
#![allow(clippy::print_stdout, reason = "a program talks to its user")]

#[path = "../../../src/exchange/backoff.rs"]
mod backoff;
#[path = "../../../src/cache/policy.rs"]
mod policy;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use backoff::Urgency;
use clap::Parser;

/// Simulates a day of 100,000 pods that get their tokens at one endpoint.
#[derive(Parser)]
struct Options {
    /// Only 20,000 pods, whose requests are counted by five seconds.
    #[arg(long)]
    quick: bool,
    /// Of all that is left to chance.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where to draw the curves, too.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let pods = if options.quick { FLEET / 5 } else { FLEET };
    println!(
        "{pods} pods start within {START:?}; tokens live {LIFE:?}; every pod needs its token every second\n"
    );
    fastrand::seed(options.seed);
    let mut kept = true;
    let mut unthrottled = Vec::new();
    for limit in [None, Some(pods / 200)] {
        match limit {
            None => println!("the endpoint answers every request, but for its outages"),
            Some(limit) => println!(
                "the endpoint refuses more than {limit} requests/s, with Retry-After: {RETRY_AFTER:?}"
            ),
        }
        println!(
            "\n{:16}{:>10}{:>12}{:>12}{:>14}{:>8}{:>14}{:>14}",
            "", "", "requests/s", "in it,", "requests/s", "", "pod-minutes", "pod-minutes"
        );
        println!(
            "{:16}{:>10}{:>12}{:>12}{:>14}{:>8}{:>14}{:>14}",
            "", "outage", "if even", "at most", "after it", "times", "no token", "blocked"
        );
        let ours = Day::of::<Ours>("entra-workload", pods, limit, &OUTAGES);
        let theirs = Day::of::<Theirs>("azure_identity", pods, limit, &OUTAGES);
        ours.print();
        theirs.print();
        println!();
        kept &= ours.keeps_its_promises();
        if limit.is_none() {
            unthrottled = vec![ours, theirs];
        }
    }
    println!("an outage in the first wave after the start\n");
    let rollout = Day::of::<Ours>("entra-workload", pods, None, &AFTER_A_ROLLOUT);
    rollout.print();
    kept &= rollout.keeps_its_promises();
    Day::of::<Theirs>("azure_identity", pods, None, &AFTER_A_ROLLOUT).print();
    println!();
    for day in &unthrottled {
        println!(
            "{}: requests/s, the busiest {:?} of each quarter of an hour",
            day.name, day.bin
        );
        day.draw();
    }
    if let Some(path) = options.svg
        && let Err(error) = std::fs::write(&path, svg(&unthrottled))
    {
        println!("{} cannot be written: {error}", path.display());
        return ExitCode::FAILURE;
    }
    println!("fleet: {}", if kept { "ok" } else { "a promise is broken" });
    if kept {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// When a pod asks again.
trait Policy: Default {
    /// Between two requests, when nothing goes wrong.
    fn interval() -> Duration;

    /// What a pod does after a reply: how long it waits before its next request.
    fn next(&mut self, now: Duration, reply: Reply) -> Duration;

    /// Whether its callers wait for a refresh, and fail with it, though their token is good.
    const REFRESH_BLOCKS: bool;
}

#[derive(Clone, Copy)]
enum Reply {
    Token,
    Refused { retry_after: Option<Duration> },
}

/// This crate: `src/cache/slot.rs` and `src/exchange.rs`, less all that is not time.
#[derive(Default)]
struct Ours {
    expires: Duration,
    exchange_began: Duration,
    attempts: u32,
    failures: u32,
    in_outage: bool,
}

impl Policy for Ours {
    const REFRESH_BLOCKS: bool = false;

    fn interval() -> Duration {
        policy::refresh_after(LIFE, None, 0.5)
    }

    fn next(&mut self, now: Duration, reply: Reply) -> Duration {
        let wait = match reply {
            Reply::Token => {
                *self = Self {
                    expires: now + LIFE,
                    ..Self::default()
                };
                policy::refresh_after(LIFE, None, fastrand::f64())
            }
            Reply::Refused { retry_after } => {
                self.attempts += 1;
                let time_left = TIMEOUT.saturating_sub(now.saturating_sub(self.exchange_began));
                let urgency = if self.expires > self.exchange_began {
                    Urgency::Background
                } else {
                    Urgency::Awaited
                };
                if let Some(pause) = backoff::pause(urgency, self.attempts, retry_after, time_left) {
                    return pause;
                }
                self.attempts = 0;
                self.endure(now, urgency, retry_after)
            }
        };
        let wait = wait + until_the_next_call();
        self.exchange_began = now + wait;
        wait
    }
}

impl Ours {
    fn endure(&mut self, now: Duration, urgency: Urgency, retry_after: Option<Duration>) -> Duration {
        let remaining = self.expires.saturating_sub(now);
        if remaining.is_zero() {
            if urgency == Urgency::Background && retry_after.is_none() {
                return Duration::ZERO;
            }
            self.failures += 1;
            return policy::cooldown(self.failures, retry_after);
        }
        let pause = if self.in_outage {
            policy::outage_pause(LIFE, remaining, retry_after, fastrand::f64())
        } else {
            policy::refresh_pause(LIFE, retry_after)
        };
        self.in_outage = true;
        pause.min(remaining)
    }
}

/// `azure_identity` 1.0: a caller refreshes 5 minutes before the expiry, and all wait for it; then the pipeline of `azure_core`
/// retries, and after that the next caller starts anew. Source: their `src/cache.rs`, and
/// `src/http/policies/retry/{mod,exponential}.rs` of `typespec_client_core` 1.1.
#[derive(Default)]
struct Theirs {
    exchange_began: Duration,
    retries: u32,
}

impl Policy for Theirs {
    const REFRESH_BLOCKS: bool = true;

    fn interval() -> Duration {
        LIFE.saturating_sub(Duration::from_secs(300))
    }

    fn next(&mut self, now: Duration, reply: Reply) -> Duration {
        let wait = match reply {
            Reply::Token => Self::interval() + until_the_next_call(),
            Reply::Refused { retry_after }
                if self.retries < 8 && now.saturating_sub(self.exchange_began) < Duration::from_secs(60) =>
            {
                self.retries += 1;
                let pause = Duration::from_millis((200 << self.retries) + u64::from(fastrand::u8(..)));
                return pause
                    .min(Duration::from_secs(30))
                    .max(retry_after.unwrap_or_default());
            }
            Reply::Refused { .. } => until_the_next_call(),
        };
        self.retries = 0;
        self.exchange_began = now + wait;
        wait
    }
}

/// Every pod has a call a second; which part of it has passed is chance.
fn until_the_next_call() -> Duration {
    CALLS_EVERY.mul_f64(fastrand::f64())
}

struct Outage {
    begins: Duration,
    lasts: Duration,
}

impl Outage {
    const fn new(hour: u64, minutes: u64) -> Self {
        Self {
            begins: Duration::from_secs(hour * 3600),
            lasts: Duration::from_secs(minutes * 60),
        }
    }

    fn ends(&self) -> Duration {
        self.begins + self.lasts
    }
}

/// What the endpoint saw, and what the pods felt.
struct Day {
    name: &'static str,
    /// Requests per second if all pods asked evenly.
    even: f64,
    /// How long each of `bins` is.
    bin: Duration,
    /// Requests in each.
    bins: Vec<u32>,
    outages: &'static [Outage],
    /// The start, and each outage.
    losses: Vec<Loss>,
}

#[derive(Clone, Copy, Default)]
struct Loss {
    without_token: Duration,
    blocked: Duration,
}

impl Day {
    fn of<P: Policy>(name: &'static str, pods: u32, limit: Option<u32>, outages: &'static [Outage]) -> Self {
        let bin = BIN * (FLEET / pods);
        let mut day = Self {
            name,
            even: f64::from(pods) / P::interval().as_secs_f64(),
            bin,
            bins: vec![0; index(DAY, bin) + 1],
            outages,
            losses: vec![Loss::default(); 1 + outages.len()],
        };
        let mut endpoint = Endpoint {
            limit,
            outages,
            ..Endpoint::default()
        };
        let mut states: Vec<Pod<P>> = (0..pods)
            .map(|_| Pod::started(START.mul_f64(fastrand::f64())))
            .collect();
        let first_requests = states
            .iter()
            .enumerate()
            .map(|(pod, state)| Reverse((state.expires, pod)));
        let mut requests: BinaryHeap<_> = first_requests.collect();
        while let Some(Reverse((now, pod))) = requests.pop()
            && now < DAY
            && let Some(state) = states.get_mut(pod)
        {
            if let Some(bin) = day.bins.get_mut(index(now, bin)) {
                *bin += 1;
            }
            let reply = endpoint.reply(now);
            match reply {
                Reply::Refused { .. } => _ = state.refused_since.get_or_insert(now),
                Reply::Token => {
                    let begun = outages.iter().take_while(|outage| outage.begins <= now).count();
                    if let Some(loss) = day.losses.get_mut(begun) {
                        loss.add(state, now);
                    }
                    state.expires = now + LIFE;
                    state.refused_since = None;
                }
            }
            requests.push(Reverse((now + state.policy.next(now, reply), pod)));
        }
        day
    }

    fn print(&self) {
        let row = |outage: &str, during: Option<f64>, after: f64, loss: &Loss| {
            println!(
                "{:16}{outage:>10}{:>12.0}{:>12}{after:>14.0}{:>8.1}{:>14.0}{:>14.0}",
                self.name,
                self.even,
                during.map_or_else(|| "-".to_owned(), |peak| format!("{peak:.0}")),
                after / self.even,
                loss.without_token.as_secs_f64() / 60.0,
                loss.blocked.as_secs_f64() / 60.0,
            );
        };
        let Some((start, losses)) = self.losses.split_first() else {
            return;
        };
        row("start", None, self.peak(Duration::ZERO, RECOVERY), start);
        row(
            "and after",
            None,
            self.peak(RECOVERY / 4, RECOVERY * 3),
            &Loss::default(),
        );
        for (outage, loss) in self.outages.iter().zip(losses) {
            row(
                &format!("{} min", outage.lasts.as_secs() / 60),
                Some(self.peak(outage.begins, outage.ends())),
                self.peak_after(outage),
                loss,
            );
        }
        println!("{:16}{:>10}{:>12.0}", self.name, "mean", self.mean());
    }

    /// Requests per second in the busiest bin.
    fn peak(&self, from: Duration, to: Duration) -> f64 {
        let bins = self
            .bins
            .get(index(from, self.bin)..index(to, self.bin))
            .unwrap_or_default();
        f64::from(bins.iter().copied().max().unwrap_or_default()) / self.bin.as_secs_f64()
    }

    fn peak_after(&self, outage: &Outage) -> f64 {
        self.peak(outage.ends(), outage.ends() + RECOVERY)
    }

    fn mean(&self) -> f64 {
        let requests: f64 = self.bins.iter().copied().map(f64::from).sum();
        requests / DAY.as_secs_f64()
    }

    fn keeps_its_promises(&self) -> bool {
        let losses = self.losses.iter().skip(1);
        self.outages
            .iter()
            .zip(losses)
            .filter(|(outage, _)| outage.lasts < PROMISE)
            .all(|(outage, loss)| {
                let is_mixed = outage.begins >= MIXED;
                loss.blocked.is_zero() && (!is_mixed || self.peak_after(outage) <= 3.0 * self.even)
            })
    }

    /// The peaks of equal parts of the day.
    fn peaks(&self, parts: u32) -> impl Iterator<Item = f64> {
        (0..parts).map(move |part| self.peak(DAY * part / parts, DAY * (part + 1) / parts))
    }

    fn draw(&self) {
        for level in [10_000.0, 3_000.0, 1_000.0, 300.0, 100.0, 30.0, 10.0] {
            let line: String = self
                .peaks(96)
                .map(|peak| if peak >= level { '█' } else { ' ' })
                .collect();
            println!("{level:>7} |{line}");
        }
        println!("{:>7} +{}", "", "---+".repeat(24));
        print!("{:>7}  ", "hour");
        for hour in 1..=24 {
            print!("{hour:>4}");
        }
        println!("\n");
    }
}

struct Pod<P> {
    policy: P,
    /// Of the token it has; before the first, when it started.
    expires: Duration,
    refused_since: Option<Duration>,
}

impl<P: Policy> Pod<P> {
    fn started(at: Duration) -> Self {
        Self {
            policy: P::default(),
            expires: at,
            refused_since: None,
        }
    }
}

impl Loss {
    /// Takes in what a pod lost that gets a token now.
    fn add<P: Policy>(&mut self, pod: &Pod<P>, now: Duration) {
        let without_token = now.saturating_sub(pod.expires);
        self.without_token += without_token;
        self.blocked += match pod.refused_since {
            Some(since) if P::REFRESH_BLOCKS => now.saturating_sub(since),
            _ => without_token,
        };
    }
}

#[derive(Default)]
struct Endpoint {
    /// Requests that it answers in a second.
    limit: Option<u32>,
    outages: &'static [Outage],
    second: u64,
    answered: u32,
}

impl Endpoint {
    fn reply(&mut self, now: Duration) -> Reply {
        if self
            .outages
            .iter()
            .any(|outage| outage.begins <= now && now < outage.ends())
        {
            return Reply::Refused { retry_after: None };
        }
        if self.second != now.as_secs() {
            (self.second, self.answered) = (now.as_secs(), 0);
        }
        if self.limit.is_some_and(|limit| self.answered >= limit) {
            return Reply::Refused {
                retry_after: Some(RETRY_AFTER),
            };
        }
        self.answered += 1;
        Reply::Token
    }
}

fn index(time: Duration, bin: Duration) -> usize {
    usize::try_from(time.as_secs() / bin.as_secs()).unwrap_or(usize::MAX)
}

/// The curves, one above the other, with a logarithmic scale.
fn svg(days: &[Day]) -> String {
    let height = |rate: f64| 200.0 - 42.0 * rate.max(1.0).log10();
    let mut svg = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1030 {}" font-family="sans-serif" font-size="12">
<rect width="100%" height="100%" fill="#fff"/>
"##,
        days.len() * 240 + 10
    );
    for (n, day) in days.iter().enumerate() {
        let mut panel = || -> std::fmt::Result {
            writeln!(svg, r#"<g transform="translate(55 {})">"#, n * 240 + 15)?;
            for outage in day.outages {
                let (x, width) = (
                    outage.begins.as_secs_f64() / 90.0,
                    outage.lasts.as_secs_f64() / 90.0,
                );
                writeln!(
                    svg,
                    r##"<rect x="{x}" width="{width}" height="200" fill="#f6c9c9"/>"##
                )?;
            }
            for rate in [1.0, 10.0, 100.0, 1_000.0, 10_000.0] {
                let y = height(rate);
                writeln!(
                    svg,
                    r##"<path d="M0 {y}H960" stroke="#ddd"/><text x="-8" y="{}" text-anchor="end">{rate}</text>"##,
                    y + 4.0
                )?;
            }
            let y = height(3.0 * day.even);
            writeln!(
                svg,
                r##"<path d="M0 {y}H960" stroke="#2a7" stroke-dasharray="6 4"/>"##
            )?;
            for hour in (0..=24).step_by(3) {
                writeln!(
                    svg,
                    r#"<text x="{}" y="216" text-anchor="middle">{hour}:00</text>"#,
                    hour * 40
                )?;
            }
            let points: String =
                (0..)
                    .zip(day.peaks(1440))
                    .fold(String::new(), |mut points, (minute, peak)| {
                        _ = write!(points, " {:.1},{:.1}", f64::from(minute) / 1.5, height(peak));
                        points
                    });
            writeln!(
                svg,
                r##"<polyline fill="none" stroke="#135" points="{}"/>"##,
                points.trim_start()
            )?;
            writeln!(
                svg,
                r#"<text x="0" y="-3" font-weight="bold">{}: requests per second, the busiest {:?} of each minute</text></g>"#,
                day.name, day.bin
            )
        };
        _ = panel();
    }
    svg + "</svg>\n"
}

const FLEET: u32 = 100_000;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// A rollout.
const START: Duration = Duration::from_secs(30);

/// The shortest that Entra grants by default, which is a random time of 60 to 90 minutes. The same for all: the worst case,
/// since different lives would spread the fleet by themselves.
const LIFE: Duration = Duration::from_secs(3600);

/// The credential's time-out for one exchange, by default.
const TIMEOUT: Duration = Duration::from_secs(20);

const CALLS_EVERY: Duration = Duration::from_secs(1);

/// Each with a 503 at once: a fault that makes its clients wait would hold their load off.
const OUTAGES: [Outage; 4] = [
    Outage::new(4, 5),
    Outage::new(9, 20),
    Outage::new(14, 24),
    Outage::new(19, 45),
];

/// When the fleet, started at once, is due for the first time.
const AFTER_A_ROLLOUT: [Outage; 1] = [Outage {
    begins: Duration::from_secs(28 * 60),
    lasts: Duration::from_secs(20 * 60),
}];

/// By then a fleet that was started at once asks evenly.
const MIXED: Duration = Duration::from_secs(3 * 3600);

/// An outage shorter than this, no pod notices.
const PROMISE: Duration = Duration::from_secs(25 * 60);

/// For so long after an outage its peak is looked for: it holds the next refresh of the pods that were refreshed late.
const RECOVERY: Duration = Duration::from_secs(3600);

const RETRY_AFTER: Duration = Duration::from_secs(30);

/// The busiest second of a quiet hour has 1.6 times the mean, by chance alone. Of a smaller fleet the bins are longer, so that
/// as many requests fall into each, and chance weighs no more.
const BIN: Duration = Duration::from_secs(1);
