use std::cell::RefCell;
use std::collections::{BTreeSet, HashSet};
use std::error::Error as StdError;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;
use std::{io, iter};

use entra_workload::builder::WorkloadIdentityCredentialBuilder;
use entra_workload::transport::HttpTransport;
use entra_workload::{AccessToken, Credential, Environment, Error, TokenRequest, WorkloadIdentityCredential};
use entra_workload_emulator::{Emulator, Endpoint, Fault, Pod};
use http::Response;
use tokio::sync::MutexGuard;

use crate::support::clock::TestClock;
use crate::support::identifiers::{CLIENT_ID, NO_METADATA_SERVICE, VAULT};

/// A pod with a credential, and all that a test learns and shows of its secrets.
pub struct LeakCheck {
    pub emulator: Emulator,
    pub pod: Pod,
    pub clock: TestClock,
    pub credential: Arc<WorkloadIdentityCredential>,
    /// Access tokens, keys and other secrets that the emulator's requests do not show.
    known_secrets: RefCell<BTreeSet<String>>,
    shown: Vec<String>,
    log: CapturedLog,
}

impl LeakCheck {
    pub async fn start() -> Self {
        let log = CapturedLog::start().await;
        let clock = TestClock::stopped();
        let emulator = Emulator::builder().clock(clock.wall_time());
        let mut shown = vec![format!("{emulator:?}")];
        let emulator = emulator.start().await.unwrap();
        let pod = emulator.pod("shop", "orders").unwrap();
        let client_secret = [("AZURE_CLIENT_SECRET", CLIENT_SECRET.to_owned())];
        let environment: Environment = pod.variables().into_iter().chain(client_secret).collect();
        shown.push(format!("{environment:?}"));
        let builder = builder(&emulator, &pod, &clock).environment(environment);
        shown.push(format!("{builder:?}"));
        Self {
            credential: builder.build().unwrap(),
            emulator,
            pod,
            clock,
            known_secrets: RefCell::default(),
            shown,
            log,
        }
    }

    /// A builder of credentials like that of the pod.
    pub fn builder(&self) -> WorkloadIdentityCredentialBuilder {
        builder(&self.emulator, &self.pod, &self.clock)
    }

    /// A transport that trusts only the emulator's certificates.
    pub fn transport(&self) -> HttpTransport {
        transport(&self.emulator)
    }

    /// The environment of an application in the emulator's tenant, with more variables.
    pub fn application(&self, more: &[(&str, &str)]) -> Environment {
        let application = [
            ("AZURE_AUTHORITY_HOST", self.emulator.authority_host()),
            ("AZURE_TENANT_ID", self.emulator.entra().tenant_id()),
            ("AZURE_CLIENT_ID", CLIENT_ID),
            NO_METADATA_SERVICE,
        ];
        application.iter().chain(more).copied().collect()
    }

    /// The environment of the pod, on a machine without a metadata service.
    pub fn pod_environment(&self) -> Environment {
        let (name, value) = NO_METADATA_SERVICE;
        let variables = self.pod.variables().into_iter();
        variables.chain([(name, value.to_owned())]).collect()
    }

    /// The environment of a machine with a metadata service.
    pub fn machine(&self) -> Environment {
        Environment::from_iter([("AZURE_POD_IDENTITY_AUTHORITY_HOST", self.emulator.imds_url())])
    }

    pub async fn token(&self) -> AccessToken {
        let token = self.credential.token(&[VAULT]).await.unwrap();
        self.add_secret(token.secret());
        token
    }

    pub async fn wait_until(&self, condition: impl AsyncFn(&Self) -> bool) {
        let wait = async {
            while !condition(self).await {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(MINUTE, wait)
            .await
            .expect("the condition is never met");
    }

    pub fn add_secret(&self, secret: &str) {
        self.known_secrets.borrow_mut().insert(secret.to_owned());
    }

    pub fn show(&mut self, part: &dyn Debug) {
        self.show_text(format!("{part:?}"));
    }

    pub fn show_text(&mut self, text: String) {
        self.shown.push(text);
    }

    /// Gets a token from `credential`, and shows both.
    pub async fn show_token(&mut self, credential: &dyn Credential) -> AccessToken {
        let token = credential.token_for(&TokenRequest::new(&[VAULT])).await.unwrap();
        self.add_secret(token.secret());
        self.show(&credential);
        self.show(&token);
        token
    }

    /// Gets an error from `credential`, and shows both.
    pub async fn show_failure(&mut self, credential: &dyn Credential) {
        let error = credential.token_for(&TokenRequest::new(&[VAULT])).await;
        self.show_error(&error.unwrap_err());
        self.show(&credential);
    }

    /// Shows an error and those of its attempts, all with their sources.
    pub fn show_error(&mut self, error: &Error) {
        self.show_sources(error);
        for attempt in error.attempts() {
            self.show_sources(attempt.error());
        }
    }

    pub fn show_sources(&mut self, error: &(dyn StdError + 'static)) {
        let errors = iter::successors(Some(error), |error| (**error).source());
        self.shown
            .extend(errors.map(|error| format!("{error} {error:?}")));
    }

    /// Shows the failures of credentials whose endpoint puts each of the `echoes` into each part of
    /// its responses.
    ///
    /// No server has reason to write a secret into a response, but nothing prevents it.
    pub async fn show_echoes<C: Credential>(
        &mut self,
        endpoint: Endpoint,
        echoes: &[&str],
        build: impl Fn(&Self) -> Arc<C>,
    ) {
        for echo in echoes {
            for (status, body) in [
                (302, String::new()),
                (403, format!("<html>{echo}</html>")),
                (
                    400,
                    format!(r#"{{"error":"{echo}","trace_id":"{echo}","correlation_id":"{echo}"}}"#),
                ),
                (
                    400,
                    format!(r#"{{"error":"e","error_codes":["{echo}"],"error_description":"no: '{echo}'"}}"#),
                ),
                (
                    200,
                    format!(r#"{{"token_type":"{echo}","expires_in":9,"access_token":"{echo}"}}"#),
                ),
                (
                    200,
                    format!(r#"{{"expires_in":"{echo}","access_token":"{echo}"}}"#),
                ),
                (200, format!(r#"{{"expires_in":9,"access_token":"{echo} "}}"#)),
                (200, format!(r#"{{"expires_in":9,"access_token":"{echo}"#)),
                (
                    200,
                    format!(r#"{{"expires_on":"{echo}","access_token":"{echo}"}}"#),
                ),
                (200, format!(r#""{echo}""#)),
            ] {
                let reply = Response::builder()
                    .status(status)
                    .header("location", format!("https://login.example.com/{echo}"))
                    .header("retry-after", *echo)
                    .header("x-ms-request-id", *echo);
                let fault = Fault::reply(reply.body(body.into()).unwrap());
                self.show(&fault);
                self.emulator.inject(endpoint, fault);
                let credential = build(self);
                self.show_failure(&*credential).await;
            }
        }
    }

    /// Checks that no piece of a secret was logged or shown.
    ///
    /// * `logged`: what must be in the log, or the check would prove nothing.
    #[track_caller]
    pub fn finish<const N: usize>(self, logged: [&str; N]) {
        let (secrets, log) = (self.secrets(), self.log.take());
        let pieces = pieces(&secrets);
        assert_eq!(find_piece(&log, &pieces), None, "in the log");
        for text in &self.shown {
            assert_eq!(find_piece(text, &pieces), None, "{text}");
        }
        for part in logged {
            assert!(log.contains(part), "{part:?} was not logged");
        }
        // A secret in the log would have been found.
        for secret in &secrets {
            let piece = secret.get(secret.len() - PIECE..).unwrap();
            tracing::trace!(target: "somewhere::deep", field = ?Some(piece), "planted");
            assert_eq!(find_piece(&self.log.take(), &pieces), Some(piece));
        }
    }

    /// The tokens and assertions that the emulator received, the known secrets, and those that the
    /// tests plant.
    fn secrets(&self) -> BTreeSet<String> {
        let requests = self.emulator.requests();
        let headers = requests
            .iter()
            .filter_map(|request| request.header("authorization"));
        let bearers = headers.map(|header| header.trim_start_matches("Bearer ").to_owned());
        let assertions = requests
            .iter()
            .filter_map(|request| request.form("client_assertion"));
        let planted = PLANTED.map(str::to_owned).into_iter();
        let mut secrets = self.known_secrets.borrow().clone();
        secrets.extend(bearers.chain(assertions).chain(planted));
        secrets
    }
}

fn builder(emulator: &Emulator, pod: &Pod, clock: &TestClock) -> WorkloadIdentityCredentialBuilder {
    WorkloadIdentityCredential::builder()
        .environment(Environment::from_iter(pod.variables()))
        .transport(transport(emulator))
        .clock(clock.clone())
}

fn transport(emulator: &Emulator) -> HttpTransport {
    HttpTransport::with_root_certificates(emulator.ca_certificate_pem().as_bytes()).unwrap()
}

/// All sequences of [`PIECE`] characters in the secrets.
fn pieces(secrets: &BTreeSet<String>) -> HashSet<&[u8]> {
    secrets
        .iter()
        .flat_map(|secret| secret.as_bytes().windows(PIECE))
        .collect()
}

/// Returns the first of the pieces in `text`.
fn find_piece<'a>(text: &'a str, pieces: &HashSet<&[u8]>) -> Option<&'a str> {
    let start = text
        .as_bytes()
        .windows(PIECE)
        .position(|piece| pieces.contains(piece))?;
    text.get(start..start + PIECE)
}

/// What all crates log at every level, on all threads. The log belongs to the process, so tests
/// take turns.
pub struct CapturedLog {
    lines: Lines,
    _turn: MutexGuard<'static, ()>,
}

impl CapturedLog {
    pub async fn start() -> Self {
        static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
        static LINES: OnceLock<Lines> = OnceLock::new();
        let turn = TURN.lock().await;
        let lines = LINES.get_or_init(|| {
            let lines = Lines::default();
            let writer = lines.clone();
            tracing_subscriber::fmt()
                .with_max_level(tracing::Level::TRACE)
                .with_ansi(false)
                .with_writer(move || writer.clone())
                .init();
            lines
        });
        let log = Self {
            lines: lines.clone(),
            _turn: turn,
        };
        log.take();
        log
    }

    pub fn take(&self) -> String {
        String::from_utf8(std::mem::take(&mut *self.lines.0.lock().unwrap())).unwrap()
    }
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub const CLIENT_SECRET: &str = "planted-client-secret";

pub const WRONG_CLIENT_SECRET: &str = "planted-wrong-secret";

pub const CERTIFICATE_PASSWORD: &str = "planted-certificate-password";

pub const KEY_VAULT_SECRET: &str = "planted-vault-secret";

pub const TOKEN_FILE_TEXT: &str = "planted-file-secret";

const PLANTED: [&str; 5] = [
    CLIENT_SECRET,
    WRONG_CLIENT_SECRET,
    CERTIFICATE_PASSWORD,
    KEY_VAULT_SECRET,
    TOKEN_FILE_TEXT,
];

/// Short enough to find the rest of a token that was cut or split into lines, too long to occur by
/// chance.
const PIECE: usize = 16;

const MINUTE: Duration = Duration::from_secs(60);
