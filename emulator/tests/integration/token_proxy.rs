//! The token proxy for pods with an AKS identity binding.

use crate::support;
use std::net::SocketAddr;

use entra_workload_emulator::{Emulator, Pod, ServiceAccountToken};
use serde_json::Value;

use crate::support::{now, projected_token, seconds};

const AUDIENCE: &str = "api://AKSIdentityBinding";

/// Sends the pod's token request to the proxy, under a TLS server name.
async fn request(emulator: &Emulator, pod: &Pod, server_name: &str, path: &str) -> (u16, Value) {
    let proxy = emulator.token_proxy();
    let (_, port) = proxy.url().rsplit_once(':').unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], port.parse().unwrap()));
    let root = reqwest::Certificate::from_pem(proxy.ca_certificate_pem().as_bytes()).unwrap();
    let client = reqwest::Client::builder()
        .tls_certs_only([root])
        .no_proxy()
        .resolve(server_name, address)
        .build()
        .unwrap();
    let assertion = projected_token(pod);
    let form = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs([
            ("client_assertion", assertion.as_str()),
            (
                "client_assertion_type",
                "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            ),
            ("client_id", pod.client_id()),
            ("grant_type", "client_credentials"),
            ("scope", "https://vault.azure.net/.default"),
        ])
        .finish();
    let response = client
        .post(format!("https://{server_name}:{port}/{}{path}", pod.tenant_id()))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(form)
        .send()
        .await
        .unwrap();
    let status = response.status().as_u16();
    (
        status,
        serde_json::from_slice(&response.bytes().await.unwrap()).unwrap(),
    )
}

async fn token(emulator: &Emulator, pod: &Pod) -> (u16, Value) {
    let server_name = emulator.token_proxy().server_name();
    request(emulator, pod, server_name, "/oauth2/v2.0/token").await
}

#[tokio::test]
async fn service_account_with_the_rule_gets_a_token_of_the_identity() {
    let emulator = Emulator::start().await.unwrap();
    let pod = emulator.bound_pod("shop", "orders").unwrap();
    let (status, body) = token(&emulator, &pod).await;
    assert_eq!(status, 200, "{body}");
    let (_, claims) = support::parts(body["access_token"].as_str().unwrap());
    assert_eq!(claims["appid"], pod.client_id());
}

#[tokio::test]
async fn missing_rule_is_refused_as_by_kubernetes_rbac() {
    let emulator = Emulator::start().await.unwrap();
    let pod = emulator.bound_pod("shop", "orders").unwrap();
    let proxy = emulator.token_proxy();
    proxy.deny("shop", "orders", pod.client_id());
    let (status, body) = token(&emulator, &pod).await;
    let client_id = pod.client_id();
    assert_eq!((status, &body["reason"]), (403, &Value::from("Forbidden")));
    assert_eq!(
        body["message"],
        format!(
            "{client_id}.cid.wi.aks.azure.com is forbidden: User \"system:serviceaccount:shop:orders\" cannot \
             use-managed-identity resource \"{client_id}\" in API group \"cid.wi.aks.azure.com\" at the cluster scope"
        )
    );
    proxy.allow("shop", "orders", pod.client_id());
    assert_eq!(token(&emulator, &pod).await.0, 200);
}

#[tokio::test]
async fn service_account_tokens_that_are_not_for_the_proxy_are_refused() {
    let emulator = Emulator::start().await.unwrap();
    let pod = emulator.bound_pod("shop", "orders").unwrap();
    let valid = || ServiceAccountToken::new("shop", "orders").audience(AUDIENCE);
    for (name, wrong) in [
        ("audience", valid().audience("api://AzureADTokenExchange")),
        (
            "audiences",
            valid().audiences([AUDIENCE, "api://AzureADTokenExchange"]),
        ),
        ("issuer", valid().issuer("https://elsewhere/")),
        ("signature", valid().with_invalid_signature()),
        ("expired", valid().issued_at(now() - seconds(7200))),
        ("not yet valid", valid().not_before(now() + seconds(600))),
    ] {
        pod.project(&wrong).unwrap();
        let (status, body) = token(&emulator, &pod).await;
        assert_eq!(
            (status, &body["reason"]),
            (401, &Value::from("Unauthorized")),
            "{name}"
        );
    }
    pod.rotate().unwrap();
    assert_eq!(token(&emulator, &pod).await.0, 200);
}

#[tokio::test]
async fn another_server_name_reaches_the_api_server() {
    let emulator = Emulator::start().await.unwrap();
    let pod = emulator.bound_pod("shop", "orders").unwrap();
    let (status, body) = request(&emulator, &pod, "kubernetes.default.svc", "/oauth2/v2.0/token").await;
    assert_eq!(status, 403);
    let message = body["message"].as_str().unwrap();
    assert!(
        message.contains(r#"User "system:anonymous" cannot post path"#),
        "{message}"
    );
}

#[tokio::test]
async fn only_token_requests_are_forwarded() {
    let emulator = Emulator::start().await.unwrap();
    let pod = emulator.bound_pod("shop", "orders").unwrap();
    let server_name = emulator.token_proxy().server_name();
    let (status, body) = request(&emulator, &pod, server_name, "/discovery/v2.0/keys").await;
    assert_eq!((status, &body["reason"]), (404, &Value::from("NotFound")));
}

#[tokio::test]
async fn entra_itself_refuses_the_token_of_a_bound_pod() {
    let emulator = Emulator::start().await.unwrap();
    let pod = emulator.bound_pod("shop", "orders").unwrap();
    let response = support::token_request::TokenRequest::new(&pod)
        .send(&emulator)
        .await;
    assert_eq!(response.code(), 700_211);
}
