//! What the responses of a managed identity endpoint mean for a program and for a chain.
#![cfg(feature = "default-credential")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "tests"
)]

mod support;

use std::error::Error as _;

use entra_workload::{Environment, Error, ErrorKind, ManagedIdentityCredential, ManagedIdentityId};
use support::identifiers::VAULT;
use support::log::assert_no_secret;
use support::transport::fake_endpoint;

/// Returns the error of a machine whose metadata service responds with `status` and `body`.
async fn error(id: Option<&str>, probe_first: bool, status: u16, body: &str) -> Error {
    let (transport, mut endpoint) = fake_endpoint();
    let mut builder = ManagedIdentityCredential::builder()
        .environment(Environment::default())
        .transport(transport);
    if let Some(id) = id {
        builder = builder.id(ManagedIdentityId::ClientId(id.to_owned()));
    }
    if probe_first {
        builder = builder.probe_first();
    }
    let credential = builder.build().unwrap();
    let scopes = [VAULT];
    let service = async {
        if probe_first {
            endpoint.request().await.reply(400, &[], "");
        }
        let request = endpoint.request().await;
        assert_eq!(request.header("metadata"), "true");
        request.reply(status, &[], body.to_owned());
    };
    let (result, ()) = tokio::join!(credential.token(&scopes), service);
    let error = result.unwrap_err();
    assert_no_secret(&error);
    error
}

fn reason(error: &Error) -> String {
    error.source().map(ToString::to_string).unwrap_or_default()
}

const TOKEN: &str =
    r#"{"access_token":"planted-token","expires_on":"4102444800","resource":"r","token_type":"Bearer"}"#;

const NOT_FOUND: &str = r#"{"error":"invalid_request","error_description":"Identity not found"}"#;

#[tokio::test]
async fn missing_identity_is_unavailable_only_for_an_optional_system_assigned_one() {
    for (id, probe_first, kind, message) in [
        (
            None,
            true,
            ErrorKind::Unavailable,
            "no managed identity is assigned to this machine",
        ),
        (
            None,
            false,
            ErrorKind::Rejected,
            "no managed identity is assigned to this machine",
        ),
        (
            Some("orders"),
            true,
            ErrorKind::Rejected,
            r#"ClientId("orders") is not assigned to this machine"#,
        ),
        (
            Some("orders"),
            false,
            ErrorKind::Rejected,
            r#"ClientId("orders") is not assigned to this machine"#,
        ),
    ] {
        let error = error(id, probe_first, 400, NOT_FOUND).await;
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().starts_with(message), "{error}");
        assert_eq!(error.status().unwrap(), 400);
    }
}

#[tokio::test]
async fn other_bad_request_is_rejected_with_the_reason_of_the_service() {
    let resource = r#"{"error":"invalid_resource","error_description":"AADSTS500011: The resource principal named https://misspelt was not found in the tenant named Contoso.\r\nTrace ID: 1\r\nTimestamp: 2"}"#;
    let several = r#"{"error":"invalid_request","error_description":"Multiple user assigned identities exist, please specify the clientId / resourceId of the identity in the token request"}"#;
    let echo = format!(
        r#"{{"error":"{0}","error_description":"{0}"}}"#,
        "planted".repeat(20)
    );
    for (body, message, code, aadsts, said) in [
        (
            resource,
            "rejected the request with invalid_resource, AADSTS500011 (status 400); check the scope's spelling",
            Some("invalid_resource"),
            &[500_011][..],
            "AADSTS500011: The resource principal named https://misspelt was not found in the tenant named Contoso.",
        ),
        (
            several,
            "rejected the request with invalid_request (status 400); this machine has several user-assigned \
             identities",
            Some("invalid_request"),
            &[],
            "Multiple user assigned identities exist, please specify the clientId / resourceId of the identity in \
             the token request",
        ),
        (
            r#"{"error":"bad_request_102","error_description":"Required metadata header not specified"}"#,
            "rejected the request with bad_request_102 (status 400)",
            Some("bad_request_102"),
            &[],
            "Required metadata header not specified",
        ),
        (
            r#"{"statusCode":400,"message":"The parameter resource is missing."}"#,
            "rejected the request (status 400)",
            None,
            &[],
            "The parameter resource is missing.",
        ),
        (
            "<html>Bad Request</html>",
            "rejected the request (status 400)",
            None,
            &[],
            "<html>Bad Request</html>",
        ),
        ("", "rejected the request (status 400)", None, &[], ""),
        (&echo, "rejected the request (status 400)", None, &[], "[...]"),
    ] {
        for (id, probe_first) in [(None, true), (None, false), (Some("orders"), true)] {
            let error = error(id, probe_first, 400, body).await;
            assert_eq!(error.kind(), ErrorKind::Rejected, "{error}: {body}");
            assert!(error.to_string().contains(message), "{error}");
            assert_eq!(error.status().unwrap(), 400);
            assert_eq!((error.oauth_error(), error.aadsts_codes()), (code, aadsts));
            assert_eq!(reason(&error), said);
        }
    }
}

#[tokio::test]
async fn response_that_is_not_json_is_unavailable_only_after_a_probe() {
    for body in ["<html>please log in</html>", ""] {
        let optional = error(None, true, 200, body).await;
        assert_eq!(optional.kind(), ErrorKind::Unavailable, "{optional}");
        let required = error(None, false, 200, body).await;
        assert_eq!(required.kind(), ErrorKind::Protocol, "{required}");
    }
}

#[tokio::test]
async fn json_without_a_usable_token_is_a_protocol_error_even_after_a_probe() {
    for body in [
        "{}",
        r#"{"access_token":"planted","expires_on":4102444800,"resource":"r","token_type":"Bearer"}"#,
        r#"{"access_token":7,"expires_on":"planted","resource":"r","token_type":"Bearer"}"#,
    ] {
        for probe_first in [true, false] {
            let error = error(None, probe_first, 200, body).await;
            assert_eq!(error.kind(), ErrorKind::Protocol, "{body}: {error}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn request_without_a_response_is_retried_within_the_same_fetch() {
    let (transport, mut endpoint) = fake_endpoint();
    let credential = ManagedIdentityCredential::builder()
        .environment(Environment::default())
        .transport(transport)
        .build()
        .unwrap();
    let scopes = [VAULT];
    let service = async {
        let _unanswered = endpoint.request().await;
        endpoint.request().await.reply(200, &[], TOKEN);
    };
    let (result, ()) = tokio::join!(credential.token(&scopes), service);
    assert_eq!(result.unwrap().secret(), "planted-token");
}

#[tokio::test]
async fn two_scopes_are_a_configuration_error_without_a_token_request() {
    for probe_first in [true, false] {
        let (transport, mut endpoint) = fake_endpoint();
        let mut builder = ManagedIdentityCredential::builder()
            .environment(Environment::default())
            .transport(transport);
        if probe_first {
            builder = builder.probe_first();
        }
        let credential = builder.build().unwrap();
        let scopes = [VAULT, "https://storage.azure.com/.default"];
        let service = async {
            if probe_first {
                endpoint.request().await.reply(400, &[], "");
            }
            endpoint.assert_no_request().await;
        };
        let (result, ()) = tokio::join!(credential.token(&scopes), service);
        let error = result.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration, "{error}");
        assert!(!error.is_transient(), "{error}");
    }
}

/// A major version of `azure_identity` must not be a major version of this crate.
#[test]
fn managed_identity_id_has_no_public_conversion_to_the_sdk() {
    struct Converts<T>(std::marker::PhantomData<T>);

    #[allow(dead_code, reason = "used if there is no conversion")]
    trait Fallback {
        const INTO_SDK: bool = false;
    }

    impl<T> Fallback for Converts<T> {}

    // The inherent constant has precedence if its bounds hold.
    #[allow(dead_code, reason = "used if there is a conversion")]
    impl<T> Converts<T>
    where
        for<'a> &'a T: Into<azure_identity::UserAssignedId>,
    {
        const INTO_SDK: bool = true;
    }

    let converts = Converts::<ManagedIdentityId>::INTO_SDK;
    assert!(!converts);
}
