use std::sync::Arc;

use super::Diagnosis;
use super::finding::{Finding, Severity};
use super::report::{Outcome, Step};
use crate::assertion::jwt;
use crate::code::Code;
use crate::credential::{
    AzureCliCredential, AzureDeveloperCliCredential, Credential, EnvironmentCredential,
    ManagedIdentityCredential,
};
use crate::error::Error;

/// Finds out which identity a default credential would use, if workload identity is not set up.
pub(super) async fn check(diagnosis: &Diagnosis<'_>, scope: &str) -> Outcome {
    let environment = || diagnosis.environment.clone();
    let links: [Link; 4] = [
        (
            "the client secret or certificate of the environment",
            EnvironmentCredential::builder()
                .environment(environment())
                .transport(diagnosis.transport.clone())
                .build()
                .map(|credential| credential as _),
        ),
        (
            "the managed identity of the node",
            ManagedIdentityCredential::builder()
                .environment(environment())
                .probe_first()
                .build()
                .map(|credential| credential as _),
        ),
        (
            "the login of the Azure CLI",
            AzureCliCredential::builder()
                .environment(environment())
                .build()
                .map(|credential| credential as _),
        ),
        (
            "the login of the Azure Developer CLI",
            AzureDeveloperCliCredential::builder()
                .environment(environment())
                .build()
                .map(|credential| credential as _),
        ),
    ];
    for (name, link) in links {
        let scopes = [scope];
        let token = match &link {
            Ok(credential) => {
                let request = crate::token::TokenRequest::new(&scopes);
                let token = tokio::time::timeout(diagnosis.options.timeout, credential.token_for(&request));
                token
                    .await
                    .unwrap_or_else(|_| Err(Error::unavailable("it does not respond")))
            }
            Err(error) => Err(error.clone()),
        };
        let cause = match token {
            Ok(token) => format!(
                "without workload identity, a default credential uses {name}{}",
                application(token.secret())
            ),
            Err(error) if error.is_unavailable() => continue,
            Err(error) => format!("without workload identity, a default credential stops at {name}: {error}"),
        };
        let finding = Finding::new(Code::ANOTHER_IDENTITY, Severity::Info, cause.clone());
        return Outcome::passed(Step::OtherIdentity, cause).and(Some(finding));
    }
    Outcome::passed(
        Step::OtherIdentity,
        "none: a default credential has no token either",
    )
}

type Link = (&'static str, Result<Arc<dyn Credential>, Error>);

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
