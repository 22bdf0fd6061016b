//! Tenants that a service names in its challenge: which token is sent, kept and dropped. In-process
//! transports.

use std::sync::{Arc, Mutex};

use crate::support::identifiers::VAULT;
use crate::support::log::watch_for_secrets;
use async_trait::async_trait;
use azure_core::http::headers::{AUTHORIZATION, Headers};
use azure_core::http::policies::auth::BearerTokenAuthorizationPolicy;
use azure_core::http::{
    AsyncRawResponse, ClientOptions, Context, HttpClient, Method, Pipeline, Request, StatusCode, Transport,
    Url,
};
use azure_security_keyvault_secrets::{SecretClient, SecretClientOptions};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use entra_workload::integration::ClaimsChallengePolicy;
use entra_workload::transport::Transport as EntraTransport;
use entra_workload::{ClientSecretCredential, Environment, Error};

/// A credential, its Entra, a service, and the policy of the clients.
struct Fixture {
    credential: Arc<ClientSecretCredential>,
    entra: Entra,
    service: Arc<Service>,
    policy: Arc<ClaimsChallengePolicy>,
}

impl Fixture {
    /// * `own`: the tenant of the credential.
    /// * `service_tenant`: the one that the service names and whose tokens it accepts.
    fn new(own: &str, form: Form, service_tenant: &'static str) -> Self {
        watch_for_secrets();
        let entra = Entra {
            form,
            tokens: Arc::default(),
        };
        let credential = ClientSecretCredential::builder()
            .environment(Environment::default())
            .tenant_id(own)
            .client_id("7a5ff21b-4f5b-4f5b-9e3e-2c0b5a1d9a10")
            .client_secret("planted-secret")
            .additionally_allowed_tenants([FABRIKAM])
            .transport(entra.clone())
            .build()
            .unwrap();
        Self {
            policy: Arc::new(ClaimsChallengePolicy::new(credential.clone()).discover_tenant()),
            credential,
            service: Arc::new(Service {
                entra: entra.clone(),
                tenant: service_tenant,
                other_tenant_for_revoked: Mutex::default(),
                revoked: Mutex::default(),
                claims: Mutex::default(),
                received: Mutex::default(),
            }),
            entra,
        }
    }

    fn client_options(&self) -> ClientOptions {
        ClientOptions {
            transport: Some(Transport::new(self.service.clone())),
            per_call_policies: vec![self.policy.clone()],
            ..ClientOptions::default()
        }
    }

    /// A client that sends its token with the first request, as those of Storage do.
    fn client(&self) -> Client {
        let bearer = BearerTokenAuthorizationPolicy::new(self.credential.clone(), [VAULT]);
        let options = self.client_options();
        Client(Pipeline::new(
            None,
            None,
            options,
            Vec::new(),
            vec![Arc::new(bearer)],
            None,
        ))
    }

    /// A client that sends its first request without a token.
    fn vault_client(&self) -> SecretClient {
        let options = SecretClientOptions {
            client_options: self.client_options(),
            ..SecretClientOptions::default()
        };
        SecretClient::new(URL, self.credential.clone(), Some(options)).unwrap()
    }
}

struct Client(Pipeline);

impl Client {
    /// Returns the status of a request, or the text of its error.
    async fn call(&self) -> Result<u16, String> {
        let mut request = Request::new(Url::parse(URL).unwrap(), Method::Get);
        match self.0.send(&Context::new(), &mut request, None).await {
            Ok(response) => Ok(response.status().into()),
            Err(error) => match error.http_status() {
                Some(status) => Ok(status.into()),
                None => Err(Error::find_in(&error).unwrap().to_string()),
            },
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Form {
    Jwt,
    Opaque,
}

/// Grants each tenant new tokens.
#[derive(Clone, Debug)]
struct Entra {
    form: Form,
    /// Each token, and the GUID of its tenant.
    tokens: Arc<Mutex<Vec<(String, String)>>>,
}

impl Entra {
    fn requests(&self) -> usize {
        self.tokens.lock().unwrap().len()
    }

    fn tenant_of(&self, token: &str) -> Option<String> {
        let tokens = self.tokens.lock().unwrap();
        let found = tokens.iter().find(|(secret, _)| secret == token);
        found.map(|(_, tenant)| tenant.clone())
    }
}

#[async_trait]
impl EntraTransport for Entra {
    async fn send(&self, request: http::Request<Bytes>) -> Result<http::Response<Bytes>, Error> {
        let tenant = request.uri().path().split('/').nth(1).unwrap();
        let tenant = if tenant == DOMAIN { CONTOSO } else { tenant };
        let mut tokens = self.tokens.lock().unwrap();
        let number = tokens.len();
        let token = match self.form {
            Form::Jwt => {
                let claims = format!(r#"{{"tid":"{tenant}","uti":"{number}"}}"#);
                let payload = URL_SAFE_NO_PAD.encode(claims);
                format!("e30.{payload}.planted-{number}")
            }
            Form::Opaque => format!("planted-{number}"),
        };
        let body = format!(r#"{{"token_type":"Bearer","expires_in":3600,"access_token":"{token}"}}"#);
        tokens.push((token, tenant.to_owned()));
        Ok(http::Response::new(body.into()))
    }
}

/// Accepts the tokens of its tenant that are not revoked.
#[derive(Debug)]
struct Service {
    entra: Entra,
    tenant: &'static str,
    /// Names this tenant in place of its own when it receives a revoked token.
    other_tenant_for_revoked: Mutex<Option<&'static str>>,
    revoked: Mutex<Vec<String>>,
    /// Answers the next request with a claims challenge that names no tenant.
    claims: Mutex<bool>,
    received: Mutex<Vec<Option<String>>>,
}

impl Service {
    fn revoke_all(&self) {
        let tokens = self.entra.tokens.lock().unwrap();
        *self.revoked.lock().unwrap() = tokens.iter().map(|(token, _)| token.clone()).collect();
    }

    /// Returns the tenants of the tokens that were received since the last call.
    fn take_tenants(&self) -> Vec<Option<String>> {
        let received = std::mem::take(&mut *self.received.lock().unwrap());
        let tenant = |token: Option<String>| self.entra.tenant_of(&token?);
        received.into_iter().map(tenant).collect()
    }
}

#[async_trait]
impl HttpClient for Service {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        let header = request.headers().get_optional_str(&AUTHORIZATION);
        let token = header.map(|header| header.strip_prefix("Bearer ").unwrap().to_owned());
        self.received.lock().unwrap().push(token.clone());
        let mut headers = Headers::new();
        let mut answer = |status, header: &'static str, value: String| {
            headers.insert(header, value);
            let body = r#"{"value":"x"}"#;
            Ok(AsyncRawResponse::from_bytes(status, headers.clone(), body))
        };
        if std::mem::take(&mut *self.claims.lock().unwrap()) {
            let challenge = r#"Bearer error="insufficient_claims", claims="eyJhY2Nlc3NfdG9rZW4iOnt9fQ==""#;
            return answer(StatusCode::Unauthorized, "www-authenticate", challenge.to_owned());
        }
        let is_own = |token: &String| self.entra.tenant_of(token).as_deref() == Some(self.tenant);
        let is_revoked = |token: &String| self.revoked.lock().unwrap().contains(token);
        let own = token.filter(is_own);
        if own.as_ref().is_some_and(|token| !is_revoked(token)) {
            return answer(StatusCode::Ok, "content-type", "application/json".to_owned());
        }
        let other_tenant = *self.other_tenant_for_revoked.lock().unwrap();
        let tenant = other_tenant.filter(|_| own.is_some()).unwrap_or(self.tenant);
        let challenge = format!(
            r#"Bearer authorization="https://login.microsoftonline.com/{tenant}", resource="https://vault.azure.net""#
        );
        answer(StatusCode::Unauthorized, "www-authenticate", challenge)
    }
}

#[tokio::test]
async fn rejected_token_of_the_own_tenant_is_dropped() {
    for (own, form) in [(CONTOSO, Form::Jwt), (CONTOSO, Form::Opaque), (DOMAIN, Form::Jwt)] {
        let fixture = Fixture::new(own, form, CONTOSO);
        let client = fixture.client();
        assert_eq!(client.call().await, Ok(200), "{own} {form:?}");
        fixture.service.revoke_all();
        assert_eq!(client.call().await, Ok(401), "{own} {form:?}");
        assert_eq!(client.call().await, Ok(200), "{own} {form:?}");
        assert_eq!(fixture.entra.requests(), 2, "{own} {form:?}");
    }
}

#[tokio::test]
async fn guid_of_a_tenant_that_is_set_as_a_domain_is_its_own() {
    let fixture = Fixture::new(DOMAIN, Form::Jwt, CONTOSO);
    let vault = fixture.vault_client();
    vault.get_secret("a", None).await.unwrap();
    fixture.service.revoke_all();
    vault.get_secret("a", None).await.unwrap();
    assert_eq!(fixture.entra.requests(), 2);
}

#[tokio::test]
async fn rejected_token_is_dropped_if_the_tenant_of_the_service_is_not_allowed() {
    let fixture = Fixture::new(DOMAIN, Form::Opaque, CONTOSO);
    let client = fixture.client();
    assert_eq!(client.call().await, Ok(200));
    fixture.service.revoke_all();
    let error = client.call().await.unwrap_err();
    assert!(error.contains("is not allowed for this credential"), "{error}");
    assert_eq!(client.call().await, Ok(200));
}

#[tokio::test]
async fn other_tenant_that_is_not_allowed_is_named_after_the_own_one_was_compared() {
    let fixture = Fixture::new(DOMAIN, Form::Jwt, ADATUM);
    for client in [fixture.client(), fixture.client()] {
        let error = client.call().await.unwrap_err();
        assert!(error.contains(ADATUM), "{error}");
    }
    let error = fixture.vault_client().get_secret("a", None).await.unwrap_err();
    let error = Error::find_in(&error).unwrap().to_string();
    assert!(
        error.contains(ADATUM) && error.contains("additionally_allowed_tenants"),
        "{error}"
    );
}

#[tokio::test]
async fn token_of_the_own_tenant_is_kept_if_that_of_another_tenant_is_accepted() {
    let fixture = Fixture::new(CONTOSO, Form::Jwt, FABRIKAM);
    assert_eq!(fixture.client().call().await, Ok(200));
    let tenants = [Some(CONTOSO.to_owned()), Some(FABRIKAM.to_owned())];
    assert_eq!(fixture.service.take_tenants(), tenants);
    fixture.credential.token(&[VAULT]).await.unwrap();
    assert_eq!(fixture.entra.requests(), 2, "one for each tenant");
}

#[tokio::test]
async fn tokens_of_both_tenants_are_dropped_if_neither_is_accepted() {
    for other_tenant_for_revoked in [None, Some(CONTOSO)] {
        let fixture = Fixture::new(CONTOSO, Form::Jwt, FABRIKAM);
        *fixture.service.other_tenant_for_revoked.lock().unwrap() = other_tenant_for_revoked;
        assert_eq!(fixture.client().call().await, Ok(200));
        fixture.service.revoke_all();
        // Without what the policy remembers of the host.
        let policy = ClaimsChallengePolicy::new(fixture.credential.clone()).discover_tenant();
        let fixture = Fixture {
            policy: Arc::new(policy),
            ..fixture
        };
        assert_eq!(fixture.client().call().await, Ok(401));
        assert_eq!(fixture.entra.requests(), 2);
        assert_eq!(fixture.client().call().await, Ok(200));
        assert_eq!(fixture.entra.requests(), 4, "a new one for each tenant");
    }
}

#[tokio::test]
async fn tenant_of_a_host_is_remembered_after_its_token_was_accepted() {
    let fixture = Fixture::new(CONTOSO, Form::Jwt, FABRIKAM);
    assert_eq!(fixture.client().call().await, Ok(200));
    fixture.service.take_tenants();
    assert_eq!(fixture.client().call().await, Ok(200));
    assert_eq!(fixture.service.take_tenants(), [Some(FABRIKAM.to_owned())]);

    let fixture = Fixture::new(CONTOSO, Form::Jwt, FABRIKAM);
    fixture.vault_client().get_secret("a", None).await.unwrap();
    fixture.service.take_tenants();
    assert_eq!(fixture.client().call().await, Ok(200));
    assert_eq!(fixture.service.take_tenants(), [Some(FABRIKAM.to_owned())]);
}

#[tokio::test]
async fn claims_challenge_without_a_tenant_keeps_the_tenant_of_its_host() {
    let fixture = Fixture::new(CONTOSO, Form::Jwt, FABRIKAM);
    assert_eq!(fixture.client().call().await, Ok(200));
    fixture.service.take_tenants();
    *fixture.service.claims.lock().unwrap() = true;
    assert_eq!(fixture.client().call().await, Ok(200));
    let tenants = [Some(FABRIKAM.to_owned()), Some(FABRIKAM.to_owned())];
    assert_eq!(fixture.service.take_tenants(), tenants);
}

const URL: &str = "https://orders.vault.azure.net";

/// The domain of `CONTOSO`.
const DOMAIN: &str = "contoso.com";

const CONTOSO: &str = "72f988bf-86f1-41af-91ab-2d7cd011db47";

/// An additionally allowed tenant.
const FABRIKAM: &str = "3f5f6b0e-5d0f-4c6e-8d62-1a4a0d3f7c11";

/// A tenant that is not allowed.
const ADATUM: &str = "0f2d9c55-7a34-4a9b-9d1e-6a1b2c3d4e5f";
