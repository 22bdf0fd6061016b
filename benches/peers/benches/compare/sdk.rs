//! What a user of the SDK feels: `BlobServiceClient` with a transport that plays a Blob account.

use std::sync::Arc;

use async_trait::async_trait;
use azure_core::credentials::TokenCredential;
use azure_core::http::headers::Headers;
use azure_core::http::{AsyncRawResponse, ClientOptions, HttpClient, Request, StatusCode, Transport, Url};
use azure_storage_blob::{BlobServiceClient, BlobServiceClientOptions};

use crate::credentials::Call;

/// One request to Blob Storage, by a client with this credential.
pub fn request(credential: Arc<dyn TokenCredential>) -> Call {
    let options = BlobServiceClientOptions {
        client_options: ClientOptions {
            transport: Some(Transport::new(Arc::new(Blob))),
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

#[derive(Debug)]
struct Blob;

#[async_trait]
impl HttpClient for Blob {
    async fn execute_request(&self, _: &Request) -> azure_core::Result<AsyncRawResponse> {
        Ok(AsyncRawResponse::from_bytes(
            StatusCode::Ok,
            Headers::new(),
            "<StorageServiceProperties/>",
        ))
    }
}
