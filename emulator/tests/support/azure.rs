//! An emulator with clients of the Azure SDK, and raw requests.

use std::sync::Arc;

use azure_core::Result;
use azure_core::error::ErrorKind;
use azure_core::http::{ClientOptions, StatusCode, Url};
use azure_security_keyvault_secrets::{SecretClient, SecretClientOptions};
use azure_storage_blob::{
    BlobContainerClient, BlobContainerClientOptions, BlobServiceClient, BlobServiceClientOptions,
};
use bytes::Bytes;
use entra_workload::transport::HttpTransport;
use entra_workload::{Environment, WorkloadIdentityCredential};
use entra_workload_emulator::Emulator;

use super::{SettableClock, now, send};

pub const VAULT: &str = "https://vault.azure.net/.default";
pub const STORAGE: &str = "https://storage.azure.com/.default";

/// An emulator with a pod and a settable clock.
pub struct Cloud {
    pub emulator: Emulator,
    credential: Arc<WorkloadIdentityCredential>,
    pub client_id: String,
    pub clock: SettableClock,
}

impl Cloud {
    pub async fn start() -> Self {
        let clock = SettableClock::at(now());
        let emulator = Emulator::builder().clock(clock.source()).start().await.unwrap();
        let pod = emulator.pod("shop", "orders").unwrap();
        let roots = emulator.ca_certificate_pem().as_bytes();
        let transport = HttpTransport::with_root_certificates(roots).unwrap();
        Self {
            credential: WorkloadIdentityCredential::builder()
                .environment(Environment::from_iter(pod.variables()))
                .transport(transport)
                .build()
                .unwrap(),
            client_id: pod.client_id().to_owned(),
            emulator,
            clock,
        }
    }

    fn client_options(&self) -> ClientOptions {
        ClientOptions {
            transport: Some(self.emulator.sdk_transport().unwrap()),
            ..Default::default()
        }
    }

    pub fn secrets(&self) -> SecretClient {
        let options = SecretClientOptions {
            client_options: self.client_options(),
            // 127.0.0.1 is not a subdomain of vault.azure.net.
            verify_challenge_resource: Some(false),
            ..Default::default()
        };
        SecretClient::new(
            self.emulator.key_vault_url(),
            self.credential.clone(),
            Some(options),
        )
        .unwrap()
    }

    pub fn container(&self, name: &str) -> BlobContainerClient {
        let options = BlobContainerClientOptions {
            client_options: self.client_options(),
            ..Default::default()
        };
        let url = Url::parse(&format!("{}/{name}", self.emulator.blob_account_url())).unwrap();
        BlobContainerClient::new(url, Some(self.credential.clone()), Some(options)).unwrap()
    }

    pub fn account(&self) -> BlobServiceClient {
        let options = BlobServiceClientOptions {
            client_options: self.client_options(),
            ..Default::default()
        };
        let url = Url::parse(self.emulator.blob_account_url()).unwrap();
        BlobServiceClient::new(url, Some(self.credential.clone()), Some(options)).unwrap()
    }

    pub async fn token(&self, scope: &str) -> String {
        self.credential.token(&[scope]).await.unwrap().secret().to_owned()
    }

    /// Sends a request with the given headers.
    pub async fn send(&self, method: &str, url: &str, headers: &[(&str, &str)]) -> http::Response<Bytes> {
        self.send_with_body(method, url, headers, "").await
    }

    pub async fn send_with_body(
        &self,
        method: &str,
        url: &str,
        headers: &[(&str, &str)],
        body: &'static str,
    ) -> http::Response<Bytes> {
        let mut request = http::Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Bytes::from_static(body.as_bytes())).unwrap();
        send(&self.emulator, request).await
    }

    pub async fn get_secret_with(&self, authorization: Option<&str>) -> http::Response<Bytes> {
        let url = format!(
            "{}/secrets/none?api-version=2025-07-01",
            self.emulator.key_vault_url()
        );
        let headers: Vec<_> = authorization
            .map(|it| ("authorization", it))
            .into_iter()
            .collect();
        self.send("GET", &url, &headers).await
    }

    pub async fn get_blob_with(&self, authorization: Option<&str>) -> http::Response<Bytes> {
        let url = format!("{}/box/none", self.emulator.blob_account_url());
        let mut headers = vec![("x-ms-version", "2026-04-06")];
        headers.extend(authorization.map(|it| ("authorization", it)));
        self.send("GET", &url, &headers).await
    }
}

pub fn text(response: &http::Response<Bytes>) -> &str {
    std::str::from_utf8(response.body()).unwrap()
}

pub fn header<'a>(response: &'a http::Response<Bytes>, name: &str) -> &'a str {
    response
        .headers()
        .get(name)
        .map_or("", |value| value.to_str().unwrap())
}

#[track_caller]
pub fn assert_error<T>(result: Result<T>, status: StatusCode, code: &str) {
    let error = result.err().expect("expected an error");
    let ErrorKind::HttpResponse {
        status: actual,
        error_code,
        ..
    } = error.kind()
    else {
        panic!("{error:?}");
    };
    assert_eq!((*actual, error_code.as_deref()), (status, Some(code)), "{error}");
}

/// Returns the token with a changed signature.
pub fn with_changed_signature(token: &str) -> String {
    let (rest, signature) = token.rsplit_once('.').unwrap();
    let flipped = if signature.starts_with('A') { 'B' } else { 'A' };
    format!("{rest}.{flipped}{}", &signature[1..])
}
