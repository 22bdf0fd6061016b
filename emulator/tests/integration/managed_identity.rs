//! The managed identity endpoints: IMDS and App Service.

use crate::support;
use std::time::{Duration, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use entra_workload_emulator::{Emulator, Endpoint, Fault, ManagedIdentity};
use serde_json::{Value, json};

use crate::support::now;

const VAULT: &str = "https://vault.azure.net";

#[tokio::test]
async fn imds_token_is_accepted_by_key_vault() {
    let emulator = Emulator::start().await.unwrap();
    let identity = emulator.assign_system_identity();
    assert_eq!(
        emulator.assign_system_identity(),
        identity,
        "every call returns the same identity"
    );
    let (status, body) = imds(&emulator, &[]).await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(body["client_id"], identity.client_id);
    assert_eq!(
        (&body["resource"], &body["token_type"]),
        (&json!(VAULT), &json!("Bearer"))
    );
    assert_eq!(
        (&body["expires_in"], &body["ext_expires_in"]),
        (&json!("3599"), &json!("3599"))
    );
    let claims = claims(&body);
    assert_eq!(
        claims["exp"].to_string(),
        body["expires_on"].as_str().unwrap(),
        "seconds, as a string"
    );
    assert_eq!(claims["nbf"].to_string(), body["not_before"].as_str().unwrap());
    assert_eq!(
        (&claims["aud"], &claims["appid"]),
        (&json!(VAULT), &json!(identity.client_id))
    );
    assert_eq!(claims["oid"], identity.object_id);
    assert_eq!(claims["xms_mirid"], identity.resource_id);
    let now = now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    assert!(claims["exp"].as_u64().unwrap().abs_diff(now + 3599) < 60);

    let secrets = http::Request::get(format!("{}/secrets?api-version=7.5", emulator.key_vault_url()))
        .header(
            "authorization",
            format!("Bearer {}", body["access_token"].as_str().unwrap()),
        )
        .body(Bytes::new())
        .unwrap();
    assert_eq!(support::send(&emulator, secrets).await.status(), 200);
}

#[tokio::test]
async fn identity_is_found_by_each_of_its_ids() {
    let emulator = Emulator::start().await.unwrap();
    emulator.assign_system_identity();
    let (orders, billing) = (
        ManagedIdentity::named("orders"),
        ManagedIdentity::named("billing"),
    );
    emulator.assign_identity(orders.clone());
    emulator.assign_identity(billing.clone());
    for identity in [&orders, &billing] {
        let upper_case = identity.resource_id.to_uppercase();
        for (parameter, id) in [
            ("client_id", &identity.client_id),
            ("object_id", &identity.object_id),
            ("msi_res_id", &identity.resource_id),
            ("mi_res_id", &upper_case),
        ] {
            let (status, body) = imds(&emulator, &[(parameter, id)]).await;
            assert_eq!(status, 200, "{parameter}: {body}");
            assert_eq!(claims(&body)["appid"], identity.client_id, "{parameter}");
        }
        for (parameter, id) in [
            ("client_id", &identity.client_id),
            ("principal_id", &identity.object_id),
            ("object_id", &identity.object_id),
            ("mi_res_id", &identity.resource_id),
        ] {
            let (status, body) = app_service(&emulator, &[(parameter, id)]).await;
            assert_eq!(status, 200, "{parameter}: {body}");
            assert_eq!(body["client_id"], identity.client_id, "{parameter}");
        }
    }
    for ids in [
        &[("client_id", orders.object_id.as_str())][..],
        &[("client_id", &orders.client_id), ("object_id", &orders.object_id)],
    ] {
        assert_eq!(imds(&emulator, ids).await.0, 400, "{ids:?}");
        assert_eq!(app_service(&emulator, ids).await.0, 400, "{ids:?}");
    }
}

#[tokio::test]
async fn default_identity_is_the_system_assigned_or_on_imds_the_only_one() {
    let emulator = Emulator::start().await.unwrap();
    let not_found = json!({ "error": "invalid_request", "error_description": "Identity not found" });
    assert_eq!(imds(&emulator, &[]).await, (400, not_found.clone()));
    let (orders, billing) = (
        ManagedIdentity::named("orders"),
        ManagedIdentity::named("billing"),
    );

    emulator.assign_identity(orders.clone());
    assert_eq!(imds(&emulator, &[]).await.1["client_id"], orders.client_id);
    let (status, body) = app_service(&emulator, &[]).await;
    assert_eq!(
        (status, &body["statusCode"]),
        (400, &json!(400)),
        "App Service has no default user-assigned identity"
    );
    assert_eq!(
        body["message"],
        "No Managed Identity found for specified ClientId/ResourceId/PrincipalId."
    );

    emulator.assign_identity(billing.clone());
    let (status, body) = imds(&emulator, &[]).await;
    assert_eq!((status, &body["error"]), (400, &json!("invalid_request")));
    assert!(
        body["error_description"]
            .as_str()
            .unwrap()
            .starts_with("Multiple user assigned identities"),
        "{body}"
    );
    assert_eq!(
        imds(&emulator, &[("client_id", "unknown")]).await,
        (400, not_found)
    );

    let system = emulator.assign_system_identity();
    assert_eq!(imds(&emulator, &[]).await.1["client_id"], system.client_id);
    assert_eq!(app_service(&emulator, &[]).await.1["client_id"], system.client_id);
}

#[tokio::test]
async fn imds_rejects_invalid_requests() {
    let emulator = Emulator::start().await.unwrap();
    emulator.assign_system_identity();
    let path = "/metadata/identity/oauth2/token";
    let valid = format!("{path}?api-version=2018-02-01&resource={VAULT}");
    let metadata = ("metadata", "true");
    let no_header = (400, "bad_request_102");
    let invalid = (400, "invalid_request");
    for (method, target, headers, expected) in [
        ("GET", path, &[][..], no_header),
        ("GET", "/", &[], no_header),
        ("GET", &valid, &[], no_header),
        ("GET", &valid, &[("metadata", "false")], no_header),
        (
            "GET",
            &valid,
            &[metadata, ("x-forwarded-for", "10.0.0.1")],
            invalid,
        ),
        ("GET", "/", &[metadata], (404, "not_found")),
        ("POST", &valid, &[metadata], (405, "method_not_allowed")),
        ("GET", &format!("{path}?resource={VAULT}"), &[metadata], invalid),
        (
            "GET",
            &format!("{path}?api-version=2017-09-01&resource={VAULT}"),
            &[metadata],
            invalid,
        ),
        (
            "GET",
            &format!("{path}?api-version=latest&resource={VAULT}"),
            &[metadata],
            invalid,
        ),
        (
            "GET",
            &format!("{path}?api-version=2018-02-01"),
            &[metadata],
            invalid,
        ),
        (
            "GET",
            &format!("{path}?api-version=2018-02-01&resource="),
            &[metadata],
            invalid,
        ),
        (
            "GET",
            &format!("{path}?api-version=2018-02-01&resource=https://unknown"),
            &[metadata],
            (400, "invalid_resource"),
        ),
    ] {
        let (status, body) = send(
            &emulator,
            method,
            &format!("{}{target}", emulator.imds_url()),
            headers,
        )
        .await;
        assert_eq!(
            (status, body["error"].as_str().unwrap()),
            expected,
            "{method} {target} {headers:?}"
        );
    }
    assert_eq!(
        send(
            &emulator,
            "GET",
            &format!("{}{valid}", emulator.imds_url()),
            &[metadata]
        )
        .await
        .0,
        200
    );
}

#[tokio::test]
async fn app_service_requires_its_identity_header() {
    let emulator = Emulator::start().await.unwrap();
    emulator.assign_system_identity();
    let url = emulator.app_service_url();
    let valid = format!("{url}?api-version=2019-08-01&resource={VAULT}");
    let header = ("x-identity-header", emulator.app_service_header());
    for (target, headers, expected) in [
        (valid.clone(), &[][..], 401),
        (valid.clone(), &[("x-identity-header", "guessed")], 401),
        (valid.replace("/msi/token", "/other"), &[header], 404),
        (valid.replace("2019-08-01", "2017-09-01"), &[header], 400),
        (format!("{url}?api-version=2019-08-01"), &[header], 400),
        (
            format!("{url}?api-version=2019-08-01&resource=https://unknown"),
            &[header],
            400,
        ),
        (valid.replace("/msi/token", "/msi/token/"), &[header], 200),
        (valid, &[header], 200),
    ] {
        let (status, body) = send(&emulator, "GET", &target, headers).await;
        assert_eq!(status, expected, "{target}: {body}");
        if status == 200 {
            assert_eq!(
                claims(&body)["exp"].to_string(),
                body["expires_on"].as_str().unwrap()
            );
            assert_eq!(
                body["expires_in"],
                Value::Null,
                "App Service only returns expires_on"
            );
        }
    }
}

#[tokio::test]
async fn faults_and_request_log_cover_managed_identities() {
    let emulator = Emulator::start().await.unwrap();
    emulator.assign_system_identity();
    emulator.inject(Endpoint::Imds, Fault::status(410));
    emulator.inject(Endpoint::Imds, Fault::throttle(Duration::from_secs(3)));
    let (status, body) = imds(&emulator, &[]).await;
    assert_eq!((status, &body["error"]), (410, &json!("unknown")));
    assert_eq!(imds(&emulator, &[]).await.0, 429);
    assert_eq!(imds(&emulator, &[]).await.0, 200);
    emulator.inject(Endpoint::AppService, Fault::status(500));
    let (status, body) = app_service(&emulator, &[]).await;
    assert_eq!((status, &body["statusCode"]), (500, &json!(500)));

    let statuses: Vec<_> = emulator
        .requests_to(Endpoint::Imds)
        .iter()
        .map(entra_workload_emulator::RecordedRequest::status)
        .collect();
    assert_eq!(statuses, [Some(410), Some(429), Some(200)]);
    let [request] = &emulator.requests_to(Endpoint::AppService)[..] else {
        panic!("expected one request")
    };
    assert_eq!(request.path(), "/msi/token");
    assert_eq!(
        request.header("X-IDENTITY-HEADER"),
        Some(emulator.app_service_header())
    );
    let printed = format!("{request:?} {emulator:?}");
    assert!(!printed.contains(emulator.app_service_header()), "{printed}");
    assert!(printed.contains(emulator.imds_url()), "{printed}");
}

#[tokio::test]
async fn injected_status_has_the_error_body_of_imds() {
    let emulator = Emulator::start().await.unwrap();
    for (status, error, description) in [
        (400, "invalid_request", "Identity not found"),
        (401, "unknown_source", "Unknown Source"),
        (404, "not_found", "Not found"),
        (405, "method_not_allowed", "Only GET is allowed"),
        (410, "unknown", "IMDS is going through updates"),
        (
            429,
            "too_many_requests",
            "Temporarily throttled, too many requests",
        ),
        (
            500,
            "unknown",
            "Failed to retrieve token from the Active directory.",
        ),
        (
            503,
            "unknown",
            "Failed to retrieve token from the Active directory.",
        ),
    ] {
        emulator.inject(Endpoint::Imds, Fault::status(status));
        let (actual, body) = imds(&emulator, &[]).await;
        assert_eq!((actual, &body["error"]), (status, &json!(error)));
        let text = body["error_description"].as_str().unwrap();
        assert!(text.starts_with(description), "{text}");
    }
}

#[tokio::test]
async fn injected_status_has_the_error_body_of_app_service() {
    let emulator = Emulator::start().await.unwrap();
    for (status, message) in [
        (
            400,
            "No Managed Identity found for specified ClientId/ResourceId/PrincipalId.",
        ),
        (401, "The header X-IDENTITY-HEADER is missing or wrong."),
        (404, "Not found."),
        (405, "Only GET is allowed."),
        (429, "An unexpected error occured while fetching the AAD Token."),
        (500, "An unexpected error occured while fetching the AAD Token."),
    ] {
        emulator.inject(Endpoint::AppService, Fault::status(status));
        let (actual, body) = app_service(&emulator, &[]).await;
        assert_eq!(
            (actual, &body["statusCode"], &body["message"]),
            (status, &json!(status), &json!(message))
        );
    }
}

#[tokio::test]
async fn app_service_fault_is_kept_for_a_request_with_the_identity_header() {
    let emulator = Emulator::start().await.unwrap();
    emulator.inject(Endpoint::AppService, Fault::status(500));
    let url = query(emulator.app_service_url(), "2019-08-01", &[]);
    assert_eq!(send(&emulator, "GET", &url, &[]).await.0, 401);
    assert_eq!(app_service(&emulator, &[]).await.0, 500);
}

/// The managed identity credential of the Azure SDK, whose requests to 169.254.169.254 are sent to
/// the emulator.
mod sdk {
    use std::sync::Arc;

    use azure_core::credentials::TokenCredential as _;
    use azure_core::http::{AsyncRawResponse, ClientOptions, HttpClient, Request, Transport, Url};
    use azure_identity::{ManagedIdentityCredential, ManagedIdentityCredentialOptions, UserAssignedId};

    use super::{Emulator, ManagedIdentity};

    #[tokio::test]
    async fn sdk_managed_identity_credential_gets_tokens_from_imds() {
        let emulator = Emulator::start().await.unwrap();
        let identity = ManagedIdentity::named("orders");
        let token = async |id: UserAssignedId| {
            let client = RedirectingClient {
                client: reqwest::Client::builder().no_proxy().build().unwrap(),
                to: emulator.imds_url().parse().unwrap(),
            };
            let options = ManagedIdentityCredentialOptions {
                user_assigned_id: Some(id),
                client_options: ClientOptions {
                    transport: Some(Transport::new(Arc::new(client))),
                    ..Default::default()
                },
            };
            let credential = ManagedIdentityCredential::new(Some(options)).unwrap();
            credential
                .get_token(&["https://vault.azure.net/.default"], None)
                .await
        };
        let error = token(UserAssignedId::ClientId(identity.client_id.clone())).await;
        error.unwrap_err();
        emulator.assign_identity(identity.clone());
        for id in [
            UserAssignedId::ClientId(identity.client_id),
            UserAssignedId::ObjectId(identity.object_id),
            UserAssignedId::ResourceId(identity.resource_id),
        ] {
            token(id).await.unwrap();
        }
    }

    #[derive(Debug)]
    struct RedirectingClient {
        client: reqwest::Client,
        to: Url,
    }

    #[async_trait::async_trait]
    impl HttpClient for RedirectingClient {
        async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
            assert_eq!(request.url().host_str(), Some("169.254.169.254"));
            let mut request = request.clone();
            request.url_mut().set_host(self.to.host_str()).unwrap();
            request.url_mut().set_port(self.to.port()).unwrap();
            self.client.execute_request(&request).await
        }
    }
}

#[tokio::test]
async fn outage_of_entra_is_an_error_that_clients_retry() {
    let emulator = Emulator::start().await.unwrap();
    emulator.assign_system_identity();
    emulator.entra().set_available(false);
    let (status, body) = imds(&emulator, &[]).await;
    assert_eq!((status, &body["error"]), (500, &json!("unknown")));
    let (status, body) = app_service(&emulator, &[]).await;
    assert_eq!((status, &body["statusCode"]), (500, &json!(500)));
    emulator.entra().set_available(true);
    assert_eq!(imds(&emulator, &[]).await.0, 200);
}

/// Requests a Key Vault token from IMDS.
async fn imds(emulator: &Emulator, ids: &[(&str, &str)]) -> (u16, Value) {
    let url = format!("{}/metadata/identity/oauth2/token", emulator.imds_url());
    let url = query(&url, "2019-08-01", ids);
    send(emulator, "GET", &url, &[("metadata", "true")]).await
}

/// Requests a Key Vault token from App Service.
async fn app_service(emulator: &Emulator, ids: &[(&str, &str)]) -> (u16, Value) {
    let url = query(emulator.app_service_url(), "2019-08-01", ids);
    send(
        emulator,
        "GET",
        &url,
        &[("x-identity-header", emulator.app_service_header())],
    )
    .await
}

fn query(url: &str, version: &str, ids: &[(&str, &str)]) -> String {
    let parameters = [("api-version", version), ("resource", VAULT)];
    url::Url::parse_with_params(url, parameters.iter().chain(ids))
        .unwrap()
        .into()
}

async fn send(emulator: &Emulator, method: &str, url: &str, headers: &[(&str, &str)]) -> (u16, Value) {
    let mut request = http::Request::builder().method(method).uri(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Bytes::new()).unwrap();
    let (parts, body) = support::send(emulator, request).await.into_parts();
    (parts.status.as_u16(), serde_json::from_slice(&body).unwrap())
}

fn claims(body: &Value) -> Value {
    let token = body["access_token"].as_str().unwrap();
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    serde_json::from_slice(&claims).unwrap()
}
