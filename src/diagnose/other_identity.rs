use std::sync::Arc;

use super::Diagnosis;
use super::finding::{Finding, Severity};
use super::report::{Outcome, Step};
use crate::assertion::jwt;
use crate::chain::DefaultAzureLink;
use crate::code::Code;
use crate::credential::{
    AzureCliCredential, AzureDeveloperCliCredential, EnvironmentCredential, ManagedIdentityCredential,
    ManagedIdentityId,
};
use crate::error::Error;
use crate::exchange::{TokenSource, Urgency};
use crate::token::TokenRequest;

/// Finds out which identity a default credential would use, if workload identity is not set up.
pub(super) async fn check(diagnosis: &Diagnosis<'_>, scope: &str) -> Outcome {
    let environment = || diagnosis.environment.clone();
    let selected = diagnosis.environment.token_credentials().ok().flatten();
    let selected = DefaultAzureLink::selected_by(selected.as_ref()).unwrap_or_default();
    let variables = diagnosis.environment.workload_identity().ok();
    let client_id = variables.and_then(|variables| variables.client_id);
    let mut managed_identity = ManagedIdentityCredential::builder()
        .environment(environment())
        .transport(diagnosis.transport.clone())
        .probe_first()
        .without_retries();
    if let Some(client_id) = client_id {
        managed_identity = managed_identity.id(ManagedIdentityId::ClientId(client_id.expose().to_owned()));
    }
    let links: [Link; 4] = [
        (
            DefaultAzureLink::Environment,
            "the client secret or certificate of the environment",
            EnvironmentCredential::builder()
                .environment(environment())
                .transport(diagnosis.transport.clone())
                .build()
                .map(|credential| credential.source()),
        ),
        (
            DefaultAzureLink::ManagedIdentity,
            "the managed identity of the node",
            managed_identity.build().map(|credential| credential.source()),
        ),
        (
            DefaultAzureLink::AzureCli,
            "the login of the Azure CLI",
            AzureCliCredential::builder()
                .environment(environment())
                .build()
                .map(|credential| credential.source()),
        ),
        (
            DefaultAzureLink::AzureDeveloperCli,
            "the login of the Azure Developer CLI",
            AzureDeveloperCliCredential::builder()
                .environment(environment())
                .build()
                .map(|credential| credential.source()),
        ),
    ];
    for (_, name, link) in links.into_iter().filter(|(link, ..)| selected.contains(link)) {
        let token = match &link {
            // Without a cache, whose fetches outlive their callers.
            Ok(source) => {
                let scopes = [scope];
                let request = TokenRequest::new(&scopes);
                let grant = source.fetch(&request, Urgency::Background);
                tokio::time::timeout(diagnosis.options.timeout, grant)
                    .await
                    .unwrap_or_else(|_| Err(Error::transport("it does not respond")))
            }
            Err(error) => Err(error.clone()),
        };
        let (severity, cause) = match token {
            Ok(grant) => {
                let application = application(grant.token.secret());
                let cause =
                    format!("without workload identity, a default credential uses {name}{application}");
                (Severity::Info, cause)
            }
            Err(error) if error.is_unavailable() => continue,
            Err(error) => (
                Severity::Warning,
                format!(
                    "without workload identity, a default credential stops at {name}: {}",
                    failure(&error)
                ),
            ),
        };
        let finding = Finding::new(Code::ANOTHER_IDENTITY, severity, cause.clone());
        return Outcome {
            findings: vec![finding],
            ..Outcome::passed(Step::OtherIdentity, cause)
        };
    }
    Outcome::passed(
        Step::OtherIdentity,
        "none: a default credential has no token either",
    )
}

/// Says how another identity fails, in our words: a service that is not Entra can respond anything.
fn failure(error: &Error) -> String {
    let Some(status) = error.status() else {
        return error.to_string();
    };
    let code = error.aadsts_codes().first();
    let code = code.map(|code| format!(", AADSTS{code}")).unwrap_or_default();
    format!("it responds with status {}{code}", status.as_u16())
}

type Link = (
    DefaultAzureLink,
    &'static str,
    Result<Arc<dyn TokenSource>, Error>,
);

/// Returns the application of an access token.
fn application(token: &str) -> String {
    let claims = jwt::Decoded::read(token).unwrap_or_default().claims;
    let id = ["appid", "azp"]
        .iter()
        .find_map(|name| claims.get(*name)?.as_str());
    let id = id.filter(|id| {
        id.bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    });
    id.map(|id| format!(", client {id}")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnose::DiagnoseOptions;
    use crate::env::Environment;
    use crate::transport::HttpTransport;

    #[tokio::test]
    async fn identity_that_is_not_selected_does_not_answer() {
        let variables = |selected| {
            [
                ("AZURE_TOKEN_CREDENTIALS", selected),
                ("AZURE_CLIENT_SECRET", "planted"),
                ("AZURE_TENANT_ID", "contoso.example"),
            ]
        };
        for (selected, code) in [
            ("EnvironmentCredential", Some(Code::ANOTHER_IDENTITY)),
            ("WorkloadIdentityCredential", None),
        ] {
            let environment: Environment = variables(selected).into_iter().collect();
            let diagnosis = Diagnosis {
                environment: &environment,
                options: &DiagnoseOptions::new(),
                transport: Arc::new(HttpTransport::new()),
            };
            let findings = check(&diagnosis, "https://vault.azure.net/.default")
                .await
                .findings;
            assert_eq!(findings.first().map(|finding| finding.code), code, "{selected}");
        }
    }
}
