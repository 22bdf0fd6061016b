//! What the responses of a managed identity endpoint mean for a program and for a chain.

use std::error::Error as _;

use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use crate::support::clock::TestClock;
use crate::support::identifiers::{CLIENT_ID, NO_METADATA_SERVICE, VAULT};
use crate::support::log::assert_no_secret;
use crate::support::transport::{SentRequest, fake_endpoint};
use entra_workload::builder::{ManagedIdentityCredentialBuilder, ManagedIdentityId};
use entra_workload::{Error, ErrorKind, ManagedIdentityCredential};
use tokio::time::Instant;

/// Returns the error of a machine whose metadata service responds with `status` and `body`.
async fn error(id: Option<&str>, probe_first: bool, status: u16, body: &str) -> Error {
    let (transport, mut endpoint) = fake_endpoint();
    let mut builder = builder(&[]).transport(transport);
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
            Some("7a5ff21b-4f5b-4f5b-9e3e-2c0b5a1d9a10"),
            true,
            ErrorKind::Rejected,
            r#"ClientId("7a5ff21b-4f5b-4f5b-9e3e-2c0b5a1d9a10") is not assigned to this machine"#,
        ),
        (
            Some("7a5ff21b-4f5b-4f5b-9e3e-2c0b5a1d9a10"),
            false,
            ErrorKind::Rejected,
            r#"ClientId("7a5ff21b-4f5b-4f5b-9e3e-2c0b5a1d9a10") is not assigned to this machine"#,
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
        for (id, probe_first) in [
            (None, true),
            (None, false),
            (Some("7a5ff21b-4f5b-4f5b-9e3e-2c0b5a1d9a10"), true),
        ] {
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

#[tokio::test]
async fn metadata_service_of_another_cloud_is_unavailable_after_a_probe() {
    let page = "<html>not here</html>";
    for (status, body) in [
        (404, page),
        (401, page),
        (403, page),
        (404, "not found"),
        (302, ""),
    ] {
        let error = error(None, true, status, body).await;
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{status}: {error}");
        assert_eq!(error.status().unwrap(), status);
        assert!(
            error
                .to_string()
                .contains("is not from the Azure metadata service"),
            "{error}"
        );
    }
    for (status, body) in [(401, page), (403, page), (302, "")] {
        let error = error(None, false, status, body).await;
        assert_eq!(error.kind(), ErrorKind::Rejected, "{status}: {error}");
    }
}

#[tokio::test(start_paused = true)]
async fn error_of_azure_that_may_be_temporary_is_retried_after_a_probe() {
    for (status, body) in [
        (404, r#"{"error":"not_ready"}"#),
        (404, ""),
        (410, "<html>updating</html>"),
        (429, "<html>busy</html>"),
        (503, "<html>down</html>"),
    ] {
        let (transport, mut endpoint) = fake_endpoint();
        let builder = builder(&[]).transport(transport).probe_first();
        let credential = builder.build().unwrap();
        let service = async {
            endpoint.request().await.reply(400, &[], "");
            endpoint.request().await.reply(status, &[], body);
            endpoint.request().await.reply(200, &[], TOKEN);
        };
        let (result, ()) = tokio::join!(credential.token(&[VAULT]), service);
        assert_eq!(result.unwrap().secret(), "planted-token", "{status} {body}");
    }
}

#[tokio::test]
async fn metadata_service_is_probed_before_the_first_fetch_only() {
    let (transport, mut endpoint) = fake_endpoint();
    let builder = builder(&[]).transport(transport).probe_first();
    let credential = builder.build().unwrap();
    let service = async {
        let probe = endpoint.request().await;
        assert_eq!(probe.header("metadata"), "");
        probe.reply(400, &[], "");
        for _ in 0..3 {
            let request = endpoint.request().await;
            assert_eq!(request.header("metadata"), "true");
            request.reply(200, &[], TOKEN);
        }
        endpoint.assert_no_request().await;
    };
    let fetches = async {
        for _ in 0..3 {
            credential.token(&[VAULT]).await.unwrap();
            credential.clear();
        }
    };
    tokio::join!(fetches, service);
}

/// The variables of each kind of endpoint. Azure Arc needs no challenge to fail.
const ENDPOINTS: [&[(&str, &str)]; 5] = [
    &[],
    &[
        (
            "IDENTITY_ENDPOINT",
            "http://127.0.0.1:9/metadata/identity/oauth2/token",
        ),
        ("IMDS_ENDPOINT", "http://127.0.0.1:9"),
    ],
    &[
        ("MSI_ENDPOINT", "http://127.0.0.1:9/oauth2/token"),
        ("MSI_SECRET", "planted"),
    ],
    &[("MSI_ENDPOINT", "http://127.0.0.1:9/oauth2/token")],
    &[
        (
            "IDENTITY_ENDPOINT",
            "https://127.0.0.1:9/metadata/identity/oauth2/token",
        ),
        ("IDENTITY_HEADER", "planted"),
        ("IDENTITY_SERVER_THUMBPRINT", "00"),
    ],
];

fn builder(variables: &[(&str, &str)]) -> ManagedIdentityCredentialBuilder {
    let variables = variables.iter().chain([&NO_METADATA_SERVICE]).copied();
    ManagedIdentityCredential::builder().environment(variables.collect())
}

/// Returns after how many milliseconds each request of one fetch is sent, and the error.
async fn attempts(variables: &[(&str, &str)], respond: impl AsyncFn(SentRequest)) -> (Vec<u128>, Error) {
    let (transport, mut endpoint) = fake_endpoint();
    let credential = builder(variables).transport(transport).build().unwrap();
    let start = Instant::now();
    let mut sent = Vec::new();
    let service = async {
        loop {
            let request = endpoint.request().await;
            sent.push(request.at.duration_since(start).as_millis());
            respond(request).await;
        }
    };
    let error = tokio::select! {
        result = credential.token(&[VAULT]) => result.unwrap_err(),
        () = service => unreachable!(),
    };
    assert_no_secret(&error);
    (sent, error)
}

#[tokio::test(start_paused = true)]
async fn endpoint_that_is_not_ready_is_asked_again_with_growing_pauses() {
    for status in [404, 410, 429, 500, 503] {
        for variables in ENDPOINTS {
            let (sent, error) = attempts(variables, async |request| request.reply(status, &[], "")).await;
            if variables.is_empty() {
                assert_eq!(sent, [0, 1340, 4020, 9380, 20_100, 41_540, 84_420], "{status}");
            } else {
                assert_eq!(
                    sent,
                    [0, 800, 2400, 5600, 12_000, 24_800],
                    "{variables:?} {status}"
                );
            }
            assert_eq!(
                (error.kind(), error.status().unwrap().as_u16()),
                (ErrorKind::Rejected, status)
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn endpoint_that_refuses_is_not_asked_again() {
    for status in [400, 403, 405] {
        for variables in ENDPOINTS {
            let (sent, error) = attempts(variables, async |request| request.reply(status, &[], "{}")).await;
            assert_eq!(sent, [0], "{variables:?} {status}");
            assert_eq!(error.kind(), ErrorKind::Rejected, "{error}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn silent_host_is_asked_twice_for_ten_seconds() {
    for variables in &ENDPOINTS[1..] {
        let start = Instant::now();
        let silent = Mutex::new(Vec::new());
        let (sent, error) = attempts(variables, async |request| silent.lock().unwrap().push(request)).await;
        assert_eq!(sent, [0, 10_800], "{variables:?}");
        assert_eq!(start.elapsed().as_millis(), 20_800);
        assert_eq!(error.kind(), ErrorKind::Transport, "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn silent_metadata_service_is_asked_again_for_ninety_seconds() {
    let silent = Mutex::new(Vec::new());
    let (sent, error) = attempts(&[], async |request| silent.lock().unwrap().push(request)).await;
    assert_eq!(sent, [0, 61_340]);
    assert_eq!(error.kind(), ErrorKind::Transport, "{error}");
    assert_eq!(error.to_string(), "the managed identity endpoint did not respond");
}

#[tokio::test(start_paused = true)]
async fn slow_endpoint_is_not_asked_again_after_the_time_limit() {
    for variables in &ENDPOINTS[1..] {
        let (sent, _) = attempts(variables, async |request| {
            tokio::time::sleep(Duration::from_secs(9)).await;
            request.reply(503, &[], "");
        })
        .await;
        assert_eq!(sent, [0, 9800, 20_400], "{variables:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn retry_after_of_every_endpoint_is_obeyed_within_the_fetch() {
    const DATES: [(&str, &str); 2] = [
        ("retry-after", "Sun, 06 Nov 1994 08:49:47 GMT"),
        ("date", "Sun, 06 Nov 1994 08:49:37 GMT"),
    ];
    for headers in [
        &[("retry-after", "10")][..],
        &DATES,
        &[("x-ms-retry-after-ms", "10000")],
    ] {
        for status in [404, 410, 429, 503] {
            for variables in ENDPOINTS {
                let (sent, _) = attempts(variables, async |request| request.reply(status, headers, "")).await;
                assert_eq!(
                    sent[..3],
                    [0, 10_000, 20_000],
                    "{variables:?} {status} {headers:?}"
                );
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn long_retry_after_of_every_endpoint_starts_a_cooldown() {
    for (asked, obeyed) in [("300", 300), ("86400", 600)] {
        for status in [404, 410, 429, 503] {
            for variables in ENDPOINTS {
                let (transport, mut endpoint) = fake_endpoint();
                let builder = builder(variables).transport(transport).clock(TestClock::new());
                let credential = builder.build().unwrap();
                let service = async {
                    let request = endpoint.request().await;
                    request.reply(status, &[("retry-after", asked)], "");
                };
                let (result, ()) = tokio::join!(credential.token(&[VAULT]), service);
                assert_eq!(
                    result.unwrap_err().retry_after().unwrap().as_secs().to_string(),
                    asked
                );
                for _ in 1..obeyed {
                    tokio::time::advance(Duration::from_secs(1)).await;
                    credential.token(&[VAULT]).await.unwrap_err();
                }
                endpoint.assert_no_request().await;
                tokio::time::advance(Duration::from_secs(1)).await;
                let service = async { endpoint.request().await.reply(400, &[], "{}") };
                let (result, ()) = tokio::join!(credential.token(&[VAULT]), service);
                assert_eq!(
                    result.unwrap_err().status().unwrap(),
                    400,
                    "{variables:?} {status}"
                );
            }
        }
    }
}

#[tokio::test]
async fn token_of_every_endpoint_counts_as_valid_for_two_days_at_most() {
    // The clock of the credential is up to a tick fast.
    let two_days = Duration::from_secs(48 * 3600 + 1);
    for variables in ENDPOINTS {
        let (transport, mut endpoint) = fake_endpoint();
        let credential = builder(variables).transport(transport).build().unwrap();
        let service = async { endpoint.request().await.reply(200, &[], TOKEN) };
        let (token, ()) = tokio::join!(credential.token(&[VAULT]), service);
        let expires_on = token.unwrap().expires_on();
        assert!(
            expires_on <= SystemTime::now() + two_days,
            "{variables:?}: {expires_on:?}"
        );
    }
}

#[tokio::test]
async fn two_scopes_are_a_configuration_error_without_a_token_request() {
    for probe_first in [true, false] {
        let (transport, mut endpoint) = fake_endpoint();
        let mut builder = builder(&[]).transport(transport);
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

#[tokio::test]
async fn client_id_selects_the_user_assigned_identity() {
    let (transport, mut endpoint) = fake_endpoint();
    let builder = builder(&[]).client_id(CLIENT_ID).transport(transport);
    let credential = builder.build().unwrap();
    let service = async {
        let request = endpoint.request().await;
        assert!(
            request.uri.contains(&format!("client_id={CLIENT_ID}")),
            "{}",
            request.uri
        );
        request.reply(200, &[], TOKEN);
    };
    let (identity, ()) = tokio::join!(credential.check(&[VAULT]), service);
    assert_eq!(identity.unwrap().client_id(), Some(CLIENT_ID));
}

#[tokio::test(start_paused = true)]
async fn timeout_ends_a_silent_endpoint_and_the_repetition_of_a_request() {
    for variables in ENDPOINTS {
        let (transport, mut endpoint) = fake_endpoint();
        let builder = builder(variables)
            .timeout(Duration::from_secs(3))
            .transport(transport);
        let credential = builder.clock(TestClock::new()).build().unwrap();
        let start = Instant::now();
        let silent = async {
            let _request = endpoint.request().await;
            std::future::pending::<()>().await;
        };
        let error = tokio::select! {
            result = credential.token(&[VAULT]) => result.unwrap_err(),
            () = silent => unreachable!(),
        };
        assert_eq!(start.elapsed().as_secs(), 3, "{variables:?}");
        assert_eq!(error.kind(), ErrorKind::Transport, "{error}");

        // The second pause would end later.
        tokio::time::advance(Duration::from_secs(60)).await;
        let start = Instant::now();
        let unavailable = async {
            loop {
                endpoint.request().await.reply(503, &[], "");
            }
        };
        let error = tokio::select! {
            result = credential.token(&[VAULT]) => result.unwrap_err(),
            () = unavailable => unreachable!(),
        };
        assert!(start.elapsed() < Duration::from_secs(3), "{variables:?}");
        assert_eq!(error.status().unwrap(), 503, "{error}");
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
