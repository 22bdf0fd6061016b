use entra_workload::diagnose::FederatedCredential;

use super::{Remedy, Tool, symbol};

pub(super) fn federated_credential(name: &str, credential: &FederatedCredential) -> Remedy {
    let text = format!(
        "resource {} 'Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials@2024-11-30' = {{\n  \
         parent: identity\n  name: '{name}'\n  properties: {{\n    issuer: {}\n    subject: {}\n    audiences: [{}]\n  }}\n}}",
        symbol(name),
        quoted(&credential.issuer),
        quoted(&credential.subject),
        quoted(&credential.audience),
    );
    Remedy::new(Tool::Bicep, text)
}

pub(super) fn subject(credential: &FederatedCredential) -> Remedy {
    let text = format!("subject: {}", quoted(&credential.subject));
    Remedy::new(Tool::Bicep, text)
}

pub(super) fn audience(credential: &FederatedCredential) -> Remedy {
    let text = format!("audiences: [{}]", quoted(&credential.audience));
    Remedy::new(Tool::Bicep, text)
}

fn quoted(text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace('\'', "\\'");
    format!("'{}'", text.replace("${", "\\${"))
}
