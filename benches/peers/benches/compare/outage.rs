//! The hour in which the token endpoint is down from minute 31 to minute 59.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use entra_workload::Clock;
use futures::future::join_all;
use tokio::time::{Instant, interval, sleep, sleep_until, timeout_at};

use crate::clocks::Simulated;
use crate::credentials::{BLOB, Call, Pod, native};
use crate::endpoint::{Behaviour, Endpoint};
use crate::statistics::p999;

/// One call: when, by the minute of the hour; how long; and whether it brought a token (`None`: it had no answer when the
/// measurement ended).
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

/// This crate's hour: the time is that of a paused runtime, the latencies are real ones (plus whatever a call waits in
/// simulated time). The token is got `head_start` before the hour begins.
pub fn simulated_hour(pod: &Pod, head_start: Duration, outage: Behaviour) -> Vec<Record> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let endpoint = Endpoint::granting();
        let clock = Simulated::start();
        let _: &dyn Clock = &clock;
        let call = native(pod.ours(&endpoint, clock));
        assert!(call(BLOB).await);
        sleep(head_start).await;
        let start = Instant::now();
        let mut records = Vec::new();
        for n in 0..HOUR.as_secs() * CALLS_A_SECOND {
            let at = start + Duration::from_secs(n) / u32::try_from(CALLS_A_SECOND).unwrap();
            if at >= start + DOWN {
                endpoint.order(outage);
            }
            if at >= start + UP {
                endpoint.order(Behaviour::Grants {
                    expires_in: HOUR.as_secs(),
                    delay: Duration::from_millis(100),
                });
            }
            sleep_until(at).await;
            let (began, simulated) = (std::time::Instant::now(), Instant::now());
            let succeeded = call(BLOB).await;
            records.push(Record {
                minute: (simulated - start).as_secs_f64() / 60.0,
                took: began.elapsed() + simulated.elapsed(),
                succeeded: Some(succeeded),
            });
        }
        records
    })
}

/// The end of that hour in real time: the token has [`LEFT`] to live. Calls come at their time, whether or not those before
/// them have been answered.
pub async fn last_minutes(
    call: Call,
    endpoint: Endpoint,
    recovery_after: Duration,
    end: Duration,
) -> Vec<Record> {
    endpoint.order(Behaviour::Grants {
        expires_in: LEFT.as_secs(),
        delay: Duration::ZERO,
    });
    assert!(call(BLOB).await);
    endpoint.order(SERVICE_UNAVAILABLE);
    let start = Instant::now();
    let records = Arc::new(Mutex::new(Vec::new()));
    let mut ticks = interval(Duration::from_secs(1) / u32::try_from(CALLS_A_SECOND).unwrap());
    let mut tasks = Vec::new();
    let mut recovered = false;
    while start.elapsed() < end {
        ticks.tick().await;
        if !recovered && start.elapsed() >= recovery_after {
            recovered = true;
            endpoint.order(Behaviour::Grants {
                expires_in: HOUR.as_secs(),
                delay: Duration::from_millis(100),
            });
        }
        let (call, records) = (call(BLOB), records.clone());
        tasks.push(tokio::spawn(async move {
            let began = Instant::now();
            let succeeded = timeout_at(start + end, call).await.ok();
            records.lock().unwrap().push(Record {
                minute: 60.0 - (LEFT.as_secs_f64() - (began - start).as_secs_f64()) / 60.0,
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

pub const SERVICE_UNAVAILABLE: Behaviour = Behaviour::Answers503 {
    delay: Duration::from_millis(100),
};

const HOUR: Duration = Duration::from_secs(3600);

const DOWN: Duration = Duration::from_secs(31 * 60);

const UP: Duration = Duration::from_secs(59 * 60);

const CALLS_A_SECOND: u64 = 10;

/// What the tokens of the peers have left when their last minutes begin: 3 s more than the 300 s at which they refresh.
pub const LEFT: Duration = Duration::from_secs(303);

/// From the begin of the last minutes to minute 59.
pub const UNTIL_RECOVERY: Duration = LEFT.checked_sub(Duration::from_secs(60)).unwrap();
