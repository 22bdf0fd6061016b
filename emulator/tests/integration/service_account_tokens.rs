//! The `TokenRequest` API of the cluster.

use crate::support;
use bytes::Bytes;
use entra_workload_emulator::{Emulator, ServiceAccountToken};
use http::Request;
use serde_json::{Value, json};

use crate::support::token_request::TokenRequest;
use crate::support::{emulator_at, now, parts, seconds, send};

const CALLER: [&str; 2] = ["platform", "controller"];
const API_SERVER: &str = "https://kubernetes.default.svc.cluster.local";
const EXCHANGE: &str = "api://AzureADTokenExchange";

async fn start() -> Emulator {
    let emulator = Emulator::start().await.unwrap();
    emulator.issuer().create_service_account("tenant-a", "app");
    emulator.issuer().allow_token_requests(CALLER, "tenant-a", "app");
    emulator
}

fn own_token() -> ServiceAccountToken {
    ServiceAccountToken::new(CALLER[0], CALLER[1]).audience(API_SERVER)
}

fn spec() -> Value {
    json!({
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": { "audiences": [EXCHANGE], "expirationSeconds": 3600 },
    })
}

fn request(emulator: &Emulator, name: &str, caller: &ServiceAccountToken, body: &Value) -> Request<Bytes> {
    let path = format!("api/v1/namespaces/tenant-a/serviceaccounts/{name}/token");
    Request::post(format!("{}{path}", emulator.issuer_url()))
        .header(
            "authorization",
            format!("Bearer {}", emulator.issuer().sign(caller)),
        )
        .header("content-type", "application/json")
        .body(Bytes::from(body.to_string()))
        .unwrap()
}

async fn answer(emulator: &Emulator, request: Request<Bytes>) -> (u16, Value) {
    let response = send(emulator, request).await;
    (
        response.status().as_u16(),
        serde_json::from_slice(response.body()).unwrap(),
    )
}

/// Sends a request and returns the status and the message of its `Status` object.
async fn refusal(emulator: &Emulator, request: Request<Bytes>) -> (u16, String) {
    let (status, body) = answer(emulator, request).await;
    assert_eq!(body["kind"], "Status", "{body}");
    assert_eq!(body["code"], status, "{body}");
    (status, body["message"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn requested_token_is_accepted_by_entra() {
    let emulator = start().await;
    let pod = emulator.pod("tenant-a", "app").unwrap();
    let (status, body) = answer(&emulator, request(&emulator, "app", &own_token(), &spec())).await;
    assert_eq!((status, &body["kind"]), (201, &json!("TokenRequest")), "{body}");
    let token = body["status"]["token"].as_str().unwrap();
    let (_, claims) = parts(token);
    assert_eq!(claims["sub"], "system:serviceaccount:tenant-a:app");
    assert_eq!(claims["aud"], json!([EXCHANGE]));
    let exchange = TokenRequest::new(&pod).with("client_assertion", token);
    assert_eq!(exchange.send(&emulator).await.status, 200);
}

#[tokio::test]
async fn token_without_audiences_is_for_the_api_server() {
    let emulator = start().await;
    let mut body = spec();
    body["spec"] = json!({});
    let (status, body) = answer(&emulator, request(&emulator, "app", &own_token(), &body)).await;
    assert_eq!(status, 201, "{body}");
    let (_, claims) = parts(body["status"]["token"].as_str().unwrap());
    assert_eq!(claims["aud"], json!([API_SERVER]));
}

#[tokio::test]
async fn invalid_token_of_the_caller_is_unauthorized() {
    let emulator = start().await;
    for token in [
        ServiceAccountToken::new(CALLER[0], CALLER[1]),
        own_token().with_invalid_signature(),
        own_token().issuer("https://other/"),
        own_token().issued_at(now() - seconds(7200)),
    ] {
        let (status, message) = refusal(&emulator, request(&emulator, "app", &token, &spec())).await;
        assert_eq!((status, message.as_str()), (401, "Unauthorized"));
    }
    let mut anonymous = request(&emulator, "app", &own_token(), &spec());
    anonymous.headers_mut().remove("authorization");
    assert_eq!(refusal(&emulator, anonymous).await.0, 401);
}

#[tokio::test]
async fn missing_rule_is_forbidden_with_the_text_of_the_api_server() {
    let emulator = start().await;
    let (status, message) = refusal(&emulator, request(&emulator, "other", &own_token(), &spec())).await;
    assert_eq!(status, 403);
    assert_eq!(
        message,
        "serviceaccounts \"other\" is forbidden: User \"system:serviceaccount:platform:controller\" cannot create \
         resource \"serviceaccounts/token\" in API group \"\" in the namespace \"tenant-a\""
    );
}

#[tokio::test]
async fn unknown_service_account_is_not_found() {
    let emulator = start().await;
    emulator.issuer().allow_token_requests(CALLER, "tenant-a", "gone");
    let (status, message) = refusal(&emulator, request(&emulator, "gone", &own_token(), &spec())).await;
    assert_eq!(
        (status, message.as_str()),
        (404, "serviceaccounts \"gone\" not found")
    );
}

#[tokio::test]
async fn requests_that_are_no_token_request_are_refused() {
    let emulator = start().await;
    let mut kind = spec();
    kind["kind"] = json!("TokenReview");
    let (status, message) = refusal(&emulator, request(&emulator, "app", &own_token(), &kind)).await;
    assert_eq!(status, 400);
    assert!(message.contains("must be of type TokenRequest"), "{message}");

    let mut short = spec();
    short["spec"]["expirationSeconds"] = json!(599);
    let (status, message) = refusal(&emulator, request(&emulator, "app", &own_token(), &short)).await;
    assert_eq!(status, 422);
    assert!(message.contains("less than 10 minutes"), "{message}");

    let mut text = request(&emulator, "app", &own_token(), &spec());
    text.headers_mut()
        .insert("content-type", "text/plain".parse().unwrap());
    assert_eq!(refusal(&emulator, text).await.0, 415);

    let mut get = request(&emulator, "app", &own_token(), &spec());
    *get.method_mut() = http::Method::GET;
    assert_eq!(refusal(&emulator, get).await.0, 405);
}

#[tokio::test]
async fn expired_token_of_the_caller_is_unauthorized() {
    let clock = support::SettableClock::at(now());
    let emulator = emulator_at(&clock).await;
    emulator.issuer().create_service_account("tenant-a", "app");
    emulator.issuer().allow_token_requests(CALLER, "tenant-a", "app");
    let old = request(&emulator, "app", &own_token(), &spec());
    clock.advance(seconds(3600));
    assert_eq!(refusal(&emulator, old).await.0, 401);
}
