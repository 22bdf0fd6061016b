use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use azure_core::http::HttpClient;
use bytes::Bytes;

use super::http::{from_sdk_response, incomplete, to_sdk_request};
use crate::error::Error;
use crate::transport::Transport;

/// Sends token requests through the SDK's own [`HttpClient`], so that a program needs only one HTTP
/// client.
///
/// The client must not follow redirects; those that `azure_core` builds do not.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
///
/// use azure_core::http::HttpClient;
/// use entra_workload::{Error, WorkloadIdentityCredential};
/// use entra_workload::integration::SdkTransport;
///
/// fn build(client: Arc<dyn HttpClient>) -> Result<Arc<WorkloadIdentityCredential>, Error> {
///     WorkloadIdentityCredential::builder().transport(SdkTransport::new(client)).build()
/// }
/// ```
pub struct SdkTransport(Arc<dyn HttpClient>);

impl SdkTransport {
    /// Creates a transport that sends through `client`.
    pub fn new(client: Arc<dyn HttpClient>) -> Self {
        Self(client)
    }
}

#[async_trait]
impl Transport for SdkTransport {
    async fn send(&self, request: http::Request<Bytes>) -> Result<http::Response<Bytes>, Error> {
        let host = request.uri().host().unwrap_or_default().to_owned();
        let request = to_sdk_request(request)?;
        let response = self
            .0
            .execute_request(&request)
            .await
            .map_err(|error| incomplete(&host, error))?;
        from_sdk_response(response, &host).await
    }
}

impl fmt::Debug for SdkTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SdkTransport").field(&self.0).finish()
    }
}
