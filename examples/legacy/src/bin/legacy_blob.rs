//! As `examples/blob.rs`, on the older SDK: `azure_storage_blobs` 0.21.

#[path = "../../../support/account_url.rs"]
mod account_url;
#[path = "../sdk.rs"]
mod sdk;
#[path = "../../../support/mod.rs"]
#[expect(dead_code, reason = "the older SDK needs a log of its own")]
mod support;

use std::error::Error;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use azure_core::date;
use azure_core::request_options::IfMatchCondition;
use azure_core::tokio::fs::FileStreamBuilder;
use azure_storage::{CloudLocation, StorageCredentials};
use azure_storage_blobs::prelude::{BlobClient, ClientBuilder, ContainerClient};
use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser, Subcommand};
use entra_workload::WorkloadIdentityCredential;
use futures::TryStreamExt as _;
use tokio::fs::{self, File};
use tokio::io::{AsyncWrite, AsyncWriteExt as _};

/// Uploads, downloads, lists and deletes the blobs of one container, by the older SDK.
///
/// The identity is that of the pod (AKS workload identity: `AZURE_CLIENT_ID`, `AZURE_TENANT_ID`,
/// `AZURE_FEDERATED_TOKEN_FILE`, `AZURE_AUTHORITY_HOST`); it needs the role "Storage Blob Data Contributor".
#[derive(Parser)]
#[command(name = "legacy_blob")]
struct Cli {
    /// The storage account, as `https://ACCOUNT.blob.core.windows.net`; the address of a Data Lake Storage Gen2
    /// account (`https://ACCOUNT.dfs.core.windows.net`) is turned into that of its blob endpoint, which holds the
    /// same files
    #[arg(long, env = "AZURE_STORAGE_ACCOUNT_URL", value_name = "URL", global = true)]
    account_url: Option<String>,

    /// The container
    #[arg(long, env = "AZURE_STORAGE_CONTAINER", value_name = "NAME", global = true)]
    container: Option<String>,

    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Uploads a file and prints the blob's URL; a blob of that name is replaced
    Upload {
        file: PathBuf,
        /// The blob's name; the file's own if left out
        #[arg(long)]
        name: Option<String>,
    },
    /// Downloads a blob
    Download {
        name: String,
        /// Where to; `-` is stdout. The last part of NAME, in the current directory, if left out
        #[arg(long, value_name = "PATH")]
        output: Option<PathBuf>,
    },
    /// Prints size, time and name of every blob
    List {
        /// Only names that begin with this
        #[arg(long)]
        prefix: Option<String>,
    },
    /// Deletes a blob
    Delete { name: String },
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    sdk::log_to_stderr();
    support::exit_code(run(cli).await.map_err(sdk::in_words))
}

async fn run(cli: Cli) -> Result<(), Box<dyn Error>> {
    let (Some(account_url), Some(container)) = (cli.account_url, cli.container) else {
        usage(
            "both --account-url (or AZURE_STORAGE_ACCOUNT_URL) and --container (or AZURE_STORAGE_CONTAINER) are needed",
        );
    };
    let url = match account_url::parse(&account_url) {
        Ok(url) => url,
        Err(error) => usage(&format!("{account_url:?} is no account URL: {error}")),
    };
    let location = CloudLocation::Custom {
        // Only signatures with the account's key need its name.
        account: String::new(),
        uri: url.as_str().trim_end_matches('/').to_owned(),
    };
    let credential = StorageCredentials::token_credential(WorkloadIdentityCredential::from_env()?);
    let container = ClientBuilder::with_location(location, credential).container_client(container);
    match cli.command {
        Command::Upload { file, name } => upload(&container, &file, name).await,
        Command::Download { name, output } => download(&container.blob_client(&name), &name, output).await,
        Command::List { prefix } => list(&container, prefix).await,
        Command::Delete { name } => {
            container.blob_client(name).delete().await?;
            Ok(())
        }
    }
}

/// Sends the file as it is read, in one request.
async fn upload(
    container: &ContainerClient,
    path: &Path,
    name: Option<String>,
) -> Result<(), Box<dyn Error>> {
    let name = match (name, path.file_name()) {
        (Some(name), _) => name,
        (None, Some(name)) => name.to_string_lossy().into_owned(),
        (None, None) => return Err(format!("{} names no file", path.display()).into()),
    };
    let file = File::open(path)
        .await
        .map_err(|error| format!("cannot open {}: {error}", path.display()))?;
    let file = FileStreamBuilder::new(file).build().await?;
    let blob = container.blob_client(name);
    blob.put_block_blob(file).await?;
    writeln!(io::stdout(), "{}", blob.url()?)?;
    Ok(())
}

async fn download(blob: &BlobClient, name: &str, output: Option<PathBuf>) -> Result<(), Box<dyn Error>> {
    if output.as_deref() == Some(Path::new("-")) {
        return copy(blob, &mut tokio::io::stdout()).await;
    }
    let path = output
        .or_else(|| Path::new(name).file_name().map(PathBuf::from))
        .ok_or("the blob's name gives no file name; say --output PATH")?;
    // What is there already is replaced only by a whole blob.
    let mut partial = path.clone().into_os_string();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    let mut file = File::create(&partial)
        .await
        .map_err(|error| format!("cannot create {}: {error}", partial.display()))?;
    if let Err(error) = copy(blob, &mut file).await {
        // The download's error is the one to report.
        let _ = fs::remove_file(&partial).await;
        return Err(error);
    }
    fs::rename(&partial, &path)
        .await
        .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    Ok(())
}

/// Writes the blob as it arrives. The client asks for one part of 16 `MiB` after another, and fails with 416 at a blob that has
/// none; the entity tag keeps parts of different blobs apart.
async fn copy(blob: &BlobClient, to: &mut (impl AsyncWrite + Unpin)) -> Result<(), Box<dyn Error>> {
    let properties = blob.get_properties().await?.blob.properties;
    if properties.content_length == 0 {
        return Ok(());
    }
    let this_one = IfMatchCondition::Match(properties.etag.to_string());
    let mut parts = blob.get().if_match(this_one).into_stream();
    while let Some(mut part) = parts.try_next().await? {
        while let Some(bytes) = part.data.try_next().await? {
            to.write_all(&bytes).await?;
        }
    }
    to.flush().await?;
    Ok(())
}

async fn list(container: &ContainerClient, prefix: Option<String>) -> Result<(), Box<dyn Error>> {
    let mut request = container.list_blobs();
    if let Some(prefix) = prefix {
        request = request.prefix(prefix);
    }
    let mut pages = request.into_stream();
    while let Some(page) = pages.try_next().await? {
        for blob in page.blobs.blobs() {
            let time = date::to_rfc3339(&blob.properties.last_modified);
            let size = blob.properties.content_length;
            writeln!(io::stdout(), "{size:>15} {time:>20} {}", blob.name)?;
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
