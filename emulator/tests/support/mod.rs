//! Shared by the tests: a settable clock, an HTTP client, token requests.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its own part")]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "tests"
)]

#[cfg(feature = "azure-core")]
pub mod azure;
pub mod token_request;

use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use entra_workload_emulator::{Emulator, Pod, ServiceAccountToken};
use serde_json::Value;

use token_request::TokenResponse;

/// A wall clock that moves only when it is advanced.
#[derive(Clone, Debug)]
pub struct SettableClock(Arc<Mutex<SystemTime>>);

impl SettableClock {
    pub fn at(time: SystemTime) -> Self {
        Self(Arc::new(Mutex::new(time)))
    }

    pub fn advance(&self, by: Duration) {
        *self.0.lock().unwrap() += by;
    }

    /// For [`EmulatorBuilder::clock`](entra_workload_emulator::EmulatorBuilder::clock).
    pub fn source(&self) -> impl Fn() -> SystemTime + Send + Sync + 'static {
        let clock = self.clone();
        move || *clock.0.lock().unwrap()
    }
}

pub async fn emulator_at(clock: &SettableClock) -> Emulator {
    Emulator::builder().clock(clock.source()).start().await.unwrap()
}

/// Returns an HTTP client that trusts only the CA certificate of the emulator.
pub fn client(emulator: &Emulator) -> reqwest::Client {
    let root = reqwest::Certificate::from_pem(emulator.ca_certificate_pem().as_bytes()).unwrap();
    let client = reqwest::Client::builder().tls_certs_only([root]).no_proxy();
    client.build().unwrap()
}

/// Sends a request and reads the response.
pub async fn send(emulator: &Emulator, request: http::Request<Bytes>) -> http::Response<Bytes> {
    let mut response = client(emulator)
        .execute(request.try_into().unwrap())
        .await
        .unwrap();
    let mut read = http::Response::new(Bytes::new());
    *read.status_mut() = response.status();
    *read.headers_mut() = std::mem::take(response.headers_mut());
    *read.body_mut() = response.bytes().await.unwrap();
    read
}

pub async fn get(emulator: &Emulator, url: &str) -> TokenResponse {
    TokenResponse::receive(emulator, http::Request::get(url).body(Bytes::new()).unwrap()).await
}

pub fn valid_token() -> ServiceAccountToken {
    ServiceAccountToken::new("shop", "orders")
}

#[expect(clippy::disallowed_methods, reason = "small files")]
pub fn read(file: &std::path::Path) -> Vec<u8> {
    std::fs::read(file).unwrap()
}

pub fn projected_token(pod: &Pod) -> String {
    String::from_utf8(read(pod.token_file())).unwrap()
}

/// Returns the header and the claims of a JWT.
pub fn parts(jwt: &str) -> (Value, Value) {
    let mut parts = jwt.split('.').map(|part| URL_SAFE_NO_PAD.decode(part).unwrap());
    let mut json = || serde_json::from_slice(&parts.next().unwrap()).unwrap();
    (json(), json())
}

/// The time at which the tests of this process run. Every call returns the same time.
#[expect(clippy::disallowed_methods, reason = "the start time of the tests")]
pub fn now() -> SystemTime {
    static NOW: LazyLock<SystemTime> = LazyLock::new(SystemTime::now);
    *NOW
}

pub fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
