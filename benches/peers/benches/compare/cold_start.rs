//! The first token of a new process: over TLS on loopback, with each credential's own default HTTP
//! client.

use std::process::Command;
use std::time::Instant;

use azure_core::credentials::TokenCredential;
use entra_workload_emulator::{Emulator, Pod};

use crate::credentials::BLOB;

/// Returns the milliseconds from the construction of a credential to its first token, by process:
/// those of this crate, and those of `azure_identity`.
pub async fn measure(rounds: usize) -> [Vec<f64>; 2] {
    let emulator = Emulator::start().await.unwrap();
    let pod = emulator.pod("bench", "cold-start").unwrap();
    let [mut ours, mut azure_identity] = [Vec::new(), Vec::new()];
    for _ in 0..rounds {
        ours.push(process(&emulator, &pod, OURS).await);
        azure_identity.push(process(&emulator, &pod, AZURE_IDENTITY).await);
    }
    [ours, azure_identity]
}

async fn process(emulator: &Emulator, pod: &Pod, credential: &'static str) -> f64 {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args([ARGUMENT, credential])
        .envs(pod.variables())
        .env("SSL_CERT_FILE", emulator.ca_certificate_file())
        .env("NO_PROXY", "127.0.0.1");
    let output = tokio::task::spawn_blocking(move || command.output())
        .await
        .unwrap()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
}

/// The program of such a process.
pub fn child(credential: &str) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let elapsed = runtime.block_on(async {
        let start = Instant::now();
        if credential == OURS {
            let credential = entra_workload::WorkloadIdentityCredential::from_env().unwrap();
            credential.token(&[BLOB]).await.unwrap();
        } else {
            let credential = azure_identity::WorkloadIdentityCredential::new(None).unwrap();
            credential.get_token(&[BLOB], None).await.unwrap();
        }
        start.elapsed()
    });
    println!("{}", elapsed.as_secs_f64() * 1e3);
}

/// The argument that makes this program such a process.
pub const ARGUMENT: &str = "cold-start";

const OURS: &str = "entra-workload";

const AZURE_IDENTITY: &str = "azure_identity";
