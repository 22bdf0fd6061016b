//! Headers with a secret are marked sensitive, so that no HTTP client logs them.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use entra_workload::assertion::{AzurePipelines, ClientAssertion, GitHubActions, KubernetesTokenRequest};
use entra_workload::diagnose::{DiagnoseOptions, diagnose};
use entra_workload::integration::BearerTokenMiddleware;
use entra_workload::transport::Transport;
use entra_workload::{
    ClientAssertionCredential, Environment, Error, ErrorKind, ManagedIdentityCredential,
    WorkloadIdentityCredential,
};
use http::header::{AUTHORIZATION, HeaderMap};
use http::{Request, Response};
use reqwest_middleware::{ClientBuilder, Middleware, Next};

use crate::support::identifiers::{CLIENT_ID, TENANT_ID, VAULT};
use crate::support::pod::{PodDirectory, service_account_token};

#[tokio::test]
async fn request_token_of_a_token_service_is_marked_sensitive() {
    let recorder = Recorder::default();
    let github = Environment::from_iter([
        ("ACTIONS_ID_TOKEN_REQUEST_URL", "https://token.example.com/"),
        ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "planted"),
    ]);
    let github = GitHubActions::from_environment(&github).unwrap();
    get_token_with(github.transport(recorder.clone())).await;
    recorder.assert_sensitive("authorization");

    let pipelines = Environment::from_iter([
        ("SYSTEM_OIDCREQUESTURI", "https://dev.azure.com/contoso"),
        ("SYSTEM_ACCESSTOKEN", "planted"),
        ("AZURESUBSCRIPTION_SERVICE_CONNECTION_ID", CLIENT_ID),
    ]);
    let pipelines = AzurePipelines::from_environment(&pipelines).unwrap();
    get_token_with(pipelines.transport(recorder.clone())).await;
    recorder.assert_sensitive("authorization");

    let pod = PodDirectory::new();
    let cluster = Environment::from_iter([("KUBERNETES_SERVICE_HOST", "10.0.0.1")]);
    let cluster = KubernetesTokenRequest::from_environment(&cluster, "shop", "orders").unwrap();
    let cluster = cluster.token_file(pod.token_file());
    get_token_with(cluster.transport(recorder.clone())).await;
    recorder.assert_sensitive("authorization");
}

#[tokio::test]
async fn secret_of_a_managed_identity_endpoint_is_marked_sensitive() {
    let folder = tempfile::tempdir().unwrap();
    let challenge_file = folder.path().join("a.key");
    std::fs::write(&challenge_file, "planted").unwrap();
    let endpoint = "http://127.0.0.1:1/metadata/identity/oauth2/token";
    for (variables, header) in [
        ([("MSI_ENDPOINT", endpoint), ("MSI_SECRET", "planted")], "secret"),
        (
            [("IDENTITY_ENDPOINT", endpoint), ("IMDS_ENDPOINT", endpoint)],
            "authorization",
        ),
        (
            [
                ("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://127.0.0.1:1"),
                ("AZURE_CLIENT_ID", CLIENT_ID),
            ],
            "metadata",
        ),
    ] {
        let recorder = Recorder {
            challenge: Some(format!("Basic realm={}", challenge_file.display())),
            ..Recorder::default()
        };
        let credential = ManagedIdentityCredential::builder()
            .environment(variables.into_iter().collect())
            .arc_key_folder(folder.path())
            .transport(recorder.clone())
            .build()
            .unwrap();
        credential.token(&[VAULT]).await.unwrap();
        recorder.assert_sensitive(header);
    }
}

#[tokio::test]
async fn token_that_the_diagnosis_sends_to_a_resource_is_marked_sensitive() {
    let recorder = Recorder::default();
    let options = DiagnoseOptions::new()
        .transport(recorder.clone())
        .vault("https://v.vault.azure.net");
    let report = diagnose(&PodDirectory::new().environment(), &options).await;
    assert!(report.is_healthy(), "{report:?}");
    recorder.assert_sensitive("authorization");
}

#[tokio::test]
async fn token_that_the_middleware_adds_is_marked_sensitive() {
    let recorder = Recorder::default();
    let pod = PodDirectory::new();
    let credential = WorkloadIdentityCredential::builder()
        .environment(pod.environment())
        .transport(recorder.clone())
        .build()
        .unwrap();
    let client = ClientBuilder::new(reqwest::Client::new())
        .with(BearerTokenMiddleware::new(
            credential,
            VAULT,
            ["v.vault.azure.net"],
        ))
        .with(recorder.clone())
        .build();
    client.get("https://v.vault.azure.net").send().await.unwrap_err();
    recorder.assert_sensitive("authorization");
}

async fn get_token_with(source: impl ClientAssertion) {
    let credential = ClientAssertionCredential::builder()
        .environment(Environment::default())
        .tenant_id(TENANT_ID)
        .client_id(CLIENT_ID)
        .transport(Recorder::default())
        .assertion(source)
        .build()
        .unwrap();
    credential.token(&[VAULT]).await.unwrap();
}

/// Answers each request with a token, and keeps the headers of all.
#[derive(Clone, Debug, Default)]
struct Recorder {
    headers: Arc<Mutex<Vec<HeaderMap>>>,
    /// For the requests to Azure Arc without an answer.
    challenge: Option<String>,
}

impl Recorder {
    #[track_caller]
    fn assert_sensitive(&self, name: &str) {
        let requests = std::mem::take(&mut *self.headers.lock().unwrap());
        let values: Vec<_> = requests.iter().filter_map(|headers| headers.get(name)).collect();
        assert!(!values.is_empty(), "no request has the header {name}");
        assert!(values.iter().all(|value| value.is_sensitive()), "{name}");
    }
}

#[async_trait]
impl Transport for Recorder {
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, Error> {
        let query = request.uri().query().unwrap_or_default();
        let is_of_arc = query.contains("api-version=2020-06-01");
        let is_challenged = is_of_arc && !request.headers().contains_key(AUTHORIZATION);
        self.headers.lock().unwrap().push(request.headers().clone());
        let token = service_account_token("id", Duration::from_secs(3600));
        let body = serde_json::json!({
            "value": token,
            "oidcToken": token,
            "status": {"token": token},
            "access_token": "planted",
            "token_type": "Bearer",
            "expires_in": 3600,
            "expires_on": "4102444800",
            "resource": "r",
            "token_endpoint": "https://login.microsoftonline.com/",
        });
        let response = Response::builder();
        let response = match &self.challenge {
            Some(challenge) if is_challenged => response.status(401).header("www-authenticate", challenge),
            _ => response,
        };
        let response = response.body(Bytes::from(body.to_string()));
        response.map_err(|error| Error::new(ErrorKind::Protocol, error.to_string()))
    }
}

/// Ends the request.
#[async_trait]
impl Middleware for Recorder {
    async fn handle(
        &self,
        request: reqwest::Request,
        _: &mut http::Extensions,
        _: Next<'_>,
    ) -> reqwest_middleware::Result<reqwest::Response> {
        self.headers.lock().unwrap().push(request.headers().clone());
        Err(reqwest_middleware::Error::middleware(std::io::Error::other(
            "recorded",
        )))
    }
}
