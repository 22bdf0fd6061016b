//! Runs every row of the table in `tests/fixtures/default_chain.md`: the example `default_credential`,
//! as a process of its own with an emulator of its own.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::support::sample::{Sample, example};
use entra_workload_emulator::{Emulator, Endpoint, Fault, IdentityHost, ManagedIdentity, Pod};
use futures::StreamExt;
use tempfile::TempDir;

const TABLE: &str = include_str!("../fixtures/default_chain.md");

/// One row: where, set, machine, result, log or error contains, requests to.
struct Row<'a>([&'a str; 6]);

#[tokio::test]
async fn default_credential_behaves_as_in_every_row_of_the_table() {
    let rows: Vec<Row> = TABLE
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| where") && !line.starts_with("| ---"))
        .map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            Row(cells.try_into().expect("six columns"))
        })
        .collect();
    assert!(!rows.is_empty());
    let wrong: Vec<String> = futures::stream::iter(rows)
        .map(|row| async move {
            let [place, set, machine, ..] = row.0;
            let why = Place::new(set, machine).await.check(&row).await.err()?;
            Some(format!("{place} | {set} | {machine}\n    {why}"))
        })
        .buffer_unordered(4)
        .filter_map(|wrong| async { wrong })
        .collect()
        .await;
    assert!(
        wrong.is_empty(),
        "{} rows are wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

/// An emulator and the program that runs in it.
struct Place {
    emulator: Emulator,
    pod: Pod,
    sample: Sample,
    directory: TempDir,
}

impl Place {
    async fn new(set: &str, machine: &str) -> Self {
        let emulator = Emulator::start().await.unwrap();
        let pod = emulator.pod("shop", "orders").unwrap();
        let directory = TempDir::new().unwrap();
        let sample = Sample::new(
            example("default_credential"),
            emulator.ca_certificate_file(),
            directory.path(),
        )
        .variable("PATH", directory.path())
        .variable("RUST_LOG", "entra_workload=info")
        .variable("AZURE_AUTHORITY_HOST", emulator.authority_host());
        let mut place = Self {
            emulator,
            pod,
            sample,
            directory,
        };
        for item in machine.split(", ") {
            place.set_up(item);
        }
        for item in set.split(", ") {
            place.set(item);
        }
        place
    }

    /// Applies an item of the column "machine".
    fn set_up(&mut self, item: &str) {
        let path = self.directory.path();
        let reply = |status: u16, body: &'static str| {
            let reply = http::Response::builder()
                .status(status)
                .body(body.into())
                .unwrap();
            Fault::reply(reply).until_cleared()
        };
        match item {
            "no metadata" => {
                // A closed port.
                let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
                return self.variable("AZURE_POD_IDENTITY_AUTHORITY_HOST", &format!("http://{free}"));
            }
            "metadata: no identity" => {}
            "metadata: system identity" => {
                self.emulator.assign_system_identity();
            }
            "metadata: user identity" => self.emulator.assign_identity(identity(USER)),
            "metadata: two user identities" => {
                self.emulator.assign_identity(identity(USER));
                self.emulator.assign_identity(ManagedIdentity::named("another"));
            }
            "metadata: identity pod" => self.emulator.assign_identity(identity(self.pod.client_id())),
            "metadata: web page" => self.emulator.inject(Endpoint::Imds, reply(200, "<html>please log in</html>")),
            "metadata: another cloud" => self.emulator.inject(Endpoint::Imds, reply(404, "<html>404 - Not Found</html>")),
            "metadata: unreachable" => self.emulator.inject(
                Endpoint::Imds,
                reply(403, "connecting to 169.254.169.254:80: dial tcp: a socket operation was attempted to an unreachable network"),
            ),
            "az logged in" => return tool(path, "az", AZ_TOKEN, 0),
            "az logged out" => return tool(path, "az", "ERROR: Please run 'az login' to setup account.", 1),
            "az broken" => return tool(path, "az", "ERROR: something else", 1),
            "azd logged in" => return tool(path, "azd", AZD_TOKEN, 0),
            "azd logged out" => return tool(path, "azd", "ERROR: not logged in, run `azd auth login` to login", 1),
            other => panic!("the table has an unknown machine: {other}"),
        }
        let url = self.emulator.imds_url().to_owned();
        self.variable("AZURE_POD_IDENTITY_AUTHORITY_HOST", &url);
    }

    /// Applies an item of the column "set".
    fn set(&mut self, item: &str) {
        let tenant_id = self.emulator.entra().tenant_id().to_owned();
        match item {
            "nothing" => {}
            "in kubernetes" => self.variable("KUBERNETES_SERVICE_HOST", "10.0.0.1"),
            "workload identity" => {
                for (name, value) in self.pod.variables() {
                    self.variable(name, &value);
                }
            }
            "identity binding" => {
                self.pod = self.emulator.bound_pod("shop", "orders").unwrap();
                self.set("workload identity");
            }
            "no cluster role" => self
                .emulator
                .token_proxy()
                .deny("shop", "orders", self.pod.client_id()),
            "workload identity without `AZURE_CLIENT_ID`" => {
                self.set("workload identity");
                self.sample = self.sample.clone().without("AZURE_CLIENT_ID");
            }
            "workload identity without `AZURE_TENANT_ID`" => {
                self.set("workload identity");
                self.sample = self.sample.clone().without("AZURE_TENANT_ID");
            }
            "no federated credential" => self
                .emulator
                .entra()
                .remove_federated_credentials(self.pod.client_id()),
            "token file missing" => self.variable("AZURE_FEDERATED_TOKEN_FILE", "/nowhere/token"),
            "entra down" => self
                .emulator
                .inject(Endpoint::Entra, Fault::status(503).until_cleared()),
            "`AZURE_CLIENT_ID` of the machine's identity" => {
                self.emulator.assign_identity(identity(USER));
                self.variable("AZURE_CLIENT_ID", USER);
            }
            "unknown `AZURE_CLIENT_ID`" => self.variable("AZURE_CLIENT_ID", UNKNOWN),
            "App Service" => {
                self.emulator.assign_system_identity();
                let (url, header) = (
                    self.emulator.app_service_url().to_owned(),
                    self.emulator.app_service_header().to_owned(),
                );
                self.variable("IDENTITY_ENDPOINT", &url);
                self.variable("IDENTITY_HEADER", &header);
            }
            "Arc" => self.set_up_host(IdentityHost::AzureArc),
            "Azure ML" => self.set_up_host(IdentityHost::AzureMl),
            "Cloud Shell" => self.set_up_host(IdentityHost::CloudShell),
            "Service Fabric" => self.set_up_host(IdentityHost::ServiceFabric),
            "client secret" | "wrong client secret" => {
                self.emulator.entra().register_application(APP);
                self.emulator.entra().set_client_secret(APP, "right");
                self.variable("AZURE_CLIENT_ID", APP);
                self.variable("AZURE_TENANT_ID", &tenant_id);
                self.variable(
                    "AZURE_CLIENT_SECRET",
                    if item == "client secret" { "right" } else { "wrong" },
                );
            }
            "client secret without `AZURE_TENANT_ID`" => {
                self.set("client secret");
                self.sample = self.sample.clone().without("AZURE_TENANT_ID");
            }
            "client certificate" => {
                let certificate = client_certificate();
                let file = self.directory.path().join("client.pem");
                fs::write(&file, &certificate).unwrap();
                self.emulator.entra().register_application(APP);
                self.emulator
                    .entra()
                    .register_certificate(APP, &certificate)
                    .unwrap();
                self.variable("AZURE_CLIENT_ID", APP);
                self.variable("AZURE_TENANT_ID", &tenant_id);
                self.variable("AZURE_CLIENT_CERTIFICATE_PATH", file.to_str().unwrap());
            }
            selection => {
                let value = selection
                    .trim_matches('`')
                    .strip_prefix("AZURE_TOKEN_CREDENTIALS=")
                    .unwrap_or_else(|| panic!("the table has an unknown setting: {selection}"));
                self.variable("AZURE_TOKEN_CREDENTIALS", value);
            }
        }
    }

    fn set_up_host(&mut self, host: IdentityHost) {
        self.emulator.assign_system_identity();
        for (name, value) in self.emulator.host_variables(host) {
            self.variable(name, &value);
        }
    }

    fn variable(&mut self, name: &str, value: &str) {
        self.sample = self.sample.clone().variable(name, value);
    }

    async fn check(self, row: &Row<'_>) -> Result<(), String> {
        let [_, _, _, expected, contained, requested] = row.0;
        let output = self.sample.run([]).await;
        let stdout = String::from_utf8(output.stdout).unwrap();
        let text = format!("{stdout}{}", output.stderr);
        let outcome = stdout.lines().rfind(|line| !line.starts_with("  ")).map(|line| {
            match line.strip_suffix(" gave a token") {
                Some(link) => link.trim().to_owned(),
                None => line.get(21..34).unwrap_or(line).trim().to_owned(),
            }
        });
        // An error of the builder is printed without a table.
        let outcome = outcome.unwrap_or_else(|| "Configuration".to_owned());
        if outcome != expected {
            return Err(format!("the result is {outcome}:\n{text}"));
        }
        if (output.code == Some(0)) != expected.starts_with(char::is_lowercase) {
            return Err(format!("the exit code is {:?}:\n{text}", output.code));
        }
        let contained = match contained.strip_prefix("client_id=") {
            Some("pod") => format!("client_id={:?}", self.pod.client_id()),
            Some("app") => format!("client_id={APP:?}"),
            Some("user") => format!("client_id={USER:?}"),
            _ => contained.to_owned(),
        };
        if !text.contains(&contained) {
            return Err(format!("the output does not contain {contained:?}:\n{text}"));
        }
        if expected.starts_with(char::is_lowercase) && text.matches("selected credential").count() != 1 {
            return Err(format!("the selected credential is not logged once:\n{text}"));
        }
        let is_repeated = |line: &str| line.matches("this pod has no workload identity").count() > 1;
        if text.lines().any(is_repeated) {
            return Err(format!("a line repeats itself:\n{text}"));
        }
        let requests = self.emulator.requests();
        let endpoints: BTreeSet<&str> = requests
            .iter()
            .filter_map(|request| match request.endpoint() {
                Endpoint::Entra => Some("entra"),
                Endpoint::TokenProxy => Some("token proxy"),
                Endpoint::Imds => Some("metadata"),
                Endpoint::AppService => Some("app service"),
                Endpoint::IdentityHost => Some("host"),
                _ => None,
            })
            .collect();
        let requested: BTreeSet<&str> = [requested].into_iter().filter(|name| *name != "none").collect();
        if endpoints != requested {
            return Err(format!("requests go to {endpoints:?}:\n{text}"));
        }
        if text.contains("eyJ") || text.contains("planted") {
            return Err("the output contains a secret".to_owned());
        }
        Ok(())
    }
}

#[tokio::test]
async fn cold_chain_in_a_pod_sends_one_request() {
    let place = Place::new("workload identity", "metadata: system identity").await;
    assert_eq!(place.sample.run([]).await.code, Some(0));
    let requests = place.emulator.requests();
    let requests: Vec<_> = requests
        .iter()
        .filter(|request| request.endpoint() != Endpoint::Issuer)
        .collect();
    assert_eq!(requests.len(), 1, "{requests:?}");
    assert_eq!(requests[0].endpoint(), Endpoint::Entra);
}

/// The token endpoint stands in for a managed identity endpoint with TLS.
#[tokio::test]
async fn managed_identity_endpoint_with_tls_is_reached_without_the_proxy() {
    let mut place = Place::new("nothing", "no metadata").await;
    let login_host = place.emulator.authority_host().trim_end_matches('/').to_owned();
    let tenant_id = place.emulator.entra().tenant_id().to_owned();
    place.variable(
        "MSI_ENDPOINT",
        &format!("{login_host}/{tenant_id}/oauth2/v2.0/token"),
    );
    place.variable("HTTPS_PROXY", "http://127.0.0.1:9");
    let output = place.sample.run([]).await;
    assert_eq!(output.code, Some(1), "{output:?}");
    assert_eq!(place.emulator.requests_to(Endpoint::Entra).len(), 1, "{output:?}");
}

#[tokio::test]
async fn developer_tools_do_not_run_with_prod_selected() {
    let place = Place::new("`AZURE_TOKEN_CREDENTIALS=prod`", "no metadata").await;
    let ran = place.directory.path().join("ran");
    for program in ["az", "azd"] {
        script(
            place.directory.path(),
            program,
            &format!("echo > {}", ran.display()),
        );
    }
    assert_eq!(place.sample.run([]).await.code, Some(1));
    assert!(!ran.exists());
}

/// Writes a program that prints `text` to stdout if its exit code is 0, and to stderr otherwise. It
/// uses shell builtins only, since its `PATH` has no other programs.
fn tool(path: &Path, name: &str, text: &str, code: u8) {
    let stream = if code == 0 { 1 } else { 2 };
    script(
        path,
        name,
        &format!(
            "printf '%s\\n' '{}' >&{stream}; exit {code}",
            text.replace('\'', "'\\''")
        ),
    );
}

fn script(path: &Path, name: &str, commands: &str) {
    let file = path.join(name);
    fs::write(&file, format!("#!/bin/sh\n{commands}\n")).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
}

fn identity(client_id: &str) -> ManagedIdentity {
    ManagedIdentity {
        client_id: client_id.to_owned(),
        object_id: "0b7e1c0e-0000-4000-8000-00000000000b".to_owned(),
        resource_id:
            "/subscriptions/s/resourcegroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/u"
                .to_owned(),
    }
}

/// Returns a certificate and its key in one PEM file, as `az ad sp create-for-rbac --create-cert`
/// does.
fn client_certificate() -> String {
    let key = rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap();
    let certificate = rcgen::CertificateParams::new(vec![])
        .unwrap()
        .self_signed(&key)
        .unwrap();
    certificate.pem() + &key.serialize_pem()
}

const APP: &str = "3f1c1f3a-0000-4000-8000-00000000000a";
const USER: &str = "5d2c7c2e-0000-4000-8000-00000000000c";
const UNKNOWN: &str = "00000000-0000-4000-8000-00000000000f";

/// The output of `az account get-access-token` and of `azd auth token`, with invalid tokens.
const AZ_TOKEN: &str = r#"{"accessToken":"planted-az-token","expires_on":4102444800,"tokenType":"Bearer"}"#;
const AZD_TOKEN: &str = r#"{"token":"planted-azd-token","expiresOn":"2100-01-01T00:00:00Z"}"#;
