//! A PostgreSQL of Debian's package in processes of its own, with TLS, whose passwords an LDAP server
//! checks.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;

use super::program;

/// A running server. It is stopped when this value is dropped.
pub struct Postgres {
    process: Child,
    pub port: u16,
    pub ca_certificate: rcgen::Certificate,
    _directory: TempDir,
}

impl Postgres {
    /// Starts a server with a database `postgres` and these users.
    pub async fn start(ldap_port: u16, users: &[&str]) -> Self {
        let users: Vec<_> = users
            .iter()
            .map(|user| format!("CREATE USER \"{user}\";\n"))
            .collect();
        tokio::task::spawn_blocking(move || {
            let mut server = start(ldap_port, &users.concat());
            while !server.is_ready() {
                assert!(server.process.try_wait().unwrap().is_none(), "PostgreSQL exited");
            }
            server
        })
        .await
        .unwrap()
    }

    /// Asks the server whether it accepts connections; it first says that it is starting up.
    fn is_ready(&self) -> bool {
        let status = Command::new(program("POSTGRES_BIN").join("pg_isready"))
            .args(["--quiet", "--host=127.0.0.1", "--port"])
            .arg(self.port.to_string())
            .status();
        status.unwrap().success()
    }
}

fn start(ldap_port: u16, users: &str) -> Postgres {
    let directory = TempDir::new().unwrap();
    let root = directory.path();
    // PostgreSQL does not run as root.
    let owner = (fs::metadata(root).unwrap().uid() == 0).then(|| user_id("postgres"));
    if let Some((user, group)) = owner {
        chown(root, Some(user), Some(group)).unwrap();
    }
    let run = |name: &str| {
        let mut command = Command::new(program("POSTGRES_BIN").join(name));
        command.current_dir(root).env_clear().env("LC_ALL", "C");
        if let Some((user, group)) = owner {
            command.uid(user).gid(group);
        }
        command
    };
    let data = root.join("data");
    let initialized = run("initdb")
        .arg("--pgdata")
        .arg(&data)
        .args(["--username=admin", "--auth=trust", "--no-sync", "--encoding=UTF8"])
        .output()
        .unwrap();
    assert!(
        initialized.status.success(),
        "{}",
        String::from_utf8_lossy(&initialized.stderr)
    );
    let hba = format!(
        "hostssl all all 127.0.0.1/32 ldap ldapserver=127.0.0.1 ldapport={ldap_port} ldapprefix=cn=\n"
    );
    fs::write(data.join("pg_hba.conf"), hba).unwrap();
    let ca_certificate = write_certificate(&data, owner);
    let mut single = run("postgres")
        .arg("--single")
        .arg("-D")
        .arg(&data)
        .arg("postgres")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut single.stdin.take().unwrap(), users.as_bytes()).unwrap();
    assert!(single.wait().unwrap().success());
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let process = run("postgres")
        .arg("-D")
        .arg(&data)
        .arg("-k")
        .arg(root)
        .args(["-h", "127.0.0.1", "-p"])
        .arg(port.to_string())
        .args(["-c", "ssl=on", "-c", "fsync=off"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    Postgres {
        process,
        port,
        ca_certificate,
        _directory: directory,
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // It may have exited already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Writes a certificate for loopback and its key; returns that of the authority that signed it.
fn write_certificate(data: &Path, owner: Option<(u32, u32)>) -> rcgen::Certificate {
    let mut params = CertificateParams::new([]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let authority = CertifiedIssuer::self_signed(params, key).unwrap();
    let leaf_key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    let leaf = leaf.signed_by(&leaf_key, &authority).unwrap();
    for (name, text) in [
        ("server.crt", leaf.pem()),
        ("server.key", leaf_key.serialize_pem()),
    ] {
        let path = data.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        if let Some((user, group)) = owner {
            chown(&path, Some(user), Some(group)).unwrap();
        }
    }
    authority.as_ref().clone()
}

/// Returns the user and the group of an account of this system.
fn user_id(name: &str) -> (u32, u32) {
    let accounts = fs::read_to_string("/etc/passwd").unwrap();
    let account = accounts.lines().find(|line| line.split(':').next() == Some(name));
    let fields: Vec<_> = account.expect("no such account").split(':').collect();
    (fields[2].parse().unwrap(), fields[3].parse().unwrap())
}
