//! Jobs of CI systems, whose request tokens and assertions are secrets.

use entra_workload::assertion::{AzurePipelines, GitHubActions, TerraformOidc};
use entra_workload::{AzurePipelinesCredential, ClientAssertionCredential, Environment};
use entra_workload_emulator::{CiJob, Endpoint};

use crate::leak_check::LeakCheck;

fn environment(job: &CiJob) -> Environment {
    job.variables().iter().cloned().collect()
}

fn github(check: &LeakCheck) -> CiJob {
    let subject = "repo:contoso/orders:ref:refs/heads/main";
    check.emulator.github_job("contoso/orders", subject).unwrap()
}

/// The token that authorizes the requests of a job.
fn request_token<'a>(job: &'a CiJob, variable: &str) -> &'a str {
    let mut variables = job.variables().iter();
    &variables.find(|(name, _)| *name == variable).unwrap().1
}

fn credential(check: &LeakCheck, job: &CiJob) -> std::sync::Arc<ClientAssertionCredential> {
    let source = GitHubActions::from_environment(&environment(job)).unwrap();
    ClientAssertionCredential::builder()
        .environment(environment(job))
        .tenant_id(job.tenant_id())
        .client_id(job.client_id())
        .transport(check.transport())
        .clock(check.clock.clone())
        .assertion(source.transport(check.transport()))
        .build()
        .unwrap()
}

#[tokio::test]
async fn nothing_leaks_in_a_job_of_github_actions() {
    let mut check = LeakCheck::start().await;
    let job = github(&check);
    check.add_secret(request_token(&job, "ACTIONS_ID_TOKEN_REQUEST_TOKEN"));
    check.show(&job);
    check.show(&GitHubActions::from_environment(&environment(&job)).unwrap());
    check.show(&TerraformOidc::from_environment(&environment(&job)).unwrap());
    check.show_token(&*credential(&check, &job)).await;
    job.finish();
    check.show_failure(&*credential(&check, &job)).await;
    check.finish(["entra_workload::exchange: token acquired"]);
}

#[tokio::test]
async fn nothing_leaks_when_the_token_service_of_a_job_echoes_its_tokens() {
    let mut check = LeakCheck::start().await;
    let job = github(&check);
    let token = request_token(&job, "ACTIONS_ID_TOKEN_REQUEST_TOKEN").to_owned();
    check.add_secret(&token);
    check.show_token(&*credential(&check, &job)).await;
    let sent = check.emulator.requests_to(Endpoint::Entra);
    let assertion = sent
        .last()
        .and_then(|request| request.form("client_assertion"))
        .unwrap();
    check
        .show_echoes(Endpoint::GitHubActions, &[&token, &assertion], |check| {
            credential(check, &job)
        })
        .await;
    check
        .show_echoes(Endpoint::Entra, &[&token, &assertion], |check| {
            credential(check, &job)
        })
        .await;
    check.finish([]);
}

#[tokio::test]
async fn nothing_leaks_in_a_job_of_azure_pipelines() {
    let mut check = LeakCheck::start().await;
    let job = check.emulator.pipelines_job("contoso", "orders").unwrap();
    check.add_secret(request_token(&job, "SYSTEM_ACCESSTOKEN"));
    check.show(&AzurePipelines::from_environment(&environment(&job)).unwrap());
    check.show(&TerraformOidc::from_environment(&environment(&job)).unwrap());
    let builder = || {
        AzurePipelinesCredential::builder()
            .environment(environment(&job))
            .system_access_token(request_token(&job, "SYSTEM_ACCESSTOKEN"))
            .transport(check.transport())
            .clock(check.clock.clone())
    };
    let (shown, credential, another) = (builder(), builder().build().unwrap(), builder().build().unwrap());
    check.show(&shown);
    check.show_token(&*credential).await;
    job.finish();
    check.show_failure(&*another).await;
    check.finish(["entra_workload::exchange: token acquired"]);
}
