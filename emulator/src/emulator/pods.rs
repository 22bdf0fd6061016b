use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use uuid::Uuid;

use super::Emulator;
use crate::ci_job::CiJob;
use crate::entra::FederatedCredential;
use crate::pod::{self, Pod};
use crate::service_account_token::EXCHANGE_AUDIENCE;
use crate::token_proxy::TokenProxy;

/// Pods and jobs.
impl Emulator {
    /// Creates a pod: registers a new application with a federated credential for the service
    /// account, and writes a service-account token.
    ///
    /// # Errors
    ///
    /// Returns an error if the token file cannot be written.
    pub fn pod(&self, namespace: &str, service_account: &str) -> io::Result<Pod> {
        self.pod_with(namespace, service_account, None, false)
    }

    /// Returns the pod that there is for the service account and the client ID, or creates it.
    pub(crate) fn pod_with(
        &self,
        namespace: &str,
        service_account: &str,
        client_id: Option<&str>,
        identity_binding: bool,
    ) -> io::Result<Pod> {
        if let Some(client_id) = client_id {
            let pods = self.pods.lock().unwrap_or_else(PoisonError::into_inner);
            let known = pods.iter().find(|pod| {
                (
                    pod.namespace.as_str(),
                    pod.service_account.as_str(),
                    pod.client_id.as_str(),
                ) == (namespace, service_account, client_id)
            });
            if let Some(pod) = known {
                return Ok(pod.clone());
            }
        }
        let client_id = client_id.map_or_else(|| Uuid::new_v4().to_string(), str::to_lowercase);
        if identity_binding {
            self.token_proxy.bind(&client_id)?;
            self.token_proxy.allow(namespace, service_account, &client_id);
            let proxy = Some(Arc::clone(&self.token_proxy));
            return self.create_pod(namespace, service_account, client_id, proxy);
        }
        let credential = FederatedCredential {
            issuer: self.issuer.url().to_owned(),
            subject: format!("system:serviceaccount:{namespace}:{service_account}"),
            audience: EXCHANGE_AUDIENCE.to_owned(),
        };
        self.entra.register_federated_credential(&client_id, credential);
        self.create_pod(namespace, service_account, client_id, None)
    }

    /// Creates a pod with an AKS identity binding: registers a new application with the binding's
    /// federated credential, lets the service account use it at the [token proxy](Self::token_proxy),
    /// and writes a service-account token for the proxy. Entra itself refuses that token.
    ///
    /// # Errors
    ///
    /// Returns an error if the token file cannot be written, or if generating the binding's key fails.
    pub fn bound_pod(&self, namespace: &str, service_account: &str) -> io::Result<Pod> {
        self.pod_with(namespace, service_account, None, true)
    }

    /// Starts a job of GitHub Actions whose workflow has `permissions: id-token: write`: registers a new
    /// application with a federated credential for the subject.
    ///
    /// * `repository`: `owner/name`.
    /// * `subject`: the `sub` of its tokens, for example `repo:contoso/orders:ref:refs/heads/main`.
    ///
    /// # Errors
    ///
    /// Returns an error if generating the key of the issuer fails.
    pub fn github_job(&self, repository: &str, subject: &str) -> io::Result<CiJob> {
        self.ci_systems.github_job(repository, subject)
    }

    /// Starts a job of Azure Pipelines in a step that has a service connection with workload identity
    /// federation and maps `SYSTEM_ACCESSTOKEN`: registers a new application with the federated credential
    /// of the service connection.
    ///
    /// # Errors
    ///
    /// Returns an error if generating the key of the issuer fails.
    pub fn pipelines_job(&self, organization: &str, service_connection: &str) -> io::Result<CiJob> {
        self.ci_systems.pipelines_job(organization, service_connection)
    }

    fn create_pod(
        &self,
        namespace: &str,
        service_account: &str,
        client_id: String,
        token_proxy: Option<Arc<TokenProxy>>,
    ) -> io::Result<Pod> {
        let volume = tempfile::Builder::new()
            .prefix("pod-")
            .tempdir_in(self.directory.path())?
            .keep();
        let pod = Pod {
            issuer: Arc::clone(&self.issuer),
            namespace: namespace.to_owned(),
            service_account: service_account.to_owned(),
            client_id,
            tenant_id: self.entra.tenant_id().to_owned(),
            authority_host: self.authority_host.clone(),
            token_file: pod::token_file(&volume),
            volume,
            projected_on: Arc::default(),
            token_proxy,
        };
        pod.rotate()?;
        let mut pods = self.pods.lock().unwrap_or_else(PoisonError::into_inner);
        pods.push(pod.clone());
        Ok(pod)
    }

    /// Replaces the tokens that are older than 80 % of their life, as the kubelet does. With
    /// [`EmulatorBuilder::rotate_tokens`](crate::EmulatorBuilder::rotate_tokens) this happens by itself.
    ///
    /// # Errors
    ///
    /// Returns an error if a token file cannot be written.
    pub fn rotate_due_tokens(&self) -> io::Result<()> {
        rotate_due(&self.pods)
    }

    /// Replaces the tokens of all pods.
    ///
    /// # Errors
    ///
    /// Returns an error if a token file cannot be written.
    pub fn rotate_tokens(&self) -> io::Result<()> {
        let pods = self.pods.lock().unwrap_or_else(PoisonError::into_inner);
        pods.iter().try_for_each(Pod::rotate)
    }
}

/// Replaces the tokens that are due.
pub(super) fn rotate_due(pods: &Mutex<Vec<Pod>>) -> io::Result<()> {
    let pods = pods.lock().unwrap_or_else(PoisonError::into_inner);
    pods.iter().try_for_each(Pod::rotate_if_due)
}
