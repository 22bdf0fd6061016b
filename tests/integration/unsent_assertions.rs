//! Assertions that are never sent: tokens for the API server of a cluster, to anybody; and with
//! `known_clouds_only`, every token to a host of no known cloud.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use entra_workload::assertion::{AssertionRequest, ProjectedTokenFile};
use entra_workload::{
    ClientAssertionCredential, ClientSecretCredential, Credential, Environment, Error, ErrorKind, Secret,
    WorkloadIdentityCredential,
};

use crate::support::identifiers::{CLIENT_ID, TENANT_ID, VAULT};
use crate::support::pod::PodDirectory;
use crate::support::transport::{FakeEndpoint, FakeTransport, fake_endpoint};

/// Claims of tokens that the API server accepts.
const KEYS_TO_THE_CLUSTER: [&str; 4] = [
    r#"{"aud":["https://kubernetes.default.svc"],"iss":"https://issuer/","sub":"system:serviceaccount:ns:app"}"#,
    r#"{"aud":["api://AzureADTokenExchange","https://kubernetes.default.svc.cluster.local","k3s"],"iss":"https://issuer/"}"#,
    r#"{"aud":["https://issuer/"],"iss":"https://issuer/","sub":"system:serviceaccount:ns:app"}"#,
    r#"{"iss":"kubernetes/serviceaccount","sub":"system:serviceaccount:ns:app"}"#,
];

#[tokio::test]
async fn token_for_the_api_server_is_sent_by_no_credential() {
    for claims in KEYS_TO_THE_CLUSTER {
        let pod = PodDirectory::new();
        pod.project(jwt(claims));
        let token = jwt(claims);
        let of_callback = move |_: AssertionRequest| {
            let token = Secret::from(token.as_str());
            async move { Ok::<_, Error>(token) }
        };
        let builder = || {
            ClientAssertionCredential::builder()
                .environment(Environment::default())
                .tenant_id(TENANT_ID)
                .client_id(CLIENT_ID)
        };
        let (transport, endpoint) = fake_endpoint();
        let of_pod = WorkloadIdentityCredential::builder()
            .environment(pod.environment())
            .transport(transport)
            .build();
        assert_refused(&*of_pod.unwrap(), endpoint).await;
        let (transport, endpoint) = fake_endpoint();
        let of_file = builder().assertion(ProjectedTokenFile::new(pod.token_file()));
        assert_refused(&*of_file.transport(transport).build().unwrap(), endpoint).await;
        let (transport, endpoint) = fake_endpoint();
        let of_callback = builder().assertion(of_callback).transport(transport);
        assert_refused(&*of_callback.build().unwrap(), endpoint).await;
    }
}

#[tokio::test]
async fn token_for_the_api_server_in_place_of_a_client_secret_is_not_sent() {
    for claims in KEYS_TO_THE_CLUSTER {
        let (transport, endpoint) = fake_endpoint();
        let credential = ClientSecretCredential::builder()
            .environment(Environment::default())
            .tenant_id(TENANT_ID)
            .client_id(CLIENT_ID)
            .client_secret(jwt(claims))
            .transport(transport)
            .build()
            .unwrap();
        assert_refused(&*credential, endpoint).await;
    }
}

#[tokio::test]
async fn token_for_a_custom_audience_is_sent() {
    for claims in [
        r#"{"aud":["https://vault.contoso.com"],"iss":"https://issuer/","sub":"system:serviceaccount:ns:app"}"#,
        r#"{"aud":"https://gitlab.com","iss":"https://gitlab.com","sub":"project_path:a/b"}"#,
    ] {
        let pod = PodDirectory::new();
        pod.project(jwt(claims));
        let (transport, mut endpoint) = fake_endpoint();
        let credential = WorkloadIdentityCredential::builder()
            .environment(pod.environment())
            .transport(transport)
            .build()
            .unwrap();
        let fetch = tokio::spawn(async move { credential.token(&[VAULT]).await });
        let request = endpoint.request().await;
        assert_eq!(request.form["client_assertion"], jwt(claims));
        request.grant("granted", 3600);
        assert_eq!(fetch.await.unwrap().unwrap().secret(), "granted");
    }
}

#[tokio::test]
async fn file_that_becomes_a_token_for_the_api_server_is_not_sent_in_a_retry() {
    let pod = PodDirectory::new();
    let (transport, mut endpoint) = fake_endpoint();
    let credential = WorkloadIdentityCredential::builder()
        .environment(pod.environment())
        .transport(transport)
        .build()
        .unwrap();
    let fetch = tokio::spawn(async move { credential.token(&[VAULT]).await });
    let request = endpoint.request().await;
    pod.project(jwt(KEYS_TO_THE_CLUSTER[0]));
    // The assertion is read again.
    request.refuse(401, "invalid_client", 700_024);
    let error = fetch.await.unwrap().unwrap_err();
    assert_eq!(error.aadsts_codes(), [700_024]);
    endpoint.assert_no_request().await;
}

async fn assert_refused(credential: &dyn Credential, mut endpoint: FakeEndpoint) {
    let request = entra_workload::TokenRequest::new(&[VAULT]);
    let error = credential.token_for(&request).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Assertion, "{error}");
    assert_eq!(error.code().unwrap().to_string(), "EW117", "{error}");
    assert!(!format!("{error:?}").contains("planted"), "{error:?}");
    endpoint.assert_no_request().await;
}

fn jwt(claims: &str) -> String {
    let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
    [r#"{"alg":"RS256"}"#, claims, "planted-signature"]
        .map(part)
        .join(".")
}

#[cfg(feature = "diagnose")]
mod diagnosis {
    use entra_workload::diagnose::{DiagnoseOptions, Report, diagnose};

    use super::*;

    /// Answers GET with a discovery document, and refuses the rest; returns the report, and the requests as method and
    /// host.
    async fn report(
        environment: &Environment,
        options: DiagnoseOptions,
        (transport, mut endpoint): (FakeTransport, FakeEndpoint),
    ) -> (Report, Vec<String>) {
        let options = options.transport(transport);
        let mut diagnosis = std::pin::pin!(diagnose(environment, &options));
        let mut requests = Vec::new();
        loop {
            tokio::select! {
                report = &mut diagnosis => return (report, requests),
                request = endpoint.request() => {
                    let host = request.uri.split('/').nth(2).unwrap_or_default();
                    requests.push(format!("{} {host}", request.method));
                    if request.method == "GET" {
                        request.reply(200, &[], r#"{"token_endpoint":"https://login/"}"#);
                    } else {
                        request.refuse(401, "invalid_client", 700_016);
                    }
                }
            }
        }
    }

    /// The variables of a pod with another login host.
    fn variables(pod: &PodDirectory, host: &str, selected: &str) -> Environment {
        Environment::from_iter([
            ("AZURE_CLIENT_ID", CLIENT_ID),
            ("AZURE_TENANT_ID", TENANT_ID),
            ("AZURE_AUTHORITY_HOST", host),
            ("AZURE_FEDERATED_TOKEN_FILE", pod.token_file().to_str().unwrap()),
            ("AZURE_CLIENT_SECRET", "planted-secret"),
            ("AZURE_TOKEN_CREDENTIALS", selected),
        ])
    }

    #[tokio::test]
    async fn token_for_the_api_server_is_reported_and_not_sent() {
        for claims in KEYS_TO_THE_CLUSTER {
            let pod = PodDirectory::new();
            pod.project(jwt(claims));
            let environment = variables(
                &pod,
                "https://login.microsoftonline.com/",
                "WorkloadIdentityCredential",
            );
            let (report, requests) = report(&environment, DiagnoseOptions::new(), fake_endpoint()).await;
            let codes: Vec<String> = report
                .findings
                .iter()
                .map(|finding| finding.code.to_string())
                .collect();
            assert!(codes.contains(&"EW117".to_owned()), "{codes:?}");
            assert_eq!(requests, ["GET login.microsoftonline.com"]);
        }
    }

    #[tokio::test]
    async fn nothing_is_sent_to_a_host_of_no_known_cloud_if_only_those_are_allowed() {
        for host in [
            "https://login.microsoftonline.com.evil.test/",
            "https://20.190.160.1/",
            "http://127.0.0.1:9/",
        ] {
            let pod = PodDirectory::new();
            let environment = variables(&pod, host, "EnvironmentCredential");
            let options = DiagnoseOptions::new().known_clouds_only(true);
            let (report, requests) = report(&environment, options, fake_endpoint()).await;
            assert_eq!(report.cause().unwrap().code, "EW122");
            assert!(!report.is_healthy());
            let is_of_issuer = |request: &String| request == "GET issuer";
            assert!(requests.iter().all(is_of_issuer), "{host}: {requests:?}");
        }
    }

    /// Other credentials of the chain do not use the token proxy.
    #[tokio::test]
    async fn login_host_beside_a_token_proxy_is_judged_too_if_only_known_clouds_are_allowed() {
        let pod = PodDirectory::new();
        let missing = pod.token_file().with_extension("missing");
        let environment = Environment::from_iter([
            ("AZURE_CLIENT_ID", CLIENT_ID),
            ("AZURE_TENANT_ID", TENANT_ID),
            ("AZURE_AUTHORITY_HOST", "https://login.evil.test/"),
            ("AZURE_KUBERNETES_TOKEN_PROXY", "https://kubernetes.default.svc"),
            ("AZURE_FEDERATED_TOKEN_FILE", missing.to_str().unwrap()),
            ("AZURE_CLIENT_SECRET", "planted-secret"),
            ("AZURE_TOKEN_CREDENTIALS", "EnvironmentCredential"),
        ]);
        let options = DiagnoseOptions::new().known_clouds_only(true);
        let (report, requests) = report(&environment, options, fake_endpoint()).await;
        assert!(report.findings.iter().any(|finding| finding.code == "EW122"));
        assert!(
            requests.iter().all(|request| request == "GET issuer"),
            "{requests:?}"
        );
    }

    #[tokio::test]
    async fn host_of_no_known_cloud_is_a_warning_and_receives_the_token_otherwise() {
        let pod = PodDirectory::new();
        let environment = variables(&pod, "https://login.contoso.com/", "WorkloadIdentityCredential");
        let (report, requests) = report(&environment, DiagnoseOptions::new(), fake_endpoint()).await;
        assert!(report.findings.iter().any(|finding| finding.code == "EW122"));
        assert!(
            requests.contains(&"POST login.contoso.com".to_owned()),
            "{requests:?}"
        );
    }
}
