//! Uploads, downloads, lists and deletes the blobs of one container with the identity of its pod.
//!
//! ```text
//! export AZURE_STORAGE_ACCOUNT_URL=https://ACCOUNT.blob.core.windows.net
//! export AZURE_STORAGE_CONTAINER=reports
//! blob upload july.csv
//! blob list
//! blob download july.csv --output -
//! blob delete july.csv
//! ```

#[path = "support/account_url.rs"]
mod account_url;
mod support;
#[path = "support/usage.rs"]
mod usage;

use std::error::Error;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::pin::{Pin, pin};
use std::process::ExitCode;
use std::task::{Context, Poll};
use std::time::Duration;

use azure_core::http::Body;
use azure_core::stream::SeekableStream;
use azure_storage_blob::models::{BlobClientDownloadResult, BlobContainerClientListBlobsOptions};
use azure_storage_blob::stream::tokio::FileStream;
use azure_storage_blob::{BlobClient, BlobContainerClient, StorageError};
use clap::{CommandFactory as _, Parser, Subcommand};
use entra_workload::WorkloadIdentityCredential;
use futures::{AsyncRead, TryStreamExt as _};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::fs::{self, File};
use tokio::io::{AsyncWrite, AsyncWriteExt as _};

/// Uploads, downloads, lists and deletes the blobs of one container.
///
/// The identity is that of the pod (AKS workload identity: `AZURE_CLIENT_ID`, `AZURE_TENANT_ID`,
/// `AZURE_FEDERATED_TOKEN_FILE`, `AZURE_AUTHORITY_HOST`). It needs the role "Storage Blob Data
/// Contributor".
#[derive(Parser)]
#[command(name = "blob", version)]
struct Cli {
    /// URL of the storage account: `https://ACCOUNT.blob.core.windows.net`, or
    /// `https://ACCOUNT.dfs.core.windows.net` for Data Lake Storage Gen2, which is replaced by the
    /// account's blob endpoint
    #[arg(long, env = "AZURE_STORAGE_ACCOUNT_URL", value_name = "URL", global = true)]
    account_url: Option<String>,

    /// Name of the container
    #[arg(long, env = "AZURE_STORAGE_CONTAINER", value_name = "NAME", global = true)]
    container: Option<String>,

    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Uploads a file and prints the blob's URL; replaces an existing blob
    Upload {
        file: PathBuf,
        /// Name of the blob; default: the name of the file
        #[arg(long)]
        name: Option<String>,
    },
    /// Downloads a blob
    Download {
        name: String,
        /// File to write, `-` for stdout; default: the last part of NAME, in the current directory
        #[arg(long, value_name = "PATH")]
        output: Option<PathBuf>,
    },
    /// Prints size, time of the last change and name of each blob
    List {
        /// Lists only names with this prefix
        #[arg(long)]
        prefix: Option<String>,
    },
    /// Deletes a blob
    Delete { name: String },
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    support::log_to_stderr();
    support::exit_code(run(cli).await.map_err(with_storage_message))
}

async fn run(cli: Cli) -> Result<(), Box<dyn Error>> {
    let (Some(account_url), Some(name)) = (cli.account_url, cli.container) else {
        usage::usage(
            Cli::command(),
            "--account-url (or AZURE_STORAGE_ACCOUNT_URL) and --container (or AZURE_STORAGE_CONTAINER) \
             are required",
        );
    };
    let mut url = match account_url::parse(&account_url) {
        Ok(url) => url,
        Err(error) => usage::usage(
            Cli::command(),
            &format!("{account_url:?} is not an account URL: {error}"),
        ),
    };
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().push(&name);
    }
    let credential = WorkloadIdentityCredential::from_env()?;
    let container = BlobContainerClient::new(url, Some(credential), None)?;
    match cli.command {
        Command::Upload { file, name } => upload(&container, &file, name).await,
        Command::Download { name, output } => download(&container, &name, output).await,
        Command::List { prefix } => list(&container, prefix).await,
        Command::Delete { name } => {
            container.blob_client(&name).delete(None).await?;
            Ok(())
        }
    }
}

async fn upload(
    container: &BlobContainerClient,
    path: &Path,
    name: Option<String>,
) -> Result<(), Box<dyn Error>> {
    let name = match (name, path.file_name()) {
        (Some(name), _) => name,
        (None, Some(name)) => name.to_string_lossy().into_owned(),
        (None, None) => return Err(format!("{} has no file name; use --name", path.display()).into()),
    };
    let file = File::open(path)
        .await
        .map_err(|error| format!("cannot open {}: {error}", path.display()))?;
    let file = FileStream::builder(file).build().await?;
    let bar = progress_bar(file.len());
    let content = Body::from(FileWithProgress {
        file,
        bar: bar.clone(),
    });
    let blob = container.blob_client(&name);
    show_if_slow(&bar, blob.upload(content.into(), None)).await?;
    writeln!(io::stdout(), "{}", blob.url())?;
    Ok(())
}

async fn download(
    container: &BlobContainerClient,
    name: &str,
    output: Option<PathBuf>,
) -> Result<(), Box<dyn Error>> {
    let blob = container.blob_client(name);
    if output.as_deref() == Some(Path::new("-")) {
        return copy(&blob, &mut tokio::io::stdout()).await;
    }
    let path = output
        .or_else(|| Path::new(name).file_name().map(PathBuf::from))
        .ok_or("the blob's name does not end in a file name; use --output")?;
    // An existing file is replaced only by a complete blob.
    let mut partial = path.clone().into_os_string();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    let mut file = File::create(&partial)
        .await
        .map_err(|error| format!("cannot create {}: {error}", partial.display()))?;
    if let Err(error) = copy(&blob, &mut file).await {
        // The error of the download matters more.
        let _ = fs::remove_file(&partial).await;
        return Err(error);
    }
    fs::rename(&partial, &path)
        .await
        .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    Ok(())
}

/// Writes the blob while it arrives. The client downloads a few parts of 4 `MiB` ahead; no more is
/// in memory.
async fn copy(blob: &BlobClient, to: &mut (impl AsyncWrite + Unpin)) -> Result<(), Box<dyn Error>> {
    let bar = progress_bar(None);
    show_if_slow(&bar, async {
        let BlobClientDownloadResult {
            mut body, headers, ..
        } = blob.download(None).await?;
        if let Some(size) = headers
            .get_optional_str(&"content-range".into())
            .and_then(|range| range.rsplit_once('/')?.1.parse().ok())
        {
            bar.set_length(size);
        }
        while let Some(part) = body.try_next().await? {
            to.write_all(&part).await?;
            bar.inc(part.len() as u64);
        }
        to.flush().await?;
        Ok(())
    })
    .await
}

async fn list(container: &BlobContainerClient, prefix: Option<String>) -> Result<(), Box<dyn Error>> {
    let options = BlobContainerClientListBlobsOptions {
        prefix,
        ..Default::default()
    };
    let mut blobs = container.list_blobs(Some(options))?;
    while let Some(blob) = blobs.try_next().await? {
        let properties = blob.properties.unwrap_or_default();
        let size = properties.content_length.unwrap_or_default();
        let time = properties
            .last_modified
            .map(|time| azure_core::time::to_rfc3339(&time));
        let (time, name) = (time.unwrap_or_default(), blob.name.unwrap_or_default());
        writeln!(io::stdout(), "{size:>15} {time:>20} {name}")?;
    }
    Ok(())
}

/// Replaces an error response of Storage, which the client shows as XML, by its message.
fn with_storage_message(error: Box<dyn Error>) -> Box<dyn Error> {
    let error = match error.downcast::<azure_core::Error>() {
        Ok(error) if error.http_status().is_some() => error,
        Ok(error) => return error,
        Err(other) => return other,
    };
    let raw = error.to_string();
    let Ok(StorageError {
        status_code,
        error_code: Some(code),
        message: Some(message),
        authentication_error_detail: detail,
        ..
    }) = StorageError::try_from(*error)
    else {
        return raw.into();
    };
    let detail = detail.map(|detail| format!(": {detail}")).unwrap_or_default();
    format!("{status_code} {code}: {message}{detail}").into()
}

fn progress_bar(size: Option<u64>) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(size, ProgressDrawTarget::hidden());
    if let Ok(style) = ProgressStyle::with_template("{wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}")
    {
        bar.set_style(style);
    }
    bar
}

/// Awaits `work`, and shows the bar on a terminal if that takes longer than a second.
async fn show_if_slow<T>(bar: &ProgressBar, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    tokio::select! {
        output = &mut work => return output,
        () = tokio::time::sleep(Duration::from_secs(1)) => bar.set_draw_target(ProgressDrawTarget::stderr()),
    }
    let output = work.await;
    bar.finish_and_clear();
    output
}

/// A file that advances the bar while it is read.
#[derive(Clone, Debug)]
struct FileWithProgress {
    file: FileStream,
    bar: ProgressBar,
}

impl From<FileWithProgress> for Body {
    fn from(file: FileWithProgress) -> Self {
        Self::SeekableStream(Box::new(file))
    }
}

#[async_trait::async_trait]
impl SeekableStream for FileWithProgress {
    async fn reset(&mut self) -> azure_core::Result<()> {
        self.bar.set_position(0);
        self.file.reset().await
    }

    fn len(&self) -> Option<u64> {
        self.file.len()
    }

    fn buffer_size(&self) -> usize {
        self.file.buffer_size()
    }
}

impl AsyncRead for FileWithProgress {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let read = Pin::new(&mut self.file).poll_read(cx, buffer);
        if let Poll::Ready(Ok(count)) = read {
            self.bar.inc(count as u64);
        }
        read
    }
}
