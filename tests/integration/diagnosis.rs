//! What a report says about pods that are broken in one way.

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use entra_workload::diagnose::{Check, DiagnoseOptions, Property, Report, SkipReason, State, Step, diagnose};
use entra_workload::transport::Transport;
use entra_workload::{Code, Environment, Error, ErrorKind};
use http::{Request, Response};

use crate::support::identifiers::{CLIENT_ID, TENANT_ID};
use crate::support::pod::PodDirectory;

#[tokio::test]
async fn issuer_that_the_pod_cannot_reach_is_skipped() {
    let pod = PodDirectory::new();
    pod.project(token(r#""api://AzureADTokenExchange""#));
    let report = report(&pod, &[], Network::default()).await;
    let issuer = check(&report, Step::Issuer);
    assert_eq!(issuer.state, State::Skipped);
    assert_eq!(issuer.skipped, Some(SkipReason::NotReachableFromPod));
    assert_eq!(report.findings[0].code, Code::ISSUER_UNREACHABLE);
}

#[tokio::test]
async fn failed_check_says_what_was_presented_and_what_was_expected() {
    let pod = PodDirectory::new();
    pod.project(token(r#""https://kubernetes.default.svc""#));
    let report = report(&pod, &[], Network::default()).await;
    let file = check(&report, Step::TokenFile);
    assert_eq!(file.state, State::Failed);
    assert_eq!(file.codes, [Code::TOKEN_OF_THE_API_SERVER]);
    let finding = &report.findings[0];
    let comparison = finding.comparison(Property::Audience).unwrap();
    assert_eq!(file.comparison.as_ref(), Some(comparison));
    assert_eq!(comparison.presented, "https://kubernetes.default.svc");
    assert_eq!(comparison.expected.as_deref(), Some("api://AzureADTokenExchange"));
    assert!(finding.aadsts.contains(&700_212), "{:?}", finding.aadsts);
}

#[tokio::test]
async fn clock_is_not_compared_without_a_response_or_a_date() {
    let silent = Network {
        login_host_is_silent: true,
        ..Network::default()
    };
    for (network, reason) in [
        (silent, SkipReason::NoResponse),
        (Network::default(), SkipReason::NoDate),
    ] {
        let report = report(&PodDirectory::new(), &[], network).await;
        let clock = check(&report, Step::Clock);
        assert_eq!((clock.state, clock.skipped), (State::Skipped, Some(reason)));
    }
    // The same with a token proxy, which is not asked for the time.
    let proxy = [("AZURE_KUBERNETES_TOKEN_PROXY", "https://127.0.0.1:1")];
    let report = report(&PodDirectory::new(), &proxy, Network::default()).await;
    for step in [Step::Clock, Step::LoginHost] {
        let check = check(&report, step);
        assert_eq!(check.state, State::Skipped);
        assert_eq!(check.skipped, Some(SkipReason::TokenProxy));
    }
}

#[tokio::test]
async fn every_invalid_variable_is_reported() {
    let variables = [
        ("AZURE_CLIENT_ID", "orders"),
        ("AZURE_TENANT_ID", "a/b"),
        ("AZURE_AUTHORITY_HOST", "http://login.example.com"),
    ];
    let report = report(&PodDirectory::new(), &variables, Network::default()).await;
    let mut codes: Vec<String> = report
        .findings
        .iter()
        .filter(|finding| finding.severity == entra_workload::diagnose::Severity::Error)
        .map(|finding| finding.code.to_string())
        .collect();
    codes.sort();
    assert_eq!(codes, ["EW105", "EW106", "EW107"]);
    let missing = [("AZURE_CLIENT_ID", ""), ("AZURE_AUTHORITY_HOST", "login")];
    let report = self::report(&PodDirectory::new(), &missing, Network::default()).await;
    let codes = report.findings.iter().map(|finding| finding.code.to_string());
    assert_eq!(codes.take(2).collect::<Vec<_>>(), ["EW103", "EW107"]);
}

#[tokio::test]
async fn words_of_another_service_are_not_in_the_report() {
    let variables = [
        ("AZURE_FEDERATED_TOKEN_FILE", ""),
        ("AZURE_TOKEN_CREDENTIALS", "ManagedIdentityCredential"),
    ];
    let network = Network {
        other_hosts_refuse: true,
        ..Network::default()
    };
    let report = report(&PodDirectory::new(), &variables, network).await;
    let shown = format!("{report:?}");
    let mut findings = report.findings.iter();
    let identity = findings.find_map(|finding| finding.identity.as_ref()).unwrap();
    assert_eq!(identity.credential, "ManagedIdentityCredential");
    assert_eq!((identity.has_token, identity.status), (false, Some(400)));
    assert!(!shown.contains("planted"), "{shown}");
}

#[tokio::test]
async fn refusal_names_the_federated_credential_and_the_pod_that_needs_it() {
    let pod = PodDirectory::new();
    pod.project(token(r#""api://AzureADTokenExchange""#));
    let report = report(&pod, &[], Network::default()).await;
    let cause = report.cause().unwrap();
    assert_eq!(cause.code, Code::SUBJECT_MISMATCH);
    let credential = cause.federated_credential.as_ref().unwrap();
    let parts = [
        &credential.client_id,
        &credential.issuer,
        &credential.subject,
        &credential.audience,
    ];
    let expected = [
        CLIENT_ID,
        "https://issuer.example.com/",
        "system:serviceaccount:shop:orders",
        "api://AzureADTokenExchange",
    ];
    assert_eq!(parts, expected);
    let pod = &report.pod;
    let names = [&pod.namespace, &pod.service_account, &pod.client_id];
    assert_eq!(
        names.map(|name| name.as_deref().unwrap()),
        ["shop", "orders", CLIENT_ID]
    );
    let error = cause.error.as_ref().unwrap();
    assert_eq!(error.oauth_error(), Some("invalid_client"));
}

#[tokio::test]
async fn files_are_read_by_the_function_of_the_options() {
    let pod = PodDirectory::new();
    let content = token(r#""api://AzureADTokenExchange""#);
    let options = DiagnoseOptions::new()
        .transport(Network::default())
        .read_files(move |path| {
            assert!(path.is_absolute());
            Ok(content.clone().into_bytes())
        });
    std::fs::remove_file(pod.token_file()).unwrap();
    let report = diagnose(&pod.environment(), &options).await;
    assert_eq!(check(&report, Step::TokenFile).state, State::Passed, "{report:?}");
    assert_eq!(report.cause().unwrap().code, "EW404");

    let options = DiagnoseOptions::new()
        .transport(Network::default())
        .read_files(|_| Ok(vec![b'a'; 1024 * 1024]));
    let report = diagnose(&pod.environment(), &options).await;
    assert_eq!(report.cause().unwrap().code, "EW114");
}

/// * `variables`: those that differ; an empty one is not set.
async fn report(pod: &PodDirectory, variables: &[(&str, &str)], network: Network) -> Report {
    let token_file = pod.token_file();
    let webhook = [
        ("AZURE_CLIENT_ID", CLIENT_ID),
        ("AZURE_TENANT_ID", TENANT_ID),
        ("AZURE_FEDERATED_TOKEN_FILE", token_file.to_str().unwrap()),
        ("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://127.0.0.1:1"),
    ];
    let environment: Environment = webhook.iter().chain(variables).copied().collect();
    diagnose(&environment, &DiagnoseOptions::new().transport(network)).await
}

fn check(report: &Report, step: Step) -> &Check {
    let mut checks = report.checks.iter();
    checks.find(|check| check.step == step).unwrap()
}

fn token(audience: &str) -> String {
    let claims = format!(
        r#"{{"iss":"https://issuer.example.com/","sub":"system:serviceaccount:shop:orders","aud":{audience},"exp":4102444800}}"#
    );
    [r#"{"alg":"RS256"}"#, &claims, "planted-signature"]
        .map(|part| URL_SAFE_NO_PAD.encode(part))
        .join(".")
}

/// Entra, which knows the tenant and refuses each token request; no other host is reachable, unless it refuses.
#[derive(Clone, Copy, Debug, Default)]
struct Network {
    login_host_is_silent: bool,
    other_hosts_refuse: bool,
}

#[async_trait]
impl Transport for Network {
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, Error> {
        let is_of_entra = request.uri().host() == Some("login.microsoftonline.com");
        if !is_of_entra && self.other_hosts_refuse {
            let body = r#"{"error":"planted_code","error_description":"planted text"}"#;
            return Ok(Response::builder().status(400).body(body.into()).unwrap());
        }
        if !is_of_entra || self.login_host_is_silent {
            return Err(Error::new(ErrorKind::Transport, "the host cannot be reached"));
        }
        let (status, body) = if request.method() == "GET" {
            (200, r#"{"token_endpoint":"https://login.microsoftonline.com/"}"#)
        } else {
            (
                401,
                r#"{"error":"invalid_client","error_codes":[700213],"error_description":"AADSTS700213"}"#,
            )
        };
        let response = Response::builder().status(status);
        Ok(response.body(Bytes::from_static(body.as_bytes())).unwrap())
    }
}
