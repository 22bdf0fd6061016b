//! Everything that can be wrong with the file of the service-account token: nothing is sent, the error names the path and
//! never the content, and the next call works as soon as the file is good.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "tests"
)]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use entra_workload::{AccessToken, Credential, Error, ErrorKind, WorkloadIdentityCredential};

use support::{Endpoint, MovableClock, VAULT, environment, is_safe, pair, service_account_token};

#[tokio::test]
async fn content_that_is_no_token_is_refused() {
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
            "a padded token",
            format!("{whole}{}", " ".repeat(65_536)).into(),
            "is longer than 64 KiB",
        ),
        ("a text", b"planted".into(), "does not hold a JWT"),
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
        is_refused_until_mended(name, |path| fs::write(path, content).unwrap(), why).await;
    }
}

#[tokio::test]
async fn a_path_without_a_file_is_refused() {
    is_refused_until_mended("missing", |_| {}, "does not exist").await;
    let without_volume = |path: &Path| fs::remove_dir(path.parent().unwrap()).unwrap();
    is_refused_until_mended("volume missing", without_volume, "does not exist").await;
}

#[cfg(unix)]
#[tokio::test]
async fn a_path_without_a_readable_file_is_refused() {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    let rows: [(_, fn(&Path), _); 7] = [
        (
            "a directory",
            |path| fs::create_dir(path).unwrap(),
            "is a directory",
        ),
        (
            "volume a file",
            put_a_file_in_place_of_the_volume,
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
                    // Modes mean nothing to root, but this does.
                    fs::remove_file(path).unwrap();
                    put_a_file_in_place_of_the_volume(path);
                }
            },
            "be read",
        ),
    ];
    for (name, spoil, why) in rows {
        is_refused_until_mended(name, spoil, why).await;
    }
}

#[tokio::test]
async fn what_surrounds_the_token_is_not_sent() {
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
        assert_eq!(subject.sent().await, token, "{content:?}");
    }
}

#[tokio::test]
async fn the_last_token_serves_while_the_file_is_gone_and_not_beyond_its_own_expiry() {
    let mut subject = Subject::new();
    let first = service_account_token("first", HOUR);
    subject.project(&first);
    assert_eq!(subject.sent().await, first);
    fs::remove_file(&subject.path).unwrap();
    subject.clock.advance(HOUR / 2);
    assert_eq!(subject.sent().await, first);

    subject.clock.advance(HOUR);
    let outcome = subject.credential.token(&[VAULT]).await;
    let error = subject.error(outcome).await;
    assert!(error.to_string().contains("does not exist"), "{error}");

    let next = service_account_token("next", HOUR * 2);
    subject.project(&next);
    assert_eq!(subject.sent().await, next);
}

#[tokio::test]
async fn a_token_that_has_expired_in_its_file_is_not_sent() {
    let mut subject = Subject::new();
    subject.project(&service_account_token("first", HOUR));
    subject.sent().await;
    subject.clock.advance(HOUR * 2);
    let outcome = subject.credential.token(&[VAULT]).await;
    let error = subject.error(outcome).await;
    assert!(error.to_string().contains("holds an expired token"), "{error}");

    let next = service_account_token("next", HOUR * 3);
    subject.project(&next);
    assert_eq!(subject.sent().await, next);
}

#[tokio::test]
async fn a_token_that_is_swapped_while_it_is_read_is_sent_whole() {
    // Of very different lengths, so that a mixture of two would not go unnoticed.
    let tokens: BTreeSet<String> = (0..8)
        .map(|n| service_account_token(&"x".repeat(1 + n * 5_000), HOUR))
        .collect();
    let mut subject = Subject::new();
    subject.project(tokens.first().unwrap());
    let is_over = Arc::new(AtomicBool::new(false));
    let kubelet = std::thread::spawn({
        let (path, tokens, is_over) = (subject.path.clone(), tokens.clone(), is_over.clone());
        move || {
            for token in tokens
                .iter()
                .cycle()
                .take_while(|_| !is_over.load(Ordering::SeqCst))
            {
                project(&path, token);
            }
        }
    });
    let mut sent = BTreeSet::new();
    let mut exchanges = 0;
    // More than 200 only if the other thread has not had its turn by then.
    while exchanges < 200 || sent.len() < 2 {
        sent.insert(subject.sent().await);
        exchanges += 1;
    }
    is_over.store(true, Ordering::SeqCst);
    kubelet.join().unwrap();
    assert!(sent.is_subset(&tokens), "a mixture was sent");
}

#[track_caller]
fn put_a_file_in_place_of_the_volume(path: &Path) {
    fs::remove_dir(path.parent().unwrap()).unwrap();
    fs::write(path.parent().unwrap(), "planted").unwrap();
}

/// * `spoil`: does to the file, which does not exist yet, what a row is about.
/// * `why`: what the error says about it.
async fn is_refused_until_mended(name: &str, spoil: impl FnOnce(&Path), why: &str) {
    let mut subject = Subject::new();
    spoil(&subject.path);
    let outcome = subject.credential.token(&[VAULT]).await;
    // Lets a reader go who waits on a FIFO: a test that fails should not hang.
    drop(fs::File::options().read(true).write(true).open(&subject.path));
    let error = subject.error(outcome).await;
    assert!(error.to_string().contains(why), "{name}: {error}");

    subject.clear_the_volume();
    let token = service_account_token("mended", HOUR);
    subject.project(&token);
    assert_eq!(subject.sent().await, token, "{name}");
}

/// A credential whose token is to be in a volume that is empty at first.
struct Subject {
    folder: tempfile::TempDir,
    path: PathBuf,
    credential: Arc<WorkloadIdentityCredential>,
    clock: MovableClock,
    endpoint: Endpoint,
}

impl Subject {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("volume").join("azure-identity-token");
        let ((transport, endpoint), clock) = (pair(), MovableClock::new());
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

    fn clear_the_volume(&self) {
        let volume = self.folder.path().join("volume");
        match fs::metadata(&volume) {
            Ok(it) if it.is_dir() => fs::remove_dir_all(&volume).unwrap(),
            Ok(_) => fs::remove_file(&volume).unwrap(),
            Err(_) => {}
        }
        fs::create_dir(volume).unwrap();
    }

    /// The assertion that the next exchange sends; its token is forgotten, so that one more follows.
    async fn sent(&mut self) -> String {
        let credential = self.credential.clone();
        let mut call = tokio::spawn(async move { credential.token(&[VAULT]).await });
        let request = tokio::select! {
            request = self.endpoint.request() => request,
            outcome = &mut call => panic!("nothing was sent: {outcome:?}"),
        };
        let assertion = request.form["client_assertion"].clone();
        request.grant("planted-token", 3600);
        call.await.unwrap().unwrap();
        Credential::clear(&*self.credential);
        assertion
    }

    /// The error of a call for which nothing was sent.
    async fn error(&mut self, outcome: Result<AccessToken, Error>) -> Error {
        let error = outcome.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Assertion, "{error:?}");
        assert!(error.to_string().contains(self.path.to_str().unwrap()), "{error}");
        assert!(!error.is_transient(), "{error:?}");
        is_safe(&error);
        self.endpoint.is_idle().await;
        error
    }
}

/// Puts a file in place by a rename, as the kubelet does.
fn project(path: &Path, content: &str) {
    let next = path.with_extension("next");
    fs::write(&next, content).unwrap();
    fs::rename(next, path).unwrap();
}

const HOUR: Duration = Duration::from_secs(3600);
