//! A program in which another crate enables `reqwest/native-tls`: this crate's connections stay with rustls.
#![cfg(test)]

use std::net::{Ipv4Addr, TcpListener};
use std::thread::{self, JoinHandle};

use bytes::Bytes;
use entra_workload::ErrorKind;
use entra_workload::transport::{HttpTransport, Transport as _};
use rustls::CipherSuite;
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::{cipher_suite, default_provider};
use rustls::server::Acceptor;

#[tokio::test]
async fn connections_use_rustls_although_reqwest_prefers_openssl() {
    let transport = HttpTransport::with_root_certificates(ROOTS).unwrap();
    let error = transport.send(request("https://localhost")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration, "{error}");
    for way_out in ["`aws-lc-rs`", "`ring`", "`CryptoProvider::install_default`"] {
        assert!(error.to_string().contains(way_out), "{error}");
    }

    let provider = CryptoProvider {
        cipher_suites: vec![cipher_suite::TLS13_CHACHA20_POLY1305_SHA256],
        ..default_provider()
    };
    provider.install_default().unwrap();
    let (url, offered) = server();
    let error = transport.send(request(&url)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Transport, "{error}");
    let offered = offered.join().unwrap();
    assert_eq!(offered, [CipherSuite::TLS13_CHACHA20_POLY1305_SHA256]);

    let (url, offered) = server();
    reqwest::get(url).await.unwrap_err();
    let offered = offered.join().unwrap();
    assert!(
        offered.len() > 1,
        "OpenSSL does not know the provider: {offered:?}"
    );
}

/// Reads a `ClientHello` and closes the connection; gives the cipher suites that it offers.
fn server() -> (String, JoinHandle<Vec<CipherSuite>>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let offered = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut acceptor = Acceptor::default();
        loop {
            acceptor.read_tls(&mut stream).unwrap();
            if let Ok(Some(accepted)) = acceptor.accept() {
                return accepted.client_hello().cipher_suites().to_vec();
            }
        }
    });
    (url, offered)
}

fn request(url: &str) -> http::Request<Bytes> {
    http::Request::get(url).body(Bytes::new()).unwrap()
}

const ROOTS: &[u8] = include_bytes!("../../fixtures/certificate/chain.pem");
