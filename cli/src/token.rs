//! `entra-workload token`: a token for another program.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::{Args, ValueEnum};
use entra_workload::{AccessToken, DefaultAzureCredential};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::Failure;
use crate::roots::AnyRoots;

/// Prints an access token, for another program
///
/// The token is that of `DefaultAzureCredential`: in a pod, of its workload identity.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
#[expect(clippy::doc_markdown, reason = "help is plain text")]
pub(crate) struct Arguments {
    /// The scope, such as https://management.azure.com/.default
    #[arg(long)]
    scope: String,
    /// Print the token even if the output is a terminal
    #[arg(long)]
    show: bool,
    /// Print the claims in place of the token
    #[arg(long, conflicts_with = "output")]
    claims: bool,
    /// How to print the token
    #[arg(long, value_enum)]
    output: Option<Output>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Output {
    /// `accessToken` and `expiresOn`, as `az account get-access-token`
    Json,
    /// A line for `eval`, which sets `AZURE_ACCESS_TOKEN`
    Env,
    /// An `ExecCredential` for kubectl
    ExecCredential,
}

pub(crate) async fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let mut stdout = io::stdout().lock();
    if stdout.is_terminal() && !arguments.show && !arguments.claims {
        return Err("the output is a terminal; pipe it into a program, or pass --show".into());
    }
    let credential = DefaultAzureCredential::builder()
        .transport(AnyRoots::new()?)
        .build()?;
    let token = match credential.token(&[&arguments.scope]).await {
        Ok(token) => token,
        Err(error) => {
            writeln!(io::stderr(), "entra-workload: {error}")?;
            return Ok(ExitCode::FAILURE);
        }
    };
    let text = if arguments.claims {
        claims(token.secret()).ok_or("the token is opaque: it has no claims to show")?
    } else {
        format(&token, arguments.output)?
    };
    writeln!(stdout, "{text}")?;
    Ok(ExitCode::SUCCESS)
}

fn format(token: &AccessToken, output: Option<Output>) -> Result<String, Failure> {
    let expires_on = rfc_3339(token.expires_on())?;
    Ok(match output {
        None => token.secret().to_owned(),
        Some(Output::Json) => json!({"accessToken": token.secret(), "expiresOn": expires_on}).to_string(),
        Some(Output::Env) => format!(
            "export AZURE_ACCESS_TOKEN='{}'",
            token.secret().replace('\'', r"'\''")
        ),
        Some(Output::ExecCredential) => json!({
            "apiVersion": "client.authentication.k8s.io/v1",
            "kind": "ExecCredential",
            "status": {"token": token.secret(), "expirationTimestamp": expires_on},
        })
        .to_string(),
    })
}

fn rfc_3339(time: SystemTime) -> Result<String, Failure> {
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
    Ok(OffsetDateTime::from_unix_timestamp(seconds.try_into()?)?.format(&Rfc3339)?)
}

fn claims(jwt: &str) -> Option<String> {
    let payload = URL_SAFE_NO_PAD.decode(jwt.split('.').nth(1)?).ok()?;
    let claims: Value = serde_json::from_slice(&payload).ok()?;
    serde_json::to_string_pretty(&claims).ok()
}

const EXAMPLES: &str = "Examples:
  curl -H \"Authorization: Bearer $(entra-workload token --scope https://vault.azure.net/.default)\" …
  eval \"$(entra-workload token --scope https://storage.azure.com/.default --output env)\"
  entra-workload token --scope https://management.azure.com/.default --claims";
