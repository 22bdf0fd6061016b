//! The cryptography provider that the program installs for the whole process replaces the one of the crate's features.
#![cfg(feature = "aws-lc-rs")]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::net::{Ipv4Addr, TcpListener};
use std::thread;

use bytes::Bytes;
use entra_workload::ErrorKind;
use entra_workload::transport::{HttpTransport, Transport as _};
use rustls::CipherSuite;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider};
use rustls::server::Acceptor;

/// The only test of this process: the provider stays installed.
#[tokio::test]
async fn an_installed_provider_is_used_for_tls() {
    let provider = CryptoProvider {
        cipher_suites: vec![cipher_suite::TLS13_CHACHA20_POLY1305_SHA256],
        ..default_provider()
    };
    provider.install_default().unwrap();

    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let offered = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut acceptor = Acceptor::default();
        loop {
            acceptor.read_tls(&mut stream).unwrap();
            if let Some(accepted) = acceptor.accept().unwrap() {
                return accepted.client_hello().cipher_suites().to_vec();
            }
        }
    });
    let request = http::Request::get(url).body(Bytes::new()).unwrap();
    let transport = HttpTransport::with_root_certificates(ROOTS).unwrap();
    let error = transport.send(request).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Transport, "{error}");
    assert_eq!(
        offered.join().unwrap(),
        [CipherSuite::TLS13_CHACHA20_POLY1305_SHA256]
    );
}

const ROOTS: &[u8] = include_bytes!("fixtures/certificate/chain.pem");
