use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;

use super::jwt::Claims;
use super::{AssertionRequest, ClientAssertion};
use crate::blocking::{NO_THREAD, Shared};
use crate::bounded_file::FileReader;
use crate::clock::{Clock, SystemClock};
use crate::code::Code;
use crate::env::External;
use crate::error::Error;
use crate::token::Secret;

/// A source of client assertions that reads the service-account token which the kubelet projects
/// into a pod.
///
/// * The file is read for each token request, off the runtime's threads. The kubelet replaces it
///   with a symlink swap, so a reader gets the old token or the new one, complete.
/// * Surrounding white space and a byte order mark are ignored.
/// * A token past its `exp` is never returned.
/// * If the file cannot be read, or not within 2 s, while the last token is still valid, that token is
///   used and a warning is logged.
///
/// See [Configure Service Accounts for Pods] in the Kubernetes documentation.
///
/// [Configure Service Accounts for Pods]: https://kubernetes.io/docs/tasks/configure-pod-container/configure-service-account/
///
/// # Errors
///
/// [`ErrorKind::Assertion`](crate::ErrorKind::Assertion) if the file is missing, empty, longer than
/// 64 KiB, not a regular file, not readable by this user, not UTF-8, not a JWT, or if the token is
/// expired or not yet valid. The message has the path and never the content.
///
/// # Examples
///
/// ```no_run
/// use entra_workload::ClientAssertionCredential;
/// use entra_workload::assertion::ProjectedTokenFile;
///
/// let credential = ClientAssertionCredential::builder()
///     .tenant_id("72f988bf-86f1-41af-91ab-2d7cd011db47")
///     .client_id("7a5ff21b-4f5b-4f5b-9e3e-2c0b5a1d9a10")
///     .assertion(ProjectedTokenFile::new("/var/run/secrets/tokens/azure"))
///     .build()?;
/// # Ok::<(), entra_workload::Error>(())
/// ```
#[derive(Debug)]
pub struct ProjectedTokenFile {
    path: External,
    file_reader: FileReader,
    clock: Arc<dyn Clock>,
    reading: Shared<Result<Token, Error>>,
    last: Mutex<Option<Token>>,
}

impl ProjectedTokenFile {
    /// Creates a source that reads the file at `path`, which need not exist yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self::with_clock(External::path(path.into()), Arc::new(SystemClock::new()))
    }

    pub(crate) fn with_clock(path: External, clock: Arc<dyn Clock>) -> Self {
        Self {
            path,
            file_reader: FileReader::default(),
            clock,
            reading: Shared::default(),
            last: Mutex::new(None),
        }
    }

    pub(crate) fn with_file_reader(mut self, file_reader: FileReader) -> Self {
        self.file_reader = file_reader;
        self
    }

    fn last_valid(&self, now: SystemTime) -> Option<Token> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.clone()
            .filter(|token| token.expires_on.is_none_or(|expires_on| now < expires_on))
    }
}

#[async_trait]
impl ClientAssertion for ProjectedTokenFile {
    async fn assertion(&self, _request: AssertionRequest) -> Result<Secret, Error> {
        let (path, file_reader) = (self.path.clone(), self.file_reader.clone());
        let now = self.clock.now().system_time;
        let read = self
            .reading
            .read(move || read_token(&path, &file_reader, now))
            .await;
        match read.unwrap_or_else(|error| Err(unreadable(&self.path, error))) {
            Ok(token) => {
                *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(token.clone());
                Ok(token.secret)
            }
            Err(error) => {
                let last = self.last_valid(now).ok_or_else(|| error.clone())?;
                tracing::warn!(%error, "service-account token unreadable; using the last one");
                Ok(last.secret)
            }
        }
    }
}

#[derive(Clone, Debug)]
struct Token {
    secret: Secret,
    expires_on: Option<SystemTime>,
}

/// Reads and checks the token in `path`. Blocks on the file system.
fn read_token(path: &External, file_reader: &FileReader, now: SystemTime) -> Result<Token, Error> {
    if let Some(problem) = path.misplaced_content() {
        let message = format!("the path of the token file {problem}");
        return Err(Error::assertion(message).with_code(Code::NOT_A_TOKEN));
    }
    let unusable = |code, what: &str| unusable(path, code, what);
    let bytes = file_reader.read(path.as_path(), MAX_FILE);
    let bytes = bytes.map_err(|error| unreadable(path, error))?;
    let text = std::str::from_utf8(&bytes)
        .map_err(|_| unusable(Code::NOT_A_TOKEN, "is not UTF-8, so it is not a token"))?;
    let jwt = text.trim_start_matches('\u{feff}').trim();
    if jwt.is_empty() {
        return Err(unusable(
            Code::EMPTY_TOKEN_FILE,
            "is empty; the kubelet has not written the token yet",
        ));
    }
    let claims = Claims::read(jwt).map_err(|reason| {
        let what =
            format!("does not hold a JWT: {reason}; use the path of a projected service-account token");
        unusable(Code::NOT_A_TOKEN, &what)
    })?;
    if claims.expires_on.is_some_and(|expires_on| expires_on <= now) {
        return Err(unusable(
            Code::EXPIRED_TOKEN,
            "holds an expired token; the kubelet replaces it in time unless it is mounted with subPath, is a copy, \
             or this machine's clock is wrong",
        ));
    }
    if claims
        .not_before
        .is_some_and(|not_before| now + CLOCK_SKEW < not_before)
    {
        return Err(unusable(
            Code::EARLY_TOKEN,
            "holds a token that is not valid yet; check whether this machine's clock is slow",
        ));
    }
    Ok(Token {
        secret: Secret::from(jwt),
        expires_on: claims.expires_on,
    })
}

fn unreadable(path: &External, error: io::Error) -> Error {
    let (code, what) = match error.kind() {
        io::ErrorKind::NotFound => (
            Code::NO_TOKEN_FILE,
            "does not exist; check that the volume is mounted, and that the pod had the label \
             azure.workload.identity/use: \"true\" when it was created",
        ),
        io::ErrorKind::PermissionDenied => (
            Code::UNREADABLE_TOKEN_FILE,
            "cannot be read by this user; set fsGroup in the pod's securityContext",
        ),
        io::ErrorKind::IsADirectory => (
            Code::NOT_A_TOKEN,
            "is a directory; set the path of the file in it",
        ),
        io::ErrorKind::InvalidInput => (Code::NOT_A_TOKEN, "is not a regular file"),
        io::ErrorKind::FileTooLarge => (
            Code::NOT_A_TOKEN,
            "is longer than 64 KiB, so it is not a service-account token",
        ),
        io::ErrorKind::TimedOut => (
            Code::UNREADABLE_TOKEN_FILE,
            "cannot be read in time; check the file system that holds it",
        ),
        NO_THREAD => (
            Code::UNREADABLE_TOKEN_FILE,
            "cannot be read because no thread can be started; raise the limit of processes of the container",
        ),
        _ => (Code::UNREADABLE_TOKEN_FILE, "cannot be read"),
    };
    unusable(path, code, what).with_source(error)
}

fn unusable(path: &External, code: Code, what: &str) -> Error {
    Error::assertion(format!("the token file {path} {what}")).with_code(code)
}

/// A service-account token has one to two kilobytes. Entra would reject anything near this limit.
const MAX_FILE: usize = 64 * 1024;

/// The clock skew that Entra itself tolerates. `nbf` comes from the API server's clock and is
/// compared with the node's.
const CLOCK_SKEW: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use proptest::prelude::*;

    use super::*;
    use crate::error::ErrorKind;

    fn jwt(claims: &str) -> String {
        let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
        format!(
            "{}.{}.{}",
            part(r#"{"alg":"RS256"}"#),
            part(claims),
            part("planted-signature")
        )
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn file_that_no_thread_can_read_is_an_error_of_the_assertion() {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().thread_stack_size(usize::MAX / 4);
        let source = ProjectedTokenFile::new("/nowhere/token");
        let request = AssertionRequest::new("client", &http::Uri::from_static("https://login/t"), "audience");
        let error = runtime
            .build()
            .unwrap()
            .block_on(source.assertion(request))
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Assertion);
        let part = "the token file /nowhere/token cannot be read because no thread can be started;";
        assert!(error.to_string().starts_with(part), "{error}");
    }

    /// File name, content, and a part of the error at the time 1,000,000.
    #[test]
    fn error_names_the_path_and_the_reason_when_the_file_is_unusable() {
        let dir = tempfile::tempdir().unwrap();
        let way_out = "; use the path of a projected service-account token";
        let bad: [(&str, Vec<u8>, &str); 14] = [
            ("empty", vec![], "is empty"),
            ("white", b" \r\n\t\n".to_vec(), "is empty"),
            ("bom", "\u{feff}".into(), "is empty"),
            ("binary", vec![0xff, 0x00, 0x80], "is not UTF-8"),
            ("long", vec![b'a'; 1_000_000], "is longer than 64 KiB"),
            ("text", b"hello".to_vec(), "does not hold a JWT"),
            ("way out", b"hello".to_vec(), way_out),
            ("cut", jwt("{}").as_bytes()[..20].to_vec(), "does not hold a JWT"),
            (
                "json",
                br#"{"accessToken":"planted"}"#.to_vec(),
                "a JWT: it looks like JSON;",
            ),
            (
                "pem",
                b"-----BEGIN PRIVATE KEY-----\nplanted".to_vec(),
                "a JWT: it looks like PEM;",
            ),
            (
                "lines",
                format!("{0}\n{0}", jwt("{}")).into(),
                "a JWT: it contains white space;",
            ),
            (
                "encrypted",
                b"e30.planted.planted.planted.planted".to_vec(),
                "a JWT: it has 5 parts separated by dots in place of 3;",
            ),
            (
                "expired",
                jwt(r#"{"exp":1000000}"#).into(),
                "holds an expired token",
            ),
            ("early", jwt(r#"{"nbf":1000301}"#).into(), "is not valid yet"),
        ];
        for (name, content, why) in bad {
            let path = dir.path().join(name);
            std::fs::write(&path, content).unwrap();
            let error =
                read_token(&External::path(&path), &FileReader::default(), at(1_000_000)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Assertion, "{name}");
            assert!(error.to_string().contains(why), "{name}: {error}");
            assert!(
                error.to_string().contains(path.to_str().unwrap()),
                "{name}: {error}"
            );
            assert!(!format!("{error:?}").contains("planted"), "{name}: {error:?}");
        }
        let missing = read_token(
            &External::path(dir.path().join("missing")),
            &FileReader::default(),
            at(0),
        )
        .unwrap_err();
        assert!(missing.to_string().contains("does not exist"), "{missing}");
        let directory = read_token(&External::path(dir.path()), &FileReader::default(), at(0)).unwrap_err();
        assert!(directory.to_string().contains("is a directory"), "{directory}");
    }

    #[test]
    fn white_space_and_byte_order_mark_around_the_token_are_ignored() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        let token = jwt(r#"{"exp":1000001,"nbf":1000300}"#);
        for content in [
            token.clone(),
            format!("{token}\n"),
            format!("\u{feff}{token}\r\n"),
            format!("  {token} "),
        ] {
            std::fs::write(&path, &content).unwrap();
            assert_eq!(
                read_token(&External::path(&path), &FileReader::default(), at(1_000_000))
                    .unwrap()
                    .secret
                    .expose(),
                token,
                "{content:?}"
            );
        }
    }

    #[test]
    fn file_is_rejected_when_it_is_longer_than_64_kib() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let token = jwt("{}");
        let long = token.clone() + &" ".repeat(64 * 1024 - token.len());
        std::fs::write(file.path(), &long).unwrap();
        assert_eq!(
            read_token(&External::path(file.path()), &FileReader::default(), at(0))
                .unwrap()
                .secret
                .expose(),
            token
        );
        std::fs::write(file.path(), long + " ").unwrap();
        let error = read_token(&External::path(file.path()), &FileReader::default(), at(0)).unwrap_err();
        assert!(error.to_string().contains("is longer than 64 KiB"), "{error}");
    }

    #[test]
    fn token_or_key_in_place_of_the_path_is_not_shown() {
        for (content, way_out) in [
            (
                jwt(r#"{"sub":"planted"}"#),
                "holds a token; set the path of its file",
            ),
            (
                "-----BEGIN PRIVATE KEY-----\nplanted".to_owned(),
                "holds a private key; set the path of its file",
            ),
            (
                "planted8Q~secret".to_owned(),
                "(not shown: it is not an absolute path)",
            ),
        ] {
            let file = ProjectedTokenFile::new(&content);
            let error = read_token(&file.path, &FileReader::default(), at(0)).unwrap_err();
            assert!(error.to_string().contains(way_out), "{error}");
            for shown in [format!("{error:?}"), format!("{file:?}")] {
                assert!(!shown.contains("planted") && !shown.contains("eyJ"), "{shown}");
            }
        }
    }

    #[cfg(unix)]
    #[test]
    fn fifo_without_a_writer_is_rejected_without_blocking() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("fifo");
        assert!(
            std::process::Command::new("mkfifo")
                .arg(&path)
                .status()
                .unwrap()
                .success()
        );
        let error = read_token(&External::path(&path), &FileReader::default(), at(0)).unwrap_err();
        assert!(error.to_string().contains("is not a regular file"), "{error}");
    }

    #[tokio::test]
    async fn last_valid_token_is_used_while_the_file_is_unreadable() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        let now = SystemClock::new()
            .now()
            .system_time
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap()
            .as_secs();
        let token = jwt(&format!(r#"{{"exp":{}}}"#, now + 3600));
        let file = ProjectedTokenFile::new(&path);
        let request = AssertionRequest::new("client", &http::Uri::from_static("https://login/t"), "audience");

        assert_eq!(
            file.assertion(request.clone()).await.unwrap_err().kind(),
            ErrorKind::Assertion
        );
        std::fs::write(&path, &token).unwrap();
        assert_eq!(file.assertion(request.clone()).await.unwrap().expose(), token);
        std::fs::write(&path, "").unwrap();
        assert_eq!(file.assertion(request.clone()).await.unwrap().expose(), token);
        let newer = jwt(&format!(r#"{{"exp":{}}}"#, now + 7200));
        std::fs::write(&path, &newer).unwrap();
        assert_eq!(file.assertion(request).await.unwrap().expose(), newer);
    }

    #[tokio::test(start_paused = true)]
    async fn last_valid_token_is_used_while_the_file_system_hangs() {
        let file = ProjectedTokenFile::new("token");
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let mut hanging = std::pin::pin!(file.reading.read(move || {
            let _ = ended.recv();
            Err(Error::assertion("the end"))
        }));
        assert!(futures::poll!(&mut hanging).is_pending());
        let request = AssertionRequest::new("client", &http::Uri::from_static("https://login/t"), "audience");
        let assertion = async || {
            let time = tokio::time::advance(Duration::from_secs(2));
            tokio::join!(file.assertion(request.clone()), time).0
        };

        let error = assertion().await.unwrap_err();
        assert_eq!(error.code(), Some(Code::UNREADABLE_TOKEN_FILE));
        assert!(error.to_string().contains("cannot be read in time"), "{error}");
        *file.last.lock().unwrap() = Some(Token {
            secret: Secret::from("planted"),
            expires_on: None,
        });
        assert_eq!(assertion().await.unwrap().expose(), "planted");
        drop(end);
    }

    #[test]
    fn last_token_is_unusable_from_its_expiry_on() {
        let file = ProjectedTokenFile::new("gone");
        *file.last.lock().unwrap() = Some(Token {
            secret: Secret::from("t"),
            expires_on: Some(at(100)),
        });
        assert!(file.last_valid(at(99)).is_some());
        assert!(file.last_valid(at(100)).is_none());
    }

    proptest! {
        #[test]
        fn content_of_the_file_never_appears_in_an_error(
            before in proptest::collection::vec(any::<u8>(), 0..40),
            after in proptest::collection::vec(any::<u8>(), 0..40),
        ) {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), [&before[..], b"planted", &after[..]].concat()).unwrap();
            if let Err(error) = read_token(&External::path(file.path()), &FileReader::default(), at(0)) {
                prop_assert_eq!(error.kind(), ErrorKind::Assertion);
                let shown = format!("{error} {error:?}");
                prop_assert!(!shown.contains("planted"), "{}", shown);
            }
        }
    }
}
