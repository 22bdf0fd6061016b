use std::time::Duration;

use http_body_util::Limited;
use hyper_util::client::proxy::matcher::Matcher;
use kube::client::ClientBuilder;
use kube::{Client, Config};
use tower::util::MapResponseLayer;

use crate::Failure;

/// The API server of the kubeconfig. It need not be trustworthy: requests are limited in time, and responses in length.
pub(super) struct ApiServer {
    client: Client,
    timeout: Duration,
}

impl ApiServer {
    /// * `timeout`: of each request.
    pub(super) async fn connect(timeout: Duration) -> Result<Self, Failure> {
        // `kube` takes the provider of the process; where the build has two, none is the default.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut config = Config::infer().await.map_err(|error| {
            format!(
                "there is no usable kubeconfig: {error}; set KUBECONFIG or run `kubectl config use-context`"
            )
        })?;
        // From the environment, `kube` takes a proxy and leaves `NO_PROXY`.
        let is_exempt = Matcher::from_env().intercept(&config.cluster_url).is_none();
        let of_environment = PROXIES.iter().filter_map(|name| std::env::var(name).ok());
        let proxy = config.proxy_url.as_ref();
        if is_exempt && { of_environment }.any(|url| url.parse().ok().as_ref() == proxy) {
            config.proxy_url = None;
        }
        let url = config.cluster_url.clone();
        let builder = ClientBuilder::try_from(config)
            .map_err(|error| format!("there is no connection to {url}: {error}"))?;
        let limit = |response: http::Response<_>| response.map(|body| Limited::new(body, MAX_BODY));
        let client = builder.with_layer(&MapResponseLayer::new(limit)).build();
        Ok(Self { client, timeout })
    }

    pub(super) fn client(&self) -> Client {
        self.client.clone()
    }

    /// Waits for the response to a request.
    ///
    /// * `what`: what there is not if it fails.
    pub(super) async fn call<T>(
        &self,
        what: &str,
        request: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, Failure> {
        let response = tokio::time::timeout(self.timeout, request).await;
        let response = response.map_err(|_| {
            let seconds = self.timeout.as_secs();
            format!("{what}: the API server did not respond within {seconds} s")
        })?;
        response.map_err(|error| failure(&error, what))
    }
}

/// With the missing permission, if that is the reason: the API server names it.
fn failure(error: &kube::Error, what: &str) -> Failure {
    let reason = match error {
        kube::Error::Api(status) if status.code == 403 => {
            format!("you lack a permission: {}", status.message)
        }
        kube::Error::Api(status) => status.message.clone(),
        error => error.to_string(),
    };
    let reason: String = reason.chars().take(MAX_REASON).collect();
    format!("{what}: {reason}").into()
}

/// Those that `kube` looks at.
const PROXIES: [&str; 4] = ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"];

/// In bytes. The largest response is the list of 500 events, or that of the pods of a Deployment.
const MAX_BODY: usize = 32 * 1024 * 1024;

/// In characters. Where the API server has another reason, it is the body of the response.
const MAX_REASON: usize = 1000;
