//! What the tests with real servers share.

pub mod ldap;
pub mod postgres;
pub mod redis;
pub mod redis_gateway;

use std::sync::Arc;

use entra_workload::{Environment, HttpTransport, WorkloadIdentityCredential};
use entra_workload_emulator::{Emulator, Pod};

/// Returns a credential of a pod in the emulator.
pub fn credential(emulator: &Emulator, pod: &Pod) -> Arc<WorkloadIdentityCredential> {
    let roots = emulator.ca_certificate_pem().as_bytes();
    WorkloadIdentityCredential::builder()
        .environment(Environment::from_iter(pod.variables()))
        .transport(HttpTransport::with_root_certificates(roots).unwrap())
        .build()
        .unwrap()
}

/// Returns a directory of the environment variable, which `scripts/databases` sets.
pub fn program(variable: &str) -> std::path::PathBuf {
    #[expect(
        clippy::disallowed_methods,
        reason = "the script passes the path in this variable"
    )]
    let path = std::env::var_os(variable);
    path.unwrap_or_else(|| panic!("{variable} is not set: run scripts/databases"))
        .into()
}
