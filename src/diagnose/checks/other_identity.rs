use std::sync::Arc;

use super::Diagnosis;
use crate::assertion::jwt;
use crate::chain::DefaultAzureLink;
use crate::code::Code;
use crate::credential::{
    AzureCliCredential, AzureDeveloperCliCredential, EnvironmentCredential, ManagedIdentityCredential,
    ManagedIdentityId,
};
use crate::diagnose::finding::{Finding, OtherIdentity, Severity};
use crate::diagnose::report::{Observation, Outcome, Step};
use crate::error::Error;
use crate::exchange::{TokenSource, Urgency};
use crate::token::TokenRequest;

/// Finds out which identity a default credential would use, if workload identity is not set up.
pub(in crate::diagnose) async fn check(diagnosis: &Diagnosis<'_>, scope: &str) -> Outcome {
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
            EnvironmentCredential::builder()
                .environment(environment())
                .transport(diagnosis.transport.clone())
                .build()
                .map(|credential| credential.source()),
        ),
        (
            DefaultAzureLink::ManagedIdentity,
            managed_identity.build().map(|credential| credential.source()),
        ),
        (
            DefaultAzureLink::AzureCli,
            AzureCliCredential::builder()
                .environment(environment())
                .build()
                .map(|credential| credential.source()),
        ),
        (
            DefaultAzureLink::AzureDeveloperCli,
            AzureDeveloperCliCredential::builder()
                .environment(environment())
                .build()
                .map(|credential| credential.source()),
        ),
    ];
    for (link, source) in links.into_iter().filter(|(link, _)| selected.contains(link)) {
        let token = match &source {
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
        let mut identity = OtherIdentity {
            credential: link.credential_name(),
            client_id: None,
            has_token: token.is_ok(),
            status: None,
            aadsts: None,
        };
        let (severity, error) = match token {
            Ok(grant) => {
                identity.client_id = client_id_of(grant.token.secret());
                (Severity::Info, None)
            }
            Err(error) if error.is_unavailable() => continue,
            Err(error) => {
                identity.status = error.status().map(|status| status.as_u16());
                identity.aadsts = error.aadsts_codes().first().copied();
                (Severity::Warning, own_words(&error))
            }
        };
        let finding = Finding {
            identity: Some(identity.clone()),
            error,
            ..Finding::new(Code::ANOTHER_IDENTITY, severity)
        };
        let outcome = Outcome::passed(Step::OtherIdentity, Observation::Identity(identity));
        return outcome.and(Some(finding));
    }
    Outcome::passed(Step::OtherIdentity, Observation::NoIdentity)
}

/// Returns the error without the text of a server: a service that is not Entra can respond anything.
fn own_words(error: &Error) -> Option<Error> {
    let own = Error::new(error.kind(), error.message());
    let own = match error.code() {
        Some(code) => own.with_code(code),
        None => own,
    };
    error.status().is_none().then_some(own)
}

type Link = (DefaultAzureLink, Result<Arc<dyn TokenSource>, Error>);

/// Returns the client ID that an access token names.
fn client_id_of(token: &str) -> Option<String> {
    let claims = jwt::Decoded::read(token).unwrap_or_default().claims;
    let id = ["appid", "azp"]
        .iter()
        .find_map(|name| claims.get(*name)?.as_str());
    let id = id.filter(|id| {
        id.bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    });
    id.map(str::to_owned)
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
            let outcome = check(&diagnosis, "https://vault.azure.net/.default").await;
            assert_eq!(
                outcome.findings().first().map(|finding| finding.code),
                code,
                "{selected}"
            );
        }
    }
}
