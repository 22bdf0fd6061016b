//! The credentials of developer tools, with shell scripts in place of `az` and `azd`.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, SystemTime};

use entra_workload::builder::AzureCliCredentialBuilder;
use entra_workload::{
    AzureCliCredential, AzureDeveloperCliCredential, DefaultAzureCredential, Environment, ErrorKind,
    TokenRequest,
};
use tempfile::TempDir;

const SCOPES: [&str; 1] = ["https://vault.azure.net/.default"];

/// A folder with a script that is called `az`.
struct Tool(TempDir);

impl Tool {
    fn new(commands: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("az");
        fs::write(&program, format!("#!/bin/sh\n{commands}\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        Self(folder)
    }

    fn builder(&self) -> AzureCliCredentialBuilder {
        AzureCliCredential::builder().environment(Environment::from_iter([("PATH", self.0.path())]))
    }

    fn credential(&self) -> Arc<AzureCliCredential> {
        self.builder().build().unwrap()
    }
}

/// A tool that never ends, nor does the process that it starts. Both hold a FIFO open, so its reader
/// sees the end of the file when the last of them ends.
struct EndlessTool {
    tool: Tool,
    events: Receiver<&'static str>,
}

impl EndlessTool {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap().keep();
        let fifo = folder.join("fifo");
        assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        let tool = Tool::new(&format!(
            "exec 3> '{}'\n/bin/sleep 60 &\necho started >&3\nwait",
            fifo.display()
        ));
        Self {
            tool,
            events: events(folder),
        }
    }

    /// Waits for the next event. The limit only bounds a test that fails.
    fn expect(&self, event: &str) {
        let next = self.events.recv_timeout(Duration::from_secs(10));
        assert_eq!(next, Ok(event));
    }
}

fn events(folder: PathBuf) -> Receiver<&'static str> {
    let (sender, events) = mpsc::channel();
    std::thread::spawn(move || {
        let mut reader = BufReader::new(File::open(folder.join("fifo")).unwrap());
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        sender.send("started").unwrap();
        reader.read_to_string(&mut line).unwrap();
        fs::remove_dir_all(folder).unwrap();
        sender.send("ended").unwrap();
    });
    events
}

#[tokio::test]
async fn all_processes_of_a_tool_end_at_the_time_limit() {
    let tool = EndlessTool::new();
    let credential = tool.tool.credential();
    let token = tokio::spawn(async move { credential.token(&SCOPES).await });
    let tool = tokio::task::spawn_blocking(move || {
        tool.expect("started");
        tool
    });
    let tool = tool.await.unwrap();

    tokio::time::pause();
    let error = token.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Transport, "{error}");
    assert!(error.to_string().contains("did not end within 30s"), "{error}");
    tool.expect("ended");
}

#[test]
fn all_processes_of_a_tool_end_when_the_runtime_is_dropped() {
    let tool = EndlessTool::new();
    let credential = tool.tool.credential();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    runtime.spawn(async move { credential.token(&SCOPES).await });
    tool.expect("started");
    drop(runtime);
    tool.expect("ended");
}

#[tokio::test]
async fn tool_that_writes_more_than_a_mebibyte_is_a_protocol_error() {
    let token = r#"{"accessToken":"a-token","expires_on":4102444800,"tokenType":"Bearer"}"#;
    for commands in [
        format!("printf '%2000000s' ''; echo '{token}'"),
        format!("printf '%2000000s' '' >&2; echo '{token}'"),
        "printf '%2000000s' '' >&2; exit 1".to_owned(),
        "while :; do echo 'endless'; done".to_owned(),
    ] {
        let error = Tool::new(&commands)
            .credential()
            .token(&SCOPES)
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol, "{commands}: {error}");
        assert!(error.to_string().contains("az wrote more than 1 MiB"), "{error}");
    }
}

#[tokio::test]
async fn token_of_a_tool_that_leaves_a_process_behind_is_used() {
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let tool = Tool::new(&format!(
        "(read line < '{}') &\n{}",
        fifo.display(),
        prints("a-token")
    ));
    let token = tool.credential().token(&SCOPES).await.unwrap();
    assert_eq!(token.secret(), "a-token");
    // Waits for ever if nobody reads, so the process has not been killed.
    drop(fs::OpenOptions::new().write(true).open(fifo).unwrap());
}

#[tokio::test]
async fn at_most_four_tools_run_at_a_time_for_many_tenants() {
    let tool = Tool::new(&format!(
        "cd \"$PATH\"; /bin/mkdir run.$$; set -- run.*; echo $# >> counts; /bin/sleep 0.1; /bin/rmdir run.$$\n{}",
        prints("a-token")
    ));
    let credential = tool
        .builder()
        .additionally_allowed_tenants(["*"])
        .build()
        .unwrap();
    futures::future::join_all((0..12).map(|tenant| {
        let credential = &credential;
        async move {
            let tenant = format!("tenant{tenant}.example");
            let request = TokenRequest::new(&SCOPES).tenant_id(&tenant);
            credential.token_for(&request).await.unwrap();
        }
    }))
    .await;
    let counts = fs::read_to_string(tool.0.path().join("counts")).unwrap();
    let counts: Vec<usize> = counts.lines().map(|count| count.parse().unwrap()).collect();
    assert_eq!(counts.len(), 12);
    assert!(counts.iter().all(|count| *count <= 4), "{counts:?}");
}

#[tokio::test]
async fn only_an_executable_tool_in_an_absolute_folder_is_run() {
    let text = Tool::new(&prints("not-executable"));
    fs::set_permissions(text.0.path().join("az"), fs::Permissions::from_mode(0o644)).unwrap();
    let text = text.0.path().to_str().unwrap();
    let other = Tool::new(&prints("in-a-relative-folder"));
    // The same folder from anywhere.
    let relative = format!("{}{}", "../".repeat(30), other.0.path().to_str().unwrap());
    let tool = Tool::new(&prints("a-token"));
    let tool = tool.0.path().to_str().unwrap();
    for (path, expected) in [
        (text.to_owned(), Err(ErrorKind::Unavailable)),
        (relative.clone(), Err(ErrorKind::Unavailable)),
        (format!("{text}:{relative}:"), Err(ErrorKind::Unavailable)),
        (format!("{text}:{relative}:{tool}"), Ok("a-token".to_owned())),
    ] {
        let credential = AzureCliCredential::builder()
            .environment(Environment::from_iter([("PATH", &path)]))
            .build()
            .unwrap();
        let token = credential.token(&SCOPES).await;
        let token = token.map(|token| token.secret().to_owned());
        assert_eq!(token.map_err(|error| error.kind()), expected, "{path}");
    }
}

#[tokio::test]
async fn token_of_a_tool_counts_as_valid_for_two_days_at_most() {
    let tool = Tool::new(&prints("a-token"));
    let token = tool.credential().token(&SCOPES).await.unwrap();
    // The clock of the credential is up to a tick fast.
    let two_days = Duration::from_secs(48 * 3600 + 1);
    assert!(token.expires_on() <= SystemTime::now() + two_days, "{token:?}");
}

/// Returns the command that prints a token with an expiry in the year 2100.
fn prints(token: &str) -> String {
    format!(r#"echo '{{"accessToken":"{token}","expires_on":4102444800,"tokenType":"Bearer"}}'"#)
}

const OWN: &str = "72f988bf-86f1-41af-91ab-2d7cd011db47";
const ALLOWED: &str = "allowed.example.com";
const OTHER: &str = "other.example.com";

/// Returns the tenant that `az` is called with, or the kind of the error if it is not called.
async fn requested_tenant(
    own: Option<&str>,
    allowed: &[&str],
    requested: Option<&str>,
) -> Result<Option<String>, ErrorKind> {
    let token = r#"{"accessToken":"a-token","expires_on":4102444800,"tokenType":"Bearer"}"#;
    let tool = Tool::new(&format!("echo \"$*\" > \"$PATH/arguments\"\necho '{token}'"));
    let mut builder = tool.builder().additionally_allowed_tenants(allowed.to_vec());
    if let Some(own) = own {
        builder = builder.tenant_id(own);
    }
    let mut request = TokenRequest::new(&SCOPES);
    if let Some(requested) = requested {
        request = request.tenant_id(requested);
    }
    let result = builder.build().unwrap().token_for(&request).await;
    let arguments = fs::read_to_string(tool.0.path().join("arguments"));
    match result {
        Ok(_) => {
            let arguments = arguments.unwrap();
            let mut words = arguments.split_whitespace();
            let tenant = words.find(|word| *word == "--tenant").and_then(|_| words.next());
            Ok(tenant.map(str::to_owned))
        }
        Err(error) => {
            assert!(arguments.is_err(), "az ran for a tenant that is not allowed");
            Err(error.kind())
        }
    }
}

#[tokio::test]
async fn tool_is_called_only_for_its_own_and_for_allowed_tenants() {
    let refused = Err(ErrorKind::Configuration);
    let tenant = |tenant: &str| Ok(Some(tenant.to_owned()));
    for (own, allowed, requested, expected) in [
        (None, &[][..], None, Ok(None)),
        (None, &[], Some(OTHER), refused.clone()),
        (None, &[ALLOWED], Some(ALLOWED), tenant(ALLOWED)),
        (
            None,
            &[ALLOWED],
            Some("ALLOWED.example.com"),
            tenant("ALLOWED.example.com"),
        ),
        (None, &[ALLOWED], Some(OTHER), refused.clone()),
        (None, &["*"], Some(OTHER), tenant(OTHER)),
        (None, &["*"], Some("other --debug"), refused.clone()),
        (Some(OWN), &[], None, tenant(OWN)),
        (Some(OWN), &[], Some(OWN), tenant(OWN)),
        (Some(OWN), &[], Some(OTHER), refused.clone()),
        (Some(OWN), &[ALLOWED], Some(ALLOWED), tenant(ALLOWED)),
    ] {
        let result = requested_tenant(own, allowed, requested).await;
        assert_eq!(result, expected, "{own:?} {allowed:?} {requested:?}");
    }
}

#[tokio::test]
async fn tool_is_called_for_its_own_tenant_if_multitenant_auth_is_disabled() {
    let token = r#"{"accessToken":"a-token","expires_on":4102444800,"tokenType":"Bearer"}"#;
    for (own, expected) in [(None, None), (Some(OWN), Some(OWN))] {
        let tool = Tool::new(&format!("echo \"$*\" > \"$PATH/arguments\"\necho '{token}'"));
        let path = tool.0.path();
        let mut builder = tool
            .builder()
            .environment(Environment::from_iter([
                ("PATH", path.as_os_str()),
                ("AZURE_IDENTITY_DISABLE_MULTITENANTAUTH", "true".as_ref()),
            ]))
            .additionally_allowed_tenants(["*"]);
        if let Some(own) = own {
            builder = builder.tenant_id(own);
        }
        let request = TokenRequest::new(&SCOPES).tenant_id(OTHER);
        builder.build().unwrap().token_for(&request).await.unwrap();
        let arguments = fs::read_to_string(path.join("arguments")).unwrap();
        let mut words = arguments.split_whitespace();
        let tenant = words.find(|word| *word == "--tenant").and_then(|_| words.next());
        assert_eq!(tenant, expected, "{arguments}");
    }
}

#[test]
fn builder_rejects_an_invalid_tenant_id() {
    let error = AzureCliCredential::builder()
        .tenant_id("a b")
        .build()
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    let error = AzureDeveloperCliCredential::builder()
        .tenant_id("a b")
        .build()
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
}

#[tokio::test]
async fn options_of_the_default_chain_reach_the_developer_tools() {
    let az = r#"{"accessToken":"a-token","expires_on":4102444800,"tokenType":"Bearer"}"#;
    let azd = r#"{"token":"a-token","expiresOn":"2100-01-01T00:00:00Z"}"#;
    for (name, token) in [("AzureCliCredential", az), ("AzureDeveloperCliCredential", azd)] {
        let tool = Tool::new(&format!("echo \"$*\" >> \"$PATH/arguments\"\necho '{token}'"));
        let path = tool.0.path();
        fs::copy(path.join("az"), path.join("azd")).unwrap();
        let credential = DefaultAzureCredential::builder()
            .environment(Environment::from_iter([
                ("AZURE_TOKEN_CREDENTIALS", name.as_ref()),
                ("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://127.0.0.1:9".as_ref()),
                ("PATH", path.as_os_str()),
            ]))
            .tenant_id(OWN)
            .additionally_allowed_tenants([ALLOWED])
            .build()
            .unwrap();
        credential.token(&SCOPES).await.unwrap();
        let request = TokenRequest::new(&SCOPES);
        credential.token_for(&request.tenant_id(ALLOWED)).await.unwrap();
        let error = credential.token_for(&request.tenant_id(OTHER)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration, "{name}: {error}");
        let arguments = fs::read_to_string(path.join("arguments")).unwrap();
        let calls: Vec<&str> = arguments.lines().collect();
        assert_eq!(calls.len(), 2, "{name}: {arguments}");
        assert!(
            calls[0].contains(OWN) && calls[1].contains(ALLOWED),
            "{name}: {arguments}"
        );
    }
}

#[tokio::test]
async fn output_of_a_tool_is_never_quoted() {
    let command = "run `az account get-access-token`";
    for (commands, kind, message) in [
        (
            "echo '\"planted\"'",
            ErrorKind::Protocol,
            "az did not write a token in JSON",
        ),
        (
            "echo planted",
            ErrorKind::Protocol,
            "az did not write a token in JSON",
        ),
        (
            r#"echo '{"accessToken":"planted"}'"#,
            ErrorKind::Protocol,
            "az did not write a token in JSON",
        ),
        (
            "echo 'ERROR: planted' >&2; exit 1",
            ErrorKind::Rejected,
            "az returned no token; run",
        ),
        (
            "echo 'AADSTS700082: planted. AADSTS700082: planted' >&2; exit 1",
            ErrorKind::Rejected,
            "az returned no token, AADSTS700082; run",
        ),
        (
            "echo \"Please run 'az login' to setup account. planted\" >&2; exit 1",
            ErrorKind::Unavailable,
            "nobody is logged in to az",
        ),
    ] {
        let error = Tool::new(commands).credential().token(&SCOPES).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{commands}: {error}");
        let text = error.to_string();
        let has_way_out = text.contains(command) || kind == ErrorKind::Unavailable;
        assert!(text.starts_with(message) && has_way_out, "{commands}: {text}");
        let mut causes = vec![format!("{error:?}")];
        let mut cause = std::error::Error::source(&error);
        while let Some(error) = cause {
            causes.push(format!("{error} {error:?}"));
            cause = error.source();
        }
        assert!(!causes.concat().contains("planted"), "{commands}: {causes:?}");
    }
}
