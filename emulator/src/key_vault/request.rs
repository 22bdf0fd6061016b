use std::collections::BTreeMap;

use bytes::Bytes;
use http::header::HOST;
use http::{Method, Request, Response, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use url::form_urlencoded;

use super::error_response::ErrorResponse;
use super::secret::{Attributes, Properties, RECOVERABLE_DAYS, Secret, SetSecret, Version};
use crate::server;

/// A parsed request.
pub(super) struct VaultRequest<'a> {
    method: &'a Method,
    body: &'a Bytes,
    /// The URL of the vault as seen by the client: `https://{host}`.
    vault: String,
    path: String,
    query: Vec<(String, String)>,
}

impl<'a> VaultRequest<'a> {
    pub(super) fn parse(request: &'a Request<Bytes>) -> Self {
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

    /// Handles requests below `/secrets`.
    pub(super) fn handle_secrets(
        &self,
        secrets: &mut BTreeMap<String, Secret>,
        path: &[&str],
        now: u64,
    ) -> Result<Response<Bytes>, ErrorResponse> {
        let stored = stored_name(secrets, path);
        match (self.method, with_name(path, stored.as_deref()).as_slice()) {
            (&Method::GET, []) => {
                let active = secrets.iter().filter(|(_, secret)| secret.deleted_on.is_none());
                self.page(active.filter_map(|(key, secret)| {
                    let id = self.id(&secret.name, None);
                    Some((key.as_str(), secret.latest()?.properties(&id)))
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
                    return Err(ErrorResponse::disabled());
                }
                Ok(server::json(
                    StatusCode::OK,
                    &version.bundle(&self.id(name, Some(&version.id))),
                ))
            }
            (&Method::PUT, [name]) => {
                let set: SetSecret = parse(self.body)?;
                if set.value.len() > LARGEST_VALUE {
                    return Err(ErrorResponse::bad_parameter(
                        "The secret value size exceeds 25k bytes.".to_owned(),
                    ));
                }
                check_tags(&set.properties)?;
                let secret = secrets
                    .entry(name.to_ascii_lowercase())
                    .or_insert_with(|| Secret::new(name));
                if secret.deleted_on.is_some() {
                    return Err(ErrorResponse::deleted_but_recoverable(name));
                }
                let version = Version {
                    id: format!("{:032x}", fastrand::u128(..)),
                    value: set.value,
                    content_type: set.properties.content_type,
                    tags: set.properties.tags,
                    attributes: Attributes::new(now).updated(&set.properties.attributes, now),
                };
                let bundle = version.bundle(&self.id(name, Some(&version.id)));
                secret.versions.push(version);
                Ok(server::json(StatusCode::OK, &bundle))
            }
            (&Method::PATCH, [name, version @ ..]) if version.len() < 2 => {
                let update: Properties = parse(self.body)?;
                check_tags(&update)?;
                let version = active(secrets, name)?.version(name, version.first().copied())?;
                version.attributes = version.attributes.updated(&update.attributes, now);
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
            _ => Err(ErrorResponse::method_not_allowed(self.method)),
        }
    }

    /// Handles requests below `/deletedsecrets`.
    pub(super) fn handle_deleted_secrets(
        &self,
        secrets: &mut BTreeMap<String, Secret>,
        path: &[&str],
    ) -> Result<Response<Bytes>, ErrorResponse> {
        let stored = stored_name(secrets, path);
        match (self.method, with_name(path, stored.as_deref()).as_slice()) {
            (&Method::GET, []) => self.page(secrets.iter().filter_map(|(key, secret)| {
                Some((
                    key.as_str(),
                    self.deleted(&secret.name, secret, secret.deleted_on?),
                ))
            })),
            (&Method::GET, [name]) => {
                let (secret, on) = deleted(secrets, name)?;
                Ok(server::json(StatusCode::OK, &self.deleted(name, secret, on)))
            }
            (&Method::DELETE, [name]) => {
                deleted(secrets, name)?;
                secrets.remove(&name.to_ascii_lowercase());
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
            _ => Err(ErrorResponse::method_not_allowed(self.method)),
        }
    }

    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.query
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// Returns the identifier of a secret or of one of its versions.
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

    /// Returns a page of `items`. The link to the next page has the last key of this page.
    ///
    /// * `items`: sorted by key.
    fn page<'i>(
        &self,
        items: impl Iterator<Item = (&'i str, Value)>,
    ) -> Result<Response<Bytes>, ErrorResponse> {
        let size = match self.parameter("maxresults").map(str::parse) {
            None => LARGEST_PAGE,
            Some(Ok(size)) if (1..=LARGEST_PAGE).contains(&size) => size,
            Some(_) => {
                return Err(ErrorResponse::bad_parameter(format!(
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

/// Returns the name of a secret as it was written first, if there is one.
fn stored_name(secrets: &BTreeMap<String, Secret>, path: &[&str]) -> Option<String> {
    let name = path.first()?;
    let secret = secrets.get(&name.to_ascii_lowercase());
    Some(secret.map_or_else(|| (*name).to_owned(), |secret| secret.name.clone()))
}

/// Replaces the first segment.
fn with_name<'a>(path: &[&'a str], name: Option<&'a str>) -> Vec<&'a str> {
    let rest = path.iter().skip(1).copied();
    name.into_iter().chain(rest).collect()
}

fn active<'a>(
    secrets: &'a mut BTreeMap<String, Secret>,
    name: &str,
) -> Result<&'a mut Secret, ErrorResponse> {
    secrets
        .get_mut(&name.to_ascii_lowercase())
        .filter(|secret| secret.deleted_on.is_none())
        .ok_or_else(|| ErrorResponse::not_found(name))
}

fn deleted<'a>(
    secrets: &'a mut BTreeMap<String, Secret>,
    name: &str,
) -> Result<(&'a mut Secret, u64), ErrorResponse> {
    secrets
        .get_mut(&name.to_ascii_lowercase())
        .and_then(|secret| secret.deleted_on.map(|on| (secret, on)))
        .ok_or_else(|| ErrorResponse::deleted_not_found(name))
}

fn parse<'a, T: Deserialize<'a>>(body: &'a Bytes) -> Result<T, ErrorResponse> {
    // The error of the parser may quote the body, which contains the secret.
    serde_json::from_slice(body).map_err(|_| {
        ErrorResponse::bad_parameter("The request body is not a valid secret parameter object.".to_owned())
    })
}

fn check_tags(properties: &Properties) -> Result<(), ErrorResponse> {
    let count = properties.tags.as_ref().map_or(0, BTreeMap::len);
    if count <= MOST_TAGS {
        return Ok(());
    }
    Err(ErrorResponse::bad_parameter(format!(
        "The secret has {count} tags; it can have {MOST_TAGS}."
    )))
}

fn empty(status: StatusCode) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = status;
    response
}

/// Source: "Azure Key Vault secrets": 25 KB.
const LARGEST_VALUE: usize = 25 * 1024;

/// Source: "About Azure Key Vault secrets", secret tags.
const MOST_TAGS: usize = 15;

/// Source: Get Secrets, `maxresults`: "If not specified the service will return up to 25 results."
const LARGEST_PAGE: usize = 25;
