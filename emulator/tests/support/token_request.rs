use bytes::Bytes;
use entra_workload_emulator::{Emulator, Pod, ServiceAccountToken};
use serde_json::Value;

use super::{projected_token, send};

/// A token request, valid unless changed.
#[derive(Clone)]
pub struct TokenRequest {
    tenant: String,
    fields: Vec<(&'static str, String)>,
    headers: Vec<(&'static str, &'static str)>,
}

impl TokenRequest {
    pub fn new(pod: &Pod) -> Self {
        let jwt_bearer = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
        Self {
            tenant: pod.tenant_id().to_owned(),
            fields: vec![
                ("grant_type", "client_credentials".to_owned()),
                ("client_id", pod.client_id().to_owned()),
                ("client_assertion_type", jwt_bearer.to_owned()),
                ("client_assertion", projected_token(pod)),
                ("scope", "https://vault.azure.net/.default".to_owned()),
            ],
            headers: Vec::new(),
        }
    }

    pub fn tenant(mut self, tenant: &str) -> Self {
        tenant.clone_into(&mut self.tenant);
        self
    }

    pub fn without(&self, name: &str) -> Self {
        let mut changed = self.clone();
        changed.fields.retain(|(field, _)| *field != name);
        changed
    }

    pub fn with(&self, name: &'static str, value: &str) -> Self {
        let mut changed = self.without(name);
        changed.fields.push((name, value.to_owned()));
        changed
    }

    pub fn assertion(&self, emulator: &Emulator, token: &ServiceAccountToken) -> Self {
        self.with("client_assertion", &emulator.issuer().sign(token))
    }

    pub fn header(&self, name: &'static str, value: &'static str) -> Self {
        let mut changed = self.clone();
        changed.headers.push((name, value));
        changed
    }

    #[track_caller]
    pub fn field(&self, name: &str) -> &str {
        &self.fields.iter().find(|(field, _)| *field == name).unwrap().1
    }

    pub fn build(&self, emulator: &Emulator) -> http::Request<Bytes> {
        let url = format!("{}{}/oauth2/v2.0/token", emulator.authority_host(), self.tenant);
        let form = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(&self.fields)
            .finish();
        let mut request =
            http::Request::post(url).header("content-type", "application/x-www-form-urlencoded");
        for (name, value) in &self.headers {
            request = request.header(*name, *value);
        }
        request.body(Bytes::from(form)).unwrap()
    }

    pub async fn send(&self, emulator: &Emulator) -> TokenResponse {
        TokenResponse::receive(emulator, self.build(emulator)).await
    }
}

pub struct TokenResponse {
    pub status: u16,
    pub headers: http::HeaderMap,
    pub body: Value,
}

impl TokenResponse {
    pub async fn receive(emulator: &Emulator, request: http::Request<Bytes>) -> Self {
        let (parts, body) = send(emulator, request).await.into_parts();
        Self {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: serde_json::from_slice(&body).unwrap(),
        }
    }

    #[track_caller]
    pub fn error(&self) -> (u16, &str, u64) {
        (self.status, self.text("error"), self.code())
    }

    #[track_caller]
    pub fn code(&self) -> u64 {
        let code = self.body["error_codes"][0]
            .as_u64()
            .unwrap_or_else(|| panic!("no code in {}", self.body));
        assert!(
            self.text("error_description")
                .starts_with(&format!("AADSTS{code}: ")),
            "{}",
            self.body
        );
        code
    }

    #[track_caller]
    pub fn text(&self, field: &str) -> &str {
        self.body[field]
            .as_str()
            .unwrap_or_else(|| panic!("no {field} in {}", self.body))
    }
}
