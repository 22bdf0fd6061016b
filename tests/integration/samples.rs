//! The sample programs in the environment of a pod, against the emulator, over TLS.

#[path = "../../examples/support/account_url.rs"]
mod account_url;
use std::net::Ipv4Addr;
use std::path::Path;

use entra_workload_emulator::{Emulator, Pod};
use tempfile::TempDir;
use tokio::fs;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket};

use crate::support::sample::{Sample, example};

/// An emulator, a pod in it, and a working directory.
struct Cluster {
    emulator: Emulator,
    pod: Pod,
    directory: TempDir,
}

impl Cluster {
    async fn start() -> Self {
        let emulator = Emulator::start().await.unwrap();
        Self {
            pod: emulator.pod("shop", "orders").unwrap(),
            emulator,
            directory: TempDir::new().unwrap(),
        }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join(name)
    }

    fn sample(&self, name: &str) -> Sample {
        Sample::new(
            example(name),
            self.emulator.ca_certificate_file(),
            self.directory.path(),
        )
        .variables(self.pod.variables())
    }

    /// Returns the blob program with account and container in its environment.
    fn blob(&self) -> Sample {
        self.sample("blob")
            .variable("AZURE_STORAGE_ACCOUNT_URL", self.emulator.blob_account_url())
            .variable("AZURE_STORAGE_CONTAINER", "reports")
    }

    /// Returns the Key Vault program with the vault in its environment.
    fn keyvault(&self) -> Sample {
        self.sample("keyvault")
            .variable("AZURE_KEYVAULT_URL", self.emulator.key_vault_url())
    }
}

/// Creates the container, which the sample expects to exist.
async fn create_container(cluster: &Cluster) {
    use entra_workload::transport::{HttpTransport, Transport as _};
    use entra_workload::{Environment, WorkloadIdentityCredential};

    let roots = cluster.emulator.ca_certificate_pem().as_bytes();
    let transport = HttpTransport::with_root_certificates(roots).unwrap();
    let credential = WorkloadIdentityCredential::builder()
        .environment(Environment::from_iter(cluster.pod.variables()))
        .transport(transport.clone())
        .build()
        .unwrap();
    let token = credential
        .token(&["https://storage.azure.com/.default"])
        .await
        .unwrap();
    let request = http::Request::put(format!(
        "{}/reports?restype=container",
        cluster.emulator.blob_account_url()
    ))
    .header("authorization", format!("Bearer {}", token.secret()))
    .header("x-ms-version", "2026-04-06")
    .body(bytes::Bytes::new())
    .unwrap();
    let response = transport.send(request).await.unwrap();
    assert_eq!(response.status(), 201);
}

/// Checks that `text` contains nothing that starts like a JWT.
#[track_caller]
fn assert_no_token(text: &str) {
    assert!(!text.contains("eyJ"), "{text}");
}

async fn entries(directory: &Path) -> Vec<String> {
    let mut names = Vec::new();
    let mut entries = fs::read_dir(directory).await.unwrap();
    while let Some(entry) = entries.next_entry().await.unwrap() {
        names.push(entry.file_name().into_string().unwrap());
    }
    names.sort();
    names
}

mod blob {
    use super::*;

    #[tokio::test]
    async fn large_file_is_unchanged_after_upload_and_download() {
        let cluster = Cluster::start().await;
        create_container(&cluster).await;
        let content: Vec<u8> = (0..9 << 20)
            .map(|i: u32| i.to_le_bytes()[1] ^ i.to_le_bytes()[2])
            .collect();
        fs::write(cluster.path("july.bin"), &content).await.unwrap();
        let blob = cluster.blob();

        let uploaded = blob.run(["upload", "july.bin"]).await;
        let url = format!("{}/reports/july.bin\n", cluster.emulator.blob_account_url());
        assert_eq!(uploaded.printed(), url);
        let listed = blob.run(["list"]).await;
        let fields: Vec<_> = listed.printed().split_whitespace().collect();
        assert_eq!((fields[0], fields[2]), ("9437184", "july.bin"));

        fs::remove_file(cluster.path("july.bin")).await.unwrap();
        assert_eq!(blob.run(["download", "july.bin"]).await.printed(), "");
        assert!(fs::read(cluster.path("july.bin")).await.unwrap() == content);
        let streamed = blob.run(["download", "july.bin", "--output", "-"]).await;
        assert!(streamed.stdout == content && streamed.code == Some(0) && streamed.stderr.is_empty());
        assert_eq!(entries(cluster.directory.path()).await, ["july.bin"]);

        assert_eq!(blob.run(["delete", "july.bin"]).await.printed(), "");
        assert_eq!(blob.run(["list"]).await.printed(), "");
    }

    #[tokio::test]
    async fn blob_name_prefix_and_output_path_are_options() {
        let cluster = Cluster::start().await;
        create_container(&cluster).await;
        fs::write(cluster.path("july.csv"), "a,b").await.unwrap();
        let account = cluster.emulator.blob_account_url();
        let bare = cluster.sample("blob");
        let target = ["--account-url", account, "--container", "reports"];
        let [a, b, c, d] = target;
        bare.run([a, b, "upload", "july.csv", "--name", "2026/july.csv", c, d])
            .await
            .printed();
        bare.run([a, b, c, d, "download", "2026/july.csv", "--output", "copy.csv"])
            .await
            .printed();
        assert_eq!(fs::read(cluster.path("copy.csv")).await.unwrap(), b"a,b");
        assert_eq!(
            bare.run([a, b, c, d, "list", "--prefix", "2025/"])
                .await
                .printed(),
            ""
        );
        assert!(
            bare.run([a, b, c, d, "list", "--prefix", "2026/"])
                .await
                .printed()
                .ends_with(" 2026/july.csv\n")
        );
    }

    #[tokio::test]
    async fn invalid_arguments_print_the_usage_and_exit_with_2() {
        let cluster = Cluster::start().await;
        let bare = cluster.sample("blob");
        let account_only = bare
            .clone()
            .variable("AZURE_STORAGE_ACCOUNT_URL", "https://a.blob.core.windows.net");
        let outputs = [
            (bare.run(["list"]).await, "Usage: blob list"),
            (bare.run(["list"]).await, "--account-url"),
            (account_only.run(["list"]).await, "--container"),
            (
                bare.run(["list", "--account-url", "nowhere"]).await,
                "--account-url",
            ),
            (cluster.blob().run(["upload"]).await, "<FILE>"),
            (cluster.blob().run(["frobnicate"]).await, "frobnicate"),
        ];
        for (output, what) in outputs {
            assert_eq!((output.code, output.stdout.as_slice()), (Some(2), &b""[..]));
            assert!(output.stderr.contains(what), "{}", output.stderr);
            assert!(output.stderr.contains("Usage: blob"), "{}", output.stderr);
        }
        assert!(cluster.emulator.requests().is_empty());
    }

    #[tokio::test]
    async fn plain_http_to_loopback_bypasses_the_proxy_of_the_environment() {
        let cluster = Cluster::start().await;
        let (authority, proxy) =
            tokio::join!(TcpListener::bind("127.0.0.1:0"), TcpListener::bind("127.0.0.1:0"));
        let (authority, proxy) = (authority.unwrap(), proxy.unwrap());
        let url = |listener: &TcpListener| format!("http://{}", listener.local_addr().unwrap());
        let sample = cluster
            .blob()
            .variable("AZURE_AUTHORITY_HOST", url(&authority))
            .variable("HTTP_PROXY", url(&proxy))
            .variable("http_proxy", url(&proxy))
            .variable("ALL_PROXY", url(&proxy));
        let reached = async {
            let mut connection = tokio::select! {
                connection = authority.accept() => connection.unwrap().0,
                _ = proxy.accept() => return "proxy",
            };
            let mut start = [0; 5];
            connection.read_exact(&mut start).await.unwrap();
            assert_eq!(&start, b"POST ");
            let body = r#"{"error":"invalid_client","error_codes":[7000222]}"#;
            let head = format!("HTTP/1.1 401 \r\ncontent-length: {}\r\n\r\n", body.len());
            connection.write_all((head + body).as_bytes()).await.unwrap();
            // The client closes the connection when it has the response.
            let _closed = connection.read_to_end(&mut Vec::new()).await;
            "authority"
        };
        let (output, reached) = tokio::join!(sample.run(["list"]), reached);
        assert_eq!(reached, "authority");
        assert!(output.stderr.contains("AADSTS7000222"), "{}", output.stderr);
    }

    #[tokio::test]
    async fn failed_download_keeps_the_existing_file() {
        let cluster = Cluster::start().await;
        create_container(&cluster).await;
        fs::write(cluster.path("july.csv"), "old").await.unwrap();
        let output = cluster.blob().run(["download", "july.csv"]).await;
        assert!(
            output.failure().contains("The specified blob does not exist"),
            "{}",
            output.stderr
        );
        assert_eq!(entries(cluster.directory.path()).await, ["july.csv"]);
        assert_eq!(fs::read(cluster.path("july.csv")).await.unwrap(), b"old");
    }

    #[tokio::test]
    async fn failure_prints_each_cause_once() {
        let cluster = Cluster::start().await;
        let output = cluster.blob().run(["upload", "missing.csv"]).await;
        assert!(output.failure().contains("missing.csv"), "{}", output.stderr);
        cluster
            .emulator
            .entra()
            .disable_application(cluster.pod.client_id());
        let output = cluster.blob().run(["list"]).await;
        let line = output.failure();
        assert!(line.starts_with("error: Rejected: "), "{line}");
        assert!(line.contains("AADSTS7000112"), "{line}");
        assert!(line.contains("correlation ID"), "{line}");
        assert!(!line.contains("will not be retried"), "{line}");
        let causes: Vec<_> = line.split(": ").collect();
        let different: std::collections::HashSet<_> = causes.iter().collect();
        assert_eq!(causes.len(), different.len(), "{line}");
        assert_no_token(line);
    }

    #[tokio::test]
    async fn trace_log_contains_no_token() {
        let cluster = Cluster::start().await;
        create_container(&cluster).await;
        let output = cluster.blob().variable("RUST_LOG", "trace").run(["list"]).await;
        assert_eq!(output.code, Some(0));
        assert!(!output.stderr.is_empty());
        assert_no_token(&output.stderr);
    }
}

#[tokio::test]
async fn version_is_printed() {
    let cluster = Cluster::start().await;
    for name in [
        "blob",
        "keyvault",
        #[cfg(feature = "default-credential")]
        "default_credential",
    ] {
        let output = cluster.sample(name).run(["--version"]).await;
        assert_eq!(
            output.printed(),
            format!("{name} {}\n", env!("CARGO_PKG_VERSION"))
        );
    }
}

#[test]
fn data_lake_url_becomes_the_blob_endpoint() {
    for (url, expected) in [
        (
            "https://acme.dfs.core.windows.net",
            "https://acme.blob.core.windows.net/",
        ),
        (
            "https://acme.blob.core.windows.net/",
            "https://acme.blob.core.windows.net/",
        ),
        (
            "https://acme.dfs.core.chinacloudapi.cn",
            "https://acme.blob.core.chinacloudapi.cn/",
        ),
        (
            "https://127.0.0.1:10000/devaccount",
            "https://127.0.0.1:10000/devaccount",
        ),
    ] {
        assert_eq!(account_url::parse(url).unwrap().as_str(), expected);
    }
    assert!(account_url::parse("acme").is_err() && account_url::parse("mailto:acme").is_err());
}

mod keyvault {
    use super::*;

    const ANY_HOST: &str = "--disable-challenge-resource-verification";

    #[tokio::test]
    async fn secret_is_set_read_listed_and_deleted() {
        let cluster = Cluster::start().await;
        let keyvault = cluster.keyvault();
        let set = keyvault
            .run_with(["set", "password", ANY_HOST], "hunter2\n")
            .await;
        let id = format!("{}/secrets/password/", cluster.emulator.key_vault_url());
        assert!(set.printed().starts_with(&id), "{}", set.printed());
        assert!(!set.printed().contains("hunter2"));
        assert_eq!(
            keyvault.run([ANY_HOST, "get", "password"]).await.printed(),
            "hunter2\n"
        );
        assert_eq!(keyvault.run([ANY_HOST, "list"]).await.printed(), "password\n");
        assert_eq!(keyvault.run([ANY_HOST, "delete", "password"]).await.printed(), "");
        assert_eq!(keyvault.run([ANY_HOST, "list"]).await.printed(), "");
    }

    #[tokio::test]
    async fn one_final_newline_is_removed_and_the_version_is_an_option() {
        let cluster = Cluster::start().await;
        let keyvault = cluster.keyvault();
        let first = keyvault
            .run_with(["set", "key", ANY_HOST], " two\nlines\n\n")
            .await;
        keyvault
            .run_with(["set", "key", ANY_HOST], "none")
            .await
            .printed();
        assert_eq!(keyvault.run([ANY_HOST, "get", "key"]).await.printed(), "none\n");
        let version = first.printed().trim_end().rsplit('/').next().unwrap();
        let first = keyvault.run([ANY_HOST, "get", "key", "--version", version]).await;
        assert_eq!(first.printed(), " two\nlines\n\n");
    }

    #[tokio::test]
    async fn vault_in_another_domain_requires_the_option() {
        let cluster = Cluster::start().await;
        let output = cluster.keyvault().run_with(["set", "password"], "hunter2").await;
        assert!(
            output.failure().contains("doesn't match the requested domain"),
            "{}",
            output.stderr
        );
    }

    #[tokio::test]
    async fn invalid_arguments_print_the_usage_and_exit_with_2() {
        let cluster = Cluster::start().await;
        let bare = cluster.sample("keyvault");
        for (output, what) in [
            (bare.run(["list"]).await, "--vault-url"),
            (cluster.keyvault().run(["set"]).await, "<NAME>"),
            (cluster.keyvault().run([]).await, "requires a subcommand"),
        ] {
            assert_eq!((output.code, output.stdout.as_slice()), (Some(2), &b""[..]));
            assert!(output.stderr.contains(what), "{}", output.stderr);
            assert!(output.stderr.contains("Usage: keyvault"), "{}", output.stderr);
        }
    }

    #[tokio::test]
    async fn failure_is_printed_without_a_secret() {
        let cluster = Cluster::start().await;
        let keyvault = cluster.keyvault();
        let output = keyvault.run([ANY_HOST, "get", "missing"]).await;
        assert!(
            output.failure().contains("missing was not found"),
            "{}",
            output.stderr
        );
        let output = keyvault
            .run_with([ANY_HOST, "set", "under_score"], "hunter2")
            .await;
        assert!(
            output.failure().contains("invalid name: under_score"),
            "{}",
            output.stderr
        );
        assert!(!output.stderr.contains("hunter2"));
        fs::remove_file(cluster.pod.token_file()).await.unwrap();
        let output = keyvault.run([ANY_HOST, "get", "missing"]).await;
        let file = cluster.pod.token_file().to_str().unwrap();
        assert!(output.failure().contains(file), "{}", output.stderr);
    }

    #[tokio::test]
    async fn trace_log_contains_neither_secret_nor_token() {
        let cluster = Cluster::start().await;
        let keyvault = cluster.keyvault().variable("RUST_LOG", "trace");
        let set = keyvault.run_with([ANY_HOST, "set", "password"], "hunter2").await;
        let get = keyvault.run([ANY_HOST, "get", "password"]).await;
        assert_eq!((set.code, get.stdout.as_slice()), (Some(0), &b"hunter2\n"[..]));
        for output in [set, get] {
            assert!(
                !output.stderr.is_empty() && !output.stderr.contains("hunter2"),
                "{}",
                output.stderr
            );
            assert_no_token(&output.stderr);
        }
    }
}

/// Reading a FIFO without a writer never ends, and neither does the process then.
#[cfg(all(unix, feature = "default-credential"))]
#[tokio::test]
async fn fifo_in_place_of_the_root_certificates_is_reported() {
    let cluster = Cluster::start().await;
    let fifo = cluster.path("fifo");
    let made = std::process::Command::new("mkfifo").arg(&fifo).status();
    assert!(made.unwrap().success());
    let program = tokio::process::Command::new(example("default_credential"))
        .env_clear()
        .envs(cluster.pod.variables())
        .env("SSL_CERT_FILE", &fifo)
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(std::time::Duration::from_secs(60), program).await;
    let output = output.expect("the process does not end").unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    let message = "SSL_CERT_FILE is not a regular file; set it to the path of a file with root certificates in PEM (EW207)";
    assert!(error.contains(message), "{error}");
}

mod proxy {
    use super::*;

    #[tokio::test]
    async fn unreachable_proxy_is_reported_with_its_variable() {
        let cluster = Cluster::start().await;
        // Bound, so that no other process takes the port, but not listening.
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let refusing = socket.local_addr().unwrap().to_string();
        for (variable, proxy, reason) in [
            ("HTTPS_PROXY", &*refusing, "it refused the connection"),
            ("all_proxy", &*refusing, "it refused the connection"),
            ("https_proxy", "proxy.invalid:1", "its name cannot be resolved"),
        ] {
            let url = format!("http://planted:planted@{proxy}");
            let output = cluster.blob().variable(variable, url).run(["list"]).await;
            let message = format!(
                "error: Transport: 127.0.0.1 cannot be reached through the proxy in {variable}: {reason}; \
                 correct the variable, or add the host to NO_PROXY ("
            );
            assert!(output.failure().starts_with(&message), "{}", output.stderr);
            assert!(!output.stderr.contains("planted"), "{}", output.stderr);
        }
    }

    #[tokio::test]
    async fn proxy_that_rejects_the_tunnel_is_reported_with_the_reason() {
        let cluster = Cluster::start().await;
        for (status, reason) in [
            (
                407,
                "it requires a user name and password; add them to the URL in the variable",
            ),
            (
                403,
                "it does not allow the connection; allow the host on the proxy, or add it to NO_PROXY",
            ),
        ] {
            let proxy = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            let url = format!("http://{}", proxy.local_addr().unwrap());
            tokio::spawn(async move {
                loop {
                    let (mut stream, _) = proxy.accept().await.unwrap();
                    let _request = stream.read(&mut [0; 1024]).await;
                    let reply = format!("HTTP/1.1 {status} Status\r\n\r\n");
                    let _disconnected = stream.write_all(reply.as_bytes()).await;
                }
            });
            let output = cluster.blob().variable("HTTPS_PROXY", url).run(["list"]).await;
            let message = format!("127.0.0.1 cannot be reached through the proxy in HTTPS_PROXY: {reason} (");
            assert!(output.failure().contains(&message), "{}", output.stderr);
        }
    }
}
