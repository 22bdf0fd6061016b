//! Azure's own clients, made to talk to an emulator.

use std::sync::Arc;

use azure_core::http::{ClientOptions, Transport};
use entra_workload::{Environment, HttpTransport, WorkloadIdentityCredential};
use entra_workload_emulator::{Emulator, Pod};

/// Client options with a transport that trusts only `ca_certificate`.
pub fn client_options(ca_certificate: &str) -> ClientOptions {
    let root = reqwest::Certificate::from_pem(ca_certificate.as_bytes()).unwrap();
    let client = reqwest::Client::builder()
        .tls_certs_only([root])
        .no_proxy()
        .build()
        .unwrap();
    ClientOptions {
        transport: Some(Transport::new(Arc::new(client))),
        ..Default::default()
    }
}

/// The credential that the SDK's clients would make from the pod's environment.
pub fn credential(emulator: &Emulator, pod: &Pod) -> Arc<WorkloadIdentityCredential> {
    let roots = emulator.ca_certificate_pem().as_bytes();
    WorkloadIdentityCredential::builder()
        .environment(Environment::from_iter(pod.variables()))
        .transport(HttpTransport::with_root_certificates(roots).unwrap())
        .build()
        .unwrap()
}
