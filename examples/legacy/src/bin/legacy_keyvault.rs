//! As `examples/keyvault.rs`, on the older SDK: `azure_security_keyvault` 0.21.

#[path = "../sdk.rs"]
mod sdk;
#[path = "../../../support/mod.rs"]
#[expect(dead_code, reason = "the older SDK needs a log of its own")]
mod support;

use std::error::Error;
use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::sync::Arc;

use async_trait::async_trait;
use azure_core::auth::{AccessToken, TokenCredential};
use azure_security_keyvault::SecretClient;
use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser, Subcommand};
use entra_workload::WorkloadIdentityCredential;
use futures::TryStreamExt as _;
use tokio::io::AsyncReadExt as _;
use url::Url;

/// Sets, gets, lists and deletes the secrets of one vault, by the older SDK.
///
/// The identity is that of the pod (AKS workload identity: `AZURE_CLIENT_ID`, `AZURE_TENANT_ID`,
/// `AZURE_FEDERATED_TOKEN_FILE`, `AZURE_AUTHORITY_HOST`); it needs the role "Key Vault Secrets Officer", or "Key Vault
/// Secrets User" to get and list.
#[derive(Parser)]
#[command(name = "legacy_keyvault")]
struct Cli {
    /// The vault, as `https://VAULT.vault.azure.net`
    #[arg(long, env = "AZURE_KEYVAULT_URL", value_name = "URL", global = true)]
    vault_url: Option<String>,

    /// What tokens are for, such as `https://vault.azure.net/.default`; needed where the vault's address does not tell, as that
    /// of an emulator on loopback: the client takes the host without its first label
    #[arg(long, global = true)]
    scope: Option<String>,

    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Sets a secret to what stdin holds, less one newline at its end; prints nothing, since the client does not tell the new
    /// version's id
    Set { name: String },
    /// Prints a secret's value
    Get {
        name: String,
        /// The latest if left out
        #[arg(long)]
        version: Option<String>,
    },
    /// Prints the names of all secrets
    List,
    /// Deletes a secret; the vault keeps it recoverable for a while
    Delete { name: String },
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    sdk::log_to_stderr();
    support::exit_code(run(cli).await.map_err(sdk::in_words))
}

async fn run(cli: Cli) -> Result<(), Box<dyn Error>> {
    let Some(vault_url) = cli.vault_url else {
        usage("--vault-url (or AZURE_KEYVAULT_URL) is needed");
    };
    if let Err(error) = Url::parse(&vault_url) {
        usage(&format!("{vault_url:?} is no vault URL: {error}"));
    }
    if matches!(cli.command, Command::Set { .. }) && io::stdin().is_terminal() {
        usage("the value is read from stdin, which must not be a terminal: it would show the secret");
    }
    let credential: Arc<dyn TokenCredential> = match (WorkloadIdentityCredential::from_env()?, cli.scope) {
        (credential, None) => credential,
        (credential, Some(scope)) => Arc::new(Scoped { credential, scope }),
    };
    let client = SecretClient::new(&vault_url, credential)?;
    match cli.command {
        Command::Set { name } => set(&client, name).await,
        Command::Get { name, version } => get(&client, name, version).await,
        Command::List => list(&client).await,
        Command::Delete { name } => Ok(client.delete(name).await?),
    }
}

async fn set(client: &SecretClient, name: String) -> Result<(), Box<dyn Error>> {
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
    Ok(client.set(name, value).await?)
}

async fn get(client: &SecretClient, name: String, version: Option<String>) -> Result<(), Box<dyn Error>> {
    let secret = client.get(name).version(version.unwrap_or_default()).await?;
    writeln!(io::stdout(), "{}", secret.value)?;
    Ok(())
}

async fn list(client: &SecretClient) -> Result<(), Box<dyn Error>> {
    let mut pages = client.list_secrets().into_stream();
    while let Some(page) = pages.try_next().await? {
        for secret in page.value {
            let name = secret.id.rsplit('/').next().unwrap_or_default();
            writeln!(io::stdout(), "{name}")?;
        }
    }
    Ok(())
}

/// Ends the program as `clap` does: with a usage line and exit code 2.
fn usage(what: &str) -> ! {
    Cli::command()
        .error(ErrorKind::MissingRequiredArgument, what)
        .exit()
}

/// Asks for the tokens of one scope, whatever the client asks for.
#[derive(Debug)]
struct Scoped {
    credential: Arc<dyn TokenCredential>,
    scope: String,
}

#[async_trait]
impl TokenCredential for Scoped {
    async fn get_token(&self, _: &[&str]) -> azure_core::Result<AccessToken> {
        self.credential.get_token(&[&self.scope]).await
    }

    async fn clear_cache(&self) -> azure_core::Result<()> {
        self.credential.clear_cache().await
    }
}
