//! AKS identity bindings, through the emulator's token proxy over TLS.

use std::sync::Arc;
use std::time::Duration;

use crate::support::identifiers::NO_METADATA_SERVICE;
use crate::support::log::Log;
use crate::support::runtime::current_thread;
use crate::support::sample::{Sample, example};
use entra_workload::transport::TokenProxy;
use entra_workload::{DefaultAzureCredential, Environment, Error, ErrorKind, WorkloadIdentityCredential};
use entra_workload_emulator::{Emulator, Endpoint, Fault, Pod};
use futures::StreamExt;

const SCOPES: [&str; 1] = ["https://vault.azure.net/.default"];

/// What is set in the pod.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Pods {
    WorkloadIdentity,
    Binding,
    Without(&'static str),
    /// The token is for Entra, as without the pod's annotation.
    OtherAudience,
    /// A token for the proxy, and none of its variables.
    NoVariables,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Trouble {
    None,
    CaRotated,
    ProxyHangs,
    RuleMissing,
}

/// `Ok` for a token, otherwise a part of the error.
fn expected(pods: Pods, has_https_proxy: bool, trouble: Trouble) -> Result<(), &'static str> {
    match pods {
        Pods::WorkloadIdentity | Pods::NoVariables if has_https_proxy => {
            Err("cannot be reached through the proxy in HTTPS_PROXY: it refused the connection")
        }
        Pods::WorkloadIdentity => Ok(()),
        Pods::NoVariables => Err("the token is for an AKS identity binding"),
        Pods::Without("AZURE_KUBERNETES_TOKEN_PROXY") => {
            Err("AZURE_KUBERNETES_SNI_NAME is set and AZURE_KUBERNETES_TOKEN_PROXY is not")
        }
        Pods::Without("AZURE_FEDERATED_TOKEN_FILE") => {
            Err("AZURE_FEDERATED_TOKEN_FILE is not set and AZURE_KUBERNETES_TOKEN_PROXY is")
        }
        Pods::Without("AZURE_KUBERNETES_CA_FILE") => {
            Err("is not signed by its CA; check AZURE_KUBERNETES_CA_FILE")
        }
        _ if trouble == Trouble::ProxyHangs => Err("the token proxy 127.0.0.1 did not respond in time"),
        Pods::Without("AZURE_KUBERNETES_SNI_NAME") => {
            Err("that is the answer of the API server; check AZURE_KUBERNETES_SNI_NAME")
        }
        Pods::OtherAudience => Err(r#"must be "api://AKSIdentityBinding""#),
        Pods::Binding | Pods::Without(_) if trouble == Trouble::RuleMissing => {
            Err(r#""system:serviceaccount:shop:orders" may not use this identity; bind a ClusterRole"#)
        }
        Pods::Binding | Pods::Without(_) => Ok(()),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_pod_gets_a_token_or_one_named_cause_in_time() {
    let pods = [
        Pods::WorkloadIdentity,
        Pods::Binding,
        Pods::Without("AZURE_KUBERNETES_TOKEN_PROXY"),
        Pods::Without("AZURE_KUBERNETES_SNI_NAME"),
        Pods::Without("AZURE_KUBERNETES_CA_FILE"),
        Pods::Without("AZURE_FEDERATED_TOKEN_FILE"),
        Pods::OtherAudience,
        Pods::NoVariables,
    ];
    let troubles = [
        Trouble::None,
        Trouble::CaRotated,
        Trouble::ProxyHangs,
        Trouble::RuleMissing,
    ];
    let mut cells = Vec::new();
    for pods in pods {
        for trouble in troubles {
            cells.extend([false, true].map(|has_https_proxy| (pods, has_https_proxy, trouble)));
        }
    }
    let wrong: Vec<String> = futures::stream::iter(cells)
        .map(|(pods, has_https_proxy, trouble)| async move {
            let why = check(pods, has_https_proxy, trouble).await.err()?;
            Some(format!(
                "{pods:?}, HTTPS_PROXY {has_https_proxy}, {trouble:?}: {why}"
            ))
        })
        .buffer_unordered(16)
        .filter_map(|wrong| async { wrong })
        .collect()
        .await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Runs the example `default_credential` in such a pod.
async fn check(pods: Pods, has_https_proxy: bool, trouble: Trouble) -> Result<(), String> {
    let emulator = Emulator::start().await.unwrap();
    emulator.assign_system_identity();
    let pod = match pods {
        Pods::WorkloadIdentity => emulator.pod("shop", "orders").unwrap(),
        _ => emulator.bound_pod("shop", "orders").unwrap(),
    };
    match trouble {
        Trouble::None => {}
        Trouble::CaRotated => emulator.token_proxy().rotate_ca().unwrap(),
        Trouble::ProxyHangs => emulator.inject(Endpoint::TokenProxy, Fault::hang().until_cleared()),
        Trouble::RuleMissing => emulator.token_proxy().deny("shop", "orders", pod.client_id()),
    }
    let directory = tempfile::tempdir().unwrap();
    let mut sample = Sample::new(
        example("default_credential"),
        emulator.ca_certificate_file(),
        directory.path(),
    )
    .variable("RUST_LOG", "warn")
    .variable("PATH", directory.path())
    .variable("AZURE_POD_IDENTITY_AUTHORITY_HOST", emulator.imds_url())
    .variables(pod.variables());
    match pods {
        Pods::Without(name) => sample = sample.without(name),
        Pods::OtherAudience => pod
            .project(&entra_workload_emulator::ServiceAccountToken::new(
                "shop", "orders",
            ))
            .unwrap(),
        Pods::NoVariables => {
            for name in ["TOKEN_PROXY", "SNI_NAME", "CA_FILE"] {
                sample = sample.without(&format!("AZURE_KUBERNETES_{name}"));
            }
        }
        Pods::WorkloadIdentity | Pods::Binding => {}
    }
    if has_https_proxy {
        sample = sample.variable("HTTPS_PROXY", format!("http://{}", closed_port()));
    }
    let output = tokio::time::timeout(LIMIT, sample.run([])).await;
    let output = output.map_err(|_| "no end".to_owned())?;
    let text = String::from_utf8(output.stdout).unwrap() + &output.stderr;
    let expected = expected(pods, has_https_proxy, trouble);
    let is_expected = match expected {
        Ok(()) => output.code == Some(0) && text.contains("workload identity    gave a token"),
        Err(part) => output.code == Some(1) && text.contains(part),
    };
    if !is_expected {
        return Err(format!("expected {expected:?}:\n{text}"));
    }
    if !emulator.requests_to(Endpoint::Imds).is_empty() {
        return Err("the identity of the node was asked".to_owned());
    }
    let goes_to_entra = matches!(pods, Pods::WorkloadIdentity | Pods::NoVariables);
    if !goes_to_entra && !emulator.requests_to(Endpoint::Entra).is_empty() {
        return Err("a request went past the token proxy".to_owned());
    }
    Ok(())
}

fn closed_port() -> std::net::SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}

fn environment(pod: &Pod) -> Environment {
    let (name, value) = NO_METADATA_SERVICE;
    let variables = pod.variables().into_iter();
    variables.chain([(name, value.to_owned())]).collect()
}

fn credential(pod: &Pod) -> Arc<WorkloadIdentityCredential> {
    WorkloadIdentityCredential::builder()
        .environment(environment(pod))
        .build()
        .unwrap()
}

/// Asks for a new token.
async fn fetch(credential: &WorkloadIdentityCredential) -> Result<(), Error> {
    credential.clear();
    credential.token(&SCOPES).await.map(drop)
}

#[tokio::test]
async fn default_chain_uses_the_binding_with_nothing_but_the_variables() {
    let emulator = Emulator::start().await.unwrap();
    let pod = emulator.bound_pod("shop", "orders").unwrap();
    let credential = DefaultAzureCredential::builder()
        .environment(environment(&pod))
        .build()
        .unwrap();
    credential.token(&SCOPES).await.unwrap();
    assert_eq!(credential.selected(), Some("workload identity"));

    let requests = emulator.requests_to(Endpoint::TokenProxy);
    let [request] = &requests[..] else {
        panic!("{requests:?}")
    };
    let proxy = emulator.token_proxy();
    assert_eq!(request.server_name(), Some(proxy.server_name()));
    assert_eq!(request.header("host"), proxy.url().strip_prefix("https://"));
    assert_eq!(
        request.path(),
        format!("/{}/oauth2/v2.0/token", emulator.entra().tenant_id())
    );
    assert!(emulator.requests_to(Endpoint::Entra).is_empty());
}

#[tokio::test]
async fn options_take_the_place_of_the_variables() {
    let emulator = Emulator::start().await.unwrap();
    let pod = emulator.bound_pod("shop", "orders").unwrap();
    let proxy = emulator.token_proxy();
    let options = TokenProxy::builder(proxy.url())
        .server_name(proxy.server_name())
        .ca_data(proxy.ca_certificate_pem())
        .build()
        .unwrap();
    let variables = pod.variables().into_iter().map(|(name, value)| match name {
        "AZURE_KUBERNETES_TOKEN_PROXY" => (name, "https://another.invalid".to_owned()),
        _ => (name, value),
    });
    let credential = WorkloadIdentityCredential::builder()
        .environment(variables.collect())
        .token_proxy(options)
        .build()
        .unwrap();
    credential.token(&SCOPES).await.unwrap();
}

#[tokio::test]
async fn ca_file_is_read_again_when_it_changes() {
    let emulator = Emulator::start().await.unwrap();
    let pod = emulator.bound_pod("shop", "orders").unwrap();
    let credential = credential(&pod);
    fetch(&credential).await.unwrap();
    emulator.token_proxy().rotate_ca().unwrap();
    fetch(&credential).await.unwrap();
}

#[tokio::test]
async fn every_certificate_of_the_bundle_is_trusted() {
    let emulator = Emulator::start().await.unwrap();
    let pod = emulator.bound_pod("shop", "orders").unwrap();
    let proxy = emulator.token_proxy();
    let old = proxy.ca_certificate_pem();
    proxy.rotate_ca().unwrap();
    std::fs::write(proxy.ca_file(), old + &proxy.ca_certificate_pem()).unwrap();
    fetch(&credential(&pod)).await.unwrap();
}

#[tokio::test]
async fn only_the_ca_of_the_bundle_is_trusted() {
    let emulator = Emulator::start().await.unwrap();
    let pod = emulator.bound_pod("shop", "orders").unwrap();
    std::fs::write(emulator.token_proxy().ca_file(), emulator.ca_certificate_pem()).unwrap();
    let error = fetch(&credential(&pod)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Transport);
    assert!(
        error
            .to_string()
            .contains("is not signed by its CA; check AZURE_KUBERNETES_CA_FILE"),
        "{error}"
    );
}

#[test]
fn last_ca_certificates_are_used_while_the_file_is_unusable() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_writer(log.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    current_thread().block_on(async {
        let emulator = Emulator::start().await.unwrap();
        let pod = emulator.bound_pod("shop", "orders").unwrap();
        let credential = credential(&pod);
        fetch(&credential).await.unwrap();
        let file = emulator.token_proxy().ca_file();
        for content in ["", "-----BEGIN CERTIFICATE-----\nM"] {
            std::fs::write(file, content).unwrap();
            fetch(&credential).await.unwrap();
        }
        std::fs::remove_file(file).unwrap();
        fetch(&credential).await.unwrap();
        emulator.token_proxy().rotate_ca().unwrap();
        fetch(&credential).await.unwrap();
    });
    let log = log.text();
    assert_eq!(
        log.matches("CA certificates of the token proxy unusable; using the last ones")
            .count(),
        3,
        "{log}"
    );
}

#[tokio::test]
async fn unusable_ca_file_is_named_and_the_next_call_works() {
    let emulator = Emulator::start().await.unwrap();
    let pod = emulator.bound_pod("shop", "orders").unwrap();
    let proxy = emulator.token_proxy();
    let credential = credential(&pod);
    for (content, reason) in [
        (Some(""), "there is no certificate in the CA file"),
        (None, "does not exist; check that its volume is mounted"),
    ] {
        match content {
            Some(content) => std::fs::write(proxy.ca_file(), content).unwrap(),
            None => std::fs::remove_file(proxy.ca_file()).unwrap(),
        }
        let error = fetch(&credential).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration);
        assert!(error.to_string().contains(reason), "{error}");
        assert!(
            error.to_string().contains(proxy.ca_file().to_str().unwrap()),
            "{error}"
        );
    }
    std::fs::write(proxy.ca_file(), proxy.ca_certificate_pem()).unwrap();
    fetch(&credential).await.unwrap();
}

#[tokio::test]
async fn ca_file_and_ca_data_must_contain_the_same_certificates() {
    let emulator = Emulator::start().await.unwrap();
    let pod = emulator.bound_pod("shop", "orders").unwrap();
    let with_data = |pem: String| {
        let variables = pod.variables().into_iter();
        let variables = variables.chain([("AZURE_KUBERNETES_CA_DATA", pem)]);
        WorkloadIdentityCredential::builder()
            .environment(variables.collect())
            .build()
            .unwrap()
    };
    let same = emulator.token_proxy().ca_certificate_pem();
    fetch(&with_data(format!("# the same\r\n{same}"))).await.unwrap();

    let other = with_data(emulator.ca_certificate_pem().to_owned());
    let error = fetch(&other).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert!(
        error
            .to_string()
            .contains("are both set and contain different certificates"),
        "{error}"
    );
}

#[tokio::test]
async fn path_prefix_is_kept_and_not_doubled_by_a_retry() {
    let emulator = Emulator::start().await.unwrap();
    let pod = emulator.bound_pod("shop", "orders").unwrap();
    emulator.inject(Endpoint::TokenProxy, Fault::status(503));
    let variables = pod.variables().into_iter().map(|(name, value)| match name {
        "AZURE_KUBERNETES_TOKEN_PROXY" => (name, format!("{value}/binding/")),
        _ => (name, value),
    });
    let credential = WorkloadIdentityCredential::builder()
        .environment(variables.collect())
        .build()
        .unwrap();
    credential.token(&SCOPES).await.unwrap_err();
    let requests = emulator.requests_to(Endpoint::TokenProxy);
    let paths: Vec<&str> = requests
        .iter()
        .map(entra_workload_emulator::RecordedRequest::path)
        .collect();
    let path = format!("/binding/{}/oauth2/v2.0/token", emulator.entra().tenant_id());
    assert_eq!(paths, [path.as_str(); 2]);
}

#[tokio::test]
async fn refusal_of_entra_reaches_the_caller_with_its_code() {
    let emulator = Emulator::start().await.unwrap();
    let pod = emulator.bound_pod("shop", "orders").unwrap();
    emulator.entra().disable_application(pod.client_id());
    let error = fetch(&credential(&pod)).await.unwrap_err();
    assert_eq!(error.aadsts_codes(), [7_000_112]);
    assert!(
        error
            .to_string()
            .starts_with("the token proxy 127.0.0.1 refused client"),
        "{error}"
    );
}

/// The time limit of the credential is 5 s; the rest is for a slow machine.
const LIMIT: Duration = Duration::from_secs(20);
