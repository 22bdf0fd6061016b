//! The token endpoint: error codes, their precedence, and issued tokens.

use std::collections::BTreeSet;
use std::time::UNIX_EPOCH;

use entra_workload_emulator::{Emulator, Pod, ServiceAccountToken};
use serde_json::{Value, json};

use crate::support::token_request::TokenRequest;
use crate::support::{SettableClock, emulator_at, get, now, parts, seconds, valid_token};

type MakeRequest = fn(&Emulator, &Pod) -> TokenRequest;

/// Name, invalid request, and its status, OAuth error and AADSTS code.
const ERRORS: &[(&str, MakeRequest, (u16, &str, u32))] = &[
    (
        "unknown tenant ID",
        |_, pod| TokenRequest::new(pod).tenant("00000000-0000-4000-8000-000000000000"),
        (400, "invalid_request", 90_002),
    ),
    (
        "unknown tenant domain",
        |_, pod| TokenRequest::new(pod).tenant("contoso.onmicrosoft.com"),
        (400, "invalid_request", 90_002),
    ),
    (
        "invalid tenant",
        |_, pod| TokenRequest::new(pod).tenant("contoso"),
        (400, "invalid_request", 900_023),
    ),
    (
        "tenant of hyphens",
        |_, pod| TokenRequest::new(pod).tenant("------------------------------------"),
        (400, "invalid_request", 900_023),
    ),
    (
        "no grant type",
        |_, pod| TokenRequest::new(pod).without("grant_type"),
        (400, "invalid_request", 900_144),
    ),
    (
        "no client id",
        |_, pod| TokenRequest::new(pod).without("client_id"),
        (400, "invalid_request", 900_144),
    ),
    (
        "no scope",
        |_, pod| TokenRequest::new(pod).without("scope"),
        (400, "invalid_request", 900_144),
    ),
    (
        "empty scope",
        |_, pod| TokenRequest::new(pod).with("scope", ""),
        (400, "invalid_request", 900_144),
    ),
    (
        "unsupported grant type",
        |_, pod| TokenRequest::new(pod).with("grant_type", "authorization_code"),
        (400, "unsupported_grant_type", 70_003),
    ),
    (
        "unknown client",
        |_, pod| TokenRequest::new(pod).with("client_id", "00000000-0000-4000-8000-000000000000"),
        (400, "unauthorized_client", 700_016),
    ),
    (
        "disabled client",
        |emulator, pod| {
            emulator.entra().disable_application(pod.client_id());
            TokenRequest::new(pod)
        },
        (400, "unauthorized_client", 7_000_112),
    ),
    (
        "no assertion",
        |_, pod| TokenRequest::new(pod).without("client_assertion"),
        (401, "invalid_client", 7_000_218),
    ),
    (
        "no assertion type",
        |_, pod| TokenRequest::new(pod).without("client_assertion_type"),
        (401, "invalid_client", 7_000_218),
    ),
    (
        "wrong assertion type",
        |_, pod| {
            let saml = "urn:ietf:params:oauth:client-assertion-type:saml2-bearer";
            TokenRequest::new(pod).with("client_assertion_type", saml)
        },
        (401, "invalid_client", 7_000_218),
    ),
    (
        "wrong client secret",
        |_, pod| {
            TokenRequest::new(pod)
                .without("client_assertion")
                .with("client_secret", "hunter2")
        },
        (401, "invalid_client", 7_000_215),
    ),
    (
        "assertion not a JWT",
        |_, pod| TokenRequest::new(pod).with("client_assertion", "not-a-jwt"),
        (400, "invalid_request", 50_027),
    ),
    (
        "assertion with a newline at its end",
        |_, pod| {
            let request = TokenRequest::new(pod);
            let assertion = format!("{}\n", request.field("client_assertion"));
            request.with("client_assertion", &assertion)
        },
        (400, "invalid_request", 50_027),
    ),
    (
        "no federated credential",
        |emulator, pod| {
            emulator.entra().remove_federated_credentials(pod.client_id());
            TokenRequest::new(pod)
        },
        (401, "invalid_client", 70_025),
    ),
    (
        "issuer without trailing slash",
        |emulator, pod| {
            let issuer = emulator.issuer_url().trim_end_matches('/');
            TokenRequest::new(pod).assertion(emulator, &valid_token().issuer(issuer))
        },
        (401, "invalid_client", 700_211),
    ),
    (
        "subject in another case",
        |emulator, pod| {
            let subject = "system:serviceaccount:shop:Orders";
            TokenRequest::new(pod).assertion(emulator, &valid_token().subject(subject))
        },
        (401, "invalid_client", 7_002_138),
    ),
    (
        "audience of the API server",
        |emulator, pod| {
            let audience = "https://kubernetes.default.svc";
            TokenRequest::new(pod).assertion(emulator, &valid_token().audience(audience))
        },
        (401, "invalid_client", 700_212),
    ),
    (
        "audience of an identity binding",
        |emulator, pod| {
            let audience = "api://AKSIdentityBinding";
            TokenRequest::new(pod).assertion(emulator, &valid_token().audience(audience))
        },
        (401, "invalid_client", 700_212),
    ),
    (
        "two audiences, one of them valid",
        |emulator, pod| {
            let audiences = ["api://AzureADTokenExchange", "vault"];
            TokenRequest::new(pod).assertion(emulator, &valid_token().audiences(audiences))
        },
        (401, "invalid_client", 700_212),
    ),
    (
        "issued by Entra itself",
        |emulator, pod| {
            let issuer = format!("https://sts.windows.net/{}/", pod.tenant_id());
            TokenRequest::new(pod).assertion(emulator, &valid_token().issuer(issuer))
        },
        (401, "invalid_client", 700_222),
    ),
    (
        "invalid signature",
        |emulator, pod| TokenRequest::new(pod).assertion(emulator, &valid_token().with_invalid_signature()),
        (401, "invalid_client", 700_027),
    ),
    (
        "unknown key ID",
        |emulator, pod| TokenRequest::new(pod).assertion(emulator, &valid_token().key_id("unknown")),
        (401, "invalid_client", 7_000_272),
    ),
    (
        "algorithm none",
        |emulator, pod| TokenRequest::new(pod).assertion(emulator, &valid_token().algorithm("none")),
        (401, "invalid_client", 700_027),
    ),
    (
        "symmetric algorithm",
        |emulator, pod| TokenRequest::new(pod).assertion(emulator, &valid_token().algorithm("HS256")),
        (401, "invalid_client", 700_027),
    ),
    (
        "signature of another token",
        |emulator, pod| {
            let other = emulator.issuer().sign(&ServiceAccountToken::new("shop", "admin"));
            let token = emulator.issuer().sign(&valid_token());
            let (_, signature) = other.rsplit_once('.').unwrap();
            let (message, _) = token.rsplit_once('.').unwrap();
            TokenRequest::new(pod).with("client_assertion", &format!("{message}.{signature}"))
        },
        (401, "invalid_client", 700_027),
    ),
    (
        "expired before the clock skew",
        |emulator, pod| {
            let token = valid_token()
                .issued_at(now() - seconds(900))
                .lifetime(seconds(600));
            TokenRequest::new(pod).assertion(emulator, &token)
        },
        (401, "invalid_client", 700_024),
    ),
    (
        "valid only after the clock skew",
        |emulator, pod| {
            TokenRequest::new(pod).assertion(emulator, &valid_token().not_before(now() + seconds(301)))
        },
        (401, "invalid_client", 700_024),
    ),
    (
        "scope without /.default",
        |_, pod| TokenRequest::new(pod).with("scope", "https://vault.azure.net/user_impersonation"),
        (400, "invalid_scope", 1_002_012),
    ),
    (
        "two resources",
        |_, pod| {
            let scope = "https://vault.azure.net/.default https://storage.azure.com/.default";
            TokenRequest::new(pod).with("scope", scope)
        },
        (400, "invalid_scope", 28_000),
    ),
    (
        "scope without a resource",
        |_, pod| TokenRequest::new(pod).with("scope", "/.default"),
        (400, "invalid_scope", 70_011),
    ),
    (
        "unknown resource",
        |_, pod| TokenRequest::new(pod).with("scope", "https://example.com/.default"),
        (400, "invalid_resource", 500_011),
    ),
];

#[tokio::test]
async fn invalid_token_requests_return_the_status_and_code_of_entra() {
    let emulator = emulator_at(&SettableClock::at(now())).await;
    for (name, request, expected) in ERRORS {
        let pod = emulator.pod("shop", "orders").unwrap();
        let response = request(&emulator, &pod).send(&emulator).await;
        let (status, error, code) = *expected;
        assert_eq!(
            response.error(),
            (status, error, u64::from(code)),
            "{name}: {}",
            response.body
        );
    }
}

#[tokio::test]
async fn first_failed_check_determines_the_error_code() {
    let emulator = emulator_at(&SettableClock::at(now())).await;
    let pod = emulator.pod("shop", "orders").unwrap();
    let expired = valid_token().issued_at(now() - seconds(7200));
    let rows = [
        (
            "issuer before subject",
            expired.clone().issuer("https://a/").subject("b").audience("c"),
            700_211,
        ),
        (
            "subject before audience",
            expired
                .clone()
                .subject("b")
                .audience("c")
                .with_invalid_signature(),
            700_213,
        ),
        (
            "audience before signature",
            expired.clone().audience("c").with_invalid_signature(),
            700_212,
        ),
        (
            "signature before times",
            expired.clone().with_invalid_signature(),
            700_027,
        ),
        ("times before scope", expired, 700_024),
    ];
    for (name, token, code) in rows {
        let request = TokenRequest::new(&pod)
            .with("scope", "nonsense")
            .assertion(&emulator, &token);
        assert_eq!(request.send(&emulator).await.code(), code, "{name}");
    }
}

#[tokio::test]
async fn error_response_has_the_fields_of_entra() {
    let emulator = emulator_at(&SettableClock::at(UNIX_EPOCH + seconds(1_795_474_085))).await;
    let pod = emulator.pod("shop", "orders").unwrap();
    let request = TokenRequest::new(&pod).without("scope");
    let response = request
        .header("client-request-id", "5f1f4b9c-0e52-4b6e-b7b2-2f6d2b6f9f10")
        .send(&emulator)
        .await;

    let keys: BTreeSet<_> = response
        .body
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    let expected = [
        "error",
        "error_description",
        "error_codes",
        "timestamp",
        "trace_id",
        "correlation_id",
        "error_uri",
    ];
    assert_eq!(keys, BTreeSet::from(expected));
    let trace_id = response.text("trace_id");
    assert_eq!(response.text("timestamp"), "2026-11-23 22:48:05Z");
    assert_eq!(
        response.text("correlation_id"),
        "5f1f4b9c-0e52-4b6e-b7b2-2f6d2b6f9f10"
    );
    assert_eq!(
        response.text("error_uri"),
        format!("{}error?code=900144", emulator.authority_host())
    );
    assert_eq!(
        response.text("error_description"),
        format!(
            "AADSTS900144: The request body must contain the following parameter: 'scope'. Trace ID: {trace_id} \
             Correlation ID: 5f1f4b9c-0e52-4b6e-b7b2-2f6d2b6f9f10 Timestamp: 2026-11-23 22:48:05Z"
        )
    );
    assert_eq!(response.headers["x-ms-request-id"], trace_id);
    assert_eq!(
        response.headers["client-request-id"],
        "5f1f4b9c-0e52-4b6e-b7b2-2f6d2b6f9f10"
    );
    assert_eq!(
        response.headers["content-type"],
        "application/json; charset=utf-8"
    );
    assert_eq!(response.headers["cache-control"], "no-store, no-cache");
}

#[tokio::test]
async fn token_endpoint_rejects_get() {
    let emulator = Emulator::start().await.unwrap();
    let path = format!("{}/oauth2/v2.0/token", emulator.entra().tenant_id());
    let response = get(&emulator, &format!("{}{path}", emulator.authority_host())).await;
    assert_eq!(response.error(), (400, "invalid_request", 900_561));
}

#[tokio::test]
async fn access_token_has_the_claims_and_signature_of_entra() {
    let start = now();
    let emulator = emulator_at(&SettableClock::at(start)).await;
    let pod = emulator.pod("shop", "orders").unwrap();
    let response = TokenRequest::new(&pod).send(&emulator).await;
    assert_eq!(response.status, 200, "{}", response.body);
    let access_token = response.text("access_token");
    assert_eq!(
        response.body,
        json!({ "token_type": "Bearer", "expires_in": 3599, "ext_expires_in": 3599, "access_token": access_token })
    );

    let tenant = pod.tenant_id();
    let (header, claims) = parts(access_token);
    let kid = header["kid"].as_str().unwrap();
    assert_eq!(
        header,
        json!({ "typ": "JWT", "alg": "RS256", "x5t": kid, "kid": kid })
    );
    let issued = start.duration_since(UNIX_EPOCH).unwrap().as_secs();
    let expected = [
        ("aud", json!("https://vault.azure.net")),
        ("iss", json!(format!("https://sts.windows.net/{tenant}/"))),
        ("iat", json!(issued - 300)),
        ("nbf", json!(issued - 300)),
        ("exp", json!(issued + 3599)),
        ("appid", json!(pod.client_id())),
        ("appidacr", json!("2")),
        ("idp", json!(format!("https://sts.windows.net/{tenant}/"))),
        ("oid", claims["sub"].clone()),
        ("tid", json!(tenant)),
        ("ver", json!("1.0")),
    ];
    for (name, value) in &expected {
        assert_eq!(claims[name], *value, "{name}");
    }
    for opaque in ["aio", "rh", "uti", "sub"] {
        assert!(claims[opaque].is_string(), "{opaque}");
    }
    assert_eq!(claims.as_object().unwrap().len(), expected.len() + 4, "{claims}");

    let discovery = format!(
        "{}{tenant}/v2.0/.well-known/openid-configuration",
        emulator.authority_host()
    );
    let discovery = get(&emulator, &discovery).await;
    let keys = get(&emulator, discovery.text("jwks_uri")).await.body;
    let keys: jsonwebtoken::jwk::JwkSet = serde_json::from_value(keys).unwrap();
    let key = jsonwebtoken::DecodingKey::from_jwk(keys.find(kid).unwrap()).unwrap();
    let mut validation = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::RS256);
    validation.set_audience(&["https://vault.azure.net"]);
    jsonwebtoken::decode::<Value>(access_token, &key, &validation).unwrap();
}

#[tokio::test]
async fn audience_is_the_scope_without_its_default_suffix() {
    let emulator = Emulator::start().await.unwrap();
    let pod = emulator.pod("shop", "orders").unwrap();
    emulator.entra().register_resource("api://orders");
    let rows = [
        ("https://vault.azure.net/.default", "https://vault.azure.net"),
        (
            "https://storage.azure.com//.default",
            "https://storage.azure.com/",
        ),
        (
            "https://vault.azure.net/.default https://vault.azure.net/.default",
            "https://vault.azure.net",
        ),
        ("api://orders/.default", "api://orders"),
    ];
    for (scope, audience) in rows {
        let response = TokenRequest::new(&pod).with("scope", scope).send(&emulator).await;
        assert_eq!(parts(response.text("access_token")).1["aud"], audience, "{scope}");
    }
}

#[tokio::test]
async fn token_response_has_the_configured_lifetime_and_refresh_in() {
    let emulator = Emulator::builder()
        .access_token_lifetime(seconds(86_399))
        .refresh_in(seconds(43_199))
        .start()
        .await
        .unwrap();
    let pod = emulator.pod("shop", "orders").unwrap();
    let response = TokenRequest::new(&pod).send(&emulator).await;
    assert_eq!(
        (&response.body["expires_in"], &response.body["refresh_in"]),
        (&json!(86_399), &json!(43_199))
    );

    emulator.entra().set_access_token_lifetime(seconds(60));
    emulator.entra().set_refresh_in(None);
    let response = TokenRequest::new(&pod).send(&emulator).await;
    assert_eq!(
        (&response.body["expires_in"], response.body.get("refresh_in")),
        (&json!(60), None)
    );
}

#[tokio::test]
async fn registering_again_enables_a_disabled_application() {
    let emulator = Emulator::start().await.unwrap();
    let pod = emulator.pod("shop", "orders").unwrap();
    emulator.entra().disable_application(pod.client_id());
    assert_eq!(TokenRequest::new(&pod).send(&emulator).await.code(), 7_000_112);
    emulator.entra().register_application(pod.client_id());
    assert_eq!(TokenRequest::new(&pod).send(&emulator).await.status, 200);
}
