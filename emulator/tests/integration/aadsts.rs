//! One witness for each AADSTS code that comes from a check or from a state of the emulated Entra. The table in
//! `docs/emulator.md` has the same codes.

use crate::support;
use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use entra_workload_emulator::{Emulator, FederatedCredential, ManagedIdentity, Pod, ServiceAccountToken};

use crate::support::token_request::{TokenRequest, TokenResponse};
use crate::support::{SettableClock, client, emulator_at, get, now, read, seconds, valid_token};

/// A test that the code of a refused token request is the one in its name.
macro_rules! witness {
    ($name:ident, $code:literal, $request:expr) => {
        #[tokio::test]
        async fn $name() {
            assert!(stringify!($name).starts_with(concat!("aadsts", $code, "_")));
            let emulator = Emulator::start().await.unwrap();
            let pod = emulator.pod("shop", "orders").unwrap();
            let make: fn(&Emulator, &Pod) -> TokenRequest = $request;
            let response = make(&emulator, &pod).send(&emulator).await;
            assert_eq!(response.code(), $code, "{}", response.body);
        }
    };
}

witness!(aadsts28000_two_resources_in_one_scope, 28000, |_, pod| {
    let scope = "https://vault.azure.net/.default https://storage.azure.com/.default";
    TokenRequest::new(pod).with("scope", scope)
});
witness!(aadsts50027_assertion_is_no_jwt, 50027, |_, pod| {
    TokenRequest::new(pod).with("client_assertion", "not-a-jwt")
});
witness!(aadsts50173_sign_ins_are_revoked, 50173, |emulator, pod| {
    emulator.entra().revoke_sign_ins(pod.client_id());
    TokenRequest::new(pod)
});
witness!(
    aadsts53003_policy_blocks_the_application,
    53003,
    |emulator, pod| {
        emulator.entra().block_by_policy(pod.client_id(), true);
        TokenRequest::new(pod)
    }
);
witness!(aadsts70003_unsupported_grant_type, 70003, |_, pod| {
    TokenRequest::new(pod).with("grant_type", "authorization_code")
});
witness!(aadsts70011_scope_without_a_resource, 70011, |_, pod| {
    TokenRequest::new(pod).with("scope", "/.default")
});
witness!(aadsts70023_assertion_lives_too_long, 70023, |emulator, pod| {
    let token = valid_token().lifetime(seconds(2 * 86_400));
    TokenRequest::new(pod).assertion(emulator, &token)
});
witness!(aadsts70025_no_federated_credential, 70025, |emulator, pod| {
    emulator.entra().remove_federated_credentials(pod.client_id());
    TokenRequest::new(pod)
});
witness!(aadsts90002_unknown_tenant, 90002, |_, pod| {
    TokenRequest::new(pod).tenant("00000000-0000-4000-8000-000000000000")
});
witness!(aadsts90023_claims_are_no_json, 90023, |_, pod| {
    TokenRequest::new(pod).with("claims", "{")
});
witness!(aadsts90033_outage, 90033, |emulator, pod| {
    emulator.entra().set_available(false);
    TokenRequest::new(pod)
});
witness!(aadsts90055_too_many_requests, 90055, |emulator, pod| {
    emulator.entra().limit_token_requests(0);
    TokenRequest::new(pod)
});
witness!(aadsts900023_tenant_is_neither_id_nor_domain, 900023, |_, pod| {
    TokenRequest::new(pod).tenant("contoso")
});
witness!(aadsts900144_missing_parameter, 900144, |_, pod| {
    TokenRequest::new(pod).without("scope")
});
witness!(aadsts500011_unknown_resource, 500011, |_, pod| {
    TokenRequest::new(pod).with("scope", "https://example.com/.default")
});
witness!(aadsts700016_unknown_application, 700016, |_, pod| {
    TokenRequest::new(pod).with("client_id", "00000000-0000-4000-8000-000000000000")
});
witness!(aadsts700024_assertion_is_expired, 700024, |emulator, pod| {
    let token = valid_token().issued_at(now() - seconds(7200));
    TokenRequest::new(pod).assertion(emulator, &token)
});
witness!(aadsts700027_invalid_signature, 700027, |emulator, pod| {
    TokenRequest::new(pod).assertion(emulator, &valid_token().with_invalid_signature())
});
witness!(aadsts700211_issuer_without_its_slash, 700211, |emulator, pod| {
    let issuer = emulator.issuer_url().trim_end_matches('/');
    TokenRequest::new(pod).assertion(emulator, &valid_token().issuer(issuer))
});
witness!(
    aadsts700212_audience_of_the_api_server,
    700212,
    |emulator, pod| {
        let token = valid_token().audience("https://kubernetes.default.svc");
        TokenRequest::new(pod).assertion(emulator, &token)
    }
);
witness!(aadsts700213_another_subject, 700213, |emulator, pod| {
    let token = ServiceAccountToken::new("shop", "orders-2");
    TokenRequest::new(pod).assertion(emulator, &token)
});
witness!(aadsts7002138_subject_in_another_case, 7002138, |emulator, pod| {
    let token = ServiceAccountToken::new("shop", "Orders");
    TokenRequest::new(pod).assertion(emulator, &token)
});
witness!(
    aadsts700222_token_of_entra_as_assertion,
    700222,
    |emulator, pod| {
        let issuer = format!("https://sts.windows.net/{}/", pod.tenant_id());
        TokenRequest::new(pod).assertion(emulator, &valid_token().issuer(issuer))
    }
);
witness!(aadsts1002012_scope_without_default, 1002012, |_, pod| {
    TokenRequest::new(pod).with("scope", "https://vault.azure.net/user_impersonation")
});
witness!(aadsts7000112_disabled_application, 7000112, |emulator, pod| {
    emulator.entra().disable_application(pod.client_id());
    TokenRequest::new(pod)
});
witness!(aadsts7000215_wrong_client_secret, 7000215, |emulator, pod| {
    emulator.entra().set_client_secret(pod.client_id(), "right");
    TokenRequest::new(pod).with("client_secret", "wrong")
});
witness!(aadsts7000218_no_assertion_and_no_secret, 7000218, |_, pod| {
    TokenRequest::new(pod).without("client_assertion")
});
witness!(aadsts7000222_expired_client_secret, 7000222, |emulator, pod| {
    emulator.entra().set_client_secret(pod.client_id(), "right");
    emulator.entra().expire_client_secret(pod.client_id());
    TokenRequest::new(pod).with("client_secret", "right")
});
witness!(
    aadsts7000272_unknown_key_of_the_issuer,
    7000272,
    |emulator, pod| { TokenRequest::new(pod).assertion(emulator, &valid_token().key_id("unknown")) }
);
witness!(aadsts90061_issuer_is_unreachable, 90061, |emulator, pod| {
    let issuer = "https://127.0.0.1:1/";
    trust(emulator, pod, issuer, "system:serviceaccount:shop:orders");
    TokenRequest::new(pod).assertion(emulator, &valid_token().issuer(issuer))
});
witness!(aadsts50166_issuer_serves_no_discovery, 50166, |emulator, pod| {
    // A vault is no issuer.
    let issuer = format!("{}/", emulator.key_vault_url());
    trust(emulator, pod, &issuer, "system:serviceaccount:shop:orders");
    TokenRequest::new(pod).assertion(emulator, &valid_token().issuer(issuer))
});
witness!(
    aadsts700021_assertion_of_another_client,
    700021,
    |emulator, pod| { certificate_assertion(emulator, pod, "subject") }
);
witness!(
    aadsts700023_assertion_for_another_endpoint,
    700023,
    |emulator, pod| { certificate_assertion(emulator, pod, "audience") }
);
witness!(aadsts5002738_assertion_with_hs256, 5002738, |emulator, pod| {
    certificate_assertion(emulator, pod, "algorithm")
});

#[tokio::test]
async fn aadsts700226_token_of_an_application_as_assertion() {
    let emulator = Emulator::start().await.unwrap();
    let pod = emulator.pod("shop", "orders").unwrap();
    emulator.entra().set_client_secret(pod.client_id(), "right");
    let by_secret = TokenRequest::new(&pod)
        .without("client_assertion")
        .with("client_secret", "right")
        .with("scope", "api://AzureADTokenExchange/.default");
    let token = by_secret.send(&emulator).await;
    assert_eq!(
        exchange(&emulator, &pod, token.text("access_token")).await,
        700_226
    );
}

#[tokio::test]
async fn aadsts700231_federated_token_as_assertion() {
    let emulator = Emulator::start().await.unwrap();
    let pod = emulator.pod("shop", "orders").unwrap();
    let request = TokenRequest::new(&pod).with("scope", "api://AzureADTokenExchange/.default");
    let token = request.send(&emulator).await;
    assert_eq!(
        exchange(&emulator, &pod, token.text("access_token")).await,
        700_231
    );
}

#[tokio::test]
async fn aadsts900561_get_instead_of_post() {
    let emulator = Emulator::start().await.unwrap();
    let url = format!(
        "{}{}/oauth2/v2.0/token",
        emulator.authority_host(),
        emulator.entra().tenant_id()
    );
    assert_eq!(get(&emulator, &url).await.code(), 900_561);
}

#[tokio::test]
async fn aadsts50049_instance_discovery_of_an_unknown_host() {
    let emulator = Emulator::start().await.unwrap();
    let url = format!(
        "{}common/discovery/instance?api-version=1.1&authorization_endpoint=https://login.example.com/a/oauth2/v2.0/authorize",
        emulator.authority_host()
    );
    let response = get(&emulator, &url).await;
    assert_eq!(response.error(), (400, "invalid_instance", 50_049));
}

/// A managed identity's token is accepted, where the two above are not.
#[tokio::test]
async fn token_of_a_managed_identity_is_accepted_as_assertion() {
    let emulator = Emulator::start().await.unwrap();
    let pod = emulator.pod("shop", "orders").unwrap();
    let identity = ManagedIdentity::named("orders");
    emulator.assign_identity(identity.clone());
    let issuer = format!("https://login.microsoftonline.com/{}/v2.0", pod.tenant_id());
    trust(&emulator, &pod, &issuer, &identity.object_id);
    let url = format!(
        "{}/metadata/identity/oauth2/token?api-version=2018-02-01&resource=api://AzureADTokenExchange",
        emulator.imds_url()
    );
    let request = http::Request::get(url).header("metadata", "true");
    let token = TokenResponse::receive(&emulator, request.body(Bytes::new()).unwrap()).await;
    let request = TokenRequest::new(&pod).with("client_assertion", token.text("access_token"));
    assert_eq!(request.send(&emulator).await.status, 200);
}

#[tokio::test]
async fn limit_of_requests_says_when_to_try_again_and_ends_with_the_minute() {
    let emulator = Emulator::start().await.unwrap();
    let pod = emulator.pod("shop", "orders").unwrap();
    emulator.entra().limit_token_requests(2);
    // Two minutes can begin while it runs; three requests fit into neither alone.
    let mut statuses = Vec::new();
    for _ in 0..6 {
        let response = TokenRequest::new(&pod).send(&emulator).await;
        if response.status == 429 {
            let seconds: u64 = response.headers["retry-after"].to_str().unwrap().parse().unwrap();
            assert!((1..=60).contains(&seconds), "{seconds}");
        }
        statuses.push(response.status);
    }
    assert!(statuses.contains(&429) && statuses.contains(&200), "{statuses:?}");
    emulator.advance(seconds(60)).unwrap();
    assert_eq!(TokenRequest::new(&pod).send(&emulator).await.status, 200);
}

#[tokio::test]
async fn times_of_an_expired_assertion_have_the_form_of_entra() {
    let now = SystemTime::UNIX_EPOCH + Duration::new(1_685_423_960, 313_532_900);
    let emulator = emulator_at(&SettableClock::at(now)).await;
    let pod = emulator.pod("shop", "orders").unwrap();
    let token = valid_token().issued_at(now - seconds(7200));
    let request = TokenRequest::new(&pod).assertion(&emulator, &token);
    let response = request.send(&emulator).await;
    let text = response.text("error_description");
    let expected = "Current time: 2023-05-30T05:19:20.3135329Z, assertion valid from 2023-05-30T03:19:20.0000000Z, expiry \
                    time of assertion 2023-05-30T04:19:20.0000000Z.";
    assert!(text.contains(expected), "{text}");
}

#[tokio::test]
async fn new_service_account_token_signs_in_within_the_second_of_a_revocation() {
    let emulator = emulator_at(&SettableClock::at(now())).await;
    let pod = emulator.pod("shop", "orders").unwrap();
    emulator.entra().revoke_sign_ins(pod.client_id());
    assert_eq!(TokenRequest::new(&pod).send(&emulator).await.code(), 50_173);
    pod.rotate().unwrap();
    assert_eq!(TokenRequest::new(&pod).send(&emulator).await.status, 200);
}

#[tokio::test]
async fn refusal_by_a_policy_has_a_claims_challenge_and_ends_with_the_policy() {
    let emulator = Emulator::start().await.unwrap();
    let pod = emulator.pod("shop", "orders").unwrap();
    emulator.entra().block_by_policy(pod.client_id(), true);
    let response = TokenRequest::new(&pod).send(&emulator).await;
    assert_eq!(response.error(), (400, "invalid_grant", 53_003));
    let claims: serde_json::Value = serde_json::from_str(response.text("claims")).unwrap();
    assert!(claims["access_token"]["capolids"]["values"].is_array());
    emulator.entra().block_by_policy(pod.client_id(), false);
    assert_eq!(TokenRequest::new(&pod).send(&emulator).await.status, 200);
}

#[tokio::test]
async fn client_secret_is_taken_from_basic_authentication() {
    let emulator = Emulator::start().await.unwrap();
    let pod = emulator.pod("shop", "orders").unwrap();
    emulator.entra().set_client_secret(pod.client_id(), "a:b+c%d");
    let url = format!(
        "{}{}/oauth2/v2.0/token",
        emulator.authority_host(),
        pod.tenant_id()
    );
    let send = async |secret: &str| {
        let basic = STANDARD.encode(format!("{}:{secret}", pod.client_id()));
        let response = client(&emulator)
            .post(&url)
            .header("authorization", format!("Basic {basic}"))
            .header("content-type", "application/x-www-form-urlencoded")
            .body("grant_type=client_credentials&scope=https%3A%2F%2Fvault.azure.net%2F.default")
            .send();
        response.await.unwrap().status().as_u16()
    };
    assert_eq!(send("a%3Ab%2Bc%25d").await, 200);
    assert_eq!(send("a:b+c").await, 401);
}

#[tokio::test]
async fn the_table_in_the_docs_has_the_codes_of_these_witnesses() {
    let own = include_str!("aadsts.rs");
    let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/emulator.md");
    let page = String::from_utf8(read(&page)).unwrap();
    let mut witnessed = BTreeSet::new();
    for rest in own.split("aadsts").skip(1) {
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        if rest[digits.len()..].starts_with('_') && !digits.is_empty() {
            witnessed.insert(digits);
        }
    }
    let listed: BTreeSet<String> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| AADSTS"))
        .map(|row| row.split(' ').next().unwrap().to_owned())
        .collect();
    assert_eq!(witnessed, listed);
    let readme = include_str!("../../README.md");
    assert!(readme.contains(&format!("({} codes)", listed.len())));
}

fn trust(emulator: &Emulator, pod: &Pod, issuer: &str, subject: &str) {
    let credential = FederatedCredential {
        issuer: issuer.to_owned(),
        subject: subject.to_owned(),
        audience: "api://AzureADTokenExchange".to_owned(),
    };
    emulator
        .entra()
        .register_federated_credential(pod.client_id(), credential);
}

/// Presents a token of the token exchange as the assertion of a pod that trusts its owner.
async fn exchange(emulator: &Emulator, pod: &Pod, token: &str) -> u64 {
    let (_, claims) = support::parts(token);
    let text = |name: &str| claims[name].as_str().unwrap().to_owned();
    trust(emulator, pod, &text("iss"), &text("sub"));
    let request = TokenRequest::new(pod).with("client_assertion", token);
    request.send(emulator).await.code()
}

/// A request with an assertion of the client's own certificate, one part of which is wrong.
fn certificate_assertion(emulator: &Emulator, pod: &Pod, wrong: &str) -> TokenRequest {
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;
    use jsonwebtoken::{Algorithm, EncodingKey};
    use serde_json::{Value, json};

    let file = |name: &str| {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/certificate");
        String::from_utf8(read(&folder.join(name))).unwrap()
    };
    let pem = file("pkcs1.pem");
    emulator
        .entra()
        .register_certificate(pod.client_id(), &pem)
        .unwrap();
    let now = now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let mut header = json!({ "alg": "PS256", "typ": "JWT", "x5t#S256": file("leaf.sha256") });
    let mut claims = json!({
        "aud": format!("{}{}/oauth2/v2.0/token", emulator.authority_host(), pod.tenant_id()),
        "exp": now + 600,
        "iss": pod.client_id(),
        "nbf": now,
        "sub": pod.client_id(),
    });
    match wrong {
        "subject" => claims["sub"] = json!("another"),
        "audience" => claims["aud"] = json!("https://a/"),
        _ => header["alg"] = json!("HS256"),
    }
    let encoded = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", encoded(header), encoded(claims));
    let (key, _) = pem.split_once("-----BEGIN CERTIFICATE-----").unwrap();
    let key = EncodingKey::from_rsa_pem(key.as_bytes()).unwrap();
    let signer = (DEFAULT_PROVIDER.signer_factory)(&Algorithm::PS256, &key).unwrap();
    let signature = signer.try_sign(message.as_bytes()).unwrap();
    let assertion = format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature));
    TokenRequest::new(pod).with("client_assertion", &assertion)
}
