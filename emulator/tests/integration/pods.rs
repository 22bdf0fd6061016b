//! The environment variables and files of pods.

use std::net::TcpListener;

use entra_workload::Environment;
use entra_workload_emulator::Emulator;

use crate::support::token_request::TokenRequest;
use crate::support::{read, valid_token};

#[cfg(unix)]
#[tokio::test]
async fn token_file_is_readable_at_any_time_during_rotation() {
    use std::collections::BTreeSet;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use crate::support::projected_token;

    let emulator = Emulator::start().await.unwrap();
    let pod = emulator.pod("shop", "orders").unwrap();
    let first = projected_token(&pod);
    let done = Arc::new(AtomicBool::new(false));
    let reader = {
        let (file, done) = (pod.token_file().to_owned(), Arc::clone(&done));
        std::thread::spawn(move || {
            let mut seen = BTreeSet::new();
            while !done.load(Ordering::Relaxed) {
                let token = String::from_utf8(read(&file)).unwrap();
                assert_eq!(token.split('.').count(), 3, "a complete token");
                seen.insert(token);
            }
            seen
        })
    };
    for _ in 0..50 {
        pod.rotate().unwrap();
    }
    done.store(true, Ordering::Relaxed);
    assert!(!reader.join().unwrap().is_empty());
    assert_ne!(projected_token(&pod), first);
    let data = std::fs::read_link(pod.token_file()).unwrap();
    assert_eq!(
        data.to_str(),
        Some("..data/azure-identity-token"),
        "the layout of a projected volume"
    );
}

#[tokio::test]
async fn projected_token_replaces_the_previous_one() {
    let emulator = Emulator::start().await.unwrap();
    let pod = emulator.pod("shop", "orders").unwrap();
    pod.project(&valid_token().audience("elsewhere")).unwrap();
    assert_eq!(TokenRequest::new(&pod).send(&emulator).await.code(), 700_212);
}

#[tokio::test]
async fn pod_has_the_variables_set_by_the_webhook() {
    let emulator = Emulator::start().await.unwrap();
    let pod = emulator.pod("shop", "orders").unwrap();
    let expected = [
        ("AZURE_CLIENT_ID", pod.client_id()),
        ("AZURE_TENANT_ID", emulator.entra().tenant_id()),
        ("AZURE_FEDERATED_TOKEN_FILE", pod.token_file().to_str().unwrap()),
        ("AZURE_AUTHORITY_HOST", emulator.authority_host()),
        ("KUBERNETES_SERVICE_HOST", "127.0.0.1"),
    ];
    assert_eq!(
        pod.variables(),
        expected.map(|(name, value)| (name, value.to_owned()))
    );
    assert!(emulator.authority_host().ends_with('/'));
    assert!(emulator.issuer_url().ends_with('/'));
    let printed = format!("{:?}", Environment::from_iter(pod.variables()));
    for (name, _) in expected {
        assert!(printed.contains(name), "{name}");
    }
}

#[tokio::test]
async fn dropping_the_emulator_frees_ports_and_removes_files() {
    let emulator = Emulator::start().await.unwrap();
    let pod = emulator.pod("shop", "orders").unwrap();
    assert_eq!(TokenRequest::new(&pod).send(&emulator).await.status, 200);
    let (port, certificate) = (
        port(emulator.authority_host()),
        emulator.ca_certificate_file().to_owned(),
    );
    assert_eq!(read(&certificate), emulator.ca_certificate_pem().as_bytes());
    TcpListener::bind(("127.0.0.1", port)).unwrap_err();
    drop(emulator);
    assert!(!certificate.exists());
    assert!(!pod.token_file().exists());
    // The runtime drops aborted tasks later.
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
        tokio::task::yield_now().await;
    }
}

fn port(url: &str) -> u16 {
    url::Url::parse(url).unwrap().port().unwrap()
}
