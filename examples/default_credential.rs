//! Shows which link of `DefaultAzureCredential` returns a token, for which identity, and why the
//! links before it returned none.
//!
//! ```text
//! cargo run --example default_credential [SCOPE]
//! ```
//!
//! On an Azure machine, set `AZURE_POD_IDENTITY_AUTHORITY_HOST=http://169.254.169.254`: `.cargo/config.toml` keeps
//! what cargo runs away from the metadata service.
#![allow(clippy::print_stdout, reason = "prints the result, but never the token")]

use std::error::Error;
use std::process::ExitCode;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::Parser;
use entra_workload::{Attempt, DefaultAzureCredential};
use serde_json::Value;

#[path = "support/mod.rs"]
mod support;

/// Shows which link of `DefaultAzureCredential` returns a token, and for which identity.
#[derive(Parser)]
#[command(name = "default_credential", version)]
struct Cli {
    /// Scope of the token
    #[arg(default_value = "https://storage.azure.com/.default")]
    scope: String,
}

#[tokio::main]
async fn main() -> ExitCode {
    let Cli { scope } = Cli::parse();
    support::log_to_stderr();
    support::exit_code(run(&scope).await)
}

async fn run(scope: &str) -> Result<(), Box<dyn Error>> {
    let credential = DefaultAzureCredential::new()?;
    let identity = match credential.check(&[scope]).await {
        Ok(identity) => identity,
        Err(error) => {
            error.attempts().iter().for_each(print_attempt);
            return Err(error.into());
        }
    };
    identity.skipped().iter().for_each(print_attempt);
    println!("{:<20} gave a token", identity.credential());
    let token = credential.token(&[scope]).await?;
    let claims = claims(token.secret()).unwrap_or_default();
    for name in ["aud", "appid", "oid", "tid", "exp"] {
        println!("  {name:<6} {}", claims.get(name).unwrap_or(&Value::Null));
    }
    Ok(())
}

fn print_attempt(attempt: &Attempt) {
    let kind = format!("{:?}", attempt.error().kind());
    println!("{:<20} {kind:<13} {}", attempt.name(), attempt.error());
}

/// For people only: programs must not depend on the content of an access token.
fn claims(token: &str) -> Option<Value> {
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    serde_json::from_slice(&claims).ok()
}
