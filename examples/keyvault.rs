//! Sets, gets, lists and deletes the secrets of one vault with the identity of its pod.
//!
//! ```text
//! export AZURE_KEYVAULT_URL=https://VAULT.vault.azure.net
//! keyvault set database-password < password.txt
//! keyvault get database-password
//! keyvault list
//! keyvault delete database-password
//! ```

mod support;
#[path = "support/usage.rs"]
mod usage;

use std::error::Error;
use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;

use azure_core::http::Url;
use azure_security_keyvault_secrets::models::{SecretClientGetSecretOptions, SetSecretParameters};
use azure_security_keyvault_secrets::{ResourceExt as _, SecretClient, SecretClientOptions};
use clap::{CommandFactory as _, Parser, Subcommand};
use entra_workload::WorkloadIdentityCredential;
use futures::TryStreamExt as _;
use tokio::io::AsyncReadExt as _;

/// Sets, gets, lists and deletes the secrets of one vault.
///
/// The identity is that of the pod (AKS workload identity: `AZURE_CLIENT_ID`, `AZURE_TENANT_ID`,
/// `AZURE_FEDERATED_TOKEN_FILE`, `AZURE_AUTHORITY_HOST`). It needs the role "Key Vault Secrets
/// Officer", or "Key Vault Secrets User" to get and list.
#[derive(Parser)]
#[command(name = "keyvault", version)]
struct Cli {
    /// URL of the vault: `https://VAULT.vault.azure.net`
    #[arg(long, env = "AZURE_KEYVAULT_URL", value_name = "URL", global = true)]
    vault_url: Option<String>,

    /// Accepts challenges of hosts outside Key Vault's domains, such as an emulator on loopback;
    /// that host can then request a token for any resource
    #[arg(long, global = true)]
    disable_challenge_resource_verification: bool,

    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Sets a secret to the content of stdin without a final newline, and prints the new version's
    /// ID
    Set { name: String },
    /// Prints a secret's value
    Get {
        name: String,
        /// Version of the secret; default: the latest
        #[arg(long)]
        version: Option<String>,
    },
    /// Prints the names of all secrets
    List,
    /// Deletes a secret; it stays recoverable for the vault's retention period
    Delete { name: String },
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    support::log_to_stderr();
    support::exit_code(run(cli).await)
}

async fn run(cli: Cli) -> Result<(), Box<dyn Error>> {
    let Some(vault_url) = cli.vault_url else {
        usage::usage(Cli::command(), "--vault-url (or AZURE_KEYVAULT_URL) is required");
    };
    if let Err(error) = Url::parse(&vault_url) {
        usage::usage(
            Cli::command(),
            &format!("{vault_url:?} is not a vault URL: {error}"),
        );
    }
    if matches!(cli.command, Command::Set { .. }) && io::stdin().is_terminal() {
        usage::usage(
            Cli::command(),
            "stdin is a terminal, which would show the secret; use a pipe or a file",
        );
    }
    let options = SecretClientOptions {
        verify_challenge_resource: Some(!cli.disable_challenge_resource_verification),
        ..Default::default()
    };
    let credential = WorkloadIdentityCredential::from_env()?;
    let client = SecretClient::new(&vault_url, credential, Some(options))?;
    match cli.command {
        Command::Set { name } => set(&client, &name).await,
        Command::Get { name, version } => get(&client, &name, version).await,
        Command::List => list(&client).await,
        Command::Delete { name } => {
            client.delete_secret(&name, None).await?;
            Ok(())
        }
    }
}

async fn set(client: &SecretClient, name: &str) -> Result<(), Box<dyn Error>> {
    let mut value = String::new();
    tokio::io::stdin()
        .read_to_string(&mut value)
        .await
        .map_err(|error| format!("cannot read the value from stdin: {error}"))?;
    if value.ends_with('\n') {
        value.pop();
        if value.ends_with('\r') {
            value.pop();
        }
    }
    let parameters = SetSecretParameters {
        value: Some(value),
        ..Default::default()
    };
    let secret = client
        .set_secret(name, parameters.try_into()?, None)
        .await?
        .into_model()?;
    writeln!(io::stdout(), "{}", secret.id.unwrap_or_default())?;
    Ok(())
}

async fn get(client: &SecretClient, name: &str, version: Option<String>) -> Result<(), Box<dyn Error>> {
    let options = SecretClientGetSecretOptions {
        secret_version: version,
        ..Default::default()
    };
    let secret = client.get_secret(name, Some(options)).await?.into_model()?;
    writeln!(io::stdout(), "{}", secret.value.unwrap_or_default())?;
    Ok(())
}

async fn list(client: &SecretClient) -> Result<(), Box<dyn Error>> {
    let mut secrets = client.list_secret_properties(None)?;
    while let Some(secret) = secrets.try_next().await? {
        writeln!(io::stdout(), "{}", secret.resource_id()?.name)?;
    }
    Ok(())
}
