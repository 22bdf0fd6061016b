//! Jobs of CI systems: each source of client assertions against the emulator's token services and its
//! Entra.

use std::sync::Arc;

use entra_workload::assertion::{AzurePipelines, GitHubActions, TerraformOidc};
use entra_workload::builder::{AzurePipelinesCredentialBuilder, ClientAssertionCredentialBuilder};
use entra_workload::transport::HttpTransport;
use entra_workload::{
    AzurePipelinesCredential, ChainedTokenCredential, ClientAssertionCredential, Cloud, CustomCloud,
    Environment, Error, ErrorKind,
};
use entra_workload_emulator::{CiJob, Emulator, Endpoint, Fault};

use crate::support::identifiers::{CLIENT_ID, TENANT_ID};
use crate::support::log::{assert_no_secret, watch_for_secrets};
use crate::support::transport::fake_endpoint;

const SCOPES: [&str; 1] = ["https://vault.azure.net/.default"];

async fn start() -> Emulator {
    watch_for_secrets();
    Emulator::start().await.unwrap()
}

fn github(emulator: &Emulator) -> CiJob {
    let subject = "repo:contoso/orders:ref:refs/heads/main";
    emulator.github_job("contoso/orders", subject).unwrap()
}

fn pipelines(emulator: &Emulator) -> CiJob {
    emulator.pipelines_job("contoso", "orders-prod").unwrap()
}

fn transport(emulator: &Emulator) -> HttpTransport {
    HttpTransport::with_root_certificates(emulator.ca_certificate_pem().as_bytes()).unwrap()
}

fn environment(job: &CiJob) -> Environment {
    job.variables().iter().cloned().collect()
}

/// The variables of a job under other names.
fn renamed(job: &CiJob, names: &[(&'static str, &'static str)]) -> Environment {
    let variables = job.variables().iter().cloned();
    variables
        .map(|(name, value)| {
            let new = names.iter().find(|(old, _)| *old == name);
            (new.map_or(name, |(_, new)| *new), value)
        })
        .collect()
}

fn github_actions(emulator: &Emulator, job: &CiJob) -> GitHubActions {
    GitHubActions::from_environment(&environment(job))
        .unwrap()
        .transport(transport(emulator))
}

fn credential(emulator: &Emulator, job: &CiJob) -> ClientAssertionCredentialBuilder {
    ClientAssertionCredential::builder()
        .environment(environment(job))
        .transport(transport(emulator))
        .tenant_id(job.tenant_id())
        .client_id(job.client_id())
}

fn pipelines_credential(emulator: &Emulator, job: &CiJob) -> AzurePipelinesCredentialBuilder {
    AzurePipelinesCredential::builder()
        .environment(environment(job))
        .transport(transport(emulator))
}

/// Gets an error and checks that it contains no secret.
async fn failure(credential: &ClientAssertionCredential) -> Error {
    let error = credential.token(&SCOPES).await.unwrap_err();
    assert_no_secret(&error);
    error
}

#[tokio::test]
async fn job_of_github_actions_gets_a_token() {
    let emulator = start().await;
    let job = github(&emulator);
    let source = github_actions(&emulator, &job);
    let credential = credential(&emulator, &job).assertion(source).build().unwrap();
    credential.token(&SCOPES).await.unwrap();
    let requests = emulator.requests_to(Endpoint::GitHubActions);
    assert_eq!(
        requests[0].query(),
        Some("api-version=2.0&audience=api%3A%2F%2FAzureADTokenExchange")
    );
}

#[tokio::test]
async fn token_of_github_is_fetched_for_each_token_request() {
    let emulator = start().await;
    let job = github(&emulator);
    let source = github_actions(&emulator, &job);
    let credential = credential(&emulator, &job).assertion(source).build().unwrap();
    for scope in [
        "https://vault.azure.net/.default",
        "https://storage.azure.com/.default",
    ] {
        credential.token(&[scope]).await.unwrap();
        credential.token(&[scope]).await.unwrap();
    }
    assert_eq!(emulator.requests_to(Endpoint::GitHubActions).len(), 2);
    assert_eq!(emulator.requests_to(Endpoint::Entra).len(), 2);
}

#[tokio::test]
async fn audience_follows_the_cloud_unless_the_source_has_its_own() {
    let emulator = start().await;
    let job = github(&emulator);
    let custom = Cloud::Custom(
        CustomCloud::new(emulator.authority_host()).token_exchange_audience("api://OfTheCustomCloud"),
    );
    for (cloud, own, expected) in [
        (None, None, "api%3A%2F%2FAzureADTokenExchange"),
        (
            Some(Cloud::UsGovernment),
            None,
            "api%3A%2F%2FAzureADTokenExchangeUSGov",
        ),
        (Some(Cloud::China), None, "api%3A%2F%2FAzureADTokenExchangeChina"),
        (Some(custom.clone()), None, "api%3A%2F%2FOfTheCustomCloud"),
        (
            Some(Cloud::China),
            Some("api://AzureADTokenExchange"),
            "api%3A%2F%2FAzureADTokenExchange",
        ),
    ] {
        let source = github_actions(&emulator, &job);
        let source = match own {
            Some(audience) => source.audience(audience),
            None => source,
        };
        let builder = credential(&emulator, &job).assertion(source);
        let builder = match cloud {
            // The login host of the option wins over that of the cloud.
            Some(cloud) => builder.cloud(cloud).authority_host(emulator.authority_host()),
            None => builder,
        };
        let result = builder.build().unwrap().token(&SCOPES).await;
        let requests = emulator.requests_to(Endpoint::GitHubActions);
        let query = requests.last().unwrap().query().unwrap();
        assert!(query.ends_with(&format!("audience={expected}")), "{query}");
        assert_eq!(result.is_ok(), expected == "api%3A%2F%2FAzureADTokenExchange");
    }
}

#[tokio::test]
async fn custom_cloud_sets_the_login_host_and_replaces_the_variable() {
    let emulator = start().await;
    let job = github(&emulator);
    let wrong = [("AZURE_AUTHORITY_HOST", "https://127.0.0.1:9/")];
    let credential = ClientAssertionCredential::builder()
        .environment(Environment::from_iter(wrong))
        .transport(transport(&emulator))
        .tenant_id(job.tenant_id())
        .client_id(job.client_id())
        .cloud(Cloud::Custom(CustomCloud::new(emulator.authority_host())))
        .assertion(github_actions(&emulator, &job))
        .build()
        .unwrap();
    credential.token(&SCOPES).await.unwrap();
}

#[test]
fn github_source_is_unavailable_without_its_variables() {
    for (variables, missing) in [
        (&[][..], "ACTIONS_ID_TOKEN_REQUEST_URL"),
        (
            &[("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "planted")],
            "ACTIONS_ID_TOKEN_REQUEST_URL",
        ),
        (
            &[("ACTIONS_ID_TOKEN_REQUEST_URL", "https://a/?b")],
            "ACTIONS_ID_TOKEN_REQUEST_TOKEN",
        ),
    ] {
        let error = GitHubActions::from_environment(&variables.iter().copied().collect()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        let text = error.to_string();
        assert!(text.starts_with(&format!("{missing} is not set")), "{text}");
        assert!(text.contains("permissions: id-token: write"), "{text}");
        assert_no_secret(&error);
    }
}

#[test]
fn github_source_rejects_a_url_that_is_not_https() {
    let variables = [
        ("ACTIONS_ID_TOKEN_REQUEST_URL", "http://example.com/planted"),
        ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "planted"),
    ];
    let error = GitHubActions::from_environment(&Environment::from_iter(variables)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert!(
        error
            .to_string()
            .starts_with("ACTIONS_ID_TOKEN_REQUEST_URL must start with https://")
    );
    assert_no_secret(&error);
}

#[tokio::test]
async fn error_says_so_when_the_job_has_ended() {
    let emulator = start().await;
    let job = github(&emulator);
    job.finish();
    let source = github_actions(&emulator, &job);
    let credential = credential(&emulator, &job).assertion(source).build().unwrap();
    let error = failure(&credential).await;
    assert_eq!(error.kind(), ErrorKind::Rejected);
    assert_eq!(error.status().unwrap(), 401);
    assert!(
        error.to_string().contains("valid only while its job runs"),
        "{error}"
    );
    assert!(emulator.requests_to(Endpoint::Entra).is_empty());
}

#[tokio::test]
async fn job_of_azure_pipelines_gets_a_token() {
    let emulator = start().await;
    let job = pipelines(&emulator);
    pipelines_credential(&emulator, &job)
        .build()
        .unwrap()
        .token(&SCOPES)
        .await
        .unwrap();
    // The same source in the general credential: client and tenant are those of the service connection.
    let source = AzurePipelines::from_environment(&environment(&job)).unwrap();
    let credential = ClientAssertionCredential::builder()
        .environment(environment(&job))
        .transport(transport(&emulator))
        .assertion(source.transport(transport(&emulator)))
        .build()
        .unwrap();
    credential.token(&SCOPES).await.unwrap();
    for request in emulator.requests_to(Endpoint::AzurePipelines) {
        assert_eq!(request.method(), "POST");
        assert_eq!(request.header("x-tfs-fedauthredirect"), Some("Suppress"));
        assert!(
            request
                .query()
                .unwrap()
                .starts_with("api-version=7.1&serviceConnectionId=")
        );
    }
}

#[tokio::test]
async fn invalid_access_token_of_a_job_is_named() {
    let emulator = start().await;
    let job = pipelines(&emulator);
    let builder = pipelines_credential(&emulator, &job).system_access_token("planted-access-token");
    let error = builder.build().unwrap().token(&SCOPES).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected);
    assert!(error.to_string().contains("$(System.AccessToken)"), "{error}");
    // The ID that the support of Azure DevOps asks for.
    assert_eq!(error.correlation_id().unwrap().len(), 36);
    assert_no_secret(&error);
}

#[tokio::test]
async fn sign_in_page_of_azure_pipelines_is_named_for_what_it_is() {
    let emulator = start().await;
    for (status, kind, text) in [
        (
            302,
            ErrorKind::Protocol,
            "a redirect to a sign-in page; the access token is not valid here",
        ),
        (
            203,
            ErrorKind::Protocol,
            "a sign-in page in place of a token; the access token is not valid",
        ),
        (
            401,
            ErrorKind::Rejected,
            "refused the request (status 401); the access token is not valid",
        ),
    ] {
        let job = pipelines(&emulator);
        let page = http::Response::builder()
            .status(status)
            .body("<html>planted</html>".into());
        emulator.inject(Endpoint::AzurePipelines, Fault::reply(page.unwrap()));
        let credential = pipelines_credential(&emulator, &job).build().unwrap();
        let error = credential.token(&SCOPES).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(text), "{error}");
        assert_no_secret(&error);
    }
}

#[tokio::test]
async fn unknown_service_connection_is_named() {
    let emulator = start().await;
    let job = pipelines(&emulator);
    let builder =
        pipelines_credential(&emulator, &job).service_connection_id("00000000-0000-4000-8000-00000000000f");
    let error = builder.build().unwrap().token(&SCOPES).await.unwrap_err();
    assert_eq!(error.status().unwrap(), 404);
    assert!(
        error
            .to_string()
            .contains("check the ID of the service connection"),
        "{error}"
    );
}

#[test]
fn missing_variables_of_azure_pipelines_are_named() {
    const URI: (&str, &str) = ("SYSTEM_OIDCREQUESTURI", "https://dev.azure.com/contoso/x");
    const TOKEN: (&str, &str) = ("SYSTEM_ACCESSTOKEN", "planted");
    const CONNECTION: (&str, &str) = (
        "AZURESUBSCRIPTION_SERVICE_CONNECTION_ID",
        "0a8ff2d6-6f2a-4a0c-9c1d-3c9f4f4f2a77",
    );
    for (variables, kind, missing) in [
        (
            &[TOKEN, CONNECTION][..],
            ErrorKind::Unavailable,
            "SYSTEM_OIDCREQUESTURI is not set",
        ),
        (
            &[URI, CONNECTION],
            ErrorKind::Configuration,
            "SYSTEM_ACCESSTOKEN is not set; map it",
        ),
        (
            &[URI, TOKEN],
            ErrorKind::Configuration,
            "AZURESUBSCRIPTION_SERVICE_CONNECTION_ID is not set",
        ),
        (
            &[URI, TOKEN, CONNECTION],
            ErrorKind::Configuration,
            "AZURE_CLIENT_ID is not set",
        ),
    ] {
        let builder = AzurePipelinesCredential::builder();
        let environment = variables.iter().copied().collect();
        let error = builder.environment(environment).build().unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().starts_with(missing), "{error}");
        assert_no_secret(&error);
    }
}

#[tokio::test]
async fn terraform_variables_lead_to_the_token_service_of_the_job() {
    let emulator = start().await;
    let github = github(&emulator);
    let pipelines = pipelines(&emulator);
    for (job, endpoint, names) in [
        (
            &github,
            Endpoint::GitHubActions,
            &[
                ("ACTIONS_ID_TOKEN_REQUEST_URL", "ARM_OIDC_REQUEST_URL"),
                ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "ARM_OIDC_REQUEST_TOKEN"),
            ][..],
        ),
        (&github, Endpoint::GitHubActions, &[]),
        (&pipelines, Endpoint::AzurePipelines, &[]),
        (
            &pipelines,
            Endpoint::AzurePipelines,
            &[
                ("SYSTEM_OIDCREQUESTURI", "ARM_OIDC_REQUEST_URL"),
                ("SYSTEM_ACCESSTOKEN", "ARM_OIDC_REQUEST_TOKEN"),
                (
                    "AZURESUBSCRIPTION_SERVICE_CONNECTION_ID",
                    "ARM_ADO_PIPELINE_SERVICE_CONNECTION_ID",
                ),
                ("AZURESUBSCRIPTION_CLIENT_ID", "ARM_CLIENT_ID"),
                ("AZURESUBSCRIPTION_TENANT_ID", "ARM_TENANT_ID"),
            ],
        ),
    ] {
        let before = emulator.requests_to(endpoint).len();
        let source = TerraformOidc::from_environment(&renamed(job, names)).unwrap();
        let builder = ClientAssertionCredential::builder()
            .environment(environment(job))
            .transport(transport(&emulator))
            .assertion(source.transport(transport(&emulator)));
        let builder = if endpoint == Endpoint::GitHubActions {
            builder.client_id(job.client_id()).tenant_id(job.tenant_id())
        } else {
            builder
        };
        builder.build().unwrap().token(&SCOPES).await.unwrap();
        assert_eq!(emulator.requests_to(endpoint).len(), before + 1);
    }
}

/// Each URL has a name of its own, and so has each token.
#[tokio::test]
async fn terraform_token_goes_to_the_host_of_its_own_system_only() {
    const ARM: [(&str, &str); 2] = [
        ("ARM_OIDC_REQUEST_URL", "https://arm.example/"),
        ("ARM_OIDC_REQUEST_TOKEN", "arm"),
    ];
    const GITHUB: [(&str, &str); 2] = [
        ("ACTIONS_ID_TOKEN_REQUEST_URL", "https://github.example/"),
        ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "github"),
    ];
    const PIPELINES: [(&str, &str); 2] = [
        ("SYSTEM_OIDCREQUESTURI", "https://pipelines.example/"),
        ("SYSTEM_ACCESSTOKEN", "pipelines"),
    ];
    const CONNECTION: [(&str, &str); 1] = [(
        "AZURESUBSCRIPTION_SERVICE_CONNECTION_ID",
        "0a8ff2d6-6f2a-4a0c-9c1d-3c9f4f4f2a77",
    )];
    for (variables, expected) in [
        (&[&ARM[..], &GITHUB, &PIPELINES][..], Ok("arm")),
        (&[&ARM, &GITHUB, &PIPELINES, &CONNECTION], Ok("arm")),
        (&[&GITHUB, &PIPELINES], Ok("github")),
        (&[&GITHUB, &PIPELINES, &CONNECTION], Ok("github")),
        (&[&GITHUB[1..], &PIPELINES, &CONNECTION], Ok("pipelines")),
        (&[&GITHUB, &PIPELINES[1..]], Ok("github")),
        (&[&ARM[..1], &GITHUB], Err("ARM_OIDC_REQUEST_TOKEN")),
        (&[&ARM[1..], &PIPELINES, &CONNECTION], Err("ARM_OIDC_REQUEST_URL")),
        (
            &[&GITHUB[..1], &PIPELINES, &CONNECTION],
            Err("ACTIONS_ID_TOKEN_REQUEST_TOKEN"),
        ),
        (&[&PIPELINES[..1], &GITHUB[1..]], Err("SYSTEM_ACCESSTOKEN")),
    ] {
        let environment: Environment = variables.iter().copied().flatten().copied().collect();
        let source = TerraformOidc::from_environment(&environment);
        let source = match (source, expected) {
            (Ok(source), Ok(_)) => source,
            (Err(error), Err(missing)) => {
                assert!(
                    error.to_string().starts_with(&format!("{missing} is not set")),
                    "{error}"
                );
                continue;
            }
            (result, _) => panic!("{variables:?}: {result:?}"),
        };
        let (transport, mut endpoint) = fake_endpoint();
        let credential = ClientAssertionCredential::builder()
            .tenant_id(TENANT_ID)
            .client_id(CLIENT_ID)
            .assertion(source.transport(transport))
            .build()
            .unwrap();
        let service = async {
            let request = endpoint.request().await;
            let token = request
                .header("authorization")
                .trim_start_matches("Bearer ")
                .to_owned();
            assert!(
                request.uri.starts_with(&format!("https://{token}.example/")),
                "{}",
                request.uri
            );
            request.reply(400, &[], "");
            token
        };
        let (_, token) = tokio::join!(credential.token(&SCOPES), service);
        assert_eq!(Ok(token.as_str()), expected, "{variables:?}");
    }
}

#[tokio::test]
async fn terraform_token_and_file_are_used_before_a_token_service() {
    let emulator = start().await;
    let pod = emulator.pod("shop", "orders").unwrap();
    let token = std::fs::read_to_string(pod.token_file()).unwrap();
    let file = pod.token_file().display().to_string();
    let ids = [
        ("ARM_CLIENT_ID", pod.client_id()),
        ("ARM_TENANT_ID", pod.tenant_id()),
    ];
    let service = [
        ("ARM_OIDC_REQUEST_URL", "https://127.0.0.1:9/"),
        ("ARM_OIDC_REQUEST_TOKEN", "planted"),
    ];
    for variable in [
        ("ARM_OIDC_TOKEN", token.as_str()),
        ("ARM_OIDC_TOKEN_FILE_PATH", file.as_str()),
        ("AZURE_FEDERATED_TOKEN_FILE", file.as_str()),
    ] {
        let environment: Environment = ids.into_iter().chain(service).chain([variable]).collect();
        let source = TerraformOidc::from_environment(&environment).unwrap();
        assert!(!format!("{source:?}").contains("eyJ"), "{source:?}");
        let credential = ClientAssertionCredential::builder()
            .environment(environment)
            .authority_host(emulator.authority_host())
            .transport(transport(&emulator))
            .assertion(source)
            .build()
            .unwrap();
        credential.token(&SCOPES).await.unwrap();
    }
}

#[tokio::test]
async fn expired_terraform_token_is_not_sent() {
    let emulator = start().await;
    let pod = emulator.pod("shop", "orders").unwrap();
    let expired = entra_workload_emulator::ServiceAccountToken::new("shop", "orders")
        .issued_at(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000));
    for (token, reason) in [
        (
            emulator.issuer().sign(&expired),
            "ARM_OIDC_TOKEN has expired; set ARM_OIDC_TOKEN_FILE_PATH",
        ),
        ("planted".to_owned(), "ARM_OIDC_TOKEN is not a JWT"),
    ] {
        let environment = Environment::from_iter([("ARM_OIDC_TOKEN", token)]);
        let credential = ClientAssertionCredential::builder()
            .tenant_id(pod.tenant_id())
            .client_id(pod.client_id())
            .transport(transport(&emulator))
            .authority_host(emulator.authority_host())
            .assertion(TerraformOidc::from_environment(&environment).unwrap())
            .build()
            .unwrap();
        let error = failure(&credential).await;
        assert_eq!(error.kind(), ErrorKind::Assertion);
        assert!(error.to_string().starts_with(reason), "{error}");
    }
    assert!(emulator.requests_to(Endpoint::Entra).is_empty());
}

#[test]
fn incomplete_terraform_variables_are_named() {
    const URL: (&str, &str) = ("ARM_OIDC_REQUEST_URL", "https://a/?b=c");
    const TOKEN: (&str, &str) = ("ARM_OIDC_REQUEST_TOKEN", "planted");
    const PIPELINES_URL: (&str, &str) = ("SYSTEM_OIDCREQUESTURI", "https://a/");
    const PIPELINES_TOKEN: (&str, &str) = ("SYSTEM_ACCESSTOKEN", "planted");
    for (variables, kind, message) in [
        (
            &[][..],
            ErrorKind::Unavailable,
            "none of ARM_OIDC_TOKEN, ARM_OIDC_TOKEN_FILE_PATH and",
        ),
        (
            &[PIPELINES_TOKEN],
            ErrorKind::Unavailable,
            "none of ARM_OIDC_TOKEN",
        ),
        (
            &[URL],
            ErrorKind::Configuration,
            "ARM_OIDC_REQUEST_TOKEN is not set and ARM_OIDC_REQUEST_URL",
        ),
        (
            &[TOKEN],
            ErrorKind::Configuration,
            "ARM_OIDC_REQUEST_URL is not set and ARM_OIDC_REQUEST_TOKEN",
        ),
        (
            &[PIPELINES_URL, PIPELINES_TOKEN],
            ErrorKind::Configuration,
            "ARM_ADO_PIPELINE_SERVICE_CONNECTION_ID is not set",
        ),
    ] {
        let error = TerraformOidc::from_environment(&variables.iter().copied().collect()).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().starts_with(message), "{error}");
        assert_no_secret(&error);
    }
}

#[tokio::test]
async fn chain_goes_past_ci_systems_that_this_is_not_a_job_of() {
    let emulator = start().await;
    let job = pipelines(&emulator);
    let github = GitHubActions::from_environment(&environment(&job));
    let pipelines: Arc<AzurePipelinesCredential> = pipelines_credential(&emulator, &job).build().unwrap();
    let chain = ChainedTokenCredential::builder()
        .then_error("github actions", github.unwrap_err())
        .then("azure pipelines", pipelines)
        .build()
        .unwrap();
    let identity = chain.check(&SCOPES).await.unwrap();
    assert_eq!(identity.credential(), "azure pipelines");
    assert_eq!(identity.client_id(), Some(job.client_id()));
}

#[tokio::test]
async fn token_service_that_is_unavailable_for_a_moment_is_asked_again() {
    let emulator = start().await;
    let job = github(&emulator);
    emulator.inject(Endpoint::GitHubActions, Fault::status(503));
    emulator.inject(Endpoint::GitHubActions, Fault::reset());
    let source = github_actions(&emulator, &job);
    let credential = credential(&emulator, &job).assertion(source).build().unwrap();
    credential.token(&SCOPES).await.unwrap();
    assert_eq!(emulator.requests_to(Endpoint::GitHubActions).len(), 3);
    assert_eq!(emulator.requests_to(Endpoint::Entra).len(), 1);
}

#[tokio::test]
async fn outage_of_a_token_service_is_a_transient_error() {
    let emulator = start().await;
    let job = github(&emulator);
    emulator.inject(Endpoint::GitHubActions, Fault::status(503).times(9));
    let source = github_actions(&emulator, &job);
    let credential = credential(&emulator, &job).assertion(source).build().unwrap();
    let error = failure(&credential).await;
    assert!(
        error.is_transient() && error.kind() == ErrorKind::Rejected,
        "{error:?}"
    );
    assert!(
        error.to_string().contains("temporarily unavailable (status 503)"),
        "{error}"
    );
    assert_eq!(emulator.requests_to(Endpoint::GitHubActions).len(), 4);
    // The key cools down.
    failure(&credential).await;
    assert_eq!(emulator.requests_to(Endpoint::GitHubActions).len(), 4);
}
