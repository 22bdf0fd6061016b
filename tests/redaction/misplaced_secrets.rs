//! A secret in each variable that the crate reads: where a path, an ID or a URL belongs.

use std::error::Error as StdError;
use std::ffi::OsString;
use std::fmt::Debug;
use std::iter;
use std::path::Path;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use entra_workload::assertion::{
    AzurePipelines, ClientAssertion, GitHubActions, KubernetesTokenRequest, TerraformOidc,
};
use entra_workload::transport::{TokenProxy, Transport};
use entra_workload::{
    Attempt, AzureCliCredential, AzureDeveloperCliCredential, AzurePipelinesCredential,
    ClientAssertionCredential, ClientCertificateCredential, ClientSecretCredential, Credential,
    DefaultAzureCredential, Environment, EnvironmentCredential, Error, ErrorKind, ManagedIdentityCredential,
    TokenRequest, WorkloadIdentityCredential,
};
use http::{Request, Response};

use crate::leak_check::CapturedLog;
use crate::support::clock::TestClock;
use crate::support::identifiers::{CLIENT_ID, TENANT_ID, VAULT};
use crate::support::pod::PodDirectory;

#[tokio::test(start_paused = true)]
async fn secret_in_any_variable_is_never_shown_logged_or_sent() {
    let log = CapturedLog::start().await;
    let pod = PodDirectory::new();
    let variables = variables();
    assert!(variables.len() > 45, "{variables:?}");
    let mut leaks = Vec::new();
    for (index, (text, plant)) in plants().into_iter().enumerate() {
        for variable in &variables {
            for (place, base) in bases(pod.token_file().to_str().unwrap()) {
                let is_of_place = place == "nothing else" || base.iter().any(|(name, _)| name == variable);
                if index >= PLANTED_EVERYWHERE && !is_of_place {
                    continue;
                }
                let mut shown = Shown::default();
                let values = base
                    .into_iter()
                    .map(|(name, value)| (name, OsString::from(value)));
                let environment = values.chain([(variable.clone(), plant.clone())]).collect();
                shown.all(&environment, pod.token_file().as_path()).await;
                let sent = shown.transport.take();
                let is_sent = SENT.contains(&variable.as_str());
                for (channel, text_of_channel) in [
                    ("sent", if is_sent { String::new() } else { sent }),
                    ("shown", shown.texts.join("\n")),
                    ("logged", log.take()),
                ] {
                    let excerpt = planted(&text_of_channel);
                    leaks.extend(
                        excerpt.map(|excerpt| format!("{variable} = {text} ({place}) {channel}: {excerpt}")),
                    );
                }
            }
        }
    }
    assert!(
        leaks.is_empty(),
        "{} leaks: {:#?}",
        leaks.len(),
        leaks.iter().take(40).collect::<Vec<_>>()
    );
}

/// All that the crate builds from an environment.
#[derive(Default)]
struct Shown {
    transport: Refusing,
    texts: Vec<String>,
}

impl Shown {
    async fn all(&mut self, environment: &Environment, token_file: &Path) {
        let transport = self.transport.clone();
        macro_rules! credentials {
            ($($type:ident),*) => {$({
                let builder = $type::builder().environment(environment.clone()).clock(TestClock::stopped());
                let builder = with_transport!($type, builder, transport);
                self.debug(&builder);
                self.credential(builder.build()).await;
            })*};
        }
        macro_rules! with_transport {
            (AzureCliCredential, $builder:ident, $transport:ident) => {
                $builder
            };
            (AzureDeveloperCliCredential, $builder:ident, $transport:ident) => {
                $builder
            };
            ($type:ident, $builder:ident, $transport:ident) => {
                $builder.transport($transport.clone())
            };
        }
        credentials!(
            WorkloadIdentityCredential,
            ManagedIdentityCredential,
            ClientSecretCredential,
            ClientCertificateCredential,
            EnvironmentCredential,
            AzurePipelinesCredential,
            AzureCliCredential,
            AzureDeveloperCliCredential,
            DefaultAzureCredential
        );
        let builder = ClientAssertionCredential::builder()
            .environment(environment.clone())
            .transport(transport.clone());
        self.debug(&builder);
        let github = GitHubActions::from_environment(environment);
        let pipelines = AzurePipelines::from_environment(environment);
        let terraform = TerraformOidc::from_environment(environment);
        let cluster = KubernetesTokenRequest::from_environment(environment, "shop", "orders");
        let with_own_token =
            |source: KubernetesTokenRequest| source.token_file(token_file).transport(transport.clone());
        self.source(
            environment,
            github.map(|source| source.transport(transport.clone())),
        )
        .await;
        self.source(
            environment,
            pipelines.map(|source| source.transport(transport.clone())),
        )
        .await;
        self.source(
            environment,
            terraform.map(|source| source.transport(transport.clone())),
        )
        .await;
        self.source(environment, cluster.map(with_own_token)).await;
        #[cfg(feature = "spiffe")]
        self.source(
            environment,
            entra_workload::assertion::SpiffeJwtSvid::from_environment(environment),
        )
        .await;
        match TokenProxy::from_environment(environment) {
            Ok(proxy) => self.debug(&proxy),
            Err(error) => self.error(&error),
        }
        #[cfg(feature = "diagnose")]
        self.report(environment).await;
    }

    async fn source<S: ClientAssertion + Debug>(
        &mut self,
        environment: &Environment,
        source: Result<S, Error>,
    ) {
        match source {
            Ok(source) => {
                self.debug(&source);
                let builder = ClientAssertionCredential::builder()
                    .environment(environment.clone())
                    .transport(self.transport.clone());
                self.credential(builder.assertion(source).build()).await;
            }
            Err(error) => self.error(&error),
        }
    }

    async fn credential<C: Credential>(&mut self, built: Result<Arc<C>, Error>) {
        match built {
            Ok(credential) => {
                self.debug(&credential);
                self.debug(&credential.client_id());
                let request = TokenRequest::new(&[VAULT]);
                let error = credential.token_for(&request).await.unwrap_err();
                self.error(&error);
            }
            Err(error) => self.error(&error),
        }
    }

    #[cfg(feature = "diagnose")]
    async fn report(&mut self, environment: &Environment) {
        use entra_workload::diagnose::{DiagnoseOptions, diagnose};

        let options = DiagnoseOptions::new()
            .transport(self.transport.clone())
            .clock(TestClock::stopped());
        let report = diagnose(environment, &options).await;
        self.debug(&report);
        self.texts.push(serde_json::to_string(&report).unwrap());
    }

    fn debug(&mut self, value: &dyn Debug) {
        self.texts.push(format!("{value:?}"));
    }

    fn error(&mut self, error: &Error) {
        self.texts.push(format!("{error:#}"));
        let errors = iter::once(error).chain(error.attempts().iter().map(Attempt::error));
        for error in errors {
            let sources = iter::successors(Some(error as &(dyn StdError + 'static)), |error| {
                (**error).source()
            });
            self.texts
                .extend(sources.map(|error| format!("{error} {error:?}")));
        }
    }
}

/// Refuses each request, and keeps it.
#[derive(Clone, Default)]
struct Refusing(Arc<Mutex<String>>);

impl Refusing {
    fn take(&self) -> String {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

impl Debug for Refusing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Refusing")
    }
}

#[async_trait]
impl Transport for Refusing {
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, Error> {
        let body = String::from_utf8_lossy(request.body()).into_owned();
        let sent = format!("{} {body} ", request.uri());
        self.0.lock().unwrap().push_str(&sent);
        let refusal = Response::builder().status(400).body(Bytes::from_static(b"{}"));
        refusal.map_err(|error| Error::new(ErrorKind::Protocol, error.to_string()))
    }
}

/// Returns the names of all variables in `src/env.rs`, the only reader of the process environment.
fn variables() -> Vec<String> {
    let source = include_str!("../../src/env.rs");
    let (source, _) = source.split_once("#[cfg(test)]\nmod tests").unwrap();
    let is_name = |text: &&str| {
        text.len() >= 4
            && !text.ends_with('_')
            && (text.contains('_') || ["PATH", "ProgramData"].contains(text))
            && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    let mut names: Vec<String> = source.split('"').filter(is_name).map(str::to_owned).collect();
    names.sort();
    names.dedup();
    names
}

/// Variables of the places in which the crate runs, complete and valid.
fn bases(token_file: &str) -> Vec<(&'static str, Vec<(String, String)>)> {
    // No request leaves this machine.
    let metadata = [("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://127.0.0.1:1")];
    let ids = [("AZURE_CLIENT_ID", CLIENT_ID), ("AZURE_TENANT_ID", TENANT_ID)];
    let of_places: [(&str, &[(&str, &str)]); 11] = [
        ("nothing else", &[]),
        ("IDs", &ids),
        (
            "pod",
            &[
                ids[0],
                ids[1],
                ("KUBERNETES_SERVICE_HOST", "10.0.0.1"),
                ("KUBERNETES_SERVICE_PORT", "443"),
                ("AZURE_FEDERATED_TOKEN_FILE", token_file),
                ("SPIFFE_ENDPOINT_SOCKET", "unix:///nowhere/agent.sock"),
            ],
        ),
        (
            "pod with an identity binding",
            &[
                ids[0],
                ids[1],
                ("AZURE_FEDERATED_TOKEN_FILE", token_file),
                ("AZURE_KUBERNETES_TOKEN_PROXY", "https://127.0.0.1:1"),
                ("AZURE_KUBERNETES_SNI_NAME", "a0.ests.aks"),
                ("AZURE_KUBERNETES_CA_FILE", "/nowhere/ca.crt"),
            ],
        ),
        (
            "certificate",
            &[
                ids[0],
                ids[1],
                ("AZURE_CLIENT_CERTIFICATE_PATH", "/nowhere/app.pem"),
            ],
        ),
        (
            "GitHub Actions",
            &[
                ids[0],
                ids[1],
                ("ARM_OIDC_REQUEST_URL", "https://token.example.com/?x=1"),
                ("ARM_OIDC_REQUEST_TOKEN", "request-token"),
                ("ACTIONS_ID_TOKEN_REQUEST_URL", "https://token.example.com/?x=1"),
                ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "request-token"),
            ],
        ),
        (
            "Azure Pipelines",
            &[
                ids[0],
                ids[1],
                ("SYSTEM_OIDCREQUESTURI", "https://dev.azure.com/contoso/x"),
                ("SYSTEM_ACCESSTOKEN", "access-token"),
                ("AZURESUBSCRIPTION_SERVICE_CONNECTION_ID", CLIENT_ID),
            ],
        ),
        (
            "Azure Arc",
            &[
                (
                    "IDENTITY_ENDPOINT",
                    "http://127.0.0.1:40342/metadata/identity/oauth2/token",
                ),
                ("IMDS_ENDPOINT", "http://127.0.0.1:40342"),
            ],
        ),
        (
            "App Service",
            &[
                ("IDENTITY_ENDPOINT", "http://127.0.0.1:41000/msi/token"),
                ("IDENTITY_HEADER", "endpoint-secret"),
            ],
        ),
        (
            "Azure ML",
            &[
                ("MSI_ENDPOINT", "http://127.0.0.1:46808/MSI/auth"),
                ("MSI_SECRET", "endpoint-secret"),
            ],
        ),
        (
            "Service Fabric",
            &[
                (
                    "IDENTITY_ENDPOINT",
                    "https://127.0.0.1:1/metadata/identity/oauth2/token",
                ),
                ("IDENTITY_HEADER", "endpoint-secret"),
                (
                    "IDENTITY_SERVER_THUMBPRINT",
                    "0011223344556677889900112233445566778899",
                ),
            ],
        ),
    ];
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let of_places = of_places.iter();
    of_places
        .map(|(place, variables)| (*place, metadata.iter().chain(*variables).map(owned).collect()))
        .collect()
}

/// What people put into a variable in place of a path, an ID or a URL. Each contains one of the [`MARKS`].
fn plants() -> Vec<(&'static str, OsString)> {
    let secret = "planted8Q~aZ3xK9mP2vR7tL5nW4bY6cH1dJ0fG";
    #[cfg_attr(
        not(unix),
        expect(unused_mut, reason = "the text that is not UTF-8 is for Unix")
    )]
    let mut plants: Vec<(&str, OsString)> = [
        (
            "a JWT",
            format!("eyJhbGciOiJSUzI1NiJ9.{MARK_OF_JWT}.c2lnbmF0dXJl"),
        ),
        ("a secret", secret.to_owned()),
        (
            "PEM",
            format!("-----BEGIN PRIVATE KEY-----\n{secret}\n-----END PRIVATE KEY-----\n"),
        ),
        ("a secret with a colon", format!("planted:{secret}")),
        ("a secret with a line break", format!("{secret}\n")),
        (
            "control characters",
            format!("{secret}\u{1b}]52;c;eA==\u{7}\r\n::stop-commands::x\u{202e}\u{200b}"),
        ),
        (
            "a URL with a user",
            format!("https://user:{secret}@127.0.0.1:1/x"),
        ),
        (
            "a URL with a user name",
            format!("https://{secret}@127.0.0.1:1/x"),
        ),
        (
            "a URL with a query",
            format!("https://127.0.0.1:1/x?sig={secret}"),
        ),
        (
            "a command line",
            format!("/usr/bin/curl -H 'Authorization: Bearer {secret}' https://a/b"),
        ),
        ("JSON", format!(r#"{{"clientSecret":"{secret}"}}"#)),
        ("a megabyte", secret.repeat(1024 * 1024 / secret.len())),
    ]
    .map(|(text, plant)| (text, plant.into()))
    .into();
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStringExt;

        let bytes = [secret.as_bytes(), b"\xff"].concat();
        plants.push(("a secret that is not UTF-8", OsString::from_vec(bytes)));
    }
    plants
}

/// Returns the text around the first mark.
fn planted(text: &str) -> Option<String> {
    let start = MARKS.iter().find_map(|mark| text.find(mark))?;
    let before: String = text.get(..start)?.chars().rev().take(150).collect();
    let after: String = text.get(start..)?.chars().take(60).collect();
    Some(format!("{}>>>{after}", before.chars().rev().collect::<String>()))
}

/// As many of the plants are combined with the variables of every place, the others with those of the variable.
const PLANTED_EVERYWHERE: usize = 2;

/// `{"sub":"planted"}` in base64url.
const MARK_OF_JWT: &str = "eyJzdWIiOiJwbGFudGVkIn0";

const MARKS: [&str; 6] = [
    "planted",
    MARK_OF_JWT,
    "PLANTED",
    "\u{1b}",
    "\n::stop",
    "\u{202e}",
];

/// The variables whose value is sent: secrets, and URLs with their query.
const SENT: [&str; 12] = [
    "ACTIONS_ID_TOKEN_REQUEST_TOKEN",
    "ACTIONS_ID_TOKEN_REQUEST_URL",
    "ARM_OIDC_REQUEST_TOKEN",
    "ARM_OIDC_REQUEST_URL",
    "ARM_OIDC_TOKEN",
    "AZURE_CLIENT_CERTIFICATE_PASSWORD",
    "AZURE_CLIENT_SECRET",
    "AZURE_PASSWORD",
    "IDENTITY_HEADER",
    "MSI_SECRET",
    "SYSTEM_ACCESSTOKEN",
    "SYSTEM_OIDCREQUESTURI",
];
