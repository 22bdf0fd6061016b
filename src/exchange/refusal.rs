use std::fmt;
use std::time::Duration;

use http::StatusCode;

use crate::assertion::jwt::Claims;
use crate::error::{Error, ErrorKind};
use crate::token::Secret;

/// A reply that brought no token.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) problem: Problem,
    pub(super) retry_after: Option<Duration>,
    pub(super) trace_id: Option<String>,
    pub(super) correlation_id: Option<String>,
}

/// What was wrong with it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Problem {
    Refused {
        error: String,
        codes: Vec<u32>,
        description: String,
    },
    /// Not 200, JSON, but no `error` in it.
    NoError,
    NotJson,
    Redirect,
    TooLong,
    NotBearer,
    NoLifetime,
    NoToken,
}

/// What had been presented to the server: for the message.
pub(super) struct Presented<'a> {
    pub(super) host: &'a str,
    pub(super) tenant_id: &'a str,
    pub(super) client_id: &'a str,
    /// The assertion or the client secret.
    pub(super) proof: &'a Secret,
}

impl Refusal {
    pub(super) fn into_error(self, presented: &Presented<'_>, request_id: &str) -> Error {
        let Presented {
            host,
            tenant_id,
            client_id,
            proof,
        } = presented;
        // No server has reason to call a client secret an error or an id, but nothing keeps it from that.
        let identifier = |text| identifier(text).filter(|text| !text.contains(proof.expose()));
        let status = self.status.as_u16();
        let error = match self.problem {
            Problem::Refused {
                error,
                codes,
                description,
            } => {
                let error = identifier(error).unwrap_or_else(|| "an error that is no OAuth error".to_owned());
                let named = codes
                    .first()
                    .map(|code| format!(", AADSTS{code}"))
                    .unwrap_or_default();
                let hint = codes
                    .iter()
                    .find_map(|code| hint(*code, presented))
                    .map(|hint| format!("; {hint}"));
                let hint = hint.unwrap_or_default();
                Error::new(
                    ErrorKind::Rejected,
                    format!("{host} refused client {client_id} in tenant {tenant_id} with {error}{named} (status {status}){hint}"),
                )
                .with_oauth_error(Some(error), codes)
                .with_optional_source(ServerText::new(&description, proof))
            }
            Problem::NoError => Error::protocol(format!("{host} answered {status} without saying why")),
            Problem::NotJson => Error::protocol(format!(
                "{host} answered {status} with something that is not JSON; is there a proxy or a captive portal in between?"
            )),
            Problem::Redirect => Error::protocol(format!(
                "{host} answered {status}, a redirect, which is never followed: the assertion must not travel; \
                 check the authority host"
            )),
            Problem::TooLong => Error::protocol(format!("{host} answered {status} with more than 256 KiB")),
            Problem::NotBearer => {
                Error::protocol(format!("{host} answered with a token that is no bearer token"))
            }
            Problem::NoLifetime => Error::protocol(format!("{host} answered without a usable expires_in")),
            Problem::NoToken => {
                Error::protocol(format!("{host} answered {status} without a usable access_token"))
            }
        };
        error
            .with_status(self.status)
            .with_request_ids(
                self.correlation_id
                    .and_then(identifier)
                    .unwrap_or_else(|| request_id.to_owned()),
                self.trace_id.and_then(identifier),
            )
            .with_retry_after(self.retry_after)
    }
}

/// What the server wrote, made fit to be read by a human: one line, bounded, without ids and times, and without anything
/// that could be a piece of a token that it echoes.
#[derive(Debug)]
pub(crate) struct ServerText(String);

impl ServerText {
    pub(crate) fn new(description: &str, proof: &Secret) -> Option<Self> {
        let text = description.split("Trace ID:").next().unwrap_or_default();
        if proof
            .expose()
            .split('.')
            .any(|part| !part.is_empty() && text.contains(part))
        {
            return None;
        }
        let mut line = String::new();
        for word in text
            .split(|c: char| c.is_whitespace() || c.is_control())
            .filter(|word| !word.is_empty())
        {
            let opaque = |run: &str| run.len() > LONGEST_WORD;
            let word = if word
                .split(|c: char| !c.is_ascii_alphanumeric() && !"-_+.".contains(c))
                .any(opaque)
            {
                "[...]"
            } else {
                word
            };
            if line.len() + word.len() > LONGEST_TEXT {
                break;
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        (!line.is_empty()).then_some(Self(line))
    }
}

impl fmt::Display for ServerText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ServerText {}

/// The text, if it looks like an OAuth error or a request id: anything else does not belong into a message.
fn identifier(text: String) -> Option<String> {
    let fits = (1..=LONGEST_WORD).contains(&text.len());
    (fits
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)))
    .then_some(text)
}

/// The usual cause of an AADSTS code, and the way out. Source: Microsoft's list of AADSTS error codes, and "Workload identity
/// federation considerations".
fn hint(code: u32, presented: &Presented<'_>) -> Option<String> {
    let claims = Claims::read(presented.proof.expose()).unwrap_or_default();
    let issuer = claims.issuer.unwrap_or_default();
    let subject = claims.subject.unwrap_or_default();
    let audience = claims.audiences.join(" ");
    // An assertion that the application signed itself, with a certificate, is no cluster's.
    let is_own = issuer == presented.client_id;
    let text = match code {
        700_024 | 500_133 if is_own => {
            "the assertion is outside its time; check this machine's clock".to_owned()
        }
        700_027 if is_own => "the certificate is not registered with this application, or has expired; upload it under \
                              \"Certificates & secrets\", and wait a few minutes if it is new"
            .to_owned(),
        70_021 | 70_025 | 700_025 => format!(
            "this client has no federated credential that fits; add one with issuer {issuer:?}, subject {subject:?} and \
             audience {audience:?}, and wait a few minutes if it is new"
        ),
        700_211 => format!(
            "no federated credential of this client has the token's issuer, {issuer:?}; it must be equal to the letter, a \
             trailing slash included, and may take a few minutes to spread"
        ),
        700_212 if audience == IDENTITY_BINDING_AUDIENCE => {
            "the token is meant for an AKS identity binding, not for Entra itself; remove the pod's annotation \
             azure.workload.identity/use-identity-binding, or go through the cluster's token proxy"
                .to_owned()
        }
        700_212 => format!(
            "no federated credential of this client has the token's audience, {audience:?}; it is usually \
             \"api://AzureADTokenExchange\""
        ),
        700_213 => format!(
            "no federated credential of this client has the token's subject, {subject:?}; it must be equal to the letter \
             (namespace and service account), and may take a few minutes to spread"
        ),
        700_024 | 500_133 => {
            "the assertion is outside its time; check this machine's clock, and that the token file is a projected volume \
             without subPath"
                .to_owned()
        }
        700_027 => format!(
            "the assertion's signature does not fit the keys that {issuer:?} publishes; after the cluster's signing keys were \
             rotated this heals within minutes"
        ),
        90_061 | 50_166 => format!(
            "Entra could not fetch the keys of {issuer:?}; its discovery document must be reachable from the internet"
        ),
        700_016 => "there is no such application in this tenant; check AZURE_CLIENT_ID and AZURE_TENANT_ID, and whether the \
                    managed identity was deleted and made anew"
            .to_owned(),
        90_002 | 900_023 => {
            "there is no such tenant in this cloud; check AZURE_TENANT_ID and AZURE_AUTHORITY_HOST".to_owned()
        }
        500_011 => "the resource of the scope is unknown in this tenant; check the scope's spelling, and whether the \
                    resource has a service principal here"
            .to_owned(),
        70_011 | 1_002_012 => "a scope is a resource followed by /.default".to_owned(),
        700_222 | 700_231 => {
            "an assertion that Entra itself issued is not accepted here; use the cluster's service-account token".to_owned()
        }
        700_223 | 700_238 | 7_002_381 => {
            "a policy of the tenant forbids this federation; ask its administrator".to_owned()
        }
        7_000_112 => "the application is disabled; ask the tenant's administrator".to_owned(),
        53_003 | 50_105 => {
            "a policy forbids this workload the resource; ask the tenant's administrator".to_owned()
        }
        7_000_215 => "the client secret is wrong; use its value, not its id".to_owned(),
        7_000_222 => "the client secret has expired".to_owned(),
        90_033 | 90_055 | 50_196 => "Entra asks for fewer requests, later".to_owned(),
        _ => return None,
    };
    Some(text)
}

/// The audience of service-account tokens in pods with an AKS identity binding. Source: AKS, "Identity bindings concepts".
const IDENTITY_BINDING_AUDIENCE: &str = "api://AKSIdentityBinding";

/// Names in Kubernetes have at most 63 characters, GUIDs have 36: what is longer and unbroken may be a piece of a token.
const LONGEST_WORD: usize = 63;

/// Entra's texts are one to three sentences.
const LONGEST_TEXT: usize = 600;

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use proptest::prelude::*;

    use super::*;

    // {"alg":"RS256"} . {"iss":"https://issuer/","sub":"system:serviceaccount:ns:app","aud":["api://AzureADTokenExchange"]}
    const ASSERTION: &str = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJodHRwczovL2lzc3Vlci8iLCJzdWIiOiJzeXN0ZW06c2VydmljZWFjY291bnQ6bnM6YXBwIiwiYXVkIjpbImFwaTovL0F6dXJlQURUb2tlbkV4Y2hhbmdlIl19.c2lnbmF0dXJl";

    fn refused(error: &str, codes: &[u32], description: &str) -> Error {
        proof_refused(ASSERTION, error, codes, description)
    }

    fn proof_refused(proof: &str, error: &str, codes: &[u32], description: &str) -> Error {
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
            tenant_id: "tenant",
            client_id: "client",
            proof: &Secret::from(proof),
        };
        refusal.into_error(&presented, "our-id")
    }

    #[test]
    fn a_refusal_names_what_was_presented_and_the_way_out() {
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
            (90_002, "AZURE_TENANT_ID"),
            (900_023, "AZURE_TENANT_ID"),
            (500_011, "the scope's spelling"),
            (70_011, "followed by /.default"),
            (1_002_012, "followed by /.default"),
            (700_222, "use the cluster's service-account token"),
            (700_231, "use the cluster's service-account token"),
            (700_223, "forbids this federation"),
            (700_238, "forbids this federation"),
            (7_002_381, "forbids this federation"),
            (7_000_112, "the application is disabled"),
            (53_003, "forbids this workload the resource"),
            (50_105, "forbids this workload the resource"),
            (7_000_215, "use its value, not its id"),
            (7_000_222, "the client secret has expired"),
            (90_033, "fewer requests"),
            (90_055, "fewer requests"),
            (50_196, "fewer requests"),
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

    /// What Entra says of an assertion depends on who made it and for whom.
    #[test]
    fn the_way_out_is_that_of_the_assertion_that_was_presented() {
        for (claims, code, part) in [
            (
                r#"{"iss":"client"}"#,
                700_024,
                "outside its time; check this machine's clock",
            ),
            (
                r#"{"iss":"client"}"#,
                500_133,
                "outside its time; check this machine's clock",
            ),
            (
                r#"{"iss":"client"}"#,
                700_027,
                "the certificate is not registered with this application",
            ),
            (
                r#"{"aud":"api://AKSIdentityBinding"}"#,
                700_212,
                "azure.workload.identity/use-identity-binding",
            ),
        ] {
            let assertion = ["{}", claims, "planted"].map(|part| URL_SAFE_NO_PAD.encode(part));
            let text = proof_refused(&assertion.join("."), "e", &[code], "").to_string();
            assert!(text.contains(part), "{text}");
            assert!(!text.contains("subPath"), "{text}");
        }
    }

    #[test]
    fn the_hint_is_that_of_the_first_code_that_has_one() {
        let text = |codes: &[u32]| refused("e", codes, "").to_string();
        let unknown = "login refused client client in tenant tenant with e, AADSTS7 (status 401)";
        assert_eq!(text(&[7]), unknown);
        assert_eq!(
            text(&[7, 7_000_222, 7_000_112]),
            unknown.to_owned() + "; the client secret has expired"
        );
    }

    #[test]
    fn only_what_looks_like_an_id_is_repeated() {
        let (long, longer) = ("a".repeat(63), "a".repeat(64));
        for text in ["invalid_client", "0A1b-2.c", "e", &long] {
            assert_eq!(identifier(text.to_owned()).as_deref(), Some(text));
        }
        for text in ["", "a b", "<a>", "é", "a\n", &longer] {
            assert_eq!(identifier(text.to_owned()), None, "{text:?}");
        }
    }

    #[test]
    fn what_the_server_wrote_is_shown_in_words_of_bounded_length_up_to_a_bounded_length() {
        let shown = |text: &str| ServerText::new(text, &Secret::from(ASSERTION)).map(|text| text.to_string());
        let (word, longer) = ("a".repeat(63), "a".repeat(64));
        assert_eq!(shown(&word), Some(word));
        assert_eq!(
            shown(&format!("not '{longer}' here")).as_deref(),
            Some("not [...] here")
        );
        assert_eq!(shown(&"four ".repeat(200)), Some(["four"; 120].join(" ")));
        assert_eq!(shown(" \r\n"), None);
        assert_eq!(
            shown("the signature is c2lnbmF0dXJl"),
            None,
            "a part of the assertion"
        );
    }

    #[test]
    fn the_same_refusal_always_reads_the_same() {
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
    fn a_server_that_echoes_the_client_secret_does_not_get_it_into_any_text() {
        for echo in ["planted-secret", "invalid.planted-secret"] {
            let error = proof_refused("planted-secret", echo, &[7_000_215], echo);
            assert!(error.source().is_none());
            assert!(!format!("{error} {error:?}").contains("planted"), "{error:?}");
        }
        let error = proof_refused("planted-secret", "invalid_client", &[], "0a1b");
        assert_eq!(
            (error.oauth_error(), error.trace_id(), error.correlation_id()),
            (Some("invalid_client"), Some("0a1b"), Some("0a1b"))
        );
    }

    proptest! {
        #[test]
        fn a_server_that_echoes_the_assertion_does_not_get_it_into_any_text(
            before in "\\PC{0,20}", from in 0usize..100, length in 64usize..200, after in "\\PC{0,20}",
        ) {
            let piece: String = ASSERTION.chars().skip(from).take(length).collect();
            let text = format!("{before}{piece}{after}");
            let error = refused(&text, &[700_213], &text);
            let shown = format!("{error} {error:?} {:?}", error.source().map(ToString::to_string));
            let middle: String = piece.chars().take(64).collect();
            prop_assert!(!shown.contains(&middle), "{shown}");
        }
    }
}
