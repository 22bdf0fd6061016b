//! What the tests with real servers share.

#[path = "../../../../tests/support/clock.rs"]
#[allow(dead_code, reason = "the tests of the library use the rest")]
pub mod clock;
pub mod ldap;
pub mod postgres;
pub mod redis;
pub mod redis_gateway;

use std::sync::Arc;

use entra_workload::clock::{Clock, SystemClock};
use entra_workload::transport::HttpTransport;
use entra_workload::{Environment, WorkloadIdentityCredential};
use entra_workload_emulator::{Emulator, Pod};

/// Returns a credential of a pod in the emulator.
pub fn credential(emulator: &Emulator, pod: &Pod) -> Arc<WorkloadIdentityCredential> {
    credential_at(emulator, pod, SystemClock::new())
}

/// Returns a credential with this clock.
pub fn credential_at(emulator: &Emulator, pod: &Pod, clock: impl Clock) -> Arc<WorkloadIdentityCredential> {
    let roots = emulator.ca_certificate_pem().as_bytes();
    WorkloadIdentityCredential::builder()
        .environment(Environment::from_iter(pod.variables()))
        .transport(HttpTransport::with_root_certificates(roots).unwrap())
        .clock(clock)
        .build()
        .unwrap()
}

/// Returns a directory of the environment variable, which `scripts/databases` sets.
pub fn program(variable: &str) -> std::path::PathBuf {
    let path = std::env::var_os(variable);
    path.unwrap_or_else(|| panic!("{variable} is not set: run scripts/databases"))
        .into()
}
