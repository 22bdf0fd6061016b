//! Commands and snippets that fix a finding, with the names of the pod in them.

mod az;
mod bicep;
mod kubectl;
mod pod_names;
mod terraform;

use std::borrow::Cow;
use std::fmt;

use entra_workload::diagnose::{FederatedCredential, Finding, Property};
use entra_workload::{Code, Owner};
use serde::{Serialize, Serializer};
use shlex::Quoter;

pub(crate) use kubectl::use_of_identity;
pub(crate) use pod_names::PodNames;

/// A command or a snippet that fixes a problem. A word in capitals, such as `RESOURCE_GROUP`, stands for what the pod
/// cannot know.
#[derive(Debug, Serialize)]
pub(crate) struct Remedy {
    #[serde(serialize_with = "display")]
    pub(crate) tool: Tool,
    /// The text, ready to paste.
    pub(crate) text: String,
}

impl Remedy {
    fn new(tool: Tool, text: impl Into<String>) -> Self {
        Self {
            tool,
            text: text.into(),
        }
    }
}

/// What a [`Remedy`] is written for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Tool {
    /// A shell with `az`.
    Az,
    /// A shell with `az`, if the client is an application registration and not a managed identity.
    AzApplication,
    /// A shell with `kubectl`.
    Kubectl,
    /// A part of a manifest.
    Yaml,
    /// A part of a Terraform module.
    Terraform,
    /// A part of a Bicep file.
    Bicep,
}

impl fmt::Display for Tool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Az => "az",
            Self::AzApplication => "az ad app",
            Self::Kubectl => "kubectl",
            Self::Yaml => "yaml",
            Self::Terraform => "terraform",
            Self::Bicep => "bicep",
        })
    }
}

/// Returns what fixes a finding.
pub(crate) fn remedies(finding: &Finding, names: &PodNames) -> Vec<Remedy> {
    let credential = |remedies: fn(&FederatedCredential) -> Vec<Remedy>| {
        finding
            .federated_credential
            .as_ref()
            .map(remedies)
            .unwrap_or_default()
    };
    let resource = finding.resource.as_ref();
    match finding.code {
        Code::NO_FEDERATED_CREDENTIAL
        | Code::ISSUER_MISMATCH
        | Code::SUBJECT_MISMATCH
        | Code::EXPRESSION_MISMATCH => credential(creation),
        Code::AUDIENCE_MISMATCH => credential(change_of_audience),
        Code::SUBJECT_CASE_MISMATCH => credential(change_of_subject),
        Code::NO_SERVICE_PRINCIPAL => vec![az::service_principal(&names.client_id)],
        Code::NOT_ASSIGNED => vec![az::app_role_assignment(&names.client_id)],
        Code::DISABLED_APPLICATION => vec![az::enabled_application(&names.client_id)],
        Code::NO_ROLE => resource
            .map(|resource| az::role_assignment(resource, &names.client_id))
            .into_iter()
            .collect(),
        Code::NO_ACCESS_POLICY => resource
            .map(|resource| az::access_policy(resource, &names.client_id))
            .into_iter()
            .collect(),
        Code::FIREWALL => resource.map(az::network_rule).into_iter().collect(),
        Code::IDENTITY_BINDING_FORBIDDEN => {
            let PodNames {
                namespace,
                service_account,
                client_id,
                ..
            } = names;
            vec![use_of_identity(client_id, namespace, service_account)]
        }
        Code::UNKNOWN_HOST if finding.owner == Owner::Developer => {
            kubectl::change_of_workload(Code::INVALID_AUTHORITY_HOST, names)
        }
        Code::UNKNOWN_HOST
        | Code::RESOLVER_SILENT
        | Code::CONNECTION_REFUSED
        | Code::UNREACHABLE_HOST
        | Code::NO_RESPONSE => vec![kubectl::egress()],
        Code::EXPIRED_TOKEN | Code::ASSERTION_OUTSIDE_VALIDITY => vec![kubectl::volume_mount()],
        Code::WRONG_AUDIENCE => finding
            .comparison(Property::Audience)
            .and_then(|audience| audience.expected.as_deref())
            .map(kubectl::volume)
            .into_iter()
            .collect(),
        code => kubectl::change_of_workload(code, names),
    }
}

/// What creates a federated credential: for a managed identity, for an application registration, in Terraform and in
/// Bicep.
fn creation(credential: &FederatedCredential) -> Vec<Remedy> {
    let name = name(credential);
    vec![
        az::federated_credential(&name, credential),
        az::federated_credential_of_application(&name, credential),
        terraform::federated_credential(&name, credential),
        bicep::federated_credential(&name, credential),
    ]
}

/// What gives the credential whose subject differs in upper and lower case the right one.
fn change_of_subject(credential: &FederatedCredential) -> Vec<Remedy> {
    vec![
        az::change_of_subject(credential),
        terraform::subject(credential),
        bicep::subject(credential),
    ]
}

/// What gives the credential of this subject, which Azure allows once, the audience.
fn change_of_audience(credential: &FederatedCredential) -> Vec<Remedy> {
    vec![
        az::change_of_audience(credential),
        az::change_of_audience_of_application(credential),
        terraform::audience(credential),
        bicep::audience(credential),
    ]
}

/// Namespace and name of the service account, and a mark of the issuer: `create` replaces the credential of another
/// cluster that has the same name.
fn name(credential: &FederatedCredential) -> String {
    let name = credential.subject.strip_prefix("system:serviceaccount:");
    let name = name.unwrap_or(&credential.subject).replace([':', '.'], "-");
    let kept = |c: &char| c.is_ascii_alphanumeric() || "-_".contains(*c);
    let name: String = name.chars().filter(kept).take(MAX_NAME - 9).collect();
    let name = if name.is_empty() { "workload" } else { &name };
    format!("{name}-{:08x}", mark(&credential.issuer))
}

/// A symbol of Terraform or Bicep: it does not begin with a digit.
fn symbol(name: &str) -> String {
    let symbol = name.replace('-', "_");
    match symbol.bytes().next() {
        Some(first) if first.is_ascii_digit() => format!("_{symbol}"),
        _ => symbol,
    }
}

/// A number that differs from issuer to issuer. Source: FNV-1a, 32 bits.
fn mark(issuer: &str) -> u32 {
    issuer.bytes().fold(0x811c_9dc5, |mark, byte| {
        (mark ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}

/// Quotes a value for a shell.
fn shell(text: &str) -> Cow<'_, str> {
    // With this, nothing is an error.
    let quoter = Quoter::new().allow_nul(true);
    quoter.quote(text).unwrap_or_default()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde calls")]
fn display<S: Serializer>(tool: &Tool, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(tool)
}

/// Source: `az identity federated-credential create`, 3 to 120 characters.
const MAX_NAME: usize = 120;

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn values_of_a_token_cannot_leave_their_quotes() {
        let remedies = creation(&FederatedCredential {
            client_id: "x' || true".into(),
            issuer: "https://i/'$(reboot)".into(),
            subject: "system:serviceaccount:a:${b}\"".into(),
            audience: "c".into(),
        });
        let texts: Vec<&str> = remedies.iter().map(|remedy| remedy.text.as_str()).collect();
        let words = [0, 1].map(|index| shlex::split(texts[index]).unwrap());
        assert!(
            words[0].iter().any(|word| word == "https://i/'$(reboot)"),
            "{}",
            texts[0]
        );
        let parameters: serde_json::Value = serde_json::from_str(words[1].last().unwrap()).unwrap();
        assert_eq!(parameters["issuer"], "https://i/'$(reboot)");
        for (text, part) in texts[2..]
            .iter()
            .zip([r#""system:serviceaccount:a:$${b}\"""#, r"'https://i/\'$(reboot)'"])
        {
            assert!(text.contains(part), "{text}");
        }
        assert!(texts[0].contains("[?clientId=='xtrue'].name"), "{}", texts[0]);
    }

    #[test]
    fn federated_credential_has_a_command_for_an_identity_and_for_an_application() {
        let remedies = creation(&FederatedCredential {
            client_id: CLIENT_ID.into(),
            issuer: "https://issuer/".into(),
            subject: "system:serviceaccount:shop:orders".into(),
            audience: "api://AzureADTokenExchange".into(),
        });
        let start = "az identity federated-credential create --name shop-orders-";
        assert_eq!(remedies[0].tool, Tool::Az);
        assert!(remedies[0].text.starts_with(start), "{}", remedies[0].text);
        assert_eq!(remedies[1].tool, Tool::AzApplication);
        let words = shlex::split(&remedies[1].text).unwrap();
        let start = [
            "az",
            "ad",
            "app",
            "federated-credential",
            "create",
            "--id",
            CLIENT_ID,
        ];
        assert_eq!(words[..start.len()], start);
        let parameters: serde_json::Value = serde_json::from_str(words.last().unwrap()).unwrap();
        assert_eq!(parameters["subject"], "system:serviceaccount:shop:orders");
        assert_eq!(parameters["issuer"], "https://issuer/");
        assert_eq!(parameters["audiences"][0], "api://AzureADTokenExchange");
    }

    const CLIENT_ID: &str = "7a5ff21b-4f5b-4f5b-9e3e-2c0b5a1d9a10";
}
