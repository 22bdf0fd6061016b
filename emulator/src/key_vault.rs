use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{HOST, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use url::form_urlencoded;

use super::bearer::{BearerError, BearerVerifier};
use super::clock::Clock;
use super::guid::Guid;
use super::server::{self, Service};
use super::time::unix_seconds;

/// The secrets of one vault, in memory: set, get, list, update, delete, recover and purge.
///
/// It answers as the real service does, from the bare challenge that a client's first request meets to the errors
/// of a name that is deleted but not purged. Soft delete is on, as in every vault since 2025; permissions are not
/// modelled: whoever brings a valid token may do everything.
///
/// Source: Key Vault REST reference (secrets, 7.4 to 2025-07-01) and "Authentication, requests and responses".
pub(super) struct KeyVault {
    verifier: BearerVerifier,
    clock: Clock,
    secrets: Mutex<BTreeMap<String, Secret>>,
}

impl KeyVault {
    /// An empty vault that takes the tokens that `verifier` finds right.
    pub(super) fn new(verifier: BearerVerifier, clock: Clock) -> Self {
        Self {
            verifier,
            clock,
            secrets: Mutex::default(),
        }
    }

    /// The answer to one request, in the service's order: the token, then `api-version`, then the name, then the rest.
    fn answer(&self, request: &Request<Bytes>) -> Result<Response<Bytes>, Refusal> {
        self.verifier
            .verify(request.headers(), &[RESOURCE])
            .map_err(|error| self.challenge(error))?;
        let call = Call::of(request);
        if call.parameter("api-version").is_none_or(str::is_empty) {
            return Err(Refusal::bad_parameter("api-version must be specified".to_owned()));
        }
        let segments: Vec<&str> = request
            .uri()
            .path()
            .split('/')
            .filter(|part| !part.is_empty())
            .collect();
        if let Some(name) = segments.get(1).filter(|name| !is_name(name)) {
            return Err(Refusal::bad_parameter(format!(
                "The request URI contains an invalid name: {name}"
            )));
        }

        let now = unix_seconds(self.clock.now());
        let mut secrets = self.secrets.lock().unwrap_or_else(PoisonError::into_inner);
        match segments.as_slice() {
            ["secrets", rest @ ..] => call.answer(&mut secrets, rest, now),
            ["deletedsecrets", rest @ ..] => call.answer_deleted(&mut secrets, rest),
            _ => Err(Refusal::new(
                StatusCode::NOT_FOUND,
                "NotFound",
                "No such resource in this vault.".to_owned(),
            )),
        }
    }

    /// The 401 with which the service tells a client whom to ask for a token, and for what.
    ///
    /// The texts with an `AKV` number are the service's own; it takes the others from the library that reads the token.
    fn challenge(&self, error: BearerError) -> Refusal {
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
        };
        let mut challenge = format!(
            r#"Bearer authorization="{}", resource="{RESOURCE}""#,
            self.verifier.authorization_uri()
        );
        if error != BearerError::Missing {
            challenge.push_str(r#", error="invalid_token", error_description=""#);
            challenge.push_str(message);
            challenge.push('"');
        }
        Refusal {
            challenge: HeaderValue::try_from(challenge).ok(),
            ..Refusal::new(StatusCode::UNAUTHORIZED, "Unauthorized", message.to_owned())
        }
    }
}

#[async_trait]
impl Service for KeyVault {
    async fn handle(&self, request: Request<Bytes>) -> Response<Bytes> {
        let mut response = self.answer(&request).unwrap_or_else(Refusal::into_response);
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
}

/// One name of the vault with all its versions, the latest last; never without one, except while the first is set.
#[derive(Default)]
struct Secret {
    versions: Vec<Version>,
    /// Seconds since 1970; a name that has it lives on under `/deletedsecrets` only.
    deleted_on: Option<u64>,
}

impl Secret {
    fn latest(&self) -> Option<&Version> {
        self.versions.last()
    }

    fn version(&mut self, name: &str, id: Option<&str>) -> Result<&mut Version, Refusal> {
        match id {
            None => self.versions.last_mut(),
            Some(id) => self.versions.iter_mut().find(|version| version.id == id),
        }
        .ok_or_else(|| Refusal::not_found(&id.map_or(name.to_owned(), |id| format!("{name}/{id}"))))
    }
}

/// One version of a secret. No `Debug`: it holds the value.
struct Version {
    id: String,
    value: String,
    content_type: Option<String>,
    tags: Option<BTreeMap<String, String>>,
    attributes: Attributes,
}

impl Version {
    /// What lists show: everything but the value.
    fn properties(&self, id: &str) -> Value {
        let mut properties = json!({ "id": id, "attributes": self.attributes });
        if let Value::Object(fields) = &mut properties {
            fields.extend(
                self.content_type
                    .as_ref()
                    .map(|it| ("contentType".to_owned(), json!(it))),
            );
            fields.extend(self.tags.as_ref().map(|it| ("tags".to_owned(), json!(it))));
        }
        properties
    }

    /// What `get` and `set` answer: the properties and the value.
    fn bundle(&self, id: &str) -> Value {
        let mut bundle = self.properties(id);
        if let Value::Object(fields) = &mut bundle {
            fields.insert("value".to_owned(), json!(self.value));
        }
        bundle
    }
}

/// The attributes of a version; times are seconds since 1970.
#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
struct Attributes {
    enabled: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    nbf: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exp: Option<u64>,
    created: u64,
    updated: u64,
    recovery_level: &'static str,
    recoverable_days: u64,
}

impl Attributes {
    fn new(now: u64) -> Self {
        Self {
            enabled: true,
            nbf: None,
            exp: None,
            created: now,
            updated: now,
            recovery_level: "Recoverable+Purgeable",
            recoverable_days: RECOVERABLE_DAYS,
        }
    }

    fn with(self, asked: &AskedAttributes, now: u64) -> Self {
        Self {
            enabled: asked.enabled.unwrap_or(self.enabled),
            nbf: asked.nbf.or(self.nbf),
            exp: asked.exp.or(self.exp),
            updated: now,
            ..self
        }
    }
}

#[derive(Deserialize)]
struct SetSecret {
    value: String,
    #[serde(flatten)]
    properties: Properties,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Properties {
    content_type: Option<String>,
    tags: Option<BTreeMap<String, String>>,
    #[serde(default)]
    attributes: AskedAttributes,
}

#[derive(Default, Deserialize)]
struct AskedAttributes {
    enabled: Option<bool>,
    nbf: Option<u64>,
    exp: Option<u64>,
}

/// One request, read.
struct Call<'a> {
    method: &'a Method,
    body: &'a Bytes,
    /// Where the client found the vault: `https://{host}`.
    vault: String,
    path: String,
    query: Vec<(String, String)>,
}

impl<'a> Call<'a> {
    fn of(request: &'a Request<Bytes>) -> Self {
        let uri = request.uri();
        let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
        let host = host
            .or(uri.authority().map(http::uri::Authority::as_str))
            .unwrap_or("localhost");
        Self {
            method: request.method(),
            body: request.body(),
            vault: format!("https://{host}"),
            path: uri.path().to_owned(),
            query: form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes())
                .into_owned()
                .collect(),
        }
    }

    /// What is done under `/secrets`.
    fn answer(
        &self,
        secrets: &mut BTreeMap<String, Secret>,
        path: &[&str],
        now: u64,
    ) -> Result<Response<Bytes>, Refusal> {
        match (self.method, path) {
            (&Method::GET, []) => {
                let active = secrets.iter().filter(|(_, secret)| secret.deleted_on.is_none());
                self.page(active.filter_map(|(name, secret)| {
                    Some((name.as_str(), secret.latest()?.properties(&self.id(name, None))))
                }))
            }
            (&Method::GET, [name, "versions"]) => {
                let versions = &active(secrets, name)?.versions;
                let by_id: BTreeMap<_, _> = versions
                    .iter()
                    .map(|version| (version.id.as_str(), version))
                    .collect();
                self.page(
                    by_id
                        .into_iter()
                        .map(|(id, version)| (id, version.properties(&self.id(name, Some(id))))),
                )
            }
            (&Method::GET, [name, version @ ..]) if version.len() < 2 => {
                let version = active(secrets, name)?.version(name, version.first().copied())?;
                if !version.attributes.enabled {
                    return Err(Refusal::disabled());
                }
                Ok(server::json(
                    StatusCode::OK,
                    &version.bundle(&self.id(name, Some(&version.id))),
                ))
            }
            (&Method::PUT, [name]) => {
                let set: SetSecret = parse(self.body)?;
                if set.value.len() > LARGEST_VALUE {
                    return Err(Refusal::bad_parameter(
                        "The secret value size exceeds 25k bytes.".to_owned(),
                    ));
                }
                let secret = secrets.entry((*name).to_owned()).or_default();
                if secret.deleted_on.is_some() {
                    return Err(Refusal::deleted_but_recoverable(name));
                }
                let version = Version {
                    id: format!("{:032x}", fastrand::u128(..)),
                    value: set.value,
                    content_type: set.properties.content_type,
                    tags: set.properties.tags,
                    attributes: Attributes::new(now).with(&set.properties.attributes, now),
                };
                let bundle = version.bundle(&self.id(name, Some(&version.id)));
                secret.versions.push(version);
                Ok(server::json(StatusCode::OK, &bundle))
            }
            (&Method::PATCH, [name, version @ ..]) if version.len() < 2 => {
                let update: Properties = parse(self.body)?;
                let version = active(secrets, name)?.version(name, version.first().copied())?;
                version.attributes = version.attributes.with(&update.attributes, now);
                version.content_type = update.content_type.or(version.content_type.take());
                version.tags = update.tags.or(version.tags.take());
                Ok(server::json(
                    StatusCode::OK,
                    &version.properties(&self.id(name, Some(&version.id))),
                ))
            }
            (&Method::DELETE, [name]) => {
                let secret = active(secrets, name)?;
                secret.deleted_on = Some(now);
                Ok(server::json(StatusCode::OK, &self.deleted(name, secret, now)))
            }
            _ => Err(self.not_allowed()),
        }
    }

    /// What is done under `/deletedsecrets`.
    fn answer_deleted(
        &self,
        secrets: &mut BTreeMap<String, Secret>,
        path: &[&str],
    ) -> Result<Response<Bytes>, Refusal> {
        match (self.method, path) {
            (&Method::GET, []) => self.page(secrets.iter().filter_map(|(name, secret)| {
                Some((name.as_str(), self.deleted(name, secret, secret.deleted_on?)))
            })),
            (&Method::GET, [name]) => {
                let (secret, on) = deleted(secrets, name)?;
                Ok(server::json(StatusCode::OK, &self.deleted(name, secret, on)))
            }
            (&Method::DELETE, [name]) => {
                deleted(secrets, name)?;
                secrets.remove(*name);
                Ok(empty(StatusCode::NO_CONTENT))
            }
            (&Method::POST, [name, "recover"]) => {
                let (secret, _) = deleted(secrets, name)?;
                secret.deleted_on = None;
                let version = secret.version(name, None)?;
                Ok(server::json(
                    StatusCode::OK,
                    &version.properties(&self.id(name, Some(&version.id))),
                ))
            }
            _ => Err(self.not_allowed()),
        }
    }

    fn not_allowed(&self) -> Refusal {
        Refusal::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "MethodNotAllowed",
            format!("HTTP {} is not supported on this resource", self.method),
        )
    }

    fn parameter(&self, name: &str) -> Option<&str> {
        self.query
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// The identifier of a secret, or of one of its versions.
    fn id(&self, name: &str, version: Option<&str>) -> String {
        let version = version.map(|version| format!("/{version}")).unwrap_or_default();
        format!("{}/secrets/{name}{version}", self.vault)
    }

    fn deleted(&self, name: &str, secret: &Secret, on: u64) -> Value {
        let Some(latest) = secret.latest() else {
            return Value::Null;
        };
        let mut properties = latest.properties(&self.id(name, Some(&latest.id)));
        if let Value::Object(fields) = &mut properties {
            fields.insert(
                "recoveryId".to_owned(),
                json!(format!("{}/deletedsecrets/{name}", self.vault)),
            );
            fields.insert("deletedDate".to_owned(), json!(on));
            fields.insert(
                "scheduledPurgeDate".to_owned(),
                json!(on + RECOVERABLE_DAYS * 86_400),
            );
        }
        properties
    }

    /// One page of `items`, which come sorted by key; the link to the next page names the last key of this one.
    fn page<'i>(&self, items: impl Iterator<Item = (&'i str, Value)>) -> Result<Response<Bytes>, Refusal> {
        let size = match self.parameter("maxresults").map(str::parse) {
            None => LARGEST_PAGE,
            Some(Ok(size)) if (1..=LARGEST_PAGE).contains(&size) => size,
            Some(_) => {
                return Err(Refusal::bad_parameter(format!(
                    "Invalid maxresults; it must be between 1 and {LARGEST_PAGE}."
                )));
            }
        };
        let after = self.parameter("$skiptoken").unwrap_or_default();
        let mut rest = items.skip_while(|(key, _)| *key <= after).peekable();
        let (mut last, mut value) = (None, Vec::new());
        for (key, item) in rest.by_ref().take(size) {
            last = Some(key);
            value.push(item);
        }
        let next = last.filter(|_| rest.peek().is_some()).map(|last| {
            let kept = self.query.iter().filter(|(key, _)| key != "$skiptoken");
            let query = form_urlencoded::Serializer::new(String::new())
                .extend_pairs(kept)
                .append_pair("$skiptoken", last)
                .finish();
            format!("{}{}?{query}", self.vault, self.path)
        });
        Ok(server::json(
            StatusCode::OK,
            &json!({ "value": value, "nextLink": next }),
        ))
    }
}

/// An error of the service: `{"error":{"code","message","innererror":{"code"}?}}`.
struct Refusal {
    status: StatusCode,
    code: &'static str,
    message: String,
    inner_code: Option<&'static str>,
    challenge: Option<HeaderValue>,
}

impl Refusal {
    fn new(status: StatusCode, code: &'static str, message: String) -> Self {
        Self {
            status,
            code,
            message,
            inner_code: None,
            challenge: None,
        }
    }

    fn bad_parameter(message: String) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadParameter", message)
    }

    fn not_found(name: &str) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "SecretNotFound",
            format!(
                "A secret with (name/id) {name} was not found in this key vault. If you recently deleted this secret \
                 you may be able to recover it using the correct recovery command."
            ),
        )
    }

    fn disabled() -> Self {
        Self {
            inner_code: Some("SecretDisabled"),
            ..Self::new(
                StatusCode::FORBIDDEN,
                "Forbidden",
                "Operation get is not allowed on a disabled secret.".to_owned(),
            )
        }
    }

    fn deleted_but_recoverable(name: &str) -> Self {
        Self {
            inner_code: Some("ObjectIsDeletedButRecoverable"),
            ..Self::new(
                StatusCode::CONFLICT,
                "Conflict",
                format!(
                    "Secret {name} is currently in a deleted but recoverable state, and its name cannot be reused; \
                     in this state, the secret can only be recovered or purged."
                ),
            )
        }
    }

    fn into_response(self) -> Response<Bytes> {
        let mut error = json!({ "code": self.code, "message": self.message });
        if let (Value::Object(fields), Some(code)) = (&mut error, self.inner_code) {
            fields.insert("innererror".to_owned(), json!({ "code": code }));
        }
        let mut response = server::json(self.status, &json!({ "error": error }));
        let headers: &mut HeaderMap = response.headers_mut();
        headers.extend(self.challenge.map(|challenge| (WWW_AUTHENTICATE, challenge)));
        response
    }
}

fn active<'a>(secrets: &'a mut BTreeMap<String, Secret>, name: &str) -> Result<&'a mut Secret, Refusal> {
    secrets
        .get_mut(name)
        .filter(|secret| secret.deleted_on.is_none())
        .ok_or_else(|| Refusal::not_found(name))
}

fn deleted<'a>(
    secrets: &'a mut BTreeMap<String, Secret>,
    name: &str,
) -> Result<(&'a mut Secret, u64), Refusal> {
    secrets
        .get_mut(name)
        .and_then(|secret| secret.deleted_on.map(|on| (secret, on)))
        .ok_or_else(|| {
            let message = format!("Deleted Secret not found: {name}");
            Refusal::new(StatusCode::NOT_FOUND, "SecretNotFound", message)
        })
}

fn parse<'a, T: Deserialize<'a>>(body: &'a Bytes) -> Result<T, Refusal> {
    // The parser's own message would quote the body, and with it the secret.
    serde_json::from_slice(body).map_err(|_| {
        Refusal::bad_parameter("The request body is not a valid secret parameter object.".to_owned())
    })
}

fn is_name(name: &str) -> bool {
    (1..=LONGEST_NAME).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

fn empty(status: StatusCode) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = status;
    response
}

/// What a token must be for, and what the challenge names.
const RESOURCE: &str = "https://vault.azure.net";

/// "The name must be a 1-127 character string, starting with a letter and containing only 0-9, a-z, A-Z, and -";
/// the service itself takes a digit in front too. Source: Set Secret, `^[0-9a-zA-Z-]+$`.
const LONGEST_NAME: usize = 127;

/// Source: "Azure Key Vault secrets", 25 KB a value.
const LARGEST_VALUE: usize = 25 * 1024;

/// Source: Get Secrets, `maxresults`: "If not specified the service will return up to 25 results."
const LARGEST_PAGE: usize = 25;

/// How long a deleted secret can be recovered in a vault that was made with the defaults.
const RECOVERABLE_DAYS: u64 = 90;

const REGION: HeaderName = HeaderName::from_static("x-ms-keyvault-region");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-ms-request-id");
const CLIENT_REQUEST_ID: HeaderName = HeaderName::from_static("x-ms-client-request-id");
