use super::Diagnosis;
use super::finding::{Finding, Severity};
use super::remedy::Federation;
use super::report::{self, Step};
use super::token_file::ServiceAccountToken;
use crate::code::Code;
use crate::credential::WorkloadIdentityCredential;
use crate::env::External;
use crate::error::Error;
use crate::exchange::{Grant, TokenSource, Urgency};
use crate::token::{AccessToken, TokenRequest};

pub(super) struct Outcome {
    pub(super) check: report::Outcome,
    pub(super) token: Option<AccessToken>,
}

/// Makes one token request, exactly as a credential does, and without a retry.
pub(super) async fn check(
    diagnosis: &Diagnosis<'_>,
    sent: Option<&ServiceAccountToken>,
    scope: &str,
) -> Outcome {
    match fetch(diagnosis, scope).await {
        Ok(grant) => {
            let minutes = grant.lifetime.as_secs() / 60;
            Outcome {
                check: report::Outcome::passed(
                    Step::TokenRequest,
                    format!("a token for {scope}, valid for {minutes} min"),
                ),
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
    let mut finding = Finding::of_error(error, Code::REFUSED);
    if finding.code == Code::OUTAGE {
        finding.severity = Severity::Error;
    }
    let variables = diagnosis.environment.workload_identity().ok();
    let (client_id, tenant_id) = variables
        .map(|variables| (variables.client_id, variables.tenant_id))
        .unwrap_or_default();
    let shown = |id: Option<External>| id.map(|id| id.to_string()).unwrap_or_default();
    let (client_id, tenant_id) = (shown(client_id), shown(tenant_id));
    let Some(sent) = sent else {
        return finding;
    };
    finding = match finding.code {
        Code::NO_FEDERATED_CREDENTIAL => finding
            .with_evidence("issuer", sent.issuer.as_str(), EXACTLY)
            .with_evidence("subject", sent.subject.as_str(), EXACTLY)
            .with_evidence("audience", sent.audience.as_str(), EXACTLY),
        Code::ISSUER_MISMATCH => finding.with_evidence("issuer", sent.issuer.as_str(), EXACTLY),
        Code::SUBJECT_MISMATCH | Code::SUBJECT_CASE_MISMATCH => {
            finding.with_evidence("subject", sent.subject.as_str(), EXACTLY)
        }
        Code::EXPRESSION_MISMATCH => finding.with_evidence(
            "subject",
            sent.subject.as_str(),
            "that of a credential, or a matching expression",
        ),
        Code::TENANT_OF_ANOTHER_CLOUD => {
            finding.with_evidence("AZURE_TENANT_ID", tenant_id, "a tenant of this cloud")
        }
        Code::AUDIENCE_MISMATCH => finding.with_evidence("audience", sent.audience.as_str(), EXACTLY),
        Code::SIGNATURE_MISMATCH => {
            let key = sent.key_id.clone().unwrap_or_default();
            finding.with_evidence("kid", key, "a key that the issuer publishes")
        }
        Code::ISSUER_KEYS_UNREACHABLE => {
            finding.with_evidence("issuer", sent.issuer.as_str(), "reachable from the internet")
        }
        Code::UNKNOWN_APPLICATION => finding.with_evidence(
            "AZURE_CLIENT_ID",
            client_id.as_str(),
            "an identity of this tenant",
        ),
        Code::UNKNOWN_TENANT => finding.with_evidence("AZURE_TENANT_ID", tenant_id, "a tenant of this cloud"),
        Code::UNKNOWN_RESOURCE | Code::INVALID_SCOPE => {
            finding.with_evidence("scope", scope, "a resource followed by /.default")
        }
        _ => finding,
    };
    finding.federation = Some(Federation {
        client_id,
        issuer: sent.issuer.clone(),
        subject: sent.subject.clone(),
        audience: sent.audience.clone(),
    });
    finding
}

const EXACTLY: &str = "a federated credential with exactly this value";
