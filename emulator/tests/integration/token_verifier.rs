//! The verifier for servers of a user's own tests.

use crate::support::token_request::TokenRequest;
use crate::support::{SettableClock, emulator_at, now, parts, seconds};
use entra_workload_emulator::{Emulator, TokenRejection};

#[tokio::test]
async fn verifier_names_the_caller_of_a_token_of_the_emulator() {
    let emulator = Emulator::start().await.unwrap();
    let pod = emulator.pod("shop", "orders").unwrap();
    for resource in [
        "https://ossrdbms-aad.database.windows.net",
        "https://redis.azure.com",
    ] {
        let response = TokenRequest::new(&pod)
            .with("scope", &format!("{resource}/.default"))
            .send(&emulator)
            .await;
        assert_eq!(response.status, 200, "{}", response.body);
        let token = response.text("access_token");
        let caller = emulator
            .token_verifier()
            .verify(token, &["https://vault.azure.net", resource])
            .unwrap();
        let claims = parts(token).1;
        assert_eq!(caller.client_id(), pod.client_id());
        assert_eq!(caller.object_id(), claims["oid"]);
        let expires_on = caller.expires_on().duration_since(std::time::UNIX_EPOCH).unwrap();
        assert_eq!(expires_on.as_secs(), claims["exp"]);
    }
}

#[tokio::test]
async fn verifier_rejects_what_the_services_reject() {
    let clock = SettableClock::at(now());
    let (emulator, stranger) = (emulator_at(&clock).await, emulator_at(&clock).await);
    let token = async |emulator: &Emulator| {
        let pod = emulator.pod("shop", "orders").unwrap();
        let response = TokenRequest::new(&pod).send(emulator).await;
        response.text("access_token").to_owned()
    };
    let (own, foreign) = (token(&emulator).await, token(&stranger).await);
    let verifier = emulator.token_verifier();
    let verify = |token: &str, audience| verifier.verify(token, &[audience]);
    let vault = "https://vault.azure.net/";
    assert!(verify(&own, vault).is_ok());
    let (signed, _) = own.rsplit_once('.').unwrap();
    let (_, other_signature) = foreign.rsplit_once('.').unwrap();
    let tampered = format!("{signed}.{other_signature}");
    for (name, result, expected) in [
        ("empty", verify("", vault), TokenRejection::Malformed),
        (
            "header",
            verify(&format!("Bearer {own}"), vault),
            TokenRejection::Malformed,
        ),
        ("foreign", verify(&foreign, vault), TokenRejection::Signature),
        ("tampered", verify(&tampered, vault), TokenRejection::Signature),
        (
            "audience",
            verify(&own, "https://redis.azure.com"),
            TokenRejection::Audience,
        ),
        (
            "no audience",
            verifier.verify(&own, &[]),
            TokenRejection::Audience,
        ),
    ] {
        assert_eq!(result, Err(expected), "{name}");
    }
    clock.advance(seconds(3598));
    assert!(verify(&own, vault).is_ok());
    clock.advance(seconds(1));
    assert_eq!(verify(&own, vault), Err(TokenRejection::Expired));
    assert_eq!(TokenRejection::Expired.to_string(), "the token is expired");
    assert!(!format!("{verifier:?}").contains("eyJ"));
}

#[tokio::test]
async fn verifier_rejects_a_revoked_token_and_accepts_the_next_one() {
    let emulator = Emulator::start().await.unwrap();
    let pod = emulator.pod("shop", "orders").unwrap();
    let vault = ["https://vault.azure.net"];
    let cp1 = r#"{"access_token":{"xms_cc":{"values":["CP1"]}}}"#;
    let first = TokenRequest::new(&pod).with("claims", cp1).send(&emulator).await;
    emulator.entra().revoke_tokens(pod.client_id());
    let next = TokenRequest::new(&pod).send(&emulator).await;
    let verify = |token| emulator.token_verifier().verify(token, &vault);
    assert_eq!(verify(first.text("access_token")), Err(TokenRejection::Revoked));
    assert!(verify(next.text("access_token")).is_ok());
}
