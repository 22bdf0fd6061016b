use entra_workload::diagnose::{FederatedCredential, Resource, Service};
use serde_json::json;

use super::{Remedy, Tool, shell};

pub(super) fn federated_credential(name: &str, credential: &FederatedCredential) -> Remedy {
    let FederatedCredential {
        client_id,
        issuer,
        subject,
        audience,
    } = credential;
    let text = format!(
        "az identity federated-credential create --name {name} \\\n  \
         --identity-name \"$({})\" \\\n  \
         --resource-group \"$({})\" \\\n  \
         --issuer {} \\\n  --subject {} \\\n  --audiences {}",
        identity(client_id, "name"),
        identity(client_id, "resourceGroup"),
        shell(issuer),
        shell(subject),
        shell(audience),
    );
    Remedy::new(Tool::Az, text)
}

pub(super) fn federated_credential_of_application(name: &str, credential: &FederatedCredential) -> Remedy {
    let FederatedCredential {
        client_id,
        issuer,
        subject,
        audience,
    } = credential;
    let parameters = json!({ "name": name, "issuer": issuer, "subject": subject, "audiences": [audience] });
    let text = format!(
        "az ad app federated-credential create --id {} \\\n  --parameters {}",
        shell(client_id),
        shell(&parameters.to_string()),
    );
    Remedy::new(Tool::AzApplication, text)
}

pub(super) fn change_of_subject(credential: &FederatedCredential) -> Remedy {
    let FederatedCredential {
        client_id, subject, ..
    } = credential;
    let text = format!(
        "IDENTITY=$({})\nGROUP=$({})\nSUBJECT={}\n\
         NAME=$(az identity federated-credential list {OF_IDENTITY} --query \"[].[name, subject]\" --output tsv |\n  \
         awk -F '\\t' -v subject=\"$SUBJECT\" 'tolower($2) == tolower(subject) {{ print $1 }}')\n\
         az identity federated-credential update {OF_IDENTITY} --name $NAME --subject \"$SUBJECT\"",
        identity(client_id, "name"),
        identity(client_id, "resourceGroup"),
        shell(subject)
    );
    Remedy::new(Tool::Az, text)
}

pub(super) fn change_of_audience(credential: &FederatedCredential) -> Remedy {
    let FederatedCredential {
        client_id, audience, ..
    } = credential;
    let text = format!(
        "IDENTITY=$({})\nGROUP=$({})\n\
         NAME=$(az identity federated-credential list {OF_IDENTITY} --query \"{}\" --output tsv)\n\
         az identity federated-credential update {OF_IDENTITY} --name $NAME --audiences {}",
        identity(client_id, "name"),
        identity(client_id, "resourceGroup"),
        name_by_subject(credential),
        shell(audience)
    );
    Remedy::new(Tool::Az, text)
}

pub(super) fn change_of_audience_of_application(credential: &FederatedCredential) -> Remedy {
    let FederatedCredential {
        client_id, audience, ..
    } = credential;
    let parameters = json!({ "audiences": [audience] });
    let id = format!("--id {}", shell(client_id));
    let text = format!(
        "NAME=$(az ad app federated-credential list {id} --query \"{}\" --output tsv)\n\
         az ad app federated-credential update {id} --federated-credential-id $NAME --parameters {}",
        name_by_subject(credential),
        shell(&parameters.to_string()),
    );
    Remedy::new(Tool::AzApplication, text)
}

pub(super) fn service_principal(client_id: &str) -> Remedy {
    Remedy::new(Tool::Az, format!("az ad sp create --id {}", shell(client_id)))
}

pub(super) fn app_role_assignment(client_id: &str) -> Remedy {
    let text = format!(
        "OBJECT_ID=$(az ad sp show --id {} --query id --output tsv)\n\
         az rest --method POST \\\n  \
         --uri https://graph.microsoft.com/v1.0/servicePrincipals/RESOURCE_OBJECT_ID/appRoleAssignedTo \\\n  \
         --body \"{{'principalId': '$OBJECT_ID', 'resourceId': 'RESOURCE_OBJECT_ID', 'appRoleId': 'APP_ROLE_ID'}}\"",
        shell(client_id)
    );
    Remedy::new(Tool::Az, text)
}

pub(super) fn enabled_application(client_id: &str) -> Remedy {
    let id = shell(client_id);
    Remedy::new(
        Tool::Az,
        format!("az ad sp update --id {id} --set accountEnabled=true"),
    )
}

pub(super) fn role_assignment(resource: &Resource, client_id: &str) -> Remedy {
    let name = name_of(resource);
    let (role, show, below) = match resource.service {
        Service::Blob => {
            let below =
                container(&resource.url).map(|name| format!("/blobServices/default/containers/{name}"));
            ("Storage Blob Data Reader", "storage account", below)
        }
        _ => ("Key Vault Secrets User", "keyvault", None),
    };
    let text = format!(
        "az role assignment create --role {} --assignee {} \\\n  --scope \"$(az {show} show --name {name} --query id --output tsv){}\"",
        shell(role),
        shell(client_id),
        below.unwrap_or_default()
    );
    Remedy::new(Tool::Az, text)
}

pub(super) fn access_policy(resource: &Resource, client_id: &str) -> Remedy {
    let text = format!(
        "az keyvault set-policy --name {} --spn {} --secret-permissions get list",
        name_of(resource),
        shell(client_id)
    );
    Remedy::new(Tool::Az, text)
}

pub(super) fn network_rule(resource: &Resource) -> Remedy {
    let command = match resource.service {
        Service::Blob => "storage account network-rule add --account-name",
        _ => "keyvault network-rule add --name",
    };
    let name = name_of(resource);
    Remedy::new(
        Tool::Az,
        format!("az {command} {name} --subnet SUBNET_ID_OF_THE_CLUSTER"),
    )
}

/// A command that prints a property of the identity with this client ID.
fn identity(client_id: &str, property: &str) -> String {
    let id: String = client_id
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || *c == '-')
        .collect();
    format!("az identity list --query \"[?clientId=='{id}'].{property}\" --output tsv")
}

/// A query within double quotes that returns the name of the credential with this subject.
fn name_by_subject(credential: &FederatedCredential) -> String {
    let is_safe = |c: &char| !"'`\"\\$".contains(*c);
    let subject: String = credential.subject.chars().filter(is_safe).collect();
    format!("[?subject=='{subject}'].name")
}

/// Returns the name of an account or a vault.
fn name_of(resource: &Resource) -> String {
    let url: Option<http::Uri> = resource.url.parse().ok();
    let host = url.as_ref().and_then(http::Uri::host).unwrap_or_default();
    let name = host.split('.').next().unwrap_or_default();
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '-';
    if !name.is_empty() && name.chars().all(is_name) {
        name.to_owned()
    } else {
        "NAME".to_owned()
    }
}

/// Returns the container of a URL in the public form.
fn container(url: &str) -> Option<String> {
    let url: http::Uri = url.parse().ok()?;
    let has_domain = url.host()?.parse::<std::net::IpAddr>().is_err();
    let is_name = |name: &&str| {
        let mut bytes = name.bytes();
        !name.is_empty() && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'$')
    };
    let mut segments = url.path().split('/').skip(1).filter(|_| has_domain);
    segments
        .next()
        .filter(is_name)
        .map(|name| name.replace('$', "\\$"))
}

const OF_IDENTITY: &str = "--identity-name $IDENTITY --resource-group $GROUP";
