use entra_workload::diagnose::FederatedCredential;

use super::{Remedy, Tool, symbol};

pub(super) fn federated_credential(name: &str, credential: &FederatedCredential) -> Remedy {
    let text = format!(
        "resource \"azurerm_federated_identity_credential\" \"{}\" {{\n  \
         name                      = \"{name}\"\n  \
         user_assigned_identity_id = azurerm_user_assigned_identity.IDENTITY.id # parent_id before azurerm 5\n  \
         issuer                    = {}\n  subject                   = {}\n  audience                  = [{}]\n}}",
        symbol(name),
        quoted(&credential.issuer),
        quoted(&credential.subject),
        quoted(&credential.audience),
    );
    Remedy::new(Tool::Terraform, text)
}

pub(super) fn subject(credential: &FederatedCredential) -> Remedy {
    let text = format!("subject = {}", quoted(&credential.subject));
    Remedy::new(Tool::Terraform, text)
}

pub(super) fn audience(credential: &FederatedCredential) -> Remedy {
    let text = format!("audience = [{}]", quoted(&credential.audience));
    Remedy::new(Tool::Terraform, text)
}

fn quoted(text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{}\"", text.replace("${", "$${").replace("%{", "%%{"))
}
