use entra_workload::diagnose::{
    ClockSkew, Comparison, Defect, Finding, OtherIdentity, Property, Report, Resource, Service, Severity,
};
use entra_workload::{Code, Owner};
use serde::Serialize;

use crate::catalog::Entry;
use crate::remedy::{PodNames, Remedy, remedies};

/// A finding in words, with its remedies. As JSON, it is a finding of the report.
#[derive(Serialize)]
pub(super) struct Explanation {
    #[serde(serialize_with = "display")]
    pub(super) code: Code,
    #[serde(serialize_with = "display")]
    pub(super) severity: Severity,
    #[serde(serialize_with = "display")]
    pub(super) owner: Owner,
    /// The problem in a few words, the same for each finding of the code.
    pub(super) title: &'static str,
    /// The cause in one sentence, without a full stop.
    pub(super) cause: String,
    pub(super) evidence: Vec<Evidence>,
    pub(super) remedies: Vec<Remedy>,
    pub(super) aadsts: Vec<u32>,
    #[serde(serialize_with = "optional_display")]
    pub(super) follows_from: Option<Code>,
    pub(super) link: String,
}

/// What was presented, next to what was wanted.
#[derive(Serialize)]
pub(super) struct Evidence {
    pub(super) what: &'static str,
    pub(super) presented: String,
    pub(super) wanted: String,
}

impl Evidence {
    fn new(what: &'static str, presented: impl Into<String>, wanted: impl Into<String>) -> Self {
        Self {
            what,
            presented: presented.into(),
            wanted: wanted.into(),
        }
    }

    pub(super) fn of(code: Code, comparison: &Comparison) -> Self {
        let Comparison {
            property,
            presented,
            expected,
            ..
        } = comparison;
        let what = match property {
            Property::Audience => "audience",
            Property::ClientId => "AZURE_CLIENT_ID",
            Property::Issuer => "issuer",
            Property::KeyId => "kid",
            Property::KeysUrl => "keys",
            Property::Lifetime => "lifetime",
            Property::Scope => "scope",
            Property::Subject => "subject",
            Property::TenantId => "AZURE_TENANT_ID",
            Property::Time => "time",
            Property::TokenCredentials => "AZURE_TOKEN_CREDENTIALS",
            _ => "value",
        };
        match (property, expected) {
            (Property::Lifetime, Some(most)) => {
                Self::new(what, format!("{presented} s"), format!("at most {most} s"))
            }
            (_, Some(expected)) => Self::new(what, presented, expected),
            (_, None) => Self::new(what, presented, wanted(code, *property)),
        }
    }
}

/// Explains all findings of a report.
pub(super) fn explain(report: &Report, deployment: Option<&str>) -> Vec<Explanation> {
    let names = PodNames::new(&report.pod, deployment);
    let explain = |finding: &Finding| Explanation {
        code: finding.code,
        severity: finding.severity,
        owner: finding.owner,
        title: finding.code.title(),
        cause: cause(finding),
        evidence: evidence(finding),
        remedies: remedies(finding, &names),
        aadsts: finding.aadsts.clone(),
        follows_from: finding.follows_from,
        link: finding.code.url(),
    };
    report.findings.iter().map(explain).collect()
}

fn cause(finding: &Finding) -> String {
    if let Some(identity) = &finding.identity {
        return identity_in_use(finding, identity);
    }
    let host = finding.host.as_deref().unwrap_or_default();
    let url = finding.url.as_deref().unwrap_or_default();
    let variable = finding.variable.unwrap_or_default();
    let status = finding.status.unwrap_or_default();
    match (finding.code, &finding.error) {
        (Code::ISSUER_UNREACHABLE, Some(error)) => format!("{url} cannot be read from here: {error}"),
        (_, Some(error)) => error.message(),
        (Code::ISSUER_UNREACHABLE, None) => {
            format!("{url} returns status {status} and not the document that Entra needs")
        }
        (Code::UNKNOWN_LOGIN_HOST, None) if finding.severity == Severity::Error => format!(
            "{host} is not the login host of a known cloud, so no token is sent to it; if it is right, pass \
             --allow-authority-host"
        ),
        (Code::UNKNOWN_LOGIN_HOST, None) => {
            format!("{host} is not the login host of a known cloud, and receives the service-account token")
        }
        (Code::ANOTHER_CREDENTIAL_FIRST, None) => {
            format!("{variable} is set, and a default credential uses it before workload identity")
        }
        (Code::WORKLOAD_IDENTITY_EXCLUDED, None) => {
            format!("{variable} excludes workload identity from a default credential")
        }
        (Code::PROXY_FAILED, None) => match finding.defect {
            Some(Defect::WhiteSpace) => format!(
                "{variable} is not the URL of a proxy: it begins or ends with white space, often the line break of a \
                 Secret"
            ),
            _ => format!("{variable} is not the URL of a proxy: its scheme must be http, https or SOCKS"),
        },
        (Code::CLOCK_IS_WRONG, None) => {
            let skew = finding.clock_skew.as_ref().map(clock_skew);
            format!("the clock of this machine is {}", skew.unwrap_or_default())
        }
        (Code::THROTTLED, None) => format!("{host} throttles requests"),
        (Code::OUTAGE, None) => format!("{host} is temporarily unavailable (status {status})"),
        (Code::NOT_ENTRA, None) => match finding.defect {
            Some(Defect::NotJson) => format!(
                "the response of {host} is not from Entra, so a proxy or a captive portal is in between"
            ),
            _ => format!("{host} returns status {status} and no discovery document"),
        },
        (Code::UNKNOWN_TENANT, None) => {
            let tenant_id = finding.comparison(Property::TenantId);
            let tenant_id = tenant_id.map_or("", |tenant_id| tenant_id.presented.as_str());
            format!("{host} does not know the tenant {tenant_id}")
        }
        (Code::ISSUER_DIFFERS, None) => {
            "the discovery document of the issuer names another issuer".to_owned()
        }
        (Code::UNPUBLISHED_KEY, None) => {
            "the token is signed with a key that the issuer does not publish".to_owned()
        }
        (Code::PRIVATE_ISSUER, None) if finding.comparison(Property::Issuer).is_some() => {
            "the issuer of the token is not a public https address, so Entra cannot read its keys".to_owned()
        }
        (Code::PRIVATE_ISSUER, None) => {
            "the keys of the issuer have no public https address, so Entra cannot read them".to_owned()
        }
        (Code::TOKEN_OF_THE_API_SERVER, None) => {
            "the token is for the API server of the cluster, not for Entra".to_owned()
        }
        (Code::TOKEN_FOR_IDENTITY_BINDING, None) => {
            "the token is for an AKS identity binding, and this pod has no variables of the token proxy"
                .to_owned()
        }
        (Code::WRONG_AUDIENCE, None) if finding.severity == Severity::Error => {
            "the token is not for the token proxy of an AKS identity binding".to_owned()
        }
        (Code::WRONG_AUDIENCE, None) => {
            "the token has another audience than the webhook requests; the federated credential must have the same \
             audience"
                .to_owned()
        }
        (Code::TOKEN_LIVES_TOO_LONG, None) => {
            "the token is valid for longer than Entra accepts".to_owned()
        }
        (code, None) => match &finding.resource {
            Some(resource) => resource_failure(code, finding.status, resource),
            None => Entry::of(code).map_or("", |entry| entry.cause).to_owned(),
        },
    }
}

/// Says how far the clock is wrong.
pub(super) fn clock_skew(skew: &ClockSkew) -> String {
    let direction = if skew.is_ahead { "ahead of" } else { "behind" };
    format!("{} s {direction} the login host", skew.seconds)
}

fn resource_failure(code: Code, status: Option<u16>, resource: &Resource) -> String {
    let Resource { service, url, .. } = resource;
    let Some(status) = status else {
        return format!("there is no {service} at {url}");
    };
    match code {
        Code::TOKEN_REJECTED => {
            format!("{service} rejects the token: it is for another resource or tenant, or is revoked")
        }
        Code::FIREWALL => format!("the firewall of {service} blocks this pod"),
        Code::NO_ACCESS_POLICY => {
            "no access policy of the vault allows the identity to list secrets".to_owned()
        }
        Code::NO_ROLE => format!("the identity has no role on {service} that allows it to read"),
        Code::NO_RESOURCE => format!("{url} does not exist"),
        _ => format!("{service} returns status {status}"),
    }
}

fn identity_in_use(finding: &Finding, identity: &OtherIdentity) -> String {
    let name = match identity.credential {
        "EnvironmentCredential" => "the client secret or certificate of the environment",
        "ManagedIdentityCredential" => "the managed identity of the node",
        "AzureCliCredential" => "the login of the Azure CLI",
        "AzureDeveloperCliCredential" => "the login of the Azure Developer CLI",
        other => other,
    };
    let client_id = identity.client_id.as_ref();
    let client = client_id.map(|id| format!(", client {id}")).unwrap_or_default();
    if identity.has_token {
        return format!("without workload identity, a default credential uses {name}{client}");
    }
    let reason = match (&finding.error, identity.status) {
        (Some(error), _) => error.to_string(),
        (None, Some(status)) => {
            let code = identity.aadsts.map(|code| format!(", AADSTS{code}"));
            let code = code.unwrap_or_default();
            format!("it responds with status {status}{code}")
        }
        (None, None) => "it fails".to_owned(),
    };
    format!("without workload identity, a default credential stops at {name}: {reason}")
}

fn evidence(finding: &Finding) -> Vec<Evidence> {
    let mut rows: Vec<Evidence> = finding
        .comparisons
        .iter()
        .map(|comparison| Evidence::of(finding.code, comparison))
        .collect();
    rows.extend(missing(finding.code));
    if let Some(file) = &finding.file {
        rows.push(Evidence::new("token file", file, "a valid service-account token"));
    }
    if let Some(host) = &finding.host {
        rows.extend(of_login_host(finding, host));
    }
    if let Some(resource) = &finding.resource {
        rows.extend(of_resource(finding, resource));
    }
    match (finding.code, finding.variable) {
        (Code::ANOTHER_CREDENTIAL_FIRST, Some(variable)) => {
            rows.push(Evidence::new("credential", variable, "workload identity alone"));
        }
        (Code::PROXY_FAILED, Some(variable)) => {
            rows.push(Evidence::new(variable, "(not shown)", "http://HOST:PORT"));
        }
        _ => {}
    }
    rows
}

/// What is not there cannot be presented.
fn missing(code: Code) -> Option<Evidence> {
    Some(match code {
        Code::NO_WORKLOAD_IDENTITY => Evidence::new(
            "variables of the webhook",
            "none in this process",
            "set when a pod with the label is created",
        ),
        Code::NO_CLIENT_ID => Evidence::new(
            "annotation azure.workload.identity/client-id",
            "not on the service account when the pod was created",
            "the client ID of the identity",
        ),
        Code::NO_TENANT_ID => Evidence::new("AZURE_TENANT_ID", "not set", "the tenant of the identity"),
        _ => return None,
    })
}

fn of_login_host(finding: &Finding, host: &str) -> Option<Evidence> {
    if finding.code == Code::UNKNOWN_LOGIN_HOST {
        let wanted = "that of the cloud, such as login.microsoftonline.com";
        return Some(Evidence::new("login host", host, wanted));
    }
    if finding.error.is_some() {
        return Some(Evidence::new("login host", host, "a response over TLS"));
    }
    let is_page = finding.defect == Some(Defect::NotJson);
    let status = finding.status.filter(|_| is_page)?;
    let presented = format!("status {status}, not JSON");
    Some(Evidence::new("response", presented, "the discovery document"))
}

fn of_resource(finding: &Finding, resource: &Resource) -> Option<Evidence> {
    let Some(status) = finding.status else {
        let was_sent = finding
            .error
            .as_ref()
            .is_none_or(|error| error.kind() != entra_workload::ErrorKind::Configuration);
        return was_sent.then(|| Evidence::new("resource", &resource.url, "a response over TLS"));
    };
    let wanted = match (finding.code, resource.service) {
        (Code::NO_ROLE, Service::Blob) => "Storage Blob Data Reader, or another data role",
        (Code::NO_ROLE, _) => "Key Vault Secrets User, or another data role",
        (Code::NO_ACCESS_POLICY, _) => "an access policy with the secret permissions get and list",
        (Code::FIREWALL, _) => "a network rule or a private endpoint for this pod",
        _ => "status 200",
    };
    let error = finding.service_error.as_ref();
    let error = error.map(|error| format!(", {error}")).unwrap_or_default();
    Some(Evidence::new(
        "response",
        format!("status {status}{error}"),
        wanted,
    ))
}

/// Says what is right, where that is not one value.
fn wanted(code: Code, property: Property) -> &'static str {
    match (code, property) {
        (Code::ISSUER_KEYS_UNREACHABLE, _) => "reachable from the internet",
        (Code::PRIVATE_ISSUER, _) => "https://…, reachable from the internet",
        (Code::EXPRESSION_MISMATCH, _) => "that of a credential, or a matching expression",
        (_, Property::KeyId) => "a key that the issuer publishes",
        (_, Property::ClientId) => "an identity of this tenant",
        (_, Property::TenantId) => "a tenant of this cloud",
        (_, Property::Scope) => "a resource followed by /.default",
        (_, Property::TokenCredentials) => "prod or WorkloadIdentityCredential",
        _ => "a federated credential with exactly this value",
    }
}

fn display<T: std::fmt::Display, S: serde::Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

#[expect(
    clippy::ref_option,
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature that serde calls"
)]
fn optional_display<S: serde::Serializer>(value: &Option<Code>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.collect_str(value),
        None => serializer.serialize_none(),
    }
}
