//! The admin API: it is what its `OpenAPI` document says, and steers the emulator.

use crate::support;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use entra_workload_emulator::{Admin, Emulator, Pod, Seed};
use serde_json::{Value, json};

use crate::support::token_request::TokenRequest;
use crate::support::{projected_token, seconds};

/// Each path and method of the document, with a body that it takes and the status that it promises; and nothing else
/// is served.
#[tokio::test]
async fn server_does_what_its_openapi_document_says() {
    let steered = Steered::start().await;
    let (status, document) = steered.call("GET", "/openapi.json", None).await;
    assert_eq!(status, 200);
    let mut called = BTreeSet::new();
    for (path, method, body) in calls() {
        let template = document["paths"]
            .as_object()
            .unwrap()
            .keys()
            .find(|template| matches(template, path))
            .unwrap_or_else(|| panic!("{path} is not in the document"));
        let operation = &document["paths"][template][method.to_lowercase()];
        let (status, answer) = steered.call(method, path, body.clone()).await;
        let promised = operation["responses"][status.to_string()].is_object();
        assert!(promised && status < 300, "{method} {path}: {status} {answer}");
        assert_eq!(
            operation["requestBody"].is_object(),
            body.is_some(),
            "{method} {path}"
        );
        called.insert((template.clone(), method.to_lowercase()));
    }
    let mut described = BTreeSet::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for method in operations.as_object().unwrap().keys() {
            described.insert((path.clone(), method.clone()));
        }
    }
    assert_eq!(called, described);
    let (status, answer) = steered.call("GET", "/nothing", None).await;
    assert_eq!(status, 404);
    assert!(
        answer["error"].as_str().unwrap().contains("/openapi.json"),
        "{answer}"
    );
}

fn matches(template: &str, path: &str) -> bool {
    let (template, path): (Vec<_>, Vec<_>) = (template.split('/').collect(), path.split('/').collect());
    let same = |(part, given): (&&str, &&str)| part == given || part.starts_with('{');
    template.len() == path.len() && template.iter().zip(&path).all(same)
}

fn calls() -> Vec<(&'static str, &'static str, Option<Value>)> {
    let role = json!({ "role": "Storage Blob Data Reader", "container": "box" });
    vec![
        ("/healthz", "GET", None),
        ("/openapi.json", "GET", None),
        ("/state", "GET", None),
        (
            "/seed",
            "POST",
            Some(json!({ "pods": [{ "namespace": "shop", "serviceAccount": "billing" }] })),
        ),
        ("/requests", "GET", None),
        ("/requests", "DELETE", None),
        (
            "/faults",
            "POST",
            Some(json!({ "endpoint": "blob", "status": 503, "times": 2 })),
        ),
        ("/faults/blob", "DELETE", None),
        ("/tokens/rotate", "POST", None),
        ("/issuer/rotate-keys", "POST", None),
        ("/issuer/stop", "POST", None),
        ("/issuer/start", "POST", None),
        ("/entra/stop", "POST", None),
        ("/entra/start", "POST", None),
        ("/entra/limit", "POST", Some(json!({ "perMinute": 60 }))),
        ("/identities/a/enable", "POST", None),
        ("/identities/a/roles", "POST", Some(role)),
        ("/identities/a/roles", "DELETE", None),
        ("/identities/a/revoke", "POST", None),
        ("/identities/a/expire-secret", "POST", None),
        ("/identities/a/revoke-sign-ins", "POST", None),
        ("/identities/a/disable", "POST", None),
        ("/identities/a/block", "POST", None),
        ("/identities/a/unblock", "POST", None),
        ("/clock", "GET", None),
        ("/clock/advance", "POST", Some(json!({ "by": "61m" }))),
        ("/reset", "POST", None),
    ]
}

#[tokio::test]
async fn invalid_orders_are_refused_with_what_is_wrong() {
    let steered = Steered::start().await;
    for (path, body, part) in [
        (
            "/seed",
            json!({ "applications": [{ "clientId": CLIENT_ID, "roles": [{ "role": "Key Vault Secrets User", "container": "box" }] }] }),
            "does not fit its scope",
        ),
        (
            "/seed",
            json!({ "containers": [{ "name": "UPPER" }] }),
            "containers.name: \"UPPER\" is not the name of a container",
        ),
        (
            "/seed",
            json!({ "secrets": [{ "name": "a_b", "value": "planted" }] }),
            "secrets.name: \"a_b\" is not the name of a secret",
        ),
        (
            "/seed",
            json!({ "secrets": [{ "name": "a", "value": ["planted"] }] }),
            "a secret must be a text",
        ),
        (
            "/entra/limit",
            json!({ "per_minute": 1 }),
            "unknown field `per_minute`",
        ),
        (
            "/faults",
            json!({ "endpoint": "mars", "status": 500 }),
            "none of entra, issuer",
        ),
        (
            "/faults",
            json!({ "endpoint": "blob" }),
            "one of status, retryAfterSeconds",
        ),
        (
            "/faults",
            json!({ "endpoint": "blob", "status": 200 }),
            "no failure",
        ),
        ("/clock/advance", json!({ "by": "soon" }), "no time such as"),
        ("/clock/advance", json!({ "by": "é" }), "no time such as"),
        ("/seed", json!({ "pod": [] }), "unknown field `pod`"),
    ] {
        let (status, answer) = steered.call("POST", path, Some(body)).await;
        assert_eq!(status, 400, "{answer}");
        assert!(answer["error"].as_str().unwrap().contains(part), "{answer}");
        assert!(!answer.to_string().contains("planted"), "{answer}");
    }
    let far = Some(json!({ "by": "36600d" }));
    assert_eq!(steered.call("POST", "/clock/advance", far.clone()).await.0, 200);
    let (status, answer) = steered.call("POST", "/clock/advance", far).await;
    assert_eq!(status, 400);
    assert!(
        answer["error"].as_str().unwrap().contains("more than a century"),
        "{answer}"
    );
    let (status, _) = steered.call("POST", "/identities/nobody/revoke", None).await;
    assert_eq!(status, 404);
    let (status, _) = steered.call("GET", "/requests?page=2", None).await;
    assert_eq!(status, 400);
}

/// Other users of the machine can reach the port.
#[tokio::test]
async fn request_without_the_key_is_refused() {
    let steered = Steered::start().await;
    let (origin, key) = steered.admin.url().rsplit_once('/').unwrap();
    let other = Admin::start(Arc::clone(&steered.emulator), None, Seed::default());
    let other = other.await.unwrap();
    let (_, other_key) = other.url().rsplit_once('/').unwrap();
    for path in [
        "reset",
        "/reset",
        "healthz/reset",
        &format!("{other_key}/reset"),
        &format!("{}/reset", key.split_at(1).1),
        &format!("{key}0/reset"),
        &format!("reset/{key}"),
    ] {
        let response = steered.client.post(format!("{origin}/{path}")).send().await;
        assert_eq!(response.unwrap().status().as_u16(), 403, "{path}");
    }
    let health = steered.client.get(format!("{origin}/healthz")).send().await;
    assert_eq!(health.unwrap().status().as_u16(), 200);
    assert!(!format!("{:?}", steered.admin).contains(key));
}

#[tokio::test]
async fn web_pages_of_other_origins_are_refused() {
    let steered = Steered::start().await;
    let url = format!("{}/reset", steered.admin.url());
    let (origin, _) = steered.admin.url().rsplit_once('/').unwrap();
    let (_, port) = origin.rsplit_once(':').unwrap();
    for (name, value, status) in [
        ("origin", "https://example.com".to_owned(), 403),
        ("origin", "null".to_owned(), 403),
        ("origin", "http://127.0.0.1:1".to_owned(), 403),
        ("origin", origin.to_owned(), 204),
        ("host", "evil.example.com".to_owned(), 403),
        ("host", format!("evil.example.com:{port}"), 403),
        ("host", format!("localhost:{port}"), 204),
    ] {
        let request = steered.client.post(&url).header(name, &value);
        assert_eq!(
            request.send().await.unwrap().status().as_u16(),
            status,
            "{name}: {value}"
        );
    }
}

#[tokio::test]
async fn requests_are_listed_and_counted_by_identity_and_code() {
    let steered = Steered::start().await;
    steered.request().send(&steered.emulator).await;
    let wrong = steered.request().with("scope", "https://example.com/.default");
    wrong.send(&steered.emulator).await;
    let client_id = steered.pod.client_id();
    for (query, count) in [
        // Two of the issuer, for its keys.
        (String::new(), 4),
        ("?endpoint=entra".to_owned(), 2),
        ("?endpoint=blob".to_owned(), 0),
        ("?aadsts=500011".to_owned(), 1),
        (format!("?clientId={client_id}&status=200"), 1),
        ("?clientId=nobody".to_owned(), 0),
    ] {
        let (_, answer) = steered.call("GET", &format!("/requests{query}"), None).await;
        assert_eq!(answer["count"], count, "{query}");
        assert!(!answer.to_string().contains("eyJ"), "a token is shown");
    }
    let (_, answer) = steered.call("GET", "/requests?aadsts=500011", None).await;
    let refusal = answer["requests"][0]["refusal"].as_str().unwrap();
    assert!(
        refusal.starts_with("AADSTS500011: The resource principal"),
        "{refusal}"
    );
    steered.call("DELETE", "/requests", None).await;
    assert_eq!(steered.call("GET", "/requests", None).await.1["count"], 0);
}

#[tokio::test]
async fn keys_of_a_seeded_issuer_are_not_fetched() {
    let steered = Steered::start().await;
    let other = Emulator::start().await.unwrap();
    let discovery = format!("{}.well-known/openid-configuration", other.issuer_url());
    let client = support::client(&other);
    let discovery = client.get(discovery).send().await.unwrap().bytes().await.unwrap();
    let discovery: Value = serde_json::from_slice(&discovery).unwrap();
    let jwks = client
        .get(discovery["jwks_uri"].as_str().unwrap())
        .send()
        .await
        .unwrap();
    let jwks: Value = serde_json::from_slice(&jwks.bytes().await.unwrap()).unwrap();
    let issuer = "https://cluster.example.com/";
    let client_id = steered.pod.client_id();
    let seed = json!({
        "trustedIssuers": [{ "issuer": issuer, "jwks": jwks }],
        "applications": [{
            "clientId": client_id,
            "federatedCredentials": [{ "issuer": issuer, "subject": "system:serviceaccount:shop:orders" }]
        }],
    });
    assert_eq!(steered.call("POST", "/seed", Some(seed)).await.0, 200);
    let token = other.issuer().sign(&support::valid_token().issuer(issuer));
    let request = steered.request().with("client_assertion", &token);
    let response = request.send(&steered.emulator).await;
    assert_eq!(response.status, 200, "{}", response.body);
    let invalid = json!({ "trustedIssuers": [{ "issuer": issuer, "jwks": {} }] });
    assert_eq!(steered.call("POST", "/seed", Some(invalid)).await.0, 400);
}

/// A revoked token stays revoked over a reset, and the next revocation works as the first one.
#[tokio::test]
async fn revocation_works_after_a_reset() {
    let steered = Steered::start().await;
    let client_id = steered.pod.client_id().to_owned();
    let mut token = steered.token().await;
    for round in 0..3 {
        assert_eq!(steered.read_secret(&token).await, 404, "round {round}");
        steered
            .call("POST", &format!("/identities/{client_id}/revoke"), None)
            .await;
        assert_eq!(steered.read_secret(&token).await, 401, "round {round}");
        steered.call("POST", "/reset", None).await;
        assert_eq!(steered.read_secret(&token).await, 401, "round {round}");
        token = steered.token().await;
    }
}

/// A token from before the reset is valid after it, although the clock was moved.
#[tokio::test]
async fn reset_keeps_the_clock_and_takes_back_what_was_seeded_later() {
    let steered = Steered::start().await;
    steered
        .call("POST", "/clock/advance", Some(json!({ "by": "2h" })))
        .await;
    let token = steered.token().await;
    let later = json!({ "resources": ["https://api.contoso.com"] });
    steered.call("POST", "/seed", Some(later)).await;
    let request = || {
        steered
            .request()
            .with("scope", "https://api.contoso.com/.default")
    };
    assert_eq!(request().send(&steered.emulator).await.status, 200);
    steered.call("POST", "/reset", None).await;
    assert_eq!(request().send(&steered.emulator).await.code(), 500_011);
    assert_eq!(steered.read_secret(&token).await, 404);
}

#[tokio::test]
async fn managed_identities_obey_states_and_keep_their_roles_over_a_reset() {
    let seed: Seed = serde_json::from_value(json!({
        "pods": [{ "namespace": "shop", "serviceAccount": "orders" }],
        "managedIdentities": [{ "name": "orders", "clientId": CLIENT_ID, "roles": [] }],
    }))
    .unwrap();
    let steered = Steered::with(seed).await;
    let imds = async || {
        let url = format!(
            "{}/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https://vault.azure.net",
            steered.emulator.imds_url()
        );
        let response = steered
            .client
            .get(url)
            .header("metadata", "true")
            .send()
            .await
            .unwrap();
        let body: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
        body["access_token"].as_str().map(str::to_owned)
    };
    for _ in 0..2 {
        let token = imds().await.unwrap();
        assert_eq!(steered.read_secret(&token).await, 403);
        steered
            .call("POST", &format!("/identities/{CLIENT_ID}/disable"), None)
            .await;
        assert_eq!(imds().await, None);
        steered.call("POST", "/reset", None).await;
    }
    steered.call("POST", "/entra/stop", None).await;
    assert_eq!(imds().await, None);
}

#[tokio::test]
async fn role_can_be_ordered_for_later() {
    let steered = Steered::start().await;
    let path = format!("/identities/{}/roles", steered.pod.client_id());
    let role = json!({ "role": "Key Vault Secrets User", "vault": "Emulator", "delaySeconds": 60 });
    steered.call("POST", &path, Some(role)).await;
    let token = steered.token().await;
    assert_eq!(steered.read_secret(&token).await, 403);
    steered
        .call("POST", "/clock/advance", Some(json!({ "by": "60s" })))
        .await;
    assert_eq!(steered.read_secret(&token).await, 404);
}

#[tokio::test]
async fn refusals_are_counted_over_a_reset_and_challenges_are_not() {
    let steered = Steered::start().await;
    let wrong = steered.request().assertion(
        &steered.emulator,
        &support::valid_token().with_invalid_signature(),
    );
    wrong.send(&steered.emulator).await;
    let url = format!("{}/secrets/a?api-version=7.6", steered.emulator.key_vault_url());
    steered.client.get(url).send().await.unwrap();
    steered.call("POST", "/reset", None).await;
    wrong.send(&steered.emulator).await;
    let refusals = steered.emulator.refusals();
    assert_eq!(refusals.len(), 1, "{refusals:?}");
    let (line, count) = &refusals[0];
    assert!(
        line.contains("401 AADSTS700027: Client assertion failed signature validation."),
        "{line}"
    );
    assert_eq!(*count, 2);
}

/// Each hour the client asks with the token of its volume, as a program would; nobody rotates by hand.
#[tokio::test]
async fn thirty_days_of_a_tokens_life_pass_by_the_clock() {
    let steered = Steered::start().await;
    let mut tokens = BTreeSet::new();
    for hour in 0..30 * 24 {
        let response = steered.request().send(&steered.emulator).await;
        assert_eq!(response.status, 200, "hour {hour}: {}", response.body);
        tokens.insert(projected_token(&steered.pod));
        let (status, _) = steered
            .call("POST", "/clock/advance", Some(json!({ "by": "1h" })))
            .await;
        assert_eq!(status, 200);
    }
    assert_eq!(tokens.len(), 30 * 24);
}

#[tokio::test]
async fn token_rotates_at_80_percent_of_its_life() {
    let steered = Steered::start().await;
    let first = projected_token(&steered.pod);
    steered.emulator.advance(seconds(2879)).unwrap();
    assert_eq!(projected_token(&steered.pod), first);
    // The wall clock can have moved a second, too.
    steered.emulator.advance(seconds(1)).unwrap();
    assert_ne!(projected_token(&steered.pod), first);
}

#[tokio::test]
async fn reset_leads_back_to_the_seed_and_keeps_identities() {
    let seed: Seed = serde_json::from_value(json!({
        "pods": [{
            "namespace": "shop",
            "serviceAccount": "orders",
            "clientId": CLIENT_ID,
            "roles": [{ "role": "Key Vault Secrets User" }]
        }],
        "secrets": [{ "name": "password", "value": "planted" }],
    }))
    .unwrap();
    let steered = Steered::with(seed).await;
    let get = async || {
        let response = steered.request().send(&steered.emulator).await;
        if response.status != 200 {
            return response.status;
        }
        let url = format!(
            "{}/secrets/password?api-version=7.6",
            steered.emulator.key_vault_url()
        );
        let request = steered.client.get(url).bearer_auth(response.text("access_token"));
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!(get().await, 200);
    let order = async |path: &str| steered.call("POST", path, None).await;
    order("/entra/stop").await;
    assert_eq!(get().await, 503);
    order("/reset").await;
    assert_eq!(get().await, 200);
    steered
        .call("DELETE", &format!("/identities/{CLIENT_ID}/roles"), None)
        .await;
    assert_eq!(get().await, 403);
    order("/reset").await;
    assert_eq!(get().await, 200);
    order(&format!("/identities/{CLIENT_ID}/disable")).await;
    assert_eq!(get().await, 400);
    steered
        .call("POST", "/clock/advance", Some(json!({ "by": "90d" })))
        .await;
    order("/reset").await;
    assert_eq!(get().await, 200);
    assert_eq!(
        steered
            .emulator
            .requests_to(entra_workload_emulator::Endpoint::Entra)
            .len(),
        1
    );
}

/// An emulator with a pod, and its admin API.
struct Steered {
    emulator: Arc<Emulator>,
    admin: Admin,
    pod: Pod,
    client: reqwest::Client,
}

impl Steered {
    async fn start() -> Self {
        Self::with(
            serde_json::from_value(json!({ "pods": [{ "namespace": "shop", "serviceAccount": "orders" }] }))
                .unwrap(),
        )
        .await
    }

    async fn with(seed: Seed) -> Self {
        let emulator = Arc::new(Emulator::builder().known_keys().start().await.unwrap());
        let pod = emulator.seed(&seed).unwrap().remove(0);
        let admin = Admin::start(Arc::clone(&emulator), None, seed).await.unwrap();
        let client = support::client(&emulator);
        Self {
            emulator,
            admin,
            pod,
            client,
        }
    }

    fn request(&self) -> TokenRequest {
        TokenRequest::new(&self.pod)
    }

    /// Of a client that handles claims challenges.
    async fn token(&self) -> String {
        let cp1 = r#"{"access_token":{"xms_cc":{"values":["CP1"]}}}"#;
        let response = self.request().with("claims", cp1).send(&self.emulator).await;
        response.text("access_token").to_owned()
    }

    /// Reads a secret that is not there: 404 says that it could be read.
    async fn read_secret(&self, token: &str) -> u16 {
        let url = format!("{}/secrets/none?api-version=7.6", self.emulator.key_vault_url());
        let request = self.client.get(url).bearer_auth(token);
        request.send().await.unwrap().status().as_u16()
    }

    /// Returns the status and the JSON of the response.
    async fn call(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let url = format!("{}{path}", self.admin.url());
        let mut request = self
            .client
            .request(method.parse().unwrap(), url)
            .timeout(Duration::from_secs(10));
        if let Some(body) = body {
            request = request.body(body.to_string());
        }
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let body = response.bytes().await.unwrap();
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }
}

const CLIENT_ID: &str = "7a5ff21b-4f5b-4f5b-9e3e-2c0b5a1d9a10";
