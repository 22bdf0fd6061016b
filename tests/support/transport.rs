//! A transport without a network: the test responds to each request by hand.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use entra_workload::Error;
use entra_workload::transport::Transport;
use http::{HeaderMap, Request, Response};
use tokio::sync::{mpsc, oneshot};

use super::log::watch_for_secrets;
use super::runtime::settle;

/// Returns a transport and the endpoint that receives its requests.
pub fn fake_endpoint() -> (FakeTransport, FakeEndpoint) {
    watch_for_secrets();
    let (sender, receiver) = mpsc::unbounded_channel();
    (FakeTransport(sender), FakeEndpoint(receiver))
}

/// Sends each request to a [`FakeEndpoint`] and waits for its response.
#[derive(Debug)]
pub struct FakeTransport(mpsc::UnboundedSender<SentRequest>);

#[async_trait]
impl Transport for FakeTransport {
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, Error> {
        let (reply, replied) = oneshot::channel();
        let (head, body) = request.into_parts();
        let sent = SentRequest {
            uri: head.uri.to_string(),
            method: head.method.to_string(),
            headers: head.headers,
            form: url::form_urlencoded::parse(&body).into_owned().collect(),
            at: tokio::time::Instant::now(),
            reply,
        };
        self.0.send(sent).expect("the endpoint was dropped");
        replied.await.expect("the test dropped a request")
    }
}

/// Receives the requests of a [`FakeTransport`] while they are in flight.
pub struct FakeEndpoint(mpsc::UnboundedReceiver<SentRequest>);

impl FakeEndpoint {
    /// Waits for the next request.
    pub async fn request(&mut self) -> SentRequest {
        tokio::time::timeout(Duration::from_secs(100_000), self.0.recv())
            .await
            .expect("no request was sent")
            .unwrap()
    }

    /// Lets all tasks run until they wait, and checks that none of them has sent a request.
    pub async fn assert_no_request(&mut self) {
        settle().await;
        if let Ok(request) = self.0.try_recv() {
            panic!("unexpected request: {:?}", request.form.keys());
        }
    }
}

/// A request in flight.
pub struct SentRequest {
    pub uri: String,
    pub method: String,
    pub headers: HeaderMap,
    pub form: BTreeMap<String, String>,
    pub at: tokio::time::Instant,
    reply: oneshot::Sender<Result<Response<Bytes>, Error>>,
}

impl SentRequest {
    pub fn reply(self, status: u16, headers: &[(&str, &str)], body: impl Into<Bytes>) {
        let mut response = Response::builder().status(status);
        for (name, value) in headers {
            response = response.header(*name, *value);
        }
        self.respond(Ok(response.body(body.into()).unwrap()));
    }

    /// Responds with a token.
    pub fn grant(self, secret: &str, expires_in: u64) {
        let body =
            format!(r#"{{"token_type":"Bearer","expires_in":{expires_in},"access_token":"{secret}"}}"#);
        self.reply(200, &[], body);
    }

    /// Responds with an OAuth error that has an AADSTS code.
    pub fn refuse(self, status: u16, error: &str, code: u32) {
        let body = format!(
            r#"{{"error":"{error}","error_description":"AADSTS{code}: no.\r\nTrace ID: 1\r\nTimestamp: 2","error_codes":[{code}],"trace_id":"trace","correlation_id":"correlation"}}"#
        );
        self.reply(status, &[], body);
    }

    /// Fails without a response.
    pub fn fail(self, error: Error) {
        self.respond(Err(error));
    }

    fn respond(self, response: Result<Response<Bytes>, Error>) {
        // The caller may have been dropped.
        let _dropped = self.reply.send(response);
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}
