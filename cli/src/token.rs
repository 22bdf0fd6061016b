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
use crate::escape;
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
            let error = error.to_string();
            writeln!(io::stderr(), "entra-workload: {}", escape::lines(&error))?;
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
        Some(Output::Env) => format!("export AZURE_ACCESS_TOKEN={}", shlex::try_quote(token.secret())?),
        Some(Output::ExecCredential) => json!({
            "apiVersion": exec_version(std::env::var("KUBERNETES_EXEC_INFO").ok().as_deref())?,
            "kind": "ExecCredential",
            "status": {"token": token.secret(), "expirationTimestamp": expires_on},
        })
        .to_string(),
    })
}

/// The version that kubectl asks for, as it refuses the other one.
///
/// * `info`: `KUBERNETES_EXEC_INFO`, which kubectl sets.
fn exec_version(info: Option<&str>) -> Result<&'static str, Failure> {
    let Some(info) = info else {
        return Ok(EXEC_VERSIONS[0]);
    };
    let info: Value = serde_json::from_str(info).map_err(|_| "KUBERNETES_EXEC_INFO is not JSON")?;
    let version = info.get("apiVersion").and_then(Value::as_str).unwrap_or_default();
    let known = EXEC_VERSIONS.into_iter().find(|known| *known == version);
    let supported = EXEC_VERSIONS.join(" and ");
    known.ok_or_else(|| {
        format!("KUBERNETES_EXEC_INFO asks for the version {version:?}; supported are {supported}").into()
    })
}

fn rfc_3339(time: SystemTime) -> Result<String, Failure> {
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
    Ok(OffsetDateTime::from_unix_timestamp(seconds.try_into()?)?.format(&Rfc3339)?)
}

fn claims(jwt: &str) -> Option<String> {
    let payload = URL_SAFE_NO_PAD.decode(jwt.split('.').nth(1)?).ok()?;
    let claims: Value = serde_json::from_slice(&payload).ok()?;
    escape::json(&claims).ok()
}

/// Source: Kubernetes, "client-go credential plugins".
const EXEC_VERSIONS: [&str; 2] = [
    "client.authentication.k8s.io/v1",
    "client.authentication.k8s.io/v1beta1",
];

const EXAMPLES: &str = "Examples:
  curl -H \"Authorization: Bearer $(entra-workload token --scope https://vault.azure.net/.default)\" …
  eval \"$(entra-workload token --scope https://storage.azure.com/.default --output env)\"
  entra-workload token --scope https://management.azure.com/.default --claims";
