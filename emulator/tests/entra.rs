//! The emulator's Entra is as strict as the real one, its issuer and pods look like a cluster's, and its faults and
//! its log do what they say. Everything goes over TLS, as plain form posts.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests"
)]

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use entra_workload::{Clock as _, Environment, ErrorKind, HttpTransport, SystemClock, Transport as _};
use entra_workload_emulator::{
    Emulator, Endpoint, Fault, FederatedCredential, Pod, RecordedRequest, ServiceAccountToken,
};
use serde_json::{Value, json};
use tokio::task::JoinSet;

type RequestOf = fn(&Emulator, &Pod) -> TokenRequest;

/// What is wrong, how to ask wrongly, and the status, OAuth error and AADSTS code of the refusal.
const REFUSALS: &[(&str, RequestOf, (u16, &str, u32))] = &[
    (
        "tenant unknown",
        |_, pod| TokenRequest::of(pod).tenant("00000000-0000-4000-8000-000000000000"),
        (400, "invalid_request", 90_002),
    ),
    (
        "tenant a domain that is unknown",
        |_, pod| TokenRequest::of(pod).tenant("contoso.onmicrosoft.com"),
        (400, "invalid_request", 90_002),
    ),
    (
        "tenant neither a GUID nor a domain",
        |_, pod| TokenRequest::of(pod).tenant("contoso"),
        (400, "invalid_request", 900_023),
    ),
    (
        "no grant type",
        |_, pod| TokenRequest::of(pod).without("grant_type"),
        (400, "invalid_request", 900_144),
    ),
    (
        "no client id",
        |_, pod| TokenRequest::of(pod).without("client_id"),
        (400, "invalid_request", 900_144),
    ),
    (
        "no scope",
        |_, pod| TokenRequest::of(pod).without("scope"),
        (400, "invalid_request", 900_144),
    ),
    (
        "scope empty",
        |_, pod| TokenRequest::of(pod).with("scope", ""),
        (400, "invalid_request", 900_144),
    ),
    (
        "grant of another kind",
        |_, pod| TokenRequest::of(pod).with("grant_type", "authorization_code"),
        (400, "unsupported_grant_type", 70_003),
    ),
    (
        "client unknown",
        |_, pod| TokenRequest::of(pod).with("client_id", "00000000-0000-4000-8000-000000000000"),
        (400, "unauthorized_client", 700_016),
    ),
    (
        "client disabled",
        |emulator, pod| {
            emulator.entra().disable_application(pod.client_id());
            TokenRequest::of(pod)
        },
        (400, "unauthorized_client", 7_000_112),
    ),
    (
        "no assertion",
        |_, pod| TokenRequest::of(pod).without("client_assertion"),
        (401, "invalid_client", 7_000_218),
    ),
    (
        "assertion type missing",
        |_, pod| TokenRequest::of(pod).without("client_assertion_type"),
        (401, "invalid_client", 7_000_218),
    ),
    (
        "assertion type wrong",
        |_, pod| {
            let saml = "urn:ietf:params:oauth:client-assertion-type:saml2-bearer";
            TokenRequest::of(pod).with("client_assertion_type", saml)
        },
        (401, "invalid_client", 7_000_218),
    ),
    (
        "a client secret instead",
        |_, pod| {
            TokenRequest::of(pod)
                .without("client_assertion")
                .with("client_secret", "hunter2")
        },
        (401, "invalid_client", 7_000_215),
    ),
    (
        "assertion not a JWT",
        |_, pod| TokenRequest::of(pod).with("client_assertion", "not-a-jwt"),
        (400, "invalid_request", 50_027),
    ),
    (
        "assertion with a newline at its end",
        |_, pod| {
            let request = TokenRequest::of(pod);
            let assertion = format!("{}\n", request.field("client_assertion"));
            request.with("client_assertion", &assertion)
        },
        (400, "invalid_request", 50_027),
    ),
    (
        "no federated credential at all",
        |emulator, pod| {
            emulator.entra().remove_federated_credentials(pod.client_id());
            TokenRequest::of(pod)
        },
        (401, "invalid_client", 70_025),
    ),
    (
        "issuer without its slash",
        |emulator, pod| {
            let issuer = emulator.issuer_url().trim_end_matches('/');
            TokenRequest::of(pod).assertion(emulator, &good_token().issuer(issuer))
        },
        (401, "invalid_client", 700_211),
    ),
    (
        "subject in another case",
        |emulator, pod| {
            let subject = "system:serviceaccount:shop:Orders";
            TokenRequest::of(pod).assertion(emulator, &good_token().subject(subject))
        },
        (401, "invalid_client", 700_213),
    ),
    (
        "audience of the API server",
        |emulator, pod| {
            let audience = "https://kubernetes.default.svc";
            TokenRequest::of(pod).assertion(emulator, &good_token().audience(audience))
        },
        (401, "invalid_client", 700_212),
    ),
    (
        "audience of an identity binding",
        |emulator, pod| {
            let audience = "api://AKSIdentityBinding";
            TokenRequest::of(pod).assertion(emulator, &good_token().audience(audience))
        },
        (401, "invalid_client", 700_212),
    ),
    (
        "two audiences, one of them right",
        |emulator, pod| {
            let audiences = ["api://AzureADTokenExchange", "vault"];
            TokenRequest::of(pod).assertion(emulator, &good_token().audiences(audiences))
        },
        (401, "invalid_client", 700_212),
    ),
    (
        "issued by Entra itself",
        |emulator, pod| {
            let issuer = format!("https://sts.windows.net/{}/", pod.tenant_id());
            TokenRequest::of(pod).assertion(emulator, &good_token().issuer(issuer))
        },
        (401, "invalid_client", 700_222),
    ),
    (
        "signed by a stranger",
        |emulator, pod| TokenRequest::of(pod).assertion(emulator, &good_token().signed_by_stranger()),
        (401, "invalid_client", 700_027),
    ),
    (
        "signed with a key that nobody published",
        |emulator, pod| TokenRequest::of(pod).assertion(emulator, &good_token().key_id("unknown")),
        (401, "invalid_client", 7_000_272),
    ),
    (
        "algorithm none",
        |emulator, pod| TokenRequest::of(pod).assertion(emulator, &good_token().algorithm("none")),
        (401, "invalid_client", 700_027),
    ),
    (
        "algorithm with a shared secret",
        |emulator, pod| TokenRequest::of(pod).assertion(emulator, &good_token().algorithm("HS256")),
        (401, "invalid_client", 700_027),
    ),
    (
        "claims changed after the signature",
        |emulator, pod| {
            let theirs = emulator.issuer().sign(&ServiceAccountToken::new("shop", "admin"));
            let ours = emulator.issuer().sign(&good_token());
            let (_, signature) = theirs.rsplit_once('.').unwrap();
            let (message, _) = ours.rsplit_once('.').unwrap();
            TokenRequest::of(pod).with("client_assertion", &format!("{message}.{signature}"))
        },
        (401, "invalid_client", 700_027),
    ),
    (
        "expired for as long as the skew",
        |emulator, pod| {
            let token = good_token()
                .issued_at(now() - seconds(900))
                .lifetime(seconds(600));
            TokenRequest::of(pod).assertion(emulator, &token)
        },
        (401, "invalid_client", 700_024),
    ),
    (
        "good only after the skew",
        |emulator, pod| {
            TokenRequest::of(pod).assertion(emulator, &good_token().not_before(now() + seconds(301)))
        },
        (401, "invalid_client", 700_024),
    ),
    (
        "scope without /.default",
        |_, pod| TokenRequest::of(pod).with("scope", "https://vault.azure.net/user_impersonation"),
        (400, "invalid_scope", 1_002_012),
    ),
    (
        "two resources",
        |_, pod| {
            let scope = "https://vault.azure.net/.default https://storage.azure.com/.default";
            TokenRequest::of(pod).with("scope", scope)
        },
        (400, "invalid_scope", 28_000),
    ),
    (
        "scope of no resource",
        |_, pod| TokenRequest::of(pod).with("scope", "/.default"),
        (400, "invalid_scope", 70_011),
    ),
    (
        "resource unknown",
        |_, pod| TokenRequest::of(pod).with("scope", "https://example.com/.default"),
        (400, "invalid_resource", 500_011),
    ),
];

#[tokio::test]
async fn every_wrong_request_is_refused_as_entra_refuses_it() {
    let emulator = emulator_at(&Time::at(now())).await;
    for (name, request, expected) in REFUSALS {
        let pod = emulator.pod("shop", "orders").unwrap();
        let reply = request(&emulator, &pod).send(&emulator).await;
        let (status, error, code) = *expected;
        assert_eq!(
            reply.refusal(),
            (status, error, u64::from(code)),
            "{name}: {}",
            reply.body
        );
    }
}

#[tokio::test]
async fn of_several_wrong_things_the_first_in_entras_order_decides() {
    let emulator = emulator_at(&Time::at(now())).await;
    let pod = emulator.pod("shop", "orders").unwrap();
    let expired = good_token().issued_at(now() - seconds(7200));
    let rows = [
        (
            "issuer before subject",
            expired.clone().issuer("https://a/").subject("b").audience("c"),
            700_211,
        ),
        (
            "subject before audience",
            expired.clone().subject("b").audience("c").signed_by_stranger(),
            700_213,
        ),
        (
            "audience before signature",
            expired.clone().audience("c").signed_by_stranger(),
            700_212,
        ),
        (
            "signature before times",
            expired.clone().signed_by_stranger(),
            700_027,
        ),
        ("times before scope", expired, 700_024),
    ];
    for (name, token, code) in rows {
        let request = TokenRequest::of(&pod)
            .with("scope", "nonsense")
            .assertion(&emulator, &token);
        assert_eq!(request.send(&emulator).await.code(), code, "{name}");
    }
}

#[tokio::test]
async fn assertions_are_good_within_five_minutes_of_clock_skew() {
    let emulator = emulator_at(&Time::at(now())).await;
    let pod = emulator.pod("shop", "orders").unwrap();
    let rows = [
        (
            "expired a second less than the skew ago",
            good_token()
                .issued_at(now() - seconds(899))
                .lifetime(seconds(600)),
        ),
        (
            "good when the skew is over",
            good_token().not_before(now() + seconds(300)),
        ),
    ];
    for (name, token) in rows {
        let reply = TokenRequest::of(&pod)
            .assertion(&emulator, &token)
            .send(&emulator)
            .await;
        assert_eq!(reply.status, 200, "{name}: {}", reply.body);
    }
}

#[tokio::test]
async fn a_refusal_has_the_shape_of_entras() {
    let emulator = emulator_at(&Time::at(UNIX_EPOCH + seconds(1_795_474_085))).await;
    let pod = emulator.pod("shop", "orders").unwrap();
    let request = TokenRequest::of(&pod).without("scope");
    let reply = request
        .header("client-request-id", "5f1f4b9c-0e52-4b6e-b7b2-2f6d2b6f9f10")
        .send(&emulator)
        .await;

    let keys: BTreeSet<_> = reply
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
    let trace_id = reply.text("trace_id");
    assert_eq!(reply.text("timestamp"), "2026-11-23 22:48:05Z");
    assert_eq!(
        reply.text("correlation_id"),
        "5f1f4b9c-0e52-4b6e-b7b2-2f6d2b6f9f10"
    );
    assert_eq!(
        reply.text("error_uri"),
        format!("{}error?code=900144", emulator.authority_host())
    );
    assert_eq!(
        reply.text("error_description"),
        format!(
            "AADSTS900144: The request body must contain the following parameter: 'scope'. Trace ID: {trace_id} \
             Correlation ID: 5f1f4b9c-0e52-4b6e-b7b2-2f6d2b6f9f10 Timestamp: 2026-11-23 22:48:05Z"
        )
    );
    assert_eq!(reply.headers["x-ms-request-id"], trace_id);
    assert_eq!(
        reply.headers["client-request-id"],
        "5f1f4b9c-0e52-4b6e-b7b2-2f6d2b6f9f10"
    );
    assert_eq!(reply.headers["content-type"], "application/json; charset=utf-8");
    assert_eq!(reply.headers["cache-control"], "no-store, no-cache");
}

#[tokio::test]
async fn the_token_endpoint_takes_posts_only() {
    let emulator = Emulator::start().await.unwrap();
    let path = format!("{}/oauth2/v2.0/token", emulator.entra().tenant_id());
    let reply = get(&emulator, &format!("{}{path}", emulator.authority_host())).await;
    assert_eq!(reply.refusal(), (400, "invalid_request", 900_561));
}

#[tokio::test]
async fn a_token_has_the_claims_and_the_signature_of_entras() {
    let start = now();
    let emulator = emulator_at(&Time::at(start)).await;
    let pod = emulator.pod("shop", "orders").unwrap();
    let reply = TokenRequest::of(&pod).send(&emulator).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    let access_token = reply.text("access_token");
    assert_eq!(
        reply.body,
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
async fn a_scope_names_its_resource_to_the_last_slash() {
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
        let reply = TokenRequest::of(&pod).with("scope", scope).send(&emulator).await;
        assert_eq!(parts(reply.text("access_token")).1["aud"], audience, "{scope}");
    }
}

#[tokio::test]
async fn lifetime_and_refresh_in_are_as_ordered() {
    let emulator = Emulator::builder()
        .access_token_lifetime(seconds(86_399))
        .refresh_in(seconds(43_199))
        .start()
        .await
        .unwrap();
    let pod = emulator.pod("shop", "orders").unwrap();
    let reply = TokenRequest::of(&pod).send(&emulator).await;
    assert_eq!(
        (&reply.body["expires_in"], &reply.body["refresh_in"]),
        (&json!(86_399), &json!(43_199))
    );

    emulator.entra().set_access_token_lifetime(seconds(60));
    emulator.entra().set_refresh_in(None);
    let reply = TokenRequest::of(&pod).send(&emulator).await;
    assert_eq!(
        (&reply.body["expires_in"], reply.body.get("refresh_in")),
        (&json!(60), None)
    );
}

#[tokio::test]
async fn a_disabled_application_is_let_in_again_when_it_is_registered_again() {
    let emulator = Emulator::start().await.unwrap();
    let pod = emulator.pod("shop", "orders").unwrap();
    emulator.entra().disable_application(pod.client_id());
    assert_eq!(TokenRequest::of(&pod).send(&emulator).await.code(), 7_000_112);
    emulator.entra().register_application(pod.client_id());
    assert_eq!(TokenRequest::of(&pod).send(&emulator).await.status, 200);
}

#[tokio::test]
async fn a_token_of_a_real_cluster_is_good_within_its_life() {
    let token = include_str!("fixtures/kubernetes-1.20/token.jwt").trim();
    let (_, claims) = parts(token);
    let expiry = UNIX_EPOCH + seconds(claims["exp"].as_u64().unwrap());
    let time = Time::at(expiry - seconds(60));
    let emulator = Emulator::builder()
        .clock(time.source())
        .trust_issuer(
            "https://127.0.0.1:16443",
            include_str!("fixtures/kubernetes-1.20/jwks.json"),
        )
        .start()
        .await
        .unwrap();
    let pod = emulator.pod("shop", "orders").unwrap();
    emulator.entra().register_federated_credential(
        pod.client_id(),
        FederatedCredential {
            issuer: "https://127.0.0.1:16443".to_owned(),
            subject: "system:serviceaccount:saman:saman-identity-poc".to_owned(),
            audience: "api://AzureADTokenExchange".to_owned(),
        },
    );
    let request = TokenRequest::of(&pod).with("client_assertion", token);
    assert_eq!(request.send(&emulator).await.status, 200);
    time.advance(seconds(60 + 300));
    assert_eq!(request.send(&emulator).await.code(), 700_024);
}

#[tokio::test]
async fn the_issuers_tokens_have_the_shape_of_a_real_clusters() {
    let emulator = Emulator::start().await.unwrap();
    let names = |value: &Value| {
        value
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect::<BTreeSet<_>>()
    };
    let (real_header, mut real) = parts(include_str!("fixtures/kubernetes-1.20/token.jwt").trim());
    let (header, claims) = parts(&emulator.issuer().sign(&good_token()));
    assert_eq!(names(&header), names(&real_header));
    // What servers after 1.20 add.
    real["jti"] = json!("");
    real["kubernetes.io"]["node"] = json!({ "name": "", "uid": "" });
    assert_eq!(names(&claims), names(&real));
    let (kubernetes, real) = (&claims["kubernetes.io"], &real["kubernetes.io"]);
    assert_eq!(names(kubernetes), names(real));
    for bound in ["node", "pod", "serviceaccount"] {
        assert_eq!(names(&kubernetes[bound]), names(&real[bound]), "{bound}");
    }
    assert_eq!(claims["aud"], json!(["api://AzureADTokenExchange"]));
    assert_eq!(claims["sub"], "system:serviceaccount:shop:orders");
    assert_eq!(claims["iss"], emulator.issuer_url());
    assert_eq!(
        claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(),
        3600
    );
}

#[tokio::test]
async fn an_application_has_one_secret_that_may_expire() {
    let emulator = Emulator::start().await.unwrap();
    let pod = emulator.pod("shop", "orders").unwrap();
    let with_secret = |secret| {
        TokenRequest::of(&pod)
            .without("client_assertion")
            .with("client_secret", secret)
    };
    emulator.entra().set_client_secret(pod.client_id(), "hunter1");
    emulator.entra().set_client_secret(pod.client_id(), "hunter2");
    let granted = with_secret("hunter2").send(&emulator).await;
    assert_eq!(granted.status, 200, "{}", granted.body);
    assert_eq!(parts(granted.text("access_token")).1["appidacr"], "1");
    assert_eq!(
        with_secret("hunter1").send(&emulator).await.refusal(),
        (401, "invalid_client", 7_000_215)
    );
    emulator.entra().expire_client_secret(pod.client_id());
    assert_eq!(
        with_secret("hunter2").send(&emulator).await.refusal(),
        (401, "invalid_client", 7_000_222)
    );
    assert_eq!(
        with_secret("hunter1").send(&emulator).await.code(),
        7_000_215,
        "wrong goes before expired"
    );
}

/// What is changed in the header and in the claims of a good assertion that a client signs itself.
type Change = fn(&mut Value, &mut Value);

#[tokio::test]
async fn an_assertion_of_the_client_itself_is_refused_for_what_is_wrong_with_it() {
    let rows: [(&str, Change, u64); 10] = [
        ("algorithm", |header, _| header["alg"] = json!("HS256"), 5_002_738),
        (
            "another algorithm than it is signed with",
            |header, _| header["alg"] = json!("RS256"),
            700_027,
        ),
        (
            "no thumbprint",
            |header, _| header["x5t#S256"] = json!(""),
            700_027,
        ),
        (
            "another thumbprint",
            |header, _| header["x5t#S256"] = json!("AAAA"),
            700_027,
        ),
        ("subject", |_, claims| claims["sub"] = json!("another"), 700_021),
        (
            "audience",
            |_, claims| claims["aud"] = json!("api://AzureADTokenExchange"),
            700_023,
        ),
        (
            "two audiences",
            |_, claims| claims["aud"] = json!([claims["aud"].clone(), "https://a"]),
            700_023,
        ),
        ("expired", |_, claims| claims["exp"] = json!(0), 700_024),
        ("to come", |_, claims| claims["nbf"] = json!(u64::MAX), 700_024),
        (
            "of another issuer",
            |_, claims| claims["iss"] = json!("https://a/"),
            700_211,
        ),
    ];
    let emulator = Emulator::start().await.unwrap();
    let pod = emulator.pod("shop", "orders").unwrap();
    let unregistered = own_assertion(&emulator, &pod, |_, _| {});
    let request = TokenRequest::of(&pod).with("client_assertion", &unregistered);
    assert_eq!(
        request.send(&emulator).await.refusal(),
        (401, "invalid_client", 700_027)
    );

    emulator
        .entra()
        .register_certificate(pod.client_id(), read(&certificate("pkcs1.pem")))
        .unwrap();
    let granted = request.send(&emulator).await;
    assert_eq!(granted.status, 200, "{}", granted.body);
    assert_eq!(parts(granted.text("access_token")).1["appidacr"], "2");
    for (name, change, code) in rows {
        let assertion = own_assertion(&emulator, &pod, change);
        let request = TokenRequest::of(&pod).with("client_assertion", &assertion);
        assert_eq!(
            request.send(&emulator).await.refusal(),
            (401, "invalid_client", code),
            "{name}"
        );
    }
    emulator.entra().remove_certificates(pod.client_id());
    assert_eq!(request.send(&emulator).await.code(), 700_027);
    emulator
        .entra()
        .register_certificate(pod.client_id(), "no PEM")
        .unwrap_err();
}

#[tokio::test]
async fn the_issuers_keys_are_fetched_once_and_again_for_a_new_key() {
    let emulator = Emulator::start().await.unwrap();
    let pod = emulator.pod("shop", "orders").unwrap();
    let fetches = || emulator.requests_to(Endpoint::Issuer).len();
    let first = TokenRequest::of(&pod);
    for _ in 0..2 {
        assert_eq!(first.send(&emulator).await.status, 200);
        assert_eq!(fetches(), 2, "discovery document and keys, once");
    }
    emulator.issuer().rotate_keys().unwrap();
    pod.rotate().unwrap();
    assert_eq!(TokenRequest::of(&pod).send(&emulator).await.status, 200);
    assert_eq!(fetches(), 4, "once more for the new key");
    assert_eq!(
        first.send(&emulator).await.status,
        200,
        "the key before stays published"
    );

    emulator.issuer().rotate_keys().unwrap();
    pod.rotate().unwrap();
    assert_eq!(TokenRequest::of(&pod).send(&emulator).await.status, 200);
    assert_eq!(
        first.send(&emulator).await.code(),
        7_000_272,
        "the key before that does not"
    );
}

#[tokio::test]
async fn an_issuer_that_fails_is_refused_until_it_is_back_unless_its_keys_are_known() {
    let emulator = Emulator::start().await.unwrap();
    let pod = emulator.pod("shop", "orders").unwrap();
    emulator.issuer().stop();
    assert_eq!(
        TokenRequest::of(&pod).send(&emulator).await.refusal(),
        (400, "invalid_request", 50_166)
    );
    emulator.issuer().start();
    emulator.inject(Endpoint::Issuer, Fault::reset());
    assert_eq!(
        TokenRequest::of(&pod).send(&emulator).await.refusal(),
        (400, "invalid_request", 90_061)
    );
    assert_eq!(TokenRequest::of(&pod).send(&emulator).await.status, 200);
    emulator.issuer().stop();
    assert_eq!(TokenRequest::of(&pod).send(&emulator).await.status, 200);
}

#[tokio::test]
async fn an_injected_status_comes_with_entras_own_body() {
    let emulator = Emulator::start().await.unwrap();
    let pod = emulator.pod("shop", "orders").unwrap();
    emulator.inject(Endpoint::Entra, Fault::status(503).times(2));
    emulator.inject(Endpoint::Entra, Fault::status(400));
    for expected in [
        (503, "temporarily_unavailable", 90_033),
        (503, "temporarily_unavailable", 90_033),
        (400, "invalid_request", 90_023),
    ] {
        assert_eq!(TokenRequest::of(&pod).send(&emulator).await.refusal(), expected);
    }
    assert_eq!(
        TokenRequest::of(&pod).send(&emulator).await.status,
        200,
        "the faults are used up"
    );
}

#[tokio::test]
async fn a_fault_until_cleared_strikes_until_it_is_cleared() {
    let emulator = Emulator::start().await.unwrap();
    let pod = emulator.pod("shop", "orders").unwrap();
    emulator.inject(Endpoint::Entra, Fault::status(500).until_cleared());
    for _ in 0..5 {
        assert_eq!(TokenRequest::of(&pod).send(&emulator).await.status, 500);
    }
    emulator.clear_faults(Endpoint::Entra);
    assert_eq!(TokenRequest::of(&pod).send(&emulator).await.status, 200);
}

#[tokio::test]
async fn a_throttle_says_when_to_come_back() {
    let emulator = Emulator::start().await.unwrap();
    let pod = emulator.pod("shop", "orders").unwrap();
    emulator.inject(Endpoint::Entra, Fault::throttle(seconds(17)));
    let reply = TokenRequest::of(&pod).send(&emulator).await;
    assert_eq!(reply.refusal(), (429, "temporarily_unavailable", 90_055));
    assert_eq!(reply.headers["retry-after"], "17");
}

#[tokio::test]
async fn a_reply_is_sent_as_given() {
    let emulator = Emulator::start().await.unwrap();
    let pod = emulator.pod("shop", "orders").unwrap();
    let html = http::Response::builder()
        .status(502)
        .header("content-type", "text/html")
        .body(Bytes::from_static(b"<html>bad gateway</html>"))
        .unwrap();
    emulator.inject(Endpoint::Entra, Fault::reply(html));
    let answer = transport(&emulator)
        .send(TokenRequest::of(&pod).build(&emulator))
        .await
        .unwrap();
    assert_eq!(
        (answer.status().as_u16(), &answer.body()[..]),
        (502, &b"<html>bad gateway</html>"[..])
    );
    assert_eq!(answer.headers()["content-type"], "text/html");
}

#[tokio::test]
async fn a_delayed_request_is_answered_as_usual() {
    let emulator = Emulator::start().await.unwrap();
    let pod = emulator.pod("shop", "orders").unwrap();
    emulator.inject(Endpoint::Entra, Fault::delay(Duration::from_millis(1)));
    assert_eq!(TokenRequest::of(&pod).send(&emulator).await.status, 200);
}

#[tokio::test]
async fn a_broken_connection_is_a_transport_error() {
    let emulator = Emulator::start().await.unwrap();
    let pod = emulator.pod("shop", "orders").unwrap();
    let rows = [
        (
            "reset",
            Fault::reset(),
            "127.0.0.1 closed the connection without an answer",
            None,
        ),
        (
            "truncate",
            Fault::truncate(),
            "127.0.0.1 broke off in the middle of its answer",
            Some(200),
        ),
    ];
    for (name, fault, message, status) in rows {
        emulator.inject(Endpoint::Entra, fault);
        let error = transport(&emulator)
            .send(TokenRequest::of(&pod).build(&emulator))
            .await
            .unwrap_err();
        assert_eq!(
            (error.kind(), error.to_string().as_str()),
            (ErrorKind::Transport, message),
            "{name}"
        );
        assert_eq!(
            emulator.requests_to(Endpoint::Entra).last().unwrap().status(),
            status,
            "{name}"
        );
    }
}

#[tokio::test]
async fn a_hanging_request_is_recorded_and_never_answered() {
    let emulator = Emulator::start().await.unwrap();
    let pod = emulator.pod("shop", "orders").unwrap();
    emulator.inject(Endpoint::Entra, Fault::hang());
    let transport = transport(&emulator);
    let request = TokenRequest::of(&pod).build(&emulator);
    let mut client = JoinSet::new();
    client.spawn(async move { transport.send(request).await });
    let recorded = loop {
        if let Some(recorded) = emulator.requests_to(Endpoint::Entra).pop() {
            break recorded;
        }
        tokio::task::yield_now().await;
    };
    // Another request is answered in the meantime.
    assert_eq!(TokenRequest::of(&pod).send(&emulator).await.status, 200);
    assert_eq!(recorded.status(), None);
    assert!(client.try_join_next().is_none());
}

#[tokio::test]
async fn requests_are_recorded_in_order_with_what_was_sent() {
    let emulator = Emulator::start().await.unwrap();
    let pod = emulator.pod("shop", "orders").unwrap();
    let request = TokenRequest::of(&pod);
    request.header("user-agent", "orders/1.0").send(&emulator).await;
    let endpoints: Vec<_> = emulator
        .requests()
        .iter()
        .map(RecordedRequest::endpoint)
        .collect();
    assert_eq!(endpoints, [Endpoint::Entra, Endpoint::Issuer, Endpoint::Issuer]);

    let [recorded] = &emulator.requests_to(Endpoint::Entra)[..] else {
        panic!("one request")
    };
    assert_eq!(recorded.method(), "POST");
    assert_eq!(recorded.path(), format!("/{}/oauth2/v2.0/token", pod.tenant_id()));
    assert_eq!(recorded.query(), None);
    assert_eq!(recorded.header("User-Agent"), Some("orders/1.0"));
    assert_eq!(recorded.form("client_id").as_deref(), Some(pod.client_id()));
    assert_eq!(
        recorded.form("client_assertion").as_deref(),
        Some(request.field("client_assertion"))
    );
    assert_eq!(recorded.form("resource"), None);
    assert_eq!(recorded.status(), Some(200));
}

#[tokio::test]
async fn no_debug_output_shows_a_secret() {
    let emulator = Emulator::start().await.unwrap();
    let pod = emulator.pod("shop", "orders").unwrap();
    let request = TokenRequest::of(&pod).header("authorization", "Bearer planted-bearer");
    let access_token = request.send(&emulator).await.text("access_token").to_owned();
    request
        .without("client_assertion")
        .with("client_secret", "planted-secret")
        .send(&emulator)
        .await;
    let planted = http::Response::new(Bytes::from_static(b"planted-reply"));
    let printed = format!(
        "{emulator:?} {pod:?} {:?} {:?} {:?} {:?}",
        emulator.requests(),
        emulator.issuer(),
        emulator.entra(),
        Fault::reply(planted)
    );
    let assertion = token_of(&pod);
    for secret in ["planted", signature(&assertion), signature(&access_token)] {
        assert!(!printed.contains(secret), "{secret} in {printed}");
    }
    assert!(
        printed.contains("client_credentials"),
        "what is no secret is shown: {printed}"
    );
}

#[cfg(unix)]
#[tokio::test]
async fn a_rotated_token_is_readable_at_every_instant() {
    let emulator = Emulator::start().await.unwrap();
    let pod = emulator.pod("shop", "orders").unwrap();
    let first = token_of(&pod);
    let done = Arc::new(AtomicBool::new(false));
    let reader = {
        let (file, done) = (pod.token_file().to_owned(), Arc::clone(&done));
        std::thread::spawn(move || {
            let mut seen = BTreeSet::new();
            while !done.load(Ordering::Relaxed) {
                let token = String::from_utf8(read(&file)).unwrap();
                assert_eq!(token.split('.').count(), 3, "a whole token");
                seen.insert(token);
            }
            seen
        })
    };
    for _ in 0..50 {
        pod.rotate().unwrap();
    }
    done.store(true, Ordering::Relaxed);
    assert!(!reader.join().unwrap().is_empty());
    assert_ne!(token_of(&pod), first);
    let data = std::fs::read_link(pod.token_file()).unwrap();
    assert_eq!(
        data.to_str(),
        Some("..data/azure-identity-token"),
        "the layout of a projected volume"
    );
}

#[tokio::test]
async fn a_given_token_takes_the_place_of_the_old_one() {
    let emulator = Emulator::start().await.unwrap();
    let pod = emulator.pod("shop", "orders").unwrap();
    pod.project(&good_token().audience("elsewhere")).unwrap();
    assert_eq!(TokenRequest::of(&pod).send(&emulator).await.code(), 700_212);
}

#[tokio::test]
async fn a_pod_has_the_variables_that_the_webhook_injects() {
    let emulator = Emulator::start().await.unwrap();
    let pod = emulator.pod("shop", "orders").unwrap();
    let expected = [
        ("AZURE_CLIENT_ID", pod.client_id()),
        ("AZURE_TENANT_ID", emulator.entra().tenant_id()),
        ("AZURE_FEDERATED_TOKEN_FILE", pod.token_file().to_str().unwrap()),
        ("AZURE_AUTHORITY_HOST", emulator.authority_host()),
        ("KUBERNETES_SERVICE_HOST", "127.0.0.1"),
    ];
    assert_eq!(
        pod.variables(),
        expected.map(|(name, value)| (name, value.to_owned()))
    );
    assert!(emulator.authority_host().ends_with('/'));
    assert!(emulator.issuer_url().ends_with('/'));
    let printed = format!("{:?}", Environment::from_iter(pod.variables()));
    for (name, _) in expected {
        assert!(printed.contains(name), "{name}");
    }
}

#[tokio::test]
async fn a_dropped_emulator_frees_its_ports_and_removes_its_files() {
    let emulator = Emulator::start().await.unwrap();
    let pod = emulator.pod("shop", "orders").unwrap();
    assert_eq!(TokenRequest::of(&pod).send(&emulator).await.status, 200);
    let (port, certificate) = (
        port_of(emulator.authority_host()),
        emulator.ca_certificate_file().to_owned(),
    );
    assert_eq!(read(&certificate), emulator.ca_certificate_pem().as_bytes());
    TcpListener::bind(("127.0.0.1", port)).unwrap_err();
    drop(emulator);
    assert!(!certificate.exists());
    assert!(!pod.token_file().exists());
    // The runtime drops the aborted tasks when it comes to them.
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_broken_jwk_set_or_certificate_fails_the_start() {
    let error = Emulator::builder()
        .trust_issuer("https://a/", "{}")
        .start()
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "the issuer's keys are not a JWK set");
    let broken = "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n";
    Emulator::builder()
        .trust_issuer_ca(broken)
        .start()
        .await
        .unwrap_err();
}

#[test]
fn the_emulator_can_be_shared_between_threads() {
    fn shared<T: Send + Sync + 'static>() {}
    shared::<Emulator>();
    shared::<Pod>();
}

/// One token request, good unless changed.
#[derive(Clone)]
struct TokenRequest {
    tenant: String,
    fields: Vec<(&'static str, String)>,
    headers: Vec<(&'static str, &'static str)>,
}

impl TokenRequest {
    fn of(pod: &Pod) -> Self {
        let jwt_bearer = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
        Self {
            tenant: pod.tenant_id().to_owned(),
            fields: vec![
                ("grant_type", "client_credentials".to_owned()),
                ("client_id", pod.client_id().to_owned()),
                ("client_assertion_type", jwt_bearer.to_owned()),
                ("client_assertion", token_of(pod)),
                ("scope", "https://vault.azure.net/.default".to_owned()),
            ],
            headers: Vec::new(),
        }
    }

    fn tenant(mut self, tenant: &str) -> Self {
        tenant.clone_into(&mut self.tenant);
        self
    }

    fn without(&self, name: &str) -> Self {
        let mut changed = self.clone();
        changed.fields.retain(|(field, _)| *field != name);
        changed
    }

    fn with(&self, name: &'static str, value: &str) -> Self {
        let mut changed = self.without(name);
        changed.fields.push((name, value.to_owned()));
        changed
    }

    fn assertion(&self, emulator: &Emulator, token: &ServiceAccountToken) -> Self {
        self.with("client_assertion", &emulator.issuer().sign(token))
    }

    fn header(&self, name: &'static str, value: &'static str) -> Self {
        let mut changed = self.clone();
        changed.headers.push((name, value));
        changed
    }

    #[track_caller]
    fn field(&self, name: &str) -> &str {
        &self.fields.iter().find(|(field, _)| *field == name).unwrap().1
    }

    fn build(&self, emulator: &Emulator) -> http::Request<Bytes> {
        let url = format!("{}{}/oauth2/v2.0/token", emulator.authority_host(), self.tenant);
        let form = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(&self.fields)
            .finish();
        let mut request =
            http::Request::post(url).header("content-type", "application/x-www-form-urlencoded");
        for (name, value) in &self.headers {
            request = request.header(*name, *value);
        }
        request.body(Bytes::from(form)).unwrap()
    }

    async fn send(&self, emulator: &Emulator) -> Reply {
        Reply::to(emulator, self.build(emulator)).await
    }
}

struct Reply {
    status: u16,
    headers: http::HeaderMap,
    body: Value,
}

impl Reply {
    async fn to(emulator: &Emulator, request: http::Request<Bytes>) -> Self {
        let (parts, body) = transport(emulator).send(request).await.unwrap().into_parts();
        Self {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: serde_json::from_slice(&body).unwrap(),
        }
    }

    #[track_caller]
    fn refusal(&self) -> (u16, &str, u64) {
        (self.status, self.text("error"), self.code())
    }

    #[track_caller]
    fn code(&self) -> u64 {
        let code = self.body["error_codes"][0]
            .as_u64()
            .unwrap_or_else(|| panic!("no code in {}", self.body));
        assert!(
            self.text("error_description")
                .starts_with(&format!("AADSTS{code}: ")),
            "{}",
            self.body
        );
        code
    }

    #[track_caller]
    fn text(&self, field: &str) -> &str {
        self.body[field]
            .as_str()
            .unwrap_or_else(|| panic!("no {field} in {}", self.body))
    }
}

/// Wall time that stands still unless it is advanced.
#[derive(Clone, Debug)]
struct Time(Arc<std::sync::Mutex<SystemTime>>);

impl Time {
    fn at(time: SystemTime) -> Self {
        Self(Arc::new(std::sync::Mutex::new(time)))
    }

    fn advance(&self, duration: Duration) {
        *self.0.lock().unwrap() += duration;
    }

    fn source(&self) -> impl Fn() -> SystemTime + Send + Sync + 'static {
        let time = self.clone();
        move || *time.0.lock().unwrap()
    }
}

async fn emulator_at(time: &Time) -> Emulator {
    Emulator::builder().clock(time.source()).start().await.unwrap()
}

/// A transport that trusts the emulator's certificates, and no others.
fn transport(emulator: &Emulator) -> HttpTransport {
    HttpTransport::with_root_certificates(emulator.ca_certificate_pem().as_bytes()).unwrap()
}

async fn get(emulator: &Emulator, url: &str) -> Reply {
    Reply::to(emulator, http::Request::get(url).body(Bytes::new()).unwrap()).await
}

/// What an application with a certificate signs, PS256, after `change`.
fn own_assertion(emulator: &Emulator, pod: &Pod, change: Change) -> String {
    use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;
    use jsonwebtoken::{Algorithm, EncodingKey};

    let now = now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let thumbprint = String::from_utf8(read(&certificate("leaf.sha256"))).unwrap();
    let mut header = json!({ "alg": "PS256", "typ": "JWT", "x5t#S256": thumbprint });
    let mut claims = json!({
        "aud": format!("{}{}/oauth2/v2.0/token", emulator.authority_host(), pod.tenant_id()),
        "exp": now + 600,
        "iss": pod.client_id(),
        "nbf": now,
        "sub": pod.client_id(),
    });
    change(&mut header, &mut claims);
    let encoded = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", encoded(header), encoded(claims));
    let pem = String::from_utf8(read(&certificate("pkcs1.pem"))).unwrap();
    let (key, _) = pem.split_once("-----BEGIN CERTIFICATE-----").unwrap();
    let key = EncodingKey::from_rsa_pem(key.as_bytes()).unwrap();
    let signer = (DEFAULT_PROVIDER.signer_factory)(&Algorithm::PS256, &key).unwrap();
    let signature = signer.try_sign(message.as_bytes()).unwrap();
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// A file of `tests/fixtures/certificate`.
fn certificate(name: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/fixtures/certificate")
        .join(name)
}

fn good_token() -> ServiceAccountToken {
    ServiceAccountToken::new("shop", "orders")
}

#[expect(clippy::disallowed_methods, reason = "a small file, in a test")]
fn read(file: &std::path::Path) -> Vec<u8> {
    std::fs::read(file).unwrap()
}

fn token_of(pod: &Pod) -> String {
    String::from_utf8(read(pod.token_file())).unwrap()
}

/// Header and claims.
fn parts(jwt: &str) -> (Value, Value) {
    let mut parts = jwt.split('.').map(|part| URL_SAFE_NO_PAD.decode(part).unwrap());
    let mut json = || serde_json::from_slice(&parts.next().unwrap()).unwrap();
    (json(), json())
}

fn signature(jwt: &str) -> &str {
    jwt.rsplit_once('.').unwrap().1
}

fn port_of(url: &str) -> u16 {
    url::Url::parse(url).unwrap().port().unwrap()
}

/// The moment at which this process's tests take place, the same at every call.
fn now() -> SystemTime {
    static NOW: std::sync::LazyLock<SystemTime> =
        std::sync::LazyLock::new(|| SystemClock::new().now().system_time);
    *NOW
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
