//! A token endpoint in the same process, the same for all credentials. It counts its requests.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use azure_core::http::headers::Headers;
use azure_core::http::{AsyncRawResponse, StatusCode};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpRequest, HttpResponse, HttpResponseBody, HttpService,
};
use tokio::time::Instant;

#[derive(Clone, Debug)]
pub struct Endpoint(Arc<State>);

#[derive(Debug)]
struct State {
    start: Instant,
    behaviour: Mutex<Behaviour>,
    requests: AtomicUsize,
}

/// What the endpoint does with the next requests.
#[derive(Clone, Copy, Debug)]
pub enum Behaviour {
    Grants {
        expires_in: u64,
        delay: Duration,
    },
    Answers503 {
        delay: Duration,
    },
    /// A refusal that is not retryable.
    Refuses {
        delay: Duration,
    },
    NoResponse,
}

impl Endpoint {
    pub fn new(behaviour: Behaviour) -> Self {
        Self(Arc::new(State {
            start: Instant::now(),
            behaviour: Mutex::new(behaviour),
            requests: AtomicUsize::new(0),
        }))
    }

    /// Grants tokens of one hour without a delay.
    pub fn granting() -> Self {
        Self::new(Behaviour::Grants {
            expires_in: 3600,
            delay: Duration::ZERO,
        })
    }

    pub fn order(&self, behaviour: Behaviour) {
        *self.0.behaviour.lock().unwrap() = behaviour;
    }

    pub fn requests(&self) -> usize {
        self.0.requests.load(Ordering::SeqCst)
    }

    /// Returns whether this endpoint has issued the token and it has not expired.
    pub fn is_good(&self, token: &str) -> bool {
        // The expiry, padded with zeros to the length of a token of Entra.
        let expiry = token
            .get(TOKEN_LENGTH - 20..)
            .and_then(|expiry| expiry.parse().ok());
        expiry.is_some_and(|expiry| self.0.start.elapsed() < Duration::from_millis(expiry))
    }

    async fn answer(&self) -> (u16, Bytes) {
        self.0.requests.fetch_add(1, Ordering::SeqCst);
        let behaviour = *self.0.behaviour.lock().unwrap();
        let (delay, status, body) = match behaviour {
            Behaviour::Grants { expires_in, delay } => {
                let expiry = self.0.start.elapsed() + delay + Duration::from_secs(expires_in);
                let token = format!("{:0TOKEN_LENGTH$}", expiry.as_millis());
                let body = format!(
                    r#"{{"token_type":"Bearer","expires_in":{expires_in},"ext_expires_in":{expires_in},"access_token":"{token}"}}"#
                );
                (delay, 200, body)
            }
            Behaviour::Answers503 { delay } => (delay, 503, "Service Unavailable".to_owned()),
            Behaviour::Refuses { delay } => {
                let body = r#"{"error":"invalid_client","error_description":"AADSTS700016: no.","error_codes":[700016]}"#;
                (delay, 401, body.to_owned())
            }
            Behaviour::NoResponse => std::future::pending().await,
        };
        tokio::time::sleep(delay).await;
        (status, body.into())
    }
}

#[async_trait]
impl entra_workload::transport::Transport for Endpoint {
    async fn send(&self, _: http::Request<Bytes>) -> Result<http::Response<Bytes>, entra_workload::Error> {
        let (status, body) = self.answer().await;
        let mut response = http::Response::new(body);
        *response.status_mut() = http::StatusCode::from_u16(status).unwrap();
        Ok(response)
    }
}

#[async_trait]
impl azure_core::http::HttpClient for Endpoint {
    async fn execute_request(&self, _: &azure_core::http::Request) -> azure_core::Result<AsyncRawResponse> {
        let (status, body) = self.answer().await;
        Ok(AsyncRawResponse::from_bytes(
            StatusCode::from(status),
            Headers::new(),
            body,
        ))
    }
}

#[async_trait]
impl HttpService for Endpoint {
    async fn call(&self, _: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (status, body) = self.answer().await;
        let body = Full::new(body).map_err(|never| match never {});
        let mut response = HttpResponse::new(HttpResponseBody::new(body));
        *response.status_mut() = http::StatusCode::from_u16(status).unwrap();
        Ok(response)
    }
}

impl HttpConnector for Endpoint {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

/// The approximate length of Entra's tokens for workload identities.
pub const TOKEN_LENGTH: usize = 1800;
