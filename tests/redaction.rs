//! A whole life of a credential, and the good and bad days of all others, with the logs of all crates at `TRACE`: nothing that was
//! logged or can be printed holds a piece of a secret.
#![cfg(feature = "default-credential")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    unreachable_pub,
    reason = "tests"
)]

mod support;

use std::cell::RefCell;
use std::collections::{BTreeSet, HashSet};
use std::error::Error as StdError;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;
use std::{fs, io, iter};

use azure_core::credentials::TokenCredential as _;
use azure_core::http::{Body, ClientOptions, Url};
use azure_security_keyvault_secrets::models::SetSecretParameters;
use azure_security_keyvault_secrets::{SecretClient, SecretClientOptions};
use azure_storage_blob::{BlobContainerClient, BlobContainerClientOptions};
use entra_workload::{
    AccessToken, AssertionRequest, ClientAssertion as _, ClientAssertionCredential,
    ClientCertificateCredential, ClientSecretCredential, Clock as _, Credential, DefaultAzureCredential,
    Environment, Error, HttpTransport, ManagedIdentityCredential, ProjectedTokenFile, SdkTransport, Secret,
    SystemClock, TokenRequest, WorkloadIdentityCredential, WorkloadIdentityCredentialBuilder,
};
use entra_workload_emulator::{Emulator, Endpoint, Fault, Pod, ServiceAccountToken};
use http::Response;
use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256};

use support::clock::TestClock;
use support::identifiers::{CLIENT_ID, VAULT};
use support::sample::{Sample, example};

#[tokio::test]
async fn no_piece_of_a_secret_is_logged_or_shown() {
    let log = Log::of_everything();
    let mut life = Life::begin().await;
    life.calls_key_vault().await;
    life.calls_blob().await;
    life.is_refreshed_with_a_rotated_token().await;
    life.outlives_an_outage().await;
    life.loses_its_file_for_a_while().await;
    life.is_refused().await;
    life.meets_answers_that_echo_it().await;
    life.meets_no_answer().await;
    life.finds_a_file_that_holds_no_token().await;
    life.signs_in_with_a_client_secret().await;
    life.signs_in_with_a_certificate().await;
    life.asks_a_managed_identity().await;
    life.walks_the_default_chain().await;
    life.is_an_app_of_app_service().await;
    life.shows_all_its_parts().await;

    let (secrets, logged) = (life.secrets(), log.take());
    let pieces = pieces(&secrets);
    assert_eq!(piece_of_a_secret(&logged, &pieces), None, "in the log");
    for text in &life.shown {
        assert_eq!(piece_of_a_secret(text, &pieces), None, "{text}");
    }

    // There was something to find, where it would have been found.
    assert!(secrets.len() > 10 && life.shown.len() > 50);
    for part in [
        "entra_workload::exchange: token acquired",
        "entra_workload::exchange: token request failed",
        "token refresh failed; using cached token",
        "token refresh recovered",
        "service-account token unreadable; using the last one",
        "entra_workload::chain: selected credential",
        "azure_identity::",
        "typespec_client_core::",
        "hyper_util::",
        "reqwest::",
    ] {
        assert!(logged.contains(part), "{part:?} was not logged");
    }
    for secret in &secrets {
        let piece = secret.get(secret.len() - PIECE..).unwrap();
        tracing::trace!(target: "somewhere::deep", field = ?Some(piece), "planted");
        assert_eq!(piece_of_a_secret(&log.take(), &pieces), Some(piece));
    }
}

/// A credential of a pod, and all that was shown of its life.
struct Life {
    emulator: Emulator,
    pod: Pod,
    clock: TestClock,
    credential: Arc<WorkloadIdentityCredential>,
    /// Access tokens, keys and what else is found on the way.
    known_secrets: RefCell<BTreeSet<String>>,
    shown: Vec<String>,
}

impl Life {
    async fn begin() -> Self {
        let clock = TestClock::stopped();
        let emulator = Emulator::builder().clock(clock.wall_time());
        let mut shown = vec![format!("{emulator:?}")];
        let emulator = emulator.start().await.unwrap();
        let pod = emulator.pod("shop", "orders").unwrap();
        let client_secret = [("AZURE_CLIENT_SECRET", PLANTED[0].to_owned())];
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
        }
    }

    async fn calls_key_vault(&mut self) {
        let options = SecretClientOptions {
            client_options: self.client_options(),
            // Loopback is not under vault.azure.net.
            verify_challenge_resource: Some(false),
            ..SecretClientOptions::default()
        };
        let url = self.emulator.key_vault_url();
        let client = SecretClient::new(url, self.credential.clone(), Some(options)).unwrap();
        let secret = SetSecretParameters {
            value: Some(PLANTED[1].to_owned()),
            ..SetSecretParameters::default()
        };
        let secret = secret.try_into().unwrap();
        client.set_secret("password", secret, None).await.unwrap();
        let secret = client.get_secret("password", None).await.unwrap();
        assert_eq!(secret.into_model().unwrap().value.unwrap(), PLANTED[1]);
    }

    async fn calls_blob(&mut self) {
        let options = BlobContainerClientOptions {
            client_options: self.client_options(),
            ..BlobContainerClientOptions::default()
        };
        let url = Url::parse(&format!("{}/orders", self.emulator.blob_account_url())).unwrap();
        let container = BlobContainerClient::new(url, Some(self.credential.clone()), Some(options)).unwrap();
        container.create(None).await.unwrap();
        let blob = container.blob_client("today");
        blob.upload(Body::Bytes("three".into()).into(), None)
            .await
            .unwrap();
        let body = blob.download(None).await.unwrap().body.collect().await;
        assert_eq!(body.unwrap(), "three");
    }

    async fn is_refreshed_with_a_rotated_token(&mut self) {
        let old = self.token().await;
        self.clock.advance(HOUR / 2);
        self.pod.rotate().unwrap();
        self.is_refreshed(&old).await;
    }

    async fn outlives_an_outage(&mut self) {
        let old = self.token().await;
        self.emulator
            .inject(Endpoint::Entra, Fault::throttle(MINUTE).until_cleared());
        self.clock.advance(HOUR / 2);
        self.pod.rotate().unwrap();
        let next_refresh = self.clock.now().system_time + MINUTE;
        self.until(async |life| {
            let token = life.token().await;
            assert_eq!(token.secret(), old.secret());
            token.refresh_on() == next_refresh
        })
        .await;
        self.emulator.clear_faults(Endpoint::Entra);
        self.clock.advance(MINUTE);
        self.is_refreshed(&old).await;
    }

    async fn loses_its_file_for_a_while(&mut self) {
        fs::remove_file(self.pod.token_file()).unwrap();
        self.credential.invalidate(&self.token().await);
        self.token().await;
        self.pod.rotate().unwrap();
    }

    async fn is_refused(&mut self) {
        self.emulator.entra().disable_application(self.pod.client_id());
        let credential = self.builder().build().unwrap();
        self.show_failure(&*credential).await;
        self.clock.advance(MINUTE);
        let error = credential.get_token(&[VAULT], None).await.unwrap_err();
        self.show_error(&error);
        self.emulator.entra().register_application(self.pod.client_id());
    }

    async fn meets_answers_that_echo_it(&mut self) {
        let assertion = fs::read_to_string(self.pod.token_file()).unwrap();
        let token = self.token().await;
        let cut = |token: &str| token.get(100..400).unwrap().to_owned();
        let (cut_assertion, cut_token) = (cut(&assertion), cut(token.secret()));
        let echoes = [&assertion, &cut_assertion, token.secret(), &cut_token];
        self.meets_echoes(Endpoint::Entra, &echoes, |life| life.builder().build().unwrap())
            .await;
    }

    /// No server has reason to write secrets into its errors, but nothing keeps it from that.
    async fn meets_echoes<C: Credential>(
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

    async fn meets_no_answer(&mut self) {
        for fault in [Fault::reset(), Fault::truncate(), Fault::hang()] {
            self.emulator.inject(Endpoint::Entra, fault.until_cleared());
            let credential = self
                .builder()
                .timeout(Duration::from_millis(300))
                .build()
                .unwrap();
            self.show_failure(&*credential).await;
            self.emulator.clear_faults(Endpoint::Entra);
        }
    }

    async fn finds_a_file_that_holds_no_token(&mut self) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        let token = fs::read_to_string(self.pod.token_file()).unwrap();
        for content in [PLANTED[2], &format!("{token}.{token}"), &token.replace('.', "..")] {
            fs::write(&file, content).unwrap();
            let credential = self.builder().token_file(&file).build().unwrap();
            self.show_failure(&*credential).await;
        }
    }

    async fn signs_in_with_a_client_secret(&mut self) {
        self.emulator.entra().set_client_secret(CLIENT_ID, PLANTED[0]);
        let builder = |life: &Self, secret| {
            ClientSecretCredential::builder()
                .environment(life.application(&[]))
                .client_secret(secret)
                .transport(transport(&life.emulator))
                .clock(life.clock.clone())
        };
        self.show(&builder(self, PLANTED[0]));
        let credential = builder(self, PLANTED[0]).build().unwrap();
        self.show_success(&*credential).await;
        let credential = builder(self, PLANTED[3]).build().unwrap();
        self.show_failure(&*credential).await;
        self.meets_echoes(Endpoint::Entra, &PLANTED[..1], |life| {
            builder(life, PLANTED[0]).build().unwrap()
        })
        .await;
    }

    async fn signs_in_with_a_certificate(&mut self) {
        let key = KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap();
        let certificate = CertificateParams::default().self_signed(&key).unwrap().pem();
        let entra = self.emulator.entra();
        entra.register_certificate(CLIENT_ID, &certificate).unwrap();
        let key = key.serialize_pem();
        for line in key.lines().filter(|line| !line.starts_with("-----")) {
            self.knows(line);
            // As bytes are shown.
            self.knows(format!("{:?}", line.as_bytes()).trim_matches(['[', ']']));
        }
        let builder = |life: &Self, pem: &str| {
            ClientCertificateCredential::builder()
                .environment(life.application(&[("AZURE_CLIENT_CERTIFICATE_PASSWORD", PLANTED[4])]))
                .certificate(pem)
                .transport(transport(&life.emulator))
                .clock(life.clock.clone())
        };
        let pem = format!("{certificate}{key}");
        self.show(&builder(self, &pem));
        self.show(&builder(self, &pem).password(PLANTED[4]));
        let credential = builder(self, &pem).build().unwrap();
        self.show_success(&*credential).await;

        let with = |key: String| format!("{certificate}{key}");
        for pem in [
            &with(key.get(..1000).unwrap().to_owned()),
            &with(key.replace("\nMIIE", "\n")),
            &with(key.replace("\nM", "\n!")),
            &key,
        ] {
            let credential = builder(self, pem).build().unwrap();
            self.show_failure(&*credential).await;
        }
        let other_password = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/certificate/aes.p12");
        let credential = builder(self, &pem)
            .certificate_path(other_password)
            .build()
            .unwrap();
        self.show_failure(&*credential).await;

        let sent = self.emulator.requests_to(Endpoint::Entra);
        let assertion = sent.last().and_then(|request| request.form("client_assertion"));
        self.meets_echoes(Endpoint::Entra, &[&assertion.unwrap()], |life| {
            builder(life, &pem).build().unwrap()
        })
        .await;
        self.emulator.entra().remove_certificates(CLIENT_ID);
        let credential = builder(self, &pem).build().unwrap();
        self.show_failure(&*credential).await;
    }

    async fn asks_a_managed_identity(&mut self) {
        let builder = |life: &Self| {
            ManagedIdentityCredential::builder()
                .environment(life.machine())
                .clock(life.clock.clone())
        };
        self.show(&builder(self));
        let credential = builder(self).build().unwrap();
        self.show_failure(&*credential).await;
        self.emulator.assign_system_identity();
        let credential = builder(self).build().unwrap();
        let token = self.show_success(&*credential).await;
        let cut = token.secret().get(100..400).unwrap();
        self.meets_echoes(Endpoint::Imds, &[token.secret(), cut], |life| {
            builder(life).build().unwrap()
        })
        .await;
    }

    async fn walks_the_default_chain(&mut self) {
        let build = |life: &Self, environment| {
            let builder = DefaultAzureCredential::builder()
                .environment(environment)
                .transport(transport(&life.emulator))
                .clock(life.clock.clone());
            (format!("{builder:?}"), builder.build().unwrap())
        };
        let secret = |life: &Self, secret| life.application(&[("AZURE_CLIENT_SECRET", secret)]);
        for (environment, answers) in [
            (secret(self, PLANTED[0]), "environment"),
            (Environment::from_iter(self.pod.variables()), "workload identity"),
            (self.machine(), "managed identity"),
        ] {
            let (builder, credential) = build(self, environment);
            self.shown.push(builder);
            self.show_success(&*credential).await;
            assert_eq!(credential.answered_by(), Some(answers));
            for attempt in credential.passed_over() {
                self.show_failed(attempt.error());
            }
        }
        self.emulator.inject(Endpoint::Imds, Fault::reset());
        for environment in [secret(self, PLANTED[3]), self.machine()] {
            let (_, credential) = build(self, environment);
            self.show_failure(&*credential).await;
        }
        self.meets_echoes(Endpoint::Entra, &PLANTED[..1], |life| {
            build(life, secret(life, PLANTED[0])).1
        })
        .await;
    }

    /// As a program of its own: the SDK reads the secret header of the host from the environment of the process.
    async fn is_an_app_of_app_service(&mut self) {
        let header = self.emulator.app_service_header();
        self.knows(header);
        let folder = tempfile::tempdir().unwrap();
        let sample = Sample::new(
            example("default_credential"),
            self.emulator.ca_certificate_file(),
            folder.path(),
        )
        .variable("RUST_LOG", "trace")
        .variable("IDENTITY_ENDPOINT", self.emulator.app_service_url())
        .variable("IDENTITY_HEADER", header);
        for code in [0, 1] {
            let output = sample.run([]).await;
            assert_eq!(output.code, Some(code), "{}", output.stderr);
            assert!(output.stderr.contains("TRACE hyper_util::"), "{}", output.stderr);
            self.shown.push(String::from_utf8(output.stdout).unwrap());
            self.shown.push(output.stderr);
            let refusal = Response::builder().status(403);
            let refusal = refusal.body(format!("no: {header}").into()).unwrap();
            self.emulator.inject(Endpoint::AppService, Fault::reply(refusal));
        }
    }

    /// The public types that are left, with what is secret in them.
    async fn shows_all_its_parts(&mut self) {
        // The file on its own goes by the system's clock.
        let token = ServiceAccountToken::new("shop", "orders")
            .issued_at(SystemClock::new().now().system_time)
            .lifetime(HOUR * 3);
        self.pod.project(&token).unwrap();
        let file = Arc::new(ProjectedTokenFile::new(self.pod.token_file()));
        let request = Arc::new(OnceLock::new());
        let assertion = {
            let (file, request) = (file.clone(), request.clone());
            move |asked: AssertionRequest| {
                request.get_or_init(|| asked.clone());
                let file = file.clone();
                async move { file.assertion(asked).await }
            }
        };
        let transport = transport(&self.emulator);
        let builder = ClientAssertionCredential::builder()
            .environment(Environment::from_iter(self.pod.variables()))
            .transport(transport.clone())
            .assertion(assertion);
        self.show(&builder);
        let credential = builder.build().unwrap();
        let access_token = credential.token(&[VAULT]).await.unwrap();
        self.knows(access_token.secret());
        let reported = credential.get_token(&[VAULT], None).await.unwrap();
        let client = azure_core::http::new_http_client(None);
        let scopes = [VAULT];
        let parts: [&dyn Debug; 17] = [
            &credential,
            &self.credential,
            &access_token,
            &reported,
            &Secret::from(access_token.secret()),
            &TokenRequest::new(&scopes).tenant_id("tenant").claims("{}"),
            &file,
            &request,
            &transport,
            &SdkTransport::new(client),
            &self.clock,
            &self.emulator,
            &self.emulator.entra(),
            &self.emulator.issuer(),
            &self.emulator.requests(),
            &self.pod,
            &token,
        ];
        self.shown.extend(parts.map(|part| format!("{part:?}")));
    }

    /// The tokens of both kinds, and what was planted.
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

    fn builder(&self) -> WorkloadIdentityCredentialBuilder {
        builder(&self.emulator, &self.pod, &self.clock)
    }

    fn client_options(&self) -> ClientOptions {
        ClientOptions {
            transport: Some(self.emulator.sdk_transport().unwrap()),
            ..ClientOptions::default()
        }
    }

    async fn token(&self) -> AccessToken {
        let token = self.credential.token(&[VAULT]).await.unwrap();
        self.knows(token.secret());
        token
    }

    fn knows(&self, secret: &str) {
        self.known_secrets.borrow_mut().insert(secret.to_owned());
    }

    async fn is_refreshed(&self, old: &AccessToken) {
        self.until(async |life| life.token().await.secret() != old.secret())
            .await;
    }

    async fn until(&self, is_so: impl AsyncFn(&Self) -> bool) {
        let wait = async {
            while !is_so(self).await {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(MINUTE, wait).await.expect("it never is");
    }

    /// An application's variables, and more.
    fn application(&self, more: &[(&str, &str)]) -> Environment {
        let application = [
            ("AZURE_AUTHORITY_HOST", self.emulator.authority_host()),
            ("AZURE_TENANT_ID", self.emulator.entra().tenant_id()),
            ("AZURE_CLIENT_ID", CLIENT_ID),
        ];
        application.iter().chain(more).copied().collect()
    }

    /// The variables of a machine with a metadata service.
    fn machine(&self) -> Environment {
        Environment::from_iter([("AZURE_POD_IDENTITY_AUTHORITY_HOST", self.emulator.imds_url())])
    }

    async fn show_success(&mut self, credential: &dyn Credential) -> AccessToken {
        let token = credential.token_for(&TokenRequest::new(&[VAULT])).await.unwrap();
        self.knows(token.secret());
        self.show(&credential);
        self.show(&token);
        token
    }

    async fn show_failure(&mut self, credential: &dyn Credential) {
        let error = credential.token_for(&TokenRequest::new(&[VAULT])).await;
        self.show_failed(&error.unwrap_err());
        self.show(&credential);
    }

    fn show_failed(&mut self, error: &Error) {
        self.show_error(error);
        for attempt in error.attempts() {
            self.show_error(attempt.error());
        }
    }

    fn show_error(&mut self, error: &(dyn StdError + 'static)) {
        let errors = iter::successors(Some(error), |error| (**error).source());
        self.shown
            .extend(errors.map(|error| format!("{error} {error:?}")));
    }

    fn show(&mut self, part: &dyn Debug) {
        self.shown.push(format!("{part:?}"));
    }
}

fn builder(emulator: &Emulator, pod: &Pod, clock: &TestClock) -> WorkloadIdentityCredentialBuilder {
    WorkloadIdentityCredential::builder()
        .environment(Environment::from_iter(pod.variables()))
        .transport(transport(emulator))
        .clock(clock.clone())
}

/// A transport that trusts the emulator's certificates, and no others.
fn transport(emulator: &Emulator) -> HttpTransport {
    HttpTransport::with_root_certificates(emulator.ca_certificate_pem().as_bytes()).unwrap()
}

/// All [`PIECE`] characters in a row of all secrets.
fn pieces(secrets: &BTreeSet<String>) -> HashSet<&[u8]> {
    secrets
        .iter()
        .flat_map(|secret| secret.as_bytes().windows(PIECE))
        .collect()
}

/// The first of these pieces that `text` holds.
fn piece_of_a_secret<'a>(text: &'a str, pieces: &HashSet<&[u8]>) -> Option<&'a str> {
    let start = text
        .as_bytes()
        .windows(PIECE)
        .position(|piece| pieces.contains(piece))?;
    text.get(start..start + PIECE)
}

/// What all crates log, at every level.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn of_everything() -> Self {
        let log = Self::default();
        let writer = log.clone();
        tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .init();
        log
    }

    fn take(&self) -> String {
        String::from_utf8(std::mem::take(&mut *self.0.lock().unwrap())).unwrap()
    }
}

impl io::Write for Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// In the environment, in the vault, in a file, as a wrong secret, as a password.
const PLANTED: [&str; 5] = [
    "planted-client-secret",
    "planted-vault-secret",
    "planted-file-secret",
    "planted-wrong-secret",
    "planted-certificate-password",
];

/// Short enough to find what is left of a token that was cut or broken into lines, and too long to be found by chance.
const PIECE: usize = 16;

const HOUR: Duration = Duration::from_secs(3600);

const MINUTE: Duration = Duration::from_secs(60);
