//! The checks of a diagnosis, a file each.

pub(super) mod clock;
pub(super) mod issuer;
pub(super) mod login_host;
pub(super) mod other_identity;
pub(super) mod resource;
pub(super) mod token_file;
pub(super) mod token_request;
pub(super) mod variables;

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};

use super::options::DiagnoseOptions;
use super::report::Step;
use crate::code::Code;
use crate::env::Environment;
use crate::error::Error;
use crate::transport::Transport;

/// What all steps of one diagnosis use.
pub(super) struct Diagnosis<'a> {
    pub(super) environment: &'a Environment,
    pub(super) options: &'a DiagnoseOptions,
    pub(super) transport: Arc<dyn Transport>,
}

impl Diagnosis<'_> {
    pub(super) fn start(&self, step: Step) {
        if let Some(on_step) = &self.options.on_step {
            on_step(step);
        }
    }

    /// Sends a request within the time limit of a step.
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, Error> {
        let host = request.uri().host().unwrap_or_default().to_owned();
        let sent = tokio::time::timeout(self.options.timeout, self.transport.send(request));
        sent.await.unwrap_or_else(|_| {
            Err(Error::transport(format!("{host} did not respond in time")).with_code(Code::NO_RESPONSE))
        })
    }

    async fn get(&self, url: &str) -> Result<Response<Bytes>, Error> {
        let request = Request::get(url).body(Bytes::new());
        let invalid = |error| Error::configuration(format!("{url:?} is not a URL")).with_source(error);
        self.send(request.map_err(invalid)?).await
    }
}
