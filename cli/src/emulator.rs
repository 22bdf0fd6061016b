//! `entra-workload emulator`: Entra, Key Vault and Blob on loopback, for a test in any language.
//!
//! ```text
//! seed (YAML) ─► emulator + admin ─► variables ─► child (run) | readiness line (serve)
//! ```

mod bound_program;
mod ca_bundle;
mod env_file;
mod java_truststore;
mod run;
mod seed;
mod serve;
mod signals;
mod variables;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Subcommand, ValueEnum};
use entra_workload_emulator::{Admin, Emulator, Pod, PodSeed, Seed};

use self::variables::Variables;
use crate::Failure;

/// Emulates Entra, Key Vault, Blob and managed identities, for tests without a cloud
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Run(run::Arguments),
    Serve(serve::Arguments),
    #[command(name = EXEC, hide = true)]
    Exec(bound_program::Arguments),
}

/// What both commands take.
#[derive(Args)]
struct Options {
    /// Identities, roles and data in YAML, or Kubernetes manifests with annotated service accounts
    #[arg(long, value_name = "FILE")]
    seed: Vec<PathBuf>,
    /// The service account of the variables, instead of the first one of the seed
    #[arg(long, value_name = "NAMESPACE/NAME")]
    service_account: Option<String>,
    /// Give the variables of an AKS identity binding: tokens come from the token proxy of the cluster
    #[arg(long, conflicts_with = "managed_identity")]
    identity_binding: bool,
    /// Give the variables of a managed identity instead of workload identity
    #[arg(long, value_enum, value_name = "HOST")]
    managed_identity: Option<Host>,
    /// Let programs that send the password of the proxy connect to hosts that are not emulated
    #[arg(long)]
    allow_external: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Host {
    Imds,
    AppService,
}

pub(crate) async fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    match &arguments.command {
        Command::Run(arguments) => run::run(arguments).await,
        Command::Serve(arguments) => serve::run(arguments).await,
        Command::Exec(arguments) => bound_program::exec(arguments),
    }
}

/// A running emulator, its admin API, and the variables that lead to both.
struct Running {
    emulator: Arc<Emulator>,
    admin: Admin,
    variables: Variables,
}

impl Running {
    /// * `port_base`: `None` for free ports.
    async fn start(options: &Options, mut seed: Seed, port_base: Option<u16>) -> Result<Self, Failure> {
        if let Some(name) = &options.service_account {
            let (namespace, name) = name
                .split_once('/')
                .ok_or("--service-account must be NAMESPACE/NAME")?;
            let is_chosen = |pod: &PodSeed| pod.namespace == namespace && pod.service_account == name;
            let chosen = match seed.pods.iter().position(is_chosen) {
                Some(index) => seed.pods.remove(index),
                None if seed.pods.is_empty() => PodSeed::new(namespace, name),
                None => return Err(unknown_pod(namespace, name, &seed.pods)),
            };
            seed.pods.insert(0, chosen);
        }
        if seed.pods.is_empty() {
            let (namespace, name) = DEFAULT_ACCOUNT;
            seed.pods.push(PodSeed::new(namespace, name));
        }
        if let (true, Some(pod)) = (options.identity_binding, seed.pods.first_mut()) {
            pod.identity_binding = true;
        }
        // Known IDs, so that a test can expect them.
        for (index, pod) in seed.pods.iter_mut().enumerate() {
            let client_id = format!("22222222-2222-4222-8222-{:012}", index + 1);
            pod.client_id.get_or_insert(client_id);
        }
        for (index, identity) in seed.managed_identities.iter_mut().enumerate() {
            let client_id = format!("33333333-3333-4333-8333-{:012}", index + 1);
            identity.client_id.get_or_insert(client_id);
        }
        let mut builder = Emulator::builder()
            .known_keys()
            .rotate_tokens()
            .tenant_id(TENANT_ID);
        if options.allow_external {
            builder = builder.allow_external_hosts();
            if let Some(address) = variables::inherited_proxy() {
                builder = builder.upstream_proxy(address);
            }
        }
        if let Some(base) = port_base {
            builder = builder.port_base(base);
        }
        let emulator = Arc::new(builder.start().await?);
        let pods = emulator.seed(&seed)?;
        let pod = pods.first().ok_or("there is no pod")?;
        let admin_port = port_base.map(|base| base.saturating_add(ADMIN_PORT));
        let has_identities = !seed.managed_identities.is_empty();
        let admin = Admin::start(Arc::clone(&emulator), admin_port, seed).await?;
        let variables = variables_for(&emulator, &admin, options, pod, has_identities)?;
        Ok(Self {
            emulator,
            admin,
            variables,
        })
    }
}

fn unknown_pod(namespace: &str, name: &str, pods: &[PodSeed]) -> Failure {
    let known = pods
        .iter()
        .map(|pod| format!("{}/{}", pod.namespace, pod.service_account));
    let known = known.collect::<Vec<_>>().join(", ");
    format!("the seed has no pod {namespace}/{name}; set --service-account to one of: {known}").into()
}

fn variables_for(
    emulator: &Emulator,
    admin: &Admin,
    options: &Options,
    pod: &Pod,
    has_identities: bool,
) -> Result<Variables, Failure> {
    let mut variables = Variables::common(emulator, admin)?;
    match options.managed_identity {
        None => variables.add_workload_identity(pod),
        Some(host) => {
            if !has_identities {
                emulator.assign_system_identity();
            }
            match host {
                Host::Imds => variables.add_imds(emulator),
                Host::AppService => variables.add_app_service(emulator),
            }
        }
    }
    Ok(variables)
}

const DEFAULT_ACCOUNT: (&str, &str) = ("default", "app");
const TENANT_ID: &str = "11111111-1111-4111-8111-111111111111";

const EXEC: &str = "exec";

/// After the ports of the emulator.
const ADMIN_PORT: u16 = 10;

const EXAMPLES: &str = "Examples:
  entra-workload emulator run -- pytest
  entra-workload emulator run --seed test/azure.yaml -- npm test
  entra-workload emulator run --managed-identity imds -- ./integration-test
  entra-workload emulator serve --port-base 17070 --env-file azure.env";
