//! Which links of `DefaultAzureCredential` the options of its builder reach.

use std::fs;
use std::future::pending;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::log::Log;
use async_trait::async_trait;
use bytes::Bytes;
use entra_workload::builder::{DefaultAzureCredentialBuilder, DefaultAzureLink};
use entra_workload::transport::Transport;
use entra_workload::{Cloud, CustomCloud, DefaultAzureCredential, Environment, Error, ErrorKind};
use http::{Request, Response};
use tempfile::TempDir;

const SCOPES: [&str; 1] = ["https://vault.azure.net/.default"];
const TENANT: &str = "72f988bf-86f1-41af-91ab-2d7cd011db47";
const CLIENT: &str = "7a5ff21b-4f5b-4f5b-9e3e-2c0b5a1d9a10";
const OTHER_CLIENT: &str = "7a5ff21b-4f5b-4f5b-9e3e-000000000001";
const OWN_CLIENT: &str = "7a5ff21b-4f5b-4f5b-9e3e-000000000002";

#[tokio::test]
async fn transport_reaches_every_link_that_sends_requests() {
    for link in ["Environment", "WorkloadIdentity", "ManagedIdentity"] {
        let place = Place::new();
        let transport = RecordingTransport::default();
        let builder = place.builder(link).tenant_id(TENANT).transport(transport.clone());
        let token = builder.build().unwrap().token(&SCOPES).await.unwrap();
        assert_eq!(token.secret(), "in-process", "{link}");
        assert!(!transport.0.lock().unwrap().is_empty(), "{link}");
    }
}

#[tokio::test]
async fn tenant_id_reaches_every_link_that_takes_a_tenant() {
    for link in ["Environment", "WorkloadIdentity"] {
        let place = Place::new();
        let transport = RecordingTransport::default();
        let builder = place.builder(link).tenant_id(TENANT).transport(transport.clone());
        builder.build().unwrap().token(&SCOPES).await.unwrap();
        let requested = transport.0.lock().unwrap().concat();
        assert!(requested.contains(TENANT), "{link}: {requested}");
    }
    for link in ["AzureCli", "AzureDeveloperCli"] {
        let place = Place::new();
        let builder = place.builder(link).tenant_id(TENANT);
        builder.build().unwrap().token(&SCOPES).await.unwrap();
        let arguments = fs::read_to_string(place.0.path().join("arguments")).unwrap();
        assert!(arguments.contains(TENANT), "{link}: {arguments}");
    }
}

#[tokio::test]
async fn cloud_reaches_every_link_that_sends_token_requests() {
    let custom = || Cloud::Custom(CustomCloud::new("https://login.example/"));
    for link in ["Environment", "WorkloadIdentity"] {
        for (cloud, authority_host, requested) in [
            (None, None, "http://127.0.0.1:9/"),
            (Some(Cloud::Public), None, "https://login.microsoftonline.com/"),
            (
                Some(Cloud::UsGovernment),
                None,
                "https://login.microsoftonline.us/",
            ),
            (Some(Cloud::China), None, "https://login.chinacloudapi.cn/"),
            (Some(custom()), None, "https://login.example/"),
            (
                Some(custom()),
                Some("https://proxy.example"),
                "https://proxy.example/",
            ),
        ] {
            let place = Place::new();
            let transport = RecordingTransport::default();
            let mut builder = place.builder(link).tenant_id(TENANT).transport(transport.clone());
            if let Some(cloud) = cloud {
                builder = builder.cloud(cloud);
            }
            if let Some(authority_host) = authority_host {
                builder = builder.authority_host(authority_host);
            }
            builder.build().unwrap().token(&SCOPES).await.unwrap();
            let urls = transport.0.lock().unwrap().concat();
            let expected = format!("{requested}{TENANT}/oauth2/v2.0/token ");
            assert!(urls.starts_with(&expected), "{link}: {urls}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn timeout_reaches_every_link_that_sends_requests() {
    for link in ["Environment", "WorkloadIdentity", "ManagedIdentity"] {
        let place = Place::new();
        let builder = place.builder(link).tenant_id(TENANT).transport(SilentTransport);
        let credential = builder.timeout(Duration::from_secs(3)).build().unwrap();
        let start = tokio::time::Instant::now();
        let error = credential.token(&SCOPES).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Transport, "{link}: {error}");
        assert_eq!(start.elapsed().as_secs(), 3, "{link}");
    }
}

#[tokio::test]
async fn timeout_reaches_the_developer_tools() {
    for link in ["AzureCli", "AzureDeveloperCli"] {
        let place = Place::new();
        for tool in ["az", "azd"] {
            write_program(&place.0.path().join(tool), "#!/bin/sh\nexec /bin/sleep 60\n");
        }
        let credential = place
            .builder(link)
            .timeout(Duration::from_millis(1))
            .build()
            .unwrap();
        let error = credential.token(&SCOPES).await.unwrap_err();
        assert!(
            error.to_string().contains("did not end within 1ms"),
            "{link}: {error}"
        );
    }
}

#[tokio::test]
async fn client_id_reaches_workload_identity_and_managed_identity() {
    let builder = |place: &Place, link| place.builder(link).tenant_id(TENANT).client_id(OTHER_CLIENT);
    for link in ["WorkloadIdentity", "ManagedIdentity"] {
        for (own, expected) in [(false, OTHER_CLIENT), (true, OWN_CLIENT)] {
            let place = Place::new();
            let transport = RecordingTransport::default();
            let builder = builder(&place, link).transport(transport.clone());
            let builder = match (own, link) {
                (false, _) => builder,
                (true, "WorkloadIdentity") => builder.workload_identity_client_id(OWN_CLIENT),
                (true, _) => builder.managed_identity_client_id(OWN_CLIENT),
            };
            builder.build().unwrap().token(&SCOPES).await.unwrap();
            let requested = transport.0.lock().unwrap().concat();
            assert!(
                requested.contains(&format!("client_id={expected}")),
                "{link}: {requested}"
            );
        }
    }
}

#[test]
fn option_that_no_link_of_the_chain_uses_is_an_error_that_names_it() {
    use DefaultAzureLink::{
        AzureCli, AzureDeveloperCli, Environment as OfEnvironment, ManagedIdentity, WorkloadIdentity,
    };
    type Set = fn(DefaultAzureCredentialBuilder) -> DefaultAzureCredentialBuilder;
    let entra = &[OfEnvironment, WorkloadIdentity][..];
    let table: [(&str, Set, &[DefaultAzureLink]); 9] = [
        (
            "authority_host",
            |builder| builder.authority_host("https://login.example"),
            entra,
        ),
        ("cloud", |builder| builder.cloud(Cloud::China), entra),
        ("enable_cae", DefaultAzureCredentialBuilder::enable_cae, entra),
        (
            "transport",
            |builder| builder.transport(SilentTransport),
            &[OfEnvironment, WorkloadIdentity, ManagedIdentity],
        ),
        (
            "additionally_allowed_tenants",
            |builder| builder.additionally_allowed_tenants(["*"]),
            &[OfEnvironment, WorkloadIdentity, AzureCli, AzureDeveloperCli],
        ),
        (
            "client_id",
            |builder| builder.client_id(CLIENT),
            &[WorkloadIdentity, ManagedIdentity],
        ),
        (
            "client_id",
            |builder| builder.client_id(CLIENT).workload_identity_client_id(CLIENT),
            &[ManagedIdentity],
        ),
        (
            "workload_identity_client_id",
            |builder| builder.workload_identity_client_id(CLIENT),
            &[WorkloadIdentity],
        ),
        (
            "managed_identity_id",
            |builder| builder.managed_identity_client_id(CLIENT),
            &[ManagedIdentity],
        ),
    ];
    let all = [
        OfEnvironment,
        WorkloadIdentity,
        ManagedIdentity,
        AzureCli,
        AzureDeveloperCli,
    ];
    for (name, set, links) in table {
        let builder = || set(DefaultAzureCredential::builder().environment(Environment::default()));
        let without = |links: &[DefaultAzureLink]| {
            let removed = links.iter().copied();
            removed.fold(builder(), DefaultAzureCredentialBuilder::without)
        };
        let error = without(links).build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration, "{name}");
        assert!(error.to_string().contains(&format!(".{name}(..)")), "{error}");
        for link in links {
            let others: Vec<DefaultAzureLink> = all.into_iter().filter(|other| other != link).collect();
            let error = without(&others).build().err().map(|error| error.to_string());
            assert!(
                !error.is_some_and(|error| error.contains(&format!(".{name}(..)"))),
                "{name}"
            );
        }
    }
}

#[tokio::test]
async fn log_names_the_options_that_the_selected_link_does_not_have() {
    let set = |builder: DefaultAzureCredentialBuilder| {
        builder
            .tenant_id(TENANT)
            .timeout(Duration::from_secs(20))
            .cloud(Cloud::China)
            .enable_cae()
            .additionally_allowed_tenants(["*"])
            .client_id(CLIENT)
            .workload_identity_client_id(CLIENT)
            .transport(RecordingTransport::default())
    };
    for (link, unused) in [
        ("WorkloadIdentity", None),
        (
            "ManagedIdentity",
            Some("cloud, enable_cae, additionally_allowed_tenants"),
        ),
        ("AzureCli", Some("cloud, enable_cae, transport")),
    ] {
        let place = Place::new();
        let credential = set(place.builder(link)).build().unwrap();
        let log = Log::default();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(log.clone())
            .with_ansi(false)
            .finish();
        let fetch = credential.token(&SCOPES);
        tracing::instrument::WithSubscriber::with_subscriber(fetch, subscriber)
            .await
            .unwrap();
        let log = log.text();
        assert_eq!(log.matches("selected credential").count(), 1, "{log}");
        match unused {
            Some(unused) => assert!(log.contains(&format!("unused_options={unused:?}")), "{log}"),
            None => assert!(!log.contains("unused_options"), "{log}"),
        }
    }
}

/// A directory with a service-account token and developer tools.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        // Header and payload are `{}`; an assertion without `exp` does not expire.
        fs::write(path.join("assertion"), "e30.e30.c2ln").unwrap();
        let arguments = path.join("arguments");
        for (name, output) in [
            (
                "az",
                r#"{"accessToken":"az","expires_on":4102444800,"tokenType":"Bearer"}"#,
            ),
            ("azd", r#"{"token":"azd","expiresOn":"2100-01-01T00:00:00Z"}"#),
        ] {
            let script = format!(
                "#!/bin/sh\necho \"$*\" > {}\necho '{output}'\n",
                arguments.display()
            );
            write_program(&path.join(name), &script);
        }
        Self(directory)
    }

    /// A builder with one link.
    fn builder(&self, link: &str) -> DefaultAzureCredentialBuilder {
        let path = self.0.path();
        let mut variables = vec![
            ("AZURE_TOKEN_CREDENTIALS", format!("{link}Credential")),
            ("PATH", path.display().to_string()),
            ("AZURE_CLIENT_ID", CLIENT.to_owned()),
            ("AZURE_CLIENT_SECRET", "planted".to_owned()),
            // Nobody listens on the discard port.
            ("AZURE_AUTHORITY_HOST", "http://127.0.0.1:9".to_owned()),
            (
                "AZURE_POD_IDENTITY_AUTHORITY_HOST",
                "http://127.0.0.1:9".to_owned(),
            ),
        ];
        let assertion = path.join("assertion").display().to_string();
        variables.push(("AZURE_FEDERATED_TOKEN_FILE", assertion));
        DefaultAzureCredential::builder().environment(variables.into_iter().collect::<Environment>())
    }
}

fn write_program(path: &Path, script: &str) {
    fs::write(path, script).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Grants a token to every request, as Entra and as a metadata service, and records the requests.
#[derive(Clone, Debug, Default)]
struct RecordingTransport(Arc<Mutex<Vec<String>>>);

#[async_trait]
impl Transport for RecordingTransport {
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, Error> {
        let (uri, body) = (request.uri(), request.body());
        let sent = format!("{uri} {}", String::from_utf8_lossy(body));
        self.0.lock().unwrap().push(sent);
        let body = r#"{"access_token":"in-process","expires_in":3600,"expires_on":"4102444800",
            "resource":"https://vault.azure.net","token_type":"Bearer"}"#;
        Ok(Response::new(Bytes::from_static(body.as_bytes())))
    }
}

/// Never responds.
#[derive(Debug)]
struct SilentTransport;

#[async_trait]
impl Transport for SilentTransport {
    async fn send(&self, _request: Request<Bytes>) -> Result<Response<Bytes>, Error> {
        pending().await
    }
}
