use entra_workload_emulator::{Endpoint, FederatedCredential};
use serde_json::Value;

use super::world::{NAMESPACE, SERVICE_ACCOUNT, World};

/// Does what the remedies of a finding say, as a person with a shell would; false if there is none.
///
/// The commands are read as a shell reads them, and stand for what `az` and `kubectl` do.
pub(crate) fn apply(world: &mut World, finding: &Value) -> bool {
    let remedies = finding["remedies"].as_array().unwrap();
    let Some(first) = remedies.first() else {
        return false;
    };
    for remedy in remedies.iter().filter(|remedy| remedy["tool"] == first["tool"]) {
        let text = remedy["text"].as_str().unwrap();
        match remedy["tool"].as_str().unwrap() {
            "yaml" => apply_manifest(world, text),
            _ => run(world, &shlex::split(text).unwrap()),
        }
    }
    true
}

fn run(world: &mut World, words: &[String]) {
    let words: Vec<&str> = words
        .iter()
        .map(String::as_str)
        .map(str::trim)
        .filter(|word| !word.is_empty())
        .collect();
    let option = |name: &str| {
        let position = words.iter().position(|word| *word == name);
        words[position.unwrap_or_else(|| panic!("{name} is missing in {words:?}")) + 1].to_owned()
    };
    let client_id = world.pod.client_id().to_owned();
    match words[..] {
        ["az", "identity", "federated-credential", "create", ..] => {
            assert!(option("--identity-name").contains(&client_id), "{words:?}");
            world.emulator.entra().register_federated_credential(
                &client_id,
                FederatedCredential {
                    issuer: option("--issuer"),
                    subject: option("--subject"),
                    audience: option("--audiences"),
                },
            );
        }
        [first, ..] if first.starts_with("IDENTITY=") && words.contains(&"--subject") => {
            let subject = words.iter().find_map(|word| word.strip_prefix("SUBJECT="));
            world.emulator.entra().register_federated_credential(
                &client_id,
                FederatedCredential {
                    issuer: world.emulator.issuer_url().to_owned(),
                    subject: subject.unwrap().to_owned(),
                    audience: "api://AzureADTokenExchange".to_owned(),
                },
            );
        }
        [first, ..] if first.starts_with("IDENTITY=") => {
            let mut queries = words.iter().filter_map(|word| word.strip_prefix("[?subject=='"));
            let subject = queries
                .next()
                .unwrap()
                .split_once("'].name")
                .unwrap()
                .0
                .to_owned();
            world.emulator.entra().register_federated_credential(
                &client_id,
                FederatedCredential {
                    issuer: world.emulator.issuer_url().to_owned(),
                    subject,
                    audience: option("--audiences"),
                },
            );
        }
        [
            "az",
            "ad",
            "sp",
            "update",
            "--id",
            id,
            "--set",
            "accountEnabled=true",
        ] => {
            world.emulator.entra().register_application(id);
        }
        ["az", "role", "assignment", "create", ..] => {
            assert_eq!(option("--assignee"), client_id);
            world.emulator.clear_faults(Endpoint::KeyVault);
            world.emulator.clear_faults(Endpoint::Blob);
        }
        ["az", "keyvault", "set-policy", ..] => {
            assert_eq!(option("--spn"), client_id);
            assert_eq!(words.last(), Some(&"list"));
            world.emulator.clear_faults(Endpoint::KeyVault);
        }
        ["echo", objects, "|", "kubectl", "apply", "--filename", "-"] => {
            let objects: Value = serde_json::from_str(objects).unwrap();
            let [role, binding] = [&objects["items"][0], &objects["items"][1]];
            assert_eq!(role["rules"][0]["resources"][0], client_id);
            assert_eq!(role["rules"][0]["verbs"][0], "use-managed-identity");
            assert_eq!(binding["roleRef"]["name"], role["metadata"]["name"]);
            let text = |name: &str| binding["subjects"][0][name].as_str().unwrap();
            let proxy = world.emulator.token_proxy();
            proxy.allow(text("namespace"), text("name"), &client_id);
        }
        ["kubectl", "--namespace", namespace, ref command @ ..] => {
            assert!([NAMESPACE, "NAMESPACE"].contains(&namespace), "{words:?}");
            kubectl(world, command);
        }
        _ => panic!("no such command: {words:?}"),
    }
}

fn kubectl(world: &mut World, command: &[&str]) {
    match *command {
        ["annotate", "serviceaccount", name, "--overwrite", annotation] => {
            assert!([SERVICE_ACCOUNT, "SERVICE_ACCOUNT"].contains(&name));
            let (key, value) = annotation.split_once('=').unwrap();
            match (key, value) {
                ("azure.workload.identity/client-id", "CLIENT_ID_OF_THE_IDENTITY") => {
                    world.annotations.remove("AZURE_CLIENT_ID");
                }
                ("azure.workload.identity/tenant-id", "TENANT_ID_OF_THE_IDENTITY") => {
                    world.annotations.remove("AZURE_TENANT_ID");
                }
                ("azure.workload.identity/service-account-token-expiration", seconds) => {
                    world.token.lifetime = Some(seconds.parse().unwrap());
                }
                _ => panic!("{annotation}"),
            }
        }
        ["rollout", "restart", "deployment", _] => world.recreate_pod(),
        ["delete", "pod", _] => {
            // The webhook changes the new pod completely.
            world.token = super::case::Token::default();
            world.recreate_pod();
        }
        ["set", "env", "deployment", _, ref variables @ ..] => {
            for variable in variables {
                match variable.split_once('=') {
                    Some((name, value)) => world.environment.insert(name.into(), value.into()),
                    None => world.environment.remove(variable.strip_suffix('-').unwrap()),
                };
            }
            // A volume of the manifest goes with its variable.
            world.token = super::case::Token::default();
            world.recreate_pod();
        }
        ["patch", "deployment", _, "--type", "merge", "--patch", patch] => {
            let patch: Value = serde_json::from_str(patch).unwrap();
            let labels = &patch["spec"]["template"]["metadata"]["labels"];
            assert_eq!(labels["azure.workload.identity/use"], "true");
            world.has_webhook = true;
            world.recreate_pod();
        }
        _ => panic!("no such command: {command:?}"),
    }
}

/// A volume or a mount of the manifest is replaced by the right one.
fn apply_manifest(world: &mut World, text: &str) {
    let is_right = text.contains("audience: api://AzureADTokenExchange") || text.contains("without subPath");
    assert!(is_right, "{text}");
    world.token = super::case::Token::default();
    world.recreate_pod();
}
