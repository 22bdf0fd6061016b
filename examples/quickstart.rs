//! The whole path on one machine, without a cloud: an emulated cluster, Entra, Key Vault and Blob account; the official
//! clients; and then what makes this crate worth having, with tokens that live six seconds instead of an hour.
//!
//! ```text
//! cargo run --example quickstart
//! ```
#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a program that shows and times its steps"
)]

use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use azure_core::http::{ClientOptions, RequestContent, Url};
use azure_security_keyvault_secrets::models::SetSecretParameters;
use azure_security_keyvault_secrets::{SecretClient, SecretClientOptions};
use azure_storage_blob::{BlobContainerClient, BlobServiceClient, BlobServiceClientOptions};
use entra_workload::{Environment, HttpTransport, WorkloadIdentityCredential};
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
        eprintln!("  because: {cause}");
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
        "a cluster issuer, an Entra, a Key Vault and a Blob account listen on loopback",
    );
    let pod = emulator.pod("shop", "orders")?;
    steps.done(
        "pod",
        "its service-account token is projected, its AZURE_* variables are set",
    );

    // In a real pod this is all: WorkloadIdentityCredential::from_env()?
    let credential = WorkloadIdentityCredential::builder()
        .environment(Environment::from_iter(pod.variables()))
        .transport(HttpTransport::with_root_certificates(
            emulator.ca_certificate_pem().as_bytes(),
        )?)
        .build()?;
    credential.token(&[STORAGE]).await?;
    steps.done(
        "exchange",
        "Entra took the pod's token and gave an access token for Storage",
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
    store_and_fetch(&container).await?;
    steps.done(
        "blob",
        "container made, blob uploaded, listed, downloaded and compared",
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
    keep_a_secret(&secrets).await?;
    steps.done("key vault", "secret set, fetched and compared");

    rotate(&emulator, &pod, &credential).await?;
    steps.done(
        "rotation",
        "the service-account token was replaced, and the next exchange sent the new one",
    );

    let (calls, refreshes) = refresh_under_load(&emulator, &credential).await?;
    steps.done(
        "refresh",
        &format!("{calls} calls while {refreshes} exchanges of 300 ms each ran behind them; no call waited"),
    );

    let (calls, requests, failed) = outage(&emulator, &credential, &container).await?;
    steps.done(
        "outage",
        &format!("{failed} exchanges failed; {calls} calls and {requests} downloads meanwhile: none failed, no call waited"),
    );

    let exchanges = exchanges(&emulator);
    credential.token(&[STORAGE]).await?;
    until(|| self::exchanges(&emulator) > exchanges, &credential).await?;
    steps.done("recovery", "Entra is back, and the token is fresh again");
    Ok(())
}

async fn store_and_fetch(container: &BlobContainerClient) -> Result<(), Box<dyn Error>> {
    container.create(None).await?;
    let blob = container.blob_client(BLOB);
    blob.upload(RequestContent::from(CONTENT.to_vec()), None).await?;
    let names: Vec<Option<String>> = container
        .list_blobs(None)?
        .map_ok(|blob| blob.name)
        .try_collect()
        .await?;
    check(names == [Some(BLOB.to_owned())], "the blob is not in the list")?;
    fetch(container).await
}

async fn fetch(container: &BlobContainerClient) -> Result<(), Box<dyn Error>> {
    let content = container
        .blob_client(BLOB)
        .download(None)
        .await?
        .body
        .collect()
        .await?;
    check(content == CONTENT, "the blob came back changed")
}

async fn keep_a_secret(secrets: &SecretClient) -> Result<(), Box<dyn Error>> {
    let parameters = SetSecretParameters {
        value: Some("correct horse battery staple".to_owned()),
        ..SetSecretParameters::default()
    };
    secrets
        .set_secret("database", parameters.clone().try_into()?, None)
        .await?;
    let secret = secrets.get_secret("database", None).await?.into_model()?;
    check(secret.value == parameters.value, "the secret came back changed")
}

async fn rotate(
    emulator: &Emulator,
    pod: &Pod,
    credential: &Arc<WorkloadIdentityCredential>,
) -> Result<(), Box<dyn Error>> {
    pod.rotate()?;
    let rotated = std::fs::read_to_string(pod.token_file())?;
    let sent_it = || {
        let requests = emulator.requests_to(Endpoint::Entra);
        requests
            .last()
            .and_then(|request| request.form("client_assertion"))
            .as_ref()
            == Some(&rotated)
    };
    until(sent_it, credential).await
}

/// Calls without a pause while exchanges are slow; gives the number of calls and of exchanges.
async fn refresh_under_load(
    emulator: &Emulator,
    credential: &WorkloadIdentityCredential,
) -> Result<(usize, usize), Box<dyn Error>> {
    emulator.inject(
        Endpoint::Entra,
        Fault::delay(Duration::from_millis(300)).until_cleared(),
    );
    let before = exchanges(emulator);
    let mut calls = 0;
    while exchanges(emulator) < before + 2 {
        call_without_waiting(credential)?;
        calls += 1;
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    emulator.clear_faults(Endpoint::Entra);
    Ok((calls, exchanges(emulator) - before))
}

/// Takes Entra down for half a token's life; gives the number of calls, of downloads, and of exchanges that failed.
async fn outage(
    emulator: &Emulator,
    credential: &WorkloadIdentityCredential,
    container: &BlobContainerClient,
) -> Result<(usize, usize, usize), Box<dyn Error>> {
    emulator.inject(Endpoint::Entra, Fault::status(503).until_cleared());
    let before = exchanges(emulator);
    let end = Instant::now() + TOKEN_LIFETIME / 2;
    let (mut calls, mut downloads) = (0, 0);
    while Instant::now() < end {
        call_without_waiting(credential)?;
        calls += 1;
        fetch(container).await?;
        downloads += 1;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let failed = exchanges(emulator) - before;
    check(failed > 0, "no refresh was tried in the outage")?;
    emulator.clear_faults(Endpoint::Entra);
    Ok((calls, downloads, failed))
}

/// A call whose answer must be there at the first look.
fn call_without_waiting(credential: &WorkloadIdentityCredential) -> Result<(), Box<dyn Error>> {
    credential
        .token(&[STORAGE])
        .now_or_never()
        .ok_or("a call had to wait")??;
    Ok(())
}

/// Keeps asking for tokens until `done`.
async fn until(
    done: impl Fn() -> bool,
    credential: &WorkloadIdentityCredential,
) -> Result<(), Box<dyn Error>> {
    let deadline = Instant::now() + TOKEN_LIFETIME;
    while !done() {
        check(Instant::now() < deadline, "no refresh within the life of a token")?;
        call_without_waiting(credential)?;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

fn exchanges(emulator: &Emulator) -> usize {
    emulator
        .requests_to(Endpoint::Entra)
        .iter()
        .filter(|request| request.status().is_some())
        .count()
}

fn check(right: bool, what: &str) -> Result<(), Box<dyn Error>> {
    if right { Ok(()) } else { Err(what.into()) }
}

/// Prints a line for each step, with the time it took.
struct Steps(Instant);

impl Steps {
    fn done(&mut self, step: &str, what: &str) {
        println!("{:>6} ms  {step:<10} {what}", self.0.elapsed().as_millis());
        self.0 = Instant::now();
    }
}

const STORAGE: &str = "https://storage.azure.com/.default";

const BLOB: &str = "2026/11/first.txt";

const CONTENT: &[u8] = b"one order of everything";

/// An hour in six seconds; refreshes are due after one.
const TOKEN_LIFETIME: Duration = Duration::from_secs(6);

const REFRESH_IN: Duration = Duration::from_secs(1);
