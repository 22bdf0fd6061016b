//! `entra-workload emulator`: what a program that it runs sees, and how the server starts and stops.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

#[test]
fn exit_code_of_the_program_is_passed_on() {
    for (script, code) in [("exit 0", 0), ("exit 7", 7), ("kill -TERM $$", 128 + 15)] {
        assert_eq!(run(&[], script).status.code(), Some(code), "{script}");
    }
    let missing = command(&["run", "--", "/no/such/program"]).output().unwrap();
    assert_eq!(missing.status.code(), Some(64));
    assert!(text(&missing.stderr).contains("/no/such/program cannot be started"));
}

#[test]
fn program_gets_the_variables_and_no_inherited_identity() {
    let output = command(&["run", "--", "env"])
        .env("AZURE_CLIENT_SECRET", "planted")
        .env("AZURE_CLIENT_ID", "inherited")
        .env("IDENTITY_ENDPOINT", "inherited")
        .env("HTTP_PROXY", "http://inherited")
        .output()
        .unwrap();
    let shown = text(&output.stdout);
    assert!(
        !shown.contains("planted") && !shown.contains("=inherited") && !shown.contains("//inherited"),
        "{shown}"
    );
    let variables = variables(&shown);
    for (name, value) in [
        ("AZURE_AUTHORITY_HOST", "https://login.microsoftonline.com/"),
        ("AZURE_TENANT_ID", "11111111-1111-4111-8111-111111111111"),
        ("AZURE_CLIENT_ID", "22222222-2222-4222-8222-000000000001"),
        ("NO_PROXY", "127.0.0.1,localhost"),
        (
            "AZURE_STORAGE_ACCOUNT_URL",
            "https://devaccount.blob.core.windows.net/",
        ),
        ("AZURE_KEYVAULT_URL", "https://emulator.vault.azure.net/"),
    ] {
        assert_eq!(variables[name], value);
    }
    assert!(variables["HTTPS_PROXY"].starts_with("http://127.0.0.1:"));
    assert_eq!(variables["HTTPS_PROXY"], variables["https_proxy"]);
}

#[test]
fn managed_identity_has_its_own_variables_and_no_token_file() {
    for (host, present) in [
        ("imds", "AZURE_POD_IDENTITY_AUTHORITY_HOST"),
        ("app-service", "IDENTITY_HEADER"),
    ] {
        let output = command(&["run", "--managed-identity", host, "--", "env"])
            .output()
            .unwrap();
        let variables = variables(&text(&output.stdout));
        assert!(variables.contains_key(present), "{host}");
        assert!(!variables.contains_key("AZURE_FEDERATED_TOKEN_FILE"), "{host}");
        assert!(!variables.contains_key("AZURE_CLIENT_ID"), "{host}");
    }
}

#[test]
fn token_file_and_bundle_can_be_read_and_are_gone_afterwards() {
    let script =
        "wc -l <$SSL_CERT_FILE; cut -c1-3 $AZURE_FEDERATED_TOKEN_FILE; echo $AZURE_FEDERATED_TOKEN_FILE";
    let output = run(&[], script);
    let shown = text(&output.stdout);
    let mut lines = shown.lines();
    // The roots of the system are there, too.
    assert!(
        lines.next().unwrap().trim().parse::<usize>().unwrap() > 1000,
        "{shown}"
    );
    assert_eq!(lines.next(), Some("eyJ"));
    assert!(!Path::new(lines.next().unwrap()).exists());
}

/// Seen with Java 17: `HttpClient` and `HttpURLConnection` reach the login host.
#[test]
fn java_gets_a_trust_store_with_every_certificate_of_the_bundle() {
    let script = "grep -c BEGIN $SSL_CERT_FILE; store=${JAVA_TOOL_OPTIONS#*trustStore=}; od -An -tx1 -N12 ${store%% *}";
    let shown = text(&run(&[], script).stdout);
    let mut lines = shown.lines();
    let certificates: usize = lines.next().unwrap().parse().unwrap();
    let head = lines.next().unwrap().replace(' ', "");
    assert_eq!(head, format!("feedfeed00000002{certificates:08x}"));
}

#[test]
fn identity_binding_leads_to_the_token_proxy() {
    let output = command(&["run", "--identity-binding", "--", "env"])
        .output()
        .unwrap();
    let variables = variables(&text(&output.stdout));
    assert!(variables["AZURE_KUBERNETES_TOKEN_PROXY"].starts_with("https://127.0.0.1:"));
    assert!(Path::new(&variables["AZURE_KUBERNETES_CA_FILE"]).is_absolute());
}

#[test]
fn refused_requests_are_listed_at_the_end_and_the_challenge_of_key_vault_is_not() {
    let script = "entra() { curl -s -o /dev/null \"$@\" https://login.microsoftonline.com/$AZURE_TENANT_ID/oauth2/v2.0/token; }; \
                  entra -d grant_type=client_credentials -d client_id=nobody; \
                  entra -d grant_type=client_credentials -d client_id=nobody; \
                  curl -s -o /dev/null https://shop.vault.azure.net/secrets/a?api-version=7.6";
    let shown = text(&run(&[], script).stderr);
    let tenant = "11111111-1111-4111-8111-111111111111";
    let expected = format!(
        "entra-workload: refused (2 times): entra POST /{tenant}/oauth2/v2.0/token: 400 AADSTS700016: Application with \
         identifier 'nobody' was not found"
    );
    assert!(shown.contains(&expected), "{shown}");
    assert!(!shown.contains("key-vault"), "{shown}");
    assert_eq!(text(&run(&["--quiet"], script).stderr), "");
}

/// Those of Entra carry no `Authorization`, and a reset of the test must not hide them.
#[test]
fn refusals_of_entra_and_of_the_proxy_are_listed_after_a_reset() {
    let script = "curl -s -o /dev/null -d grant_type=client_credentials -d client_id=$AZURE_CLIENT_ID -d client_secret=wrong \
                  https://login.microsoftonline.com/$AZURE_TENANT_ID/oauth2/v2.0/token; \
                  curl -s https://example.com; curl -sX POST $ENTRA_WORKLOAD_ADMIN_URL/reset";
    let shown = text(&run(&[], script).stderr);
    assert!(
        shown.contains("401 AADSTS7000215: Invalid client secret provided."),
        "{shown}"
    );
    assert!(
        shown.contains("refused: proxy CONNECT example.com: 403 example.com is not emulated."),
        "{shown}"
    );
    assert!(!shown.contains("wrong"), "{shown}");
}

#[test]
fn signals_reach_the_program() {
    for signal in ["TERM", "HUP", "USR1", "USR2", "QUIT", "ALRM", "INT"] {
        let script =
            format!("trap 'echo got; exit 3' {signal}; kill -{signal} $PPID; while :; do sleep 0.01; done");
        let output = command(&["run", "--", "sh", "-c", &script])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert_eq!(
            (output.status.code(), text(&output.stdout).trim()),
            (Some(3), "got"),
            "{signal}"
        );
    }
}

/// A killed process can pass nothing on, so the system ends the program.
#[cfg(target_os = "linux")]
#[test]
fn program_ends_with_a_killed_run() {
    let mut run = command(&["run", "--", "sh", "-c", "echo ready; read line; echo survived"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = run.stdin.take().unwrap();
    let mut stdout = BufReader::new(run.stdout.take().unwrap());
    let mut shown = String::new();
    stdout.read_line(&mut shown).unwrap();
    run.kill().unwrap();
    run.wait().unwrap();
    // It can have ended already.
    let _ = stdin.write_all(b"line\n");
    stdout.read_to_string(&mut shown).unwrap();
    assert_eq!(shown, "ready\n");
}

#[cfg(target_os = "linux")]
#[test]
fn program_is_not_started_when_its_parent_has_ended() {
    let other = std::process::id() - 1;
    for (parent, code) in [(std::process::id(), 0), (other, 64)] {
        let output = command(&["exec", "--parent", &parent.to_string(), "--", "echo", "started"])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(code));
        assert_eq!(text(&output.stdout).contains("started"), code == 0);
    }
}

#[test]
fn exit_code_tells_what_happened_when_the_reader_has_gone() {
    let closed = || {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        writer
    };
    let script = "curl -s https://example.com; exit 7";
    let mut run = command(&["run", "--", "sh", "-c", script]);
    assert_eq!(run.stderr(closed()).status().unwrap().code(), Some(7));
    for arguments in [&["serve"][..], &["serve", "--json"]] {
        let status = command(arguments).stdout(closed()).status().unwrap();
        assert_eq!(status.code(), Some(128 + 13), "{arguments:?}");
    }
}

#[test]
fn control_characters_of_requests_and_seeds_do_not_reach_the_terminal() {
    let script = "curl -s -o /dev/null -d grant_type=client_credentials -d client_id=%1b%5d52%3bc%0d%c2%9b%e2%80%ae \
                  https://login.microsoftonline.com/$AZURE_TENANT_ID/oauth2/v2.0/token";
    let shown = text(&run(&[], script).stderr);
    let escaped = r"identifier '\u{1b}]52;c\r\u{9b}\u{202e}' was not found";
    assert!(shown.contains(escaped), "{shown:?}");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a\u{1b}]52\u{202e}.yaml");
    for seed in [
        "pods: [{namespace: \"a\\e]52\\N\\x9b\", serviceAccount: a}]",
        "\"a\\e]52\\r\\n::error::b\": []",
        "trustedIssuers: [{issuer: \"a\\e]52\", jwks: 1}]",
    ] {
        fs::write(&file, seed).unwrap();
        let output = run(&["--seed", file.to_str().unwrap()], "true");
        let shown = text(&output.stderr);
        assert_eq!(output.status.code(), Some(64), "{seed}: {shown:?}");
        assert!(
            !shown
                .trim_end()
                .contains(|c: char| c.is_control() || c == '\u{202e}'),
            "{shown:?}"
        );
    }
}

#[test]
fn seed_that_is_too_long_or_nested_too_deep_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("seed.yaml");
    for (seed, reason) in [
        ("- ".repeat(1_000_000), "nested too deep"),
        ("#".repeat(17 << 20), "a seed has at most 16 MiB"),
    ] {
        fs::write(&file, seed).unwrap();
        let output = run(&["--seed", file.to_str().unwrap()], "true");
        assert_eq!(output.status.code(), Some(64));
        let shown = text(&output.stderr);
        assert!(shown.contains(reason), "{shown}");
    }
}

#[test]
fn seed_is_read_from_a_pipe() {
    let exe = env!("CARGO_BIN_EXE_entra-workload");
    let seed =
        "pods: [{namespace: shop, serviceAccount: orders, clientId: 7a5ff21b-4f5b-4f5b-9e3e-2c0b5a1d9a10}]";
    let script = format!("echo '{seed}' | {exe} emulator run --seed /dev/stdin -- printenv AZURE_CLIENT_ID");
    let output = Command::new("sh").args(["-c", &script]).output().unwrap();
    assert_eq!(
        text(&output.stdout).trim(),
        "7a5ff21b-4f5b-4f5b-9e3e-2c0b5a1d9a10"
    );
}

#[test]
fn hangup_that_is_ignored_at_the_start_stays_ignored() {
    let exe = env!("CARGO_BIN_EXE_entra-workload");
    let script = "kill -HUP $PPID; kill -HUP $$; echo survived";
    let script = format!("trap '' HUP; exec {exe} emulator run -- sh -c '{script}'");
    let output = Command::new("sh").args(["-c", &script]).output().unwrap();
    assert_eq!(
        (output.status.code(), text(&output.stdout).trim()),
        (Some(0), "survived")
    );
}

#[test]
fn inherited_options_of_java_and_certificates_of_node_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("extra.pem");
    fs::write(
        &file,
        "-----BEGIN CERTIFICATE-----\ninherited\n-----END CERTIFICATE-----\n",
    )
    .unwrap();
    let script =
        "grep -c BEGIN $NODE_EXTRA_CA_CERTS; grep inherited $NODE_EXTRA_CA_CERTS; echo $JAVA_TOOL_OPTIONS";
    let output = command(&["run", "--", "sh", "-c", script])
        .env("NODE_EXTRA_CA_CERTS", &file)
        .env("JAVA_TOOL_OPTIONS", "-Dinherited=it's")
        .output()
        .unwrap();
    let shown = text(&output.stdout);
    assert!(
        shown.starts_with("2\ninherited\n-Dinherited=it's -Djavax.net.ssl.trustStore="),
        "{shown}"
    );
}

#[test]
fn pipe_in_place_of_certificates_does_not_block_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for name in ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"] {
        let mut limited = Command::new("timeout");
        limited.args([
            "-sKILL",
            "60",
            env!("CARGO_BIN_EXE_entra-workload"),
            "emulator",
            "run",
            "--",
            "true",
        ]);
        let status = limited.env(name, &pipe).status().unwrap();
        assert_eq!(status.code(), Some(0), "{name}");
    }
}

#[test]
fn hosts_that_are_not_emulated_are_refused_by_name() {
    let output = run(
        &[],
        "curl -sS https://example.com/ 2>&1; echo; curl -sx $HTTPS_PROXY http://example.com/",
    );
    let shown = text(&output.stdout);
    assert!(shown.contains("403"), "{shown}");
    assert!(
        shown.contains("This proxy knows the method CONNECT only"),
        "{shown}"
    );
}

/// The target is on loopback, which stands for any host that is not emulated.
#[test]
fn external_hosts_are_reached_with_the_password_of_the_proxy() {
    let script = "connect() { curl -s -o /dev/null -w '%{http_connect} ' --noproxy '' -p -x $1 $ENTRA_WORKLOAD_ADMIN_URL/healthz; }; \
                  connect $HTTPS_PROXY; connect http://${HTTPS_PROXY#*@}; echo $JAVA_TOOL_OPTIONS";
    let shown = text(&run(&["--allow-external"], script).stdout);
    assert!(shown.starts_with("200 407 "), "{shown}");
    assert!(
        shown.contains("-Dhttps.proxyHost=127.0.0.1 -Dhttps.proxyPort="),
        "{shown}"
    );
}

#[test]
fn service_accounts_of_manifests_are_pods() {
    let manifest =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lint/good-manifests/aks-quickstart-pod.yaml");
    let client_id = "azure.workload.identity/client-id: ";
    let known = fs::read_to_string(&manifest).unwrap();
    let known = known
        .split_once(client_id)
        .unwrap()
        .1
        .lines()
        .next()
        .unwrap()
        .trim_matches('"')
        .to_owned();
    let output = run(
        &["--seed", manifest.to_str().unwrap()],
        "echo $AZURE_CLIENT_ID; cat $AZURE_FEDERATED_TOKEN_FILE",
    );
    assert!(
        text(&output.stdout).starts_with(&known),
        "{} {}",
        text(&output.stdout),
        text(&output.stderr)
    );
}

#[test]
fn pod_of_a_manifest_with_a_placeholder_gets_a_client_id() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = folder.path().join("account.yaml");
    let annotation = "azure.workload.identity/client-id: ${CLIENT_ID}";
    let text_of_it = format!(
        "apiVersion: v1\nkind: ServiceAccount\nmetadata:\n  name: orders\n  annotations:\n    {annotation}\n"
    );
    fs::write(&manifest, text_of_it).unwrap();
    let output = run(&["--seed", manifest.to_str().unwrap()], "echo $AZURE_CLIENT_ID");
    assert_eq!(
        text(&output.stdout).trim(),
        "22222222-2222-4222-8222-000000000001",
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn service_account_of_the_variables_can_be_chosen() {
    let seed = seed_file();
    let seed = seed.to_str().unwrap();
    let output = run(
        &["--seed", seed, "--service-account", "shop/reader"],
        "echo $AZURE_CLIENT_ID",
    );
    assert_eq!(
        text(&output.stdout).trim(),
        "22222222-2222-4222-8222-0000000000aa"
    );
}

#[test]
fn service_account_that_the_seed_does_not_have_is_refused_with_those_it_has() {
    let seed = seed_file();
    let seed = ["--seed", seed.to_str().unwrap()];
    let unknown = ["--service-account", "shop/nobody"];
    let refused = run(&[&seed[..], &unknown].concat(), "true");
    assert_eq!(refused.status.code(), Some(64));
    let shown = text(&refused.stderr);
    assert!(
        shown.contains(
            "the seed has no pod shop/nobody; set --service-account to one of: shop/orders, shop/reader"
        ),
        "{shown}"
    );
    let without_a_seed = run(&unknown, "true");
    assert_eq!(without_a_seed.status.code(), Some(0));
}

#[test]
fn comments_and_lists_in_seeds_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("seed.yaml");
    let seed = "# a chart\n---\napiVersion: v1\nkind: List\nitems:\n  - apiVersion: v1\n    kind: ServiceAccount\n    metadata:\n      \
                name: orders\n      namespace: shop\n      annotations:\n        azure.workload.identity/client-id: \
                7a5ff21b-4f5b-4f5b-9e3e-2c0b5a1d9a10\n---\nsecrets: [{name: pin, value: \"0987654321\"}]\n---\n";
    fs::write(&file, seed).unwrap();
    let output = run(&["--seed", file.to_str().unwrap()], "echo $AZURE_CLIENT_ID");
    assert_eq!(
        text(&output.stdout).trim(),
        "7a5ff21b-4f5b-4f5b-9e3e-2c0b5a1d9a10",
        "{}",
        text(&output.stderr)
    );
    assert!(!text(&output.stderr).contains("987654321"));
}

#[test]
fn seed_in_the_docs_is_read() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/emulator.md");
    let page = fs::read_to_string(page).unwrap();
    let (_, rest) = page.split_once("```yaml\n").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("seed.yaml");
    fs::write(&file, rest.split_once("```").unwrap().0).unwrap();
    let output = run(&["--seed", file.to_str().unwrap()], "echo $AZURE_CLIENT_ID");
    assert_eq!(
        text(&output.stdout).trim(),
        "7a5ff21b-4f5b-4f5b-9e3e-2c0b5a1d9a10",
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn docs_list_the_variables_that_run_sets() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/emulator.md");
    let page = fs::read_to_string(page).unwrap();
    let (_, rest) = page.split_once("## Variables of the program\n").unwrap();
    let rows = rest.split_once("\n## ").unwrap().0.lines();
    let listed: BTreeSet<String> = rows
        .filter_map(|row| row.strip_prefix("| `")?.split_once("` |"))
        .flat_map(|(names, _)| names.split("`, `"))
        .map(str::to_owned)
        .collect();
    let mut set = BTreeSet::new();
    for option in [
        "--identity-binding",
        "--managed-identity=imds",
        "--managed-identity=app-service",
    ] {
        let arguments = ["run", option, "--", "/usr/bin/env"];
        let output = command(&arguments).env_clear().output().unwrap();
        set.extend(variables(&text(&output.stdout)).into_keys());
    }
    assert_eq!(listed, set);
}

#[test]
fn invalid_seed_is_an_error_with_its_file_and_reason() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("seed.yaml");
    for (seed, reason) in [
        ("pod: []", "unknown field `pod`"),
        ("pods: [{namespace: shop}]", "missing field `serviceAccount`"),
        (
            "applications: [{clientId: a, roles: [{role: Reader}]}]",
            "the role \"Reader\" is not one of",
        ),
        ("a: [", "while parsing"),
        ("secrets: [{name: a, value: 0123456}]", QUOTE),
        ("secrets: [{name: a, value: 1.10}]", QUOTE),
        ("secrets: [{name: a, value: True}]", QUOTE),
        ("applications: [{clientId: a, secret: 0123456}]", QUOTE),
    ] {
        fs::write(&file, seed).unwrap();
        let output = run(&["--seed", file.to_str().unwrap()], "true");
        assert_eq!(output.status.code(), Some(64), "{seed}");
        let shown = text(&output.stderr);
        assert!(shown.contains("seed.yaml: ") && shown.contains(reason), "{shown}");
        assert!(!shown.contains("123456"), "{shown}");
    }
}

#[test]
fn port_base_without_room_for_all_ports_is_refused() {
    for base in ["0", "65526"] {
        let output = command(&["serve", "--port-base", base]).output().unwrap();
        let shown = text(&output.stderr);
        assert!(shown.contains("is not in 1..=65525"), "{shown}");
    }
}

#[test]
fn server_says_when_it_is_ready_and_stops_on_a_signal() {
    for signal in ["-TERM", "-INT", "-HUP"] {
        let mut server = Server::start(&["--json"]);
        let ready: Value = serde_json::from_str(&server.line).unwrap();
        assert_eq!(ready["ready"], true);
        let health = format!("{}/healthz", ready["adminUrl"].as_str().unwrap());
        let health = Command::new("curl").args(["-s", &health]).output().unwrap();
        assert_eq!(text(&health.stdout), r#"{"status":"ok"}"#);
        assert_eq!(ready["variables"]["AZURE_TENANT_ID"], ready["tenantId"]);
        let ca = PathBuf::from(ready["caFile"].as_str().unwrap());
        assert!(ca.exists());
        server.signal(signal);
        assert_eq!(server.child.wait().unwrap().code(), Some(0), "{signal}");
        assert!(!ca.exists(), "the files are removed");
    }
}

#[test]
fn server_has_fixed_ports_and_writes_an_env_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("azure.env");
    let mut server = Server::start(&["--port-base", "28170", "--env-file", file.to_str().unwrap()]);
    let (_, admin) = server.line.split_once("ready: admin ").unwrap();
    let (admin, rest) = admin.split_once(", ").unwrap();
    let key = admin.strip_prefix("http://127.0.0.1:28180/").unwrap();
    assert_eq!(key.len(), 32, "{admin}");
    assert!(rest.starts_with("proxy http://127.0.0.1:28170"), "{rest}");
    let written = variables(&fs::read_to_string(&file).unwrap());
    assert_eq!(written["HTTPS_PROXY"], "http://127.0.0.1:28170");
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let source = format!(". {}; echo $JAVA_TOOL_OPTIONS", file.display());
    let sourced = Command::new("sh").args(["-c", &source]).output().unwrap();
    assert!(
        text(&sourced.stdout).starts_with("-Djavax.net.ssl.trustStore="),
        "{}",
        text(&sourced.stderr)
    );
    let second = command(&["serve", "--port-base", "28170"]).output().unwrap();
    assert_eq!(second.status.code(), Some(64));
    assert!(
        text(&second.stderr).contains("port 28170 of 127.0.0.1 cannot be used"),
        "{}",
        text(&second.stderr)
    );
    server.signal("-TERM");
    server.child.wait().unwrap();
}

#[test]
fn files_of_a_killed_server_are_removed_by_the_next_start() {
    let mut server = Server::start(&["--json"]);
    let ready: Value = serde_json::from_str(&server.line).unwrap();
    let ca = PathBuf::from(ready["caFile"].as_str().unwrap());
    server.signal("-KILL");
    server.child.wait().unwrap();
    assert!(ca.exists());
    run(&[], "true");
    assert!(!ca.exists());
}

/// A server, its readiness line, and an end with the test.
struct Server {
    child: Child,
    line: String,
}

impl Server {
    fn start(arguments: &[&str]) -> Self {
        let mut child = command(&[&["serve"], arguments].concat())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        Self { child, line }
    }

    fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args([signal, &id])
                .status()
                .unwrap()
                .success()
        );
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
    }
}

fn run(options: &[&str], script: &str) -> Output {
    let arguments = [&["run"], options, &["--", "sh", "-c", script]].concat();
    command(&arguments).output().unwrap()
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_entra-workload"));
    command.arg("emulator").args(arguments);
    command
}

fn variables(text: &str) -> BTreeMap<String, String> {
    let lines = text.lines().filter_map(|line| line.split_once('='));
    lines
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

fn seed_file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../emulator/tests/clients/seed.yaml")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// YAML reads them as numbers and truth values, whose texts are other ones.
const QUOTE: &str = "a secret must be a text; put it in quotes";
