mod error_response;
mod request;
mod secret;

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use http::header::DATE;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use uuid::Uuid;

use self::error_response::ErrorResponse;
use self::request::VaultRequest;
use self::secret::Secret;
use super::bearer::{BearerError, BearerVerifier, Claims};
use super::clock::Clock;
use super::permissions::{Action, Permissions, RoleScope};
use super::public_host::PublicHost;
use super::server::Service;
use super::time::{is_plausible_version, unix_seconds};

/// The secrets of a vault, in memory: set, get, list, update, delete, recover and purge.
///
/// It returns the responses of the real service, including the challenge to a request without a
/// token. Soft delete is enabled, as in every vault since 2025. Every name of a vault exists, and is empty
/// at first.
///
/// Source: Key Vault REST reference (secrets, 7.4 to 2025-07-01) and "Authentication, requests and
/// responses".
pub(super) struct KeyVault {
    verifier: BearerVerifier,
    permissions: Permissions,
    clock: Clock,
    /// The secrets of each vault, by name; names are case-insensitive, so these are in lower case.
    vaults: Mutex<BTreeMap<String, BTreeMap<String, Secret>>>,
}

impl KeyVault {
    /// Creates an empty vault that accepts the tokens accepted by `verifier`.
    pub(super) fn new(verifier: BearerVerifier, permissions: Permissions, clock: Clock) -> Self {
        Self {
            verifier,
            permissions,
            clock,
            vaults: Mutex::default(),
        }
    }

    /// Removes all secrets.
    pub(super) fn clear(&self) {
        self.vaults.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Sets the value of a secret.
    pub(super) fn set_secret(&self, vault: &str, name: &str, value: &str) {
        let now = unix_seconds(self.clock.now());
        let mut vaults = self.vaults.lock().unwrap_or_else(PoisonError::into_inner);
        let secrets = vaults.entry(vault.to_ascii_lowercase()).or_default();
        let secret = secrets
            .entry(name.to_ascii_lowercase())
            .or_insert_with(|| Secret::new(name));
        secret.add_version(value.to_owned(), now);
    }

    /// Handles a request. Like the real service, it checks the token, `api-version` and name in
    /// this order.
    fn route(&self, raw: &Request<Bytes>) -> Result<Response<Bytes>, ErrorResponse> {
        let caller = self
            .authenticate(raw.headers())
            .map_err(|error| self.challenge(error, raw))?;
        let request = VaultRequest::parse(raw);
        let version = request.parameter("api-version").unwrap_or_default();
        if version.is_empty() {
            return Err(ErrorResponse::bad_parameter(
                "api-version must be specified".to_owned(),
            ));
        }
        if !is_version(version) {
            return Err(ErrorResponse::bad_parameter(format!(
                "The specified version ({version}) is not recognized. Consider using the latest supported version (2025-07-01)."
            )));
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

        let vault = vault_of(raw);
        let now = self.clock.now();
        let (action, name) = rbac_action(raw.method(), &segments);
        let scope = [RoleScope::Vault(vault.clone())];
        if !self.permissions.allow(&caller.appid, action, &scope, now) {
            return Err(ErrorResponse::not_authorized(
                &caller,
                name,
                &vault,
                segments.get(1).copied(),
            ));
        }
        let now = unix_seconds(now);
        let mut vaults = self.vaults.lock().unwrap_or_else(PoisonError::into_inner);
        let secrets = vaults.entry(vault).or_default();
        secrets.retain(|_, secret| !secret.is_purged(now));
        match segments.as_slice() {
            ["secrets", _, "backup"] | ["secrets", "restore"] if raw.method() == Method::POST => {
                Err(ErrorResponse::new(
                    StatusCode::NOT_IMPLEMENTED,
                    "NotImplemented",
                    "This emulator has no backups of secrets. Use Lowkey Vault for these.".to_owned(),
                ))
            }
            ["secrets", rest @ ..] => request.handle_secrets(secrets, rest, now),
            ["deletedsecrets", rest @ ..] => request.handle_deleted_secrets(secrets, rest),
            [
                "keys" | "certificates" | "deletedkeys" | "deletedcertificates",
                ..,
            ] => Err(ErrorResponse::new(
                StatusCode::NOT_IMPLEMENTED,
                "NotImplemented",
                "This emulator has secrets, no keys and no certificates. Use Lowkey Vault for these."
                    .to_owned(),
            )),
            _ => Err(ErrorResponse::new(
                StatusCode::NOT_FOUND,
                "NotFound",
                "No such resource in this vault.".to_owned(),
            )),
        }
    }

    fn authenticate(&self, headers: &HeaderMap) -> Result<Claims, BearerError> {
        self.verifier.verify(headers, &[RESOURCE])
    }

    /// Adds the common headers.
    fn finish(
        &self,
        request: &Request<Bytes>,
        result: Result<Response<Bytes>, ErrorResponse>,
    ) -> Response<Bytes> {
        let mut response = result.unwrap_or_else(ErrorResponse::into_response);
        let headers = response.headers_mut();
        let date = httpdate::fmt_http_date(self.clock.now());
        headers.extend(HeaderValue::try_from(date).ok().map(|date| (DATE, date)));
        headers.insert(REGION, HeaderValue::from_static("emulator"));
        if let Ok(id) = HeaderValue::try_from(Uuid::new_v4().to_string()) {
            headers.insert(REQUEST_ID, id);
        }
        if let Some(id) = request.headers().get(&CLIENT_REQUEST_ID) {
            headers.insert(CLIENT_REQUEST_ID, id.clone());
        }
        response
    }

    /// Returns the 401 response with the authorization URI and the resource.
    ///
    /// Messages with an `AKV` number are from Key Vault, the others from its token library.
    fn challenge(&self, error: BearerError, request: &Request<Bytes>) -> ErrorResponse {
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
            BearerError::Revoked => {
                "Continuous access evaluation resulted in a challenge: the token was revoked."
            }
        };
        if error == BearerError::Revoked {
            return ErrorResponse {
                challenge: HeaderValue::try_from(self.verifier.claims_challenge(request)).ok(),
                ..ErrorResponse::new(StatusCode::UNAUTHORIZED, "Unauthorized", message.to_owned())
            };
        }
        let mut challenge = format!(
            r#"Bearer authorization="{}", resource="{RESOURCE}""#,
            self.verifier.authorization_uri(request)
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
        self.finish(&request, self.route(&request))
    }

    fn is_authenticated(&self, request: &Request<Bytes>) -> bool {
        self.authenticate(request.headers()).is_ok()
    }

    fn failure(&self, status: StatusCode, request: &Request<Bytes>) -> Response<Bytes> {
        let error = if status == StatusCode::UNAUTHORIZED {
            let verified = self.authenticate(request.headers());
            // An injected 401 rejects a valid token as an expired one.
            self.challenge(verified.err().unwrap_or(BearerError::Expired), request)
        } else {
            let caller = self.authenticate(request.headers()).unwrap_or_default();
            ErrorResponse::from_status(status, request, &caller, &vault_of(request))
        };
        self.finish(request, Err(error))
    }
}

/// Returns the name of the vault that a request is for.
fn vault_of(request: &Request<Bytes>) -> String {
    match PublicHost::of(request) {
        Some(PublicHost::Vault(name)) => name,
        _ => OWN_VAULT.to_owned(),
    }
}

/// Returns what a request does, and the name of the action in Azure.
///
/// Source: Azure built-in roles, Key Vault Secrets User and Key Vault Secrets Officer.
fn rbac_action(method: &Method, path: &[&str]) -> (Action, &'static str) {
    match (method, path) {
        (&Method::GET, ["secrets", _]) => (Action::ReadSecret, "secrets/getSecret/action"),
        (&Method::GET, ["secrets", _, version]) if *version != "versions" => {
            (Action::ReadSecret, "secrets/getSecret/action")
        }
        (&Method::GET, ["secrets", ..]) => (Action::ReadSecret, "secrets/readMetadata/action"),
        (&Method::PUT, _) => (Action::WriteSecret, "secrets/setSecret/action"),
        (&Method::PATCH, _) => (Action::WriteSecret, "secrets/update/action"),
        (&Method::DELETE, ["deletedsecrets", ..]) => (Action::WriteSecret, "secrets/purge/action"),
        (&Method::DELETE, _) => (Action::WriteSecret, "secrets/delete"),
        (&Method::POST, _) => (Action::WriteSecret, "secrets/recover/action"),
        _ => (Action::WriteSecret, "deletedSecrets/read"),
    }
}

/// Whether `text` is a version of the API: 7.0 to 7.6, or the date of an older or newer one.
fn is_version(text: &str) -> bool {
    let stable = text.split_once("-preview").map_or(text, |(stable, _)| stable);
    matches!(stable, "7.0" | "7.1" | "7.2" | "7.3" | "7.4" | "7.5" | "7.6") || is_plausible_version(stable)
}

fn is_name(name: &str) -> bool {
    (1..=LONGEST_NAME).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// The audience of Key Vault tokens, and the resource of the challenge.
const RESOURCE: &str = "https://vault.azure.net";

/// The name of the vault for clients that know its port.
pub(super) const OWN_VAULT: &str = "emulator";

/// Source: Set Secret, "The name must be a 1-127 character string, starting with a letter and
/// containing only 0-9, a-z, A-Z, and -". The service also accepts a leading digit:
/// `^[0-9a-zA-Z-]+$`.
const LONGEST_NAME: usize = 127;

const REGION: HeaderName = HeaderName::from_static("x-ms-keyvault-region");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-ms-request-id");
const CLIENT_REQUEST_ID: HeaderName = HeaderName::from_static("x-ms-client-request-id");
