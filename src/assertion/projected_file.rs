use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;

use super::bounded_file;
use super::jwt::Claims;
use super::{AssertionRequest, ClientAssertion};
use crate::blocking;
use crate::clock::{Clock, SystemClock};
use crate::error::Error;
use crate::token::Secret;

/// The service-account token that the kubelet projects into a pod, as a source of assertions.
///
/// The file is read anew for each request, off the runtime's threads: the kubelet replaces it by a symlink swap, so that
/// a reader sees the old token or the new one and never half of one, and a read costs microseconds. Surrounding white
/// space and a byte order mark are dropped. A token past its `exp` is never handed out. If the file cannot be read while the
/// token that was read last is still valid, that one serves, and a warning is logged.
///
/// # Errors
///
/// [`ErrorKind::Assertion`](crate::ErrorKind::Assertion), with the path and never the content: the file is missing, empty,
/// longer than 64 KiB, not a regular file, not readable for this user, not UTF-8, not a JWT, expired, or not yet valid.
///
/// # Examples
///
/// ```no_run
/// use entra_workload::{ClientAssertionCredential, ProjectedTokenFile};
///
/// let credential = ClientAssertionCredential::builder()
///     .tenant_id("72f988bf-86f1-41af-91ab-2d7cd011db47")
///     .client_id("7a5ff21b-4f5b-4f5b-9e3e-2c0b5a1d9a10")
///     .assertion(ProjectedTokenFile::new("/var/run/secrets/tokens/azure"))
///     .build()?;
/// # Ok::<(), entra_workload::Error>(())
/// ```
///
/// Source of the file's ways: Kubernetes, "Configure Service Accounts for Pods", section "Launch a Pod using service
/// account token projection".
#[derive(Debug)]
pub struct ProjectedTokenFile {
    path: PathBuf,
    clock: Arc<dyn Clock>,
    last: Mutex<Option<Token>>,
}

impl ProjectedTokenFile {
    /// The file at `path`, which need not exist yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self::with_clock(path, Arc::new(SystemClock::new()))
    }

    pub(crate) fn with_clock(path: impl Into<PathBuf>, clock: Arc<dyn Clock>) -> Self {
        Self {
            path: path.into(),
            clock,
            last: Mutex::new(None),
        }
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
        let path = self.path.clone();
        let now = self.clock.now().system_time;
        match blocking::run(move || read_token(&path, now)).await {
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

/// Reads and checks the token in `path`; blocks.
fn read_token(path: &Path, now: SystemTime) -> Result<Token, Error> {
    let wrong = |what: &str| Error::assertion(format!("the token file {} {what}", path.display()));
    let bytes = bounded_file::read(path, MAX_FILE).map_err(|error| {
        wrong(match error.kind() {
            io::ErrorKind::NotFound => {
                "does not exist; is the volume mounted, and did the webhook see the pod's label \
                 azure.workload.identity/use: \"true\"?"
            }
            io::ErrorKind::PermissionDenied => {
                "may not be read by this user; set fsGroup in the pod's securityContext"
            }
            io::ErrorKind::IsADirectory => "is a directory; name the file in it",
            io::ErrorKind::InvalidInput => "is not a regular file",
            io::ErrorKind::FileTooLarge => "is longer than 64 KiB: this is no service-account token",
            _ => "cannot be read",
        })
        .with_source(error)
    })?;
    let text = std::str::from_utf8(&bytes).map_err(|_| wrong("is not UTF-8: this is no token"))?;
    let jwt = text.trim_start_matches('\u{feff}').trim();
    if jwt.is_empty() {
        return Err(wrong("is empty; the kubelet has not written the token yet"));
    }
    let claims = Claims::read(jwt).map_err(|error| wrong("does not hold a JWT").with_source(error))?;
    if claims.expires_on.is_some_and(|expires_on| expires_on <= now) {
        return Err(wrong(
            "holds an expired token; the kubelet replaces it in time unless it is mounted with subPath, copied, or \
             this machine's clock is wrong",
        ));
    }
    if claims
        .not_before
        .is_some_and(|not_before| now + CLOCK_SKEW < not_before)
    {
        return Err(wrong(
            "holds a token that is not valid yet; is this machine's clock slow?",
        ));
    }
    Ok(Token {
        secret: Secret::from(jwt),
        expires_on: claims.expires_on,
    })
}

/// A Kubernetes token is one to two kilobytes; a megabyte is a mistake, and Entra would refuse it.
const MAX_FILE: usize = 64 * 1024;

/// Entra's own tolerance for clocks that disagree: `nbf` is set by the API server's clock and read by the node's.
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

    /// What is in the file, and what the error says; time is 1,000,000.
    #[test]
    fn every_unusable_file_is_named_and_explained() {
        let dir = tempfile::tempdir().unwrap();
        let bad: [(&str, Vec<u8>, &str); 9] = [
            ("empty", vec![], "is empty"),
            ("white", b" \r\n\t\n".to_vec(), "is empty"),
            ("bom", "\u{feff}".into(), "is empty"),
            ("binary", vec![0xff, 0x00, 0x80], "is not UTF-8"),
            ("long", vec![b'a'; 1_000_000], "is longer than 64 KiB"),
            ("text", b"hello".to_vec(), "does not hold a JWT"),
            ("cut", jwt("{}").as_bytes()[..20].to_vec(), "does not hold a JWT"),
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
            let error = read_token(&path, at(1_000_000)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Assertion, "{name}");
            assert!(error.to_string().contains(why), "{name}: {error}");
            assert!(
                error.to_string().contains(path.to_str().unwrap()),
                "{name}: {error}"
            );
            assert!(!format!("{error:?}").contains("planted"), "{name}: {error:?}");
        }
        let missing = read_token(&dir.path().join("missing"), at(0)).unwrap_err();
        assert!(missing.to_string().contains("does not exist"), "{missing}");
        let directory = read_token(dir.path(), at(0)).unwrap_err();
        assert!(directory.to_string().contains("is a directory"), "{directory}");
    }

    #[test]
    fn white_space_and_a_byte_order_mark_are_dropped() {
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
                read_token(&path, at(1_000_000)).unwrap().secret.expose(),
                token,
                "{content:?}"
            );
        }
    }

    #[test]
    fn a_file_of_64_kib_is_read_and_a_longer_one_is_not() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let token = jwt("{}");
        let long = token.clone() + &" ".repeat(64 * 1024 - token.len());
        std::fs::write(file.path(), &long).unwrap();
        assert_eq!(read_token(file.path(), at(0)).unwrap().secret.expose(), token);
        std::fs::write(file.path(), long + " ").unwrap();
        let error = read_token(file.path(), at(0)).unwrap_err();
        assert!(error.to_string().contains("is longer than 64 KiB"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn a_fifo_that_nobody_writes_is_refused_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("fifo");
        assert!(
            std::process::Command::new("mkfifo")
                .arg(&path)
                .status()
                .unwrap()
                .success()
        );
        let error = read_token(&path, at(0)).unwrap_err();
        assert!(error.to_string().contains("is not a regular file"), "{error}");
    }

    #[tokio::test]
    async fn the_last_valid_token_serves_while_the_file_cannot_be_read() {
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
        let request = AssertionRequest::new("client", &http::Uri::from_static("https://login/t"));

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

    #[test]
    fn the_last_token_serves_until_its_expiry_and_not_at_it() {
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
        fn any_content_is_read_or_refused_and_never_shown(
            before in proptest::collection::vec(any::<u8>(), 0..40),
            after in proptest::collection::vec(any::<u8>(), 0..40),
        ) {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), [&before[..], b"planted", &after[..]].concat()).unwrap();
            if let Err(error) = read_token(file.path(), at(0)) {
                prop_assert_eq!(error.kind(), ErrorKind::Assertion);
                let shown = format!("{error} {error:?}");
                prop_assert!(!shown.contains("planted"), "{}", shown);
            }
        }
    }
}
