//! The hour in which the token endpoint is down from minute 31 to minute 59.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use entra_workload::clock::SystemClock;
use futures::future::join_all;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use crate::clock::TestClock;
use crate::credentials::{self, BLOB, Call, Pod, native};
use crate::endpoint::{Behaviour, Endpoint};
use crate::sdk;
use crate::statistics::p999;

/// The times of the events, from the start of the hour.
#[derive(Clone, Copy)]
pub struct Timetable {
    /// The first call, which fetches the first token.
    pub begin: Duration,
    /// The expiry of that token.
    pub expiry: Duration,
    pub down: Duration,
    pub up: Duration,
    /// The last call. A call that is still waiting then has no result.
    pub end: Duration,
}

impl Timetable {
    fn calls(&self) -> impl Iterator<Item = Duration> {
        let seconds = |calls| Duration::from_secs(calls) / CALLS_A_SECOND;
        let begin = self.begin;
        (0..)
            .map(move |n| begin + seconds(n))
            .take_while(|time| *time < self.end)
    }

    fn first_token(&self) -> Behaviour {
        Behaviour::Grants {
            expires_in: (self.expiry - self.begin).as_secs(),
            delay: Duration::ZERO,
        }
    }

    fn endpoint(&self, time: Duration, outage: Behaviour) -> Behaviour {
        if (self.down..self.up).contains(&time) {
            return outage;
        }
        Behaviour::Grants {
            expires_in: 3600,
            delay: Duration::from_millis(100),
        }
    }
}

/// A call: its minute, its latency, and whether it got a token. `None`: it was still waiting at the
/// end of the measurement.
#[derive(Clone, Copy, Debug)]
pub struct Record {
    pub minute: f64,
    pub took: Duration,
    pub succeeded: Option<bool>,
}

pub struct Summary {
    pub calls: usize,
    pub failures: usize,
    pub unanswered: usize,
    pub slow: usize,
    pub p999: Duration,
    pub longest: Duration,
}

impl Summary {
    pub fn of(records: &[Record]) -> Self {
        let count = |which: fn(&Record) -> bool| records.iter().filter(|record| which(record)).count();
        let took: Vec<Duration> = records.iter().map(|record| record.took).collect();
        Self {
            calls: records.len(),
            failures: count(|record| record.succeeded == Some(false)),
            unanswered: count(|record| record.succeeded.is_none()),
            slow: count(|record| record.took > Duration::from_secs(1)),
            p999: p999(&took),
            longest: took.into_iter().max().unwrap_or_default(),
        }
    }
}

/// Returns the calls of this crate in an hour of a paused runtime, and how many requests reached
/// the endpoint during the outage. Latencies are measured in real time, plus the simulated time
/// that a call waits.
pub fn simulated(pod: &Pod, timetable: &Timetable, outage: Behaviour) -> (Vec<Record>, usize) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let endpoint = Endpoint::new(timetable.first_token());
        let call = native(pod.ours(&endpoint, TestClock::new()), &endpoint);
        let start = Instant::now();
        sleep(timetable.begin).await;
        assert!(call(BLOB).await);
        let mut records = Vec::new();
        let (mut before, mut until_up) = (0, 0);
        for time in timetable.calls() {
            sleep_until(start + time).await;
            if time < timetable.down {
                before = endpoint.requests();
            }
            if time < timetable.up {
                until_up = endpoint.requests();
            }
            endpoint.order(timetable.endpoint(time, outage));
            let (began, simulated) = (std::time::Instant::now(), Instant::now());
            let succeeded = call(BLOB).await;
            records.push(Record {
                minute: minutes(simulated - start),
                took: began.elapsed() + simulated.elapsed(),
                succeeded: Some(succeeded),
            });
        }
        (records, until_up - before)
    })
}

/// The calls of one credential.
pub struct Contender {
    pub who: &'static str,
    pub records: Vec<Record>,
}

/// The same in real time, for this crate and for those that have no settable clock. They run
/// concurrently, each with an endpoint of its own, which responds with 503 during the outage.
pub async fn in_real_time(pod: &Pod, timetable: &Timetable) -> Vec<Contender> {
    let run = |who, make: &dyn Fn(&Endpoint) -> Call| {
        let endpoint = Endpoint::new(timetable.first_token());
        let (call, timetable) = (make(&endpoint), *timetable);
        async move {
            let records = calls_in_time(call, endpoint, &timetable).await;
            Contender { who, records }
        }
    };
    let ours = |endpoint: &Endpoint| pod.ours(endpoint, SystemClock::new());
    join_all([
        run("entra-workload", &|endpoint| native(ours(endpoint), endpoint)),
        run("azure_identity", &|endpoint| {
            credentials::sdk(pod.azure_identity(endpoint), endpoint)
        }),
        run("object_store", &|endpoint| {
            credentials::store(pod.object_store(endpoint), endpoint)
        }),
        run("`BlobServiceClient` with entra-workload", &|endpoint| {
            sdk::request(ours(endpoint), endpoint)
        }),
        run("`BlobServiceClient` with azure_identity", &|endpoint| {
            sdk::request(pod.azure_identity(endpoint), endpoint)
        }),
    ])
    .await
}

/// Starts each call at its time, even if earlier calls are still waiting.
async fn calls_in_time(call: Call, endpoint: Endpoint, timetable: &Timetable) -> Vec<Record> {
    assert!(call(BLOB).await);
    let start = Instant::now() - timetable.begin;
    let records = Arc::new(Mutex::new(Vec::new()));
    let mut tasks = Vec::new();
    for time in timetable.calls() {
        sleep_until(start + time).await;
        endpoint.order(timetable.endpoint(time, SERVICE_UNAVAILABLE));
        let (call, records, end) = (call(BLOB), records.clone(), start + timetable.end);
        tasks.push(tokio::spawn(async move {
            let began = Instant::now();
            let succeeded = timeout_at(end, call).await.ok();
            records.lock().unwrap().push(Record {
                minute: minutes(began - start),
                took: began.elapsed(),
                succeeded,
            });
        }));
    }
    join_all(tasks).await;
    let mut records = records.lock().unwrap().clone();
    records.sort_by(|a, b| a.minute.total_cmp(&b.minute));
    records
}

pub fn table(contenders: &[Contender]) -> String {
    let mut table =
        "| who | calls | failed | longer than 1 s | longest |\n| --- | --- | --- | --- | --- |\n".to_owned();
    for Contender { who, records } in contenders {
        let Summary {
            calls,
            failures,
            unanswered,
            slow,
            longest,
            ..
        } = Summary::of(records);
        let (failed, longest) = (failures + unanswered, longest.as_secs_f64() * 1e3);
        table += &format!("| {who} | {calls} | {failed} | {slow} | {longest:.1} ms |\n");
    }
    table
}

fn minutes(duration: Duration) -> f64 {
    duration.as_secs_f64() / 60.0
}

pub const SERVICE_UNAVAILABLE: Behaviour = Behaviour::Answers503 {
    delay: Duration::from_millis(100),
};

pub const HOUR: Timetable = Timetable {
    begin: Duration::ZERO,
    expiry: Duration::from_secs(3600),
    down: Duration::from_secs(31 * 60),
    up: Duration::from_secs(59 * 60),
    end: Duration::from_secs(3600),
};

/// A token of minute 11, whose refresh is due in minute 31 to 41.
pub const DUE_IN_THE_OUTAGE: Timetable = Timetable {
    begin: Duration::from_secs(11 * 60),
    expiry: Duration::from_secs(71 * 60),
    ..HOUR
};

/// From 3 s before the last five minutes of the token, in which the peers refresh.
pub const LAST_MINUTES: Timetable = Timetable {
    begin: Duration::from_secs(54 * 60 + 57),
    down: Duration::from_secs(54 * 60 + 57),
    end: Duration::from_secs(59 * 60 + 40),
    ..HOUR
};

/// The same for `--quick`.
pub const LAST_MINUTES_CUT_SHORT: Timetable = Timetable {
    up: Duration::from_secs(55 * 60 + 12),
    end: Duration::from_secs(55 * 60 + 17),
    ..LAST_MINUTES
};

const CALLS_A_SECOND: u32 = 10;
