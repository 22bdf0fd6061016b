mod error_response;
mod request;
mod secret;

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};

use self::error_response::ErrorResponse;
use self::request::VaultRequest;
use self::secret::Secret;
use super::bearer::{BearerError, BearerVerifier};
use super::clock::Clock;
use super::guid::Guid;
use super::server::Service;
use super::time::unix_seconds;

/// The secrets of a vault, in memory: set, get, list, update, delete, recover and purge.
///
/// It returns the responses of the real service, including the challenge to a request without a
/// token. Soft delete is enabled, as in every vault since 2025. Permissions are not emulated: every
/// valid token may do everything.
///
/// Source: Key Vault REST reference (secrets, 7.4 to 2025-07-01) and "Authentication, requests and
/// responses".
pub(super) struct KeyVault {
    verifier: BearerVerifier,
    clock: Clock,
    secrets: Mutex<BTreeMap<String, Secret>>,
}

impl KeyVault {
    /// Creates an empty vault that accepts the tokens accepted by `verifier`.
    pub(super) fn new(verifier: BearerVerifier, clock: Clock) -> Self {
        Self {
            verifier,
            clock,
            secrets: Mutex::default(),
        }
    }

    /// Handles a request. Like the real service, it checks the token, `api-version` and name in
    /// this order.
    fn route(&self, raw: &Request<Bytes>) -> Result<Response<Bytes>, ErrorResponse> {
        self.authenticate(raw.headers())
            .map_err(|error| self.challenge(error))?;
        let request = VaultRequest::parse(raw);
        if request.parameter("api-version").is_none_or(str::is_empty) {
            return Err(ErrorResponse::bad_parameter(
                "api-version must be specified".to_owned(),
            ));
        }
        let segments: Vec<&str> = raw
            .uri()
            .path()
            .split('/')
            .filter(|part| !part.is_empty())
            .collect();
        if let Some(name) = segments.get(1).filter(|name| !is_name(name)) {
            return Err(ErrorResponse::bad_parameter(format!(
                "The request URI contains an invalid name: {name}"
            )));
        }

        let now = unix_seconds(self.clock.now());
        let mut secrets = self.secrets.lock().unwrap_or_else(PoisonError::into_inner);
        match segments.as_slice() {
            ["secrets", rest @ ..] => request.handle_secrets(&mut secrets, rest, now),
            ["deletedsecrets", rest @ ..] => request.handle_deleted_secrets(&mut secrets, rest),
            _ => Err(ErrorResponse::new(
                StatusCode::NOT_FOUND,
                "NotFound",
                "No such resource in this vault.".to_owned(),
            )),
        }
    }

    fn authenticate(&self, headers: &HeaderMap) -> Result<(), BearerError> {
        self.verifier.verify(headers, &[RESOURCE])
    }

    /// Returns the 401 response with the authorization URI and the resource.
    ///
    /// Messages with an `AKV` number are from Key Vault, the others from its token library.
    fn challenge(&self, error: BearerError) -> ErrorResponse {
        let message = match error {
            BearerError::Missing => "AKV10000: Request is missing a Bearer or PoP token.",
            BearerError::Malformed => "Error validating token: IDX12741: JWT must have three segments (JWS).",
            BearerError::Signature => "AKV10046: Unable to resolve the key used for signature validation.",
            BearerError::Issuer => "AKV10032: Invalid issuer.",
            BearerError::Audience => "AKV10022: Invalid audience. Expected https://vault.azure.net.",
            BearerError::NotYetValid => {
                "Error validating token: IDX10222: Lifetime validation failed. The token is not yet valid."
            }
            BearerError::Expired => {
                "Error validating token: IDX10223: Lifetime validation failed. The token is expired."
            }
            BearerError::ClaimsRequired | BearerError::Revoked => {
                "Continuous access evaluation resulted in a challenge: the token was revoked."
            }
        };
        if error == BearerError::ClaimsRequired {
            return ErrorResponse {
                challenge: HeaderValue::try_from(self.verifier.claims_challenge()).ok(),
                ..ErrorResponse::new(StatusCode::UNAUTHORIZED, "Unauthorized", message.to_owned())
            };
        }
        let mut challenge = format!(
            r#"Bearer authorization="{}", resource="{RESOURCE}""#,
            self.verifier.authorization_uri()
        );
        if error != BearerError::Missing {
            challenge.push_str(r#", error="invalid_token", error_description=""#);
            challenge.push_str(message);
            challenge.push('"');
        }
        ErrorResponse {
            challenge: HeaderValue::try_from(challenge).ok(),
            ..ErrorResponse::new(StatusCode::UNAUTHORIZED, "Unauthorized", message.to_owned())
        }
    }
}

#[async_trait]
impl Service for KeyVault {
    async fn handle(&self, request: Request<Bytes>) -> Response<Bytes> {
        finish(&request, self.route(&request))
    }

    fn is_authenticated(&self, request: &Request<Bytes>) -> bool {
        self.authenticate(request.headers()).is_ok()
    }

    fn failure(&self, status: StatusCode, request: &Request<Bytes>) -> Response<Bytes> {
        let error = if status == StatusCode::UNAUTHORIZED {
            let verified = self.authenticate(request.headers());
            // An injected 401 rejects a valid token as an expired one.
            self.challenge(verified.err().unwrap_or(BearerError::Expired))
        } else {
            ErrorResponse::from_status(status, request)
        };
        finish(request, Err(error))
    }
}

/// Adds the common headers.
fn finish(request: &Request<Bytes>, result: Result<Response<Bytes>, ErrorResponse>) -> Response<Bytes> {
    let mut response = result.unwrap_or_else(ErrorResponse::into_response);
    let headers = response.headers_mut();
    headers.insert(REGION, HeaderValue::from_static("emulator"));
    if let Ok(id) = HeaderValue::try_from(Guid::random().to_string()) {
        headers.insert(REQUEST_ID, id);
    }
    if let Some(id) = request.headers().get(&CLIENT_REQUEST_ID) {
        headers.insert(CLIENT_REQUEST_ID, id.clone());
    }
    response
}

fn is_name(name: &str) -> bool {
    (1..=LONGEST_NAME).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// The audience of Key Vault tokens, and the resource of the challenge.
const RESOURCE: &str = "https://vault.azure.net";

/// Source: Set Secret, "The name must be a 1-127 character string, starting with a letter and
/// containing only 0-9, a-z, A-Z, and -". The service also accepts a leading digit:
/// `^[0-9a-zA-Z-]+$`.
const LONGEST_NAME: usize = 127;

const REGION: HeaderName = HeaderName::from_static("x-ms-keyvault-region");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-ms-request-id");
const CLIENT_REQUEST_ID: HeaderName = HeaderName::from_static("x-ms-client-request-id");
