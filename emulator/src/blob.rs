mod account;
mod block_blob;
mod block_list;
mod container;
mod copy;
mod copy_source;
mod error_response;
mod header;
mod list;
mod metadata;
mod request;
mod response;
mod state;
mod xml;

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, DATE, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use percent_encoding::percent_decode_str;
use uuid::Uuid;

use self::copy_source::CopySource;
use self::error_response::ErrorResponse;
use self::header::set;
use self::request::BlobRequest;
use self::state::State;
use super::bearer::{BearerError, BearerVerifier, Claims};
use super::clock::Clock;
use super::permissions::{Action, Permissions, RoleScope};
use super::public_host::PublicHost;
use super::server::Service;

/// The Blob service of a storage account, in memory, at `/{account}` (path style, like Azurite).
///
/// It supports what the official client needs to upload, download, list and delete: Put Blob, block
/// lists, ranges, `ETag` and date conditions, MD5 checks and paged lists. Everything else (leases,
/// snapshots, tags, customer-provided keys, page and append blobs) returns 501. Every account exists, and
/// is empty at first; behind its host name it has no segment in the path. Metadata names are returned in lower
/// case.
///
/// Source: Blob service REST reference, versions 2017-11-09 (the first with bearer tokens) to
/// 2026-04-06.
pub(super) struct BlobAccount {
    verifier: BearerVerifier,
    permissions: Permissions,
    clock: Clock,
    /// The account of clients that know the port.
    name: String,
    port: u16,
    accounts: Mutex<BTreeMap<String, State>>,
}

impl BlobAccount {
    /// Creates an empty account that accepts the tokens accepted by `verifier`.
    ///
    /// * `account`, `port`: for clients that know the port.
    pub(super) fn new(
        verifier: BearerVerifier,
        permissions: Permissions,
        clock: Clock,
        account: &str,
        port: u16,
    ) -> Self {
        Self {
            verifier,
            permissions,
            clock,
            name: account.to_owned(),
            port,
            accounts: Mutex::default(),
        }
    }

    /// Removes all containers.
    pub(super) fn clear(&self) {
        self.accounts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }

    /// Creates a container if needed, and a blob in it.
    pub(super) fn put(&self, account: Option<&str>, container: &str, blob: Option<(&str, Bytes)>) {
        let account = account.unwrap_or(&self.name).to_ascii_lowercase();
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        let state = accounts.entry(account).or_default();
        state.put(container, blob, self.clock.now());
    }

    /// Handles a request; like the real service, it verifies the token first.
    fn route(&self, raw: &Request<Bytes>) -> Result<Response<Bytes>, ErrorResponse> {
        let account = self.account_of(raw);
        let request = BlobRequest::parse(raw);
        request.reject_other_credentials()?;
        let caller = self.authenticate(raw, &account)?;
        request.check_version()?;
        request.reject_unsupported()?;
        metadata::check(request.headers)?;
        let mut path = raw.uri().path().trim_start_matches('/');
        if PublicHost::of(raw).is_none() {
            // Behind the port, the first segment is the account.
            let (first, rest) = path.split_once('/').unwrap_or((path, ""));
            if first != self.name {
                return Err(ErrorResponse::resource_not_found());
            }
            path = rest;
        }
        let path = path.splitn(2, '/');
        let mut names = path.map(|part| percent_decode_str(part).decode_utf8_lossy().into_owned());
        let container = names.next().filter(|name| !name.is_empty());
        let blob = names.next().filter(|name| !name.is_empty());

        let now = self.clock.now();
        let authorize = |action, container: Option<&str>| {
            let scopes = scopes(&account, container);
            let is_allowed = self.permissions.allow(&caller.appid, action, &scopes, now);
            is_allowed
                .then_some(())
                .ok_or_else(ErrorResponse::permission_mismatch)
        };
        authorize(request.action(), container.as_deref())?;
        let source = request.copied_url();
        let source = source.map(|url| CopySource::parse(url, &account, self.port));
        let source = source.transpose()?;
        if let Some(source) = &source {
            authorize(Action::ReadBlob, Some(&source.container))?;
        }
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        let state = accounts.entry(account.clone()).or_default();
        let on_container = request.parameter("restype") == Some("container");
        match (container, blob) {
            (None, _) => state.handle_account(&request, &account, &caller, now),
            (Some(container), _) if !is_container_name(&container) => Err(ErrorResponse::bad_request(
                "InvalidResourceName",
                "The specified resource name contains invalid characters.",
            )),
            (Some(container), None) if on_container => {
                state.handle_container(container, &request, now, &account)
            }
            (Some(container), Some(blob)) => {
                state.handle_blob(&container, blob, &request, now, source.as_ref())
            }
            _ => Err(ErrorResponse::not_implemented()),
        }
    }

    fn account_of(&self, request: &Request<Bytes>) -> String {
        match PublicHost::of(request) {
            Some(PublicHost::BlobAccount(name)) => name,
            _ => self.name.clone(),
        }
    }

    /// Verifies the token. Storage accepts bearer tokens only from a service version that supports
    /// them.
    fn authenticate(&self, request: &Request<Bytes>, account: &str) -> Result<Claims, ErrorResponse> {
        let headers = request.headers();
        let version = headers
            .get(header::VERSION)
            .map_or(&[][..], HeaderValue::as_bytes);
        if headers.contains_key(AUTHORIZATION) && version < FIRST_VERSION_WITH_BEARER {
            return Err(ErrorResponse {
                detail: Some("Authentication scheme Bearer is not supported in this version."),
                ..ErrorResponse::new(
                    StatusCode::FORBIDDEN,
                    "AuthenticationFailed",
                    "Server failed to authenticate the request. Make sure the value of Authorization header is \
                     formed correctly including the signature.",
                )
            });
        }
        self.verify(headers, account)
            .map_err(|error| self.challenge(error, request))
    }

    fn verify(&self, headers: &HeaderMap, account: &str) -> Result<Claims, BearerError> {
        let own_audience = format!("https://{account}.blob.core.windows.net");
        self.verifier.verify(headers, &[RESOURCE, &own_audience])
    }

    /// Returns the 401 response with the authorization URI and the resource.
    fn challenge(&self, error: BearerError, request: &Request<Bytes>) -> ErrorResponse {
        let detail = match error {
            BearerError::Missing => None,
            BearerError::Malformed => Some("The token is not well formed."),
            BearerError::Signature => Some("Signature validation failed."),
            BearerError::Issuer => Some("Issuer validation failed. Issuer did not match."),
            BearerError::Audience => Some("Audience validation failed. Audience did not match."),
            BearerError::NotYetValid => Some("Lifetime validation failed. The token is not yet valid."),
            BearerError::Expired => Some("Lifetime validation failed. The token is expired."),
            BearerError::Revoked => Some("The token was revoked."),
        };
        let code = match error {
            BearerError::Missing => "NoAuthenticationInformation",
            _ => "InvalidAuthenticationInfo",
        };
        let uri = self.verifier.authorization_uri(request);
        let challenge = match error {
            BearerError::Revoked => self.verifier.claims_challenge(request),
            _ => format!("Bearer authorization_uri={uri}/oauth2/authorize resource_id={RESOURCE}"),
        };
        ErrorResponse {
            detail,
            header: Some((WWW_AUTHENTICATE, challenge)),
            ..ErrorResponse::new(
                StatusCode::UNAUTHORIZED,
                code,
                "Server failed to authenticate the request. Please refer to the information in the www-authenticate \
                 header.",
            )
        }
    }

    /// Adds the common headers, and removes the body for `HEAD`.
    fn finish(
        &self,
        request: &Request<Bytes>,
        result: Result<Response<Bytes>, ErrorResponse>,
    ) -> Response<Bytes> {
        let request_id = Uuid::new_v4().to_string();
        let time = httpdate::fmt_http_date(self.clock.now());
        let mut response = result.unwrap_or_else(|error| error.into_response(&request_id, &time));
        if request.method() == Method::HEAD {
            let length = response.body().len();
            set(response.headers_mut(), CONTENT_LENGTH, length);
            *response.body_mut() = Bytes::new();
        }
        let headers = response.headers_mut();
        set(headers, DATE, time);
        set(headers, header::REQUEST_ID, request_id);
        for echoed in [header::CLIENT_REQUEST_ID, header::VERSION] {
            if let Some(value) = request.headers().get(echoed) {
                set(headers, echoed, value);
            }
        }
        response
    }
}

#[async_trait]
impl Service for BlobAccount {
    async fn handle(&self, request: Request<Bytes>) -> Response<Bytes> {
        self.finish(&request, self.route(&request))
    }

    fn is_authenticated(&self, request: &Request<Bytes>) -> bool {
        self.authenticate(request, &self.account_of(request)).is_ok()
    }

    fn failure(&self, status: StatusCode, request: &Request<Bytes>) -> Response<Bytes> {
        let error = if status == StatusCode::UNAUTHORIZED {
            let verified = self.verify(request.headers(), &self.account_of(request));
            // An injected 401 rejects a valid token as an expired one.
            self.challenge(verified.err().unwrap_or(BearerError::Expired), request)
        } else {
            ErrorResponse::from_status(status, request)
        };
        self.finish(request, Err(error))
    }
}

/// Returns where a role for a request can apply.
fn scopes(account: &str, container: Option<&str>) -> Vec<RoleScope> {
    let mut scopes = vec![RoleScope::Account(account.to_owned())];
    if let Some(name) = container {
        scopes.push(RoleScope::Container(name.to_owned()));
        scopes.push(RoleScope::ContainerOf(account.to_owned(), name.to_owned()));
    }
    scopes
}

/// Container names have 3 to 63 lower-case letters, digits and single inner hyphens. Two special
/// names are allowed.
pub(super) fn is_container_name(name: &str) -> bool {
    let plain = (3..=63).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-')
        && !name.contains("--");
    plain || name == "$web" || name == "$root"
}

/// The audience of storage tokens; the service also accepts the URL of the account.
const RESOURCE: &str = "https://storage.azure.com";

/// Source: "Authorize with Microsoft Entra ID": "requests must use version 2017-11-09 or later".
const FIRST_VERSION_WITH_BEARER: &[u8] = b"2017-11-09";
