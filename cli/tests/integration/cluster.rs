//! A real API server: the doctor finds what is wrong with live objects, and its remedies fix them.
//!
//! Ignored by default, because the server must be built and started first:
//!
//! ```text
//! KUBECONFIG=DIR/kubeconfig CLUSTER_CA=DIR/certs/apiserver.crt \
//!     cargo test -p entra-workload-cli --test integration cluster:: -- --ignored --test-threads=1
//! ```

use std::env;
use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use entra_workload_emulator::{Emulator, FederatedCredential};
use serde_json::Value;
use tempfile::NamedTempFile;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a Kubernetes API server, see the head of this file"]
async fn remedy_of_each_broken_live_set_up_fixes_it() {
    let cluster = Cluster::start().await;
    for set_up in SET_UPS {
        let SetUp {
            name,
            break_it,
            cause,
            ..
        } = set_up;
        cluster.create(set_up);
        break_it(&cluster, name);
        let report = cluster.doctor(set_up.target, name);
        assert_eq!(cause_of(&report), *cause, "{name}: {report:#}");
        assert_eq!(report["healthy"], false, "{name}: {report:#}");
        cluster.apply_remedy(name, &report);
        let report = cluster.doctor(set_up.target, name);
        assert_eq!(cause_of(&report), "", "{name}: {report:#}");
        assert_eq!(report["healthy"], true, "{name}: {report:#}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a Kubernetes API server, see the head of this file"]
async fn missing_objects_and_permissions_are_named() {
    let cluster = Cluster::start().await;
    let missing = cluster.command("--service-account", "nobody").output().unwrap();
    assert_eq!(missing.status.code(), Some(64));
    let error = String::from_utf8(missing.stderr).unwrap();
    assert!(
        error.contains("ServiceAccount saman/nobody cannot be read"),
        "{error}"
    );

    let config = fs::read_to_string(env::var("KUBECONFIG").unwrap()).unwrap();
    let mut anonymous = NamedTempFile::new().unwrap();
    write!(
        anonymous,
        "{}",
        config.replace("token: admintoken", "username: nobody")
    )
    .unwrap();
    let denied = cluster
        .command("--service-account", "saman-identity-poc")
        .env("KUBECONFIG", anonymous.path())
        .output()
        .unwrap();
    assert_eq!(denied.status.code(), Some(64));
    let error = String::from_utf8(denied.stderr).unwrap();
    assert!(error.contains("you lack a permission"), "{error}");
    assert!(error.contains("serviceaccounts"), "{error}");
}

struct SetUp {
    name: &'static str,
    /// The option of the doctor.
    target: &'static str,
    break_it: fn(&Cluster, &str),
    /// The code of the first rule of lint, or else of the report.
    cause: &'static str,
}

const fn account(name: &'static str, break_it: fn(&Cluster, &str), cause: &'static str) -> SetUp {
    SetUp {
        name,
        target: "--service-account",
        break_it,
        cause,
    }
}

const fn deployment(name: &'static str, break_it: fn(&Cluster, &str), cause: &'static str) -> SetUp {
    SetUp {
        name,
        target: "--deployment",
        break_it,
        cause,
    }
}

const SET_UPS: &[SetUp] = &[
    account("no-credential", |_, _| {}, "EW401"),
    account(
        "wrong-subject",
        |cluster, name| cluster.federate(name, |it| it.subject.push('s')),
        "EW404",
    ),
    account(
        "wrong-issuer",
        |cluster, name| cluster.federate(name, |it| it.issuer.push('/')),
        "EW402",
    ),
    account(
        "wrong-audience",
        |cluster, name| cluster.federate(name, |it| it.audience.push('s')),
        "EW403",
    ),
    account(
        "no-annotation",
        |cluster, name| {
            cluster.federate(name, |_| {});
            kubectl(
                &[
                    "annotate",
                    "serviceaccount",
                    name,
                    "azure.workload.identity/client-id-",
                ],
                "",
            );
        },
        "EW103",
    ),
    account(
        "unknown-client",
        |cluster, name| {
            cluster.federate(name, |_| {});
            Cluster::annotate(name, "client-id", "0b7e1c0e-0000-4000-8000-00000000000b");
        },
        "EW410",
    ),
    account(
        "invalid-client",
        |cluster, name| {
            cluster.federate(name, |_| {});
            Cluster::annotate(name, "client-id", "the identity");
        },
        "EW608",
    ),
    account(
        "unknown-tenant",
        |cluster, name| {
            cluster.federate(name, |_| {});
            Cluster::annotate(name, "tenant-id", "0b7e1c0e-0000-4000-8000-00000000000c");
        },
        "EW411",
    ),
    account(
        "disabled",
        |cluster, name| {
            cluster.federate(name, |_| {});
            cluster.emulator.entra().disable_application(&client_id(name));
        },
        "EW416",
    ),
    deployment(
        "label-missing",
        |cluster, name| {
            cluster.federate(name, |_| {});
            Cluster::deploy(name, "", "");
        },
        "EW602",
    ),
    deployment(
        "label-and-annotation-missing",
        |cluster, name| {
            cluster.federate(name, |_| {});
            Cluster::deploy(name, "", "");
            let annotation = "azure.workload.identity/client-id-";
            kubectl(&["annotate", "serviceaccount", name, annotation], "");
            let client = format!("AZURE_CLIENT_ID={}", client_id(name));
            kubectl(&["set", "env", "deployment", name, &client], "");
        },
        "EW602",
    ),
    deployment(
        "binding-without-role",
        |_, name| {
            Cluster::deploy(name, "", &format!(", {LABEL}"));
            let binding = r#"{"azure.workload.identity/use-identity-binding":"true"}"#;
            let patch = format!(r#"{{"spec":{{"template":{{"metadata":{{"annotations":{binding}}}}}}}}}"#);
            kubectl(&["patch", "deployment", name, "--patch", &patch], "");
            kubectl(
                &[
                    "delete",
                    "clusterrolebinding,clusterrole",
                    "--ignore-not-found",
                    &role_of(name),
                ],
                "",
            );
        },
        "EW808",
    ),
    deployment(
        "label-on-workload",
        |cluster, name| {
            cluster.federate(name, |_| {});
            Cluster::deploy(name, LABEL, "");
        },
        "EW601",
    ),
    deployment(
        "label-wrong",
        |cluster, name| {
            cluster.federate(name, |_| {});
            Cluster::deploy(name, "", ", azure.workload.identity/use: \"yes\"");
        },
        "EW603",
    ),
    deployment(
        "webhook-twice",
        |cluster, name| {
            cluster.federate(name, |_| {});
            Cluster::deploy(name, "", &format!(", {LABEL}"));
            kubectl(&["apply", "-f", "-"], &webhook("workload-identity-chart", "Fail"));
        },
        "EW802",
    ),
    deployment(
        "pod-of-an-older-annotation",
        |cluster, name| {
            cluster.federate(name, |_| {});
            Cluster::deploy(name, "", &format!(", {LABEL}"));
            Cluster::start_pod(name, "0b7e1c0e-0000-4000-8000-00000000000b");
        },
        "EW807",
    ),
    deployment(
        "pod-not-changed",
        |cluster, name| {
            cluster.federate(name, |_| {});
            Cluster::deploy(name, "", &format!(", {LABEL}"));
            Cluster::start_pod(name, "");
        },
        "EW805",
    ),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a Kubernetes API server, see the head of this file"]
async fn variables_are_those_of_the_webhook_and_of_the_container() {
    let cluster = Cluster::start().await;
    let set_up = deployment("variables", |_, _| {}, "");
    let name = set_up.name;
    cluster.create(&set_up);
    cluster.federate(name, |_| {});
    Cluster::deploy(name, "", &format!(", {LABEL}"));
    let run = |target: &str| {
        let mut command = cluster.command(target, name);
        command.env_remove("AZURE_TENANT_ID").output().unwrap()
    };
    let unknown = run("--deployment");
    assert_eq!(unknown.status.code(), Some(64));
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("set AZURE_TENANT_ID"));

    let config = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: azure-wi-webhook-config, namespace: {NAMESPACE}}}\n\
         data: {{AZURE_TENANT_ID: {}}}\n",
        cluster.emulator.entra().tenant_id()
    );
    kubectl(&["apply", "-f", "-"], &config);
    assert_eq!(run("--deployment").status.code(), Some(0));
    kubectl(&["delete", "configmap", "azure-wi-webhook-config"], "");

    kubectl(
        &[
            "annotate",
            "serviceaccount",
            name,
            "azure.workload.identity/client-id-",
        ],
        "",
    );
    let tenant = format!("AZURE_TENANT_ID={}", cluster.emulator.entra().tenant_id());
    let client = format!("AZURE_CLIENT_ID={}", client_id(name));
    kubectl(&["set", "env", "deployment", name, &tenant, &client], "");
    let output = run("--deployment");
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
}

/// Where no command of ours fixes it, the test does what the finding asks for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a Kubernetes API server, see the head of this file"]
async fn state_of_the_webhook_and_events_are_read() {
    let cluster = Cluster::start().await;
    let set_up = deployment("webhook", |_, _| {}, "");
    let name = set_up.name;
    cluster.create(&set_up);
    cluster.federate(name, |_| {});
    Cluster::deploy(name, "", &format!(", {LABEL}"));
    assert_eq!(codes(&cluster.doctor(set_up.target, name)), [""; 0]);

    kubectl(&["delete", "mutatingwebhookconfiguration", WEBHOOK], "");
    assert_eq!(codes(&cluster.doctor(set_up.target, name)), ["EW801"]);
    let output = cluster.command(set_up.target, name).output().unwrap();
    assert_eq!(
        output.status.code(),
        Some(2),
        "a cluster administrator must fix it"
    );

    kubectl(&["apply", "-f", "-"], &webhook(WEBHOOK, "Ignore"));
    assert_eq!(codes(&cluster.doctor(set_up.target, name)), ["EW803"]);

    kubectl(&["apply", "-f", "-"], &webhook(WEBHOOK, "Fail"));
    kubectl(&["delete", "endpoints", SERVICE], "");
    assert_eq!(codes(&cluster.doctor(set_up.target, name)), ["EW804"]);

    kubectl(&["apply", "-f", "-"], &endpoints());
    let event = format!(
        "apiVersion: v1\nkind: Event\nmetadata: {{name: {name}, namespace: {NAMESPACE}}}\ntype: Warning\nreason: FailedCreate\n\
         message: failed calling webhook \"mutation.azure-workload-identity.io\"\n\
         involvedObject: {{kind: ReplicaSet, name: {name}, namespace: {NAMESPACE}}}\n"
    );
    kubectl(&["apply", "-f", "-"], &event);
    assert_eq!(codes(&cluster.doctor(set_up.target, name)), ["EW806"]);
    kubectl(&["delete", "event", name], "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a Kubernetes API server, see the head of this file"]
async fn proxy_of_the_environment_is_not_used_for_exempt_hosts() {
    let cluster = Cluster::start().await;
    let set_up = account("proxy", |_, _| {}, "");
    cluster.create(&set_up);
    cluster.federate(set_up.name, |_| {});
    let mut command = cluster.command(set_up.target, set_up.name);
    // Nothing listens there.
    let output = command
        .env("HTTPS_PROXY", "http://127.0.0.1:9")
        .env("NO_PROXY", "127.0.0.1");
    let output = output.output().unwrap();
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

struct Cluster {
    emulator: Emulator,
    issuer: String,
    /// The roots of the emulator and of the API server.
    roots: NamedTempFile,
}

impl Cluster {
    async fn start() -> Self {
        let ca = fs::read(env::var("CLUSTER_CA").expect("CLUSTER_CA is not set")).unwrap();
        let emulator = Emulator::builder().trust_issuer_ca(&ca).start().await.unwrap();
        let mut roots = NamedTempFile::new().unwrap();
        roots.write_all(emulator.ca_certificate_pem().as_bytes()).unwrap();
        roots.write_all(&ca).unwrap();
        kubectl(&["delete", "mutatingwebhookconfiguration", "--all"], "");
        kubectl(&["apply", "-f", "-"], &webhook(WEBHOOK, "Fail"));
        kubectl(&["apply", "-f", "-"], &endpoints());
        let discovery = kubectl(&["get", "--raw", "/.well-known/openid-configuration"], "");
        let discovery: Value = serde_json::from_str(&discovery).unwrap();
        Self {
            emulator,
            issuer: discovery["issuer"].as_str().unwrap().to_owned(),
            roots,
        }
    }

    /// A service account with the annotation, and an application without a federated credential.
    fn create(&self, set_up: &SetUp) {
        let name = set_up.name;
        self.emulator.entra().register_application(&client_id(name));
        self.emulator
            .entra()
            .remove_federated_credentials(&client_id(name));
        kubectl(
            &[
                "delete",
                "serviceaccount,deployment,pod",
                name,
                "--ignore-not-found",
                "--force",
                "--grace-period=0",
            ],
            "",
        );
        kubectl(&["create", "serviceaccount", name], "");
        Self::annotate(name, "client-id", &client_id(name));
    }

    fn annotate(name: &str, annotation: &str, value: &str) {
        let annotation = format!("azure.workload.identity/{annotation}={value}");
        kubectl(
            &["annotate", "serviceaccount", name, "--overwrite", &annotation],
            "",
        );
    }

    fn deploy(name: &str, workload_label: &str, pod_label: &str) {
        let manifest = format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: {name}\n  labels: {{{workload_label}}}\nspec:\n  \
             selector: {{matchLabels: {{app: {name}}}}}\n  template:\n    metadata:\n      labels: {{app: {name}{pod_label}}}\n    \
             spec:\n      serviceAccountName: {name}\n      containers: [{{name: main, image: registry.example.com/main:1}}]\n"
        );
        kubectl(&["apply", "-f", "-"], &manifest);
    }

    /// Starts a pod past the webhook. The server has no controller that would create one.
    ///
    /// * `client_id`: what the webhook has set; empty for a pod that is older than the webhook.
    fn start_pod(name: &str, client_id: &str) {
        let env = if client_id.is_empty() {
            String::new()
        } else {
            format!(
                ", env: [{{name: AZURE_CLIENT_ID, value: {client_id}}}, {{name: AZURE_FEDERATED_TOKEN_FILE, \
                 value: /var/run/secrets/azure/tokens/azure-identity-token}}]"
            )
        };
        kubectl(&["delete", "mutatingwebhookconfiguration", WEBHOOK], "");
        let manifest = format!(
            "apiVersion: v1\nkind: Pod\nmetadata:\n  name: {name}\n  labels: {{app: {name}, {LABEL}}}\n  \
             ownerReferences: [{{apiVersion: apps/v1, kind: ReplicaSet, name: {name}, uid: 0b7e1c0e-0000-4000-8000-00000000000b}}]\n\
             spec:\n  serviceAccountName: {name}\n  automountServiceAccountToken: false\n  \
             containers: [{{name: main, image: registry.example.com/main:1{env}}}]\n"
        );
        kubectl(&["apply", "-f", "-"], &manifest);
        kubectl(&["apply", "-f", "-"], &webhook(WEBHOOK, "Fail"));
    }

    fn federate(&self, name: &str, change: fn(&mut FederatedCredential)) {
        let mut credential = FederatedCredential {
            issuer: self.issuer.clone(),
            subject: format!("system:serviceaccount:{NAMESPACE}:{name}"),
            audience: "api://AzureADTokenExchange".to_owned(),
        };
        change(&mut credential);
        self.emulator
            .entra()
            .register_federated_credential(&client_id(name), credential);
    }

    fn command(&self, target: &str, name: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_entra-workload"));
        command
            .args([
                "doctor",
                "--scope",
                "https://vault.azure.net/.default",
                "--json",
                target,
            ])
            .arg(format!("{NAMESPACE}/{name}"))
            .env("AZURE_AUTHORITY_HOST", self.emulator.authority_host())
            .env("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://127.0.0.1:9")
            .env("AZURE_TENANT_ID", self.emulator.entra().tenant_id())
            .env("SSL_CERT_FILE", self.roots.path());
        command
    }

    fn doctor(&self, target: &str, name: &str) -> Value {
        let output = self.command(target, name).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(!text.contains("eyJ"), "a token is printed");
        serde_json::from_str(&text).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)))
    }

    /// Does what the remedy of the cause says: `kubectl` for real, `az` in the emulator.
    fn apply_remedy(&self, name: &str, report: &Value) {
        let code = cause_of(report);
        let all = |part: &Value| part.as_array().cloned().unwrap_or_default();
        let findings = [all(&report["lint"]["findings"]), all(&report["findings"])].concat();
        let finding = findings.iter().find(|finding| finding["code"] == code).unwrap();
        let remedy = finding["command"].as_str();
        let remedy = remedy.unwrap_or_else(|| finding["remedies"][0]["text"].as_str().unwrap());
        let remedy = remedy
            .replace("CLIENT_ID_OF_THE_IDENTITY", &client_id(name))
            .replace("TENANT_ID_OF_THE_IDENTITY", self.emulator.entra().tenant_id())
            .replace("\\\n", " ");
        let words = shlex::split(&remedy).unwrap();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let option = |name: &str| words[words.iter().position(|word| *word == name).unwrap() + 1].to_owned();
        match words[..] {
            ["az", "identity", "federated-credential", "create", ..] => {
                self.emulator.entra().register_federated_credential(
                    &client_id(name),
                    FederatedCredential {
                        issuer: option("--issuer"),
                        subject: option("--subject"),
                        audience: option("--audiences"),
                    },
                );
            }
            [first, ..] if first.starts_with("IDENTITY=") => {
                let subject = format!("system:serviceaccount:{NAMESPACE}:{name}");
                assert!(words.contains(&format!("[?subject=='{subject}'].name").as_str()));
                let credential = FederatedCredential {
                    issuer: self.issuer.clone(),
                    subject,
                    audience: option("--audiences"),
                };
                let entra = self.emulator.entra();
                entra.register_federated_credential(&client_id(name), credential);
            }
            ["az", "ad", "sp", "update", "--id", id, ..] => self.emulator.entra().register_application(id),
            // Nothing runs here that would end the pod in its own time.
            ["kubectl", "--namespace", NAMESPACE, "delete", ref arguments @ ..] => {
                kubectl(
                    &[&["delete", "--force", "--grace-period=0"], arguments].concat(),
                    "",
                );
            }
            ["echo", objects, "|", "kubectl", ref arguments @ ..] => {
                kubectl(arguments, objects);
            }
            ["kubectl", "--namespace", NAMESPACE, ref arguments @ ..] | ["kubectl", ref arguments @ ..] => {
                kubectl(arguments, "");
            }
            _ => panic!("{remedy}"),
        }
    }
}

fn kubectl(arguments: &[&str], input: &str) -> String {
    let mut child = Command::new("kubectl")
        .args(["--namespace", NAMESPACE])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(
        output.status.success(),
        "{arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// The code of the first error of lint, or else of the report; empty without one.
fn cause_of(report: &Value) -> String {
    let lint = report["lint"]["findings"].as_array().unwrap();
    let lint = lint.iter().find(|finding| finding["severity"] == "error");
    let code = lint.map_or(&report["cause"], |finding| &finding["code"]);
    code.as_str().unwrap_or_default().to_owned()
}

fn codes(report: &Value) -> Vec<String> {
    let lint = report["lint"]["findings"].as_array().unwrap().iter();
    let codes = lint.map(|finding| finding["code"].as_str().unwrap().to_owned());
    let cause = report["cause"].as_str().map(str::to_owned);
    codes
        .chain(cause.filter(|_| report["healthy"] == false))
        .collect()
}

/// As AKS installs it. Nothing listens there: the API server asks it about pods only.
fn webhook(name: &str, policy: &str) -> String {
    format!(
        "apiVersion: admissionregistration.k8s.io/v1\nkind: MutatingWebhookConfiguration\nmetadata: {{name: {name}}}\n\
         webhooks:\n  - name: mutation.azure-workload-identity.io\n    failurePolicy: {policy}\n    sideEffects: None\n    \
         admissionReviewVersions: [v1]\n    objectSelector: {{matchLabels: {{{LABEL}}}}}\n    \
         clientConfig: {{service: {{name: {SERVICE}, namespace: {NAMESPACE}, path: /mutate-v1-pod}}}}\n    \
         rules: [{{apiGroups: [\"\"], apiVersions: [v1], operations: [CREATE], resources: [pods]}}]\n"
    )
}

fn endpoints() -> String {
    format!(
        "apiVersion: v1\nkind: Endpoints\nmetadata: {{name: {SERVICE}, namespace: {NAMESPACE}}}\n\
         subsets: [{{addresses: [{{ip: 10.0.0.7}}], ports: [{{port: 9443}}]}}]\n"
    )
}

/// The `ClusterRole` that the remedy of a binding creates.
fn role_of(name: &str) -> String {
    format!("use-{}", client_id(name))
}

/// A client ID of its own for each set-up.
fn client_id(name: &str) -> String {
    let sum: u64 = name
        .bytes()
        .fold(7, |sum, byte| sum * 31 % 0xffff_ffff_ffff + u64::from(byte));
    format!("7a5ff21b-4f5b-4f5b-9e3e-{:012x}", sum % 0xffff_ffff_ffff)
}

const NAMESPACE: &str = "saman";
const WEBHOOK: &str = "azure-wi-webhook-mutating-webhook-configuration";
const SERVICE: &str = "azure-wi-webhook-webhook-service";
const LABEL: &str = "azure.workload.identity/use: \"true\"";
