//! Azurite in a process of its own.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;

/// A running Azurite. It is killed when this value is dropped.
pub struct Azurite {
    process: Child,
    pub account_url: String,
    pub ca_certificate: String,
    pub directory: TempDir,
}

impl Azurite {
    /// Starts Azurite on a free port, with a certificate of a new authority.
    ///
    /// * `options`: more options for Azurite.
    pub fn start(options: &[&str]) -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "the script passes the path of Azurite in this variable"
        )]
        let script = std::env::var_os("AZURITE_BLOB").expect("AZURITE_BLOB is not set: run scripts/azurite");
        let directory = TempDir::new().unwrap();
        let (certificate, key) = (
            directory.path().join("leaf.pem"),
            directory.path().join("key.pem"),
        );
        let ca_certificate = write_certificate(&certificate, &key);
        let mut process = Command::new("node")
            .arg(script)
            .args([
                "--oauth",
                "basic",
                "--inMemoryPersistence",
                "--skipApiVersionCheck",
            ])
            .args(options)
            .args([
                "--disableTelemetry",
                "--silent",
                "--blobHost",
                "127.0.0.1",
                "--blobPort",
                "0",
            ])
            .arg("--cert")
            .arg(certificate)
            .arg("--key")
            .arg(key)
            .current_dir(directory.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // The rest of the output is read too, or Azurite would block when the pipe is full.
        let mut lines = BufReader::new(process.stdout.take().unwrap());
        let mut line = String::new();
        let origin = loop {
            line.clear();
            assert_ne!(
                lines.read_line(&mut line).unwrap(),
                0,
                "Azurite exited before it listened"
            );
            if let Some((_, origin)) = line.trim_end().split_once("successfully listens on ") {
                break origin;
            }
        };
        let account_url = format!("{origin}/devstoreaccount1");
        std::thread::spawn(move || lines.read_to_end(&mut Vec::new()));
        Self {
            process,
            account_url,
            ca_certificate,
            directory,
        }
    }
}

impl Drop for Azurite {
    fn drop(&mut self) {
        // It may have exited already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Writes a certificate for loopback and its key; returns the certificate of the authority that
/// signed it.
fn write_certificate(certificate: &PathBuf, key: &PathBuf) -> String {
    let mut params = CertificateParams::new([]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let leaf_key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    let leaf = leaf.signed_by(&leaf_key, &authority).unwrap();
    std::fs::write(certificate, leaf.pem()).unwrap();
    std::fs::write(key, leaf_key.serialize_pem()).unwrap();
    authority.pem()
}
