use std::path::PathBuf;
use std::sync::Arc;

use super::client::Client;
use super::options::{ClientOptions, present};
use super::{client_options, credential};
use crate::assertion::ProjectedTokenFile;
use crate::cache::Cache;
#[cfg(feature = "diagnose")]
use crate::clock::Clock;
use crate::code::Code;
use crate::env::{
    AZURE_CLIENT_ID, AZURE_FEDERATED_TOKEN_FILE, AZURE_KUBERNETES_TOKEN_PROXY, AZURE_TENANT_ID, Environment,
    External,
};
use crate::error::Error;
use crate::exchange::ClientAuthentication;
#[cfg(feature = "diagnose")]
use crate::exchange::Exchange;
use crate::transport::TokenProxy;

/// Gets tokens with the workload identity of this pod, on AKS or on any cluster whose issuer Entra
/// trusts.
///
/// It reads the pod's service-account token from the file that the kubelet keeps up to date and
/// sends it to Entra as the client assertion of a token request. Tokens are cached and refreshed in
/// the background.
///
/// | variable | set by | meaning |
/// | --- | --- | --- |
/// | `AZURE_FEDERATED_TOKEN_FILE` | webhook | the file with the service-account token |
/// | `AZURE_CLIENT_ID` | webhook, from the service account | the client ID of the identity |
/// | `AZURE_TENANT_ID` | webhook | the tenant ID of the identity |
/// | `AZURE_AUTHORITY_HOST` | webhook | the login host; default: the public cloud |
/// | `AZURE_KUBERNETES_TOKEN_PROXY` and others | webhook, for an identity binding | see [`TokenProxy`] |
///
/// In a pod with an AKS identity binding, the token requests go to the token proxy of the cluster.
///
/// # Examples
///
/// ```no_run
/// # async fn f() -> Result<(), entra_workload::Error> {
/// use entra_workload::WorkloadIdentityCredential;
///
/// let credential = WorkloadIdentityCredential::from_env()?;
/// let token = credential.token(&["https://vault.azure.net/.default"]).await?;
/// println!("expires on {:?}", token.expires_on());
/// # Ok(()) }
/// ```
///
/// Source for the variables: Azure AD Workload Identity, "Service Account Labels and Annotations".
#[derive(Debug)]
pub struct WorkloadIdentityCredential(Cache);

impl WorkloadIdentityCredential {
    /// Builds the credential from the environment variables of the pod. Does no I/O: the token file
    /// is read at the first call.
    ///
    /// # Errors
    ///
    /// As [`WorkloadIdentityCredentialBuilder::build`].
    pub fn from_env() -> Result<Arc<Self>, Error> {
        Self::builder().build()
    }

    /// Returns a builder. Its options override environment variables.
    pub fn builder() -> WorkloadIdentityCredentialBuilder {
        WorkloadIdentityCredentialBuilder::default()
    }
}

credential!(WorkloadIdentityCredential);

/// Builds a [`WorkloadIdentityCredential`].
///
/// # Examples
///
/// ```
/// use entra_workload::WorkloadIdentityCredential;
///
/// let credential = WorkloadIdentityCredential::builder()
///     .tenant_id("72f988bf-86f1-41af-91ab-2d7cd011db47")
///     .client_id("7a5ff21b-4f5b-4f5b-9e3e-2c0b5a1d9a10")
///     .token_file("/var/run/secrets/tokens/azure")
///     .authority_host("https://login.microsoftonline.us")
///     .build()?;
/// # drop(credential);
/// # Ok::<(), entra_workload::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct WorkloadIdentityCredentialBuilder {
    pub(crate) options: ClientOptions,
    token_file: Option<External>,
}

impl WorkloadIdentityCredentialBuilder {
    /// Sets the file with the service-account token. Default: `AZURE_FEDERATED_TOKEN_FILE`.
    #[must_use]
    pub fn token_file(mut self, token_file: impl Into<PathBuf>) -> Self {
        self.token_file = Some(External::path(token_file.into()));
        self
    }

    /// Sets the token proxy of the cluster, for an AKS identity binding. Default: that of the variables
    /// (see [`TokenProxy::from_environment`]). All token requests go to it, so a `transport(..)` is an error;
    /// beside this option, so are `authority_host(..)` and `cloud(..)`, since the proxy chooses the login host.
    /// The default of `timeout(..)` is 5 s.
    #[must_use]
    pub fn token_proxy(mut self, token_proxy: TokenProxy) -> Self {
        self.options.token_proxy = Some(token_proxy);
        self
    }

    #[cfg(feature = "diagnose")]
    pub(crate) fn shared_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.options.clock = Some(clock);
        self
    }

    /// Builds the credential. Does no I/O: the token file does not have to exist yet.
    ///
    /// # Errors
    ///
    /// * [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) if neither a token file nor a
    ///   token proxy is set.
    /// * [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) if one is set, and the token
    ///   file, the client ID or the tenant ID is missing, if an ID, the authority host or a variable
    ///   of the token proxy is invalid, or if an option is set that a token proxy leaves without use.
    pub fn build(self) -> Result<Arc<WorkloadIdentityCredential>, Error> {
        let (options, client, authentication, environment) = self.resolve()?;
        let cache = options.build(client, authentication, &environment)?;
        Ok(Arc::new(WorkloadIdentityCredential(cache)))
    }

    /// As [`build`](Self::build), without a cache.
    #[cfg(feature = "diagnose")]
    pub(crate) fn exchange(self) -> Result<Exchange, Error> {
        let (mut options, client, authentication, environment) = self.resolve()?;
        // A diagnosis has one transport for all its requests; the others do not go to the proxy.
        if options.token_proxy.is_some() {
            options.transport = None;
        }
        options.exchange(client, authentication, &environment)
    }

    /// The token proxy of the options chooses the login host.
    fn check_login_host_is_unset(&self) -> Result<(), Error> {
        let options = [
            ("authority_host", self.options.authority_host.is_some()),
            ("cloud", self.options.cloud.is_some()),
        ];
        match options.iter().find(|(_, is_set)| *is_set) {
            Some((name, _)) => Err(Error::configuration(format!(
                "the option .{name}(..) is set beside .token_proxy(..), and the proxy chooses the login host; remove .{name}(..)"
            ))),
            None => Ok(()),
        }
    }

    /// Completes the options with the variables.
    fn resolve(mut self) -> Result<(ClientOptions, Client, ClientAuthentication, Environment), Error> {
        let environment = self.options.take_environment();
        let variables = environment.workload_identity()?;
        let token_file = self
            .token_file
            .take()
            .filter(|path| !path.is_empty())
            .or(variables.token_file);
        if self.options.token_proxy.is_none() {
            self.options.token_proxy = TokenProxy::from_environment(&environment)?;
        } else {
            self.check_login_host_is_unset()?;
        }
        let token_file = match token_file {
            Some(token_file) => token_file,
            None if self.options.token_proxy.is_some() => return Err(missing_token_file()),
            None => return Err(unavailable(&environment)),
        };
        let client_id = present(self.options.client_id.take()).or(variables.client_id);
        let tenant_id = present(self.options.tenant_id.take()).or(variables.tenant_id);
        let (Some(client_id), Some(tenant_id)) = (&client_id, &tenant_id) else {
            return Err(partly_injected(client_id.is_none(), tenant_id.is_none()));
        };
        let assertion = ProjectedTokenFile::with_clock(token_file, self.options.clock())
            .with_file_reader(environment.file_reader());
        let client = Client::new(client_id, tenant_id)?;
        let authentication = ClientAuthentication::Assertion(Arc::new(assertion));
        Ok((self.options, client, authentication, environment))
    }
}

client_options!(WorkloadIdentityCredentialBuilder, client_id);

fn unavailable(environment: &Environment) -> Error {
    missing_workload_identity(environment).unwrap_or_else(|| {
        Error::unavailable(format!(
            "{AZURE_FEDERATED_TOKEN_FILE} is not set: this process does not run in a pod with workload identity; \
             on a laptop, run `az login` and use DefaultAzureCredential"
        ))
        .with_code(Code::NOT_IN_A_POD)
    })
}

/// Returns the error for a pod without workload identity; nothing if this is not such a
/// pod.
pub(crate) fn missing_workload_identity(environment: &Environment) -> Option<Error> {
    let is_set_up = environment.workload_identity().ok()?.token_file.is_some();
    (environment.in_kubernetes() && !is_set_up).then(|| {
        Error::unavailable(format!(
            "{AZURE_FEDERATED_TOKEN_FILE} is not set: this pod has no workload identity; add the label \
             azure.workload.identity/use: \"true\" to the pod template (a label of the Deployment itself has no effect) and \
             recreate the pod"
        ))
        .with_code(Code::NO_WORKLOAD_IDENTITY)
    })
}

fn missing_token_file() -> Error {
    Error::configuration(format!(
        "{AZURE_FEDERATED_TOKEN_FILE} is not set and {AZURE_KUBERNETES_TOKEN_PROXY} is, so the identity binding of this \
         pod is incomplete; recreate the pod, or remove the variable from its template"
    ))
    .with_code(Code::INCOMPLETE_IDENTITY_BINDING)
}

fn partly_injected(lacks_client_id: bool, lacks_tenant_id: bool) -> Error {
    let mut missing = Vec::new();
    if lacks_client_id {
        missing.push(format!(
            "{AZURE_CLIENT_ID} is not set; annotate the pod's service account with azure.workload.identity/client-id \
             and recreate the pod"
        ));
    }
    if lacks_tenant_id {
        missing.push(format!(
            "{AZURE_TENANT_ID} is not set: the webhook has no default tenant; annotate the pod's service account \
             with azure.workload.identity/tenant-id and recreate the pod"
        ));
    }
    let code = if lacks_client_id {
        Code::NO_CLIENT_ID
    } else {
        Code::NO_TENANT_ID
    };
    Error::configuration(missing.join("; ")).with_code(code)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    const ALL: [(&str, &str); 3] = [
        (AZURE_CLIENT_ID, "7a5ff21b-4f5b-4f5b-9e3e-2c0b5a1d9a10"),
        (AZURE_TENANT_ID, "tenant"),
        (AZURE_FEDERATED_TOKEN_FILE, "/token"),
    ];

    fn build(variables: &[(&str, &str)]) -> Result<Arc<WorkloadIdentityCredential>, Error> {
        let environment = variables.iter().copied().collect();
        WorkloadIdentityCredential::builder()
            .environment(environment)
            .build()
    }

    #[test]
    fn transport_is_an_error_in_a_pod_with_a_token_proxy() {
        let proxy = (AZURE_KUBERNETES_TOKEN_PROXY, "https://kubernetes.default.svc");
        for (variables, is_error) in [
            (&[ALL[0], ALL[1], ALL[2]][..], false),
            (&[ALL[0], ALL[1], ALL[2], proxy], true),
        ] {
            let result = WorkloadIdentityCredential::builder()
                .environment(variables.iter().copied().collect())
                .transport(crate::transport::HttpTransport::new())
                .build();
            assert_eq!(result.is_err(), is_error, "{variables:?}");
            if let Err(error) = result {
                assert_eq!(error.kind(), ErrorKind::Configuration);
                assert!(error.to_string().contains(".transport(..)"), "{error}");
            }
        }
    }

    #[test]
    fn login_host_is_an_error_beside_the_option_of_a_token_proxy() {
        let builder = || {
            let environment = ALL.into_iter().collect();
            WorkloadIdentityCredential::builder().environment(environment)
        };
        let proxy = TokenProxy::builder("https://kubernetes.default.svc")
            .build()
            .unwrap();
        assert!(builder().token_proxy(proxy.clone()).build().is_ok());
        for (name, builder) in [
            (
                "authority_host",
                builder().authority_host("https://login.example"),
            ),
            ("cloud", builder().cloud(crate::Cloud::China)),
        ] {
            let error = builder.token_proxy(proxy.clone()).build().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Configuration);
            assert!(error.to_string().contains(&format!(".{name}(..)")), "{error}");
        }
    }

    #[test]
    fn is_unavailable_without_a_token_file() {
        for variables in [
            &[][..],
            &[(AZURE_CLIENT_ID, "client")],
            &[(AZURE_FEDERATED_TOKEN_FILE, ""), ALL[0], ALL[1]],
        ] {
            let error = build(variables).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{variables:?}");
            assert!(
                error.to_string().contains("AZURE_FEDERATED_TOKEN_FILE"),
                "{error}"
            );
        }
        let in_pod = build(&[("KUBERNETES_SERVICE_HOST", "10.0.0.1")]).unwrap_err();
        assert!(
            in_pod.to_string().contains("azure.workload.identity/use"),
            "{in_pod}"
        );
    }

    #[test]
    fn missing_variables_of_a_partly_injected_pod_are_named_with_their_cause() {
        for (variables, present, absent) in [
            (
                &[ALL[2]][..],
                &["AZURE_CLIENT_ID", "AZURE_TENANT_ID"][..],
                &[][..],
            ),
            (
                &[ALL[2], ALL[0]],
                &["AZURE_TENANT_ID", "tenant-id"],
                &["AZURE_CLIENT_ID"],
            ),
            (
                &[ALL[2], ALL[1]],
                &["AZURE_CLIENT_ID", "client-id"],
                &["AZURE_TENANT_ID"],
            ),
            (
                &[ALL[2], ALL[1], (AZURE_CLIENT_ID, "")],
                &["AZURE_CLIENT_ID"],
                &["AZURE_TENANT_ID"],
            ),
        ] {
            let error = build(variables).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Configuration, "{variables:?}");
            let text = error.to_string();
            assert!(present.iter().all(|part| text.contains(part)), "{text}");
            assert!(!absent.iter().any(|part| text.contains(part)), "{text}");
        }
    }

    #[test]
    fn options_override_environment_variables() {
        let environment: Environment = ALL.into_iter().collect();
        let credential = WorkloadIdentityCredential::builder()
            .environment(environment)
            .client_id("0b7e1c0e-0000-4000-8000-00000000000b")
            .tenant_id("")
            .authority_host("http://localhost:1234")
            .build()
            .unwrap();
        let shown = format!("{credential:?}");
        assert!(
            shown.contains("0b7e1c0e-0000-4000-8000-00000000000b")
                && shown.contains(r#""tenant""#)
                && shown.contains("localhost:1234"),
            "{shown}"
        );
    }

    #[test]
    fn build_rejects_invalid_ids_and_authority_hosts() {
        for wrong in [
            (AZURE_TENANT_ID, "a/b"),
            (AZURE_TENANT_ID, "a b"),
            (AZURE_TENANT_ID, "é"),
            (AZURE_CLIENT_ID, "7a5ff21b-4f5b-4f5b-9e3e-2c0b5a1d9a10\n"),
            (AZURE_CLIENT_ID, "client"),
            ("AZURE_AUTHORITY_HOST", "http://login.example.com"),
            ("AZURE_AUTHORITY_HOST", "https://login.example.com/tenant/"),
            (
                "AZURE_AUTHORITY_HOST",
                "https://login.microsoftonline.com/72f988bf-86f1-41af-91ab-2d7cd011db47",
            ),
            ("AZURE_AUTHORITY_HOST", "https://user:planted@login.example.com"),
        ] {
            let error = build(&[ALL[0], ALL[1], ALL[2], wrong]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Configuration, "{wrong:?}");
            assert!(!format!("{error:?}").contains("planted"));
        }
        assert!(build(&ALL).is_ok());
    }
}
