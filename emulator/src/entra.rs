mod access_token;
mod administration;
mod claims_request;
mod directory;
mod discovery;
mod error_response;
mod federated_credential;
mod issuer_keys;
mod resources;
mod token_request;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, DATE, PRAGMA, RETRY_AFTER};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use serde_json::{Value, json};

pub(super) use self::access_token::IssuedToken;
use self::access_token::{Principal, exchange_issuer, token_issuer};
use self::claims_request::ClaimsRequest;
use self::directory::{Application, Directory};
use self::error_response::{ErrorResponse, RequestIds};
pub use self::federated_credential::FederatedCredential;
pub(super) use self::issuer_keys::IssuerKeys;
use self::token_request::{Assertion, Form, resource_from_scope};
use super::bearer::BearerVerifier;
use super::clock::Clock;
use super::guid::is_guid;
use super::jwt::{SigningKey, key_set};
use super::managed_identity::ManagedIdentity;
use super::public_host::login_url;
use super::revocations::Revocations;
use super::server::{Service, json};
use super::time::unix_seconds;

/// Microsoft Entra with one tenant.
///
/// The token endpoint accepts federated assertions, assertions signed with a certificate, and
/// client secrets. Invalid requests get the status, OAuth error and AADSTS code of the real
/// service. The first failed check determines the code:
///
/// 1. Tenant (90002, 900023), grant type (900144, 70003), client (900144, 700016, 7000112).
/// 2. Client secret, if present: value (7000215), expiry (7000222).
/// 3. Client assertion: present (7000218), a JWT (50027).
/// 4. An assertion issued by the client itself: algorithm PS256 or RS256 (5002738), certificate by
///    its SHA-256 thumbprint (700027), signature (700027), subject (700021), audience, which is the
///    token endpoint (700023), validity (700024).
/// 5. Any other assertion: the application has federated credentials (70025), the assertion is not
///    a token of Entra (700222), and issuer (700211), subject (700213; 7002138 if only upper and lower case differ) and audience (700212) are
///    equal to those of a federated credential, byte for byte. Of the tokens of Entra for
///    `api://AzureADTokenExchange`, only those of a managed identity are accepted: neither those of an
///    application (700226) nor those obtained with a federated credential (700231).
/// 6. Its signing key, by key ID (7000272), and its signature (700027). The keys of the issuer are
///    fetched once, and again for an unknown key ID or after a reset. An unreachable issuer is 90061, an invalid
///    response 50166.
/// 7. Its validity (700024), with a clock skew of five minutes.
/// 8. Scope (900144, 1002012, 28000, 70011) and resource (500011).
/// 9. Claims, if present: a claims request in JSON, whose `nbf` is not in the future (90023).
///
/// Before all of these come an outage (90033) and a limit of requests (90055), and after the authentication revoked
/// sign-ins (50173) and a policy of conditional access (53003), if a test has ordered them.
///
/// Source: Microsoft identity platform, error codes and client credentials flow. Undocumented
/// responses follow public bug reports.
///
/// # Examples
///
/// ```
/// use entra_workload_emulator::Emulator;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> std::io::Result<()> {
/// let emulator = Emulator::start().await?;
/// let client_id = "7a5ff21b-4f5b-4f5b-9e3e-2c0b5a1d9a10";
/// emulator.entra().set_client_secret(client_id, "secret");
/// emulator.entra().register_resource("api://orders");
/// emulator.entra().disable_application(client_id); // token requests get AADSTS7000112
/// # Ok(()) }
/// ```
pub struct Entra {
    tenant_id: String,
    /// The URL of the server, with a trailing slash.
    authority: String,
    key: SigningKey,
    issuer_keys: IssuerKeys,
    revocations: Revocations,
    clock: Clock,
    directory: Mutex<Directory>,
    /// The applications that a reset leads back to.
    baseline: Mutex<HashMap<String, Application>>,
}

impl Entra {
    pub(super) fn new(
        tenant_id: String,
        authority: String,
        key: SigningKey,
        issuer_keys: IssuerKeys,
        clock: Clock,
    ) -> Self {
        Self {
            tenant_id,
            authority,
            key,
            issuer_keys,
            revocations: Revocations::default(),
            clock,
            directory: Mutex::new(Directory::new()),
            baseline: Mutex::default(),
        }
    }

    /// The tenant ID, a GUID in lower case.
    pub fn tenant_id(&self) -> &str {
        &self.tenant_id
    }

    /// Returns a verifier of the access tokens issued here.
    pub(super) fn verifier(&self) -> BearerVerifier {
        BearerVerifier::new(
            self.key.public().clone(),
            token_issuer(&self.tenant_id),
            self.authority.clone(),
            self.tenant_id.clone(),
            self.revocations.clone(),
            self.clock.clone(),
        )
    }

    fn directory(&self) -> MutexGuard<'_, Directory> {
        self.directory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn token(
        &self,
        tenant: &str,
        request: &Request<Bytes>,
        version: Version,
    ) -> Result<Value, ErrorResponse> {
        if request.method() != Method::POST {
            return Err(ErrorResponse::new(
                900_561,
                "The endpoint only accepts POST requests.",
            ));
        }
        self.directory().admit(unix_seconds(self.clock.now()))?;
        self.check_tenant(tenant)?;
        let form = Form::parse(request.body()).with_basic(request.headers());
        if form.required("grant_type")? != "client_credentials" {
            return Err(ErrorResponse::new(
                70_003,
                "The app requested an unsupported grant type.",
            ));
        }
        let client_id = form.required("client_id")?.to_lowercase();
        let application = self
            .directory()
            .enabled_application(&client_id, &self.tenant_id)?;
        let mut is_federated = false;
        let appidacr = if let Some(secret) = form.field("client_secret") {
            application.check_secret(secret)?;
            "1"
        } else {
            let login_url = login_url(request, &self.authority);
            let own = [login_url.as_str(), &self.authority, PUBLIC_LOGIN_URL];
            let own = own.map(|login_url| format!("{login_url}{tenant}/{}/token", version.path()));
            let assertion = Assertion::parse(&form)?;
            let issued_at = assertion.issued_at();
            is_federated = !assertion.claims().iss.eq_ignore_ascii_case(&client_id);
            self.check_assertion(assertion, &client_id, &application, &own)
                .await?;
            application.check_sign_in(issued_at)?;
            "2"
        };
        application.check_policy(&client_id)?;
        let resource = match version {
            Version::One => form.required("resource")?.to_owned(),
            Version::Two => resource_from_scope(form.required("scope")?)?,
        };
        self.directory().check_resource(&resource, &self.tenant_id)?;
        let claims = ClaimsRequest::parse(form.field("claims"), unix_seconds(self.clock.now()))?;
        let principal = Principal {
            client_id: &client_id,
            object_id: &application.object_id,
            appidacr,
            resource_id: None,
            is_federated,
            handles_claims_challenges: claims.handles_claims_challenges(),
        };
        let issued = self.issue(&principal, &resource);
        Ok(match version {
            Version::One => issued.to_version_1(&resource),
            Version::Two => self.token_response(&issued),
        })
    }

    async fn check_assertion(
        &self,
        assertion: Assertion,
        client_id: &str,
        application: &Application,
        token_endpoints: &[String],
    ) -> Result<(), ErrorResponse> {
        let now = self.clock.now();
        if assertion.claims().iss.eq_ignore_ascii_case(client_id) {
            assertion.check_certificate(&application.certificates, client_id, token_endpoints)?;
            return assertion.check_times(now);
        }
        if application.federated_credentials.is_empty() {
            return Err(ErrorResponse::no_federated_credentials(client_id));
        }
        let version_2 = format!("{}{}/v2.0", self.authority, self.tenant_id);
        if [token_issuer(&self.tenant_id), version_2].contains(&assertion.claims().iss) {
            let text = "Tokens issued by Entra itself may not be used for federated identity flows.";
            return Err(ErrorResponse::new(700_222, text));
        }
        if assertion.claims().iss == exchange_issuer(&self.tenant_id) {
            let assertion = assertion.with_audience_uri();
            assertion.check_match(&application.federated_credentials)?;
            assertion.check_managed_identity(self.key.public())?;
            return assertion.check_times(now);
        }
        assertion.check_match(&application.federated_credentials)?;
        assertion.check_signature(&self.issuer_keys).await?;
        assertion.check_times(now)?;
        assertion.check_lifetime()
    }

    /// Issues a token for a managed identity.
    pub(super) fn issue_to_managed_identity(
        &self,
        identity: &ManagedIdentity,
        resource: &str,
    ) -> Result<IssuedToken, NoToken> {
        self.directory()
            .check_managed_identity(&identity.client_id, resource, &self.tenant_id)
            .map_err(|error| {
                if error.status().is_server_error() {
                    return NoToken::Outage;
                }
                NoToken::Refused(error.to_json(&self.authority, &RequestIds::random(), self.clock.now()))
            })?;
        let principal = Principal {
            client_id: &identity.client_id,
            object_id: &identity.object_id,
            appidacr: "2",
            resource_id: Some(&identity.resource_id),
            is_federated: false,
            handles_claims_challenges: false,
        };
        Ok(self.issue(&principal, resource))
    }

    fn check_tenant(&self, tenant: &str) -> Result<(), ErrorResponse> {
        if tenant.eq_ignore_ascii_case(&self.tenant_id) {
            return Ok(());
        }
        if is_guid(tenant) || tenant.contains('.') {
            let text =
                format!("Tenant '{tenant}' not found. Check to make sure you have the correct tenant ID.");
            return Err(ErrorResponse::new(90_002, text));
        }
        let text = format!(
            "Specified tenant identifier '{tenant}' is neither a valid DNS name, nor a valid external domain."
        );
        Err(ErrorResponse::new(900_023, text))
    }

    fn issue(&self, principal: &Principal<'_>, resource: &str) -> IssuedToken {
        let lifetime = self.directory().access_token_lifetime.as_secs();
        let now = unix_seconds(self.clock.now());
        principal.issue(
            &self.tenant_id,
            resource,
            &self.key,
            &self.revocations,
            now,
            lifetime,
        )
    }

    fn token_response(&self, issued: &IssuedToken) -> Value {
        let mut response = json!({
            "token_type": "Bearer",
            "expires_in": issued.lifetime,
            "ext_expires_in": issued.lifetime,
            "access_token": issued.token,
        });
        let refresh_in = self.directory().refresh_in;
        if let (Some(refresh_in), Some(response)) = (refresh_in, response.as_object_mut()) {
            response.insert("refresh_in".to_owned(), refresh_in.as_secs().into());
        }
        response
    }

    /// Returns the status, the body and the seconds in `Retry-After` of the response.
    async fn route(&self, request: &Request<Bytes>, ids: &RequestIds) -> (StatusCode, Value, Option<u64>) {
        let (tenant, endpoint) = split_path(request.uri().path());
        let login_url = login_url(request, &self.authority);
        let result = match (request.method(), endpoint) {
            (_, "oauth2/v2.0/token") => self.token(tenant, request, Version::Two).await,
            (_, "oauth2/token") => self.token(tenant, request, Version::One).await,
            (&Method::GET, "v2.0/.well-known/openid-configuration") => self
                .check_public(tenant)
                .map(|()| discovery::version_2(&login_url, tenant)),
            (&Method::GET, ".well-known/openid-configuration") => self
                .check_public(tenant)
                .map(|()| discovery::version_1(&login_url, tenant)),
            (&Method::GET, "discovery/v2.0/keys" | "discovery/keys") => {
                self.check_public(tenant).map(|()| key_set([self.key.public()]))
            }
            (&Method::GET, "discovery/instance") => self.instance(request, &login_url),
            (method, _) => {
                let text = format!(
                    "The emulator has no {method} {}. It has {ENDPOINTS}.",
                    request.uri().path()
                );
                let body = json!({ "error": "not_found", "error_description": text });
                return (StatusCode::NOT_FOUND, body, None);
            }
        };
        match result {
            Ok(body) => (StatusCode::OK, body, None),
            Err(error) => {
                let body = error.to_json(&login_url, ids, self.clock.now());
                (error.status(), body, error.retry_after)
            }
        }
    }

    /// Checks the tenant of a document that is the same for everybody.
    fn check_public(&self, tenant: &str) -> Result<(), ErrorResponse> {
        if discovery::is_several(tenant) {
            return Ok(());
        }
        self.check_tenant(tenant)
            .map_err(|error| error.named("invalid_tenant"))
    }

    fn instance(&self, request: &Request<Bytes>, login_url: &str) -> Result<Value, ErrorResponse> {
        let query = request.uri().query().unwrap_or_default();
        let query = Form::parse(query.as_bytes());
        let authority = query.required("authorization_endpoint")?;
        let own_host = self
            .authority
            .trim_start_matches("https://")
            .trim_end_matches('/');
        discovery::instance(login_url, own_host, authority).ok_or_else(|| {
            let text = format!("Unknown or invalid instance: {authority}.");
            ErrorResponse::new(50_049, text).named("invalid_instance")
        })
    }
}

#[async_trait]
impl Service for Entra {
    async fn handle(&self, request: Request<Bytes>) -> Response<Bytes> {
        let ids = RequestIds::from_request(&request);
        let (status, body, retry_after) = self.route(&request, &ids).await;
        let mut response = respond(status, &body, &ids);
        let seconds = retry_after.map(HeaderValue::from);
        response
            .headers_mut()
            .extend(seconds.map(|seconds| (RETRY_AFTER, seconds)));
        // Programs compare their clock with this one.
        if let Ok(date) = HeaderValue::from_str(&httpdate::fmt_http_date(self.clock.now())) {
            response.headers_mut().insert(DATE, date);
        }
        response
    }

    fn failure(&self, status: StatusCode, request: &Request<Bytes>) -> Response<Bytes> {
        let ids = RequestIds::from_request(request);
        let error = ErrorResponse::from_status(status, &Form::parse(request.body()));
        let body = error.to_json(&login_url(request, &self.authority), &ids, self.clock.now());
        let mut response = respond(status, &body, &ids);
        if status == StatusCode::TOO_MANY_REQUESTS {
            response
                .headers_mut()
                .insert(RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECONDS));
        }
        response
    }
}

impl fmt::Debug for Entra {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entra")
            .field("tenant_id", &self.tenant_id)
            .field("authority", &self.authority)
            .finish_non_exhaustive()
    }
}

fn respond(status: StatusCode, body: &Value, ids: &RequestIds) -> Response<Bytes> {
    let mut response = json(status, body);
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store, no-cache"));
    headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
    for (name, id) in [
        ("x-ms-request-id", &ids.trace),
        ("client-request-id", &ids.correlation),
    ] {
        if let Ok(id) = HeaderValue::from_str(id) {
            headers.insert(HeaderName::from_static(name), id);
        }
    }
    response
}

/// Why a managed identity gets no token.
pub(super) enum NoToken {
    /// Entra does not answer: its host answers with an error of its own, which clients retry.
    Outage,
    /// Entra refuses, with this body.
    Refused(Value),
}

/// The version of the token endpoint.
#[derive(Clone, Copy)]
enum Version {
    /// Takes a `resource`, and returns numbers as text.
    One,
    /// Takes a `scope`.
    Two,
}

impl Version {
    fn path(self) -> &'static str {
        match self {
            Self::One => "oauth2",
            Self::Two => "oauth2/v2.0",
        }
    }
}

/// Splits a path into its first segment and the rest.
fn split_path(path: &str) -> (&str, &str) {
    path.trim_start_matches('/').split_once('/').unwrap_or_default()
}

const PUBLIC_LOGIN_URL: &str = "https://login.microsoftonline.com/";

const ENDPOINTS: &str = "/TENANT/oauth2/v2.0/token, /TENANT/oauth2/token, \
                         /TENANT/v2.0/.well-known/openid-configuration, /TENANT/.well-known/openid-configuration, \
                         /TENANT/discovery/v2.0/keys, /TENANT/discovery/keys and /common/discovery/instance";

/// Source: AzureAD/microsoft-authentication-library-for-dotnet, issue 2855.
const RETRY_AFTER_SECONDS: &str = "60";
