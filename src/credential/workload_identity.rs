use std::path::PathBuf;
use std::sync::Arc;

use super::options::{Client, ClientOptions, present};
use super::{client_options, credential};
use crate::assertion::ProjectedTokenFile;
use crate::cache::Cache;
use crate::env::{AZURE_CLIENT_ID, AZURE_FEDERATED_TOKEN_FILE, AZURE_TENANT_ID, Environment};
use crate::error::Error;
use crate::exchange::ClientAuthentication;

/// Gets tokens for the identity of this pod (AKS workload identity, or any cluster whose issuer Entra trusts).
///
/// The pod's service-account token is read from the file that the kubelet keeps fresh, and traded at Entra for an access
/// token, which is cached and refreshed in the background.
///
/// | variable | set by | meaning |
/// | --- | --- | --- |
/// | `AZURE_FEDERATED_TOKEN_FILE` | webhook | the service-account token; without it this is no workload-identity pod |
/// | `AZURE_CLIENT_ID` | webhook, from the service account's annotation | the identity |
/// | `AZURE_TENANT_ID` | webhook | its tenant |
/// | `AZURE_AUTHORITY_HOST` | webhook | the login host; default `https://login.microsoftonline.com` |
///
/// # Examples
///
/// ```no_run
/// # async fn f() -> Result<(), entra_workload::Error> {
/// use entra_workload::WorkloadIdentityCredential;
///
/// let credential = WorkloadIdentityCredential::from_env()?;
/// let token = credential.token(&["https://vault.azure.net/.default"]).await?;
/// println!("good until {:?}", token.expires_on());
/// # Ok(()) }
/// ```
///
/// Source of the variables: Azure AD Workload Identity, "Service Account Labels and Annotations".
#[derive(Debug)]
pub struct WorkloadIdentityCredential(Cache);

impl WorkloadIdentityCredential {
    /// The credential that the pod's environment describes. Does no I/O: the token file is read at the first call.
    ///
    /// # Errors
    ///
    /// As [`WorkloadIdentityCredentialBuilder::build`].
    pub fn from_env() -> Result<Arc<Self>, Error> {
        Self::builder().build()
    }

    /// A builder: what is given goes before the environment.
    pub fn builder() -> WorkloadIdentityCredentialBuilder {
        WorkloadIdentityCredentialBuilder::default()
    }
}

credential!(WorkloadIdentityCredential);

/// Makes a [`WorkloadIdentityCredential`]. What is left out comes from the environment.
#[derive(Debug, Default)]
pub struct WorkloadIdentityCredentialBuilder {
    pub(crate) options: ClientOptions,
    token_file: Option<PathBuf>,
}

impl WorkloadIdentityCredentialBuilder {
    /// The file with the service-account token. Default: `AZURE_FEDERATED_TOKEN_FILE`.
    #[must_use]
    pub fn token_file(mut self, token_file: impl Into<PathBuf>) -> Self {
        self.token_file = Some(token_file.into());
        self
    }

    /// Makes the credential. Does no I/O: the token file need not be there yet.
    ///
    /// # Errors
    ///
    /// * [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) if there is no token file to read: this is no
    ///   workload-identity pod.
    /// * [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) if there is one, and the client or the tenant is missing,
    ///   or the tenant or the authority host cannot be right.
    pub fn build(mut self) -> Result<Arc<WorkloadIdentityCredential>, Error> {
        let environment = self.options.take_environment();
        let variables = environment.workload_identity()?;
        let token_file = self
            .token_file
            .filter(|path| !path.as_os_str().is_empty())
            .or(variables.token_file)
            .ok_or_else(|| unavailable(&environment))?;
        let client_id = present(self.options.client_id.take()).or(variables.client_id);
        let tenant_id = present(self.options.tenant_id.take()).or(variables.tenant_id);
        let (Some(client_id), Some(tenant_id)) = (&client_id, &tenant_id) else {
            return Err(partly_injected(client_id.is_none(), tenant_id.is_none()));
        };
        let assertion = Arc::new(ProjectedTokenFile::with_clock(token_file, self.options.clock()));
        let client = Client::new(client_id.clone(), tenant_id)?;
        let cache = self
            .options
            .build(client, ClientAuthentication::Assertion(assertion), &environment)?;
        Ok(Arc::new(WorkloadIdentityCredential(cache)))
    }
}

client_options!(WorkloadIdentityCredentialBuilder, client_id);

fn unavailable(environment: &Environment) -> Error {
    Error::unavailable(missing_workload_identity(environment).unwrap_or_else(|| {
        format!("{AZURE_FEDERATED_TOKEN_FILE} is not set: this process does not run in a pod with workload identity")
    }))
}

/// What is said in a pod that carries no workload identity, and nowhere else.
pub(crate) fn missing_workload_identity(environment: &Environment) -> Option<String> {
    let is_set_up = environment.workload_identity().ok()?.token_file.is_some();
    (environment.in_kubernetes() && !is_set_up).then(|| {
        format!(
            "{AZURE_FEDERATED_TOKEN_FILE} is not set: this pod carries no workload identity; put the label \
             azure.workload.identity/use: \"true\" on the pod template (the Deployment's own labels do not count) and create \
             the pod anew"
        )
    })
}

fn partly_injected(client_id: bool, tenant_id: bool) -> Error {
    let mut missing = Vec::new();
    if client_id {
        missing.push(format!(
            "{AZURE_CLIENT_ID} is not set: annotate the pod's service account with azure.workload.identity/client-id, \
             and create the pod anew"
        ));
    }
    if tenant_id {
        missing.push(format!(
            "{AZURE_TENANT_ID} is not set: the webhook has no tenant configured; annotate the pod's service account \
             with azure.workload.identity/tenant-id, and create the pod anew"
        ));
    }
    Error::configuration(missing.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    const ALL: [(&str, &str); 3] = [
        (AZURE_CLIENT_ID, "client"),
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
    fn without_a_token_file_it_is_not_set_up_here() {
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
    fn a_half_injected_pod_is_told_each_missing_variable_and_its_cause() {
        for (variables, named, not_named) in [
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
            assert!(named.iter().all(|name| text.contains(name)), "{text}");
            assert!(!not_named.iter().any(|name| text.contains(name)), "{text}");
        }
    }

    #[test]
    fn what_is_given_goes_before_the_environment() {
        let environment: Environment = ALL.into_iter().collect();
        let credential = WorkloadIdentityCredential::builder()
            .environment(environment)
            .client_id("given")
            .tenant_id("")
            .authority_host("http://localhost:1234")
            .build()
            .unwrap();
        let shown = format!("{credential:?}");
        assert!(
            shown.contains("given") && shown.contains(r#""tenant""#) && shown.contains("localhost:1234"),
            "{shown}"
        );
    }

    #[test]
    fn a_tenant_or_an_authority_that_cannot_be_right_is_refused_at_once() {
        for wrong in [
            (AZURE_TENANT_ID, "a/b"),
            (AZURE_TENANT_ID, "a b"),
            (AZURE_TENANT_ID, "é"),
            (AZURE_CLIENT_ID, "client\n"),
            ("AZURE_AUTHORITY_HOST", "http://login.example.com"),
            ("AZURE_AUTHORITY_HOST", "https://user:planted@login.example.com"),
        ] {
            let error = build(&[ALL[0], ALL[1], ALL[2], wrong]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Configuration, "{wrong:?}");
            assert!(!format!("{error:?}").contains("planted"));
        }
        assert!(build(&ALL).is_ok());
    }
}
