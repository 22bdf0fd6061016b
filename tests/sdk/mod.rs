//! Azure's own clients, made to talk to an emulator.

use std::sync::Arc;

use azure_core::http::{ClientOptions, Transport};
use entra_workload::WorkloadIdentityCredential;
use entra_workload::emulator::{Emulator, Pod};

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
    WorkloadIdentityCredential::builder()
        .environment(pod.environment())
        .transport(emulator.transport())
        .build()
        .unwrap()
}
