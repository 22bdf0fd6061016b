use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use entra_workload_emulator::{Emulator, Endpoint, Fault, FederatedCredential, Pod, ServiceAccountToken};
use serde_json::Value;

use super::case::{self, Case};

/// An emulator, and a pod in it with what a case has broken.
pub(crate) struct World {
    pub(crate) emulator: Emulator,
    pub(crate) pod: Pod,
    pub(crate) has_webhook: bool,
    is_elsewhere: bool,
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) annotations: BTreeMap<String, String>,
    pub(crate) token: case::Token,
}

impl World {
    pub(crate) async fn of(case: &Case) -> Self {
        let ahead = case.entra.clock;
        let emulator = Emulator::builder()
            .clock(move || shifted(ahead))
            .start()
            .await
            .unwrap();
        let pod = if case.pod.is_bound {
            emulator.bound_pod(NAMESPACE, SERVICE_ACCOUNT)
        } else {
            emulator.pod(NAMESPACE, SERVICE_ACCOUNT)
        };
        let mut world = Self {
            pod: pod.unwrap(),
            has_webhook: !case.pod.without_webhook,
            is_elsewhere: case.pod.is_elsewhere,
            environment: BTreeMap::new(),
            annotations: BTreeMap::new(),
            token: case.token.clone().unwrap_or_default(),
            emulator,
        };
        let filled = |map: &BTreeMap<String, String>| {
            map.iter()
                .map(|(name, value)| (name.clone(), world.fill(value)))
                .collect()
        };
        (world.environment, world.annotations) =
            (filled(&case.pod.environment), filled(&case.pod.annotations));
        world.break_entra(&case.entra);
        world.write_token();
        for fault in &case.fault {
            world.inject(fault);
        }
        world
    }

    fn break_entra(&self, entra: &case::Entra) {
        let (server, client_id) = (self.emulator.entra(), self.pod.client_id());
        if entra.has_no_federated_credential || entra.federated.is_some() {
            server.remove_federated_credentials(client_id);
        }
        if let Some(federated) = &entra.federated {
            let or = |value: &Option<String>, right: String| {
                value.as_ref().map_or(right, |value| self.fill(value))
            };
            server.register_federated_credential(
                client_id,
                FederatedCredential {
                    issuer: or(&federated.issuer, self.emulator.issuer_url().to_owned()),
                    subject: or(
                        &federated.subject,
                        format!("system:serviceaccount:{NAMESPACE}:{SERVICE_ACCOUNT}"),
                    ),
                    audience: or(&federated.audience, AUDIENCE.to_owned()),
                },
            );
        }
        if entra.is_disabled {
            server.disable_application(client_id);
        }
        if entra.issuer_is_down {
            self.emulator.issuer().stop();
        }
        if entra.denies_binding {
            self.emulator
                .token_proxy()
                .deny(NAMESPACE, SERVICE_ACCOUNT, client_id);
        }
        if entra.keys_are_rotated {
            // The second rotation removes the key of the first token from the published ones.
            self.emulator.issuer().rotate_keys().unwrap();
            self.emulator.issuer().rotate_keys().unwrap();
        }
    }

    pub(crate) fn write_token(&self) {
        let token = &self.token;
        let file = self.pod.token_file();
        match token.file.as_deref() {
            Some("missing") => return fs::remove_file(file).unwrap(),
            Some("directory") => {
                fs::remove_file(file).unwrap();
                return fs::create_dir(file).unwrap();
            }
            Some(text) => {
                fs::remove_file(file).unwrap();
                return fs::write(file, text).unwrap();
            }
            None => {}
        }
        if token.is_default() {
            return;
        }
        let name = |name: &Option<String>, right: &str| name.clone().unwrap_or(right.to_owned());
        let mut new = ServiceAccountToken::new(
            name(&token.namespace, NAMESPACE),
            name(&token.service_account, SERVICE_ACCOUNT),
        );
        if let Some(audience) = &token.audience {
            new = new.audience(self.fill(audience));
        }
        if let Some(issuer) = &token.issuer {
            new = new.issuer(self.fill(issuer));
        }
        if let Some(lifetime) = token.lifetime {
            new = new.lifetime(Duration::from_secs(lifetime));
        }
        if let Some(age) = token.age {
            let issued_at = shifted(-age);
            new = new.issued_at(issued_at).not_before(issued_at);
        }
        if token.has_invalid_signature {
            new = new.with_invalid_signature();
        }
        self.pod.project(&new).unwrap();
    }

    fn inject(&self, fault: &case::Fault) {
        let endpoint = match fault.endpoint.as_str() {
            "entra" => Endpoint::Entra,
            "issuer" => Endpoint::Issuer,
            "vault" => Endpoint::KeyVault,
            "blob" => Endpoint::Blob,
            "proxy" => Endpoint::TokenProxy,
            other => panic!("no endpoint {other}"),
        };
        if fault.after > 0 {
            self.emulator
                .inject(endpoint, Fault::delay(Duration::ZERO).times(fault.after));
        }
        let kind = match (&fault.body, fault.status) {
            (_, 0) => Fault::hang(),
            (None, status) if fault.headers.is_empty() => Fault::status(status),
            (body, status) => {
                let mut response = http::Response::builder().status(status);
                for (name, value) in &fault.headers {
                    response = response.header(name, value);
                }
                let body = self.fill(body.as_deref().unwrap_or_default());
                Fault::reply(response.body(Bytes::from(body)).unwrap())
            }
        };
        self.emulator.inject(endpoint, kind.until_cleared());
    }

    /// The pod is created again: the webhook and the kubelet do their work anew.
    pub(crate) fn recreate_pod(&mut self) {
        self.token.file = None;
        let file = self.pod.token_file();
        let _ = fs::remove_file(file).or_else(|_| fs::remove_dir(file));
        self.pod.rotate().unwrap();
        self.write_token();
    }

    /// Runs the doctor in the pod. Its exit code must be that of whoever can fix the cause.
    pub(crate) fn doctor(&self, arguments: &[String]) -> Value {
        let output = self.run(arguments, &["--json"]);
        let report: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
        let findings = report["findings"].as_array().unwrap();
        let cause = findings.iter().find(|finding| finding["code"] == report["cause"]);
        let owner = cause.and_then(|cause| cause["owner"].as_str());
        let code = match owner.filter(|_| report["healthy"] == false) {
            None => 0,
            Some("developer" | "no action needed (temporary)") => 1,
            Some("cluster administrator") => 2,
            Some("tenant administrator") => 3,
            Some(owner) => panic!("{owner}"),
        };
        assert_eq!(output.status.code(), Some(code), "{report:#}");
        report
    }

    /// Runs the doctor outside the pod, for a process in it.
    #[cfg(target_os = "linux")]
    pub(crate) fn doctor_of_process(&self) -> Value {
        let mut process = Command::new("sleep")
            .arg("60")
            .env_clear()
            .envs(self.variables())
            .spawn()
            .unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_entra-workload"))
            .args(["doctor", "--json", "--scope", SCOPE, "--pid"])
            .arg(process.id().to_string())
            .args(["--allow-authority-host", self.emulator.authority_host()])
            .env_clear()
            .env("SSL_CERT_FILE", self.emulator.ca_certificate_file())
            .output();
        process.kill().unwrap();
        process.wait().unwrap();
        serde_json::from_slice(&output.unwrap().stdout).unwrap()
    }

    /// Requests a token in the pod.
    pub(crate) fn token(&self) -> Output {
        Command::new(env!("CARGO_BIN_EXE_entra-workload"))
            .args(["token", "--scope", SCOPE])
            .env_clear()
            .envs(self.variables())
            .output()
            .unwrap()
    }

    pub(crate) fn doctor_text(&self, arguments: &[String]) -> String {
        String::from_utf8(self.run(arguments, &[]).stdout).unwrap()
    }

    fn run(&self, arguments: &[String], more: &[&str]) -> Output {
        let arguments: Vec<String> = arguments.iter().map(|argument| self.fill(argument)).collect();
        let has_option = arguments.iter().any(|argument| argument.starts_with("--"));
        let scope: &[&str] = if has_option { &[] } else { &["--scope", SCOPE] };
        let mut command = Command::new(env!("CARGO_BIN_EXE_entra-workload"));
        command
            .args(["doctor", "--timeout", "3"])
            .args(scope)
            .args(arguments)
            .args(more)
            .env_clear()
            .envs(self.variables());
        tokio::task::block_in_place(|| command.output()).unwrap()
    }

    fn variables(&self) -> BTreeMap<String, String> {
        let webhook = self
            .pod
            .variables()
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value));
        let mut variables: BTreeMap<_, _> = webhook
            .filter(|_| self.has_webhook && !self.is_elsewhere)
            .collect();
        if self.has_webhook {
            variables.extend(self.annotations.clone());
        }
        if !self.is_elsewhere {
            variables.insert("KUBERNETES_SERVICE_HOST".into(), "127.0.0.1".into());
        }
        // The node has no identity.
        variables.insert(
            "AZURE_POD_IDENTITY_AUTHORITY_HOST".into(),
            self.emulator.imds_url().to_owned(),
        );
        variables.insert(
            "SSL_CERT_FILE".into(),
            self.emulator.ca_certificate_file().display().to_string(),
        );
        variables.extend(self.environment.clone());
        variables.retain(|_, value| !value.is_empty());
        variables
    }

    /// Sends the token of the file to Entra, and returns the code of its answer.
    pub(crate) async fn answer_of_entra(&self, arguments: &[String]) -> u32 {
        let scope = arguments.iter().position(|argument| argument == "--scope");
        let scope = scope.map_or(SCOPE, |position| &arguments[position + 1]);
        let variables = self.variables();
        let root = reqwest::Certificate::from_pem(self.emulator.ca_certificate_pem().as_bytes()).unwrap();
        let client = reqwest::Client::builder()
            .tls_certs_only([root])
            .no_proxy()
            .build()
            .unwrap();
        let assertion = fs::read_to_string(self.pod.token_file()).unwrap();
        let form = [
            ("client_assertion", assertion.trim()),
            (
                "client_assertion_type",
                "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            ),
            ("client_id", &variables["AZURE_CLIENT_ID"]),
            ("grant_type", "client_credentials"),
            ("scope", scope),
        ];
        let host = variables["AZURE_AUTHORITY_HOST"].trim_end_matches('/');
        let url = format!("{host}/{}/oauth2/v2.0/token", variables["AZURE_TENANT_ID"]);
        let form = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(form)
            .finish();
        let request = client
            .post(url)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form);
        let body = request.send().await.unwrap().bytes().await.unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap();
        body["error_codes"][0].as_u64().unwrap().try_into().unwrap()
    }

    fn fill(&self, text: &str) -> String {
        let issuer = self.emulator.issuer_url();
        let blob = self.emulator.blob_account_url();
        [
            ("{vault}", self.emulator.key_vault_url()),
            ("{blob}", blob),
            ("{issuer}", issuer),
            ("{issuer without slash}", issuer.trim_end_matches('/')),
            ("{authority}", self.emulator.authority_host()),
            ("{client_id}", self.pod.client_id()),
            ("{tenant_id}", self.pod.tenant_id()),
            ("{proxy}", self.emulator.token_proxy().url()),
            ("{server_name}", self.emulator.token_proxy().server_name()),
            ("{ca}", self.emulator.ca_certificate_file().to_str().unwrap()),
        ]
        .iter()
        .fold(text.to_owned(), |text, (name, value)| text.replace(name, value))
    }
}

/// What `lint` finds in a folder.
pub(crate) fn lint(folder: &Path) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_entra-workload"))
        .args(["lint", "--format", "json"])
        .arg(folder)
        .output()
        .unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

impl case::Token {
    fn is_default(&self) -> bool {
        let Self {
            file: _,
            namespace,
            service_account,
            audience,
            issuer,
            lifetime,
            age,
            has_invalid_signature,
        } = self;
        let texts = [namespace, service_account, audience, issuer];
        texts.iter().all(|text| text.is_none())
            && lifetime.is_none()
            && age.is_none()
            && !has_invalid_signature
    }
}

fn shifted(seconds: i64) -> SystemTime {
    let shift = Duration::from_secs(seconds.unsigned_abs());
    if seconds < 0 {
        SystemTime::now() - shift
    } else {
        SystemTime::now() + shift
    }
}

pub(crate) const NAMESPACE: &str = "shop";
pub(crate) const SERVICE_ACCOUNT: &str = "orders";
const AUDIENCE: &str = "api://AzureADTokenExchange";
const SCOPE: &str = "https://vault.azure.net/.default";
