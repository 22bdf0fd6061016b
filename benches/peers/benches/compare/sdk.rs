//! The latency of SDK clients: `BlobServiceClient` with a transport that emulates a Blob account.

use std::sync::Arc;

use async_trait::async_trait;
use azure_core::credentials::TokenCredential;
use azure_core::http::headers::{AUTHORIZATION, Headers};
use azure_core::http::{AsyncRawResponse, ClientOptions, HttpClient, Request, StatusCode, Transport, Url};
use azure_storage_blob::{BlobServiceClient, BlobServiceClientOptions};

use crate::credentials::Call;
use crate::endpoint::Endpoint;

/// Returns a call that sends one request to Blob Storage with this credential.
pub fn request(credential: Arc<dyn TokenCredential>, endpoint: &Endpoint) -> Call {
    let options = BlobServiceClientOptions {
        client_options: ClientOptions {
            transport: Some(Transport::new(Arc::new(Blob(endpoint.clone())))),
            ..Default::default()
        },
        ..Default::default()
    };
    let account = Url::parse("https://account.blob.core.windows.net/").unwrap();
    let client = Arc::new(BlobServiceClient::new(account, Some(credential), Some(options)).unwrap());
    Arc::new(move |_| {
        let client = client.clone();
        Box::pin(async move { client.get_properties(None).await.is_ok() })
    })
}

/// Accepts requests with a valid token.
#[derive(Debug)]
struct Blob(Endpoint);

#[async_trait]
impl HttpClient for Blob {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        let header = request.headers().get_optional_str(&AUTHORIZATION);
        let token = header.and_then(|header| header.strip_prefix("Bearer "));
        let status = if token.is_some_and(|token| self.0.is_good(token)) {
            StatusCode::Ok
        } else {
            StatusCode::Unauthorized
        };
        Ok(AsyncRawResponse::from_bytes(
            status,
            Headers::new(),
            "<StorageServiceProperties/>",
        ))
    }
}
