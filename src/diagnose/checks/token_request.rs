use super::Diagnosis;
use super::token_file::ServiceAccountToken;
use crate::code::Code;
use crate::credential::WorkloadIdentityCredential;
use crate::diagnose::finding::{FederatedCredential, Finding, Property, escaped};
use crate::diagnose::report::{self, Observation, Step};
use crate::env::External;
use crate::error::Error;
use crate::exchange::{Grant, TokenSource, Urgency};
use crate::token::{AccessToken, TokenRequest};

pub(in crate::diagnose) struct Outcome {
    pub(in crate::diagnose) check: report::Outcome,
    pub(in crate::diagnose) token: Option<AccessToken>,
}

/// Makes one token request, exactly as a credential does, and without a retry.
pub(in crate::diagnose) async fn check(
    diagnosis: &Diagnosis<'_>,
    sent: Option<&ServiceAccountToken>,
    scope: &str,
) -> Outcome {
    match fetch(diagnosis, scope).await {
        Ok(grant) => {
            let observation = Observation::AccessToken {
                scope: escaped(scope),
                expires_in_minutes: grant.lifetime.as_secs() / 60,
            };
            Outcome {
                check: report::Outcome::passed(Step::TokenRequest, observation),
                token: Some(grant.token),
            }
        }
        Err(error) => Outcome {
            check: report::Outcome::failed(Step::TokenRequest, of_error(&error, sent, diagnosis, scope)),
            token: None,
        },
    }
}

async fn fetch(diagnosis: &Diagnosis<'_>, scope: &str) -> Result<Grant, Error> {
    let exchange = WorkloadIdentityCredential::builder()
        .environment(diagnosis.environment.clone())
        .transport(diagnosis.transport.clone())
        .shared_clock(diagnosis.options.clock.clone())
        .timeout(diagnosis.options.timeout)
        .exchange()?;
    exchange
        .fetch(&TokenRequest::new(&[scope]), Urgency::Background)
        .await
}

fn of_error(
    error: &Error,
    sent: Option<&ServiceAccountToken>,
    diagnosis: &Diagnosis<'_>,
    scope: &str,
) -> Finding {
    let finding = Finding::of_error(error, Code::REFUSED);
    let Some(sent) = sent else {
        return finding;
    };
    let variables = diagnosis.environment.workload_identity().ok();
    let (client_id, tenant_id) = variables
        .map(|variables| (variables.client_id, variables.tenant_id))
        .unwrap_or_default();
    let shown = |id: Option<External>| id.map(|id| id.to_string()).unwrap_or_default();
    let (client_id, tenant_id) = (shown(client_id), shown(tenant_id));
    let presented: &[(Property, &str)] = match finding.code {
        Code::NO_FEDERATED_CREDENTIAL => &[
            (Property::Issuer, &sent.issuer),
            (Property::Subject, &sent.subject),
            (Property::Audience, &sent.audience),
        ],
        Code::ISSUER_MISMATCH | Code::ISSUER_KEYS_UNREACHABLE => &[(Property::Issuer, &sent.issuer)],
        Code::SUBJECT_MISMATCH | Code::SUBJECT_CASE_MISMATCH | Code::EXPRESSION_MISMATCH => {
            &[(Property::Subject, &sent.subject)]
        }
        Code::AUDIENCE_MISMATCH => &[(Property::Audience, &sent.audience)],
        Code::SIGNATURE_MISMATCH => &[(Property::KeyId, sent.key_id.as_deref().unwrap_or_default())],
        Code::UNKNOWN_APPLICATION => &[(Property::ClientId, &client_id)],
        Code::UNKNOWN_TENANT | Code::TENANT_OF_ANOTHER_CLOUD => &[(Property::TenantId, &tenant_id)],
        Code::UNKNOWN_RESOURCE | Code::INVALID_SCOPE => &[(Property::Scope, scope)],
        _ => &[],
    };
    let compare = |finding: Finding, &(property, value): &_| finding.comparing(property, value, None);
    let mut finding = presented.iter().fold(finding, compare);
    finding.federated_credential = Some(FederatedCredential {
        client_id,
        issuer: sent.issuer.clone(),
        subject: sent.subject.clone(),
        audience: sent.audience.clone(),
    });
    finding
}
