//! `entra-workload doctor` for a process and for a cluster that somebody else controls.

mod api_server;

use std::fs::{self, Permissions};
use std::io::{self, BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use entra_workload_emulator::{Emulator, Endpoint, Pod};
use serde_json::{Value, json};

use api_server::{ApiServer, HOSTILE, Response, deployment};

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn token_file_that_the_user_of_a_process_cannot_read_is_not_sent() {
    let (emulator, pod) = start().await;
    // Root reads it all the same, unless the doctor gives up its rights.
    fs::set_permissions(pod.token_file(), Permissions::from_mode(0o0)).unwrap();
    let process = Process::start(&pod, None, &[]);
    let report = process.doctor(&allow(&emulator), emulator.ca_certificate_file());
    assert_eq!(report["cause"], "EW112", "{report:#}");
    assert!(token_requests(&emulator).is_empty());
}

/// Only root can start a process of another user; for others, the process is one of their own.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn doctor_of_a_process_reads_as_the_user_of_the_process() {
    let (emulator, pod) = start().await;
    let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
    // The folder of the emulator belongs to root alone, so the copy of the other user is elsewhere.
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    let copy = |name: &str, file: &Path| {
        let path = folder.path().join(name);
        fs::copy(file, &path).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        path
    };
    let ca = copy("ca.pem", emulator.ca_certificate_file());
    let readable = copy("token", pod.token_file());
    let unreadable = copy("unreadable", pod.token_file());
    fs::set_permissions(&unreadable, Permissions::from_mode(0o600)).unwrap();
    let doctor = |token: &Path| {
        let variables = [("AZURE_FEDERATED_TOKEN_FILE", token.to_str().unwrap())];
        let process = Process::start(&pod, is_root.then_some(NOBODY), &variables);
        process.doctor(&allow(&emulator), &ca)
    };
    assert_eq!(doctor(&readable)["healthy"], true);
    emulator.clear_requests();
    let report = doctor(&unreadable);
    let cause = if is_root { json!("EW112") } else { Value::Null };
    assert_eq!(report["cause"], cause, "{report:#}");
    assert_eq!(token_requests(&emulator).is_empty(), is_root);
}

/// A process cannot make root run its programs.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn programs_on_the_path_of_a_process_are_not_run() {
    let (emulator, pod) = start().await;
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("trace");
    for name in ["az", "azd"] {
        let program = folder.path().join(name);
        fs::write(&program, format!("#!/bin/sh\necho ran > {}\n", trace.display())).unwrap();
        fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
    }
    let variables = [
        ("PATH", folder.path().to_str().unwrap()),
        ("AZURE_FEDERATED_TOKEN_FILE", ""),
        ("AZURE_TOKEN_CREDENTIALS", "AzureCliCredential"),
        ("AZURE_POD_IDENTITY_AUTHORITY_HOST", emulator.imds_url()),
    ];
    let process = Process::start(&pod, None, &variables);
    let report = process.doctor(&allow(&emulator), emulator.ca_certificate_file());
    let checks = report["checks"].as_array().unwrap();
    assert!(
        checks.iter().any(|check| check["step"] == "other identities"),
        "{report:#}"
    );
    assert!(!trace.exists());
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn login_host_of_a_process_gets_a_token_only_if_it_is_known_or_allowed() {
    let (emulator, pod) = start().await;
    let ca = emulator.ca_certificate_file();
    let process = Process::start(&pod, None, &[("AZURE_CLIENT_SECRET", "planted")]);
    let report = process.doctor(&[], ca);
    assert_eq!(report["cause"], "EW122", "{report:#}");
    assert!(emulator.requests_to(Endpoint::Entra).is_empty());
    for allowed in [
        emulator.authority_host().to_owned(),
        emulator
            .authority_host()
            .trim_start_matches("https://")
            .to_owned(),
    ] {
        let report = process.doctor(&["--allow-authority-host".to_owned(), allowed], ca);
        assert_eq!(report["healthy"], true, "{report:#}");
    }

    let bound = emulator.bound_pod("shop", "orders").unwrap();
    let report = Process::start(&bound, None, &[]).doctor(&[], ca);
    assert_eq!(report["cause"], "EW122", "{report:#}");
    assert!(emulator.requests_to(Endpoint::TokenProxy).is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn login_host_of_a_deployment_gets_a_token_only_if_it_is_known_or_allowed() {
    let (emulator, pod) = start().await;
    let env = json!([{"name": "AZURE_AUTHORITY_HOST", "value": emulator.authority_host()}]);
    let server = cluster(&pod, &deployment("orders", &env));
    let known = "https://login.microsoftonline.us";
    let doctor = |arguments: &[String], own: &str| {
        let mut command = doctor_of_deployment(&server, &emulator, &pod);
        let output = command
            .args(arguments)
            .env("AZURE_AUTHORITY_HOST", own)
            .output()
            .unwrap();
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    for own in ["", known] {
        let report = doctor(&[], own);
        assert_eq!(report["cause"], "EW122", "{report:#}");
        assert!(emulator.requests_to(Endpoint::Entra).is_empty());
    }
    for (arguments, own) in [
        (allow(&emulator), known),
        // The operator's own choice.
        (Vec::new(), emulator.authority_host()),
    ] {
        let report = doctor(&arguments, own);
        assert_eq!(report["cause"], Value::Null, "{report:#}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watch_that_is_ended_leaves_no_token_in_the_temporary_folder() {
    let (emulator, pod) = start().await;
    emulator.entra().remove_federated_credentials(pod.client_id());
    let server = cluster(&pod, &deployment("orders", &json!([])));
    let folder = tempfile::tempdir().unwrap();
    let mut doctor = doctor_of_deployment(&server, &emulator, &pod)
        .arg("--watch")
        .env("AZURE_AUTHORITY_HOST", emulator.authority_host())
        .env("TMPDIR", folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut stdout = BufReader::new(doctor.stdout.take().unwrap());
    while line.trim_end() != "}" {
        line.clear();
        assert_ne!(stdout.read_line(&mut line).unwrap(), 0);
    }
    // Not SIGINT: a program that was started in the background of a shell ignores it, and so do its children.
    let status = Command::new("kill")
        .args(["-TERM", &doctor.id().to_string()])
        .status();
    assert!(status.unwrap().success());
    doctor.wait().unwrap();
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn text_of_a_hostile_api_server_is_escaped() {
    let (emulator, pod) = start().await;
    for response in [
        Response::forbidden(),
        Response::Text(500, HOSTILE.repeat(1000)),
        Response::Text(200, HOSTILE.to_owned()),
    ] {
        let server = ApiServer::start(move |_, _| response.clone());
        let output = doctor_of_deployment(&server, &emulator, &pod).output().unwrap();
        assert_eq!(output.status.code(), Some(64));
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(
            error.contains("the Deployment shop/orders cannot be read"),
            "{error}"
        );
        assert_harmless(&error);
        assert!(error.len() < 20_000, "{}", error.len());
        let text = String::from_utf8(output.stdout).unwrap();
        assert_harmless(&text);
        let document: Value = serde_json::from_str(&text).unwrap();
        let message = document["error"].as_str().unwrap();
        assert!(
            message.contains("the Deployment shop/orders cannot be read"),
            "{message}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_of_hostile_objects_are_escaped_in_the_report() {
    let (emulator, pod) = start().await;
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let claims = json!({"iss": HOSTILE, "sub": HOSTILE, "aud": HOSTILE, "exp": 4_102_444_800_u64});
    let token = format!("{}.{}.e30", part(&json!({"kid": HOSTILE})), part(&claims));
    let env = json!([{"name": "AZURE_TENANT_ID", "value": HOSTILE}]);
    let mut hostile = deployment("orders", &env);
    hostile["metadata"]["labels"] = json!({"azure.workload.identity/use": HOSTILE});
    hostile["spec"]["template"]["metadata"]["labels"]["azure.workload.identity/use"] = HOSTILE.into();
    let server = ApiServer::with_deployment(&token, pod.client_id(), &hostile);
    for arguments in [&["--json"][..], &[]] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_entra-workload"));
        command
            .args(["doctor", "--deployment", "shop/orders"])
            .args(arguments);
        let output = environment(&mut command, &server, &emulator, &pod)
            .output()
            .unwrap();
        assert_harmless(&String::from_utf8(output.stderr).unwrap());
        let text = String::from_utf8(output.stdout).unwrap();
        for part in ["EW106", "EW603", "events are not checked"] {
            assert!(text.contains(part), "{text}");
        }
        assert_harmless(&text);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn command_is_not_made_of_a_name_that_a_shell_would_read() {
    let (emulator, pod) = start().await;
    let run = |name: &str| {
        let mut hostile = deployment(name, &json!([]));
        hostile["spec"]["template"]["metadata"]["labels"] = json!({"app": "orders"});
        let server = cluster(&pod, &hostile);
        let output = doctor_of_deployment(&server, &emulator, &pod).output().unwrap();
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let findings = report["lint"]["findings"].as_array().unwrap().iter();
        let mut findings = findings.filter(|finding| finding["code"] == "EW602");
        findings.next().unwrap()["command"].clone()
    };
    assert!(
        run("orders")
            .as_str()
            .unwrap()
            .contains(" patch deployment orders ")
    );
    for name in ["x; reboot", "$(reboot)", "x\nreboot", "--kubeconfig=x", "", "x'"] {
        assert_eq!(run(name), Value::Null, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn response_of_the_api_server_is_limited_in_length_and_time() {
    let (emulator, pod) = start().await;
    for (response, part) in [
        (Response::Endless(40 * 1024 * 1024), "length limit exceeded"),
        (Response::Silence, "the API server did not respond within 1 s"),
    ] {
        let server = ApiServer::start(move |_, _| response.clone());
        let mut command = doctor_of_deployment(&server, &emulator, &pod);
        let output = command.args(["--timeout", "1"]).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(error.contains(part), "{error}");
    }
}

/// The plugin reads the input of the doctor, and ends with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exec_plugin_of_the_kubeconfig_is_limited_in_time() {
    let (emulator, pod) = start().await;
    let plugin = json!({"apiVersion": EXEC_VERSION, "command": "cat", "interactiveMode": "Always"});
    let server = cluster(&pod, &deployment("orders", &json!([]))).with_user(&json!({"exec": plugin}));
    let mut command = doctor_of_deployment(&server, &emulator, &pod);
    command.args(["--timeout", "1"]).stdin(Stdio::piped());
    let mut doctor = command
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let input = doctor.stdin.take();
    // Does not close the input.
    let status = loop {
        match doctor.try_wait().unwrap() {
            Some(status) => break status,
            None => tokio::task::yield_now().await,
        }
    };
    drop(input);
    assert_eq!(status.code(), Some(64));
    let error = io::read_to_string(doctor.stderr.unwrap()).unwrap();
    assert!(
        error.contains("the exec plugin or the token file of the kubeconfig did not respond within 1 s"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neither_the_kubeconfig_nor_what_its_exec_plugin_prints_is_shown() {
    let (emulator, pod) = start().await;
    let server = || cluster(&pod, &deployment("orders", &json!([])));
    let with_plugin = |script: &str| {
        let plugin = json!({
            "apiVersion": EXEC_VERSION,
            "command": "sh",
            "args": ["-c", script],
            "env": [{"name": "PASSWORD", "value": "planted"}],
            "interactiveMode": "Never",
        });
        server().with_user(&json!({"exec": plugin}))
    };
    let invalid = server();
    fs::write(
        &invalid.kubeconfig,
        "users:\n- name: it\n  user: {token: [planted\n",
    )
    .unwrap();
    for (server, part) in [
        (
            with_plugin("echo planted; echo planted >&2; exit 3"),
            "the exec plugin of the kubeconfig failed",
        ),
        (
            with_plugin("echo planted"),
            "the exec plugin of the kubeconfig did not print an ExecCredential",
        ),
        (
            with_plugin("echo '{\"status\": \"planted\"}'"),
            "did not print an ExecCredential",
        ),
        (invalid, "it is not the YAML of a kubeconfig"),
    ] {
        let mut command = doctor_of_deployment(&server, &emulator, &pod);
        assert_not_planted(&mut command, part);
    }
    let server = server();
    let mut command = doctor_of_deployment(&server, &emulator, &pod);
    let content = command.env("KUBECONFIG", "users: [{user: {token planted}}]");
    assert_not_planted(content, "it cannot be read");
}

/// The content of a file in place of its path, the user of a URL, or a token that a header cannot have.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_value_of_the_kubeconfig_is_shown() {
    let (emulator, pod) = start().await;
    let server = || cluster(&pod, &deployment("orders", &json!([])));
    let pem = "-----BEGIN PRIVATE KEY-----\nplanted\n";
    let certificate = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0t";
    for (user, part) in [
        (
            json!({"tokenFile": "planted"}),
            "the token file of the kubeconfig cannot be read",
        ),
        (
            json!({"client-certificate-data": certificate, "client-key": pem}),
            "a certificate or key file of the kubeconfig cannot be read",
        ),
        (
            json!({"auth-provider": {"name": "gcp", "config": {"cmd-path": "planted"}}}),
            "the auth provider of the kubeconfig failed",
        ),
        (
            json!({"token": "planted\n"}),
            "has a line break or another control character",
        ),
    ] {
        let server = server().with_user(&user);
        assert_not_planted(&mut doctor_of_deployment(&server, &emulator, &pod), part);
    }
    let server = server().with_user(&json!({}));
    let config: Value = serde_json::from_slice(&fs::read(&server.kubeconfig).unwrap()).unwrap();
    for (field, value, part) in [
        ("certificate-authority", pem, "a certificate or key file"),
        (
            "proxy-url",
            "ftp://user:planted@127.0.0.1",
            "has an unsupported protocol",
        ),
    ] {
        let mut config = config.clone();
        config["clusters"][0]["cluster"][field] = value.into();
        config["clusters"][0]["cluster"]["server"] = "http://user:planted@127.0.0.1:1/?planted".into();
        fs::write(&server.kubeconfig, config.to_string()).unwrap();
        assert_not_planted(&mut doctor_of_deployment(&server, &emulator, &pod), part);
    }
}

fn assert_not_planted(doctor: &mut Command, part: &str) {
    let output = doctor.output().unwrap();
    assert_eq!(output.status.code(), Some(64));
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(text.contains(part) && !text.contains("planted"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_of_a_deployment_are_those_of_its_whole_selector() {
    let (emulator, pod) = start().await;
    let expression =
        |operator: &str, values: Value| json!({"key": "app", "operator": operator, "values": values});
    for (selector, query) in [
        (json!({"matchLabels": {"app": "orders"}}), Some("app%3Dorders")),
        (
            json!({"matchExpressions": [expression("In", json!(["orders"])), expression("Exists", Value::Null)]}),
            Some("app+in+%28orders%29%2Capp"),
        ),
        (json!({}), None),
        (
            json!({"matchExpressions": [expression("Near", Value::Null)]}),
            None,
        ),
    ] {
        let mut deployment = deployment("orders", &json!([]));
        deployment["spec"]["selector"] = selector.clone();
        let queries = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&queries);
        let server = ApiServer::start(move |_, path| {
            if path.ends_with("/deployments/orders") {
                return Response::Json(200, deployment.clone());
            }
            if path.contains("/pods") {
                seen.lock().unwrap().push(path.to_owned());
            }
            Response::Json(200, json!({"metadata": {}, "items": []}))
        });
        doctor_of_deployment(&server, &emulator, &pod).output().unwrap();
        let queries = queries.lock().unwrap();
        let expected = query.map(|query| format!("/api/v1/namespaces/shop/pods?&labelSelector={query}"));
        assert_eq!(queries.first().cloned(), expected, "{selector}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deployment_without_a_selector_is_noted() {
    let (emulator, pod) = start().await;
    let mut deployment = deployment("orders", &json!([]));
    deployment["spec"]["selector"] = json!({});
    let server = cluster(&pod, &deployment);
    let output = doctor_of_deployment(&server, &emulator, &pod).output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let note = "pods are not checked: the Deployment shop/orders has no selector";
    assert!(
        report["notes"].as_array().unwrap().contains(&note.into()),
        "{report:#}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_webhooks_of_a_hostile_api_server_cause_few_requests() {
    let (emulator, pod) = start().await;
    let requests = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&requests);
    let server = ApiServer::start(move |_, path| {
        count.fetch_add(1, Ordering::Relaxed);
        let webhook = |index| {
            json!({
                "name": "mutation.azure-workload-identity.io",
                "admissionReviewVersions": ["v1"],
                "sideEffects": "None",
                "clientConfig": {"service": {"name": format!("webhook-{index}"), "namespace": "system"}},
            })
        };
        let webhooks: Vec<Value> = (0..1000).map(webhook).collect();
        let is_list = path.contains("mutatingwebhookconfigurations");
        let items = if is_list {
            json!([{"metadata": {"name": "webhook"}, "webhooks": webhooks}])
        } else {
            json!([])
        };
        Response::Json(200, json!({"metadata": {}, "items": items}))
    });
    let output = doctor_of_deployment(&server, &emulator, &pod).output().unwrap();
    assert_eq!(output.status.code(), Some(64));
    let requests = requests.load(Ordering::Relaxed);
    assert!((4..50).contains(&requests), "{requests}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fix_of_the_cause_comes_before_those_of_other_errors() {
    let (emulator, pod) = start().await;
    let output = Command::new(env!("CARGO_BIN_EXE_entra-workload"))
        .arg("doctor")
        .env_clear()
        .envs(pod.variables())
        .env("AZURE_POD_IDENTITY_AUTHORITY_HOST", emulator.imds_url())
        .env("AZURE_CLIENT_ID", "orders")
        .env("AZURE_AUTHORITY_HOST", "http://login.example.com")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let parts = [
        "FAIL  variables         invalid client ID",
        "skip  clock             follows from EW105",
        "error[EW105]",
        "Who can fix EW105: developer",
        "error EW107: ",
        "Who can fix EW107: developer",
    ];
    let places: Vec<usize> = parts.iter().map(|part| text.find(part).expect(part)).collect();
    assert!(places.is_sorted(), "{text}");
}

async fn start() -> (Emulator, Pod) {
    let emulator = Emulator::start().await.unwrap();
    let pod = emulator.pod("shop", "orders").unwrap();
    (emulator, pod)
}

fn cluster(pod: &Pod, deployment: &Value) -> ApiServer {
    let token = fs::read_to_string(pod.token_file()).unwrap();
    ApiServer::with_deployment(&token, pod.client_id(), deployment)
}

fn doctor_of_deployment(server: &ApiServer, emulator: &Emulator, pod: &Pod) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_entra-workload"));
    command.args([
        "doctor",
        "--json",
        "--deployment",
        "shop/orders",
        "--scope",
        SCOPE,
    ]);
    environment(&mut command, server, emulator, pod);
    command
}

fn environment<'a>(
    command: &'a mut Command,
    server: &ApiServer,
    emulator: &Emulator,
    pod: &Pod,
) -> &'a mut Command {
    command
        .env_clear()
        .env("KUBECONFIG", server.kubeconfig.path())
        .env("AZURE_TENANT_ID", pod.tenant_id())
        .env("SSL_CERT_FILE", emulator.ca_certificate_file())
}

const EXEC_VERSION: &str = "client.authentication.k8s.io/v1";

fn allow(emulator: &Emulator) -> Vec<String> {
    vec![
        "--allow-authority-host".to_owned(),
        emulator.authority_host().to_owned(),
    ]
}

fn token_requests(emulator: &Emulator) -> Vec<String> {
    let requests = emulator.requests_to(Endpoint::Entra).into_iter();
    let paths = requests.map(|request| request.path().to_owned());
    paths.filter(|path| path.ends_with("/token")).collect()
}

/// Nothing that a terminal or the log of a CI job acts on.
fn assert_harmless(text: &str) {
    let is_harmless = |c: char| c == '\n' || !c.is_control() && !"\u{202e}\u{200b}".contains(c);
    let styled = anstream::adapter::strip_str(text).to_string();
    assert_eq!(styled, text, "an escape sequence");
    assert!(text.chars().all(is_harmless), "{text:?}");
    assert!(
        !text.lines().any(|line| line.trim_start().starts_with("::")),
        "{text}"
    );
}

/// A process in a pod; it ends with this value.
struct Process(Child);

impl Process {
    /// * `variables`: those that differ from the pod's.
    fn start(pod: &Pod, user: Option<u32>, variables: &[(&str, &str)]) -> Self {
        let mut command = Command::new("/bin/sleep");
        command.arg("600").env_clear().envs(pod.variables());
        command.envs(variables.iter().copied());
        if let Some(user) = user {
            command.uid(user).gid(user);
        }
        Self(command.spawn().unwrap())
    }

    fn doctor(&self, arguments: &[String], ca: &Path) -> Value {
        let output = Command::new(env!("CARGO_BIN_EXE_entra-workload"))
            .args(["doctor", "--json", "--scope", SCOPE, "--pid"])
            .arg(self.0.id().to_string())
            .args(arguments)
            .env_clear()
            .env("SSL_CERT_FILE", ca)
            .output()
            .unwrap();
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const SCOPE: &str = "https://vault.azure.net/.default";

const NOBODY: u32 = 65_534;
