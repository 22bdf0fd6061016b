use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, value_parser};
use serde_json::json;

use super::signals::Signals;
use super::{ADMIN_PORT, Options, Running, env_file, seed};
use crate::{Failure, escape};

/// Runs the emulator until SIGTERM or Ctrl-C
///
/// When all servers accept connections, it prints one line. The admin API describes itself at ADMIN/openapi.json; whoever
/// has its URL can steer the emulator.
#[derive(Args)]
#[command(after_help = super::EXAMPLES)]
pub(super) struct Arguments {
    #[command(flatten)]
    options: Options,
    /// Use the ports from here on, instead of free ones
    #[arg(long, value_name = "PORT", value_parser = value_parser!(u16).range(1..=LAST_BASE))]
    port_base: Option<u16>,
    /// Print the line as JSON, with all URLs and variables
    #[arg(long)]
    json: bool,
    /// Write the variables to a file that only its owner can read, as NAME=VALUE for a shell
    #[arg(long, value_name = "FILE")]
    env_file: Option<PathBuf>,
}

pub(super) async fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    // While this waits for a pipe, a signal ends it.
    let seed = seed::read(&arguments.options.seed)?;
    let mut signals = Signals::new()?;
    let running = Running::start(&arguments.options, seed, arguments.port_base).await?;
    if let Some(path) = &arguments.env_file {
        env_file::write(path, running.variables.iter())?;
    }
    let Running {
        emulator,
        admin,
        variables,
    } = &running;
    let mut stdout = io::stdout().lock();
    if arguments.json {
        let line = json!({
            "ready": true,
            "adminUrl": admin.url(),
            "proxyUrl": emulator.proxy_url(),
            "tenantId": emulator.entra().tenant_id(),
            "authorityHost": emulator.authority_host(),
            "issuerUrl": emulator.issuer_url(),
            "keyVaultUrl": emulator.key_vault_url(),
            "blobAccountUrl": emulator.blob_account_url(),
            "imdsUrl": emulator.imds_url(),
            "caFile": emulator.ca_certificate_file(),
            "variables": variables.to_json(),
        });
        writeln!(stdout, "{}", escape::json_line(&line)?)?;
    } else {
        writeln!(
            stdout,
            "ready: admin {}, proxy {}, Entra {}, Key Vault {}, Blob {}",
            admin.url(),
            emulator.proxy_url(),
            emulator.authority_host(),
            emulator.key_vault_url(),
            emulator.blob_account_url()
        )?;
    }
    stdout.flush()?;
    drop(stdout);
    signals.wait_for_end().await;
    Ok(ExitCode::SUCCESS)
}

/// The admin API has the last port.
const LAST_BASE: i64 = 0xffff - ADMIN_PORT as i64;
