//! HTTP clients for the SDK: one without a network, and one for real servers.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use azure_core::http::headers::Headers;
use azure_core::http::{AsyncRawResponse, Body, ClientOptions, HttpClient, Request, Transport};

use super::log::watch_for_secrets;

/// An HTTP client whose responses the test queues.
#[derive(Debug, Default)]
pub struct FakeSdkClient {
    responses: Mutex<VecDeque<azure_core::Result<AsyncRawResponse>>>,
    requests: Mutex<Vec<SentSdkRequest>>,
}

/// A request that the SDK has sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentSdkRequest {
    pub method: String,
    pub url: String,
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

impl FakeSdkClient {
    pub fn new() -> Arc<Self> {
        watch_for_secrets();
        Arc::default()
    }

    pub fn queue(&self, response: azure_core::Result<AsyncRawResponse>) {
        self.responses.lock().unwrap().push_back(response);
    }

    pub fn queue_reply(&self, status: u16, body: &str) {
        let reply = AsyncRawResponse::from_bytes(status.into(), Headers::new(), body.to_owned());
        self.queue(Ok(reply));
    }

    pub fn queue_grant(&self, secret: &str, expires_in: u64, refresh_in: Option<u64>) {
        let refresh_in = refresh_in.map(|refresh_in| format!(r#""refresh_in":{refresh_in},"#));
        let refresh_in = refresh_in.unwrap_or_default();
        let body = format!(
            r#"{{"token_type":"Bearer","expires_in":{expires_in},{refresh_in}"access_token":"{secret}"}}"#
        );
        self.queue_reply(200, &body);
    }

    pub fn requests(&self) -> Vec<SentSdkRequest> {
        self.requests.lock().unwrap().clone()
    }
}

impl SentSdkRequest {
    /// Returns the fields of the form in the order in which they were sent.
    pub fn form(&self) -> Vec<(String, String)> {
        url::form_urlencoded::parse(self.body.as_bytes())
            .into_owned()
            .collect()
    }
}

#[async_trait]
impl HttpClient for FakeSdkClient {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        let Body::Bytes(body) = request.body() else {
            panic!("the body of a token request is a stream");
        };
        self.requests.lock().unwrap().push(SentSdkRequest {
            method: request.method().to_string(),
            url: request.url().to_string(),
            headers: request
                .headers()
                .iter()
                .map(|(name, value)| (name.as_str().to_owned(), value.as_str().to_owned()))
                .collect(),
            body: String::from_utf8(body.to_vec()).unwrap(),
        });
        let response = self.responses.lock().unwrap().pop_front();
        response.expect("no response is queued")
    }
}

/// Returns client options whose transport trusts only `ca_certificate`.
pub fn client_options(ca_certificate: &str) -> ClientOptions {
    let root = reqwest::Certificate::from_pem(ca_certificate.as_bytes()).unwrap();
    let client = reqwest::Client::builder()
        .tls_certs_only([root])
        .no_proxy()
        .build()
        .unwrap();
    ClientOptions {
        transport: Some(Transport::new(Arc::new(client))),
        ..Default::default()
    }
}
