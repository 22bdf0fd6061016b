use std::time::Duration;

use http::StatusCode;

use super::aadsts::{self, Presented, cluster_hint};
use super::server_text::ServerText;
use crate::code::Code;
use crate::error::{Error, ErrorKind};

/// A reply without a token.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) problem: Problem,
    pub(super) retry_after: Option<Duration>,
    pub(super) trace_id: Option<String>,
    pub(super) correlation_id: Option<String>,
}

/// Why a reply contains no token.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Problem {
    Refused {
        error: String,
        codes: Vec<u32>,
        description: String,
    },
    /// The error of a Kubernetes API server, with its message.
    KubernetesStatus(String),
    /// The status is not 200, and the JSON contains no `error`.
    NoError,
    NotJson,
    Redirect,
    TooLong,
    NotBearer,
    NoLifetime,
    NoToken,
}

impl Refusal {
    pub(super) fn into_error(self, presented: &Presented<'_>, request_id: &str) -> Error {
        let Presented {
            host,
            tenant_id,
            client_id,
            secret,
            ..
        } = presented;
        // A server could echo the client secret as an error code or an ID.
        let identifier = |text| identifier(text).filter(|text| !text.contains(secret.expose()));
        let status = self.status.as_u16();
        let unavailability = self.unavailability();
        let unavailable = |details: &str| match unavailability? {
            Unavailability::Outage => Some(format!(
                "{host} is temporarily unavailable (status {status}{details}); retry later"
            )),
            Unavailability::Throttling => Some(format!(
                "{host} throttled client {client_id} in tenant {tenant_id} (status {status}{details}); \
                 send fewer token requests"
            )),
        };
        let returned = |details: &str| {
            unavailable(details).unwrap_or_else(|| format!("{host} returned status {status}{details}"))
        };
        let code = unavailability.map(|unavailability| match unavailability {
            Unavailability::Outage => Code::OUTAGE,
            Unavailability::Throttling => Code::THROTTLED,
        });
        let error = match self.problem {
            Problem::Refused {
                error,
                codes,
                description,
            } => {
                let error = identifier(error).unwrap_or_else(|| "an unrecognized error code".to_owned());
                let named = match codes.first() {
                    Some(code) => format!("{error}, AADSTS{code}"),
                    None => error.clone(),
                };
                let explained = codes.iter().find_map(|code| aadsts::explain(*code, presented));
                let (section, hint) = match explained {
                    Some((section, hint)) => (section, format!("; {hint}")),
                    None => (Code::REFUSED, String::new()),
                };
                let refused = || {
                    format!(
                        "{host} refused client {client_id} in tenant {tenant_id} with {named} \
                         (status {status}){hint}"
                    )
                };
                let message = unavailable(&format!(", {named}")).unwrap_or_else(refused);
                Error::new(ErrorKind::Rejected, message)
                    .with_code(code.unwrap_or(section))
                    .with_oauth_error(error)
                    .with_aadsts_codes(codes)
                    .with_optional_source(ServerText::new(&description, secret))
            }
            Problem::KubernetesStatus(message) if unavailability.is_none() => {
                let (code, hint) = cluster_hint(self.status, &message, presented);
                let message = ServerText::new(&message, secret);
                Error::new(
                    ErrorKind::Rejected,
                    format!(
                        "{host} refused client {client_id} in tenant {tenant_id} (status {status}); {hint}"
                    ),
                )
                .with_code(code)
                .with_optional_source(message)
            }
            problem => {
                let message = match problem {
                    Problem::NotJson => {
                        returned(" and a body that is not JSON")
                            + "; check for a proxy or a captive portal in between"
                    }
                    Problem::Redirect => format!(
                        "{host} returned status {status}, a redirect, which is never followed because the request \
                         contains a credential; check the authority host"
                    ),
                    Problem::TooLong => returned(" and more than 256 KiB"),
                    Problem::NotBearer => format!("{host} returned a token with an unsupported token_type"),
                    Problem::NoLifetime => format!("{host} returned a token without a usable expires_in"),
                    Problem::NoToken => {
                        format!("{host} returned status {status} without a usable access_token")
                    }
                    _ => returned(" without an OAuth error"),
                };
                Error::protocol(message).with_code(code.unwrap_or(Code::NOT_ENTRA))
            }
        };
        let correlation_id = self.correlation_id.and_then(identifier);
        let error = error
            .with_status(self.status)
            .with_correlation_id(correlation_id.unwrap_or_else(|| request_id.to_owned()))
            .with_retry_after(self.retry_after);
        match self.trace_id.and_then(identifier) {
            Some(id) => error.with_trace_id(id),
            None => error,
        }
    }

    /// Returns why the server processed no token request, whatever was sent.
    fn unavailability(&self) -> Option<Unavailability> {
        let (error, codes) = match &self.problem {
            Problem::Refused { error, codes, .. } => (error.as_str(), &codes[..]),
            _ => ("", &[][..]),
        };
        if self.status == StatusCode::TOO_MANY_REQUESTS || aadsts::is_throttling(codes) {
            return Some(Unavailability::Throttling);
        }
        let is_outage = self.status.is_server_error()
            || self.status == StatusCode::REQUEST_TIMEOUT
            || error == "temporarily_unavailable"
            || aadsts::is_outage(codes);
        is_outage.then_some(Unavailability::Outage)
    }
}

/// A condition of the server that does not depend on the request.
#[derive(Clone, Copy)]
enum Unavailability {
    Outage,
    Throttling,
}

/// Returns the text if it looks like an OAuth error code or a request ID; anything else must not
/// get into a message.
fn identifier(text: String) -> Option<String> {
    let fits = (1..=MAX_IDENTIFIER).contains(&text.len());
    (fits
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)))
    .then_some(text)
}

/// OAuth error codes and GUIDs are shorter.
const MAX_IDENTIFIER: usize = 63;

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use proptest::prelude::*;

    use super::*;
    use crate::token::Secret;

    // {"alg":"RS256"}
    // {"iss":"https://issuer/","sub":"system:serviceaccount:ns:app","aud":["api://AzureADTokenExchange"]}
    const ASSERTION: &str = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJodHRwczovL2lzc3Vlci8iLCJzdWIiOiJzeXN0ZW06c2VydmljZWFjY291bnQ6bnM6YXBwIiwiYXVkIjpbImFwaTovL0F6dXJlQURUb2tlbkV4Y2hhbmdlIl19.c2lnbmF0dXJl";

    fn refused(error: &str, codes: &[u32], description: &str) -> Error {
        refused_with_secret(ASSERTION, error, codes, description)
    }

    fn refused_with_secret(secret: &str, error: &str, codes: &[u32], description: &str) -> Error {
        let refusal = Refusal {
            status: StatusCode::UNAUTHORIZED,
            problem: Problem::Refused {
                error: error.into(),
                codes: codes.into(),
                description: description.into(),
            },
            retry_after: None,
            trace_id: Some(description.into()),
            correlation_id: Some(description.into()),
        };
        let presented = Presented {
            host: "login",
            has_token_proxy: false,
            tenant_id: "tenant",
            client_id: "client",
            secret: &Secret::from(secret),
        };
        refusal.into_error(&presented, "our-id")
    }

    #[test]
    fn message_contains_the_client_the_tenant_the_code_and_a_hint() {
        for (code, part) in [
            (70_021, r#"issuer "https://issuer/""#),
            (70_025, r#"subject "system:serviceaccount:ns:app""#),
            (700_025, r#"audience "api://AzureADTokenExchange""#),
            (700_211, r#"issuer, "https://issuer/""#),
            (700_212, r#"audience, "api://AzureADTokenExchange""#),
            (700_213, r#"subject, "system:serviceaccount:ns:app""#),
            (700_024, "subPath"),
            (500_133, "subPath"),
            (700_027, r#"the keys that "https://issuer/" publishes"#),
            (90_061, r#"the keys of "https://issuer/""#),
            (50_166, r#"the keys of "https://issuer/""#),
            (700_016, "AZURE_CLIENT_ID"),
            (90_002, "of the request, .tenant_id(..) or AZURE_TENANT_ID"),
            (900_023, ".authority_host(..) or AZURE_AUTHORITY_HOST"),
            (500_011, "the scope's spelling"),
            (70_011, "followed by /.default"),
            (1_002_012, "followed by /.default"),
            (700_222, "use the cluster's service-account token"),
            (700_226, "only those of a user-assigned managed identity"),
            (700_231, "itself obtained with a federated credential"),
            (700_236, "registered in the same tenant"),
            (700_223, "forbids this federation"),
            (700_238, "forbids this federation"),
            (7_002_381, "forbids this federation"),
            (7_002_111, r#"issuer, "https://issuer/""#),
            (7_002_121, r#"audience, "api://AzureADTokenExchange""#),
            (7_002_137, r#"subject, "system:serviceaccount:ns:app""#),
            (
                7_002_131,
                r#"subject, "system:serviceaccount:ns:app", and none has an expression"#,
            ),
            (
                7_002_138,
                r#"only upper and lower case differ between the token's subject, "system:serviceaccount:ns:app""#,
            ),
            (700_239, r#"with the subject "system:serviceaccount:ns:app""#),
            (900_382, "another cloud than login; set the authority host"),
            (7_000_229, "`az ad sp create --id client`"),
            (501_051, "the resource requires an assignment and client has none"),
            (7_000_274, "the key of the same ID"),
            (7_000_214, "`az ad app credential reset --id client --cert @"),
            (7_000_277, "`az ad app credential reset --id client --cert @"),
            (1_000_502, "the certificate is expired or not yet valid"),
            (7_000_112, "the application is disabled"),
            (53_003, "forbids this workload to access the resource"),
            (50_105, "the resource requires an assignment"),
            (7_000_215, "use its value, not its ID"),
            (7_000_222, "the client secret has expired"),
        ] {
            let error = refused("invalid_client", &[code], "");
            let text = error.to_string();
            assert!(
                text.starts_with("login refused client client in tenant tenant with invalid_client, AADSTS"),
                "{text}"
            );
            assert!(text.contains(part), "{text}");
            assert_eq!(error.aadsts_codes(), [code]);
        }
    }

    #[test]
    fn message_tells_outage_throttling_and_rejection_apart() {
        let failed = |status: u16, problem| {
            let refusal = Refusal {
                status: StatusCode::from_u16(status).unwrap(),
                problem,
                retry_after: None,
                trace_id: None,
                correlation_id: None,
            };
            let presented = Presented {
                host: "login",
                has_token_proxy: false,
                tenant_id: "tenant",
                client_id: "client",
                secret: &Secret::from(ASSERTION),
            };
            refusal.into_error(&presented, "our-id").to_string()
        };
        let refused = |error: &str, code| Problem::Refused {
            error: error.to_owned(),
            codes: vec![code],
            description: String::new(),
        };
        for (status, problem, message) in [
            (
                503,
                refused("temporarily_unavailable", 90_006),
                "login is temporarily unavailable (status 503, temporarily_unavailable, AADSTS90006); retry later (EW422)",
            ),
            (
                400,
                refused("temporarily_unavailable", 7),
                "login is temporarily unavailable (status 400, temporarily_unavailable, AADSTS7); retry later (EW422)",
            ),
            (
                400,
                refused("invalid_request", 90_033),
                "login is temporarily unavailable (status 400, invalid_request, AADSTS90033); retry later (EW422)",
            ),
            (
                503,
                Problem::NotJson,
                "login is temporarily unavailable (status 503 and a body that is not JSON); retry later; \
                 check for a proxy or a captive portal in between (EW422)",
            ),
            (
                408,
                Problem::NoError,
                "login is temporarily unavailable (status 408 without an OAuth error); retry later (EW422)",
            ),
            (
                502,
                Problem::TooLong,
                "login is temporarily unavailable (status 502 and more than 256 KiB); retry later (EW422)",
            ),
            (
                429,
                refused("invalid_request", 7),
                "login throttled client client in tenant tenant (status 429, invalid_request, AADSTS7); \
                 send fewer token requests (EW423)",
            ),
            (
                503,
                refused("server_error", 90_055),
                "login throttled client client in tenant tenant (status 503, server_error, AADSTS90055); \
                 send fewer token requests (EW423)",
            ),
            (
                400,
                refused("invalid_grant", 50_196),
                "login throttled client client in tenant tenant (status 400, invalid_grant, AADSTS50196); \
                 send fewer token requests (EW423)",
            ),
            (
                429,
                Problem::NoError,
                "login throttled client client in tenant tenant (status 429 without an OAuth error); send fewer token requests (EW423)",
            ),
            (
                403,
                Problem::NoError,
                "login returned status 403 without an OAuth error (EW209)",
            ),
            (
                403,
                Problem::NotJson,
                "login returned status 403 and a body that is not JSON; check for a proxy or a captive \
                 portal in between (EW209)",
            ),
        ] {
            assert_eq!(failed(status, problem), message);
        }
    }

    #[test]
    fn hint_depends_on_issuer_and_audience_of_the_assertion() {
        for (claims, code, part) in [
            (
                r#"{"iss":"client"}"#,
                700_024,
                "not yet valid; check this machine's clock",
            ),
            (
                r#"{"iss":"client"}"#,
                500_133,
                "not yet valid; check this machine's clock",
            ),
            (
                r#"{"iss":"client"}"#,
                700_027,
                "the certificate is not registered with this application",
            ),
            (
                r#"{"iss":"client"}"#,
                7_000_274,
                "the private key is not that of the certificate",
            ),
            (
                r#"{"sub":"{audience}","aud":"planted"}"#,
                700_213,
                r#"subject, "{audience}";"#,
            ),
            (
                r#"{"aud":"api://AKSIdentityBinding"}"#,
                7_002_121,
                "azure.workload.identity/use-identity-binding",
            ),
            (
                r#"{"aud":"api://AKSIdentityBinding"}"#,
                700_212,
                "azure.workload.identity/use-identity-binding",
            ),
        ] {
            let assertion = ["{}", claims, "planted"].map(|part| URL_SAFE_NO_PAD.encode(part));
            let text = refused_with_secret(&assertion.join("."), "e", &[code], "").to_string();
            assert!(text.contains(part), "{text}");
            assert!(!text.contains("subPath"), "{text}");
        }
    }

    #[test]
    fn hint_and_section_are_those_of_the_first_code_that_has_them() {
        let text = |codes: &[u32]| refused("e", codes, "").to_string();
        let unknown = "login refused client client in tenant tenant with e, AADSTS7 (status 401)";
        assert_eq!(text(&[7]), unknown.to_owned() + " (EW426)");
        assert_eq!(
            text(&[7, 7_000_222, 7_000_112]),
            unknown.to_owned() + "; the client secret has expired (EW415)"
        );
    }

    #[test]
    fn only_short_alphanumeric_text_counts_as_an_identifier() {
        let (long, longer) = ("a".repeat(63), "a".repeat(64));
        for text in ["invalid_client", "0A1b-2.c", "e", &long] {
            assert_eq!(identifier(text.to_owned()).as_deref(), Some(text));
        }
        for text in ["", "a b", "<a>", "é", "a\n", &longer] {
            assert_eq!(identifier(text.to_owned()), None, "{text:?}");
        }
    }

    #[test]
    fn server_text_is_bounded_and_omits_long_words_and_echoed_secrets() {
        let printed =
            |text: &str| ServerText::new(text, &Secret::from(ASSERTION)).map(|text| text.to_string());
        let (word, longer) = ("a".repeat(63), "a".repeat(64));
        assert_eq!(printed(&word), Some(word));
        assert_eq!(
            printed(&format!("not '{longer}' here")).as_deref(),
            Some("not [...] here")
        );
        assert_eq!(printed(&"four ".repeat(200)), Some(["four"; 120].join(" ")));
        assert_eq!(printed(" \r\n"), None);
        assert_eq!(
            printed("the signature is c2lnbmF0dXJl"),
            None,
            "a part of the assertion"
        );
    }

    #[test]
    fn display_is_the_same_for_different_request_ids() {
        let text = |n| {
            refused(
                "e",
                &[7],
                &format!("AADSTS7: no.\r\nTrace ID: {n}\r\nTimestamp: {n}"),
            )
        };
        assert_eq!(text(1).to_string(), text(2).to_string());
        assert_eq!(text(1).source().unwrap().to_string(), "AADSTS7: no.");
        assert_eq!(text(1).correlation_id(), Some("our-id"));
    }

    #[test]
    fn error_omits_a_client_secret_that_the_server_echoes() {
        for echo in ["planted-secret", "invalid.planted-secret"] {
            let error = refused_with_secret("planted-secret", echo, &[7_000_215], echo);
            assert!(error.source().is_none());
            assert!(!format!("{error} {error:?}").contains("planted"), "{error:?}");
        }
        let error = refused_with_secret("planted-secret", "invalid_client", &[], "0a1b");
        assert_eq!(
            (error.oauth_error(), error.trace_id(), error.correlation_id()),
            (Some("invalid_client"), Some("0a1b"), Some("0a1b"))
        );
    }

    proptest! {
        #[test]
        fn error_omits_an_assertion_that_the_server_echoes(
            before in "\\PC{0,20}", from in 0usize..100, length in 64usize..200, after in "\\PC{0,20}",
        ) {
            let piece: String = ASSERTION.chars().skip(from).take(length).collect();
            let text = format!("{before}{piece}{after}");
            let error = refused(&text, &[700_213], &text);
            let printed = format!("{error} {error:?} {:?}", error.source().map(ToString::to_string));
            let middle: String = piece.chars().take(64).collect();
            prop_assert!(!printed.contains(&middle), "{printed}");
        }
    }
}
