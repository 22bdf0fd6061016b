mod federated_credential;
mod issuer_keys;
mod refusal;
mod token_request;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, PRAGMA};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use serde_json::{Value, json};

pub use self::federated_credential::FederatedCredential;
pub(super) use self::issuer_keys::IssuerKeys;
use self::refusal::{Refusal, RequestIds};
use self::token_request::{Assertion, Form, resource_of};
use super::bearer::BearerVerifier;
use super::clock::Clock;
use super::guid::Guid;
use super::jwt::{PublicKey, RS256, SigningKey, key_set};
use super::managed_identity::ManagedIdentity;
use super::server::{Service, json};
use super::time::unix_seconds;

/// A login host with one tenant: it trades federated assertions, assertions signed with a certificate, and client secrets
/// for access tokens.
///
/// It refuses what Entra refuses, with the same status, OAuth error and AADSTS code. Where several things are wrong,
/// the first of these decides:
///
/// 1. the tenant (90002, 900023), the grant (900144, 70003), the client (900144, 700016, 7000112);
/// 2. the secret, if there is one: whether it is the client's (7000215), and still good (7000222);
/// 3. that there is an assertion (7000218), and that it is a JWT (50027);
/// 4. of an assertion whose issuer is the client itself: the algorithm, PS256 or RS256 (5002738), the certificate, by its
///    SHA-256 thumbprint (700027), the signature (700027), the subject (700021), the token endpoint as audience (700023), the times (700024);
/// 5. of any other, the federated credential: any at all (70025), not a token of Entra itself (700222), issuer (700211), subject
///    (700213), audience (700212); compared byte for byte;
/// 6. the key, by its id (7000272), among those that the issuer publishes (90061 if it does not answer, 50166 if what it
///    answers is no use); they are fetched once, and once more for a key id that is not among them; and the signature (700027);
/// 7. the times (700024), with five minutes of clock skew;
/// 8. the scope (900144, 1002012, 28000, 70011) and its resource (500011).
///
/// Source: Microsoft identity platform, error codes and client credentials flow; replies quoted in public issue
/// reports where the documents are silent.
pub struct Entra {
    tenant_id: String,
    /// Ends with a slash.
    authority: String,
    key: SigningKey,
    issuer_keys: IssuerKeys,
    clock: Clock,
    directory: Mutex<Directory>,
}

struct Directory {
    applications: HashMap<String, Application>,
    /// Identifiers without a trailing slash.
    resources: HashSet<String>,
    access_token_lifetime: Duration,
    refresh_in: Option<Duration>,
}

#[derive(Clone)]
struct Application {
    /// The service principal's, which is also the `sub` of its tokens.
    object_id: String,
    disabled: bool,
    federated_credentials: Vec<FederatedCredential>,
    client_secret: Option<ClientSecret>,
    /// Their keys, by SHA-256 thumbprint.
    certificates: Vec<PublicKey>,
}

/// Not `Debug`, so that the secret is never shown.
#[derive(Clone)]
struct ClientSecret {
    value: String,
    expired: bool,
}

/// Who a token is for, and how it proved that.
struct Principal<'a> {
    client_id: &'a str,
    object_id: &'a str,
    /// `appidacr`: 1 for a secret, 2 for an assertion or a certificate.
    proof: &'static str,
    /// Of a managed identity: its resource id.
    resource_id: Option<&'a str>,
}

/// An access token, and its times in seconds since 1970.
pub(super) struct Issued {
    pub(super) token: String,
    /// Seconds from now.
    pub(super) lifetime: u64,
    pub(super) not_before: u64,
    pub(super) expires_on: u64,
}

impl Entra {
    pub(super) fn new(authority: String, key: SigningKey, issuer_keys: IssuerKeys, clock: Clock) -> Self {
        Self {
            tenant_id: Guid::random().to_string(),
            authority,
            key,
            issuer_keys,
            clock,
            directory: Mutex::new(Directory {
                applications: HashMap::new(),
                resources: RESOURCES.map(str::to_owned).into(),
                access_token_lifetime: ACCESS_TOKEN_LIFETIME,
                refresh_in: None,
            }),
        }
    }

    /// The one tenant: a GUID in lower case.
    pub fn tenant_id(&self) -> &str {
        &self.tenant_id
    }

    /// Registers an application without credentials; one that is there is left as it is, but enabled again.
    ///
    /// * `client_id`: compared without regard to case.
    pub fn register_application(&self, client_id: &str) {
        self.application(client_id, |application| application.disabled = false);
    }

    /// Adds a federated credential to an application, which is registered if it is not yet.
    pub fn register_federated_credential(&self, client_id: &str, credential: FederatedCredential) {
        self.application(client_id, |application| {
            application.federated_credentials.push(credential);
        });
    }

    /// Removes every federated credential of an application.
    pub fn remove_federated_credentials(&self, client_id: &str) {
        self.application(client_id, |application| application.federated_credentials.clear());
    }

    /// Gives an application this client secret in place of the one before; it is registered if it is not yet.
    pub fn set_client_secret(&self, client_id: &str, secret: impl Into<String>) {
        let value = secret.into();
        self.application(client_id, |application| {
            application.client_secret = Some(ClientSecret {
                value,
                expired: false,
            });
        });
    }

    /// Refuses the client secret that an application has, if it has one, from now on (7000222).
    pub fn expire_client_secret(&self, client_id: &str) {
        self.application(client_id, |application| {
            if let Some(secret) = &mut application.client_secret {
                secret.expired = true;
            }
        });
    }

    /// Adds a certificate to an application, which is registered if it is not yet.
    ///
    /// * `pem`: the first `CERTIFICATE` block counts. When it expires does not matter here.
    ///
    /// # Errors
    ///
    /// If there is no certificate of an RSA key in `pem`.
    pub fn register_certificate(&self, client_id: &str, pem: impl AsRef<[u8]>) -> io::Result<()> {
        let key = PublicKey::of_certificate(pem.as_ref())?;
        self.application(client_id, |application| application.certificates.push(key));
        Ok(())
    }

    /// Removes every certificate of an application.
    pub fn remove_certificates(&self, client_id: &str) {
        self.application(client_id, |application| application.certificates.clear());
    }

    /// Refuses an application from now on (7000112) until it is registered again; its tokens stay good.
    pub fn disable_application(&self, client_id: &str) {
        self.application(client_id, |application| application.disabled = true);
    }

    /// Registers a resource that tokens may be asked for, besides Key Vault, Storage and Resource Manager.
    ///
    /// * `identifier`: a scope without its `/.default`.
    pub fn register_resource(&self, identifier: &str) {
        self.directory()
            .resources
            .insert(without_slash(identifier).to_owned());
    }

    /// Sets `expires_in` of the tokens issued from now on; whole seconds.
    pub fn set_access_token_lifetime(&self, lifetime: Duration) {
        self.directory().access_token_lifetime = lifetime;
    }

    /// Sets `refresh_in` of the tokens issued from now on, in whole seconds; `None` leaves the field out, as Entra does
    /// for tokens of an hour.
    pub fn set_refresh_in(&self, refresh_in: impl Into<Option<Duration>>) {
        self.directory().refresh_in = refresh_in.into();
    }

    /// Checks the access tokens issued here.
    pub(super) fn verifier(&self) -> BearerVerifier {
        BearerVerifier::new(
            self.key.public().clone(),
            self.token_issuer(),
            format!("{}{}", self.authority, self.tenant_id),
            self.clock.clone(),
        )
    }

    fn application(&self, client_id: &str, change: impl FnOnce(&mut Application)) {
        let mut directory = self.directory();
        change(
            directory
                .applications
                .entry(client_id.to_lowercase())
                .or_insert_with(|| Application {
                    object_id: Guid::random().to_string(),
                    disabled: false,
                    federated_credentials: Vec::new(),
                    client_secret: None,
                    certificates: Vec::new(),
                }),
        );
    }

    fn directory(&self) -> MutexGuard<'_, Directory> {
        self.directory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The `iss` of access tokens: Entra's version 1, which Key Vault and Storage get.
    fn token_issuer(&self) -> String {
        format!("https://sts.windows.net/{}/", self.tenant_id)
    }

    async fn token(&self, tenant: &str, request: &Request<Bytes>) -> Result<Value, Refusal> {
        if request.method() != Method::POST {
            return Err(Refusal::new(900_561, "The endpoint only accepts POST requests."));
        }
        self.check_tenant(tenant)?;
        let form = Form::parse(request.body());
        if form.required("grant_type")? != "client_credentials" {
            return Err(Refusal::new(
                70_003,
                "The app requested an unsupported grant type.",
            ));
        }
        let client_id = form.required("client_id")?.to_lowercase();
        let application = self.enabled_application(&client_id)?;
        let proof = if let Some(secret) = form.field("client_secret") {
            check_secret(&application, secret)?;
            "1"
        } else {
            let token_endpoint = format!("{}{tenant}/oauth2/v2.0/token", self.authority);
            self.check_assertion(
                &Assertion::parse(&form)?,
                &client_id,
                &application,
                &token_endpoint,
            )
            .await?;
            "2"
        };
        let resource = resource_of(form.required("scope")?)?;
        self.check_resource(&resource)?;
        let principal = Principal {
            client_id: &client_id,
            object_id: &application.object_id,
            proof,
            resource_id: None,
        };
        Ok(self.reply(&self.issue(&principal, &resource)))
    }

    async fn check_assertion(
        &self,
        assertion: &Assertion,
        client_id: &str,
        application: &Application,
        token_endpoint: &str,
    ) -> Result<(), Refusal> {
        let now = self.clock.now();
        if assertion.claims().iss.eq_ignore_ascii_case(client_id) {
            assertion.check_certificate(&application.certificates, client_id, token_endpoint)?;
            return assertion.check_times(now);
        }
        if application.federated_credentials.is_empty() {
            let text = format!("The client '{client_id}' has no configured federated identity credentials.");
            return Err(Refusal::new(70_025, text));
        }
        if [self.token_issuer(), self.discovery_issuer()].contains(&assertion.claims().iss) {
            let text = "Tokens issued by Entra itself may not be used for federated identity flows.";
            return Err(Refusal::new(700_222, text));
        }
        assertion.check_match(&application.federated_credentials)?;
        assertion.check_signature(&self.issuer_keys).await?;
        assertion.check_times(now)
    }

    fn check_resource(&self, resource: &str) -> Result<(), Refusal> {
        if self.directory().resources.contains(without_slash(resource)) {
            return Ok(());
        }
        let tenant = &self.tenant_id;
        let text =
            format!("The resource principal named {resource} was not found in the tenant named {tenant}.");
        Err(Refusal::new(500_011, text))
    }

    /// A token for an identity that needs no proof; or what Entra says against the resource.
    pub(super) fn issue_to_managed_identity(
        &self,
        identity: &ManagedIdentity,
        resource: &str,
    ) -> Result<Issued, Value> {
        self.check_resource(resource)
            .map_err(|refusal| self.explain(&refusal, &RequestIds::random()))?;
        let principal = Principal {
            client_id: &identity.client_id,
            object_id: &identity.object_id,
            proof: "2",
            resource_id: Some(&identity.resource_id),
        };
        Ok(self.issue(&principal, resource))
    }

    fn check_tenant(&self, tenant: &str) -> Result<(), Refusal> {
        if tenant.eq_ignore_ascii_case(&self.tenant_id) {
            return Ok(());
        }
        let is_guid = tenant.len() == 36
            && tenant
                .bytes()
                .all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
        if is_guid || tenant.contains('.') {
            let text =
                format!("Tenant '{tenant}' not found. Check to make sure you have the correct tenant ID.");
            return Err(Refusal::new(90_002, text));
        }
        let text = format!(
            "Specified tenant identifier '{tenant}' is neither a valid DNS name, nor a valid external domain."
        );
        Err(Refusal::new(900_023, text))
    }

    fn enabled_application(&self, client_id: &str) -> Result<Application, Refusal> {
        let application = self.directory().applications.get(client_id).cloned();
        let application = application.ok_or_else(|| {
            let tenant = &self.tenant_id;
            let text = format!(
                "Application with identifier '{client_id}' was not found in the directory '{tenant}'."
            );
            Refusal::new(700_016, text)
        })?;
        if application.disabled {
            let text = format!("Application '{client_id}' is disabled.");
            return Err(Refusal::new(7_000_112, text));
        }
        Ok(application)
    }

    fn issue(&self, principal: &Principal<'_>, resource: &str) -> Issued {
        let lifetime = self.directory().access_token_lifetime.as_secs();
        let now = unix_seconds(self.clock.now());
        let backdated = now.saturating_sub(BACKDATED.as_secs());
        let issuer = self.token_issuer();
        let kid = &self.key.public().kid;
        let expires_on = now.saturating_add(lifetime);
        let mut claims = json!({
            "aud": resource,
            "iss": issuer,
            "iat": backdated,
            "nbf": backdated,
            "exp": expires_on,
            "aio": opaque::<36>(),
            "appid": principal.client_id,
            "appidacr": principal.proof,
            "idp": issuer,
            "oid": principal.object_id,
            "rh": format!("1.{}.", opaque::<42>()),
            "sub": principal.object_id,
            "tid": self.tenant_id,
            "uti": opaque::<16>(),
            "ver": "1.0",
        });
        if let (Some(resource_id), Some(claims)) = (principal.resource_id, claims.as_object_mut()) {
            claims.insert("xms_mirid".to_owned(), resource_id.into());
        }
        let header = json!({ "typ": "JWT", "alg": RS256, "x5t": kid, "kid": kid });
        Issued {
            token: self.key.sign(&header, &claims),
            lifetime,
            not_before: backdated,
            expires_on,
        }
    }

    fn reply(&self, issued: &Issued) -> Value {
        let mut reply = json!({
            "token_type": "Bearer",
            "expires_in": issued.lifetime,
            "ext_expires_in": issued.lifetime,
            "access_token": issued.token,
        });
        let refresh_in = self.directory().refresh_in;
        if let (Some(refresh_in), Some(reply)) = (refresh_in, reply.as_object_mut()) {
            reply.insert("refresh_in".to_owned(), refresh_in.as_secs().into());
        }
        reply
    }

    fn discovery_issuer(&self) -> String {
        format!("{}{}/v2.0", self.authority, self.tenant_id)
    }

    fn discovery(&self) -> Value {
        let Self {
            authority, tenant_id, ..
        } = self;
        json!({
            "issuer": self.discovery_issuer(),
            "token_endpoint": format!("{authority}{tenant_id}/oauth2/v2.0/token"),
            "authorization_endpoint": format!("{authority}{tenant_id}/oauth2/v2.0/authorize"),
            "jwks_uri": format!("{authority}{tenant_id}/discovery/v2.0/keys"),
            "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt", "client_secret_basic"],
            "response_types_supported": ["code", "id_token", "code id_token", "id_token token"],
            "subject_types_supported": ["pairwise"],
            "id_token_signing_alg_values_supported": [RS256],
        })
    }

    /// The status and body of the answer.
    async fn answer(&self, request: &Request<Bytes>, ids: &RequestIds) -> (StatusCode, Value) {
        let (tenant, endpoint) = split_path(request.uri().path());
        let answer = match (request.method(), endpoint) {
            (_, "oauth2/v2.0/token") => self.token(tenant, request).await,
            (&Method::GET, "v2.0/.well-known/openid-configuration") => {
                self.check_tenant(tenant).map(|()| self.discovery())
            }
            (&Method::GET, "discovery/v2.0/keys") => {
                self.check_tenant(tenant).map(|()| key_set([self.key.public()]))
            }
            _ => return (StatusCode::NOT_FOUND, Value::Null),
        };
        match answer {
            Ok(body) => (StatusCode::OK, body),
            Err(refusal) => (refusal.status(), self.explain(&refusal, ids)),
        }
    }

    fn explain(&self, refusal: &Refusal, ids: &RequestIds) -> Value {
        refusal.to_json(&self.authority, ids, self.clock.now())
    }
}

#[async_trait]
impl Service for Entra {
    async fn handle(&self, request: Request<Bytes>) -> Response<Bytes> {
        let ids = RequestIds::of(&request);
        let (status, body) = self.answer(&request, &ids).await;
        respond(status, &body, &ids)
    }

    fn failure(&self, status: StatusCode, request: &Request<Bytes>) -> Response<Bytes> {
        let ids = RequestIds::of(request);
        respond(status, &self.explain(&Refusal::of_status(status), &ids), &ids)
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

fn check_secret(application: &Application, presented: &str) -> Result<(), Refusal> {
    match &application.client_secret {
        Some(secret) if secret.value == presented => {
            if secret.expired {
                let text = "The provided client secret keys for app are expired.";
                return Err(Refusal::new(7_000_222, text));
            }
            Ok(())
        }
        _ => Err(Refusal::new(7_000_215, "Invalid client secret provided.")),
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

/// The first segment of the path, and the rest without the slash between them.
fn split_path(path: &str) -> (&str, &str) {
    path.trim_start_matches('/').split_once('/').unwrap_or_default()
}

fn without_slash(identifier: &str) -> &str {
    identifier.strip_suffix('/').unwrap_or(identifier)
}

/// Random bytes in base64url: what clients must not look into.
fn opaque<const LENGTH: usize>() -> String {
    let mut bytes = [0; LENGTH];
    fastrand::fill(&mut bytes);
    URL_SAFE_NO_PAD.encode(bytes)
}

/// What every tenant has a service principal for, as far as this crate's users care.
const RESOURCES: [&str; 3] = [
    "https://vault.azure.net",
    "https://storage.azure.com",
    "https://management.azure.com",
];

/// Entra's own default is a random 60 to 90 minutes; a test wants one number, and this is the one most often seen.
const ACCESS_TOKEN_LIFETIME: Duration = Duration::from_secs(3599);

/// Entra dates `iat` and `nbf` back, for services whose clocks are behind.
const BACKDATED: Duration = Duration::from_secs(300);
