use std::io;
use std::sync::Arc;

use tokio_rustls::rustls::ServerConfig;
use uuid::Uuid;

use super::azure_pipelines::AzurePipelines;
use super::ci_job::{CiJob, Jobs, RunningJob};
use super::clock::Clock;
use super::endpoint::Endpoint;
use super::entra::{Entra, FederatedCredential};
use super::github_actions::GitHubActions;
use super::server::{Port, Server, Traffic};
use super::service_account_token::EXCHANGE_AUDIENCE;

/// GitHub Actions and Azure Pipelines.
pub(super) struct CiSystems {
    github: System,
    pipelines: System,
    entra: Arc<Entra>,
    authority_host: String,
    _servers: [Server; 2],
}

struct System {
    url: String,
    jobs: Arc<Jobs>,
}

impl CiSystems {
    /// Starts the two token services.
    pub(super) async fn start(
        entra: Arc<Entra>,
        authority_host: String,
        clock: &Clock,
        tls: &Arc<ServerConfig>,
        traffic: &Arc<Traffic>,
    ) -> io::Result<Self> {
        let (github_port, pipelines_port) = (Port::bind(0).await?, Port::bind(0).await?);
        let github = System {
            url: github_port.url(),
            jobs: Arc::new(Jobs::new(GITHUB_ISSUER, clock.clone())),
        };
        let pipelines_issuer = format!("{PIPELINES_ISSUER}/{}", Uuid::new_v4());
        let pipelines = System {
            url: pipelines_port.url(),
            jobs: Arc::new(Jobs::new(pipelines_issuer, clock.clone())),
        };
        let serve = |port, endpoint, service| {
            Server::start(
                port,
                Some(Arc::clone(tls)),
                endpoint,
                service,
                Arc::clone(traffic),
            )
        };
        let servers = [
            serve(
                github_port,
                Endpoint::GitHubActions,
                Arc::new(GitHubActions(Arc::clone(&github.jobs))) as _,
            ),
            serve(
                pipelines_port,
                Endpoint::AzurePipelines,
                Arc::new(AzurePipelines(Arc::clone(&pipelines.jobs))),
            ),
        ];
        Ok(Self {
            github,
            pipelines,
            entra,
            authority_host,
            _servers: servers,
        })
    }

    pub(super) fn github_job(&self, repository: &str, subject: &str) -> io::Result<CiJob> {
        let (owner, _) = repository.split_once('/').unwrap_or((repository, ""));
        let path = format!("/24//idtoken/{}/{}", Uuid::new_v4(), Uuid::new_v4());
        let url = format!("{}{path}?api-version=2.0", self.github.url);
        let mut job = self.start_job(
            &self.github.jobs,
            RunningJob {
                path,
                subject: subject.to_owned(),
                owner: owner.to_owned(),
                service_connection_id: String::new(),
            },
        )?;
        job.variables.extend([
            ("ACTIONS_ID_TOKEN_REQUEST_URL", url),
            ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", job.request_token.clone()),
        ]);
        Ok(job)
    }

    pub(super) fn pipelines_job(&self, organization: &str, service_connection: &str) -> io::Result<CiJob> {
        let connection_id = Uuid::new_v4().to_string();
        let (project, plan, job) = (Uuid::new_v4(), Uuid::new_v4(), Uuid::new_v4());
        let path = format!(
            "/{organization}/{project}/_apis/distributedtask/hubs/build/plans/{plan}/jobs/{job}/oidctoken"
        );
        let url = format!("{}{path}", self.pipelines.url);
        let mut job = self.start_job(
            &self.pipelines.jobs,
            RunningJob {
                path,
                subject: format!("sc://{organization}/orders/{service_connection}"),
                owner: organization.to_owned(),
                service_connection_id: connection_id.clone(),
            },
        )?;
        job.variables.extend([
            ("SYSTEM_OIDCREQUESTURI", url),
            ("SYSTEM_ACCESSTOKEN", job.request_token.clone()),
            ("AZURESUBSCRIPTION_SERVICE_CONNECTION_ID", connection_id),
            ("AZURESUBSCRIPTION_CLIENT_ID", job.client_id.clone()),
            ("AZURESUBSCRIPTION_TENANT_ID", job.tenant_id.clone()),
        ]);
        Ok(job)
    }

    /// Registers a new application with a federated credential for the job.
    fn start_job(&self, jobs: &Arc<Jobs>, job: RunningJob) -> io::Result<CiJob> {
        let client_id = Uuid::new_v4().to_string();
        let credential = FederatedCredential {
            issuer: jobs.issuer().to_owned(),
            subject: job.subject.clone(),
            audience: EXCHANGE_AUDIENCE.to_owned(),
        };
        self.entra.trust_issuer(jobs.issuer(), vec![jobs.public_key()?]);
        self.entra.register_federated_credential(&client_id, credential);
        Ok(CiJob {
            client_id,
            tenant_id: self.entra.tenant_id().to_owned(),
            variables: vec![("AZURE_AUTHORITY_HOST", self.authority_host.clone())],
            request_token: jobs.start(job),
            jobs: Arc::clone(jobs),
        })
    }
}

/// Source: GitHub, "OpenID Connect reference".
const GITHUB_ISSUER: &str = "https://token.actions.githubusercontent.com";

/// Followed by the ID of the organization. Source: Azure DevOps, "Set up a workload identity service
/// connection manually".
const PIPELINES_ISSUER: &str = "https://vstoken.dev.azure.com";
