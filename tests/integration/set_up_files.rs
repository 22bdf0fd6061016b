//! `examples/kubernetes`: a name that stands in several files is the same in all of them, and the samples accept what the
//! manifests give them.

#[cfg(feature = "azure-core")]
use crate::support;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use yaml_rust2::{Yaml, YamlLoader};

const LABEL: &str = "azure.workload.identity/use";
const ANNOTATION: &str = "azure.workload.identity/client-id";
const AUDIENCE: &str = "api://AzureADTokenExchange";
const WORKLOADS: [&str; 2] = ["manifests/blob.yaml", "manifests/keyvault.yaml"];
/// Name and ID of each role, and the file that says who needs it.
const ROLES: [(&str, &str, &str); 3] = [
    (
        "Storage Blob Data Contributor",
        "ba92f5b4-2d11-453d-a403-e96b0029c9fe",
        "../blob.rs",
    ),
    (
        "Key Vault Secrets Officer",
        "b86a8fe4-44ce-4948-aee5-eccb2c155cd7",
        "../keyvault.rs",
    ),
    (
        "Key Vault Secrets User",
        "4633458b-17de-408a-b874-0445c86b69e6",
        "../keyvault.rs",
    ),
];

#[test]
fn namespace_and_service_account_are_the_same_in_all_files() {
    let (namespace, account) = (namespace(), service_account());
    assert_eq!(
        manifest("manifests/kustomization.yaml")["namespace"].as_str(),
        Some(namespace.as_str())
    );
    for workload in WORKLOADS {
        assert_eq!(
            pod(workload)["spec"]["serviceAccountName"].as_str(),
            Some(account.as_str()),
            "{workload}"
        );
    }
    for (tool, wanted) in [
        (
            terraform_default as fn(&str) -> String,
            ["namespace", "service_account"],
        ),
        (bicep_default, ["namespace", "serviceAccount"]),
    ] {
        assert_eq!(wanted.map(tool), [namespace.clone(), account.clone()]);
    }
    let subject = format!("system:serviceaccount:{namespace}:{account}");
    for file in ["manifests/service-account.yaml", "../../docs/set-up.md"] {
        assert!(read(file).contains(&subject), "{file} lacks {subject}");
    }
    let deploy = read("deploy.sh");
    let named = deploy.matches("--namespace ").count();
    assert!(named > 0);
    assert_eq!(deploy.matches(&format!("--namespace {namespace}")).count(), named);
}

#[test]
fn federated_credentials_take_issuer_subject_and_audience_from_their_source() {
    let terraform = read("terraform/main.tf");
    for line in [
        "issuer   = azurerm_kubernetes_cluster.shop.oidc_issuer_url",
        "subject  = \"system:serviceaccount:${var.namespace}:${var.service_account}\"",
        &format!("audience = [\"{AUDIENCE}\"]"),
        "oidc_issuer_enabled       = true",
        "workload_identity_enabled = true",
    ] {
        assert!(has_line(&terraform, line), "main.tf lacks {line}");
    }
    let bicep = read("bicep/main.bicep");
    for line in [
        "issuer: aks.properties.oidcIssuerProfile.issuerURL",
        "subject: 'system:serviceaccount:${namespace}:${serviceAccount}'",
        &format!("'{AUDIENCE}'"),
    ] {
        assert!(has_line(&bicep, line), "main.bicep lacks {line}");
    }
    for profile in ["oidcIssuerProfile", "workloadIdentity"] {
        let (_, rest) = bicep.split_once(&format!("{profile}: {{")).unwrap();
        assert!(rest.trim_start().starts_with("enabled: true"), "{profile}");
    }
}

#[test]
fn set_up_script_federates_the_service_account_with_the_issuer_of_the_cluster() {
    let run = SetUp::run();
    let cluster = run.call("aks create");
    for flag in ["--enable-oidc-issuer", "--enable-workload-identity"] {
        assert!(cluster.has(flag), "{cluster:?}");
    }
    let credential = run.call("identity federated-credential create");
    // The stand-in answers a query with the query.
    assert_eq!(credential.option("--issuer"), "oidcIssuerProfile.issuerUrl");
    let subject = format!("system:serviceaccount:{}:{}", namespace(), service_account());
    assert_eq!(credential.option("--subject"), subject);
    assert_eq!(credential.option("--audiences"), AUDIENCE);
    let identity = run.call("identity create").option("--name");
    assert_eq!(credential.option("--identity-name"), identity);
    assert_eq!(terraform_default("identity"), identity);
    assert_eq!(bicep_default("identity"), identity);
    let storage = run.call("storage account create");
    assert_eq!(storage.option("--allow-shared-key-access"), "false");
    let vault = run.call("keyvault create");
    assert_eq!(vault.option("--enable-rbac-authorization"), "true");
}

#[test]
fn roles_are_those_the_samples_document() {
    for (role, id, sample) in ROLES {
        let documented = read(sample).replace("\n/// ", " ");
        assert!(
            documented.contains(&format!("\"{role}\"")),
            "{sample} lacks {role}"
        );
        assert!(has_line(&read("bicep/main.bicep"), &format!("'{role}': '{id}'")));
    }
    let [(blob, ..), (vault, ..), _] = ROLES;
    assert_eq!(terraform_default("key_vault_role"), vault);
    assert_eq!(bicep_default("keyVaultRole"), vault);
    let terraform = read("terraform/main.tf");
    assert!(has_line(
        &terraform,
        &format!("role_definition_name = \"{blob}\"")
    ));
    assert!(has_line(&terraform, "role_definition_name = var.key_vault_role"));
    let run = SetUp::run();
    let assigned: Vec<_> = run
        .calls("role assignment create")
        .map(|call| (call.option("--role"), call.option("--assignee-object-id")))
        .collect();
    assert_eq!(assigned, [(blob, "principalId"), (vault, "principalId")]);
}

#[test]
fn settings_have_the_same_keys_whichever_tool_writes_them() {
    let keys = setting_keys(&read("manifests/settings.env"));
    assert_eq!(setting_keys(&SetUp::run().settings), keys);
    assert_eq!(setting_keys(&read("terraform/outputs.tf")), keys);
    assert_eq!(setting_keys(&read("bicep/main.bicep")), keys);

    let kustomization = read("manifests/kustomization.yaml");
    let copied = kustomization
        .lines()
        .filter_map(|line| line.trim().strip_prefix("fieldPath: data."));
    let mut read_by_pods = Vec::new();
    for file in WORKLOADS
        .iter()
        .copied()
        .chain(["any-cluster/without-webhook/token-volume.yaml"])
    {
        for variable in list(&container(&pod(file))["env"]) {
            let reference = &variable["valueFrom"]["configMapKeyRef"];
            if !reference.is_badvalue() {
                assert_eq!(reference["name"].as_str(), Some("settings"), "{file}");
                read_by_pods.push(reference["key"].as_str().unwrap().to_owned());
            }
        }
    }
    for key in copied.map(str::to_owned).chain(read_by_pods) {
        assert!(keys.contains(&key), "no setting {key}");
    }
}

#[test]
fn pod_templates_carry_the_webhook_label_as_a_string() {
    for workload in WORKLOADS {
        let object = manifest(workload);
        assert_eq!(
            pod(workload)["metadata"]["labels"][LABEL],
            Yaml::String("true".into()),
            "{workload}"
        );
        assert!(object["metadata"]["labels"][LABEL].is_badvalue(), "{workload}");
    }
    let account = manifest("manifests/service-account.yaml");
    assert_eq!(account["kind"].as_str(), Some("ServiceAccount"));
    assert!(account["metadata"]["labels"][LABEL].is_badvalue());
    assert_eq!(
        account["metadata"]["annotations"][ANNOTATION].as_str(),
        Some("AZURE_CLIENT_ID")
    );
    assert!(has_line(
        &read("manifests/kustomization.yaml"),
        &format!("- metadata.annotations.[{ANNOTATION}]")
    ));
}

#[test]
fn pods_run_without_privileges() {
    for workload in WORKLOADS {
        let pod = pod(workload);
        let (spec, container) = (&pod["spec"], container(&pod));
        assert_eq!(spec["automountServiceAccountToken"].as_bool(), Some(false));
        assert_eq!(spec["securityContext"]["runAsNonRoot"].as_bool(), Some(true));
        let context = &container["securityContext"];
        assert_eq!(context["allowPrivilegeEscalation"].as_bool(), Some(false));
        assert_eq!(context["readOnlyRootFilesystem"].as_bool(), Some(true));
        assert_eq!(context["capabilities"]["drop"][0].as_str(), Some("ALL"));
        let user = spec["securityContext"]["runAsUser"].as_i64().unwrap();
        assert!(has_line(&read("Dockerfile"), &format!("USER {user}:{user}")));
    }
}

#[test]
fn image_and_programs_have_one_name() {
    let image = "/entra-workload-samples:0.1.0";
    for file in [
        "manifests/settings.env",
        "az/set-up.sh",
        "terraform/outputs.tf",
        "bicep/main.bicep",
    ] {
        assert!(read(file).contains(image), "{file} lacks {image}");
    }
    let dockerfile = read("Dockerfile");
    for workload in WORKLOADS {
        assert_eq!(
            container(&pod(workload))["image"].as_str(),
            Some("IMAGE"),
            "{workload}"
        );
        // The workload has the name of the program that it runs.
        let program = manifest(workload)["metadata"]["name"]
            .as_str()
            .unwrap()
            .to_owned();
        assert!(
            dockerfile.contains(&format!("--example {program}")),
            "{program} is not built"
        );
        assert!(
            dockerfile.contains(&format!("/release/examples/{program} ")),
            "{program} is not copied"
        );
    }
}

#[test]
fn hand_written_volume_gives_what_the_webhook_gives() {
    let pod = pod("any-cluster/without-webhook/token-volume.yaml");
    let container = container(&pod);
    let volume = &pod["spec"]["volumes"][0];
    let token = &volume["projected"]["sources"][0]["serviceAccountToken"];
    assert_eq!(token["audience"].as_str(), Some(AUDIENCE));
    // What the webhook and Entra accept.
    assert!((3600..=86400).contains(&token["expirationSeconds"].as_i64().unwrap()));
    let mount = &container["volumeMounts"][0];
    assert_eq!(mount["name"], volume["name"]);
    let file = format!(
        "{}/{}",
        mount["mountPath"].as_str().unwrap(),
        token["path"].as_str().unwrap()
    );
    let variables: Vec<_> = list(&container["env"])
        .iter()
        .map(|variable| (variable["name"].as_str().unwrap(), variable["value"].as_str()))
        .collect();
    assert_eq!(
        variables,
        [
            ("AZURE_TENANT_ID", None),
            ("AZURE_CLIENT_ID", None),
            ("AZURE_FEDERATED_TOKEN_FILE", Some(file.as_str()))
        ]
    );
}

/// Runs the script of each pod with the real programs. Without a token file each call must fail with exit code 1, which
/// says that its arguments and variables were accepted; a wrong one gives exit code 2.
#[cfg(feature = "azure-core")]
#[test]
fn samples_accept_the_arguments_and_variables_of_the_manifests() {
    let settings = read("manifests/settings.env");
    for (workload, calls) in [
        (WORKLOADS[0], &["upload greeting.txt", "list"][..]),
        (WORKLOADS[1], &["set sample", "list"]),
    ] {
        let directory = TempDir::new().unwrap();
        let program = manifest(workload)["metadata"]["name"]
            .as_str()
            .unwrap()
            .to_owned();
        let real = support::sample::example(&program);
        let wrapper = format!(
            "#!/bin/sh\necho \"$*\" >> calls\n'{}' \"$@\"\n[ $? -eq 1 ]\n",
            real.display()
        );
        write_program(&directory.path().join(&program), &wrapper);
        // Ends the loop of the Deployment.
        write_program(&directory.path().join("sleep"), "#!/bin/sh\nexit 7\n");

        let pod = pod(workload);
        let container = container(&pod);
        let command: Vec<_> = list(&container["command"])
            .iter()
            .map(|part| part.as_str().unwrap())
            .collect();
        let script = container["args"][0].as_str().unwrap().replace("/tmp/", "");
        let variables = list(&container["env"]).iter().map(|variable| {
            let key = variable["valueFrom"]["configMapKeyRef"]["key"].as_str().unwrap();
            let value = settings
                .lines()
                .find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
            (variable["name"].as_str().unwrap(), value.unwrap())
        });
        let output = Command::new(command[0])
            .args(&command[1..])
            .arg(script)
            .current_dir(&directory)
            .env_clear()
            .env("PATH", format!("{}:/usr/bin:/bin", directory.path().display()))
            .envs(variables)
            .output()
            .unwrap();

        let stderr = String::from_utf8(output.stderr).unwrap();
        let loops = script_loops(workload);
        assert_eq!(
            output.status.code(),
            Some(if loops { 7 } else { 0 }),
            "{workload}: {stderr}"
        );
        let called = fs::read_to_string(directory.path().join("calls")).unwrap();
        assert_eq!(called.lines().collect::<Vec<_>>(), calls);
        assert_eq!(
            stderr.matches("AZURE_FEDERATED_TOKEN_FILE").count(),
            calls.len(),
            "{stderr}"
        );
    }
}

/// A Deployment runs for ever, a Job ends.
#[cfg(feature = "azure-core")]
fn script_loops(workload: &str) -> bool {
    manifest(workload)["kind"].as_str() == Some("Deployment")
}

/// What `az/set-up.sh` asks of the Azure CLI when nothing exists yet.
struct SetUp {
    calls: Vec<Call>,
    settings: String,
}

/// The arguments of one call of `az`.
#[derive(Debug)]
struct Call(Vec<String>);

impl SetUp {
    /// Runs a copy of the script with a stand-in for `az`, which answers each query with the query itself.
    fn run() -> Self {
        let directory = TempDir::new().unwrap();
        let path = |name: &str| directory.path().join(name);
        for name in ["bin", "az", "manifests"] {
            fs::create_dir(path(name)).unwrap();
        }
        fs::copy(kit("az/set-up.sh"), path("az/set-up.sh")).unwrap();
        write_program(&path("bin/az"), AZ);
        let output = Command::new("bash")
            .arg(path("az/set-up.sh"))
            .env_clear()
            .env("PATH", format!("{}:/usr/bin:/bin", path("bin").display()))
            .env("CALLS", path("calls"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        let calls = fs::read_to_string(path("calls")).unwrap();
        Self {
            calls: calls
                .split_terminator("\n\n")
                .map(|call| Call(call.lines().map(str::to_owned).collect()))
                .collect(),
            settings: fs::read_to_string(path("manifests/settings.env")).unwrap(),
        }
    }

    /// The calls of a command, such as `aks create`.
    fn calls(&self, command: &str) -> impl Iterator<Item = &Call> {
        self.calls
            .iter()
            .filter(move |call| call.0.join(" ").starts_with(&format!("{command} ")))
    }

    /// The only call of a command.
    #[track_caller]
    fn call(&self, command: &str) -> &Call {
        let calls: Vec<_> = self.calls(command).collect();
        assert_eq!(calls.len(), 1, "{command}: {calls:?}");
        calls[0]
    }
}

impl Call {
    fn has(&self, argument: &str) -> bool {
        self.0.iter().any(|other| other == argument)
    }

    /// The value after an option.
    #[track_caller]
    fn option(&self, name: &str) -> &str {
        let position = self.0.iter().position(|argument| argument == name);
        &self.0[position.unwrap_or_else(|| panic!("no {name}: {self:?}")) + 1]
    }
}

/// Writes one argument a line and a blank line after each call. Neither the cluster nor the vault exists yet.
const AZ: &str = r#"#!/bin/sh
printf '%s\n' "$@" '' >> "$CALLS"
case "$*" in
*" show "*"--output none"*) exit 3 ;;
esac
while [ $# -gt 0 ]; do
    if [ "$1" = --query ]; then echo "$2"; fi
    shift
done
"#;

fn namespace() -> String {
    let namespace = manifest("manifests/namespace.yaml");
    namespace["metadata"]["name"].as_str().unwrap().to_owned()
}

fn service_account() -> String {
    let account = manifest("manifests/service-account.yaml");
    account["metadata"]["name"].as_str().unwrap().to_owned()
}

/// The default of a variable in `variables.tf`.
fn terraform_default(name: &str) -> String {
    let text = read("terraform/variables.tf");
    let (_, block) = text.split_once(&format!("variable \"{name}\" {{")).unwrap();
    let (block, _) = block.split_once("\n}").unwrap();
    let default = block
        .lines()
        .find_map(|line| line.trim().strip_prefix("default"))
        .unwrap();
    default.trim_matches([' ', '=', '"']).to_owned()
}

/// The default of a parameter in `main.bicep`.
fn bicep_default(name: &str) -> String {
    let text = read("bicep/main.bicep");
    let start = format!("param {name} string = '");
    let default = text.lines().find_map(|line| line.strip_prefix(&start)).unwrap();
    default.trim_end_matches('\'').to_owned()
}

/// The keys of lines like `KEY=value`, also where they are indented or in quotes.
fn setting_keys(text: &str) -> Vec<String> {
    text.lines()
        .filter_map(|line| line.trim_start_matches([' ', '\'']).split_once('='))
        .map(|(key, _)| key.to_owned())
        .filter(|key| !key.is_empty() && key.chars().all(|c| c.is_ascii_uppercase() || c == '_'))
        .collect()
}

/// The pod template of a workload.
fn pod(file: &str) -> Yaml {
    manifest(file)["spec"]["template"].clone()
}

/// The only container of a pod.
fn container(pod: &Yaml) -> &Yaml {
    let containers = list(&pod["spec"]["containers"]);
    assert_eq!(containers.len(), 1);
    &containers[0]
}

fn list(yaml: &Yaml) -> &[Yaml] {
    yaml.as_vec().expect("a list")
}

/// The only document of a file.
fn manifest(file: &str) -> Yaml {
    let mut documents = YamlLoader::load_from_str(&read(file)).unwrap();
    assert_eq!(documents.len(), 1, "{file}");
    documents.remove(0)
}

fn has_line(text: &str, line: &str) -> bool {
    text.lines().any(|other| other.trim() == line)
}

fn read(file: &str) -> String {
    fs::read_to_string(kit(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn kit(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("examples/kubernetes")
        .join(file)
}

fn write_program(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
}
