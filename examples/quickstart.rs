//! Everything on one machine, without a cloud: an emulated cluster, Entra, Key Vault and Blob
//! account, and the official clients. Tokens live six seconds instead of an hour, so that rotation,
//! background refresh and an outage can be seen.
//!
//! ```text
//! cargo run --example quickstart
//! ```
#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "prints and times its steps"
)]

use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use azure_core::http::{ClientOptions, RequestContent, Url};
use azure_security_keyvault_secrets::models::SetSecretParameters;
use azure_security_keyvault_secrets::{SecretClient, SecretClientOptions};
use azure_storage_blob::{BlobContainerClient, BlobServiceClient, BlobServiceClientOptions};
use entra_workload::transport::HttpTransport;
use entra_workload::{Environment, WorkloadIdentityCredential};
use entra_workload_emulator::{Emulator, Endpoint, Fault, Pod};
use futures::{FutureExt, TryStreamExt};

#[tokio::main]
async fn main() -> ExitCode {
    let Err(error) = run().await else {
        println!("quickstart: ok");
        return ExitCode::SUCCESS;
    };
    eprintln!("quickstart: {error}");
    let mut source = error.source();
    while let Some(cause) = source {
        eprintln!("  caused by: {cause}");
        source = cause.source();
    }
    ExitCode::FAILURE
}

async fn run() -> Result<(), Box<dyn Error>> {
    let mut steps = Steps(Instant::now());

    let emulator = Emulator::builder()
        .access_token_lifetime(TOKEN_LIFETIME)
        .refresh_in(REFRESH_IN)
        .start()
        .await?;
    steps.done(
        "emulator",
        "a cluster issuer, Entra, Key Vault and a Blob account listen on loopback",
    );
    let pod = emulator.pod("shop", "orders")?;
    steps.done(
        "pod",
        "the service-account token is projected and the AZURE_* variables are set",
    );

    // In a real pod: WorkloadIdentityCredential::from_env()?
    let credential = WorkloadIdentityCredential::builder()
        .environment(Environment::from_iter(pod.variables()))
        .transport(HttpTransport::with_root_certificates(
            emulator.ca_certificate_pem().as_bytes(),
        )?)
        .build()?;
    credential.token(&[STORAGE]).await?;
    steps.done(
        "exchange",
        "Entra exchanged the pod's token for an access token for Storage",
    );

    let sdk = ClientOptions {
        transport: Some(emulator.sdk_transport()?),
        ..ClientOptions::default()
    };
    let blobs = BlobServiceClient::new(
        Url::parse(emulator.blob_account_url())?,
        Some(credential.clone()),
        Some(BlobServiceClientOptions {
            client_options: sdk.clone(),
            ..BlobServiceClientOptions::default()
        }),
    )?;
    let container = blobs.blob_container_client("orders");
    upload_and_download(&container).await?;
    steps.done(
        "blob",
        "container created, blob uploaded, listed, downloaded and compared",
    );

    let secrets = SecretClient::new(
        emulator.key_vault_url(),
        credential.clone(),
        Some(SecretClientOptions {
            client_options: sdk,
            // The emulated vault is at 127.0.0.1, not under vault.azure.net.
            verify_challenge_resource: Some(false),
            ..SecretClientOptions::default()
        }),
    )?;
    set_and_get_secret(&secrets).await?;
    steps.done("key vault", "secret set, read and compared");

    rotate(&emulator, &pod, &credential).await?;
    steps.done(
        "rotation",
        "the service-account token was replaced, and the next token request sent the new one",
    );

    let (calls, refreshes) = refresh_under_load(&emulator, &credential).await?;
    steps.done(
        "refresh",
        &format!("{calls} calls during {refreshes} background refreshes of 300 ms; no call waited"),
    );

    let (calls, requests, failed) = outage(&emulator, &credential, &container).await?;
    steps.done(
        "outage",
        &format!(
            "{failed} token requests failed; {calls} calls and {requests} downloads succeeded without waiting"
        ),
    );

    let before = token_requests(&emulator);
    credential.token(&[STORAGE]).await?;
    call_until(|| token_requests(&emulator) > before, &credential).await?;
    steps.done("recovery", "Entra is back, and the token is fresh again");
    Ok(())
}

async fn upload_and_download(container: &BlobContainerClient) -> Result<(), Box<dyn Error>> {
    container.create(None).await?;
    let blob = container.blob_client(BLOB);
    blob.upload(RequestContent::from(CONTENT.to_vec()), None).await?;
    let names: Vec<Option<String>> = container
        .list_blobs(None)?
        .map_ok(|blob| blob.name)
        .try_collect()
        .await?;
    check(names == [Some(BLOB.to_owned())], "the blob is not in the list")?;
    download(container).await
}

async fn download(container: &BlobContainerClient) -> Result<(), Box<dyn Error>> {
    let content = container
        .blob_client(BLOB)
        .download(None)
        .await?
        .body
        .collect()
        .await?;
    check(content == CONTENT, "the downloaded blob differs")
}

async fn set_and_get_secret(secrets: &SecretClient) -> Result<(), Box<dyn Error>> {
    let parameters = SetSecretParameters {
        value: Some("correct horse battery staple".to_owned()),
        ..SetSecretParameters::default()
    };
    secrets
        .set_secret("database", parameters.clone().try_into()?, None)
        .await?;
    let secret = secrets.get_secret("database", None).await?.into_model()?;
    check(secret.value == parameters.value, "the secret differs")
}

async fn rotate(
    emulator: &Emulator,
    pod: &Pod,
    credential: &Arc<WorkloadIdentityCredential>,
) -> Result<(), Box<dyn Error>> {
    pod.rotate()?;
    let rotated = std::fs::read_to_string(pod.token_file())?;
    let rotated_was_sent = || {
        let requests = emulator.requests_to(Endpoint::Entra);
        requests
            .last()
            .and_then(|request| request.form("client_assertion"))
            .as_ref()
            == Some(&rotated)
    };
    call_until(rotated_was_sent, credential).await
}

/// Makes token requests slow and keeps calling; returns the numbers of calls and of token requests.
async fn refresh_under_load(
    emulator: &Emulator,
    credential: &WorkloadIdentityCredential,
) -> Result<(usize, usize), Box<dyn Error>> {
    emulator.inject(
        Endpoint::Entra,
        Fault::delay(Duration::from_millis(300)).until_cleared(),
    );
    let before = token_requests(emulator);
    let mut calls = 0;
    while token_requests(emulator) < before + 2 {
        call_without_waiting(credential)?;
        calls += 1;
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    emulator.clear_faults(Endpoint::Entra);
    Ok((calls, token_requests(emulator) - before))
}

/// Makes token requests fail for half the lifetime of a token; returns the numbers of calls, of
/// downloads and of failed token requests.
async fn outage(
    emulator: &Emulator,
    credential: &WorkloadIdentityCredential,
    container: &BlobContainerClient,
) -> Result<(usize, usize, usize), Box<dyn Error>> {
    emulator.inject(Endpoint::Entra, Fault::status(503).until_cleared());
    let before = token_requests(emulator);
    let end = Instant::now() + TOKEN_LIFETIME / 2;
    let (mut calls, mut downloads) = (0, 0);
    while Instant::now() < end {
        call_without_waiting(credential)?;
        calls += 1;
        download(container).await?;
        downloads += 1;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let failed = token_requests(emulator) - before;
    check(failed > 0, "no refresh was started in the outage")?;
    emulator.clear_faults(Endpoint::Entra);
    Ok((calls, downloads, failed))
}

/// Gets a token, which must be ready at the first poll.
fn call_without_waiting(credential: &WorkloadIdentityCredential) -> Result<(), Box<dyn Error>> {
    credential
        .token(&[STORAGE])
        .now_or_never()
        .ok_or("a call waited")??;
    Ok(())
}

/// Gets tokens until `is_done`.
async fn call_until(
    is_done: impl Fn() -> bool,
    credential: &WorkloadIdentityCredential,
) -> Result<(), Box<dyn Error>> {
    let deadline = Instant::now() + TOKEN_LIFETIME;
    while !is_done() {
        check(
            Instant::now() < deadline,
            "no refresh within the lifetime of a token",
        )?;
        call_without_waiting(credential)?;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

fn token_requests(emulator: &Emulator) -> usize {
    emulator
        .requests_to(Endpoint::Entra)
        .iter()
        .filter(|request| request.status().is_some())
        .count()
}

fn check(condition: bool, message: &str) -> Result<(), Box<dyn Error>> {
    if condition { Ok(()) } else { Err(message.into()) }
}

/// Prints a line for each step, with its duration.
struct Steps(Instant);

impl Steps {
    fn done(&mut self, step: &str, result: &str) {
        println!("{:>6} ms  {step:<10} {result}", self.0.elapsed().as_millis());
        self.0 = Instant::now();
    }
}

const STORAGE: &str = "https://storage.azure.com/.default";

const BLOB: &str = "2026/11/first.txt";

const CONTENT: &[u8] = b"one order of everything";

/// Six seconds stand for an hour; a refresh is due after one.
const TOKEN_LIFETIME: Duration = Duration::from_secs(6);

const REFRESH_IN: Duration = Duration::from_secs(1);
