use std::error::Error as StdError;
use std::time::Duration;

use http_body_util::Limited;
use hyper_util::client::proxy::matcher::Matcher;
use kube::client::{AuthError, ClientBuilder};
use kube::config::{KubeconfigError, LoadDataError};
use kube::{Client, Config};
use tokio::runtime::Handle;
use tower::util::MapResponseLayer;

use crate::Failure;

/// The API server of the kubeconfig. It need not be trustworthy: requests are limited in time, and responses in length.
pub(super) struct ApiServer {
    client: Client,
    timeout: Duration,
}

impl ApiServer {
    /// * `timeout`: of reading the kubeconfig, of its exec plugin, and of each request.
    pub(super) async fn connect(timeout: Duration) -> Result<Self, Failure> {
        // `kube` takes the provider of the process; where the build has two, none is the default.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let limit = timeout.as_secs();
        let infer = || Handle::current().block_on(Config::infer());
        let config = blocking(timeout, infer)
            .await
            .map_err(|_| format!("the kubeconfig and its files cannot be read within {limit} s"))?;
        let mut config = config.map_err(|error| {
            // The other cause is that the doctor runs in no pod.
            let reason = error.source().map_or_else(|| error.to_string(), reason);
            format!(
                "there is no usable kubeconfig: {reason}; set KUBECONFIG or run `kubectl config use-context`"
            )
        })?;
        // From the environment, `kube` takes a proxy and leaves `NO_PROXY`.
        let is_exempt = Matcher::from_env().intercept(&config.cluster_url).is_none();
        let of_environment = PROXIES.iter().filter_map(|name| std::env::var(name).ok());
        let proxy = config.proxy_url.as_ref();
        if is_exempt && { of_environment }.any(|url| url.parse().ok().as_ref() == proxy) {
            config.proxy_url = None;
        }
        // Without a user or a query, which may be secret.
        let host = config.cluster_url.host().unwrap_or_default().to_owned();
        // Runs the exec plugin, if there is one.
        let builder = blocking(timeout, || ClientBuilder::try_from(config))
            .await
            .map_err(|missing| match missing {
                Missing::Late => format!(
                    "the exec plugin or the token file of the kubeconfig did not respond within {limit} s; run `kubectl \
                     get namespaces` to see what it waits for, or raise --timeout"
                ),
                // `kube` panics if the token cannot be in a header.
                Missing::Panicked => "the token in the kubeconfig, or of its exec plugin, has a line break or another \
                                      control character; remove it"
                    .to_owned(),
            })?;
        let builder =
            builder.map_err(|error| format!("there is no connection to {host}: {}", reason(&error)))?;
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
        error => reason(error),
    };
    let reason: String = reason.chars().take(MAX_REASON).collect();
    format!("{what}: {reason}").into()
}

/// Runs `work` off the thread of the runtime, which waits until `timeout`: then the work goes on without it.
async fn blocking<T: Send + 'static>(
    timeout: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Missing> {
    let work = tokio::task::spawn_blocking(work);
    let ended = tokio::time::timeout(timeout, work)
        .await
        .map_err(|_| Missing::Late)?;
    ended.map_err(|_| Missing::Panicked)
}

/// Why work has no result.
enum Missing {
    Late,
    Panicked,
}

/// Returns the text of an error, without a value of the kubeconfig or what an exec plugin printed: both may be secret. The
/// content of a file can be there in place of its path.
fn reason(error: &(dyn StdError + 'static)) -> String {
    let causes = || std::iter::successors(Some(error), |&error| error.source());
    let of_plugin = causes().find_map(<dyn StdError>::downcast_ref);
    let of_file = causes().find_map(<dyn StdError>::downcast_ref);
    let of_config = causes().find_map(<dyn StdError>::downcast_ref);
    let of_client = causes().find_map(<dyn StdError>::downcast_ref);
    match (of_plugin, of_file, of_config, of_client) {
        (Some(AuthError::AuthExecRun { out, .. }), ..) => format!(
            "the exec plugin of the kubeconfig failed, {}; run `kubectl get namespaces` to see why",
            out.status
        ),
        (Some(AuthError::AuthExecParse(_)), ..) => {
            "the exec plugin of the kubeconfig did not print an ExecCredential".to_owned()
        }
        (Some(AuthError::AuthExec(_)), ..) => {
            "the auth provider of the kubeconfig failed or is not supported; use an exec plugin".to_owned()
        }
        (Some(AuthError::ReadTokenFile(error, _)), ..) => {
            format!("the token file of the kubeconfig cannot be read: {error}")
        }
        (_, Some(LoadDataError::ReadFile(error, _)), ..) => {
            format!("a certificate or key file of the kubeconfig cannot be read: {error}")
        }
        (_, _, Some(KubeconfigError::Parse(_)), _) => "it is not the YAML of a kubeconfig".to_owned(),
        (_, _, Some(KubeconfigError::ReadConfig(error, _)), _) => format!("it cannot be read: {error}"),
        (
            ..,
            Some(kube::Error::ProxyProtocolUnsupported { .. } | kube::Error::ProxyProtocolDisabled { .. }),
        ) => "the proxy of the kubeconfig has an unsupported protocol".to_owned(),
        _ => error.to_string(),
    }
}

/// Those that `kube` looks at.
const PROXIES: [&str; 4] = ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"];

/// In bytes. The largest response is the list of 500 events, or that of the pods of a Deployment.
const MAX_BODY: usize = 32 * 1024 * 1024;

/// In characters. Where the API server has another reason, it is the body of the response.
const MAX_REASON: usize = 1000;
