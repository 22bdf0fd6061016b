//! Invalid token files: no request is sent, the error names the path but not the content, and the
//! next call after a repair succeeds.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use entra_workload::{AccessToken, Credential, Error, ErrorKind, WorkloadIdentityCredential};

use crate::support::clock::TestClock;
use crate::support::identifiers::VAULT;
use crate::support::log::assert_no_secret;
use crate::support::pod::{environment, service_account_token};
use crate::support::transport::{FakeEndpoint, fake_endpoint};

#[tokio::test]
async fn content_that_is_not_a_usable_token_is_an_error() {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let in_an_hour = (now + HOUR).as_secs();
    let jwt = |claims: String| {
        let parts = [r#"{"alg":"RS256"}"#, &claims, "planted-signature"];
        parts.map(|part| URL_SAFE_NO_PAD.encode(part)).join(".").into()
    };
    let whole = service_account_token("planted", HOUR);
    let rows: [(&str, Vec<u8>, &str); 13] = [
        ("empty", vec![], "is empty"),
        ("white space", b" \t\r\n\n".into(), "is empty"),
        ("only a byte order mark", "\u{feff}\n".into(), "is empty"),
        ("binary", b"planted\xff\x00\x80".into(), "is not UTF-8"),
        ("UTF-16", b"\xff\xfee\0y\0J\0".into(), "is not UTF-8"),
        ("1 MB", b"planted!".repeat(125_000), "is longer than 64 KiB"),
        (
            "a token with padding",
            format!("{whole}{}", " ".repeat(65_536)).into(),
            "is longer than 64 KiB",
        ),
        ("plain text", b"planted".into(), "does not hold a JWT"),
        (
            "two lines",
            format!("{whole}\n{whole}").into(),
            "does not hold a JWT",
        ),
        (
            "half a token",
            whole.as_bytes()[..whole.len() / 2].into(),
            "does not hold a JWT",
        ),
        (
            "an encrypted token",
            format!("{whole}.planted.planted").into(),
            "does not hold a JWT",
        ),
        (
            "expired",
            jwt(format!(r#"{{"exp":{}}}"#, now.as_secs())),
            "holds an expired token",
        ),
        (
            "not yet valid",
            jwt(format!(r#"{{"nbf":{in_an_hour}}}"#)),
            "is not valid yet",
        ),
    ];
    for (name, content, why) in rows {
        assert_error_until_repaired(name, |path| fs::write(path, content).unwrap(), why).await;
    }
}

#[tokio::test]
async fn missing_file_is_an_error() {
    assert_error_until_repaired("missing", |_| {}, "does not exist").await;
    let without_volume = |path: &Path| fs::remove_dir(path.parent().unwrap()).unwrap();
    assert_error_until_repaired("missing volume", without_volume, "does not exist").await;
}

#[cfg(unix)]
#[tokio::test]
async fn unreadable_file_is_an_error() {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    let rows: [(_, fn(&Path), _); 7] = [
        (
            "a directory",
            |path| fs::create_dir(path).unwrap(),
            "is a directory",
        ),
        (
            "the volume is a file",
            replace_volume_with_a_file,
            "cannot be read",
        ),
        (
            "a symlink to nothing",
            |path| symlink("planted", path).unwrap(),
            "does not exist",
        ),
        (
            "a symlink to itself",
            |path| symlink(path, path).unwrap(),
            "cannot be read",
        ),
        (
            "an endless device",
            |path| symlink("/dev/zero", path).unwrap(),
            "is not a regular file",
        ),
        (
            "a FIFO that nobody writes",
            |path| {
                let made = std::process::Command::new("mkfifo").arg(path).status();
                assert!(made.unwrap().success());
            },
            "is not a regular file",
        ),
        (
            "no permission",
            |path| {
                fs::write(path, "planted").unwrap();
                fs::set_permissions(path, fs::Permissions::from_mode(0o000)).unwrap();
                if fs::File::open(path).is_ok() {
                    // File modes do not apply to root.
                    fs::remove_file(path).unwrap();
                    replace_volume_with_a_file(path);
                }
            },
            "be read",
        ),
    ];
    for (name, spoil, why) in rows {
        assert_error_until_repaired(name, spoil, why).await;
    }
}

#[tokio::test]
async fn whitespace_and_byte_order_mark_are_not_sent() {
    let token = service_account_token("first", HOUR);
    for content in [
        token.clone(),
        format!("{token}\n"),
        format!("{token}\r\n"),
        format!("\u{feff}{token}"),
        format!("\u{feff} \t{token}\n\n"),
    ] {
        let mut subject = Subject::new();
        subject.project(&content);
        assert_eq!(subject.sent_assertion().await, token, "{content:?}");
    }
}

#[tokio::test]
async fn last_token_is_sent_while_the_file_is_missing_until_it_expires() {
    let mut subject = Subject::new();
    let first = service_account_token("first", HOUR);
    subject.project(&first);
    assert_eq!(subject.sent_assertion().await, first);
    fs::remove_file(&subject.path).unwrap();
    subject.clock.advance(HOUR / 2);
    assert_eq!(subject.sent_assertion().await, first);

    subject.clock.advance(HOUR);
    let outcome = subject.credential.token(&[VAULT]).await;
    let error = subject.error(outcome).await;
    assert!(error.to_string().contains("does not exist"), "{error}");

    let next = service_account_token("next", HOUR * 2);
    subject.project(&next);
    assert_eq!(subject.sent_assertion().await, next);
}

#[tokio::test]
async fn token_that_expired_in_the_file_is_not_sent() {
    let mut subject = Subject::new();
    subject.project(&service_account_token("first", HOUR));
    subject.sent_assertion().await;
    subject.clock.advance(HOUR * 2);
    let outcome = subject.credential.token(&[VAULT]).await;
    let error = subject.error(outcome).await;
    assert!(error.to_string().contains("holds an expired token"), "{error}");

    let next = service_account_token("next", HOUR * 3);
    subject.project(&next);
    assert_eq!(subject.sent_assertion().await, next);
}

#[tokio::test]
async fn token_replaced_while_it_is_read_is_sent_whole() {
    // Of very different lengths, so that a mixture of two would be noticed.
    let tokens: BTreeSet<String> = (0..8)
        .map(|n| service_account_token(&"x".repeat(1 + n * 5_000), HOUR))
        .collect();
    let mut subject = Subject::new();
    subject.project(tokens.first().unwrap());
    let is_done = Arc::new(AtomicBool::new(false));
    let kubelet = std::thread::spawn({
        let (path, tokens, is_done) = (subject.path.clone(), tokens.clone(), is_done.clone());
        move || {
            for token in tokens
                .iter()
                .cycle()
                .take_while(|_| !is_done.load(Ordering::SeqCst))
            {
                project(&path, token);
            }
        }
    });
    let mut sent = BTreeSet::new();
    let mut requests = 0;
    // More than 200 only if the other thread has not run by then.
    while requests < 200 || sent.len() < 2 {
        sent.insert(subject.sent_assertion().await);
        requests += 1;
    }
    is_done.store(true, Ordering::SeqCst);
    kubelet.join().unwrap();
    assert!(sent.is_subset(&tokens), "a mixture was sent");
}

#[track_caller]
fn replace_volume_with_a_file(path: &Path) {
    fs::remove_dir(path.parent().unwrap()).unwrap();
    fs::write(path.parent().unwrap(), "planted").unwrap();
}

/// * `spoil`: creates the invalid file.
/// * `why`: a part of the error message.
async fn assert_error_until_repaired(name: &str, spoil: impl FnOnce(&Path), why: &str) {
    let mut subject = Subject::new();
    spoil(&subject.path);
    let outcome = subject.credential.token(&[VAULT]).await;
    // Releases a reader that waits on a FIFO, so that a failed test does not hang.
    drop(fs::File::options().read(true).write(true).open(&subject.path));
    let error = subject.error(outcome).await;
    assert!(error.to_string().contains(why), "{name}: {error}");

    subject.clear_volume();
    let token = service_account_token("repaired", HOUR);
    subject.project(&token);
    assert_eq!(subject.sent_assertion().await, token, "{name}");
}

/// A credential with an empty token volume.
struct Subject {
    folder: tempfile::TempDir,
    path: PathBuf,
    credential: Arc<WorkloadIdentityCredential>,
    clock: TestClock,
    endpoint: FakeEndpoint,
}

impl Subject {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("volume").join("azure-identity-token");
        let ((transport, endpoint), clock) = (fake_endpoint(), TestClock::stopped());
        let credential = WorkloadIdentityCredential::builder()
            .environment(environment(&path))
            .transport(transport)
            .clock(clock.clone())
            .build()
            .unwrap();
        fs::create_dir(folder.path().join("volume")).unwrap();
        Self {
            folder,
            path,
            credential,
            clock,
            endpoint,
        }
    }

    fn project(&self, content: &str) {
        project(&self.path, content);
    }

    fn clear_volume(&self) {
        let volume = self.folder.path().join("volume");
        match fs::metadata(&volume) {
            Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(&volume).unwrap(),
            Ok(_) => fs::remove_file(&volume).unwrap(),
            Err(_) => {}
        }
        fs::create_dir(volume).unwrap();
    }

    /// Returns the assertion of the next token request, and clears the cache afterwards.
    async fn sent_assertion(&mut self) -> String {
        let credential = self.credential.clone();
        let mut call = tokio::spawn(async move { credential.token(&[VAULT]).await });
        let request = tokio::select! {
            request = self.endpoint.request() => request,
            outcome = &mut call => panic!("no request was sent: {outcome:?}"),
        };
        let assertion = request.form["client_assertion"].clone();
        request.grant("planted-token", 3600);
        call.await.unwrap().unwrap();
        Credential::clear(&*self.credential);
        assertion
    }

    /// Returns the error of a call that sent no request.
    async fn error(&mut self, outcome: Result<AccessToken, Error>) -> Error {
        let error = outcome.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Assertion, "{error:?}");
        assert!(error.to_string().contains(self.path.to_str().unwrap()), "{error}");
        assert!(!error.is_transient(), "{error:?}");
        assert_no_secret(&error);
        self.endpoint.assert_no_request().await;
        error
    }
}

/// Replaces the token file atomically, as the kubelet does.
fn project(path: &Path, content: &str) {
    let next = path.with_extension("next");
    fs::write(&next, content).unwrap();
    fs::rename(next, path).unwrap();
}

const HOUR: Duration = Duration::from_secs(3600);
